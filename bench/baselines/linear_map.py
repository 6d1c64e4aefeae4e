"""A linear map from the window of each series to its horizon, as NLinear.

Zeng et al., 2023, Are Transformers effective for time series forecasting?, https://arxiv.org/abs/2205.13504

B batch, L look-back, H horizon, D input columns, T target columns.
"""

import numpy as np

from bench.baselines._linear import ridges
from bench.config import baseline
from bench.config.contracts import Batch, Task

ALPHAS = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
CELLS = 1 << 24  # numbers that the ridge is fitted on, at most: 128 MiB


class Baseline(baseline.Baseline):
    """One ridge for all targets, each read by itself as differences from its last value."""

    title = "linear map of each series"
    prior = 2
    weights = ("weights", "offset")

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether the task is a forecast."""
        return task.kind == "forecasting"

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Fit a ridge for each penalty and keep the best."""
        sizes = baseline.forecast_sizes(task)
        numbers = {name: np.array(size) for name, size in sizes.items()}
        width = sizes["targets"] * max(train.x.shape[1], sizes["horizon"])
        rows = baseline.evenly(train, max(64, CELLS // width))
        x, last = _each_series(rows.x, sizes["targets"])
        y = rows.y.reshape(len(rows.y), sizes["horizon"], -1).transpose(0, 2, 1) - last
        best = np.inf
        found = ridges(x.reshape(-1, x.shape[-1]), y.reshape(-1, sizes["horizon"]), ALPHAS)
        for alpha, (weights, offset) in zip(ALPHAS, found, strict=True):
            tried = numbers | {"weights": weights.astype(np.float32), "offset": offset.astype(np.float32)}
            error = float(((_answers(val.x, tried) - val.y) ** 2).mean())
            if error < best or not self.arrays:
                best, self.chosen, self.arrays = error, {"alpha": alpha}, tried

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the forecast, (B, H T)."""
        return _answers(x, self.arrays)


def _each_series(x: np.ndarray, num_targets: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each target less its last value, (B, T, L), and the last values, (B, T, 1)."""
    x_BTL = x[..., :num_targets].transpose(0, 2, 1)
    last_BT1 = x_BTL[..., -1:]
    return x_BTL - last_BT1, last_BT1


def _answers(x: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    x_BTL, last_BT1 = _each_series(x, int(arrays["targets"]))
    answers_BTH = x_BTL @ arrays["weights"] + arrays["offset"] + last_BT1
    return np.asarray(answers_BTH.transpose(0, 2, 1).reshape(len(x), -1))
