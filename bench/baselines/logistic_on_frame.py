"""Logistic regression of each key on the keys of the frame before: which keys tend to follow which.

B batch, L steps, K keys, U different frames.
"""

import numpy as np

from bench.config import baseline
from bench.config.contracts import Batch, Task

PENALTIES = (0.1, 1.0, 10.0)  # of the squared weights, beside half the negative log likelihood of all frames
STEPS = 100  # of the optimiser


class Baseline(baseline.Baseline):
    """A first-order model of music. The penalty of the weights is chosen on the validation part."""

    title = "logistic on last frame"
    libraries = ("scipy.optimize",)
    weights = ("weights", "offset")

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether the next frame of music is asked at every step."""
        return task.kind == "music"

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Fit a regression for each penalty and keep the best."""
        frames, count, sounding = _counted(train)
        best = -np.inf
        weights, offset = np.zeros((frames.shape[1],) * 2), np.zeros(frames.shape[1])
        for penalty in sorted(self.grid("penalty", PENALTIES), reverse=True):
            weights, offset = _regression(frames, count, sounding, penalty, weights, offset)
            standing = baseline.standing(task, val.x @ weights + offset, val)
            if standing > best or not self.chosen:
                best, self.chosen = standing, {"penalty": penalty}
                self.arrays = {"weights": weights.astype(np.float32), "offset": offset.astype(np.float32)}

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the log odds of each key, (B, L, K)."""
        return np.asarray(x @ self.arrays["weights"] + self.arrays["offset"])


def _counted(train: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the different frames (U, K), how often each occurs (U, 1), and how often each key sounds after it (U, K).

    A regression needs no more, and music repeats itself.
    """
    x, y = train.x[train.mask], train.y[train.mask]
    packed, place, count = np.unique(np.packbits(x > 0.5, axis=1), axis=0, return_inverse=True, return_counts=True)
    sounding = np.zeros((len(packed), y.shape[1]))
    np.add.at(sounding, place.ravel(), y)
    frames = np.unpackbits(packed, axis=1, count=x.shape[1]).astype(np.float64)
    return frames, count[:, None].astype(np.float64), sounding


def _regression(
    frames: np.ndarray,
    count: np.ndarray,
    sounding: np.ndarray,
    penalty: float,
    weights: np.ndarray,
    offset: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (K, K) and offset (K,) with a penalty, from those with another."""
    from scipy.optimize import minimize

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parts = flat.reshape(len(weights) + 1, -1)
        z = frames @ parts[:-1] + parts[-1]
        value = (count * np.logaddexp(0, z) - sounding * z).sum() + 0.5 * penalty * (parts[:-1] ** 2).sum()
        error = count / (1 + np.exp(-z)) - sounding
        return float(value), np.vstack([frames.T @ error + penalty * parts[:-1], error.sum(0)]).ravel()

    found = minimize(
        loss, np.vstack([weights, offset]).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}
    )
    parts = found.x.reshape(len(weights) + 1, -1)
    return parts[:-1], parts[-1]
