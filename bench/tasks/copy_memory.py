"""Many items kept through a silence.

Arjovsky et al., 2016, section 4.1, https://arxiv.org/abs/1511.06464; as tokens, not as numbers on one channel

B batch, L steps (lag + 2 num_items), C outputs.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

ALPHABET = 8  # items are 0 to 7
BLANK, GO = 8, 9


class Task(SyntheticTask):
    """Say `num_items` items again, `length` steps after the last of them was seen, and nothing (blanks) before.

    The lag is the length, the load is the number of items: they vary separately. Below, 2 items and a lag of 3:
    8 is the blank and 9 the sign to go.

    Task(3, num_items=2)
    x  4 1 8 8 9 9 9
    y  8 8 8 8 8 4 1
    """

    tokens, input_size, output_size, per_step, loss = True, 10, 9, True, "cross_entropy"
    metric, goal, chance, solved, causal = "recall", "maximize", 1 / ALPHABET, 0.99, False

    def __init__(self, length: int, *, num_items: int = 10) -> None:
        if length < 1 or num_items < 1:
            raise DeclarationError(f"copy_memory: length and num_items: at least 1, but found {length} and {num_items}")
        self.length, self.num_items = length, num_items
        self.arguments = {"num_items": num_items}
        self.num_steps = length + 2 * num_items

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw items."""
        items = rng.integers(0, ALPHABET, (size, self.num_items))
        x = np.full((size, self.num_steps), BLANK)
        y = x.copy()
        x[:, : self.num_items] = items
        x[:, self.num_items + self.length - 1 :] = GO
        y[:, -self.num_items :] = items
        return Batch(x, np.full(size, self.num_steps), y, np.ones(x.shape, dtype=bool))

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that are blank and then repeat the items."""
        answer = np.full_like(batch.x, BLANK)
        answer[:, -self.num_items :] = batch.x[:, : self.num_items]
        return np.eye(self.output_size)[answer]

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of items recalled, and the cross-entropy over all steps in nats, as the papers report it."""
        recalled = outputs[:, -self.num_items :].argmax(-1) == batch.y[:, -self.num_items :]
        shifted = outputs - outputs.max(-1, keepdims=True)
        log_likelihood = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        right = np.take_along_axis(log_likelihood, batch.y[..., None], axis=-1)
        return {"recall": float(recalled.mean()), "cross_entropy": -float(right.mean())}

    def memoryless(self, batch: Batch) -> np.ndarray:
        """Return the log-probabilities of one who knows the step and no item: 10 ln 8 / (T + 20) nats, for 10 items."""
        outputs = np.full((*batch.y.shape, self.output_size), -np.inf)
        outputs[:, : -self.num_items, BLANK] = 0
        outputs[:, -self.num_items :, :ALPHABET] = -np.log(ALPHABET)
        return outputs

    def baselines(self, size: int) -> dict[str, float]:
        """Return the recall of one who remembers nothing, and of one who says the last of several items every time."""
        test = self.split("test", size)
        found = {"no memory": self.score(self.memoryless(test), test)["recall"]}
        if self.num_items > 1:  # of one item, the last is all there is to recall
            last = test.x[:, self.num_items - 1 : self.num_items]
            found["last item only"] = float((last == test.y[:, -self.num_items :]).mean())
        return found
