"""A linear SVM on the TF-IDF of words and of the characters in them.

B batch, L steps, K n-grams, S n-grams of characters, V vocabulary, C classes.
"""

from typing import Any

import numpy as np

from bench.baselines import _n_grams
from bench.baselines._classifiers import fitted
from bench.config import baseline
from bench.config.contracts import Batch, Task

CHARACTERS = 4  # longest n-gram of characters


class Baseline(baseline.Baseline):
    """N-grams of 1 to 2 words beside 1 to 4 characters inside them; or 1 to 4 tokens, if these are characters."""

    title = "n-gram linear SVM"
    prior = 1
    libraries = ("scipy.sparse", "sklearn.linear_model", "sklearn.svm")
    weights = ("weights", "offset")

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether texts have one class each."""
        return task.kind == "text"

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Count n-grams and fit an SVM whose strength is the best on validation."""
        meta = getattr(task, "meta", {})
        are_words = meta.get("tokens") == "word"
        longest = 2 if are_words else CHARACTERS
        known = _n_grams.frequent(train.x, train.length, longest, task.input_size, fewest=2)
        self.arrays = {"longest": np.array(longest), "size": np.array(task.input_size), "known": known}
        if are_words:
            spelled = _spelled(meta["vocabulary"])
            self.arrays |= {"spelling": spelled.indices, "spelling_stop": spelled.indptr[1:]}
            self.arrays |= {
                "spelling_size": np.array(spelled.shape[1]),
                "spelling_count": spelled.data.astype(np.float32),
            }
        idf = [_n_grams.idf_of(counts).astype(np.float32) for counts in self._counts(train.x, train.length)]
        self.arrays |= {f"idf_{number}": values for number, values in enumerate(idf)}
        self.arrays |= fitted(self, "svm", self._features, train, val, task)

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return log odds, (B, C)."""
        return np.asarray(self._features(x, length) @ self.arrays["weights"] + self.arrays["offset"])

    def _counts(self, x: np.ndarray, length: np.ndarray) -> list[Any]:
        """Return counts of n-grams of tokens, (B, K), and of the characters of words, (B, S)."""
        from scipy.sparse import csr_matrix

        arrays = self.arrays
        size = int(arrays["size"])
        counts = [_n_grams.counted(x, length, int(arrays["longest"]), size, arrays["known"])]
        if "spelling" in arrays:
            words = _n_grams.counted(x, length, 1, size, np.arange(1, size + 1, dtype=np.uint64))
            parts = (arrays["spelling_count"], arrays["spelling"], np.r_[0, arrays["spelling_stop"]])
            counts.append((words @ csr_matrix(parts, shape=(size, int(arrays["spelling_size"])))).tocsr())
        return counts

    def _features(self, x: np.ndarray, length: np.ndarray) -> Any:
        from scipy.sparse import hstack

        counts = self._counts(x, length)
        return hstack([_n_grams.tf_idf(part, self.arrays[f"idf_{i}"]) for i, part in enumerate(counts)], format="csr")


def _spelled(vocabulary: list[str]) -> Any:
    """Return how often each word has each n-gram of 1 to 4 characters, with spaces around it; sparse, (V, S)."""
    from scipy.sparse import csr_matrix

    number: dict[str, int] = {}
    rows, columns = [], []
    for row, word in enumerate(vocabulary):
        text = f" {word} "
        for n in range(1, CHARACTERS + 1):
            for start in range(len(text) - n + 1):
                rows.append(row)
                columns.append(number.setdefault(text[start : start + n], len(number)))
    return csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(len(vocabulary), len(number)))
