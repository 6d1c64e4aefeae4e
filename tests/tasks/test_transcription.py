"""Speech to text: error rates by hand, strings of words that parts do not share, and what is left out or refused."""

from types import SimpleNamespace

import jiwer
import numpy as np
import pytest

from bench.config.contracts import Sampling
from bench.config.sweep_settings import SweepConfig
from bench.data import own_data, spoken
from bench.errors import DataError, DeclarationError
from bench.tasks import _transcripts
from bench.tasks.transcription import Predictor, Task
from tests.makers import dictation, recordings


def card_of(folder, **options):
    return own_data.make(SweepConfig(data=[folder], task="transcription", **options)).card


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return dictation(tmp_path_factory.mktemp("spoken") / "words")


@pytest.fixture(scope="module")
def task(folder):
    card = card_of(folder)
    return card.at(card.lengths[0])


# Scores


@pytest.mark.parametrize(
    ("written", "reference", "errors"),
    [
        ("1 2 3", "1 2 3", (0, 0, 0)),
        ("1 2", "1 2 3", (0, 1, 0)),
        ("", "1 2 3", (0, 3, 0)),
        ("1 4 3", "1 2 3", (1, 0, 0)),
        ("0 1 2 3 9", "1 2 3", (0, 0, 2)),
        ("2 3 4", "1 2 3", (0, 1, 1)),
    ],
)
def test_errors_by_hand(written, reference, errors):
    found = _transcripts.report([written], [reference])
    assert tuple(round(3 * found[kind]) for kind in _transcripts.KINDS) == errors
    assert found["word_error_rate"] == pytest.approx(sum(errors) / 3)
    assert found["word_error_rate_of_3"] == found["word_error_rate"]
    assert found["exact"] == (written == reference)


def test_the_rate_is_of_all_words_and_not_a_mean_over_transcripts():
    written, references = ["a", "b c d x"], ["x", "b c d e"]
    assert _transcripts.word_error_rate(written, references) == pytest.approx(2 / 5)
    assert _transcripts.word_error_rate(written, references) == pytest.approx(jiwer.wer(references, written))
    assert _transcripts.character_error_rate(["ab c"], ["abc"]) == pytest.approx(jiwer.cer("abc", "ab c"))
    assert _transcripts.report(written, references)["word_error_rate_of_4"] == pytest.approx(1 / 4)


def test_the_constant_answer_makes_the_fewest_errors():
    assert _transcripts.constant(["1 2", "1 2", "1 3", "7 8 9"]) == "1 2"
    assert _transcripts.constant(["a", "b c d e f g", "h i"]) in ("", "a", "h i")
    assert _transcripts.constant(["a b c d", "e f g h", "i j k l"]) == ""


# Examples


def test_characters_are_written_and_scored_as_text(task):
    batch = task.split("val", 9)
    assert set("".join(batch.text.tolist())) <= set(task.meta["vocabulary"][1:])
    assert task.written(batch.y) == batch.text.tolist()
    assert task.score(batch.y, batch) == {"word_error_rate": 0.0, "character_error_rate": 0.0}
    assert task.report(batch.y, batch)["exact"] == 1
    with_blanks = np.insert(batch.y, range(0, batch.y.shape[1], 2), 0, axis=1)
    assert task.written(with_blanks) == batch.text.tolist()


def test_words_are_tokens_if_asked_for(folder):
    card = card_of(folder, tokens="word")
    task = card.at(card.lengths[0])
    assert task.meta["vocabulary"] == ["<blank>", "go", "left", "up"]
    batch = task.split("val", 9)
    assert task.written(batch.y) == batch.text.tolist()
    assert set(task.score(batch.y, batch)) == {"word_error_rate"}
    assert task.chance == task.score(task.constant(9)[: len(batch.x)], batch)["word_error_rate"] > 0


def test_longer_recordings_are_left_out_of_every_part(folder, task):
    steps = {part: task.steps_of(part) for part in ("train", "val", "test")}
    length = int(np.median(np.concatenate(list(steps.values()))))
    shorter = card_of(folder).at(length)
    assert shorter.counts == {part: int((part_steps <= length).sum()) for part, part_steps in steps.items()}
    assert shorter.num_steps <= length < task.num_steps
    with pytest.raises(DeclarationError, match="length 1: no recording of train has so few steps"):
        card_of(folder).at(1)


def test_the_largest_stride_leaves_each_transcript_its_steps(task):
    batches = [task.spread(part, 99) for part in ("train", "val")]

    def fits(stride):
        pairs = [
            (-(-int(steps) // stride), row[mask].tolist())
            for batch in batches
            for steps, row, mask in zip(batch.length, batch.y, batch.mask, strict=True)
        ]
        return all(n >= len(y) + sum(a == b for a, b in zip(y, y[1:], strict=False)) for n, y in pairs)

    assert fits(task.max_stride)
    assert not fits(task.max_stride + 1)


def test_strings_are_of_one_speaker_and_parts_share_no_recording(tmp_path, monkeypatch):
    folder, chosen = recordings(tmp_path / "tones", 60), []
    for path in folder.rglob("*.wav"):
        path.rename(folder / f"{path.parent.name}_{path.stem.partition('_')[2]}_{path.stem.partition('_')[0]}.wav")
    monkeypatch.setattr(spoken, "_joined", lambda words, *_: chosen.append([w.tobytes() for w in words]) or words[0])
    how = spoken.STRINGS | {"counts": (30, 10, 10), "words": (2, 4)}
    found = spoken.draw(folder, how, {"by": "group", "field": 3, "shares": [0.6, 0.2, 0.2]})
    assert [int((found.part == part).sum()) for part in range(3)] == [30, 10, 10]
    assert {len(text.split()) for text in found.texts} == {2, 3, 4}
    parts = [
        {word for string, p in zip(chosen, found.part, strict=True) if p == part for word in string}
        for part in range(3)
    ]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]


def test_pauses_are_as_loud_as_the_quietest_moment_of_the_words():
    rng = np.random.default_rng(0)
    word = np.concatenate([np.full(400, 0.5), rng.normal(0, 0.01, 200)]).astype(np.float32)
    joined = spoken._joined([word, word], 8_000, (0.1, 0.1), rng)
    assert len(joined) == 2 * 600 + 3 * 800
    assert joined[800:1_400].tolist() == word.tolist()
    assert joined[:800].std() == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "text: name the column of transcripts, or give strings instead"),
        ({"text": "t", "strings": {}}, "text: name the column of transcripts, or give strings instead"),
        ({"text": "t", "tokens": "byte"}, "tokens: must be one of character, word, but found 'byte'"),
        ({"strings": {"digits": 3}}, "strings: has no 'digits'"),
        ({"text": "t", "splits": {"by": "file", "train": [], "test": []}}, "by = 'file' is not supported"),
        ({"text": "t", "splits": [0.5, 0.5, 0.5]}, "splits must be three shares"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, message):
    files = [{"path": "words", "sha256": "0" * 64, "size_bytes": 1, "listing": "words.tsv"}]
    with pytest.raises(DeclarationError, match=message):
        Task(500, files=files, **arguments)


def test_a_transcript_that_is_too_long_for_its_recording_is_refused(tmp_path):
    folder = dictation(tmp_path / "words", 12)
    table = folder / "transcripts.csv"
    table.write_text(table.read_text().replace("\n3.wav,s3,", "\n3.wav,s3," + "go " * 99))
    with pytest.raises(DataError, match=r"'3.wav': \d+ steps of 10 ms are too few for the \d+ tokens"):
        card_of(folder)


# New recordings


def test_a_new_folder_is_read_as_training_was_and_nothing_is_cut(folder, task):
    predictor = Predictor({"text": "transcript"}, task.meta)
    new = predictor.read(folder, num_steps=20)
    assert len(new.x) == 40
    assert "40 of 40 recordings are longer than any in training, 0.2 s" in str(new.about["remarks"][0])
    found = predictor.labelled(folder, 500).batch
    known = {text: row[:steps].tobytes() for row, steps, text in zip(found.x, found.length, found.text, strict=True)}
    batch = task.split("val", 9)
    assert {row[:n].tobytes() for row, n in zip(batch.x, batch.length, strict=True)} <= {
        row[:n].tobytes() for row, n in zip(found.x, found.length, strict=True)
    }
    assert known.keys() >= set(batch.text.tolist())
    assert predictor.scores(found.y, found) == {"word_error_rate": 0.0, "character_error_rate": 0.0}


def test_one_recording_has_a_row(folder, task):
    predictor = Predictor({}, task.meta)
    new = predictor.read(folder / "7.wav", 500)
    answers = np.array([[0, task.meta["vocabulary"].index("g"), 0, task.meta["vocabulary"].index("o"), 0]])
    table = predictor.answer(SimpleNamespace(outputs=lambda x, length: answers), new, Sampling())
    assert table == {"recording": ["7.wav"], "transcript": ["go"]}
    with pytest.raises(DataError, match="give a folder of recordings"):
        predictor.labelled(folder / "7.wav", 500)
