"""Hydra and a ridge: random kernels in groups, and how often each answers most and least of its group.

Dempster, Schmidt & Webb, 2023, Hydra: competing convolutional kernels for fast and accurate time series classification,
https://arxiv.org/abs/2203.13652

B batch, L steps, D channels, G groups, K kernels of a group, R dilations, S channels of a group, F features.
"""

import numpy as np

from bench.baselines._ridge_of_features import RidgeOfFeatures
from bench.config.contracts import Task

TAPS = 9  # of a kernel
GROUPS, KERNELS = 32, 8  # of values, and as many of their differences, at each dilation
FEWEST_CHANNELS, MOST_CHANNELS = 2, 8  # that a group reads, drawn with replacement: half of all, within these bounds
FLAT = 1e-5  # answers that differ by less are the rounding of a flat stretch, where no kernel wins
CELLS = 1 << 20  # answers that are computed at once: 4 MiB
EXAMPLES, STEPS = 2_000, 400_000  # that it is fitted on, at most: the ridge takes the cube of the examples


class Baseline(RidgeOfFeatures):
    """A ridge on the competition of random kernels: at each step, one kernel of a group answers most and one least.

    A kernel's features are the sum of its answers where it answers most, and the number of steps where it answers
    least. Both are of the valid steps, so that they grow with the length; a kernel that reaches beyond them sees zeros.
    """

    title = "Hydra"
    prior = 2

    @staticmethod
    def most(task: Task) -> int:
        """Return how many training examples fit into the time of a cheap baseline."""
        return max(64, min(EXAMPLES, STEPS // task.num_steps))

    def kernels(self, x: np.ndarray, length: np.ndarray) -> dict[str, np.ndarray]:
        """Draw kernels without a mean and of absolute sum 1, (R, 2, G, K, TAPS), and their channels, (R, 2, G, S)."""
        rng, num_channels = np.random.default_rng(0), x.shape[2]
        span = np.log2(max(1.0, (int(length.max()) - 1) / (TAPS - 1)))
        shape = (int(span) + 1, 2, GROUPS)
        taps = rng.normal(size=(*shape, KERNELS, TAPS))
        taps -= taps.mean(-1, keepdims=True)
        taps /= np.abs(taps).sum(-1, keepdims=True)
        size = min(max(num_channels // 2, FEWEST_CHANNELS), MOST_CHANNELS)
        channels = rng.integers(num_channels, size=(*shape, size if num_channels > 1 else 1))
        return {"taps": taps.astype(np.float32), "channels": channels.astype(np.int32)}

    def features(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the root of each kernel's sum and of its number of steps, (B, F)."""
        taps, channels = self.arrays["taps"], self.arrays["channels"]
        features = np.empty((len(x), 2 * taps[..., 0].size), dtype=np.float32)
        size = max(1, CELLS // (GROUPS * KERNELS * x.shape[1]))
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            features[rows] = _features_of_chunk(x[rows], length[rows], taps, channels)
        return features

    def scaling(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return the mean, and the deviation plus the fourth power of the share of sequences without a feature."""
        rarity = (features == 0).mean(0, dtype=np.float32) ** 4
        return {"mean": np.asarray(features.mean(0)), "scale": np.asarray(features.std(0) + rarity + np.float32(1e-8))}

    def standardised(self, features: np.ndarray) -> np.ndarray:
        """Return scaled features (B, F); a feature that a sequence does not have stays 0."""
        return super().standardised(features) * (features != 0)


def _features_of_chunk(x: np.ndarray, length: np.ndarray, taps: np.ndarray, channels: np.ndarray) -> np.ndarray:
    columns = []
    valid = np.arange(x.shape[1]) < length[:, None]
    values = (x * valid[..., None]).transpose(0, 2, 1)  # (B, D, L)
    both = ((values, valid), (np.diff(values) * valid[:, None, 1:], valid[:, 1:]))
    for r in range(len(taps)):
        for order, (series, counted) in enumerate(both):
            answers = _convolved(series, 2**r, taps[r, order], channels[r, order])  # (B, G, K, L)
            answers *= counted[:, None, None]
            most, least = answers.max(2, keepdims=True), answers.min(2, keepdims=True)
            sums = np.where(answers == most, answers, 0).sum(-1)
            numbers = np.count_nonzero((answers == least) & (most - least > FLAT), axis=-1)
            columns += [np.maximum(sums, 0).reshape(len(x), -1), numbers.reshape(len(x), -1)]
    return np.sqrt(np.concatenate(columns, axis=1))


def _convolved(series: np.ndarray, dilation: int, taps: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Return the answers of all kernels at every step of (B, D, L), with zeros before and after: (B, G, K, L)."""
    reach = dilation * (TAPS // 2)
    steps = series.shape[2]
    around = np.pad(series, [(0, 0), (0, 0), (reach, reach)])
    shifted = np.stack([around[..., tap * dilation : tap * dilation + steps] for tap in range(TAPS)], axis=2)
    if series.shape[1] == 1:  # all groups read the same
        answers = taps.reshape(-1, TAPS) @ shifted[:, 0]
        return np.asarray(answers.reshape(len(series), *taps.shape[:2], steps))
    summed = sum(shifted[:, channel] for channel in channels.T)  # (B, G, TAPS, L)
    return np.asarray(taps @ summed)
