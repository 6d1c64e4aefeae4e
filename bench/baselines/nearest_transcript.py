"""The transcript of the training recording that is nearest by Euclidean distance: right where sentences are repeated.

B batch, L steps, D bands, T tokens.
"""

import numpy as np

from bench.baselines._shapes import nearest, resample
from bench.baselines._spoken import most
from bench.config import baseline
from bench.config.contracts import Batch, Task

STEPS = 16  # to which a recording is shortened


class Baseline(baseline.Baseline):
    """1-NN on recordings that are interpolated to 16 steps; it writes nothing that training does not have."""

    title = "transcript of the nearest recording"

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether recordings are to be transcribed."""
        return task.kind == "transcription"

    @staticmethod
    def most(task: Task) -> int:
        """Return how many training recordings are compared with, at most."""
        return most(task)

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Store the training recordings and their tokens."""
        assert train.mask is not None
        self.arrays = {"x": _vectors(train.x, train.length), "y": train.y[:, : max(1, int(train.mask.sum(1).max()))]}

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the tokens of the nearest training recording, (B, T)."""
        chosen = nearest(self.arrays["x"].astype(np.float64), _vectors(x, length))
        return np.asarray(self.arrays["y"][chosen])


def _vectors(x: np.ndarray, length: np.ndarray) -> np.ndarray:
    return resample(x, length, STEPS).reshape(len(x), -1)
