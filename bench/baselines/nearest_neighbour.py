"""The class of the training sequence that is nearest by Euclidean distance.

The baseline of Dau et al., 2018, the UCR archive, https://arxiv.org/abs/1810.07758

B batch, L steps, D channels, C classes.
"""

import numpy as np

from bench.baselines._linear import factor
from bench.baselines._shapes import nearest, resample
from bench.config import baseline
from bench.config.contracts import Batch, Task

CELLS = 1 << 24  # numbers of the training sequences that are stored, at most: 64 MiB


class Baseline(baseline.Baseline):
    """1-NN on sequences that are stretched to the longest one of training, in the units of the files."""

    title = "1-NN Euclidean"
    _known: np.ndarray | None = None

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether sequences of numbers have one class each."""
        return task.kind == "series" and task.loss == "cross_entropy"

    @staticmethod
    def most(task: Task) -> int:
        """Return how many training sequences are compared with, at most."""
        return max(64, min(20_000, CELLS // (task.num_steps * task.input_size)))

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Store the training sequences."""
        self._known = None
        scale = getattr(task, "meta", {}).get("scale", [1.0] * task.input_size)
        self.arrays = {
            "scale": np.asarray(scale, dtype=np.float32),  # the published errors of the archives are in these units
            "steps": np.array(task.num_steps),
            "classes": train.y,
            "size": np.array(task.output_size),
            "certainty": np.array(1.0),
        }
        self.arrays["x"] = self._vectors(train.x, train.length)
        self.arrays["certainty"] = np.array(factor(self, self.outputs(val.x, val.length), val.y))

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the class of the nearest training sequence, (B, C), as log odds that fit its validation accuracy."""
        if self._known is None:  # converted once: an answer to one sequence takes less than the conversion
            self._known = self.arrays["x"].astype(np.float64)
        chosen = self.arrays["classes"][nearest(self._known, self._vectors(x, length))]
        return np.asarray((np.arange(int(self.arrays["size"])) == chosen[:, None]) * self.arrays["certainty"])

    def _vectors(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        return resample(x * self.arrays["scale"], length, int(self.arrays["steps"])).reshape(len(x), -1)
