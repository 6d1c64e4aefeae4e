"""Logistic regression on the TF-IDF of n-grams: of 1 to 2 words, or of 1 to 4 characters or bytes.

B batch, L steps, K n-grams, C classes.
"""

from typing import Any

import numpy as np

from bench.baselines import _n_grams
from bench.baselines._classifiers import fitted
from bench.config import baseline
from bench.config.contracts import Batch, Task


class Baseline(baseline.Baseline):
    """N-grams that two training texts have, weighted by 1 + log(count) and by their inverse document frequency."""

    title = "TF-IDF + logistic regression"
    libraries = ("scipy.sparse", "sklearn.linear_model", "sklearn.svm")
    weights = ("weights", "offset")

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether texts have one class each."""
        return task.kind == "text"

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Count n-grams and fit a logistic regression whose strength is the best on validation."""
        longest = 2 if getattr(task, "meta", {}).get("tokens") == "word" else 4
        known = _n_grams.frequent(train.x, train.length, longest, task.input_size, fewest=2)
        self.arrays = {"longest": np.array(longest), "size": np.array(task.input_size), "known": known}
        self.arrays["idf"] = _n_grams.idf_of(self._counts(train.x, train.length)).astype(np.float32)
        self.arrays |= fitted(self, "logistic", self._features, train, val, task)

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return log odds, (B, C)."""
        return np.asarray(self._features(x, length) @ self.arrays["weights"] + self.arrays["offset"])

    def _counts(self, x: np.ndarray, length: np.ndarray) -> Any:
        arrays = self.arrays
        return _n_grams.counted(x, length, int(arrays["longest"]), int(arrays["size"]), arrays["known"])

    def _features(self, x: np.ndarray, length: np.ndarray) -> Any:
        return _n_grams.tf_idf(self._counts(x, length), self.arrays["idf"])
