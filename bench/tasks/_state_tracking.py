"""Tasks that one small state solves at any length: trained on short sequences, validated and tested on longer ones.

B batch, L steps, C outputs.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

LONGEST = 6.4  # validation and test reach to so many times the training length: 40 -> 41 to 256
SUPERVISIONS = ("steps", "last")


class StateTracking(SyntheticTask):
    """Name the state that the symbols so far lead to.

    With supervision "steps" (dense), training lengths are uniform from 1 to `length`, and validation and test take
    longer ones, up to 6.4 times as long: a counter-task, which a small state solves at any length. Answers are to be
    given as the symbols arrive, so no model may look ahead. With "last", every sequence has `length` symbols and the
    answer is asked once, at the end.

    A subclass declares `input_size`, `output_size` and what a `symbol` is, and provides `symbols`, `answers` and
    `answer_shares`.
    """

    tokens, loss, metric, goal = True, "cross_entropy", "accuracy", "maximize"
    output_size: int
    symbol: str

    def __init__(self, length: int, supervision: str) -> None:
        name = type(self).__module__.rpartition(".")[2]
        if length < 2:
            raise DeclarationError(f"{name}: length: at least 2, but found {length}")
        if supervision not in SUPERVISIONS:
            raise DeclarationError(f"{name}: supervision: one of {', '.join(SUPERVISIONS)}, but found {supervision!r}")
        self.length, self.num_steps = length, length
        self.arguments = {"supervision": supervision}
        self.per_step = self.causal = supervision == "steps"
        self.solved = 0.95 if self.per_step else 0.99
        self.chance = self._chance()

    def symbols(self, rng: np.random.Generator, size: int, steps: int) -> np.ndarray:
        """Draw symbols, (B, L) int64."""
        raise NotImplementedError

    def answers(self, x: np.ndarray) -> np.ndarray:
        """Return the state after each symbol, (B, L) int64."""
        raise NotImplementedError

    def answer_shares(self, steps: int) -> np.ndarray:
        """Return the probability of each answer after each of the first `steps` symbols, (L, C)."""
        raise NotImplementedError

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw lengths and symbols."""
        if not self.per_step:
            x = self.symbols(rng, size, self.length)
            return Batch(x, np.full(size, self.length), self.answers(x)[:, -1])
        low, high = {"train": (1, self.length), "length": (self.length, self.length)}.get(stream, self._longer())
        length_B = rng.integers(low, high + 1, size)
        mask_BL = np.arange(high) < length_B[:, None]
        x = self.symbols(rng, size, high) * mask_BL
        return Batch(x, length_B, self.answers(x) * mask_BL, mask_BL)

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that name the state."""
        answers = self.answers(batch.x)
        return np.eye(self.output_size)[answers if self.per_step else answers[:, -1]]

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of right answers: of each sequence, then their mean, so that no length weighs more."""
        right = outputs.argmax(-1) == batch.y
        if batch.mask is None:
            return {"accuracy": float(right.mean())}
        return {"accuracy": float(((right & batch.mask).sum(1) / batch.length).mean())}

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of a constant answer and of one that knows only the last symbol."""
        test = self.split("test", size)
        constant = self.answer_shares(self.num_steps)[-1].argmax()
        last = test.x if self.per_step else test.x[:, -1]
        alone = self.answers(last.reshape(-1, 1)).reshape(last.shape)
        return {
            "constant answer": self.score(np.eye(self.output_size)[np.full_like(test.y, constant)], test)["accuracy"],
            f"last {self.symbol}": self.score(np.eye(self.output_size)[alone], test)["accuracy"],
        }

    def _longer(self) -> tuple[int, int]:
        """Return the shortest and the longest sequence of validation and test."""
        return self.length + 1, round(LONGEST * self.length)

    def _chance(self) -> float:
        """Return the accuracy of the best constant answer: the state begins in one place and spreads with the steps."""
        if not self.per_step:
            return float(self.answer_shares(self.length)[-1].max())
        low, high = self._longer()
        share_LC = self.answer_shares(high).cumsum(0) / np.arange(1, high + 1)[:, None]
        return float(share_LC[low - 1 :].mean(0).max())
