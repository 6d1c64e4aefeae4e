"""What linear classifiers of features share: a fit whose strength is chosen on validation, and their outputs.

B batch, F features, C classes.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.baselines._linear import STRENGTHS, classifier, factor, scaled, standing
from bench.config import baseline
from bench.config.contracts import Batch, Task


class LinearClassifier(baseline.Baseline):
    """A linear classifier of dense features; a subclass provides `features` of sequences."""

    libraries = ("sklearn.linear_model", "sklearn.svm")
    weights = ("weights", "offset")

    @abstractmethod
    def features(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return features of sequences, (B, F)."""

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Fit a logistic regression on standardised features; its strength is the best on validation."""
        self.arrays = {"steps": np.array(task.num_steps)}
        mean, scale = scaled(self.features(train.x, train.length))
        self.arrays |= {"mean": mean, "scale": scale}
        self.arrays |= fitted(self, "logistic", self._standardised, train, val, task)

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return log odds, (B, C)."""
        return np.asarray(self._standardised(x, length) @ self.arrays["weights"] + self.arrays["offset"])

    def _standardised(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        standardised: np.ndarray = (self.features(x, length) - self.arrays["mean"]) / self.arrays["scale"]
        return standardised


def fitted(
    found: baseline.Baseline,
    kind: str,
    features: Callable[[np.ndarray, np.ndarray], Any],
    train: Batch,
    val: Batch,
    task: Task,
) -> dict[str, np.ndarray]:
    """Return `weights` (F, C) and `offset` (C,) of a classifier of features, and note its strength.

    Outputs of an SVM are scaled so that they are log odds.
    """
    val_x = features(val.x, val.length)

    def score(weights: np.ndarray, offset: np.ndarray) -> tuple[float, float]:
        return standing(task, val_x @ weights + offset, val)

    train_x = features(train.x, train.length)
    strengths = found.grid("strength", STRENGTHS[kind])
    weights, offset, point = classifier(kind, strengths, train_x, train.y, task.output_size, score)
    found.chosen.update(point)
    times = factor(found, val_x @ weights + offset, val.y) if kind == "svm" else 1.0
    return {"weights": (times * weights).astype(np.float32), "offset": (times * offset).astype(np.float32)}
