"""The most frequent label of each token in training.

B batch, L steps, C labels, V vocabulary.
"""

import numpy as np

from bench.config import baseline
from bench.config.contracts import Batch, Task


class Baseline(baseline.Baseline):
    """Each token's labels as they were counted; a token never seen with a label gets the most frequent one."""

    title = "most frequent label of each token"

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether every token has a label."""
        return task.kind == "tagging"

    @staticmethod
    def most(task: Task) -> int:
        """Return more sequences than there are: counting is quick."""
        return 10**7

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Count the labels of each token."""
        assert train.mask is not None
        counts = np.zeros((task.input_size, task.output_size), dtype=np.int64)
        np.add.at(counts, (_tokens(train.x)[train.mask], train.y[train.mask]), 1)
        overall = counts.sum(0) / counts.sum()
        shares = (counts + overall) / (counts.sum(1, keepdims=True) + 1)
        self.arrays = {"log_shares": np.log(np.maximum(shares, 1e-6)).astype(np.float16)}

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the logarithm of the share of each label, (B, L, C)."""
        return np.asarray(self.arrays["log_shares"][_tokens(x)], dtype=np.float32)


def _tokens(x: np.ndarray) -> np.ndarray:
    """Return the tokens (B, L) without the features that may follow them in x."""
    return x if x.ndim == 2 else x[..., 0]
