"""Every token is as likely as any other.

B batch, L steps, V vocabulary.
"""

import numpy as np

from bench.baselines._language import NGrams
from bench.config.contracts import Batch, Task


class Baseline(NGrams):
    """The logarithm of the size of the vocabulary is what a model that knows nothing pays for each token."""

    title, order = "uniform", 1
    prior = -1

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Note the size of the vocabulary."""
        self.arrays = {"size": np.array(task.output_size)}

    def nats(self, batch: Batch) -> np.ndarray:
        """Return the nats of each next token, (B, L)."""
        return np.full(batch.y.shape, np.log(float(self.arrays["size"])))

    def _after(self, before: np.ndarray) -> np.ndarray:
        return np.full(int(self.arrays["size"]), 1 / float(self.arrays["size"]))
