"""Ridge regression from all columns and rows of the window to all rows of the horizon.

B batch, L look-back, H horizon, D input columns, T target columns.
"""

import numpy as np

from bench.baselines._linear import ridges
from bench.config import baseline
from bench.config.contracts import Batch, Task

ALPHAS = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
CELLS = 1 << 24  # numbers that the ridge is fitted on, at most: 128 MiB


class Baseline(baseline.Baseline):
    """One linear map for all columns together; its penalty is the best on validation."""

    title = "ridge on the window"
    weights = ("weights", "offset")

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether the task is a forecast."""
        return task.kind == "forecasting"

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Fit a ridge for each penalty and keep the best."""
        rows = baseline.evenly(train, max(64, CELLS // max(train.x[0].size, task.output_size)))
        best = np.inf
        for alpha, (weights, offset) in zip(ALPHAS, ridges(_flat(rows.x), rows.y, ALPHAS), strict=True):
            error = float(((_flat(val.x) @ weights + offset - val.y) ** 2).mean())
            if error < best or not self.arrays:
                best, self.chosen = error, {"alpha": alpha}
                self.arrays = {"weights": weights.astype(np.float32), "offset": offset.astype(np.float32)}

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the forecast, (B, H T)."""
        answers: np.ndarray = _flat(x) @ self.arrays["weights"] + self.arrays["offset"]
        return answers


def _flat(x: np.ndarray) -> np.ndarray:
    """Return windows (B, L, D) as (B, L D)."""
    return x.reshape(len(x), -1)
