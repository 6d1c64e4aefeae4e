"""Multi-query associative recall: pairs of a key and a value, then some of the keys again.

Arora et al., 2023 (Zoology), https://arxiv.org/abs/2312.04927

B batch, L steps, P pairs, V tokens, C outputs.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

STEPS_PER_PAIR = 16  # of the published ladder: 64 steps and 4 pairs, 128 and 8, 256 and 16
POWER = 0.01
"""The gap before a query, in pairs of steps, is drawn with probabilities in proportion to (gap + 1) ** (POWER - 1)."""


class Task(SyntheticTask):
    """Name the value of a key when the key occurs again.

    A sequence begins with pairs of a key and its value, all different. Each key occurs once more after them, at a
    random even step, more often soon than late, and its value is asked there. All other steps are random tokens. Of
    `num_tokens` V, the keys are 1 to V/2 - 1 and the values V/2 to V - 1; class c is the value V/2 + c. By default
    there is one pair for every 16 steps. The authors also require more tokens than steps; here only the keys must
    suffice.

    Task(12, num_tokens=8, num_pairs=2)
    x  3 5 1 7 0 6 1 4 3 2 6 5
    y              3   1
    """

    tokens, per_step, loss = True, True, "cross_entropy"
    metric, goal, solved, causal = "accuracy", "maximize", 0.99, False

    def __init__(self, length: int, *, num_tokens: int = 256, num_pairs: int | None = None) -> None:
        pairs = max(1, length // STEPS_PER_PAIR) if num_pairs is None else num_pairs
        if num_tokens < 4 or num_tokens % 2:
            raise DeclarationError(f"mqar: num_tokens: must be even and at least 4, but found {num_tokens}")
        if not 1 <= pairs < num_tokens // 2:
            rule = f"must be from 1 to {num_tokens // 2 - 1}, the number of keys"
            raise DeclarationError(f"mqar: num_pairs: {rule}, but found {pairs}")
        if length < 4 * pairs:
            raise DeclarationError(f"mqar: length: must be at least {4 * pairs} for {pairs} pairs, but found {length}")
        self.length, self.num_steps, self.num_pairs = length, length, pairs
        self.arguments = {"num_tokens": num_tokens, "num_pairs": num_pairs}
        self.input_size, self.output_size = num_tokens, num_tokens // 2
        self.chance = 1 / self.output_size

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw pairs, the steps of the queries, and the tokens between them."""
        pairs, half = self.num_pairs, self.output_size
        keys = 1 + _distinct(rng, size, half - 1, pairs)
        values = _distinct(rng, size, half, pairs)
        x = rng.integers(0, self.input_size, (size, self.length))
        x[:, : 2 * pairs : 2], x[:, 1 : 2 * pairs : 2] = keys, half + values
        gaps = np.arange((self.length - 2 * pairs) // 2)
        # The largest of log-weights with Gumbel noise are a weighted draw without replacement, in the order of drawing.
        noisy = (POWER - 1) * np.log(gaps + 1) + rng.gumbel(size=(size, len(gaps)))
        steps = 2 * pairs + 2 * np.argsort(-noisy, axis=1)[:, :pairs]
        np.put_along_axis(x, steps, keys, axis=1)
        y, asked_BL = np.zeros_like(x), np.zeros(x.shape, dtype=bool)
        np.put_along_axis(y, steps, values, axis=1)
        np.put_along_axis(asked_BL, steps, True, axis=1)
        return Batch(x, np.full(size, self.length), y, asked_BL)

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that name the value of each key, at every step that holds one."""
        keys, values = self._pairs(batch)
        outputs = np.zeros((*batch.x.shape, self.output_size), dtype=np.float32)
        row, step, pair = np.nonzero(batch.x[:, :, None] == keys[:, None, :])
        outputs[row, step, values[row, pair]] = 1
        return outputs

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of queries that are answered correctly."""
        return {"accuracy": float((outputs.argmax(-1) == batch.y)[batch.mask].mean())}

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of a constant answer, and of the value of the first pair to every query."""
        test = self.split("test", size)
        first = self._pairs(test)[1][:, :1]
        found = {"constant answer": float((test.y == 0)[test.mask].mean())}
        if self.num_pairs > 1:
            found["value of the first pair"] = float((test.y == first)[test.mask].mean())
        return found

    def _pairs(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Return the keys and the classes of their values, (B, P) each."""
        return batch.x[:, : 2 * self.num_pairs : 2], batch.x[:, 1 : 2 * self.num_pairs : 2] - self.output_size


def _distinct(rng: np.random.Generator, size: int, count: int, drawn: int) -> np.ndarray:
    """Return `drawn` different numbers below `count` in random order for each of `size` rows, (B, P)."""
    return rng.random((size, count)).argsort(axis=1)[:, :drawn]
