"""Logistic regression on all values of a sequence, which is stretched to the longest one of training.

B batch, L steps, D channels, F features.
"""

import numpy as np

from bench.baselines._classifiers import LinearClassifier
from bench.baselines._shapes import resample
from bench.config.contracts import Task

CELLS = 1 << 22  # numbers that it is fitted on, at most


class Baseline(LinearClassifier):
    """A linear classifier that knows where each value is, such as the pixels of a picture."""

    title = "logistic regression on all steps"

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether sequences of numbers have one class each."""
        return task.kind == "series" and task.loss == "cross_entropy"

    @staticmethod
    def most(task: Task) -> int:
        """Return how many training sequences fit into the time of a cheap baseline."""
        return max(64, min(20_000, CELLS // (task.num_steps * task.input_size)))

    def features(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the values of all steps, (B, F)."""
        return resample(x, length, int(self.arrays["steps"])).reshape(len(x), -1)
