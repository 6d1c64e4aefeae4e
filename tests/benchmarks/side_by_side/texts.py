"""NB-SVM or an n-gram SVM of scikit-learn on the texts of a file: `python texts.py PEER INPUTS ANSWERS RESULT SECONDS`.

Runs in an environment of its own and imports nothing of the bench. Strength and n-grams are chosen by `GridSearchCV` on
the bench's validation part, and the best is fitted again on train and val, as `refit` does. The words are those of the
bench, in lower case; words that occur once in training are words here, while the bench reads them as unknown.

NB-SVM: Wang & Manning, 2012, https://aclanthology.org/P12-2018
"""

import json
import sys
import time
import warnings

import numpy as np
from scipy.sparse import csr_matrix, diags
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC

STRENGTHS = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0]


class NaiveBayesSVM(ClassifierMixin, BaseEstimator):
    """A linear SVM on which n-grams occur, each weighted by its log odds between two classes; `beta` of the paper."""

    def __init__(self, C: float = 1.0, beta: float = 0.25) -> None:
        self.C, self.beta = C, beta

    def fit(self, x: csr_matrix, y: np.ndarray) -> "NaiveBayesSVM":
        self.classes_ = np.unique(y)
        inside, outside = (1 + np.asarray(x[y == label].sum(0)).ravel() for label in self.classes_[::-1])
        self.ratio_ = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
        svm = LinearSVC(C=self.C, random_state=0).fit(x @ diags(self.ratio_), y)
        weights = svm.coef_[0]
        self.weights_ = (1 - self.beta) * np.abs(weights).mean() + self.beta * weights
        self.offset_ = self.beta * svm.intercept_[0]
        return self

    def decision_function(self, x: csr_matrix) -> np.ndarray:
        return x @ (self.ratio_ * self.weights_) + self.offset_

    def predict(self, x: csr_matrix) -> np.ndarray:
        return self.classes_[(self.decision_function(x) > 0).astype(int)]


def pipeline(peer: str, are_words: bool) -> tuple[Pipeline, dict[str, list]]:
    words = {"analyzer": "word", "token_pattern": r"\S+", "lowercase": False}
    if peer == "NB-SVM":
        how = words | {"ngram_range": (1, 2)} if are_words else {"analyzer": "char", "ngram_range": (1, 4)}
        vectors = CountVectorizer(binary=True, **how | {"lowercase": False})
        return Pipeline([("n_grams", vectors), ("svm", OneVsRestClassifier(NaiveBayesSVM()))]), {
            "svm__estimator__C": STRENGTHS
        }
    if peer == "word n-gram SVM":
        vectors, n_grams = TfidfVectorizer(sublinear_tf=True, **words), [(1, 1), (1, 2), (1, 3)]
    else:
        vectors = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", lowercase=False)
        n_grams = [(2, 5), (3, 6)] if are_words else [(1, 3), (1, 4), (1, 5)]
    grid = {"n_grams__ngram_range": n_grams, "svm__C": STRENGTHS}
    return Pipeline([("n_grams", vectors), ("svm", LinearSVC(random_state=0))]), grid


def main(peer: str, inputs: str, answers: str, result: str, seconds: str) -> None:
    start = time.perf_counter()
    warnings.simplefilter("ignore")  # LinearSVC on its convergence
    data = np.load(inputs)
    texts, y = np.concatenate([data["x_train"], data["x_val"]]), np.concatenate([data["y_train"], data["y_val"]])
    fold = np.r_[np.full(len(data["y_train"]), -1), np.zeros(len(data["y_val"]), int)]
    estimator, grid = pipeline(peer, bool(data["are_words"]))
    search = GridSearchCV(estimator, grid, cv=PredefinedSplit(fold), n_jobs=2, refit=True).fit(texts, y)
    np.savez(answers, test_0=search.predict(data["x_test"]).astype(np.int64))
    about = {
        "seconds": time.perf_counter() - start,
        "fitted_on": "chosen on val, then train + val",
        "val": float(search.best_score_),
        "note": ", ".join(f"{name.split('__')[-1]} {value}" for name, value in sorted(search.best_params_.items())),
    }
    with open(result, "w") as file:
        json.dump(about, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
