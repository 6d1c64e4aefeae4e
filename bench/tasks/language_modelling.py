"""The next byte, character or word of a text.

Val and test are windows that do not overlap. Modified Kneser-Ney smoothing, interpolated: Chen & Goodman, 1999,
An empirical study of smoothing techniques for language modeling, section 3, https://doi.org/10.1006/csla.1999.0128

B batch, L context, N tokens.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.config.contracts import Batch, StoredTask
from bench.config.datasets import DataFile
from bench.data import texts, vocabulary
from bench.data.encodings import read_bytes, read_text
from bench.data.files import prepare
from bench.data.remarks import Remark
from bench.data.splits import PARTS, check_splits
from bench.errors import DataError, DeclarationError

ORDER = 5  # of the strongest n-gram model
DISCOUNT = 0.75  # where a text is too small to estimate it


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
        encoding: str | None = None,
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
        how = [unit, splits if isinstance(splits, Mapping) else list(splits), max_words, encoding]
        prepared = prepare(
            "language_modelling", known, how, lambda paths: _make(paths, unit, splits, max_words, encoding)
        )
        self.meta: dict[str, Any] = prepared.meta
        self.parts = {part: prepared.arrays[part] for part in PARTS}
        self.input_size = self.output_size = len(self.meta["vocabulary"])
        for part in PARTS:
            if len(self.parts[part]) <= length:
                mend = "a longer text" if length == 1 else "a shorter context, or other splits"
                count = len(self.parts[part])
                raise DeclarationError(
                    f"language_modelling: length {length}: the {part} part has {count:,} tokens; {mend}"
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
        for order in (2, ORDER):
            model = self.n_gram_model(order)
            found[f"Kneser-Ney {order}-gram"] = float(np.mean([model.nats(row) for row in _joined(batch)]))
        return found

    def n_gram_model(self, order: int) -> "KneserNey":
        """Return an n-gram model of the training part."""
        return KneserNey(np.asarray(self.parts["train"]), order, self.output_size)

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
    paths: list[Path],
    unit: str,
    splits: Sequence[float] | Mapping[str, str],
    max_words: int | None,
    encoding: str | None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    read = [_read(path, unit, encoding) for path in paths]
    contents, remarks = [text for text, _ in read], [remark for _, remarks in read for remark in remarks]
    if isinstance(splits, Mapping):
        by_name = {path.name: text for path, text in zip(paths, contents, strict=True)}
        for part in PARTS:
            if splits.get(part) not in by_name:
                raise DeclarationError(
                    f"language_modelling: splits: {part}: one of {', '.join(by_name)}, but found {splits.get(part)!r}"
                )
        found = {part: vocabulary.tokens(by_name[splits[part]], unit) for part in PARTS}
    else:
        check_splits("language_modelling", splits)
        whole = [token for text in contents for token in vocabulary.tokens(text, unit)]
        borders = [0, int(splits[0] * len(whole)), int((splits[0] + splits[1]) * len(whole)), len(whole)]
        found = {part: whole[a:b] for part, a, b in zip(PARTS, borders, borders[1:], strict=False)}
    words = vocabulary.make(found["train"], unit, max_words)
    arrays = {part: vocabulary.encode(each, words) for part, each in found.items()}
    unknown = {part: int((numbers == 0).sum()) if unit != "byte" else 0 for part, numbers in arrays.items()}
    counts = {part: len(numbers) for part, numbers in arrays.items()}
    new = [f"{part} {count:,}" for part, count in unknown.items() if count]
    if new:
        remarks.append(
            Remark("unknown", f"tokens that the training part does not hold, read as <unk>: {', '.join(new)}")
        )
    meta = {"vocabulary": words, "unit": unit, "tokens": counts, "unknown": unknown, "remarks": remarks}
    return arrays, meta


def _read(path: Path, unit: str, encoding: str | None) -> tuple[str, list[Remark]]:
    """Return a text and remarks; bytes are as they are, whatever they stand for."""
    if unit == "byte" and encoding is not None:
        raise DeclarationError(f"language_modelling: encoding: {encoding}: bytes are read as they are; leave it out")
    remarks: list[Remark] = []
    if unit == "byte":
        text = read_bytes(path).decode("utf-8", "surrogateescape")
    else:
        text, remarks = read_text(path, encoding=encoding)
    if not text:
        raise DataError(f"{path}: empty")
    return text, remarks


class _Level(NamedTuple):
    """The n-grams of one order, sorted by key, and what follows their contexts, which are n-grams of the order below.

    The key of an n-gram is the place of its context there, times the size of the vocabulary, plus its last token: it
    stays below tokens times vocabulary, however long the n-gram.
    """

    keys: np.ndarray
    kept: np.ndarray  # of each n-gram: its count less the discount
    totals: np.ndarray  # of each context: the sum of the counts after it
    given: np.ndarray  # of each context: the sum of the discounts, for the order below


class KneserNey:
    """An interpolated Kneser-Ney model of token numbers, modified: counts of 1, 2 and more have discounts of their own.

    Counts of the highest order are of occurrences; those below are of different tokens before, so that a word which
    only ever follows one other gets no more than its due. What is discounted goes to the order below, and in the end to
    all tokens alike.
    """

    def __init__(self, train: np.ndarray, order: int, size: int) -> None:
        self.order, self.size = min(order, len(train)), size
        self.levels: list[_Level] = []
        contexts = 1
        keys, _, gram, counts = _grams(np.zeros(len(train) + 1, dtype=np.int64), train, 1, size)
        for n in range(2, self.order + 1):
            longer, first, longer_gram, longer_counts = _grams(gram, train, n, size)
            before = np.bincount(gram[first + 1], minlength=len(keys))  # an n-gram ends each longer one once
            self.levels.append(_level(keys, before, contexts, size))
            contexts = len(keys)
            keys, gram, counts = longer, longer_gram, longer_counts
        self.levels.append(_level(keys, counts, contexts, size))

    def nats(self, numbers: np.ndarray) -> float:
        """Return the mean negative log likelihood of all tokens after the first, in nats."""
        probability = np.full(len(numbers), 1.0 / self.size)
        context = np.zeros(len(numbers), dtype=np.int64)  # place of the context of each token, -1 for one unseen
        for n, level in enumerate(self.levels, 1):
            asked = slice(n - 1, None)  # tokens with enough before them
            place = _find(level.keys, np.where(context < 0, -1, context * self.size + numbers[asked]))
            total = np.where(context < 0, 0, level.totals[context])
            kept = np.where(place < 0, 0, level.kept[place])
            mixed = (kept + level.given[context] * probability[asked]) / np.maximum(total, 1)
            probability[asked] = np.where(total > 0, mixed, probability[asked])
            context = place[:-1]
        return float(-np.log(probability[1:]).mean())

    def probabilities(self, before: Sequence[int]) -> np.ndarray:
        """Return the probability of every token after those `before`, (size,)."""
        probability = np.full(self.size, 1.0 / self.size)
        for n, level in enumerate(self.levels[: len(before) + 1], 1):
            context = self._context(before[len(before) - n + 1 :])
            if context < 0 or not level.totals[context]:
                break  # a longer context is not known either
            start, stop = np.searchsorted(level.keys, [context * self.size, (context + 1) * self.size])
            probability *= level.given[context]
            probability[level.keys[start:stop] % self.size] += level.kept[start:stop]
            probability /= level.totals[context]
        return probability

    def _context(self, tokens: Sequence[int]) -> int:
        place = 0
        for level, token in zip(self.levels, tokens, strict=False):
            place = int(_find(level.keys, np.array([place * self.size + token]))[0])
            if place < 0:
                break
        return place


def _grams(gram: np.ndarray, train: np.ndarray, n: int, size: int) -> tuple[np.ndarray, ...]:
    """Return the keys of all n-grams, where each occurs first, which one begins where, and how often each occurs."""
    keys = gram[:-1] * size + train[n - 1 :]
    return np.unique(keys, return_index=True, return_inverse=True, return_counts=True)


def _level(keys: np.ndarray, counts: np.ndarray, contexts: int, size: int) -> _Level:
    discounts = _discounts(counts)[np.minimum(counts, 3)]
    totals, given = (np.bincount(keys // size, weights=each, minlength=contexts) for each in (counts, discounts))
    return _Level(keys, counts - discounts, totals, given)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """Return the discounts of counts of 0, 1, 2, and 3 or more (Chen & Goodman's equation 26)."""
    # How many n-grams have the counts 1 to 4 tells how much too high these counts are.
    having = np.bincount(np.minimum(counts, 5), minlength=5)[1:5].astype(np.float64)
    if having.all():
        ratio = having[0] / (having[0] + 2 * having[1])
        found = np.array([0, *(n - (n + 1) * ratio * having[n] / having[n - 1] for n in (1, 2, 3))])
        if (found[1:] > 0).all():
            return found
    return np.array([0, DISCOUNT, DISCOUNT, DISCOUNT])


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the place of each wanted key among the sorted keys, -1 for what is not there."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)


# New files


def columns(arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, str]:
    """Return the column of a table of prompts."""
    return {"prompt": "text"}


def read_prompts(path: Path) -> list[str]:
    """Return the prompts of a file: column `prompt` of a table, or else a line each. Raises DataError."""
    if texts.is_table(path):
        found = [cells[0] for cells, _ in texts.read_cells(path, ["prompt"])[0]]
    else:
        found = [line for line in read_text(path)[0].split("\n") if line.strip()]
    if not all(found) or not found:
        raise DataError(f"{path}: no prompt{' in some row' * bool(found)}; at least one token each")
    return found
