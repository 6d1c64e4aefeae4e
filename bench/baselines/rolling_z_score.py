"""The distance of a row from the mean of the rows before it, in deviations of these rows.

B batch, L steps, D channels, T targets.
"""

import numpy as np

from bench.baselines._detectors import Detector, last_targets, sizes
from bench.config.contracts import Batch, Task

LEAST_VARIANCE = 1e-4  # in training deviations squared: a constant stretch does not make every change infinite


class Baseline(Detector):
    """The root mean square of the distances of all targets."""

    title = "rolling z-score"

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Note the number of targets and of steps."""
        self.arrays = sizes(task)

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the score of the last row of each window, (B,)."""
        rows = last_targets(x, length, int(self.arrays["targets"]), int(self.arrays["steps"]))
        before, last = rows[:, :-1] if rows.shape[1] > 1 else rows, rows[:, -1]
        variance = before.var(1) + LEAST_VARIANCE
        return np.asarray(np.sqrt(((last - before.mean(1)) ** 2 / variance).mean(1)))
