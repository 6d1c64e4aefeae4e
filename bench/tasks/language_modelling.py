"""The next byte, character or word of a text.

B batch, L context, P prompt, N tokens.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import contracts
from bench.config.contracts import STRETCHES, Batch, Labelled, New, Sampling, StoredTask, Trained
from bench.data import sequences, texts, vocabulary
from bench.data.encodings import read_bytes, read_text
from bench.data.files import prepare
from bench.data.kneser_ney import KneserNey
from bench.data.remarks import Remark
from bench.data.splits import PARTS, VAL_SHARE, check_splits, part_files
from bench.errors import DataError, DeclarationError
from bench.tasks._sequences import checked_files

ORDER = 5  # of the strongest n-gram model


class Task(StoredTask):
    """Predict at every step the token that comes next, from the tokens before it in a window of `length`.

    Args:
        length: Number of tokens in a window, at least 1.
        files: The files of the dataset card.
        unit: What a token is: `byte`, `character` or `word`. Words are separated by white space, and lines end with
            the token <eos>.
        splits: Shares of all text, train first, val next; or the name of the file of each part; or a rule `by = "file"`
            with lists of files: without val, it is the last `val_share` of train.
        max_words: Size of the vocabulary, at most; less frequent tokens are read as <unk>.
        encoding: Of the files; detected by default. Not supported for bytes.

    Training windows begin anywhere. Windows of val and test follow each other without overlap. If there are more than
    wanted, they come from STRETCHES stretches of text at equal distances. The vocabulary holds the tokens of the
    training part.

    Task(4) on the text "abcabcab": a training window
    x  a b c a
    y  b c a b
    """

    tokens, per_step, loss = True, True, "cross_entropy"
    metric, goal, solved, causal, kind = "nats", "minimize", None, True, "language"
    keep = "nll"

    def __init__(
        self,
        length: int,
        *,
        files: Sequence[Any] = (),
        unit: str = "character",
        splits: Sequence[float] | Mapping[str, Any] = (0.9, 0.05, 0.05),
        max_words: int | None = None,
        encoding: str | None = None,
    ) -> None:
        data_files = checked_files("language_modelling", length, files, "token")
        if unit not in vocabulary.UNITS:
            units = ", ".join(vocabulary.UNITS)
            raise DeclarationError(f"language_modelling: unit: must be one of {units}, but found {unit!r}")
        rule = _checked(splits, [Path(file.path).name for file in data_files])
        how = [unit, rule, max_words, encoding]
        prepared = prepare(
            "language_modelling", data_files, how, lambda paths: _make(paths, unit, rule, max_words, encoding)
        )
        self.meta: dict[str, Any] = prepared.meta
        self.parts = {part: prepared.arrays[part] for part in PARTS}
        self.input_size = self.output_size = len(self.meta["vocabulary"])
        self.length, self.num_steps, self.unit = length, length, unit
        for part, numbers in self.parts.items():
            if len(numbers) <= length:
                fix = "a longer text" if length == 1 else "a smaller length, or other splits"
                size = f"the {part} part has only {len(numbers):,} tokens"
                raise DeclarationError(f"language_modelling: length {length}: {size}; use {fix}")
        self.counts = {part: (len(numbers) - 1) // length for part, numbers in self.parts.items()}
        self.chance = self._unigram(self.parts["val"][1:])

    def train_batch(self, seed: int, number: int, size: int) -> Batch:
        """Return windows that begin anywhere in the training part."""
        last = len(self.parts["train"]) - self.length
        return self._windows("train", np.random.default_rng([seed, number]).integers(last, size=size))

    def stream_batch(self, seed: int, number: int, size: int) -> Batch:
        """Return window `number` of `size` streams, which begin anywhere in the training part and read it in a circle.

        Row i continues row i of the batch before, so that a model's state can be carried over.
        """
        last = len(self.parts["train"]) - self.length
        first = np.random.default_rng(seed).integers(last, size=size)
        return self._windows("train", (first + number * self.length) % last)

    def spread(self, part: str, size: int) -> Batch:
        """Return all windows of a part, or those of STRETCHES stretches of text at equal distances."""
        count = self.counts[part]
        if count <= size:
            return self.take(part, np.arange(count))
        stretches = min(STRETCHES, size)
        each = size // stretches
        first = np.arange(stretches) * count // stretches
        return self.take(part, (first[:, None] + np.arange(each)).ravel())

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the windows of a part at these places; they follow each other without overlap."""
        return self._windows(part, places * self.length)

    def _windows(self, part: str, first: np.ndarray) -> Batch:
        steps = first[:, None] + np.arange(self.length)
        numbers = self.parts[part]
        length = np.full(len(first), self.length)
        return Batch(numbers[steps], length, numbers[steps + 1], np.ones(steps.shape, dtype=bool))

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return nats and bits per token, and perplexity, from negative log likelihoods (B, L) in nats."""
        return _scores(outputs)

    def n_gram_model(self, order: int) -> KneserNey:
        """Return an n-gram model of the training part."""
        return KneserNey(np.asarray(self.parts["train"]), order, self.output_size)

    def decode(self, numbers: Sequence[int]) -> str:
        """Return the text of token numbers."""
        return vocabulary.decode(numbers, self.meta["vocabulary"], self.unit)

    def _unigram(self, numbers: np.ndarray) -> float:
        """Return the mean nats of tokens under their frequencies in training, plus one each."""
        counts = np.bincount(self.parts["train"], minlength=self.output_size) + 1.0
        return float(-np.log(counts / counts.sum())[numbers].mean())


def _scores(nats_BL: np.ndarray) -> dict[str, float]:
    nats = float(nats_BL.mean(dtype=np.float64))
    return {"nats": nats, "bits": nats / math.log(2), "perplexity": math.exp(min(nats, 700.0))}


def _checked(splits: Sequence[float] | Mapping[str, Any], names: list[str]) -> list[float] | dict[str, Any]:
    """Return shares, or the files of each part. Raises DeclarationError."""
    if isinstance(splits, Mapping):
        files = part_files("language_modelling", splits, names)
        return {"files": files, "val_share": splits.get("val_share", VAL_SHARE)}
    check_splits("language_modelling", splits)
    return list(splits)


# Preparation


def _make(
    paths: list[Path],
    unit: str,
    rule: list[float] | dict[str, Any],
    max_words: int | None,
    encoding: str | None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the token numbers of each part, and their vocabulary."""
    read = {path: _read(path, unit, encoding) for path in paths}
    if isinstance(rule, dict):
        by_name = {path.name: text for path, (text, _) in read.items()}
        parts = {
            part: [token for name in names for token in vocabulary.tokens(by_name[name], unit)]
            for part, names in rule["files"].items()
        }
        if "val" not in parts:
            border = int(len(parts["train"]) * (1 - rule["val_share"]))
            parts["train"], parts["val"] = parts["train"][:border], parts["train"][border:]
    else:
        tokens = [token for text, _ in read.values() for token in vocabulary.tokens(text, unit)]
        borders = [0, int(rule[0] * len(tokens)), int((rule[0] + rule[1]) * len(tokens)), len(tokens)]
        parts = {part: tokens[a:b] for part, a, b in zip(PARTS, borders, borders[1:], strict=False)}
    words = vocabulary.make(parts["train"], unit, max_words)
    arrays = {part: vocabulary.encode(tokens, words) for part, tokens in parts.items()}
    unknown = {part: int((numbers == 0).sum()) if unit != "byte" else 0 for part, numbers in arrays.items()}
    counts = {part: len(numbers) for part, numbers in arrays.items()}
    remarks = [remark for _, remarks in read.values() for remark in remarks]
    unseen = ", ".join(f"{part} {count:,}" for part, count in unknown.items() if count)
    if unseen:
        remarks.append(Remark("unknown", f"tokens that do not occur in training are read as <unk>: {unseen}"))
    meta = {"vocabulary": words, "unit": unit, "tokens": counts, "unknown": unknown, "remarks": remarks}
    return arrays, meta


def _read(path: Path, unit: str, encoding: str | None) -> tuple[str, list[Remark]]:
    """Return a text and remarks. Bytes that are not UTF-8 are kept. Raises DataError and DeclarationError."""
    if unit == "byte" and encoding is not None:
        raise DeclarationError(f"language_modelling: encoding {encoding}: bytes are not decoded; remove the encoding")
    remarks: list[Remark] = []
    if unit == "byte":
        text = read_bytes(path).decode("utf-8", "surrogateescape")
    else:
        text, remarks = read_text(path, encoding=encoding)
    if not text:
        raise DataError(f"{path}: empty; give a file with text")
    return text, remarks


# Prediction


class Predictor(contracts.Predictor):
    """Continue prompts: the column `prompt` of a table, or each line of a text."""

    @property
    def needs(self) -> dict[str, type]:
        """The keys of `meta` that answers depend on, and the types of their values."""
        return {"vocabulary": list, "unit": str}

    @property
    def columns(self) -> dict[str, str]:
        """The column of a table of prompts."""
        return {"prompt": "text"}

    def read(self, path: Path, num_steps: int) -> New:
        """Return the tokens of prompts, (B, P); they may be longer than `num_steps`. Raises DataError."""
        if texts.is_table(path):
            prompts = [cells[0] for cells, _ in texts.read_cells(path, ["prompt"])[0]]
        else:
            prompts = [line for line in read_text(path)[0].split("\n") if line.strip()]
        if not prompts:
            raise DataError(f"{path}: no prompts; write one prompt on each line, or in column 'prompt' of a table")
        words, unit = self.meta["vocabulary"], self.meta["unit"]
        known = {*words, vocabulary.END}
        unknown, rows = [], []
        for number, prompt in enumerate(prompts, 1):
            tokens = vocabulary.tokens(prompt, unit)
            unknown.append(sum(token not in known for token in tokens))
            if unit == "word" and not prompt.endswith("\n"):
                del tokens[-1:]  # the end of a line that the answer continues
            if not tokens:
                raise DataError(f"{path}: prompt {number}, {prompt[:40]!r}: must have at least one token")
            rows.append(vocabulary.encode(tokens, words))
        length = np.array([len(row) for row in rows])
        x = sequences.padded(np.concatenate(rows), np.cumsum(length) - length, length)
        return New(x, length, {"prompts": prompts, "unknown": unknown})

    def answer(self, model: Trained, new: New, sampling: Sampling) -> dict[str, Any]:
        """Return a row for each prompt: the text that continues it, and how many of its tokens are read as <unk>."""
        words, unit = self.meta["vocabulary"], self.meta["unit"]
        never = None if unit == "byte" else words.index(vocabulary.UNKNOWN)
        written = []
        for number, (row, length) in enumerate(zip(new.x, new.length, strict=True)):
            tokens = model.generate(row[:length], sampling._replace(seed=sampling.seed + number), never)
            written.append(vocabulary.decode(tokens, words, unit))
        return {"prompt": new.about["prompts"], "text": written, "unknown_tokens": new.about["unknown"]}

    def labelled(self, path: Path, num_steps: int) -> Labelled:
        """Return the windows of a text, which follow each other without overlap. Raises DataError."""
        words, unit = self.meta["vocabulary"], self.meta["unit"]
        text, remarks = _read(path, unit, None if unit == "byte" else self.arguments.get("encoding"))
        numbers = vocabulary.encode(vocabulary.tokens(text, unit), words)
        if len(numbers) < 2:
            raise DataError(f"{path}: must have at least 2 tokens, but has {len(numbers)}; give a longer text")
        steps = min(num_steps, len(numbers) - 1)
        first = np.arange((len(numbers) - 1) // steps)[:, None] * steps + np.arange(steps)
        unknown = int((numbers == words.index(vocabulary.UNKNOWN)).sum()) if vocabulary.UNKNOWN in words else 0
        if unknown and unit != "byte":
            share = f"{unknown:,} of {len(numbers):,} tokens do not occur in training and are read as <unk>"
            remarks = [*remarks, Remark("unknown", share)]
        batch = Batch(numbers[first], np.full(len(first), steps), numbers[first + 1], np.ones(first.shape, dtype=bool))
        return Labelled(batch, {"remarks": remarks})

    def scores(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return nats and bits per token, and perplexity, from negative log likelihoods (B, L) in nats."""
        return _scores(outputs)

    def example(self, num_steps: int, rows: int = 1) -> dict[str, Any]:
        """Return a table with prompts of one token that the model knows."""
        return {"prompt": [self.meta["vocabulary"][-1]] * rows}
