"""Sums of a past and a future symbol: what a model gains by reading both ways, with a control where it gains nothing.

After Graves & Schmidhuber, 2005, https://doi.org/10.1016/j.neunet.2005.06.042, who compare one direction, one
direction with a delayed answer, and both directions

B batch, L steps, C outputs.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

SYMBOLS = 5
SPARE = 32  # a sequence has 4 * length steps and these
SUMMANDS = {"two_sided": (-1, 1), "one_sided": (-1,), "delayed": (-2, 0)}
"""Which symbols are added for the answer at a step, by variant: their steps from it, in units of `length`."""


class Task(SyntheticTask):
    """Name the sum, modulo 5, of the symbols `length` steps before and `length` steps after.

    Symbols are random. The answer needs the future: a model that reads from left to right cannot do better than
    chance. In the variant "one_sided" the answer is the earlier symbol alone, and the future is of no use. In "delayed"
    it is the sum again, asked `length` steps later, when both symbols have been seen. Models may look ahead in all
    three. Answers are asked at 2 * length + 32 of the 4 * length + 32 steps: where both symbols exist.

    Task(1)
    x  3 1 4 1 0 2 2 4 3 0 1 1 2 4 0 3 3 2 1 4 4 0 2 3 1 0 4 2 2 1 3 0 0 4 1 2
    y    2 2 4 3 2 1 0 4 4 1 3 0 2 2 3 0 4 1 0 4 1 3 3 3 0 2 1 3 0 1 3 4 1 1
    """

    tokens, input_size, output_size, per_step, loss = True, SYMBOLS, SYMBOLS, True, "cross_entropy"
    metric, goal, chance, solved, causal = "accuracy", "maximize", 1 / SYMBOLS, 0.99, False

    def __init__(self, length: int, *, variant: str = "two_sided") -> None:
        if length < 1:
            raise DeclarationError(f"two_sided: length: must be at least 1 step, but found {length}")
        if variant not in SUMMANDS:
            rule = f"must be one of {', '.join(SUMMANDS)}"
            raise DeclarationError(f"two_sided: variant: {rule}, but found {variant!r}")
        self.length, self.variant, self.num_steps = length, variant, 4 * length + SPARE
        self.arguments = {"variant": variant}

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw symbols."""
        x = rng.integers(0, SYMBOLS, (size, self.num_steps))
        first = 2 * self.length if self.variant == "delayed" else self.length
        steps = np.arange(self.num_steps)
        asked_BL = np.broadcast_to((steps >= first) & (steps < first + 2 * self.length + SPARE), x.shape).copy()
        return Batch(x, np.full(size, self.num_steps), self._sums(x) * asked_BL, asked_BL)

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that name the sum."""
        return np.eye(SYMBOLS)[self._sums(batch.x)]

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of correct answers."""
        return {"accuracy": float((outputs.argmax(-1) == batch.y)[batch.mask].mean())}

    def bag(self, batch: Batch) -> np.ndarray:
        """Return outputs of the best answer that knows how often each symbol occurs, and not where."""
        counts_BC = np.eye(SYMBOLS)[batch.x].sum(1)
        if self.variant != "one_sided":  # pairs of two different steps, by their sum
            pairs = [
                (counts_BC[:, (total - np.arange(SYMBOLS)) % SYMBOLS] * counts_BC).sum(1) for total in range(SYMBOLS)
            ]
            twice = np.arange(SYMBOLS) * (SYMBOLS + 1) // 2 % SYMBOLS  # the symbol that gives each sum with itself
            counts_BC = np.stack(pairs, axis=1) - counts_BC[:, twice]
        return np.broadcast_to(counts_BC[:, None], (*batch.x.shape, SYMBOLS))

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of a constant answer, of the best order-blind one, and of the best causal one.

        Given the past alone, every sum is equally likely, so the earlier symbol is as good an answer as any. The other
        variants have no such bound: a causal model can solve them.
        """
        test = self.split("test", size)
        found = {
            "constant answer": float((test.y == 0)[test.mask].mean()),
            "counts, no order": self.score(self.bag(test), test)["accuracy"],
        }
        if self.variant == "two_sided":
            past = np.eye(SYMBOLS)[np.roll(test.x, self.length, axis=1)]
            found["past alone"] = self.score(past, test)["accuracy"]
        return found

    def _sums(self, x: np.ndarray) -> np.ndarray:
        """Return the answer at each step, (B, L); it is meaningful where it is asked."""
        summands = [np.roll(x, -offset * self.length, axis=1) for offset in SUMMANDS[self.variant]]
        return np.asarray(np.sum(summands, axis=0) % SYMBOLS)
