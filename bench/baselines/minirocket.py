"""MiniRocket and a ridge: random shapes at random scales, and how often each occurs.

Dempster, Schmidt & Webb, 2021, MiniRocket: a very fast (almost) deterministic transform for time series classification,
https://arxiv.org/abs/2012.08791

B batch, L steps, D channels, C outputs, K kernels, F features.
"""

from itertools import combinations

import numpy as np

from bench.baselines._ridge_of_features import RidgeOfFeatures
from bench.config.contracts import Task

TAPS = 9  # of a kernel: six weights of -1 and three of 2
TWOS = np.array(list(combinations(range(TAPS), 3)))  # (84, 3): where each kernel has its weights of 2
FEATURES = 10_000  # about; of those that 84 kernels divide, the largest number below
DILATIONS = 32  # of one kernel, at most
CELLS = 1 << 22  # convolutions that are computed at once: 16 MiB
EXAMPLES, STEPS = 2_000, 1_000_000  # that it is fitted on, at most: the ridge takes the cube of the examples


class Baseline(RidgeOfFeatures):
    """A ridge on the shares of steps at which 84 kernels, dilated and biased, answer with a positive value.

    A kernel that reaches beyond the end of a sequence sees zeros there, and shares are of the valid steps. Several
    channels are summed, a random subset for each kernel and dilation.
    """

    title = "MiniRocket"
    prior = 3

    @staticmethod
    def most(task: Task) -> int:
        """Return how many training examples fit into the time of a cheap baseline."""
        return max(64, min(EXAMPLES, STEPS // task.num_steps))

    def kernels(self, x: np.ndarray, length: np.ndarray) -> dict[str, np.ndarray]:
        """Draw the biases from training sequences."""
        return _kernels(x, length, np.random.default_rng(0))

    def features(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the share of steps at which each kernel answers above each of its biases, (B, F)."""
        return _features(x, length, self.arrays)

    def scaling(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return mean and deviation; a constant feature is left out by an infinite one."""
        deviation = features.std(0)
        scale: np.ndarray = np.where(deviation > 1e-6, deviation, np.inf)
        return {"mean": np.asarray(features.mean(0)), "scale": scale}


def _kernels(x: np.ndarray, length: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return dilations (R,), how many biases each kernel has at each (R,), channels (R, K, D) and all biases (F,)."""
    dilations, counts = _dilations(int(length.max()))
    channels = np.stack([_channels(x.shape[2], rng) for _ in dilations])
    golden = (np.arange(1, len(TWOS) * counts.sum() + 1) * (np.sqrt(5) + 1) / 2) % 1  # quantiles, evenly spread
    biases, first = [], 0
    for r, (dilation, count) in enumerate(zip(dilations, counts, strict=True)):
        rows = rng.integers(len(x), size=len(TWOS))  # a training sequence for each kernel
        answers = _convolved(x[rows], length[rows], int(dilation), channels[r])
        for kernel in range(len(TWOS)):
            quantiles = golden[first : (first := first + count)]
            biases.append(np.quantile(answers[kernel, kernel, : length[rows[kernel]]], quantiles))
    named = {"dilations": dilations, "counts": counts, "channels": channels}
    return named | {"biases": np.concatenate(biases).astype(np.float32)}


def _dilations(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the dilations for sequences of a length, from 1 to where a kernel spans it, and the biases of each."""
    per_kernel = FEATURES // len(TWOS)
    span = np.log2(max(1.0, (length - 1) / (TAPS - 1)))
    powers = np.logspace(0, span, min(per_kernel, DILATIONS), base=2).astype(np.int64)
    dilations, counts = np.unique(powers, return_counts=True)
    counts = counts * per_kernel // counts.sum()
    counts[: per_kernel - counts.sum()] += 1
    return dilations, counts


def _channels(num_channels: int, rng: np.random.Generator) -> np.ndarray:
    """Return which channels each kernel reads, (K, D): few more often than many, at most nine."""
    chosen = np.zeros((len(TWOS), num_channels), dtype=bool)
    sizes = 2 ** rng.uniform(0, np.log2(min(num_channels, TAPS) + 1), len(TWOS))
    for row, size in zip(chosen, sizes.astype(np.int64), strict=True):
        row[rng.choice(num_channels, size, replace=False)] = True
    return chosen


def _convolved(x: np.ndarray, length: np.ndarray, dilation: int, channels: np.ndarray) -> np.ndarray:
    """Return the answers of all kernels at every step, (B, K, L), with zeros before and after a sequence."""
    taps = np.full((len(TWOS), TAPS), -1.0, dtype=np.float32)
    np.put_along_axis(taps, TWOS, 2.0, axis=1)
    weights = (channels[..., None] * taps[:, None]).reshape(len(TWOS), -1)  # (K, D TAPS)
    size, steps, _ = x.shape
    reach = dilation * (TAPS // 2)
    around = np.zeros((size, x.shape[2], steps + 2 * reach), dtype=np.float32)
    valid = np.arange(steps) < length[:, None]
    around[:, :, reach : reach + steps] = (x * valid[..., None]).transpose(0, 2, 1)
    shifted = np.stack([around[..., tap * dilation : tap * dilation + steps] for tap in range(TAPS)], axis=2)
    return np.asarray(weights @ shifted.reshape(size, -1, steps))


def _features(x: np.ndarray, length: np.ndarray, kernels: dict[str, np.ndarray]) -> np.ndarray:
    """Return the share of steps at which each kernel answers above each of its biases, (B, F)."""
    features = np.empty((len(x), len(kernels["biases"])), dtype=np.float32)
    size = max(1, CELLS // (len(TWOS) * x.shape[1]))
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        features[rows] = _features_of_chunk(x[rows], length[rows], kernels)
    return features


def _features_of_chunk(x: np.ndarray, length: np.ndarray, kernels: dict[str, np.ndarray]) -> np.ndarray:
    columns, first, steps = [], 0, x.shape[1]
    for r, (dilation, count) in enumerate(zip(kernels["dilations"], kernels["counts"], strict=True)):
        answers = _convolved(x, length, int(dilation), kernels["channels"][r])
        biases = kernels["biases"][first : (first := first + count * len(TWOS))].reshape(len(TWOS), count)
        part = np.empty((len(x), len(TWOS), count), dtype=np.float32)
        # Every second kernel is judged only where it lies inside the sequence, as in the paper.
        for parity, reach in ((r % 2, 0), (1 - r % 2, int(dilation) * (TAPS // 2))):
            inside = _inside(steps, length, reach)
            judged = np.full((len(x), len(TWOS) // 2, -(-steps // 8) * 8), -np.inf, dtype=np.float32)
            judged[..., :steps] = np.where(inside[:, None], answers[:, parity::2], -np.inf)
            for place in range(count):
                above = _count(judged > biases[parity::2, place, None])
                part[:, parity::2, place] = above / inside.sum(1, keepdims=True)
        columns.append(part.reshape(len(x), -1))
    return np.concatenate(columns, axis=1)


def _inside(steps: int, length: np.ndarray, reach: int) -> np.ndarray:
    """Return which steps count, (B, L): those at least `reach` from both ends, or all valid ones if there are none."""
    step = np.arange(steps)
    inside = (step >= reach) & (step < length[:, None] - reach)
    return inside | ((step < length[:, None]) & ~inside.any(1, keepdims=True))


def _count(flags: np.ndarray) -> np.ndarray:
    """Return how many flags (..., 8 n) are set, (...), by adding eight of them at once as the bytes of one number."""
    words = flags.view(np.uint64)
    counts = np.zeros(flags.shape[:-1], dtype=np.int64)
    for start in range(0, words.shape[-1], 255):  # a byte counts no further
        sums = words[..., start : start + 255].sum(-1, keepdims=True)
        counts += sums.view(np.uint8).sum(-1, dtype=np.int64)
    return counts
