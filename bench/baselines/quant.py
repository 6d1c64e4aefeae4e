"""QUANT and extremely randomised trees: quantiles of a sequence, its differences and its spectrum over fixed intervals.

Dempster, Schmidt & Webb, 2024, QUANT: a minimalist interval method for time series classification,
https://arxiv.org/abs/2308.00928

B batch, L steps, D channels, C outputs, I intervals, W steps of the widest interval, Q quantiles, F features.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.baselines._trees import answers, nodes_of
from bench.config import baseline
from bench.config.contracts import Batch, Task

TREES = 200
DEPTH = 6  # times that a sequence is halved, and the whole of it counts as one
DIVISOR = 4  # an interval has a quantile for each of so many steps
SMOOTHED = np.arange(-2, 3)  # steps whose differences are averaged
CELLS = 1 << 20  # steps that are sorted at once
EXAMPLES, STEPS = 2_000, 300_000  # that it is fitted on, at most; STEPS are of all channels


class Baseline(baseline.Baseline):
    """200 trees on quantiles; stored are the nodes of all trees.

    The intervals are fixed shares of a sequence, so that one of fewer steps has the same features, and its length is
    one more. Of equal lengths, they are the published intervals.
    """

    title = "QUANT"
    prior = 2
    libraries = ("sklearn.ensemble",)

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether sequences of numbers have one answer each."""
        return task.kind == "series"

    @staticmethod
    def most(task: Task) -> int:
        """Return how many training sequences fit into the time of a cheap baseline."""
        return max(64, min(EXAMPLES, STEPS // (task.num_steps * task.input_size)))

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Grow the trees, with the settings that were published; validation chooses nothing."""
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

        x = _features(train.x, train.length, task.num_steps)
        options: dict[str, Any] = {"n_estimators": TREES, "max_features": 0.1, "random_state": 0}
        if task.loss == "mse":
            forest = ExtraTreesRegressor(**options).fit(x, train.y.reshape(-1))
        else:
            forest = ExtraTreesClassifier(criterion="entropy", **options).fit(x, train.y)
        self.arrays = nodes_of(forest, task) | {"steps": np.array(task.num_steps)}

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the logarithm of the mean share of each class in the leaves, or the mean number, (B, C)."""
        return answers(self.arrays, _features(x, length, int(self.arrays["steps"])))


def _features(x: np.ndarray, length: np.ndarray, steps: int) -> np.ndarray:
    """Return the quantiles of sequences as those of `steps` steps have them, and the length over `steps`, (B, F)."""
    size = max(1, CELLS // (x.shape[1] * x.shape[2]))
    nominals = (steps, max(steps - 1, 1), max(steps - 2, 1), steps // 2 + 1)  # of the representations
    chunks = []
    for start in range(0, len(x), size):
        represented = _representations(x[start : start + size], length[start : start + size])
        columns = [_quantiles(*values, nominal) for values, nominal in zip(represented, nominals, strict=True)]
        chunks.append(np.concatenate(columns, axis=1))
    return np.concatenate([np.concatenate(chunks), length[:, None].astype(np.float32) / steps], axis=1)


def _representations(x: np.ndarray, length: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield values (B, L, D) and how many of them are valid (B,): as they are, differences, second ones, spectrum."""
    yield x, length
    first = np.diff(x, axis=1) if x.shape[1] > 1 else np.zeros_like(x)
    counts = np.maximum(length - 1, 1)
    first *= (length > 1)[:, None, None]
    around = np.clip(np.arange(first.shape[1])[:, None] + SMOOTHED, 0, (counts - 1)[:, None, None])  # (B, L, 5)
    yield first[np.arange(len(x))[:, None, None], around].mean(2), counts
    second = np.diff(first, axis=1) if first.shape[1] > 1 else np.zeros_like(first)
    second *= (length > 2)[:, None, None]
    yield second, np.maximum(length - 2, 1)
    spectrum = np.zeros((len(x), x.shape[1] // 2 + 1, x.shape[2]), dtype=np.float32)
    for steps in np.unique(length):
        rows = length == steps
        spectrum[rows, : steps // 2 + 1] = np.abs(np.fft.rfft(x[rows, :steps], axis=1))
    yield spectrum, length // 2 + 1


def _quantiles(values: np.ndarray, counts: np.ndarray, nominal: int) -> np.ndarray:
    """Return quantiles of values (B, L, D), `counts` of which are valid, over intervals; every second less the mean.

    An interval has as many quantiles as it has in a sequence of `nominal` steps.
    """
    columns = []
    sums = np.pad(values.cumsum(1, dtype=np.float64), [(0, 0), (1, 0), (0, 0)])
    row = np.arange(len(values))[:, None]
    for parts, is_shifted in _levels(nominal):
        start, stop = _intervals(counts, parts, is_shifted)  # (B, I)
        step = start[..., None] + np.arange((stop - start).max())
        inside = step < stop[..., None]
        found = values[row[..., None], np.minimum(step, values.shape[1] - 1)]
        ordered = np.sort(np.where(inside[..., None], found, np.inf), axis=2)  # (B, I, W, D)
        mean = (sums[row, stop] - sums[row, start]) / (stop - start)[..., None]
        widths = np.subtract(*_intervals(np.array([nominal]), parts, is_shifted)[::-1])[0]
        numbers = 1 + (widths - 1) // DIVISOR
        for number in np.unique(numbers):
            of = np.flatnonzero(numbers == number)
            found = _at(ordered[:, of], (stop - start)[:, of], int(number))
            found[:, :, 1::2] -= mean[:, of, None].astype(np.float32)
            columns.append(found.reshape(len(values), -1))
    return np.concatenate(columns, axis=1)


def _at(ordered: np.ndarray, width: np.ndarray, number: int) -> np.ndarray:
    """Return quantiles from least to most, or the median, of the first `width` of (B, I, W, D): (B, I, Q, D)."""
    shares = np.array([0.5]) if number == 1 else np.linspace(0, 1, number)
    place = shares * (width - 1)[..., None]
    below = np.floor(place).astype(np.int64)
    weight = (place - below)[..., None].astype(np.float32)
    lower = np.take_along_axis(ordered, below[..., None], axis=2)
    upper = np.take_along_axis(ordered, np.minimum(below + 1, width[..., None] - 1)[..., None], axis=2)
    return np.asarray(lower + weight * (upper - lower))


def _levels(nominal: int) -> Iterator[tuple[int, bool]]:
    """Yield into how many parts sequences of `nominal` steps are divided, and whether the parts are shifted by half."""
    for level in range(min(DEPTH, int(np.log2(nominal)) + 1)):
        yield 2**level, False
        widths = np.diff(np.arange(2**level + 1) * nominal // 2**level)
        if level and np.sort(widths)[(len(widths) - 1) // 2] > 1:  # the lower median, as published
            yield 2**level, True


def _intervals(counts: np.ndarray, parts: int, is_shifted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the first step of each of `parts` intervals of `counts` (B,) steps, and the one after its last: (B, I)."""
    bounds = np.arange(parts + 1) * counts[:, None] // parts
    if is_shifted:
        bounds = bounds[:, :-1] + -(-counts // (2 * parts))[:, None]
    start = np.minimum(bounds[:, :-1], counts[:, None] - 1)
    stop: np.ndarray = np.clip(bounds[:, 1:], start + 1, counts[:, None])
    return start, stop
