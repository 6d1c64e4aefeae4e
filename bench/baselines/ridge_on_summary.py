"""Ridge regression of a number on the summary features of a sequence.

B batch, L steps, D channels, F features.
"""

import numpy as np

from bench.baselines._linear import ridges, scaled
from bench.config import baseline
from bench.config.contracts import Batch, Task
from bench.data.sequences import summary_features

ALPHAS = (0.1, 1.0, 10.0, 100.0, 1e3)


class Baseline(baseline.Baseline):
    """A linear map that knows the values of a sequence, and not their order."""

    title = "ridge on summary features"
    weights = ("weights", "offset")

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether sequences of numbers have one number each."""
        return task.kind == "series" and task.loss == "mse"

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Fit a ridge for each penalty and keep the best."""
        self.arrays = {"steps": np.array(task.num_steps)}
        mean, scale = scaled(self._features(train.x, train.length))
        self.arrays |= {"mean": mean, "scale": scale}
        train_x, val_x = ((self._features(part.x, part.length) - mean) / scale for part in (train, val))
        best, alphas = -np.inf, self.grid("alpha", ALPHAS)
        targets = train.y.reshape(len(train.y), -1)
        for alpha, (weights, offset) in zip(alphas, ridges(train_x, targets, alphas), strict=True):
            standing = baseline.standing(task, val_x @ weights + offset, val)
            if standing > best or not self.chosen:
                best, self.chosen = standing, {"alpha": alpha}
                self.arrays |= {"weights": weights, "offset": offset}

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the numbers, (B, 1)."""
        features = (self._features(x, length) - self.arrays["mean"]) / self.arrays["scale"]
        return np.asarray(features @ self.arrays["weights"] + self.arrays["offset"])

    def _features(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        return summary_features(Batch(x, length, length), int(self.arrays["steps"]))
