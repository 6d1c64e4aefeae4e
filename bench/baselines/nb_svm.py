"""NB-SVM: a linear SVM on which n-grams occur, weighted by the log odds that naive Bayes gives them.

Wang & Manning, 2012, Baselines and bigrams: simple, good sentiment and topic classification,
https://aclanthology.org/P12-2018

B batch, L steps, K n-grams, C classes.
"""

import warnings
from typing import Any

import numpy as np

from bench.baselines import _n_grams
from bench.baselines._linear import STRENGTHS, factor, standing
from bench.config import baseline
from bench.config.contracts import Batch, Task

BETA = 0.25  # of the paper: how far the weights go from their mean magnitude to those of the SVM
SMOOTHING = 1.0  # alpha of the paper: added to the counts
CLASSES = 20  # of more, one SVM for each class takes too long


class Baseline(baseline.Baseline):
    """N-grams of 1 to 2 words, or of 1 to 4 characters or bytes; each class against the others."""

    title = "NB-SVM"
    prior = 1
    libraries = ("scipy.sparse", "sklearn.svm")
    weights = ("weights", "offset")

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether texts have one class each, of few."""
        return task.kind == "text" and task.output_size <= CLASSES

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Fit an SVM for each class and strength; keep the strength that is best on validation."""
        longest = 2 if getattr(task, "meta", {}).get("tokens") == "word" else 4
        known = _n_grams.frequent(train.x, train.length, longest, task.input_size, fewest=1 if longest == 2 else 2)
        self.arrays = {"longest": np.array(longest), "size": np.array(task.input_size), "known": known}
        train_x, val_x = (self._occurs(part.x, part.length) for part in (train, val))
        ratios = [_log_ratio(train_x, train.y == number) for number in range(task.output_size)]
        best: tuple[float, ...] = ()
        for strength in self.grid("strength", STRENGTHS["svm"]):
            pairs = [
                _against_others(train_x, train.y == number, ratio, strength) for number, ratio in enumerate(ratios)
            ]
            weights, offset = np.stack([pair[0] for pair in pairs], axis=1), np.array([pair[1] for pair in pairs])
            answers = val_x @ weights + offset
            if (value := standing(task, answers, val)) > best:
                best, self.chosen = value, {"strength": strength}
                times = factor(self, answers, val.y)
                self.arrays |= {"weights": (times * weights).astype(np.float32), "offset": times * offset}

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return log odds, (B, C)."""
        return np.asarray(self._occurs(x, length) @ self.arrays["weights"] + self.arrays["offset"])

    def _occurs(self, x: np.ndarray, length: np.ndarray) -> Any:
        arrays = self.arrays
        counts = _n_grams.counted(x, length, int(arrays["longest"]), int(arrays["size"]), arrays["known"])
        counts.data[:] = 1.0
        return counts


def _log_ratio(occurs: Any, is_class: np.ndarray) -> np.ndarray:
    """Return the log of how much more often each n-gram occurs in a class than in the others, (K,)."""
    inside, outside = (SMOOTHING + np.asarray(occurs[rows].sum(0)).ravel() for rows in (is_class, ~is_class))
    return np.asarray(np.log(inside / inside.sum()) - np.log(outside / outside.sum()))


def _against_others(occurs: Any, is_class: np.ndarray, ratio: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    """Return the weights (K,) and the offset of one class against the others."""
    from scipy.sparse import diags
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    if is_class.all() or not is_class.any():
        return np.zeros(len(ratio)), 1.0 if is_class.all() else -1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fit near the optimum is good enough for a baseline
        model = LinearSVC(C=strength, max_iter=100, tol=1e-2, random_state=0).fit(occurs @ diags(ratio), is_class)
    weights = model.coef_[0]
    mixed = (1 - BETA) * np.abs(weights).mean() + BETA * weights
    return ratio * mixed, float(BETA * model.intercept_[0])
