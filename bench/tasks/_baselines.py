"""Cheap baselines: 1-NN, TF-IDF, logistic and ridge regression. Strengths are chosen on val, never on test.

1-NN with Euclidean distance is the baseline of Dau et al., 2018, the UCR archive, https://arxiv.org/abs/1810.07758

B batch, L steps, D channels, F features, T targets, N sequences.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from bench.config.contracts import Batch

FITTED = 20_000  # sequences a baseline is fitted on, at most
STRENGTHS = (0.1, 1.0, 10.0)  # C of the logistic regressions


def nearest(train: np.ndarray, classes: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the class of the training sequence that is nearest to each test sequence; sequences are (N, L, D)."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(n_neighbors=1, algorithm="brute")
    with _one_thread():
        model.fit(train.reshape(len(train), -1).astype(np.float64), classes)
        return np.asarray(model.predict(test.reshape(len(test), -1).astype(np.float64)))


def resample(x: np.ndarray, length: np.ndarray, steps: int) -> np.ndarray:
    """Return sequences (B, L, D) of `length` (B,) steps, interpolated linearly to (B, steps, D)."""
    if (length == steps).all():
        return x[:, :steps]
    at = np.linspace(0, 1, steps)[None] * (length[:, None] - 1)
    before = np.floor(at).astype(np.int64)
    after = np.minimum(before + 1, length[:, None] - 1)
    weight = (at - before)[..., None].astype(x.dtype)
    row = np.arange(len(x))[:, None]
    resampled: np.ndarray = x[row, before] * (1 - weight) + x[row, after] * weight
    return resampled


def tf_idf(batches: Sequence[Batch], unit: str) -> list[Any]:
    """Return TF-IDF features of token sequences, fitted on the first batch: n-grams of 1 to 2 words, else 1 to 4."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    documents = [
        [" ".join(map(str, row[:length])) for row, length in zip(batch.x, batch.length, strict=True)]
        for batch in batches
    ]
    n_grams = (1, 2) if unit == "word" else (1, 4)
    counter = TfidfVectorizer(token_pattern=r"\S+", ngram_range=n_grams, min_df=2, sublinear_tf=True)
    return [counter.fit_transform(documents[0]), *(counter.transform(texts) for texts in documents[1:])]


def logistic(features: Sequence[Any], train: np.ndarray, val: np.ndarray, test: np.ndarray) -> float:
    """Return the test accuracy of the logistic regression that is best on val.

    `features` are those of train, val and test, (N, F), dense or sparse; the other arguments are their classes.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(train)) < 2:
        return float((test == train[0]).mean())
    if isinstance(features[0], np.ndarray):
        mean, scale = features[0].mean(0), features[0].std(0)
        features = [(x - mean) / np.where(scale > 1e-6, scale, 1.0) for x in features]
    best, accuracy_of_best = -1.0, 0.0
    with warnings.catch_warnings(), _one_thread():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fit near the optimum is good enough for a baseline
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=100, tol=1e-3).fit(features[0], train)
            accuracy = float(model.score(features[1], val))
            if accuracy > best:
                best, accuracy_of_best = accuracy, float(model.score(features[2], test))
    return accuracy_of_best


def ridges(x: np.ndarray, y: np.ndarray, alphas: Sequence[float]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return weights (F, T) and offset (T,) for each alpha, as scikit-learn's Ridge finds them from (N, F) and (N, T).

    The products of all inputs are computed once for all alphas, and in float64, because the windows of a slow series
    are nearly collinear.
    """
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    wide = x.shape[1] > len(x)
    products = x @ x.T if wide else x.T @ x
    right = y if wide else x.T @ y
    for alpha in alphas:
        products[np.diag_indices_from(products)] += alpha
        solution = np.linalg.solve(products, right)
        products[np.diag_indices_from(products)] -= alpha
        weights = x.T @ solution if wide else solution
        yield weights, y_mean - x_mean @ weights


def _one_thread() -> AbstractContextManager[Any]:
    """Keep BLAS from spreading small products over cores that others use: 40 times as slow where two are shared."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits
