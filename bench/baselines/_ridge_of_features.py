"""A ridge on many features of a sequence, whose penalty leave-one-out chooses: what MiniRocket and Hydra share.

B batch, L steps, D channels, C outputs, F features.
"""

from abc import abstractmethod

import numpy as np

from bench.baselines._linear import LeftOut, factor, leave_one_out, targets
from bench.config import baseline
from bench.config.contracts import Batch, Task

ALPHAS = tuple(np.logspace(-3, 3, 10))


class RidgeOfFeatures(baseline.Baseline):
    """A subclass draws kernels, and provides the features of sequences and how these are scaled."""

    weights = ("weights", "offset")

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether sequences of numbers have one answer each."""
        return task.kind == "series"

    @abstractmethod
    def kernels(self, x: np.ndarray, length: np.ndarray) -> dict[str, np.ndarray]:
        """Return what `features` needs, drawn for training sequences (N, L, D) of `length` (N,) steps."""

    @abstractmethod
    def features(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return features of sequences by the kernels in `arrays`, (B, F)."""

    @abstractmethod
    def scaling(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return `mean` (F,) and `scale` (F,) of the features (N, F) of training sequences."""

    def standardised(self, features: np.ndarray) -> np.ndarray:
        """Return features (B, F) as the ridge reads them."""
        return np.asarray((features - self.arrays["mean"]) / self.arrays["scale"])

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Draw kernels, then fit a ridge whose penalty leave-one-out chooses, as published.

        A small validation part, on which many penalties score the same, would choose worse. For sequences of unequal
        length, leave-one-out also chooses whether each is read to its own end, or with zeros after it to the end of the
        longest, which shows the ridge how long a sequence is.
        """
        longest, y = int(train.length.max()), targets(train.y, task)
        ridge = self._fit_to(train, y, 0)
        if (train.length < longest).any():
            own_end, chosen = self.arrays, ridge
            ridge = self._fit_to(train, y, longest)
            if ridge.error >= chosen.error:
                self.arrays, ridge = own_end, chosen
        self.chosen, times = {"alpha": ridge.alpha}, 1.0
        if self.arrays["steps"]:
            self.chosen["zeros_to_step"] = longest
        self.arrays |= {"weights": ridge.weights, "offset": ridge.offset}
        if task.loss == "cross_entropy":
            times = factor(self, self._answers(val.x, val.length), val.y)
        self.arrays |= {"weights": (times * ridge.weights).astype(np.float32), "offset": times * ridge.offset}

    def _fit_to(self, train: Batch, y: np.ndarray, steps: int) -> LeftOut:
        """Set `arrays` for sequences read to `steps`, or to their own end if this is 0, and return the ridge."""
        self.arrays = {"steps": np.array(steps)}
        x, length = self._read(train.x, train.length)
        self.arrays |= self.kernels(x, length)
        features = self.features(x, length)
        self.arrays |= self.scaling(features)
        return leave_one_out(self.standardised(features), y, ALPHAS)

    def _read(self, x: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return sequences (B, L, D) and lengths (B,) as they are read: to their own end, or with zeros after it."""
        steps = int(self.arrays.get("steps", 0))  # exports of earlier versions have none
        if not steps:
            return x, length
        valid = np.arange(x.shape[1]) < length[:, None]
        padded = np.pad(x * valid[..., None], [(0, 0), (0, max(0, steps - x.shape[1])), (0, 0)])
        return padded[:, :steps], np.full(len(x), steps, dtype=length.dtype)

    def _answers(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return what the ridge answers in double precision, (B, C)."""
        features = self.standardised(self.features(*self._read(x, length)))
        return np.asarray(features @ self.arrays["weights"] + self.arrays["offset"])

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return what the ridge answers, (B, C)."""
        return self._answers(x, length).astype(np.float32)
