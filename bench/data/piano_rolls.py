"""Piano rolls: pieces of music as frames of 88 keys, from MATLAB files of the form of Boulanger-Lewandowski et al.

T frames of a piece.
"""

from pathlib import Path

import numpy as np

from bench.errors import DataError

KEYS = 88  # of a piano, lowest first
ARRAYS = ("traindata", "validdata", "testdata")  # of the file, in the order of train, val and test


def read(path: Path) -> dict[str, list[np.ndarray]]:
    """Return the pieces of each array that a file has, (T, 88) uint8 with 1 for a key that sounds. Raises DataError."""
    from scipy.io import loadmat

    try:
        arrays = loadmat(path, variable_names=list(ARRAYS))
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - what a damaged file raises depends on the byte
        problem = (str(error).strip().splitlines() or [type(error).__name__])[0][:100]
        raise DataError(f"{path}: must be a MATLAB file of version 5, but it cannot be read ({problem})") from None
    pieces = {name: _pieces(arrays[name], f"{path}: {name}") for name in ARRAYS if name in arrays}
    if not pieces:
        raise DataError(f"{path}: must have pieces in an array {', '.join(ARRAYS[:2])} or {ARRAYS[2]}; it has none")
    return pieces


def _pieces(array: np.ndarray, where: str) -> list[np.ndarray]:
    """Return the pieces of an array of arrays. Raises DataError."""
    pieces = []
    for number, piece in enumerate(array.ravel(), 1):
        frames = np.asarray(piece)
        if frames.ndim != 2 or frames.shape[1] != KEYS or len(frames) < 2:
            rule = f"must have at least 2 frames of {KEYS} keys"
            raise DataError(f"{where}: piece {number} {rule}, but its shape is {frames.shape}; correct or remove it")
        if not np.isin(frames, (0, 1)).all():
            raise DataError(f"{where}: piece {number} must have 0 and 1 alone, 1 for a key that sounds; correct it")
        pieces.append(frames.astype(np.uint8))
    return pieces
