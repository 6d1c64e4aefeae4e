"""What is said in a recording: speech to text.

B batch, L steps, D mel bands, T tokens of the longest target, N recordings, S steps of all recordings.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.config import contracts
from bench.config.contracts import Batch, Labelled, New, Sampling, StoredTask, Trained
from bench.data import recordings, sequences, series_tables, spoken
from bench.data.files import prepare
from bench.data.remarks import Remark
from bench.data.signals import log_mel
from bench.data.splits import PARTS, check_rule
from bench.data.spoken import STRINGS
from bench.data.table_format import TableFormat
from bench.errors import DataError, DeclarationError
from bench.tasks._sequences import checked_files
from bench.tasks._transcripts import character_error_rate, constant, report, word_error_rate

SHARES = (0.8, 0.1, 0.1)
BLANK = "<blank>"  # token 0, which stands for no token at a step; see bench/training/ctc.py
UNITS = ("character", "word")


class Task(StoredTask):
    """Write what is said in a recording; a model may hear all of it before it writes.

    Args:
        length: Largest number of steps of a recording, at least 1. Longer ones are left out of every part.
        files: The folder of the dataset card, with recordings (.wav), read as 40 log-mel bands every 10 ms.
        text: Column of the table in the folder that holds the transcripts. The column of the recordings is the one
            whose cells name them.
        strings: Instead of a table: how strings of recordings of single words are drawn; see bench/data/spoken.py.
        tokens: What a model writes: `character`, also blanks, or `word`.
        splits: Three shares, in the order of the SHA-256 of the names; or a rule of bench/data/splits.py that divides
            recordings by their names or by a column of the table. Without val, it is `val_share` of train.
        delimiter: Of the table; detected by default.
        encoding: Of the table; detected by default.

    The tokens are those of training; a model cannot write others, and they count as errors. Bands are standardised with
    mean and deviation of the training steps. A model reads L steps and has one answer, a token or a blank, for each
    `stem_stride` of them: a recording must have enough steps for its transcript, where equal tokens in a row need one
    between them.

    Task(500, files=[...], strings={...}, tokens="word"), a string of three digits
    y  7 7 2
    """

    tokens, per_step, loss, keep = False, False, "ctc", "tokens"
    metric, goal, solved, causal, kind = "word_error_rate", "minimize", None, False, "transcription"

    def __init__(
        self,
        length: int,
        *,
        files: Sequence[Any] = (),
        text: str | None = None,
        strings: Mapping[str, Any] | None = None,
        tokens: Literal["character", "word"] = "character",
        splits: Mapping[str, Any] | Sequence[float] = SHARES,
        delimiter: str | None = None,
        encoding: str | None = None,
    ) -> None:
        data_files = checked_files("transcription", length, files)
        rule = _checked(splits, text, strings, tokens)
        form = TableFormat(delimiter, encoding)
        how = None if strings is None else STRINGS | dict(strings)
        prepared = prepare(
            *("transcription", data_files, [text, how, tokens, rule, vars(form)]),
            lambda paths: _make(paths[0], text, how, tokens, rule, form),
        )
        self.meta: dict[str, Any] = prepared.meta
        self._arrays, edges = prepared.arrays, prepared.meta["edges"]
        self._steps = np.diff(self._arrays["stop"], prepend=0)
        self.length = length
        self._edge = dict(zip(PARTS, edges[:-1], strict=True))
        self._all = {part: np.arange(edges[i], edges[i + 1]) for i, part in enumerate(PARTS)}
        self._kept = {part: rows[self._steps[rows] <= length] for part, rows in self._all.items()}
        self.counts = {part: len(kept) for part, kept in self._kept.items()}
        for part, count in self.counts.items():
            if not count:
                rule_of = f"length {length}: no recording of {part} has so few steps of 10 ms; use a larger length"
                raise DeclarationError(f"transcription: {rule_of}")
        self.input_size, self.output_size = self._arrays["values"].shape[1], len(self.meta["vocabulary"])
        self.num_steps = int(self._steps[self._kept["train"]].max())

    @functools.cached_property
    def chance(self) -> float:
        """The error rate in val of the answer that makes the fewest errors in training, whatever is heard."""
        val = self.spread("val", 2_000)
        return self.score(self.constant(len(val.x)), val)["word_error_rate"]

    @functools.cached_property
    def max_stride(self) -> int:
        """The largest stride that leaves every recording of train and val a step for each token and blank it needs."""
        rows = np.concatenate([self._kept["train"], self._kept["val"]])
        needed = np.maximum(self._arrays["needed"][rows], 2)
        return int(((self._steps[rows] - 1) // (needed - 1)).min())

    def constant(self, size: int) -> np.ndarray:
        """Return the best constant answer as `size` answers, (B, T)."""
        row = np.array(_numbers(self.meta["constant"], self.meta) or [0])
        return np.tile(row, (size, 1))

    def steps_of(self, part: str) -> np.ndarray:
        """Return the number of steps of each recording of a part, also of those that are left out, (N,) int64."""
        return np.asarray(self._steps[self._all[part]])

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the recordings of a part at these places; those of val and test with their transcripts as text."""
        rows = self._kept[part][places]
        length, written = self._steps[rows].astype(np.int64), np.diff(self._arrays["y_stop"], prepend=0)[rows]
        x = sequences.padded(self._arrays["values"], self._arrays["stop"][rows] - length, length)
        y = sequences.padded(self._arrays["y"], self._arrays["y_stop"][rows] - written, written)
        texts = None if part == "train" else np.array([self.meta["texts"][row] for row in rows])
        return _batch(x, length, y, written, texts)

    def written(self, outputs: np.ndarray) -> list[str]:
        """Return the transcripts of token numbers, (B, T)."""
        return _written(outputs, self.meta)

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the error rates of the tokens that were written, (B, T)."""
        return _scores(self.written(outputs), batch, self.meta)

    def report(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return more error rates than `score`: by kind of error, and by the words of the transcript."""
        return self.score(outputs, batch) | report(self.written(outputs), _references(batch))

    def examples(self, outputs: np.ndarray, batch: Batch) -> dict[str, Any]:
        """Return what was written and the references, as text."""
        return {"written": self.written(outputs), "reference": _references(batch)}


def _batch(x: np.ndarray, length: np.ndarray, y: np.ndarray, written: np.ndarray, text: np.ndarray | None) -> Batch:
    """Return recordings as a batch: steps and targets are padded to the same width."""
    width = max(x.shape[1], y.shape[1])
    x = np.pad(x, ((0, 0), (0, width - x.shape[1]), (0, 0)))
    y = np.pad(y, ((0, 0), (0, width - y.shape[1])))
    return Batch(x, length, y, np.arange(width) < written[:, None], text)


def _written(outputs: np.ndarray, meta: Mapping[str, Any]) -> list[str]:
    """Return the transcripts of token numbers, (B, T), where 0 stands for no token."""
    words, between = meta["vocabulary"], " " if meta["tokens"] == "word" else ""
    return [" ".join(between.join(words[number] for number in row if number).split()) for row in outputs.tolist()]


def _numbers(text: str, meta: Mapping[str, Any]) -> list[int]:
    """Return the token numbers of a transcript, without the tokens that do not occur in training."""
    number = {token: place for place, token in enumerate(meta["vocabulary"]) if place}
    return [number[token] for token in _split(text, meta["tokens"]) if token in number]


def _split(text: str, unit: str) -> Iterable[str]:
    return text.split() if unit == "word" else text


def _scores(written: list[str], batch: Batch, meta: Mapping[str, Any]) -> dict[str, float]:
    """Return the error rate of words and, where characters are written, theirs."""
    references = _references(batch)
    scores = {"word_error_rate": word_error_rate(written, references)}
    if meta["tokens"] == "character":
        scores["character_error_rate"] = character_error_rate(written, references)
    return scores


def _references(batch: Batch) -> list[str]:
    assert batch.text is not None  # only training batches have none
    references: list[str] = batch.text.tolist()
    return references


def _checked(splits: Any, text: str | None, strings: Mapping[str, Any] | None, tokens: str) -> dict[str, Any]:
    """Return the rule of the split. Raises DeclarationError."""
    if (text is None) == (strings is None):
        raise DeclarationError("transcription: text: name the column of transcripts, or give strings instead")
    if tokens not in UNITS:
        raise DeclarationError(f"transcription: tokens: must be one of {', '.join(UNITS)}, but found {tokens!r}")
    for key in sorted(set(strings or ()) - set(STRINGS)):
        raise DeclarationError(f"transcription: strings: has no '{key}' (there are: {', '.join(STRINGS)})")
    rule = dict(splits) if isinstance(splits, Mapping) else {"by": "stratified", "shares": list(splits)}
    check_rule("transcription", rule)
    if rule["by"] == "file":
        raise DeclarationError("transcription: splits: by = 'file' is not supported; recordings lie in one folder")
    return rule


# Preparation


def _make(
    path: Path, text: str | None, how: Mapping[str, Any] | None, tokens: str, rule: dict[str, Any], form: TableFormat
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return steps and token numbers of all recordings in the order of the parts, where each ends, and texts."""
    if not path.is_dir():
        raise DataError(f"{path}: must be a folder of recordings (.wav) with a table of their transcripts")
    found = spoken.read(path, text, form, rule) if text is not None else spoken.draw(path, how or {}, rule)
    counts = [int((found.part == number).sum()) for number in range(len(PARTS))]
    if not all(counts):
        sizes = ", ".join(f"{part} {count}" for part, count in zip(PARTS, counts, strict=True))
        raise DataError(f"{path}: splits leave a part without a recording ({sizes}); use another rule")
    order = np.argsort(found.part, kind="stable")
    texts, items = [found.texts[i] for i in order], [found.items[i] for i in order]
    train = texts[: counts[0]]
    meta: dict[str, Any] = {"tokens": tokens, "rate": found.rate, "texts": texts, "constant": constant(train)}
    meta["vocabulary"] = [BLANK, *sorted({token for row in train for token in _split(row, tokens)})]
    y = [_numbers(row, meta) for row in texts]
    needed = np.array([len(row) + sum(a == b for a, b in zip(row, row[1:], strict=False)) for row in y])
    lengths = np.array([len(item) for item in items])
    if (needed > lengths).any():
        place = int((needed > lengths).argmax())
        rule_of = f"{lengths[place]:,} steps of 10 ms are too few for the {needed[place]:,} tokens of its transcript"
        raise DataError(f"{path}: '{found.names[order[place]]}': {rule_of}; correct it, or remove the recording")
    bands = [f"band {number}" for number in range(1, items[0].shape[1] + 1)]
    scaled = series_tables.scaled(np.concatenate(items), lengths, counts[0], path, bands)
    meta |= {"mean": scaled.mean.tolist(), "scale": scaled.scale.tolist(), "edges": [0, *np.cumsum(counts).tolist()]}
    meta["remarks"] = [*found.remarks, *_unknown(texts[counts[0] :], meta)]
    numbers = np.array([number for row in y for number in row], dtype=np.int64)
    arrays = {"values": scaled.values.astype(np.float16), "stop": np.cumsum(lengths), "needed": needed}
    return arrays | {"y": numbers, "y_stop": np.cumsum([len(row) for row in y])}, meta


def _unknown(texts: Sequence[str], meta: Mapping[str, Any]) -> list[Remark]:
    """Return a remark on tokens of val and test that no model can write, because training does not have them."""
    tokens = {token for row in texts for token in _split(row, meta["tokens"])} - set(meta["vocabulary"])
    if not tokens:
        return []
    shown = ", ".join(repr(token) for token in sorted(tokens)[:10])
    return [Remark("unknown", f"{len(tokens)} {meta['tokens']}s of val and test do not occur in training: {shown}")]


# Prediction


class Predictor(contracts.Predictor):
    """Write what is said in a recording, or in each of a folder."""

    folders = True

    @property
    def needs(self) -> dict[str, type]:
        """The keys of `meta` that answers depend on, and the types of their values."""
        return {"vocabulary": list, "tokens": str, "mean": list, "scale": list, "rate": int}

    @property
    def columns(self) -> dict[str, str]:
        """The files are no tables."""
        return {"path": "text"}

    def read(self, path: Path, num_steps: int) -> New:
        """Return the steps of recordings, (B, L, D); none is cut, also if it is longer than in training.

        Raises DataError.
        """
        return self._new(path, recordings.names_in(path), num_steps)

    def _new(self, path: Path, names: list[str], num_steps: int) -> New:
        items, rate = [], 0
        for samples, rate in recordings.read(path, names):
            items.append(log_mel(samples, rate))
        if rate != self.meta["rate"]:
            rule = f"must have {self.meta['rate']:,} samples per second, as in training, but has {rate:,}"
            raise DataError(f"{path}: {rule}; resample it: ffmpeg -ar {self.meta['rate']}")
        length = np.array([len(item) for item in items])
        stop = np.cumsum(length)
        mean, scale = np.array(self.meta["mean"]), np.array(self.meta["scale"])
        values = sequences.standardised(np.concatenate(items), stop - length, mean, scale).astype(np.float16)
        longer = int((length > num_steps).sum())
        text = f"{longer:,} of {len(length):,} recordings are longer than any in training, {num_steps / 100:g} s"
        remarks = [Remark("cut", text)] if longer else []
        return New(sequences.padded(values, stop - length, length), length, {"names": names, "remarks": remarks})

    def answer(self, model: Trained, new: New, sampling: Sampling) -> dict[str, Any]:
        """Return a row for each recording: its name and its transcript."""
        written = _written(model.outputs(new.x, new.length), self.meta)
        return {"recording": new.about["names"], "transcript": written}

    def labelled(self, path: Path, num_steps: int) -> Labelled:
        """Return the recordings of a folder with the transcripts in its table. Raises DataError."""
        if not path.is_dir():
            raise DataError(f"{path}: give a folder of recordings (.wav) with a table of their transcripts")
        form = TableFormat(self.arguments.get("delimiter"), self.arguments.get("encoding"))
        found = recordings.transcripts(path, self.arguments.get("text") or "transcript", form)
        new = self._new(path, found.names, num_steps)
        rows = [_numbers(text, self.meta) for text in found.texts]
        written = np.array([len(row) for row in rows])
        numbers = np.array([number for row in rows for number in row] or [0], dtype=np.int64)
        y = sequences.padded(numbers, np.cumsum(written) - written, written)
        batch = _batch(new.x, new.length, y, written, np.array(found.texts))
        return Labelled(batch, {"remarks": [*found.remarks, *new.about["remarks"]]})

    def scores(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the error rates of the tokens that were written, (B, T), as `Task.score` does."""
        return _scores(_written(outputs, self.meta), batch, self.meta)

    def example(self, num_steps: int, rows: int = 1) -> dict[str, Any] | None:
        """Return None: the files are no tables."""
        return None
