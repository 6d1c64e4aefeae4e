"""The last season again and again.

Hyndman & Athanasopoulos, 2021, Forecasting: principles and practice, section 5.2, https://otexts.com/fpp3/

B batch, L look-back, H horizon, D input columns, T target columns.
"""

import numpy as np

from bench.baselines._seasons import candidates
from bench.config import baseline
from bench.config.contracts import Batch, Task


class Baseline(baseline.Baseline):
    """Repeat each target's last season, which is the card's, or one of the times or of the series: the best on val."""

    title = "seasonal naive"

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether the task is a forecast of a series that may have a season."""
        return task.kind == "forecasting" and bool(candidates(task))

    @staticmethod
    def history(task: Task) -> int:
        """Return the length of the longest season, which may be longer than the window."""
        return max(task.num_steps, *candidates(task))

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Choose the season."""
        sizes = {name: np.array(size) for name, size in baseline.forecast_sizes(task).items()}
        best = -np.inf
        for season in self.grid("season", candidates(task)):
            before = self.arrays
            self.arrays = sizes | {"season": np.array(season), "num_steps": np.array(max(season, 1))}
            standing = baseline.standing(task, self.outputs(val.x, val.length), val)
            if standing > best:
                best, self.chosen = standing, {"season": season}
            else:
                self.arrays = before

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the last season, (B, H T); of a window that is shorter, the last row."""
        season, horizon = int(self.arrays["season"]), int(self.arrays["horizon"])
        seasons = np.where(length >= season, season, 1)[:, None]
        steps = length[:, None] - seasons + np.arange(horizon) % seasons
        return np.asarray(x[np.arange(len(x))[:, None], steps, : int(self.arrays["targets"])].reshape(len(x), -1))
