"""Logistic regression on summary features: moments, extremes, first and last of each channel, and the length.

B batch, L steps, D channels, F features.
"""

import numpy as np

from bench.baselines._classifiers import LinearClassifier
from bench.config.contracts import Batch, Task
from bench.data.sequences import summary_features


class Baseline(LinearClassifier):
    """A linear classifier that knows the values of a sequence, and not their order."""

    title = "logistic regression on summary features"

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether sequences of numbers have one class each."""
        return task.kind == "series" and task.loss == "cross_entropy"

    def features(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the summary features, (B, F)."""
        return summary_features(Batch(x, length, length), int(self.arrays["steps"]))
