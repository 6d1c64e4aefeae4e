"""Induction heads: what followed a token when it was seen before.

Olsson et al., 2022, https://arxiv.org/abs/2209.11895; as a task: Gu & Dao, 2023, https://arxiv.org/abs/2312.00752

B batch, L steps, C outputs.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError


class Task(SyntheticTask):
    """Name the token that followed the special token, at the second occurrence of the special token.

    Tokens are random below `num_tokens`. The special token, `num_tokens` itself, occurs twice: at a random step, and
    at the last, where the answer is asked.

    Task(8, num_tokens=4)
    x  3 0 4 2 1 1 0 4
    y                2
    """

    tokens, per_step, loss = True, False, "cross_entropy"
    metric, goal, solved, causal = "accuracy", "maximize", 0.99, False

    def __init__(self, length: int, *, num_tokens: int = 16) -> None:
        if length < 3:
            raise DeclarationError(f"induction: length: must be at least 3, but found {length}")
        if num_tokens < 2:
            raise DeclarationError(f"induction: num_tokens: must be at least 2, but found {num_tokens}")
        self.length = self.num_steps = length
        self.num_tokens = self.output_size = num_tokens
        self.arguments = {"num_tokens": num_tokens}
        self.input_size, self.chance = num_tokens + 1, 1 / num_tokens

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw tokens and the step of the first special one."""
        x = rng.integers(0, self.num_tokens, (size, self.length))
        rows, first = np.arange(size), rng.integers(0, self.length - 2, size)
        x[rows, first] = x[:, -1] = self.num_tokens
        return Batch(x, np.full(size, self.length), x[rows, first + 1])

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that name the token after the first special one."""
        first = (batch.x == self.num_tokens).argmax(1)
        return np.eye(self.num_tokens)[batch.x[np.arange(len(batch.x)), first + 1]]

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of correct answers."""
        return {"accuracy": float((outputs.argmax(-1) == batch.y).mean())}

    def bag(self, batch: Batch) -> np.ndarray:
        """Return outputs of the best answer that knows how often each token occurs, and not where: the commonest."""
        return np.stack([(batch.x == token).sum(1) for token in range(self.num_tokens)], axis=1)

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of a constant answer and of the best order-blind one."""
        test = self.split("test", size)
        constant = np.eye(self.num_tokens)[np.zeros_like(test.y)]
        return {
            "constant answer": self.score(constant, test)["accuracy"],
            "counts, no order": self.score(self.bag(test), test)["accuracy"],
        }
