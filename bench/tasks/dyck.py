"""Dyck languages: which bracket closes, with several types of brackets nested to a bounded depth.

Hewitt et al., 2020, https://arxiv.org/abs/2010.07515; Suzgun et al., 2019, https://arxiv.org/abs/1911.03329

B batch, L steps, K types.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError


class Task(SyntheticTask):
    """Before each closing bracket, name its type: that of the last one still open.

    A sequence is the beginning of a string of correctly nested brackets, never deeper than `depth`. The next bracket
    opens or closes with equal probability where both are possible. Of `num_types` K, opening brackets are 0 to K - 1,
    and K to 2K - 1 close them. As in language modelling, the brackets that are asked follow in the input, so no model
    may look ahead.

    Below, the brackets are ( [ ] [ ] ) ( and the next one is ).

    Task(7, depth=3)
    x  0 1 3 1 3 2 0
    y    1   1 0   0
    """

    tokens, per_step, loss = True, True, "cross_entropy"
    metric, goal, solved, causal = "accuracy", "maximize", 0.99, True

    def __init__(self, length: int, *, num_types: int = 2, depth: int = 8) -> None:
        if num_types < 2 or depth < 1:
            rule = "num_types must be at least 2 and depth at least 1"
            raise DeclarationError(f"dyck: {rule}, but found {num_types} and {depth}")
        if length < depth:
            raise DeclarationError(f"dyck: length: must be at least the depth, {depth}, but found {length}")
        self.length, self.num_types, self.depth = length, num_types, depth
        self.arguments = {"num_types": num_types, "depth": depth}
        self.num_steps, self.input_size, self.output_size = length, 2 * num_types, num_types
        self.chance = 1 / num_types

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw the nesting and the types of the brackets that open."""
        x = rng.integers(0, self.num_types, (size, self.length + 1))
        coin = rng.random((size, self.length + 1)) < 0.5
        open_BN, height, rows = np.zeros((size, self.depth + 1), dtype=np.int64), np.zeros(size, int), np.arange(size)
        for step in range(self.length + 1):
            opens = (height == 0) | ((height < self.depth) & coin[:, step])
            x[:, step] = np.where(opens, x[:, step], self.num_types + open_BN[rows, height])
            height += np.where(opens, 1, -1)
            open_BN[rows[opens], height[opens]] = x[opens, step]
        closes_next = x[:, 1:] >= self.num_types
        y = np.where(closes_next, x[:, 1:] - self.num_types, 0)
        return Batch(x[:, :-1], np.full(size, self.length), y, closes_next)

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that name the type of the last bracket still open."""
        outputs = np.zeros((*batch.x.shape, self.num_types))
        open_BN, rows = np.zeros((len(batch.x), self.depth + 1), dtype=np.int64), np.arange(len(batch.x))
        height = np.zeros(len(batch.x), dtype=np.int64)
        for step in range(batch.x.shape[1]):
            bracket = batch.x[:, step]
            opens = bracket < self.num_types
            height += np.where(opens, 1, -1)
            open_BN[rows[opens], height[opens]] = bracket[opens]
            outputs[rows, step, open_BN[rows, height]] = 1
        return outputs

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of closing brackets whose type is named correctly."""
        return {"accuracy": float((outputs.argmax(-1) == batch.y)[batch.mask].mean())}

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of a constant answer, and of the type of the last bracket that opened, closed or not."""
        test = self.split("test", size)
        is_open = test.x < self.num_types
        latest = np.maximum.accumulate(np.where(is_open, np.arange(self.length), 0), axis=1)
        last_opened = np.take_along_axis(test.x, latest, axis=1)
        return {
            "constant answer": float((test.y == 0)[test.mask].mean()),
            "last bracket opened": float((test.y == last_opened)[test.mask].mean()),
        }
