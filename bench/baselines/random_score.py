"""A number that the last row decides but that says nothing: what detection scores by luck.

B batch, L steps, D channels.
"""

import numpy as np

from bench.baselines._detectors import Detector, last_targets, sizes
from bench.config.contracts import Batch, Task


class Baseline(Detector):
    """A hash of the window as a number from 0 to 1."""

    title = "random score"
    prior = -1

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Note the number of targets and of steps."""
        self.arrays = sizes(task)

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the hash of the targets of each window, (B,)."""
        rows = last_targets(x, length, int(self.arrays["targets"]), int(self.arrays["steps"]))
        bits = np.ascontiguousarray(rows.reshape(len(x), -1), dtype=np.float64).view(np.uint64)
        odd = np.random.default_rng(0).integers(0, 2**62, bits.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        mixed = np.bitwise_xor.reduce((bits ^ (bits >> np.uint64(29))) * odd, axis=1)
        mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
        return np.asarray((mixed >> np.uint64(11)) / 2.0**53)
