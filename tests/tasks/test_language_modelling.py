"""The next token: windows by hand, the vocabulary from the training part alone, n-grams that sum to one."""

import gzip
import hashlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config import datasets
from bench.data import vocabulary
from bench.data.kneser_ney import KneserNey, _discounts
from bench.errors import BenchError, DataMissingError
from bench.tasks.language_modelling import Task
from tests.baselines.fitting import reached


def card(path) -> dict:
    data = path.read_bytes()
    return {"path": str(path), "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


@pytest.fixture
def text(tmp_path):
    def write(content: str | bytes, name: str = "text.txt") -> dict:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return card(path)

    return write


def test_windows_by_hand(text):
    task = Task(4, files=[text("abcabcabca" * 4)], splits=[0.5, 0.25, 0.25])
    assert task.meta["vocabulary"] == ["<unk>", "a", "b", "c"]
    batch = task.split("val", 10)
    assert task.decode(batch.x[0]) == "abca"
    assert task.decode(batch.y[0]) == "bcab"
    assert task.decode(batch.x[1]) == "bcab"  # the next window begins where the last one ended
    assert batch.mask.all()
    assert task.counts["val"] == 2  # of ten characters, nine are foretold


def test_training_windows_are_a_function_of_seed_and_number(text):
    task = Task(8, files=[text("the quick brown fox jumps over the lazy dog. " * 20)])
    first, again, other = (task.train_batch(*key, 16) for key in ((3, 1), (3, 1), (3, 2)))
    assert np.array_equal(first.x, again.x)
    assert not np.array_equal(first.x, other.x)
    assert np.array_equal(first.x[:, 1:], first.y[:, :-1])


def test_streams_continue_from_batch_to_batch_and_read_the_text_in_a_circle(text):
    content = "the quick brown fox jumps over the lazy dog. " * 20
    task = Task(8, files=[text(content)])
    batches = [task.stream_batch(3, number, 16) for number in range(len(content))]
    for before, after in itertools.pairwise(batches):
        continues = before.y[:, -1] == after.x[:, 0]
        assert continues.mean() > 0.5
        assert np.array_equal(after.x[:, 1:], after.y[:, :-1])
    assert sum((before.y[:, -1] == after.x[:, 0]).all() for before, after in itertools.pairwise(batches)) > 100
    other = task.stream_batch(4, 0, 16)
    assert not np.array_equal(batches[0].x, other.x)


def test_a_part_of_the_windows_comes_in_stretches_of_text(text):
    task = Task(2, files=[text("abcdefghijklmnopqrstuvwxyz" * 200)], splits=[0.5, 0.25, 0.25])
    assert task.counts["val"] == 649
    batch = task.split("val", 163)
    assert len(batch.x) == 160  # the same number in each of 16 stretches
    rows = batch.x.reshape(16, 20)
    assert np.array_equal(rows[:, 2::2], batch.y.reshape(16, 20)[:, 1:-1:2])  # within a stretch, the text goes on
    assert len(np.unique(task.split("val", 1000).x, axis=0)) == 26 / 2
    assert len(task.split("val", 3).x) == 3


def test_the_vocabulary_is_that_of_the_training_part(text):
    task = Task(2, files=[text("a" * 50 + "z" * 50)], splits=[0.5, 0.25, 0.25])
    assert task.meta["vocabulary"] == ["<unk>", "a"]
    assert task.meta["unknown"] == {"train": 0, "val": 25, "test": 25}
    assert (task.split("test", 5).x == 0).all()


def test_words_end_their_lines_and_rare_ones_are_unknown(text):
    names = {part: f"{part}.txt" for part in ("train", "val", "test")}
    files = [
        text("the cat sat\nthe dog sat\n", "train.txt"),
        text("the cow sat\n" * 2, "val.txt"),
        text("a b c\n", "test.txt"),
    ]
    task = Task(3, files=files, unit="word", splits=names, max_words=4)
    assert task.meta["vocabulary"] == ["<unk>", "<eos>", "sat", "the"]
    assert task.decode(task.split("val", 1).x[0]) == "the <unk> sat"


def test_nats_are_of_tokens(text):
    task = Task(4, files=[text("abcd" * 30)])
    found = task.score(np.full((3, 4), math.log(8)), task.split("val", 3))
    assert found == pytest.approx({"nats": math.log(8), "bits": 3, "perplexity": 8})


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=200), st.lists(st.integers(0, 5), min_size=2, max_size=9))
@pytest.mark.parametrize("order", [1, 2, 5])
def test_probabilities_add_up_to_one_and_make_the_nats(order, train, asked):
    model = KneserNey(np.array(train), order, 6)
    found = [model.probabilities(asked[max(0, place - order + 1) : place]) for place in range(1, len(asked))]
    assert [row.sum() for row in found] == pytest.approx([1] * len(found))
    nats = -np.mean([math.log(row[token]) for row, token in zip(found, asked[1:], strict=True)])
    assert model.nats(np.array(asked)) == pytest.approx(nats)


def test_kneser_ney_by_hand():
    # a b a b a c: of two a-contexts … b follows twice, c once; before b stands a, before c a, before a b.
    model = KneserNey(np.array([0, 1, 0, 1, 0, 2]), 2, 3)
    unigram = (1 - 0.75) / 3 + 0.75 * 3 / 3 * (1 / 3)  # one context each, of three
    expected = (2 - 0.75) / 3 + 0.75 * 2 / 3 * unigram
    assert model.nats(np.array([0, 1])) == pytest.approx(-math.log(expected))


def test_discounts_by_hand():
    # 5 n-grams seen once, 3 twice, 2 three times, 1 four times, 1 nine times.
    found = _discounts(np.array([1] * 5 + [2] * 3 + [3] * 2 + [4, 9]))
    ratio = 5 / (5 + 2 * 3)
    assert found == pytest.approx([0, 1 - 2 * ratio * 3 / 5, 2 - 3 * ratio * 2 / 3, 3 - 4 * ratio * 1 / 2])
    assert _discounts(np.array([1, 1, 2])) == pytest.approx([0, 0.75, 0.75, 0.75])  # too few to estimate from


def test_longer_contexts_foretell_a_regular_text_better(text):
    task = Task(16, files=[text("once upon a time there was a bench. " * 60)])
    found = [reached(name, task) for name in ("uniform", "unigram", "kneser_ney_2", "kneser_ney_5")]
    assert found == sorted(found, reverse=True)


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
@pytest.mark.parametrize("unit", ["byte", "character"])
def test_what_is_encoded_comes_back(unit, text):
    found = vocabulary.tokens(text, unit)
    words = vocabulary.make(found, unit)
    assert vocabulary.decode(vocabulary.encode(found, words), words, unit) == text


@pytest.mark.parametrize(
    ("content", "options", "complaint"),
    [
        ("", {}, "empty"),
        ("short", {"length": 50}, "smaller length"),
        ("a", {"length": 1}, "0 tokens; use a longer text"),
        (b"fine\nnot \x81 fine" * 9, {}, "line 2, byte 9, is neither UTF-8 nor Windows-1252"),
        (b"fine\nnot \xff fine" * 9, {"encoding": "utf-8"}, "line 2, byte 9, is not utf-8; give the encoding"),
        (b"fine\0fine" * 9, {}, "line 1 holds a NUL character"),
        ("some text " * 9, {"unit": "byte", "encoding": "cp1252"}, "bytes are not decoded; remove"),
        ("some text " * 9, {"unit": "letter"}, "unit: must be one of byte, character, word"),
        ("some text " * 9, {"splits": [0.5, 0.6, 0.1]}, "three shares that sum to 1"),
        ("some text " * 9, {"splits": {"train": "other.txt"}}, "train: must be one of text.txt"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, content, options, complaint):
    path = tmp_path / "text.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    data = path.read_bytes()
    file = {"path": str(path), "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": max(1, len(data))}
    with pytest.raises(BenchError) as error:
        Task(options.pop("length", 4), files=[file], **options)
    if content:
        assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_how_a_text_is_written_changes_none_of_it(text):
    content = "Ach, schön ist’s hier!\n" * 20
    expected = Task(4, files=[text(content)])
    crlf = content.replace("\n", "\r\n")
    for number, (data, options, remark) in enumerate(
        [
            (crlf.encode(), {}, []),
            (("\ufeff" + content).encode(), {}, []),
            (gzip.compress(content.encode()), {}, []),
            (content.encode("utf-16"), {}, []),
            (crlf.encode("cp1252"), {}, ["0.txt: line 1, byte 8, is not UTF-8; read as Windows-1252 (--encoding)"]),
            (content.encode("cp1250"), {"encoding": "cp1250"}, []),
        ]
    ):
        name = f"{number}.txt" + ".gz" * (data[:2] == b"\x1f\x8b")
        found = Task(4, files=[text(data, name)], **options)
        assert found.meta["vocabulary"] == expected.meta["vocabulary"], number
        assert np.array_equal(found.parts["train"], expected.parts["train"])
        assert [str(each).replace("4.txt", "0.txt") for each in found.meta["remarks"]] == remark


def test_bytes_are_as_they_are(text):
    data = bytes(range(256)) * 4 + b"\r\n\xff"
    task = Task(4, files=[text(data)], unit="byte", splits=[0.98, 0.01, 0.01])
    assert bytes(np.concatenate([task.parts[part] for part in ("train", "val", "test")]).tolist()) == data


def shipped(name: str, length: int):
    try:
        return datasets.read(name).at(length)
    except DataMissingError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("part", ["val", "test"])
def test_tiny_shakespeare_is_as_published(part):
    """Uniform 4.17, unigram 3.35 and bigram 2.48 nats a character."""
    task = shipped("tiny_shakespeare", 128)
    assert sum(task.meta["tokens"].values()) == 1_115_394
    assert len(task.meta["vocabulary"]) == 65 + 1
    numbers = np.asarray(task.parts[part])
    nats = {order: task.n_gram_model(order).nats(numbers) for order in (1, 2, 5)}
    assert math.log(task.output_size) == pytest.approx(4.17, abs=0.02)
    assert nats[1] == pytest.approx(3.35, abs=0.02)
    assert nats[2] == pytest.approx(2.48, abs=0.02)
    assert nats[5] < 1.65


def test_baselines_of_tiny_shakespeare_are_of_its_windows():
    task = shipped("tiny_shakespeare", 128)
    assert reached("unigram", task) == pytest.approx(3.36, abs=0.01)
    assert reached("kneser_ney_2", task) == pytest.approx(2.49, abs=0.01)
    # A little worse than on the whole text: each window begins without what is before it.
    assert reached("kneser_ney_5", task) == pytest.approx(1.644, abs=0.005)


def test_the_penn_treebank_has_its_ten_thousand_words():
    task = shipped("ptb_word", 35)
    assert task.meta["tokens"] == {"train": 929_589, "val": 73_760, "test": 82_430}
    assert len(task.meta["vocabulary"]) == 10_000


def test_the_5_gram_of_the_penn_treebank_is_as_published():
    """About 141 on test, as tables of recurrent language models cite it (Mikolov et al., 2011)."""
    task = shipped("ptb_word", 35)
    nats = task.n_gram_model(5).nats(np.asarray(task.parts["test"]))
    assert math.exp(nats) == pytest.approx(141, abs=1)


def test_chance_is_the_unigram_of_the_training_part_on_val(text):
    task = Task(2, files=[text("aab" * 20 + "abb" * 20)], splits=[0.5, 0.25, 0.25])
    counts = {"a": 40 + 1, "b": 20 + 1, "<unk>": 1}  # one more each, so that nothing is impossible
    val = ("abb" * 20)[:30]
    expected = -sum(math.log(counts[c] / 63) for c in val[1:]) / 29
    assert task.chance == pytest.approx(expected)
