"""Sequences and windows of unequal length as those of one length, and the nearest of them.

B batch, L steps, D channels, N known sequences, F numbers of each.
"""

import numpy as np


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


def last_rows(x: np.ndarray, length: np.ndarray, rows: int) -> np.ndarray:
    """Return the last rows of windows (B, L, D) of `length` rows, (B, rows, D); a shorter one repeats its first row."""
    steps = np.maximum(length[:, None] - rows + np.arange(rows), 0)
    return np.asarray(x[np.arange(len(x))[:, None], steps])


def nearest(known: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the index of the known vector (N, F) that is nearest to each vector (B, F), of equals the first; (B,)."""
    squares = np.einsum("nf,nf->n", known, known)
    parts = np.array_split(vectors.astype(np.float64), -(-len(vectors) // 512))
    return np.concatenate([(squares - 2 * part @ known.T).argmin(1) for part in parts])
