"""The next byte, character or word of a text.

Fixed windows that do not overlap, as Karpathy's nanoGPT evaluates; interpolated Kneser-Ney smoothing: Chen & Goodman,
1999, An empirical study of smoothing techniques for language modeling, section 3, https://doi.org/10.1006/csla.1999.0128

B batch, L context, N tokens.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import vocabulary
from bench.contracts import Batch, StoredTask
from bench.errors import DataError, DeclarationError
from bench.files import DataFile, prepare

PARTS = ("train", "val", "test")
DISCOUNT = 0.75  # of Kneser-Ney; the usual value, and close to the best one on small texts
ORDERS = {"byte": 5, "character": 5, "word": 3}


class Task(StoredTask):
    """Tell at every step the token that comes next, from those before it in a window of `length`.

    `splits`: shares of one contiguous text, train first; or the name of the file of each part. Training windows begin
    anywhere; val and test are parted into windows one after the other. The vocabulary is that of the training part.

    Task(4) on the text "abcabcab": a training window
    x  a b c a
    y  b c a b
    """

    tokens, per_step, loss = True, True, "cross_entropy"
    metric, goal, solved, causal = "nats", "minimize", None, True
    keep = "nll"

    def __init__(
        self,
        length: int,
        *,
        files: Sequence[Any] = (),
        unit: str = "character",
        splits: Sequence[float] | Mapping[str, str] = (0.9, 0.05, 0.05),
        max_words: int | None = None,
    ) -> None:
        if length < 1:
            raise DeclarationError(f"language_modelling: length: a context of at least 1 token, but found {length}")
        if unit not in vocabulary.UNITS:
            raise DeclarationError(
                f"language_modelling: unit: one of {', '.join(vocabulary.UNITS)}, but found {unit!r}"
            )
        if not files:
            raise DeclarationError("language_modelling: files: none; name the text under [[files]] of the card")
        self.length = self.num_steps = length
        self.unit = unit
        known = [DataFile.model_validate(file) for file in files]
        how = [unit, splits if isinstance(splits, Mapping) else list(splits), max_words]
        prepared = prepare("language_modelling", known, how, lambda paths: _make(paths, unit, splits, max_words))
        self.meta: dict[str, Any] = prepared.meta
        self.parts = {part: prepared.arrays[part] for part in PARTS}
        self.input_size = self.output_size = len(self.meta["vocabulary"])
        for part in PARTS:
            if len(self.parts[part]) <= length:
                raise DeclarationError(
                    f"language_modelling: length {length}: the {part} part has {len(self.parts[part]):,} tokens; a "
                    "shorter context, or other splits"
                )
        self.counts = {part: (len(numbers) - 1) // length for part, numbers in self.parts.items()}
        self.chance = self._unigram(self.parts["val"][1:])

    def train_batch(self, seed: int, number: int, size: int) -> Batch:
        """Return windows that begin anywhere in the training part."""
        room = len(self.parts["train"]) - self.length
        first = np.random.default_rng([seed, number]).integers(room, size=size)
        return self._windows("train", first)

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the windows of a part at these places, one after the other."""
        return self._windows(part, places * self.length)

    def _windows(self, part: str, first: np.ndarray) -> Batch:
        steps = first[:, None] + np.arange(self.length)
        numbers = self.parts[part]
        length = np.full(len(first), self.length)
        return Batch(numbers[steps], length, numbers[steps + 1], np.ones(steps.shape, dtype=bool))

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return nats and bits a token, and perplexity, of negative log likelihoods (B, L) in nats."""
        nats = float(outputs.mean(dtype=np.float64))
        return {"nats": nats, "bits": nats / math.log(2), "perplexity": math.exp(min(nats, 700.0))}

    def baselines(self, size: int) -> dict[str, float]:
        """Return the nats a token of n-gram models on the test windows, each given all that lies before it there."""
        batch = self.split("test", size)
        found = {"uniform": math.log(self.output_size), "unigram": self._unigram(batch.y)}
        for order in dict.fromkeys((2, ORDERS[self.unit])):
            model = KneserNey(np.asarray(self.parts["train"]), order, self.output_size)
            found[f"Kneser-Ney {order}-gram"] = float(np.mean([model.nats(row) for row in _joined(batch)]))
        return found

    def decode(self, numbers: Sequence[int]) -> str:
        """Return the text of token numbers."""
        return vocabulary.decode(numbers, self.meta["vocabulary"], self.unit)

    def _unigram(self, asked: np.ndarray) -> float:
        counts = np.bincount(self.parts["train"], minlength=self.output_size) + 1.0
        return float(-np.log(counts / counts.sum())[asked].mean())


def _joined(batch: Batch) -> np.ndarray:
    """Return each window with the token after it, (B, L + 1)."""
    return np.concatenate([batch.x, batch.y[:, -1:]], axis=1)


def _make(
    paths: list[Path], unit: str, splits: Sequence[float] | Mapping[str, str], max_words: int | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if isinstance(splits, Mapping):
        by_name = {path.name: path for path in paths}
        for part in PARTS:
            if splits.get(part) not in by_name:
                raise DeclarationError(
                    f"language_modelling: splits: {part}: one of {', '.join(by_name)}, but found {splits.get(part)!r}"
                )
        found = {part: vocabulary.tokens(_read(by_name[splits[part]]), unit) for part in PARTS}
    else:
        if len(splits) != 3 or min(splits) <= 0 or abs(sum(splits) - 1) > 1e-6:
            raise DeclarationError(f"language_modelling: splits: three shares that add up to 1, but found {splits!r}")
        whole = [token for path in paths for token in vocabulary.tokens(_read(path), unit)]
        borders = [0, int(splits[0] * len(whole)), int((splits[0] + splits[1]) * len(whole)), len(whole)]
        found = {part: whole[a:b] for part, a, b in zip(PARTS, borders, borders[1:], strict=False)}
    words = vocabulary.make(found["train"], unit, max_words)
    arrays = {part: vocabulary.encode(each, words) for part, each in found.items()}
    unknown = {part: int((numbers == 0).sum()) if unit != "byte" else 0 for part, numbers in arrays.items()}
    counts = {part: len(numbers) for part, numbers in arrays.items()}
    new = [f"{part} {count:,}" for part, count in unknown.items() if count]
    remarks = [f"tokens that the training part does not hold, read as <unk>: {', '.join(new)}"] if new else []
    meta = {"vocabulary": words, "unit": unit, "tokens": counts, "unknown": unknown, "remarks": remarks}
    return arrays, meta


def _read(path: Path) -> str:
    data = path.read_bytes()
    if not data:
        raise DataError(f"{path}: empty")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path}: line {line}: not UTF-8; convert the file, or model its bytes (unit = byte)") from None


class KneserNey:
    """An interpolated Kneser-Ney model of token numbers.

    Absolute discounting. Counts of the highest order are of tokens; those below are of different tokens before, so that
    a word which only ever follows one other gets no more than its due.
    """

    def __init__(self, train: np.ndarray, order: int, size: int) -> None:
        self.order, self.size = order, size
        self.tables = [_table(train, n, n == order) for n in range(1, order + 1)]

    def nats(self, numbers: np.ndarray) -> float:
        """Return the mean negative log likelihood of all tokens after the first, in nats."""
        probability = np.full(len(numbers) - 1, 1.0 / self.size)
        for n, (grams, contexts) in enumerate(self.tables, 1):
            for i in range(len(probability)):
                if i + 2 < n:
                    continue  # fewer tokens before it than this order looks at
                context = tuple(numbers[i + 2 - n : i + 1])
                total, kinds = contexts.get(context, (0, 0))
                if total:
                    count = grams.get((*context, numbers[i + 1]), 0)
                    backing = DISCOUNT * kinds / total * probability[i]
                    probability[i] = max(count - DISCOUNT, 0) / total + backing
        return float(-np.log(probability).mean())


Gram = tuple[int, ...]


def _table(train: np.ndarray, n: int, highest: bool) -> tuple[dict[Gram, int], dict[Gram, tuple[int, int]]]:
    """Return counts of n-grams, and of each context their sum and how many different tokens follow it."""
    width = n if highest else n + 1
    windows = np.lib.stride_tricks.sliding_window_view(train, width)
    unique, counts = np.unique(windows, axis=0, return_counts=True)
    if not highest:  # of how many different tokens each n-gram comes after
        unique, counts = np.unique(unique[:, 1:], axis=0, return_counts=True)
    grams = {tuple(gram): int(count) for gram, count in zip(unique.tolist(), counts, strict=True)}
    contexts: dict[Gram, tuple[int, int]] = {}
    for gram, count in grams.items():
        total, kinds = contexts.get(gram[:-1], (0, 0))
        contexts[gram[:-1]] = (total + count, kinds + 1)
    return grams, contexts
