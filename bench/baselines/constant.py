"""The best answer that ignores its input: the frequencies of classes or keys, one sentence, or the mean target.

B batch, L steps, C outputs.
"""

import numpy as np

from bench.config import baseline, measures
from bench.config.contracts import Batch, Task


class Baseline(baseline.Baseline):
    """The logarithm of the frequencies of classes, or the mean of the targets; the same for every sequence."""

    title = "constant answer"
    prior = -1

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether the task is one of stored classes, numbers, translations, music or transcripts."""
        return task.kind in ("forecasting", "series", "text", "tagging", "translation", "music", "transcription")

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Count classes, or take the mean of the targets; targets of forecasts are standardised, so that it is 0."""
        if task.keep == "tokens":
            self.arrays = {"constant": task.constant(1)[0], "per_step": np.array(False)}  # type: ignore[attr-defined]
            return
        y = train.y if train.mask is None else train.y[train.mask]
        if task.loss == "cross_entropy":
            counts = np.bincount(y, minlength=task.output_size)
            constant = np.log(np.maximum(counts, 0.5) / counts.sum())
        elif task.loss == "bernoulli":
            constant = measures.log_odds(y)
        elif task.kind == "forecasting":
            constant = np.zeros(task.output_size)
        else:
            constant = y.reshape(len(y), -1).mean(0, dtype=np.float64)
        self.arrays = {"constant": constant.astype(np.float32), "per_step": np.array(task.per_step)}

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the constant, (B, C) or (B, L, C); of a translation or transcript its tokens, (B, T)."""
        constant = self.arrays["constant"]
        return np.tile(constant, (*x.shape[: 2 if self.arrays["per_step"] else 1], 1))
