"""Classification: splits by rule, what training alone decides, and published figures recomputed from the real files.

B batch, L steps, D channels, C classes, N sequences.
"""

import hashlib
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config.datasets import DataFile
from bench.data.files import folders, locate
from bench.errors import DataError, DataMissingError, DeclarationError
from bench.tasks._sequences import class_scores
from bench.tasks.classification import Task
from tests.baselines.fitting import reached

quick = settings(max_examples=25, deadline=None)
CARDS = Path(__file__).parents[2] / "datasets"
NAMES = (
    *("japanese_vowels", "pickup_gesture", "gunpoint", "fsdd"),
    *("sst2", "review_polarity", "names"),
)
ALL = 10**6


def write(folder, name, content):
    """Write a file and return it as an entry of a card."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(data)
    return {"path": str(path), "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def ts(rows):
    return "@univariate false\n@classLabel true a b\n@data\n" + "\n".join(rows) + "\n"


def card(name, length, **more):
    """The task of a card, or a skip where its files are not to be found."""
    declared = tomllib.loads((CARDS / f"{name}.toml").read_text())
    try:
        return Task(length, **{"files": declared["files"], **declared["arguments"], **more})
    except DataMissingError as error:
        pytest.skip(str(error))


def real(name):
    """A file of the data folder."""
    for folder in folders():
        if (folder / name).is_file():
            return folder / name
    pytest.skip(f"{name}: not here; set BENCH_DATA_DIR")


# Small files


@pytest.fixture
def split_files(tmp_path):
    train = write(tmp_path, "s_TRAIN.ts", ts(["1,2,3:a", "3,4,5:b", "9:a", "9:b"]))
    test = write(tmp_path, "s_TEST.ts", ts(["6,?,7,8:b", "1,2,3:a"]))
    return {
        "files": [train, test],
        "splits": {"by": "file", "train": ["s_TRAIN.ts"], "test": ["s_TEST.ts"], "val_share": 0.5},
    }


def by_name(task, part):
    """Sequences of a part by the name of the example, in the units of the file."""
    batch = task.spread(part, ALL)
    edge = task.edge[part]
    names = task.meta["ids"][edge : edge + len(batch.x)]
    values = batch.x * np.array(task.meta["scale"]) + np.array(task.meta["mean"])
    return {
        name: (values[i, : batch.length[i]].round(4).tolist(), task.meta["classes"][batch.y[i]])
        for i, name in enumerate(names)
    }


def test_scale_comes_from_the_training_part_alone(split_files):
    task = Task(10, **split_files)
    assert task.counts == {"train": 2, "val": 2, "test": 2}
    steps = [value for series, _ in by_name(task, "train").values() for (value,) in series]
    assert task.meta["mean"] == pytest.approx([np.mean(steps)])
    assert task.meta["scale"] == pytest.approx([np.std(steps) or 1.0])
    train = task.spread("train", ALL)
    valid = np.arange(train.x.shape[1]) < train.length[:, None]
    assert train.x[valid].mean() == pytest.approx(0, abs=1e-6)
    assert task.meta["classes"] == ["a", "b"]


def test_the_worked_example(tmp_path):
    train = write(tmp_path, "a_TRAIN.ts", ts(["1,2,3:a", "3,4,5:b"]))
    val = write(tmp_path, "a_VAL.ts", ts(["1,2:a"]))
    test = write(tmp_path, "a_TEST.ts", ts(["1,2,3,4:b"]))
    rule = {"by": "file", "train": ["a_TRAIN.ts"], "val": ["a_VAL.ts"], "test": ["a_TEST.ts"]}
    task = Task(2, files=[train, val, test], splits=rule)
    batch = task.take("train", np.array([0]))
    np.testing.assert_allclose(batch.x[0, :, 0], [-1.55, -0.77], atol=5e-3)
    assert (task.meta["mean"][0], task.meta["scale"][0]) == pytest.approx((3, 1.29099), abs=1e-4)
    assert batch.y.tolist() == [0]
    assert task.chance == 1.0


@pytest.mark.parametrize(("keep", "expected"), [("first", [6, 6, 7]), ("last", [6, 7, 8])])
def test_the_first_or_the_last_steps_are_kept_and_gaps_are_filled(split_files, keep, expected):
    task = Task(3, keep=keep, **split_files)
    longest = by_name(task, "test")["s_TEST.ts:1"][0]
    take = expected[: task.num_steps] if keep == "first" else expected[-task.num_steps :]
    np.testing.assert_allclose([value for (value,) in longest], take, rtol=1e-5)
    assert "1 missing value filled with the previous value, or the training mean" in map(str, task.meta["remarks"])


def test_padding_is_on_the_right_and_of_zeros(split_files):
    batch = Task(10, **split_files).spread("test", ALL)
    valid = np.arange(batch.x.shape[1]) < batch.length[:, None]
    assert not batch.x[~valid].any()


def test_equal_examples_in_several_parts_are_counted(tmp_path):
    train = write(tmp_path, "a.tsv", "good film\tpos\nbad film\tneg\nfine  film\tpos\nno\tneg\n")
    val = write(tmp_path, "b.tsv", "fine film\tpos\nwhat\tneg\n")
    test = write(tmp_path, "c.tsv", "good film\tpos\nwhat\tneg\nnew\tneg\n")
    rule = {"by": "file", "train": ["a.tsv"], "val": ["b.tsv"], "test": ["c.tsv"]}
    task = Task(5, files=[train, val, test], reader="text", text=1, label=2, splits=rule)
    assert list(map(str, task.meta["remarks"])) == [
        "equal examples: of 2 in val, 1 also in train",
        "equal examples: of 3 in test, 1 also in train and 1 also in val",
    ]


@pytest.mark.parametrize("tokens", ["word", "character", "byte"])
def test_a_vocabulary_comes_from_the_training_part_alone(tmp_path, tokens):
    def made(test):
        rows = [
            write(tmp_path, "a.tsv", "aa bb aa\tx\nbb cc\ty\n"),
            write(tmp_path, "b.tsv", "aa zz\tx\n"),
            write(tmp_path, "c.tsv", test),
        ]
        rule = {"by": "file", "train": ["a.tsv"], "val": ["b.tsv"], "test": ["c.tsv"]}
        return Task(20, files=rows, reader="text", tokens=tokens, text=1, label=2, splits=rule)

    one, other = made("zz zz zz aa\ty\n"), made("qq\ty\n")
    assert one.meta["vocabulary"] == other.meta["vocabulary"]
    assert one.tokens
    assert one.input_size == len(one.meta["vocabulary"])
    x = one.spread("test", ALL).x[0]
    if tokens == "word":
        assert one.meta["vocabulary"] == ["<pad>", "<unk>", "aa", "bb"]
        assert x.tolist() == [1, 1, 1][: one.num_steps]  # no longer than the longest of training
    elif tokens == "character":
        assert one.meta["vocabulary"] == ["<pad>", "<unk>", "a", "b", " ", "c"]
        assert x.tolist()[:3] == [1, 1, 4]
    else:
        assert one.input_size == 2 + 256
        assert x.tolist()[:3] == [ord("z") + 2, ord("z") + 2, ord(" ") + 2]
    assert one.spread("val", ALL).x.dtype == np.int64


def test_a_folder_of_recordings(tmp_path):
    import wave

    for digit in range(2):
        for speaker in ("eva", "tom"):
            for index in range(4):
                with wave.open(str(tmp_path / f"{digit}_{speaker}_{index}.wav"), "wb") as file:
                    file.setparams((1, 2, 8_000, 0, "NONE", ""))
                    tone = np.sin(np.arange(400 + 80 * index) * (0.2 + digit)) * 1_000
                    file.writeframes(tone.astype("<i2").tobytes())
    size = sum(each.stat().st_size for each in tmp_path.iterdir())
    entry = {"path": str(tmp_path), "sha256": "0" * 64, "size_bytes": size, "listing": "x.tsv"}
    task = Task(5, files=[entry], reader="wav", label=1, splits={"by": "index", "test": [3], "val_share": 0.34})
    assert (task.input_size, task.num_steps, task.counts) == (40, 5, {"train": 8, "val": 4, "test": 4})
    assert all(name.endswith("_3.wav") for name in task.meta["ids"][-4:])
    assert reached("logistic_on_summary", task) == 1.0
    task = Task(5, files=[entry], reader="wav", label=1, splits={"by": "speaker", "test": "tom", "val_share": 0.25})
    assert all("_tom_" in name for name in task.meta["ids"][-8:])
    assert not any("_tom_" in name for name in task.meta["ids"][:-8])
    task = Task(
        5, files=[entry], reader="wav", label=1, splits={"by": "group", "field": 3, "shares": [0.5, 0.25, 0.25]}
    )
    assert [len({name.split("_")[2] for name in task.meta["ids"][a:b]}) for a, b in ((0, 8), (8, 12), (12, 16))] == [
        2,
        1,
        1,
    ]
    with pytest.raises(DataMissingError, match="must hold files of 5 bytes"):
        Task(5, files=[entry | {"size_bytes": 5, "sha256": "1" * 64}], reader="wav", label=1)


def test_recordings_of_different_rates_are_refused(tmp_path):
    import wave

    for rate in (8_000, 16_000):
        (tmp_path / "x").mkdir(exist_ok=True)
        with wave.open(str(tmp_path / "x" / f"{rate}.wav"), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes(bytes(2_000))
    entry = {"path": str(tmp_path / "x"), "sha256": "0" * 64, "size_bytes": 4_088, "listing": "x.tsv"}
    with pytest.raises(DataError, match="8,000 samples per second, but 16000.wav has 16,000; resample it: ffmpeg -ar"):
        Task(5, files=[entry], reader="wav")


def test_a_table_with_a_row_a_step(tmp_path):
    rows = [
        f"s{i:02},{'up' if i % 2 else 'down'},p{i // 4},{i + t},{i * t}" for i in range(24) for t in range(2 + i % 3)
    ]
    entry = write(tmp_path, "t.csv", "id,move,who,u,v\n" + "\n".join(rows) + "\n")
    options = {"files": [entry], "reader": "table", "label": "move", "group": "id", "columns": ["u", "v"]}
    task = Task(10, **options)
    assert (task.input_size, task.num_steps, task.meta["classes"]) == (2, 4, ["down", "up"])
    every = by_name(task, "train") | by_name(task, "val") | by_name(task, "test")
    assert every["s05"] == ([[5, 0], [6, 5], [7, 10], [8, 15]], "up")
    assert len(every) == 24
    grouped = Task(10, **options, splits={"by": "group", "column": "who", "shares": [0.6, 0.2, 0.2]})
    people = [{int(name[1:]) // 4 for name in by_name(grouped, part)} for part in ("train", "val", "test")]
    assert [len(each) for each in people] == [4, 1, 1]
    assert len(set().union(*people)) == 6
    broken = write(tmp_path, "b.csv", "id,move,u\na,up,1\na,down,2\nb,up,3\n")
    with pytest.raises(DataError, match="column 'move': more than one value in sequence 'a'"):
        Task(10, files=[broken], reader="table", label="move", group="id")
    empty = write(tmp_path, "e.csv", "id,move,u\na,up,1\na,,2\nb,up,3\n")
    with pytest.raises(DataError, match="line 3, column 'move': empty"):
        Task(10, files=[empty], reader="table", label="move", group="id")


def test_a_table_with_a_row_a_sequence(tmp_path):
    rows = [f"{i},{i + 1},{'' if i % 2 else i + 2},{'odd' if i % 2 else 'even'}" for i in range(40)]
    entry = write(tmp_path, "t.csv", "t1,t2,t3,kind\n" + "\n".join(rows) + "\n")
    task = Task(3, files=[entry], reader="table", label="kind")
    assert (task.input_size, task.num_steps, task.counts) == (1, 3, {"train": 32, "val": 4, "test": 4})
    every = by_name(task, "train") | by_name(task, "val") | by_name(task, "test")
    assert every["t.csv:8"] == ([[7], [8]], "odd")
    assert every["t.csv:9"] == ([[8], [9], [10]], "even")


def test_arrays_in_pairs(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(30, 6, 2)))
    np.save(tmp_path / "y.npy", np.arange(30) % 3)
    files = [write(tmp_path, name, (tmp_path / name).read_bytes()) for name in ("x.npy", "y.npy")]
    task = Task(4, files=files, reader="arrays")
    assert (task.input_size, task.output_size, task.num_steps) == (2, 3, 4)
    assert task.counts == {"train": 24, "val": 3, "test": 3}
    with pytest.raises(DataError, match="come in pairs"):
        Task(4, files=files[:1], reader="arrays")


# What is refused


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"splits": {"by": "luck"}}, "splits: by: must be one of file, index, .*found 'luck'"),
        ({"splits": {"by": "file", "train": ["a"]}}, "by = 'file' needs 'test'"),
        ({"splits": {"by": "index", "test": [0], "share": 1}}, "by = 'index' has no 'share'"),
        ({"splits": {"by": "stratified", "shares": [0.8, 0.1]}}, "splits must be three shares that sum to 1"),
        ({"splits": {"by": "stratified", "shares": [0.8, 0.1, 0.2]}}, "splits must be three shares that sum to 1"),
        ({"splits": {"by": "index", "test": [0], "val_share": 1}}, "val_share: must lie between 0 and 1"),
        ({"splits": {"by": "fold", "test": [0]}}, "needs either 'size' or 'folds'"),
        ({"reader": "mp3"}, "reader: must be one of ts, arrays, wav, text, table, but found 'mp3'"),
        ({"tokens": "syllable"}, "tokens: must be one of"),
        ({"keep": "middle"}, "keep: must be one of first, last"),
        ({"reader": "table"}, "label: must be the name of a column of the table"),
        ({"files": []}, "files: none given"),
    ],
)
def test_what_a_card_must_not_say(tmp_path, options, expected):
    files = [write(tmp_path, "s.ts", ts(["1:a", "2:b"]))]
    with pytest.raises(DeclarationError, match=f"^classification: [^\n]*{expected}"):
        Task(5, **{"files": files, **options})


def test_a_rule_that_names_what_is_not_there(split_files):
    split_files["splits"] = {"by": "file", "train": ["s_TRAIN.ts"], "test": ["TEST.ts"]}
    with pytest.raises(DataError, match=r"no example of 'TEST.ts' \(there are: s_TEST.ts, s_TRAIN.ts\)"):
        Task(5, **split_files)


def test_a_part_without_an_example(tmp_path):
    files = [write(tmp_path, "s.ts", ts(["1:a", "2:b"]))]
    with pytest.raises(DataError, match="splits leave .* without an example .* a class needs three examples"):
        Task(5, files=files)


def test_one_class_cannot_be_told_from_another(tmp_path):
    files = [write(tmp_path, "s.ts", ts(["1:a", "2:a", "3:a"]))]  # though the header declares two
    with pytest.raises(DataError, match=r"s\.ts: only one class, 'a'"):
        Task(5, files=files)


def test_a_class_that_is_not_in_every_part_is_remarked(tmp_path):
    rows = [f"{word},{word}{i}" for i in range(9) for word in ("good", "bad")]
    labels = "\n".join(
        f"{text},{'pos' if text.startswith('good') else 'neg'}" for _, text in (r.split(",") for r in rows)
    )
    entry = write(tmp_path, "t.csv", f"text,label\n{labels}\nhm,odd\n")
    assert list(map(str, Task(5, files=[entry], reader="text", min_frequency=1).meta["remarks"])) == [
        "no example in val of: odd",
        "no example in test of: odd",
    ]


def test_files_that_do_not_fit_each_other(tmp_path):
    one, two = write(tmp_path, "a.ts", ts(["1:a"])), write(tmp_path, "b.ts", ts(["1:2:a"]))
    with pytest.raises(DataError, match="b.ts: 2 channels, but a.ts has 1"):
        Task(5, files=[one, two])
    three = write(tmp_path, "c.ts", "@classLabel true a c\n@data\n1:c\n")
    with pytest.raises(DataError, match=r"c.ts: classes \['a', 'c'\], but a.ts has \['a', 'b'\]"):
        Task(5, files=[one, three])


# The answers


@quick
@given(data=st.data(), classes=st.integers(2, 5), count=st.integers(1, 40))
def test_scores_are_those_of_scikit_learn(data, classes, count):
    from sklearn.metrics import accuracy_score, f1_score

    labels = st.lists(st.integers(0, classes - 1), min_size=count, max_size=count)
    y, answers = np.array(data.draw(labels)), np.array(data.draw(labels))
    found = class_scores(answers, y, classes)
    assert found["accuracy"] == pytest.approx(accuracy_score(y, answers))
    assert found["macro_f1"] == pytest.approx(f1_score(y, answers, average="macro", zero_division=0))


def test_decode(split_files):
    labels, probabilities = Task(3, **split_files).decode(np.array([[0.0, np.log(3)], [1_000.0, 0.0]]))
    assert labels == ["b", "a"]
    np.testing.assert_allclose(probabilities, [[0.25, 0.75], [1, 0]])


# The real files


@pytest.mark.parametrize(
    ("name", "length", "counts", "classes", "steps"),
    [
        ("japanese_vowels", 29, (216, 54, 370), 9, 26),  # 29 in test only
        ("pickup_gesture", 361, (40, 10, 50), 10, 329),
        ("gunpoint", 150, (40, 10, 150), 2, 150),
        ("fsdd", 100, (2_400, 300, 300), 10, 100),
        ("fsdd_speaker", 100, (2_000, 500, 500), 10, 100),
        ("sst2", 50, (6_920, 872, 1_821), 2, 50),
        ("review_polarity", 1024, (1_600, 200, 200), 2, 1024),
        ("names", 20, (15_871, 2_149, 2_030), 18, 20),
    ],
)
def test_counts_of_the_real_sets(name, length, counts, classes, steps):
    task = card(name, length)
    assert tuple(task.counts.values()) == counts
    assert (task.output_size, task.num_steps) == (classes, steps)
    if name != "names":  # parted by surname, not by class
        val, train = task.spread("val", ALL).y, task.spread("train", ALL).y
        shares = [np.bincount(y, minlength=classes) / len(y) for y in (val, train)]
        np.testing.assert_allclose(shares[0], shares[1], atol=0.03)


def test_equal_examples_of_the_real_sets():
    found = {name: list(map(str, card(name, 50).meta["remarks"])) for name in ("sst2", "names")}
    assert found == {"sst2": ["equal examples: of 1,821 in test, 2 also in train and 0 also in val"], "names": []}


def test_speakers_and_indices_of_the_digits():
    official, held_out = card("fsdd", 25), card("fsdd_speaker", 25)
    fields = [[name.removesuffix(".wav").split("_") for name in task.meta["ids"]] for task in (official, held_out)]
    edges = official.meta["edges"]
    assert {int(index) for _, _, index in fields[0][edges[2] :]} == {0, 1, 2, 3, 4}
    assert {int(index) for _, _, index in fields[0][: edges[2]]} == set(range(5, 50))
    assert len({speaker for _, speaker, _ in fields[0][edges[2] :]}) == 6
    edges = held_out.meta["edges"]
    assert {speaker for _, speaker, _ in fields[1][edges[2] :]} == {"george"}
    assert "george" not in {speaker for _, speaker, _ in fields[1][: edges[2]]}
    batch = official.split("test", ALL)
    assert [official.meta["classes"][y] for y in batch.y] == [digit for digit, _, _ in fields[0][-300:]]


FOLDS = [f"fsdd_speaker{fold}" for fold in ("", "_jackson", "_lucas", "_nicolas", "_theo", "_yweweler")]


def test_each_recording_of_the_digits_is_for_test_in_one_of_six_folds():
    cards = [tomllib.loads((CARDS / f"{name}.toml").read_text()) for name in FOLDS]
    assert all(each["files"] == cards[0]["files"] for each in cards)
    held_out = []
    for name, each in zip(FOLDS, cards, strict=True):
        who = each["arguments"]["splits"]["test"]
        assert name in ("fsdd_speaker", f"fsdd_speaker_{who}")
        assert who in each["title"]
        assert who in each["split"]
        task = card(name, 25)
        assert tuple(task.counts.values()) == (2_000, 500, 500)
        speakers = [name.split("_")[1] for name in task.meta["ids"]]
        assert [len(set(speakers[a:b])) for a, b in ((0, 2_000), (2_000, 2_500), (2_500, 3_000))] == [4, 1, 1]
        assert not set(speakers[:2_000]) & set(speakers[2_000:])
        held_out += task.meta["ids"][-500:]
    assert len(set(held_out)) == 3_000


def test_what_baselines_reach():
    assert reached("nearest_neighbour", card("japanese_vowels", 29)) == pytest.approx(0.949, abs=0.002)
    assert reached("tf_idf_logistic", card("sst2", 50)) == pytest.approx(0.815, abs=0.01)
    assert reached("logistic_on_summary", card("fsdd", 100)) > 0.97
    assert 0.7 < reached("logistic_on_summary", card("fsdd_speaker", 100)) < 0.85  # a speaker never heard


# The cards


def test_the_listing_of_the_recordings():
    (entry,) = tomllib.loads((CARDS / "fsdd.toml").read_text())["files"]
    assert tomllib.loads((CARDS / "fsdd_speaker.toml").read_text())["files"] == [entry]
    head, *rows = [line.split("\t") for line in (CARDS / entry["listing"]).read_text().splitlines()]
    assert head == ["path", "sha256", "size_bytes", "url"]
    assert len(rows) == 3_000
    lines = sorted(f"{path} {sha256}\n" for path, sha256, _, _ in rows)
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == entry["sha256"]
    assert sum(int(size) for _, _, size, _ in rows) == entry["size_bytes"]
    assert all(path.startswith(entry["path"] + "/") and url.endswith(path.rsplit("/")[-1]) for path, _, _, url in rows)


@pytest.mark.parametrize("name", NAMES)
def test_the_files_of_a_card_are_those_it_names(name):
    for entry in tomllib.loads((CARDS / f"{name}.toml").read_text())["files"]:
        file = DataFile.model_validate(entry)
        try:
            path = locate(file)
        except DataMissingError as error:
            pytest.skip(str(error))
        if file.listing is None:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
