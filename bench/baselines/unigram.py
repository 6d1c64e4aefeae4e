"""The frequencies of tokens in training, plus one each.

B batch, L steps, V vocabulary.
"""

import numpy as np

from bench.baselines._language import NGrams
from bench.config.contracts import Batch, Task


class Baseline(NGrams):
    """Every next token is as likely as it is frequent."""

    title, order = "unigram", 1
    weights = ("log_shares",)

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Count the tokens of the training part."""
        counts = np.bincount(task.parts["train"], minlength=task.output_size) + 1.0  # type: ignore[attr-defined]
        self.arrays = {"log_shares": np.log(counts / counts.sum())}

    def nats(self, batch: Batch) -> np.ndarray:
        """Return the nats of each next token, (B, L)."""
        return np.asarray(-self.arrays["log_shares"][batch.y])

    def _after(self, before: np.ndarray) -> np.ndarray:
        return np.exp(self.arrays["log_shares"])
