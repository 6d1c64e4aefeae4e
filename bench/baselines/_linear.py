"""Linear models: ridge regression, logistic regression and linear SVM, with strengths chosen on validation.

B batch, F features, T targets, C classes, N examples.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bench.config import baseline
from bench.config.baseline import Baseline
from bench.config.contracts import Batch, Task

STRENGTHS = {"logistic": (0.1, 1.0, 10.0), "svm": (0.01, 0.1, 1.0)}  # C; the smallest penalises most
TEMPERATURES = np.logspace(-2, 2, 81)  # factors of outputs that are no log probabilities


def ridges(x: np.ndarray, y: np.ndarray, alphas: Sequence[float]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield weights (F, T) and offset (T,) for each alpha, as scikit-learn's Ridge finds them from (N, F) and (N, T).

    The products of all inputs are computed once for all alphas, and in float64, because the windows of a slow series
    are nearly collinear.
    """
    x_mean, y_mean = x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)
    x, y = (x - x_mean).astype(np.float64), (y - y_mean).astype(np.float64)
    wide = x.shape[1] > len(x)
    products = x @ x.T if wide else x.T @ x
    right = y if wide else x.T @ y
    for alpha in alphas:
        products[np.diag_indices_from(products)] += alpha
        solution = np.linalg.solve(products, right)
        products[np.diag_indices_from(products)] -= alpha
        weights = x.T @ solution if wide else solution
        yield weights, y_mean - x_mean @ weights


class LeftOut(NamedTuple):
    """The ridge with the smallest squared leave-one-out error, and that error, summed over examples and targets."""

    weights: np.ndarray  # (F, T)
    offset: np.ndarray  # (T,)
    alpha: float
    error: float


def leave_one_out(x: np.ndarray, y: np.ndarray, alphas: Sequence[float]) -> LeftOut:
    """Return the ridge from (N, F) to (N, T) whose alpha has the smallest squared leave-one-out error.

    The error of an example that is left out follows from the eigenvectors of the products of all examples (Rifkin &
    Lippert, 2007, Notes on regularized least squares, section 4). These products are fewest if features outnumber
    examples.
    """
    x_mean, y_mean = x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)
    x, y = (x - x_mean).astype(np.float64), (y - y_mean).astype(np.float64)
    products = x @ x.T
    # The offset is not penalised: the direction of equal numbers takes no part. Its eigenvalue, 0 after centring, is
    # made the largest, so that it is the last eigenvector, whatever other directions the features do not reach.
    values, vectors = np.linalg.eigh(products + (2 * np.trace(products) + 1) / len(x))
    inside = vectors.T @ y
    best, most = (np.zeros_like(y), float(alphas[0])), np.inf
    for alpha in alphas:
        shares = 1 / (np.maximum(values, 0.0) + alpha)
        shares[-1] = 0.0
        solution = vectors @ (shares[:, None] * inside)
        error = float(((solution / (vectors**2 @ shares)[:, None]) ** 2).sum())
        if error < most:
            best, most = (solution, float(alpha)), error
    weights = x.T @ best[0]
    return LeftOut(weights, y_mean - x_mean @ weights, best[1], most)


def targets(y: np.ndarray, task: Task) -> np.ndarray:
    """Return what a regression is fitted to, (N, C): 1 for the class and -1 for the others, or numbers as they are."""
    if task.loss == "mse":
        return y.reshape(len(y), -1)
    return np.where(np.arange(task.output_size) == y[:, None], 1.0, -1.0)


def scaled(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each feature (N, F); the deviation of a constant feature is 1."""
    deviation = features.std(0)
    return features.mean(0), np.where(deviation > 1e-6, deviation, 1.0)


def classifier(
    kind: str,
    strengths: Sequence[float],
    train: Any,
    y: np.ndarray,
    num_classes: int,
    score: Callable[[np.ndarray, np.ndarray], tuple[float, ...]],
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return weights (F, C), offset (C,) and the strength for which `score` of both is largest.

    Args:
        kind: "logistic" or "svm".
        strengths: Values of C.
        train: Features (N, F), dense or sparse.
        y: Their classes (N,), of which some may not occur.
        num_classes: C, at least the largest class and 1.
        score: What validation says of weights and offset; of equals the first is taken, the strongest penalty.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    best: tuple[np.ndarray, np.ndarray, dict[str, Any]] | None = None
    most: tuple[float, ...] = ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fit near the optimum is good enough for a baseline
        for strength in strengths:
            if kind == "logistic":
                model = LogisticRegression(C=strength, max_iter=60, tol=1e-3)
            else:
                model = LinearSVC(C=strength, max_iter=100, tol=1e-2, random_state=0)
            weights, offset = _of_all_classes(model, train, y, num_classes)
            value = score(weights, offset)
            if value > most:
                best, most = (weights, offset, {"strength": strength}), value
    assert best is not None
    return best


def _of_all_classes(model: Any, train: Any, y: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit a scikit-learn classifier; return weights (F, C) and offset (C,), also of classes that do not occur."""
    classes = np.unique(y)
    weights, offset = np.zeros((train.shape[1], num_classes)), np.full(num_classes, -30.0)
    if len(classes) < 2:
        offset[classes] = 0.0
        return weights, offset
    model.fit(train, y)
    if len(classes) == 2:  # one line divides two classes
        weights[:, classes] = np.concatenate([-model.coef_.T, model.coef_.T], axis=1) / 2
        offset[classes] = np.array([-model.intercept_[0], model.intercept_[0]]) / 2
    else:
        weights[:, classes], offset[classes] = model.coef_.T, model.intercept_
    return weights, offset


def standing(task: Task, outputs: np.ndarray, batch: Batch) -> tuple[float, float]:
    """Return what orders points of a grid: the task's score of outputs, then how likely they make the classes.

    The second decides where few validation examples let several points score the same. More is better in both.
    """
    return baseline.standing(task, outputs, batch), -_nats(outputs, batch.y).min()


def temperature(outputs: np.ndarray, y: np.ndarray) -> float:
    """Return the factor by which outputs (N, C) become the log odds that fit classes (N,) best.

    It changes no decision; it makes probabilities of the margins of an SVM or a ridge (Guo et al., 2017, temperature
    scaling, https://arxiv.org/abs/1706.04599).
    """
    return float(TEMPERATURES[int(_nats(outputs, y).argmin())])


def factor(found: Baseline, outputs: np.ndarray, y: np.ndarray) -> float:
    """Return the temperature of a baseline's outputs and note it; a refit, which has learned from `y`, keeps it."""
    value = found.kept.get("temperature")
    found.chosen["temperature"] = temperature(outputs, y) if value is None else float(value)
    return float(found.chosen["temperature"])


def _nats(outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the mean nats of classes (N,) under outputs (N, C) times each of TEMPERATURES.

    One more example is counted whose class may be any: ten examples without an error leave some doubt.
    """
    outputs = outputs.astype(np.float64)
    targets = np.eye(outputs.shape[1])[y] * len(y) / (len(y) + 1) + 1 / (len(y) + 1) / outputs.shape[1]
    nats = []
    for factor in TEMPERATURES:
        logits = factor * (outputs - outputs.max(-1, keepdims=True))
        nats.append((np.log(np.exp(logits).sum(-1)) - (targets * logits).sum(-1)).mean())
    return np.array(nats)
