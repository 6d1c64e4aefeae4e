"""The last row of the window again and again, the forecast that is hard to beat on prices.

B batch, L look-back, H horizon, D input columns, T target columns.
"""

import numpy as np

from bench.config import baseline
from bench.config.contracts import Batch, Task


class Baseline(baseline.Baseline):
    """Repeat the last value of each target."""

    title = "repeat last"

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether the task is a forecast."""
        return task.kind == "forecasting"

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Note the number of targets and the horizon."""
        self.arrays = {name: np.array(size) for name, size in baseline.forecast_sizes(task).items()}

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the last values for every row of the horizon, (B, H T)."""
        last_BT = x[np.arange(len(x)), length - 1, : int(self.arrays["targets"])]
        return np.tile(last_BT, (1, int(self.arrays["horizon"])))
