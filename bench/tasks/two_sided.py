"""Sums of a past and a future symbol: what a model gains by reading both ways, with a control where it gains nothing.

After Graves & Schmidhuber, 2005, https://doi.org/10.1016/j.neunet.2005.06.042, who compare one direction, one
direction with a delayed answer, and both directions

B batch, L steps, C outputs.
"""

import itertools

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

SYMBOLS = 5
SPARE = 32  # a sequence has 4 * length steps and these
SUMMANDS = {"two_sided": (-1, 1), "one_sided": (-1,), "delayed": (-2, 0)}
"""Which symbols are added for the answer at a step, by variant: their steps from it, in units of `length`."""


class Task(SyntheticTask):
    """Name the sum of the symbols `length` steps before and `length` steps after.

    Symbols are random from 0 to 4. The answer needs the future: after the earlier symbol, five sums are equally likely,
    so that a model that reads from left to right cannot do better than chance, a fifth. In the variant "one_sided" the
    answer is the earlier symbol alone, and the future is of no use. In "delayed" it is the sum again, asked `length`
    steps later, when both symbols have been seen. Models may look ahead in all three. Answers are asked at
    2 * length + 32 of the 4 * length + 32 steps: where both symbols exist. A test length moves these symbols, which a
    model trained at another length cannot know.

    Task(1)
    x  3 1 4 1 0 2 2 4 3 0 1 1 2 4 0 3 3 2 1 4 4 0 2 3 1 0 4 2 2 1 3 0 0 4 1 2
    y    7 2 4 3 2 6 5 4 4 1 3 5 2 7 3 5 4 6 5 4 6 3 3 3 5 2 6 3 5 1 3 4 1 6
    """

    tokens, input_size, per_step, loss = True, SYMBOLS, True, "cross_entropy"
    metric, goal, chance, solved, causal = "accuracy", "maximize", 1 / SYMBOLS, 0.99, False

    def __init__(self, length: int, *, variant: str = "two_sided") -> None:
        if length < 1:
            raise DeclarationError(f"two_sided: length: must be at least 1 step, but found {length}")
        if variant not in SUMMANDS:
            rule = f"must be one of {', '.join(SUMMANDS)}"
            raise DeclarationError(f"two_sided: variant: {rule}, but found {variant!r}")
        self.length, self.variant, self.num_steps = length, variant, 4 * length + SPARE
        self.output_size = SYMBOLS if variant == "one_sided" else 2 * SYMBOLS - 1
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
        return np.eye(self.output_size)[self._sums(batch.x)]

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of correct answers."""
        return {"accuracy": float((outputs.argmax(-1) == batch.y)[batch.mask].mean())}

    def bag(self, batch: Batch) -> np.ndarray:
        """Return outputs of the best answer that knows how often each symbol occurs, and not where."""
        votes_BC = counts_BC = np.eye(SYMBOLS)[batch.x].sum(1)
        if self.variant != "one_sided":  # of all pairs of two different steps
            votes_BC = np.zeros((len(batch.x), self.output_size))
            for one, other in itertools.product(range(SYMBOLS), repeat=2):
                votes_BC[:, one + other] += counts_BC[:, one] * (counts_BC[:, other] - (one == other))
        return np.broadcast_to(votes_BC[:, None], (*batch.x.shape, self.output_size))

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of a constant answer, of the best order-blind one, and of the best causal one.

        The sum of the earlier symbol and any one number is as good as any causal answer. The other variants have no
        such bound: a causal model can solve them.
        """
        test, constant = self.split("test", size), self.output_size // 2
        found = {
            "constant answer": float((test.y == constant)[test.mask].mean()),
            "counts, no order": self.score(self.bag(test), test)["accuracy"],
        }
        if self.variant == "two_sided":
            past = np.eye(self.output_size)[np.roll(test.x, self.length, axis=1) + SYMBOLS // 2]
            found["past alone"] = self.score(past, test)["accuracy"]
        return found

    def _sums(self, x: np.ndarray) -> np.ndarray:
        """Return the answer at each step, (B, L); it is meaningful where it is asked."""
        summands = [np.roll(x, -offset * self.length, axis=1) for offset in SUMMANDS[self.variant]]
        return np.asarray(np.sum(summands, axis=0))
