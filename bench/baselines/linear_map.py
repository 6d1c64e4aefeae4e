"""A linear map from the window of each series to its horizon, as NLinear.

Zeng et al., 2023, Are Transformers effective for time series forecasting?, https://arxiv.org/abs/2205.13504

B batch, L look-back, H horizon, D input columns, T target columns.
"""

import numpy as np

from bench.baselines._linear import ridges
from bench.baselines._shapes import last_rows
from bench.config import baseline
from bench.config.contracts import Batch, Task

ALPHAS = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
LOOK_BACKS = (1, 2, 3)  # times the length that is asked, as the networks' recipe tries
CELLS = 1 << 24  # numbers that the ridge is fitted on, at most: 128 MiB


class Baseline(baseline.Baseline):
    """One ridge for all targets, each read by itself as differences from its last value.

    Penalty and look-back are the best on validation. Rows before the first one of a group repeat it.
    """

    title = "linear map of each series"
    prior = 2
    weights = ("weights", "offset")

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether the task is a forecast."""
        return task.kind == "forecasting"

    @staticmethod
    def most(task: Task) -> int:
        """Return how many training windows fit into 128 MiB at the longest look-back."""
        sizes = baseline.forecast_sizes(task)
        width = sizes["targets"] * max(LOOK_BACKS[-1] * task.num_steps, sizes["horizon"])
        return max(64, min(20_000, CELLS // width))

    @staticmethod
    def history(task: Task) -> int:
        """Return the longest look-back."""
        return LOOK_BACKS[-1] * task.num_steps

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Fit a ridge for each look-back and penalty and keep the best."""
        sizes = baseline.forecast_sizes(task)
        best = np.inf
        alphas = self.grid("alpha", ALPHAS)
        for times in self.grid("look-back", LOOK_BACKS):
            rows = times * task.num_steps
            numbers = {name: np.array(size) for name, size in (sizes | {"num_steps": rows}).items()}
            x, last = _each_series(train.x, train.length, sizes["targets"], rows)
            y = train.y.reshape(len(train.y), sizes["horizon"], -1).transpose(0, 2, 1) - last
            found = ridges(x.reshape(-1, rows), y.reshape(-1, sizes["horizon"]), alphas)
            for alpha, (weights, offset) in zip(alphas, found, strict=True):
                tried = numbers | {"weights": weights.astype(np.float32), "offset": offset.astype(np.float32)}
                error = float(((_answers(val.x, val.length, tried) - val.y) ** 2).mean())
                if error < best or not self.arrays:
                    best, self.chosen, self.arrays = error, {"alpha": alpha, "look-back": times}, tried

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the forecast, (B, H T)."""
        return _answers(x, length, self.arrays)


def _each_series(x: np.ndarray, length: np.ndarray, num_targets: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the last rows of each target less its last value, (B, T, rows), and the last values, (B, T, 1)."""
    x_BTL = last_rows(x[..., :num_targets], length, rows).transpose(0, 2, 1)
    last_BT1 = x_BTL[..., -1:]
    return x_BTL - last_BT1, last_BT1


def _answers(x: np.ndarray, length: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    x_BTL, last_BT1 = _each_series(x, length, int(arrays["targets"]), int(arrays["num_steps"]))
    answers_BTH = x_BTL @ arrays["weights"] + arrays["offset"] + last_BT1
    return np.asarray(answers_BTH.transpose(0, 2, 1).reshape(len(x), -1))
