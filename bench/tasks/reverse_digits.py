"""Digits repeated backwards or forwards: what an encoder and a decoder do, as one sequence.

After Sutskever et al., 2014, https://arxiv.org/abs/1409.3215, who reverse their sources because order matters so much

B batch, L steps, C outputs.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

DIGITS, GO = 10, 10
ORDERS = ("reverse", "copy")


class Task(SyntheticTask):
    """Repeat digits, the last one first, or with order "copy" as they came.

    The number of digits is uniform from length / 6, at least 1, to `length`. As many signs to go (10) follow, and at
    each one digit is asked: all answers are given without reading those before. At a test length, sequences have
    exactly as many digits. The accuracy is the share of sequences that are repeated without an error.

    Task(4)
    x  3 0 7 7 10 10 10 10
    y          7  7  0  3
    """

    tokens, input_size, output_size, per_step, loss = True, DIGITS + 1, DIGITS, True, "cross_entropy"
    metric, goal, solved, causal = "sequence_accuracy", "maximize", 0.99, False

    def __init__(self, length: int, *, order: str = "reverse") -> None:
        if length < 2:
            raise DeclarationError(f"reverse_digits: length: must be at least 2 digits, but found {length}")
        if order not in ORDERS:
            raise DeclarationError(f"reverse_digits: order: must be one of {', '.join(ORDERS)}, but found {order!r}")
        self.length, self.order, self.num_steps = length, order, 2 * length
        self.arguments = {"order": order}
        self.fewest = max(1, length // 6)
        self.chance = float(np.mean(1.0 / DIGITS ** np.arange(self.fewest, length + 1, dtype=float)))

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw numbers of digits, and digits."""
        count_B = rng.integers(self.length if stream == "length" else self.fewest, self.length + 1, size)
        steps, count_B1 = np.arange(self.num_steps), count_B[:, None]
        asked_BL = (steps >= count_B1) & (steps < 2 * count_B1)
        x = np.where(steps < count_B1, rng.integers(0, DIGITS, (size, self.num_steps)), GO * asked_BL)
        return Batch(x, 2 * count_B, self._repeated(x, count_B1) * asked_BL, asked_BL)

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that repeat the digits."""
        return np.eye(DIGITS)[self._repeated(batch.x, batch.length[:, None] // 2)]

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of sequences without an error, and that of digits that are repeated correctly."""
        right_BL = outputs.argmax(-1) == batch.y
        return {
            "sequence_accuracy": float((right_BL | ~np.asarray(batch.mask)).all(1).mean()),
            "recall": float(right_BL[batch.mask].mean()),
        }

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of a constant answer, and of one that knows the digits and not their order."""
        test = self.split("test", size)
        is_digit = np.arange(self.num_steps) < test.length[:, None] // 2
        in_order = test._replace(x=np.sort(np.where(is_digit, test.x, GO), axis=1))
        constant = np.eye(DIGITS)[np.zeros_like(test.y)]
        return {
            "constant answer": self.score(constant, test)["sequence_accuracy"],
            "digits in ascending order": self.score(self.oracle(in_order), test)["sequence_accuracy"],
        }

    def _repeated(self, x: np.ndarray, count_B1: np.ndarray) -> np.ndarray:
        """Return the digit that each step asks, (B, L); it is meaningful where one is asked."""
        steps = np.arange(self.num_steps)
        place = steps - count_B1 if self.order == "copy" else 2 * count_B1 - 1 - steps
        return np.take_along_axis(x, np.clip(place, 0, count_B1 - 1), axis=1)
