"""Translations: pairs by hand, what is left out, scores as sacrebleu has them, and new files."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from bench.config.contracts import Sampling
from bench.errors import DataError, DeclarationError
from bench.tasks.translation import UNKNOWN, Predictor, Task
from tests.makers import aligned

SPLITS = {part: [f"{part}.de", f"{part}.en"] for part in ("train", "val", "test")}


def files_of(*paths):
    return [
        {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": path.stat().st_size}
        for path in paths
    ]


@pytest.fixture
def small(tmp_path):
    """Pairs of three parts; the vocabularies hold what occurs twice in train."""
    train = ("die Katze\ndie Katze\nein Hund lief schnell", "the cat\nthe cat\na dog ran fast")
    contents = {"train": train, "val": ("die Katze\ndie Maus", "the cat\nthe  mouse"), "test": ("die Katze", "a cat")}
    for part, sides in contents.items():
        for ending, text in zip(("de", "en"), sides, strict=True):
            (tmp_path / f"{part}.{ending}").write_text(text + "\n")
    return files_of(*(tmp_path / name for names in SPLITS.values() for name in names))


def test_pairs_by_hand(small):
    task = Task(4, files=small, splits=SPLITS)
    assert task.meta["vocabulary"] == ["<unk>", " Katze", " die"]
    assert task.meta["target_vocabulary"] == ["<unk>", "<eos>", " cat", " the"]
    batch = task.split("val", 10)
    np.testing.assert_array_equal(batch.x, [[2, 1, 0], [2, 0, 0]])
    np.testing.assert_array_equal(batch.length, [2, 2])
    np.testing.assert_array_equal(batch.y, [[3, 2, 1], [3, 0, 1]])
    assert batch.mask.all()
    assert batch.text.tolist() == ["the cat", "the mouse"]  # as written, also what training does not know
    assert task.written(batch.y) == ["the cat", "the <unk>"]
    assert (task.num_steps, task.target_steps) == (4, 5)


def test_the_constant_answer_is_the_most_frequent_sentence(small):
    task = Task(4, files=small, splits=SPLITS)
    assert task.written(task.constant(2)) == ["the cat", "the cat"]
    assert task.chance == pytest.approx(BLEU().corpus_score(["the cat"] * 2, [["the cat", "the mouse"]]).score)


def test_pairs_with_a_longer_source_are_left_out_of_every_part(small):
    task = Task(3, files=small, splits=SPLITS)
    assert task.counts == {"train": 2, "val": 2, "test": 1}
    assert (task.num_steps, task.target_steps) == (2, 3)
    assert task.steps_of("train").tolist() == [2, 2, 4]
    with pytest.raises(DeclarationError, match="length 1: no pair of train has a source of so few tokens"):
        Task(1, files=small, splits=SPLITS)


def test_equal_sources_share_a_part(tmp_path):
    task = Task(9, files=files_of(*aligned(tmp_path)), splits=[0.5, 0.25, 0.25])
    batches = [task.spread(part, 99) for part in ("train", "val", "test")]
    parts = [{tuple(row) for row in batch.x[:, :9].tolist() if UNKNOWN not in row[:2]} for batch in batches]
    assert all(parts)
    assert sum(map(len, parts)) == len(set().union(*parts))


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_sacrebleu(tmp_path, seed):
    task = Task(9, files=files_of(*aligned(tmp_path)))
    batch = task.split("val", 99)
    rng = np.random.default_rng(seed)
    noisy = np.where(rng.random(batch.y.shape) < 0.3, rng.integers(2, task.output_size, batch.y.shape), batch.y)
    written, references = task.written(noisy), [batch.text.tolist()]
    report = task.report(noisy, batch)
    assert task.score(noisy, batch)["bleu"] == pytest.approx(BLEU().corpus_score(written, references).score)
    assert report["bleu"] == task.score(noisy, batch)["bleu"]
    assert report["chrf"] == pytest.approx(CHRF().corpus_score(written, references).score)
    assert report["bleu_1_to_10"] == report["bleu"]  # no source is longer
    assert task.score(batch.y, batch)["bleu"] == pytest.approx(100)


def test_the_length_ratio_is_that_of_words(small):
    task = Task(4, files=small, splits=SPLITS)
    answers = np.array([[3, 1, 1], [3, 2, 1]])  # three words, and the references have four
    assert task.report(answers, task.split("val", 2))["length_ratio"] == pytest.approx(3 / 4)


def test_a_sentence_ends_before_its_end_and_may_hold_words_of_the_source(small):
    task = Task(4, files=small, splits=SPLITS)
    copied = len(task.meta["target_vocabulary"]) + 2
    assert task.written(np.array([[3, copied, 1, 2, 2]])) == ["the die"]


def test_a_table_with_a_column_of_the_splits(tmp_path):
    rows = [f"Hund {n},dog {n},{part}" for n, part in enumerate(["train"] * 20 + ["test"] * 4)]
    (tmp_path / "t.csv").write_text("\n".join(["de,en,part", *rows]) + "\n")
    rule = {"by": "column", "column": "part"}
    task = Task(3, files=files_of(tmp_path / "t.csv"), source="de", target="en", splits=rule)
    assert task.counts["test"] == 4
    assert task.counts["train"] + task.counts["val"] == 20
    assert task.counts["val"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"splits": {"train": ["train.de", "train.en"]}}, "splits: val: must name the source and the target"),
        ({"splits": [0.8, 0.1, 0.1]}, "must be two texts, the source first.* but found 6 files"),
        ({"source": "de", "splits": SPLITS}, "name both columns of a table, or none"),
        ({"source": "de", "target": "en", "splits": {"by": "index", "test": [1]}}, "must be shares, by = 'file'"),
        ({"min_count": 0, "splits": SPLITS}, "min_count: must be at least 1"),
    ],
)
def test_arguments_that_cannot_be_are_refused(small, arguments, message):
    with pytest.raises(DeclarationError, match=message):
        Task(4, files=small, **arguments)


def test_a_new_file_is_translated_line_by_line(small, tmp_path):
    predictor = Predictor({}, Task(4, files=small, splits=SPLITS).meta)
    (tmp_path / "new.txt").write_text("die Katze\ndie Maus die Katze die Katze\n")
    new = predictor.read(tmp_path / "new.txt", num_steps=4)
    assert new.x.tolist() == [[2, 1, 0, 0, 0, 0], [2, 0, 2, 1, 2, 1]]  # nothing is cut
    answers = np.array([[3, 2, 1], [3, 2, 3]])
    table = predictor.answer(SimpleNamespace(outputs=lambda x, length: answers), new, Sampling())
    assert list(table["source"]) == ["die Katze", "die Maus die Katze die Katze"]
    assert table["translation"] == ["the cat", "the cat the"]
    assert list(table["unknown_tokens"]) == [0, 1]


def test_an_empty_line_of_a_new_file_is_refused(small, tmp_path):
    predictor = Predictor({}, Task(4, files=small, splits=SPLITS).meta)
    (tmp_path / "new.txt").write_text("die Katze\n \ndie\n")
    with pytest.raises(DataError, match="sentence 2 is empty"):
        predictor.read(tmp_path / "new.txt", num_steps=4)


def test_a_labelled_file_is_scored_as_written(small, tmp_path):
    predictor = Predictor({}, Task(4, files=small, splits=SPLITS).meta)
    (tmp_path / "new.tsv").write_text("source\ttarget\ndie Katze\tthe cat\ndie Maus\tthe mouse\n")
    found = predictor.labelled(tmp_path / "new.tsv", 4)
    perfect = np.array([[3, 2, 1], [3, 0, 1]])
    expected = BLEU().corpus_score(["the cat", "the <unk>"], [["the cat", "the mouse"]]).score
    assert predictor.scores(perfect, found.batch)["bleu"] == pytest.approx(expected)
    with pytest.raises(DataError, match="give a table with the columns 'source' and 'target'"):
        predictor.labelled(tmp_path / "new.txt", 4)
