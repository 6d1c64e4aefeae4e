"""The order of two or three symbols that lie far apart.

Hochreiter & Schmidhuber, 1997, experiments 6a and 6b, https://doi.org/10.1162/neco.1997.9.8.1735

B batch, L steps, S symbols whose order is asked, C outputs.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

FIRST, START, TRIGGER = 4, 6, 7  # 0 to 3 are distractors, 4 and 5 the symbols X and Y whose order is asked
WINDOWS = {2: ((0.1, 0.2), (0.5, 0.6)), 3: ((0.1, 0.2), (0.33, 0.43), (0.66, 0.76))}
"""Where each symbol may be, as shares of the length, both ends included; by the number of symbols."""


class Task(SyntheticTask):
    """Classify a sequence by the order in which X and Y occur among distractors.

    A sequence begins with 6, ends with 7, and has `num_symbols` symbols that are each X (4) or Y (5), at steps drawn
    from windows that move with the length; the others are distractors (0 to 3). Its number of steps is uniform from
    `length` to 1.1 times as many. Classes count in binary, X as 0 and Y as 1: XX, XY, YX, YY.

    Task(10)
    x  6 2 5 0 3 1 4 3 0 2 7
    y                      2
    """

    tokens, input_size, per_step, loss = True, 8, False, "cross_entropy"
    metric, goal, solved, causal = "accuracy", "maximize", 0.99, False

    def __init__(self, length: int, *, num_symbols: int = 2) -> None:
        if num_symbols not in WINDOWS:
            raise DeclarationError(f"temporal_order: num_symbols: must be 2 or 3, but found {num_symbols}")
        if length < 10:
            raise DeclarationError(f"temporal_order: length: must be at least 10, but found {length}")
        self.length, self.num_symbols = length, num_symbols
        self.arguments = {"num_symbols": num_symbols}
        self.output_size, self.num_steps = 2**num_symbols, length + length // 10
        self.chance = 1 / self.output_size

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw lengths, distractors, symbols and where these are."""
        length_B = rng.integers(self.length, self.num_steps + 1, size)
        x = rng.integers(0, FIRST, (size, self.num_steps))
        symbols = rng.integers(0, 2, (size, self.num_symbols))
        rows = np.arange(size)
        for number, (low, high) in enumerate(WINDOWS[self.num_symbols]):
            # Rounded: 0.33 times 100 is a little more than 33 in floating point.
            first, last = (int(round(share * self.length, 6)) for share in (low, high))
            x[rows, rng.integers(first, last + 1, size)] = FIRST + symbols[:, number]
        x[:, 0] = START
        x[rows, length_B - 1] = TRIGGER
        x *= np.arange(self.num_steps) < length_B[:, None]
        return Batch(x, length_B, symbols @ 2 ** np.arange(self.num_symbols)[::-1])

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that name the order."""
        asked = (batch.x == FIRST) | (batch.x == FIRST + 1)
        symbols = batch.x[asked].reshape(len(batch.x), self.num_symbols) - FIRST
        return np.eye(self.output_size)[symbols @ 2 ** np.arange(self.num_symbols)[::-1]]

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of correct answers."""
        return {"accuracy": float((outputs.argmax(-1) == batch.y).mean())}

    def bag(self, batch: Batch) -> np.ndarray:
        """Return outputs of the best answer that knows how often each symbol occurs, and not where.

        All orders with the same counts are equally likely, so the answer is one of them: Ys last.
        """
        num_later = (batch.x == FIRST + 1).sum(1)
        return np.eye(self.output_size)[2**num_later - 1]

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of a constant answer and of the best order-blind one."""
        test = self.split("test", size)
        constant = np.eye(self.output_size)[np.zeros_like(test.y)]
        return {
            "constant answer": self.score(constant, test)["accuracy"],
            "counts, no order": self.score(self.bag(test), test)["accuracy"],
        }
