"""N-gram models with modified Kneser-Ney smoothing, interpolated.

Chen & Goodman, 1999, An empirical study of smoothing techniques for language modeling, section 3,
https://doi.org/10.1006/csla.1999.0128

N tokens, K n-grams.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DISCOUNT = 0.75  # if a text is too small to estimate it


class _Level(NamedTuple):
    """The n-grams of one order, sorted by key, and what follows their contexts, which are n-grams of the order below.

    The key of an n-gram is the index of its context there, times the size of the vocabulary, plus its last token. It
    stays below tokens times vocabulary, however long the n-gram is.
    """

    keys: np.ndarray  # (K,) int64
    kept: np.ndarray  # of each n-gram: its count less the discount
    totals: np.ndarray  # of each context: the sum of the counts after it
    given: np.ndarray  # of each context: the sum of the discounts, for the order below


class KneserNey:
    """An interpolated Kneser-Ney model of token numbers, modified: counts of 1, 2 and more have separate discounts.

    The highest order counts occurrences. Lower orders count the different tokens before an n-gram, so that a word that
    follows only one other word gets a small probability elsewhere. The discounts go to the order below, and those of
    the lowest order to all tokens evenly.
    """

    def __init__(self, train: np.ndarray, order: int, size: int) -> None:
        """Count the n-grams of `train`, (N,) token numbers below `size`, up to length `order`, at least 1."""
        self.order, self.size = min(order, len(train)), size
        self.levels: list[_Level] = []
        contexts = 1
        keys, _, gram, counts = _grams(np.zeros(len(train) + 1, dtype=np.int64), train, 1, size)
        for n in range(2, self.order + 1):
            longer, first, longer_gram, longer_counts = _grams(gram, train, n, size)
            before = np.bincount(gram[first + 1], minlength=len(keys))  # each longer n-gram ends with one of these
            self.levels.append(_level(keys, before, contexts, size))
            contexts = len(keys)
            keys, gram, counts = longer, longer_gram, longer_counts
        self.levels.append(_level(keys, counts, contexts, size))

    def nats(self, numbers: np.ndarray) -> float:
        """Return the mean negative log likelihood of all tokens (N,) after the first, in nats."""
        return float(self.nats_of_each(numbers).mean())

    def nats_of_each(self, numbers: np.ndarray) -> np.ndarray:
        """Return the negative log likelihood of each token (N,) after the first, in nats, (N - 1,)."""
        probability = np.full(len(numbers), 1.0 / self.size)
        context = np.zeros(len(numbers), dtype=np.int64)  # index of the context of each token, -1 if it is unseen
        for n, level in enumerate(self.levels, 1):
            scored = slice(n - 1, None)  # tokens with enough tokens before them
            index = _find(level.keys, np.where(context < 0, -1, context * self.size + numbers[scored]))
            total = np.where(context < 0, 0, level.totals[context])
            kept = np.where(index < 0, 0, level.kept[index])
            mixed = (kept + level.given[context] * probability[scored]) / np.maximum(total, 1)
            probability[scored] = np.where(total > 0, mixed, probability[scored])
            context = index[:-1]
        return np.asarray(-np.log(probability[1:]))

    def probabilities(self, before: Sequence[int]) -> np.ndarray:
        """Return the probability of every token after the tokens `before`, (size,); they sum to 1."""
        probability = np.full(self.size, 1.0 / self.size)
        for n, level in enumerate(self.levels[: len(before) + 1], 1):
            context = self._context(before[len(before) - n + 1 :])
            if context < 0 or not level.totals[context]:
                break  # longer contexts are unseen as well
            start, stop = np.searchsorted(level.keys, [context * self.size, (context + 1) * self.size])
            probability *= level.given[context]
            probability[level.keys[start:stop] % self.size] += level.kept[start:stop]
            probability /= level.totals[context]
        return probability

    def _context(self, tokens: Sequence[int]) -> int:
        """Return the index of a context, -1 if it is unseen."""
        index = 0
        for level, token in zip(self.levels, tokens, strict=False):
            index = int(_find(level.keys, np.array([index * self.size + token]))[0])
            if index < 0:
                break
        return index


def _grams(gram: np.ndarray, train: np.ndarray, n: int, size: int) -> tuple[np.ndarray, ...]:
    """Return the keys of all n-grams, where each occurs first, which one begins at each token, and their counts."""
    keys = gram[:-1] * size + train[n - 1 :]
    return np.unique(keys, return_index=True, return_inverse=True, return_counts=True)


def _level(keys: np.ndarray, counts: np.ndarray, contexts: int, size: int) -> _Level:
    discounts = _discounts(counts)[np.minimum(counts, 3)]
    totals, given = (np.bincount(keys // size, weights=weights, minlength=contexts) for weights in (counts, discounts))
    return _Level(keys, counts - discounts, totals, given)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """Return the discounts of counts of 0, 1, 2, and 3 or more, (4,) (Chen & Goodman's equation 26)."""
    # The numbers of n-grams that occur 1 to 4 times estimate by how much these counts are too high.
    having = np.bincount(np.minimum(counts, 5), minlength=5)[1:5].astype(np.float64)
    if having.all():
        ratio = having[0] / (having[0] + 2 * having[1])
        discounts = np.array([0, *(n - (n + 1) * ratio * having[n] / having[n - 1] for n in (1, 2, 3))])
        if (discounts[1:] > 0).all():
            return discounts
    return np.array([0, DISCOUNT, DISCOUNT, DISCOUNT])


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the index of each wanted key in the sorted keys, -1 if it is missing."""
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[index] == wanted, index, -1)
