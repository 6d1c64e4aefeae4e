"""N-grams of token numbers as sparse counts, without a dictionary of text.

B batch, L steps, K n-grams, V vocabulary.
"""

from typing import Any

import numpy as np


def keys(x: np.ndarray, length: np.ndarray, n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sequence of every n-gram in a batch (B, L) of tokens below `size`, and a number for its tokens.

    From two tokens on, the beginning and the end of a sequence count as a token, so that an ending is a feature. The
    number is exact where size to the power n is below 2^64; beyond, two n-grams may share one by rare chance.
    """
    if n > 1:
        x = np.pad(x, ((0, 0), (1, 1)), constant_values=-1)
        x[np.arange(len(x)), length + 1] = -1
        length = length + 2
    last = x.shape[1] - n + 1
    if last < 1:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
    numbers = np.zeros((len(x), last), dtype=np.uint64)
    for place in range(n):
        numbers = numbers * np.uint64(size + 1) + (x[:, place : place + last] + 1).astype(np.uint64)
    valid = np.arange(last) < (length - n + 1)[:, None]
    return np.nonzero(valid)[0], numbers[valid]


def frequent(x: np.ndarray, length: np.ndarray, longest: int, size: int, fewest: int) -> np.ndarray:
    """Return the numbers of the n-grams of 1 to `longest` tokens that `fewest` sequences or more have, sorted."""
    kept = []
    for n in range(1, longest + 1):
        row, number = keys(x, length, n, size)
        once = np.unique(np.stack([number, row.astype(np.uint64)]), axis=1)[0]
        known, counts = np.unique(once, return_counts=True)
        kept.append(known[counts >= fewest])
    return np.unique(np.concatenate(kept))


def counted(x: np.ndarray, length: np.ndarray, longest: int, size: int, known: np.ndarray) -> Any:
    """Return how often each sequence has each of the known n-grams, a sparse matrix (B, K) of float64."""
    from scipy.sparse import csr_matrix

    rows, columns = [], []
    for n in range(1, longest + 1):
        row, number = keys(x, length, n, size)
        column = np.minimum(np.searchsorted(known, number), len(known) - 1)
        found = known[column] == number
        rows.append(row[found])
        columns.append(column[found])
    row, column = np.concatenate(rows), np.concatenate(columns)
    return csr_matrix((np.ones(len(row)), (row, column)), shape=(len(x), len(known)))


def tf_idf(counts: Any, idf: np.ndarray) -> Any:
    """Return counts (B, K) as 1 + log(count), times `idf` (K,), in rows of length 1."""
    from scipy.sparse import diags

    weighted = counts.copy()
    weighted.data = 1 + np.log(weighted.data)
    weighted = weighted @ diags(idf)
    norm = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
    return diags(1 / np.where(norm > 0, norm, 1.0)) @ weighted


def idf_of(counts: Any) -> np.ndarray:
    """Return the inverse document frequency of each column, (K,), as scikit-learn smooths it."""
    documents = np.bincount(counts.indices, minlength=counts.shape[1])
    return np.asarray(np.log((1 + counts.shape[0]) / (1 + documents)) + 1)
