"""A ridge on many features of a sequence, whose penalty leave-one-out chooses: what MiniRocket and Hydra share.

B batch, L steps, D channels, C outputs, F features.
"""

from abc import abstractmethod

import numpy as np

from bench.baselines._linear import factor, leave_one_out, targets
from bench.config import baseline
from bench.config.contracts import Batch, Task

ALPHAS = tuple(np.logspace(-3, 3, 10))


class RidgeOfFeatures(baseline.Baseline):
    """A subclass draws kernels, and provides the features of sequences and how these are scaled."""

    weights = ("weights", "offset")

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether sequences of numbers have one answer each."""
        return task.kind == "series"

    @abstractmethod
    def kernels(self, train: Batch) -> dict[str, np.ndarray]:
        """Return what `features` needs, drawn for training sequences."""

    @abstractmethod
    def features(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return features of sequences by the kernels in `arrays`, (B, F)."""

    @abstractmethod
    def scaling(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return `mean` (F,) and `scale` (F,) of the features (N, F) of training sequences."""

    def standardised(self, features: np.ndarray) -> np.ndarray:
        """Return features (B, F) as the ridge reads them."""
        return np.asarray((features - self.arrays["mean"]) / self.arrays["scale"])

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Draw kernels, then fit a ridge whose penalty leave-one-out chooses, as published.

        A small validation part, on which many penalties score the same, would choose worse.
        """
        self.arrays = self.kernels(train)
        features = self.features(train.x, train.length)
        self.arrays |= self.scaling(features)
        weights, offset, alpha = leave_one_out(self.standardised(features), targets(train.y, task), ALPHAS)
        self.chosen, times = {"alpha": alpha}, 1.0
        if task.loss == "cross_entropy":
            val_x = self.standardised(self.features(val.x, val.length))
            times = factor(self, val_x @ weights + offset, val.y)
        self.arrays |= {"weights": (times * weights).astype(np.float32), "offset": times * offset}

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return what the ridge answers, (B, C)."""
        features = self.standardised(self.features(x, length))
        return np.asarray(features @ self.arrays["weights"] + self.arrays["offset"], dtype=np.float32)
