"""Ridge regression from all columns and rows of the window to all rows of the horizon.

B batch, L look-back, H horizon, D input columns, T target columns.
"""

import numpy as np

from bench.baselines._linear import ridges
from bench.baselines._shapes import last_rows
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

    @staticmethod
    def most(task: Task) -> int:
        """Return how many training windows fit into 128 MiB."""
        return max(64, CELLS // max(task.num_steps * task.input_size, task.output_size))

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Fit a ridge for each penalty and keep the best."""
        numbers = {"num_steps": np.array(task.num_steps)}
        train_x, val_x = (_flat(part.x, part.length, task.num_steps) for part in (train, val))
        best, alphas = np.inf, self.grid("alpha", ALPHAS)
        for alpha, (weights, offset) in zip(alphas, ridges(train_x, train.y, alphas), strict=True):
            error = float(((val_x @ weights + offset - val.y) ** 2).mean())
            if error < best or not self.arrays:
                best, self.chosen = error, {"alpha": alpha}
                self.arrays = numbers | {"weights": weights.astype(np.float32), "offset": offset.astype(np.float32)}

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the forecast, (B, H T)."""
        flat = _flat(x, length, int(self.arrays["num_steps"]))
        return np.asarray(flat @ self.arrays["weights"] + self.arrays["offset"])


def _flat(x: np.ndarray, length: np.ndarray, rows: int) -> np.ndarray:
    """Return the last rows of windows (B, L, D) as (B, rows D)."""
    return last_rows(x, length, rows).reshape(len(x), -1)
