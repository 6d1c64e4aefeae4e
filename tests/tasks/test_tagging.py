"""A label a step: sentences by hand, files that break a rule, and the counts of the treebank."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.baselines import tag_of_token
from bench.config import datasets
from bench.data.tagged import read_conllu
from bench.errors import BenchError, DataMissingError
from bench.tasks.tagging import Task
from tests.baselines.fitting import reached

SPLITS = {part: f"{part}.conllu" for part in ("train", "val", "test")}


def conllu(*sentences: str) -> str:
    """CoNLL-U of sentences such as "the/DET cat/NOUN"."""
    lines = []
    for sentence in sentences:
        lines.append(f"# text = {sentence}")
        for number, word in enumerate(sentence.split(), 1):
            form, tag = word.rsplit("/", 1)
            lines.append(f"{number}\t{form}\t_\t{tag}\t_\t_\t0\troot\t_\t_")
        lines.append("")
    return "\n".join(lines) + "\n"


@pytest.fixture
def write(tmp_path):
    def _write(**contents: str) -> list[dict]:
        """Write a file for each part, and return the card's entries."""
        files = []
        for part, content in contents.items():
            path = tmp_path / part.replace("__", ".")
            path.write_bytes(content.encode())
            data = path.read_bytes()
            files.append({"path": str(path), "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data) or 1})
        return files

    return _write


@pytest.fixture
def small(write):
    return write(
        train__conllu=conllu("the/DET cat/NOUN sat/VERB", "the/DET dog/NOUN", "the/DET cat/VERB cat/NOUN sat/VERB"),
        val__conllu=conllu("the/DET cow/NOUN sat/VERB"),
        test__conllu=conllu("cat/NOUN sat/VERB", "the/DET cow/NOUN sat/VERB"),
    )


def test_sentences_by_hand(small):
    task = Task(3, files=small, splits=SPLITS)
    assert task.meta["vocabulary"] == ["<unk>", "cat", "the", "sat"]  # the dog is seen once
    assert task.meta["labels"] == ["DET", "NOUN", "VERB"]
    batch = task.split("test", 10)
    assert batch.x.tolist() == [[1, 3, 0], [2, 0, 3]]
    assert batch.y.tolist() == [[1, 2, 0], [0, 1, 2]]
    assert batch.mask.tolist() == [[True, True, False], [True, True, True]]
    assert batch.length.tolist() == [2, 3]


def test_features_follow_their_word(write):
    files = write(
        train__conllu=conllu("Walking/V walked/V x-1/N", "Talking/V talked/V x-2/N"),
        val__conllu=conllu("Hopping/V x-3/N"),
        test__conllu=conllu("hopped/V"),
    )
    task = Task(4, files=files, splits=SPLITS, word_features=True)
    assert [len(names) for names in task.meta["features"]] == list(task.feature_sizes)
    batch = task.split("val", 1)
    assert batch.x.shape == (1, 2, 5)
    assert batch.x[0, :, 0].tolist() == [0, 0]  # both words are unknown
    found = [
        [names[number] for names, number in zip(task.meta["features"], row[1:], strict=True)] for row in batch.x[0]
    ]
    assert found == [["g", "ng", "ing", "Xx"], ["<unk>", "<unk>", "<unk>", "x-d"]]
    plain = Task(4, files=files, splits=SPLITS)
    assert plain.feature_sizes == ()
    np.testing.assert_array_equal(plain.split("val", 1).x, batch.x[..., 0])
    scores = []
    for each in (task, plain):
        fitted = tag_of_token.Baseline()
        fitted.fit(each.take("train", np.arange(2)), each.split("val", 1), each)
        val = each.split("val", 1)
        scores.append(each.score(fitted.outputs(val.x, val.length), val))
    assert scores[0] == scores[1]
    padded = task.take("train", np.arange(2)).x
    np.testing.assert_array_equal(padded[..., 0], plain.take("train", np.arange(2)).x)


def test_long_sentences_are_cut_off(small):
    batch = Task(3, files=small, splits=SPLITS).take("train", np.arange(3))
    assert batch.length.tolist() == [3, 2, 3]
    assert Task(2, files=small, splits=SPLITS).take("train", np.arange(3)).x.shape == (3, 2)
    assert Task(99, files=small, splits=SPLITS).num_steps == 4


def test_scores_by_hand(small):
    task = Task(3, files=small, splits=SPLITS)
    batch = task.split("test", 10)
    answers = np.array([[1, 2, 2], [1, 1, 2]])  # padding is not asked; a DET is taken for a NOUN
    found = task.score(np.eye(3)[answers], batch)
    macro_f1 = (0 + 2 * 2 / (2 + 3) + 1) / 3
    assert found == pytest.approx({"accuracy": 4 / 5, "macro_f1": macro_f1, "balanced_accuracy": (0 + 1 + 1) / 3})


def test_baselines_by_hand(small):
    task = Task(4, files=small, splits=SPLITS)
    # DET, NOUN and VERB are equally frequent in training: the first is taken. A word seen once was a NOUN.
    assert [reached(name, task) for name in ("constant", "tag_of_token")] == [1 / 5, 1.0]


def test_chance_is_the_commonest_training_label_on_val(small):
    assert Task(4, files=small, splits=SPLITS).chance == pytest.approx(1 / 3)


def test_spans_of_contractions_and_empty_nodes_are_no_words(write):
    rows = [
        ("1-2", "don't", "_"),
        ("1", "do", "AUX"),
        ("2", "n't", "PART"),
        ("2.1", "go", "VERB"),
        ("3", "_", "PUNCT"),
    ]
    text = "\n".join(f"{i}\t{form}\t_\t{tag}\t_\t_\t_\t_\t_\t_" for i, form, tag in rows)
    (file,) = write(train__conllu=text)  # and no empty line at the end
    found = read_conllu(Path(file["path"]), "form", "upos")
    assert found.tokens == ["do", "n't", "_"]
    assert found.stop == [3]


def test_a_long_table_is_read_alike(write, small):
    rows = [
        "the,DET,1",
        "cat,NOUN,1",
        "sat,VERB,1",
        "the,DET,2",
        "dog,NOUN,2",
        "the,DET,3",
        "cat,VERB,3",
        "cat,NOUN,3",
        "sat,VERB,3",
    ]
    files = write(
        train__csv="word,tag,sentence\n" + "\n".join(rows) + "\n",
        val__csv="word,tag,sentence\nthe,DET,a\ncow,NOUN,a\nsat,VERB,a\n",
        test__csv="tag,word,sentence\nNOUN,cat,a\nVERB,sat,a\nDET,the,b\nNOUN,cow,b\nVERB,sat,b\n",
    )
    splits = {part: f"{part}.csv" for part in SPLITS}
    table = Task(3, files=files, token="word", label="tag", group="sentence", splits=splits)
    other = Task(3, files=small, splits=SPLITS)
    assert table.meta == other.meta
    for part in SPLITS:
        ours, theirs = (task.take(part, np.arange(task.counts[part])) for task in (table, other))
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


GOOD = conllu("the/DET cat/NOUN")


@pytest.mark.parametrize(
    ("content", "options", "complaint"),
    [
        ("1\tthe\tDET\n", {}, "line 1: must have 10 fields separated by tabs, but has 3"),
        (GOOD.replace("2\tcat", "two\tcat"), {}, "line 3, column 'id': must be like 1, 1-2 or 1.1, but found 'two'"),
        (GOOD.replace("NOUN", "_"), {}, "line 3, column 'upos': no label"),
        ("# nothing but a comment\n\n", {}, "no words; write"),
        ("the\0cat", {}, "a NUL character"),
        (GOOD, {"label": "uppos"}, "no column 'uppos'; did you mean 'upos'?"),
        (GOOD, {"length": 0}, "length: must be at least 1 step, but found 0"),
        (GOOD, {"min_count": 0}, "min_count: must be at least 1, but found 0"),
        (GOOD, {"splits": SPLITS | {"val": "dev.conllu"}}, "val: must be one of train.conllu, val.conllu, test.conllu"),
        (GOOD, {"splits": SPLITS | {"val": "test.conllu"}}, "each part needs its own file"),
        (GOOD, {"splits": SPLITS | {"more": "test.conllu"}}, "train, val and test, but found 'more'"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(write, content, options, complaint):
    files = write(train__conllu=content, val__conllu=GOOD, test__conllu=GOOD)
    with pytest.raises(BenchError) as error:
        Task(**{"length": 4, "files": files, "splits": SPLITS} | options)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_a_label_that_training_does_not_hold_is_a_remark_and_counts_as_wrong(write, small):
    files = [*small[:2], *write(test__conllu=conllu("cat/NOUN sat/VERB", "oh/INTJ"))]
    task = Task(3, files=files, splits=SPLITS)
    assert task.meta["labels"] == ["DET", "NOUN", "VERB", "INTJ"]
    rule = "labels of test that no training sequence has, so that every answer to them counts as wrong"
    assert f"{rule}: INTJ (1)" in [remark.text for remark in task.meta["remarks"]]
    test = task.spread("test", 2)
    perfect = np.eye(4)[np.where(test.y == 3, 0, test.y)]
    assert task.score(perfect, test)["accuracy"] == pytest.approx(2 / 3)


def test_files_with_different_labels_are_refused(write):
    files = write(train__conllu=GOOD, val__conllu=GOOD, test__conllu=conllu("oh/INTJ"))
    with pytest.raises(BenchError, match=r"column 'upos': most labels of test do not occur in train, such as 'INTJ'"):
        Task(4, files=files, splits=SPLITS)


def test_sentences_that_are_in_two_parts_are_counted(write):
    files = write(
        train__conllu=conllu("the/DET cat/NOUN", "the/DET dog/NOUN"),
        val__conllu=conllu("the/DET dog/NOUN", "the/DET cow/NOUN"),
        test__conllu=conllu("the/NOUN cat/DET", "the/DET cow/NOUN", "the/DET"),
    )
    remarks = list(map(str, Task(4, files=files, splits=SPLITS).meta["remarks"]))
    assert remarks[:2] == [
        "equal examples: of 2 in val, 1 also in train",
        "equal examples: of 3 in test, 1 also in train and 1 also in val",
    ]


def test_other_encodings_and_delimiters(write):
    content = conllu("Ärger/NOUN", "Öl/NOUN für/ADP")
    names = {part: part + ".CONLLU" for part in SPLITS}
    files = write(**{f"{part}__CONLLU": content for part in SPLITS})
    expected = Task(4, files=files, splits=names, min_count=1).meta["vocabulary"]
    for file in files:
        data = content.encode("cp1250")
        Path(file["path"]).write_bytes(data)
        file |= {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    assert Task(4, files=files, splits=names, min_count=1, encoding="cp1250").meta["vocabulary"] == expected
    table = "s|w|t\n1|Ärger, viel|A\n1|Öl|B\n"
    files = write(**{f"{part}__csv": table for part in SPLITS})
    task = Task(
        4, files=files, splits={part: f"{part}.csv" for part in SPLITS}, min_count=1,
        token="w", label="t", group="s", delimiter="|",
    )  # fmt: skip
    assert "Ärger, viel" in task.meta["vocabulary"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("s,w,t\n1,a,A\n1,b,\n", "line 3, column 't': empty"),
        ("s,w,t\n1,a,A\n,b,B\n", "line 3, column 's': empty"),
        (
            "s,w,t\n1,a,A\n2,b,B\n1,c,B\n",
            "line 4, column 's': rows of one sequence must follow each other, but '1' begins again",
        ),
        ("s,w\n1,a\n", "no column 't'"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused(write, content, complaint):
    files = write(train__csv=content, val__csv=content, test__csv=content)
    splits = {part: f"{part}.csv" for part in SPLITS}
    with pytest.raises(BenchError) as error:
        Task(4, files=files, token="w", label="t", group="s", splits=splits)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(BenchError, match="group: name the column"):
        Task(4, files=files, token="w", label="t", splits=splits)


words = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["X", "Y"])), min_size=1, max_size=9)


@settings(max_examples=20, deadline=None)
@given(st.lists(words, min_size=1, max_size=6))
def test_every_word_of_a_file_comes_back(tmp_path_factory, sentences):
    path = tmp_path_factory.mktemp("tags") / "some.conllu"
    path.write_text(conllu(*(" ".join(f"{w}/{t}" for w, t in sentence) for sentence in sentences)))
    found = read_conllu(path, "form", "upos")
    starts = [0, *found.stop]
    pairs = list(zip(found.tokens, found.labels, strict=True))
    assert [pairs[a:b] for a, b in zip(starts, found.stop, strict=False)] == sentences


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 11), st.text(alphabet="\t1-.x_#\0é \r\u2028", max_size=6)), max_size=4))
def test_any_change_of_a_file_is_read_or_refused_in_one_line(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tags") / "changed.conllu"
    lines = conllu("the/DET cat/NOUN sat/VERB", "a/DET dog/NOUN").split("\n")
    for place, text in rows:
        lines.insert(min(place, len(lines)), text)
    path.write_text("\n".join(lines), newline="")
    try:
        found = read_conllu(path, "form", "upos")
    except BenchError as error:
        told = str(error)
    else:
        told = ""
    if told:
        assert told.startswith(f"{path}: ")
        assert "\n" not in told
        return
    assert len(found.tokens) == len(found.labels) == found.stop[-1]
    assert found.stop == sorted(set(found.stop))
    assert all(found.labels)


def test_the_english_treebank_is_as_counted():
    try:
        task = datasets.read("ud_english").at(64)
    except DataMissingError as error:
        pytest.skip(str(error))
    assert task.meta["sequences"] == {"train": 12_544, "val": 2_001, "test": 2_077}
    assert task.meta["tokens"] == {"train": 204_577, "val": 25_147, "test": 25_094}
    assert len(task.meta["labels"]) == 17
    assert reached("tag_of_token", task) == pytest.approx(0.849, abs=0.005)
