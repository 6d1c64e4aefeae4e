"""Parity of the bits so far, trained on short and asked on long sequences.

Delétang et al., 2023, https://arxiv.org/abs/2207.02098, with an answer asked at every step

B batch, L steps, C outputs.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

LONGEST = 6.4  # validation and test reach to so many times the training length: 40 -> 41 to 256
SUPERVISIONS = ("steps", "last")


class Task(SyntheticTask):
    """Tell whether the number of ones so far is odd.

    With supervision "steps" (dense), training lengths are uniform from 1 to `length`, and validation and test take
    longer ones, up to 6.4 times as long: a counter-task, which one bit of state solves at any length. Answers are to be
    given as the bits arrive, so no model may look ahead. With "last", every sequence has `length` bits and the answer
    is asked once, at the end: even all bits but one say nothing about it.

    Task(5)
    x  1 0 1 1 0
    y  1 1 0 1 1
    """

    tokens, input_size, output_size, loss = True, 2, 2, "cross_entropy"
    metric, goal, chance = "accuracy", "maximize", 0.5

    def __init__(self, length: int, *, supervision: str = "steps") -> None:
        if length < 2:
            raise DeclarationError(f"parity: length: at least 2, but found {length}")
        if supervision not in SUPERVISIONS:
            raise DeclarationError(f"parity: supervision: one of {', '.join(SUPERVISIONS)}, but found {supervision!r}")
        self.length, self.num_steps = length, length
        self.arguments = {"supervision": supervision}
        self.per_step = self.causal = supervision == "steps"
        self.solved = 0.95 if self.per_step else 0.99

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw lengths and bits."""
        if not self.per_step:
            x = rng.integers(0, 2, (size, self.length))
            return Batch(x, np.full(size, self.length), x.sum(1) % 2)
        low, high = (1, self.length) if stream == "train" else (self.length + 1, round(LONGEST * self.length))
        length_B = rng.integers(low, high + 1, size)
        mask_BL = np.arange(high) < length_B[:, None]
        x = rng.integers(0, 2, (size, high)) * mask_BL
        return Batch(x, length_B, x.cumsum(1) % 2 * mask_BL, mask_BL)

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that name the parity so far."""
        parity = batch.x.cumsum(1) % 2 if self.per_step else batch.x.sum(1) % 2
        return np.eye(2)[parity]

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of right answers: of each sequence, then their mean, so that no length weighs more."""
        right = outputs.argmax(-1) == batch.y
        if batch.mask is None:
            return {"accuracy": float(right.mean())}
        return {"accuracy": float(((right & batch.mask).sum(1) / batch.length).mean())}

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of a constant answer and of one that repeats the last bit."""
        test = self.split("test", size)
        bit = test.x if self.per_step else test.x[:, -1]
        zeros = np.zeros_like(test.y)
        return {
            "constant answer": self.score(np.eye(2)[zeros], test)["accuracy"],
            "last bit": self.score(np.eye(2)[bit], test)["accuracy"],
        }
