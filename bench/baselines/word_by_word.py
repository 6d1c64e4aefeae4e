"""A dictionary learned from pairs of sentences: IBM model 1.

Brown et al., 1993, https://aclanthology.org/J93-2003

B batch, L steps, N pairs of a source token and a target token that stand in the same pair of sentences.
"""

import numpy as np

from bench.config import baseline
from bench.config.contracts import Batch, Task, spread

UNKNOWN, END = 0, 1  # numbers of <unk> and <eos>
PASSES = 5  # of expectation and maximisation, as Brown et al. chose for the first model
MOST = 8_000_000  # pairs of tokens, at most: training takes about a second for each million


class Baseline(baseline.Baseline):
    """Each token of the source is replaced by its likeliest translation, in the order of the source."""

    title = "dictionary, word by word"

    weights = ("translation",)

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether the task is a translation."""
        return task.kind == "translation"

    @staticmethod
    def most(task: Task) -> int:
        """Return how many pairs of sentences are read, at most."""
        return 30_000

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Learn how likely each source token, or none, is translated by each target token."""
        source_N, target_N, place_N = _pairs(train, task.input_size)
        # Each different pair of tokens has a number, and a probability of the target given the source.
        keys, key_N = np.unique(source_N.astype(np.int64) * task.output_size + target_N, return_inverse=True)
        source_K, target_K = keys // task.output_size, keys % task.output_size
        share_K = np.ones(len(keys))
        for _ in range(PASSES):
            share_N = share_K[key_N]
            share_N /= np.bincount(place_N, share_N)[place_N]  # who of the sentence wrote this target token
            count_K = np.bincount(key_N, share_N, len(keys))
            share_K = count_K / np.bincount(source_K, count_K)[source_K]
        translation = np.full(task.input_size, END)
        order = np.lexsort((share_K, source_K))  # the likeliest of each source token comes last
        known = (target_K != UNKNOWN) & (source_K < task.input_size) & (source_K != UNKNOWN)
        translation[source_K[order][known[order]]] = target_K[order][known[order]]
        self.arrays = {"translation": translation}

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the translations of the tokens that have one, with <eos> after the last, (B, L)."""
        words = np.where(np.arange(x.shape[1]) < length[:, None], self.arrays["translation"][x], END)
        order = np.argsort(words == END, axis=1, kind="stable")  # words without a translation are left out
        return np.take_along_axis(words, order, axis=1)


def _pairs(train: Batch, null: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return source and target of each pair of tokens, and the place of the target in all of training, (N,) each.

    Every target token may also come from token `null`, which stands for none. If there are more than MOST pairs, fewer
    sentences are read, evenly spaced.
    """
    assert train.mask is not None
    steps = train.mask.sum(1) - 1  # without <eos>
    cells = (train.length + 1) * steps
    rows = spread(len(cells), max(1, int(len(cells) * min(1.0, MOST / cells.sum()))))
    source, target, place, first = [], [], [], 0
    for row in rows:
        words, written = train.x[row, : train.length[row]], train.y[row, : steps[row]]
        width = len(words) + 1
        source.append(np.tile(np.r_[words, null], len(written)))
        target.append(np.repeat(written, width))
        place.append(np.repeat(np.arange(first, first + len(written)), width))
        first += len(written)
    return tuple(map(np.concatenate, (source, target, place)))  # type: ignore[return-value]
