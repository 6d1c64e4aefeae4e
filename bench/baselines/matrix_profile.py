"""The distance of the last rows from the most similar rows of the training part: a matrix profile.

Yeh et al., 2016, https://doi.org/10.1109/ICDM.2016.0179

B batch, L steps, D channels, T targets, S steps of the windows that are compared.
"""

import numpy as np

from bench.baselines._detectors import Detector, last_targets, sizes
from bench.baselines._shapes import nearest
from bench.config.contracts import Batch, Task
from bench.data.sequences import with_next

CELLS = 1 << 21  # numbers of the training windows that are stored, at most: 8 MiB
CHUNK = 4096  # windows that are compared at a time


class Baseline(Detector):
    """The distance to the nearest training window (an AB-join) of windows with mean 0 and deviation 1 of each target.

    Windows are as long as the look-back and end with the scored row. A constant stretch has distance 0 from constant
    ones, and sqrt(S) from all others.
    """

    title = "matrix profile"
    _known: np.ndarray | None = None

    @staticmethod
    def most(task: Task) -> int:
        """Return how many training windows are compared with, at most."""
        return max(64, min(20_000, CELLS // (task.num_steps * task.output_size)))

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Store the training windows."""
        self._known = None
        self.arrays = sizes(task)
        self.arrays["windows"] = self._windows(with_next(train.x, train.length, train.y), train.length)

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the distance of the last rows of each window from the nearest training window, (B,)."""
        if self._known is None:  # normalised once: an answer to one window takes less time than that
            self._known = _normalised(self.arrays["windows"])
        distances = []
        for first in range(0, len(x), CHUNK):
            chunk = slice(first, first + CHUNK)
            asked = _normalised(self._windows(x[chunk], length[chunk]))
            found = self._known[nearest(self._known, asked)]
            distances.append(np.sqrt(((asked - found) ** 2).sum(1)))
        return np.concatenate(distances)

    def _windows(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        return last_targets(x, length, int(self.arrays["targets"]), int(self.arrays["steps"])).astype(np.float32)


def _normalised(windows: np.ndarray) -> np.ndarray:
    """Return windows (B, S, T) with mean 0 and deviation 1 of each target, or 0 where it is constant; (B, S T)."""
    varies = np.ptp(windows, axis=1, keepdims=True) > 0
    exact = windows.astype(np.float64)
    centred = np.where(varies, exact - exact.mean(1, keepdims=True), 0)
    return (centred / np.where(varies, exact.std(1, keepdims=True), 1)).reshape(len(windows), -1)
