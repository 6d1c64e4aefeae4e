"""Selective copying: items among blanks, to be repeated in order.

Gu & Dao, 2023, https://arxiv.org/abs/2312.00752; Poli et al., 2024 (MAD), https://arxiv.org/abs/2403.17844

B batch, L steps, M items, C outputs.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

ALPHABET = 14  # items are 0 to 13
BLANK, GO = 14, 15


class Task(SyntheticTask):
    """Repeat `num_items` items in order, which are anywhere among blanks.

    The last 1 + `num_items` steps are the sign to go (15) and blanks (14), at which the items are to be repeated. The
    items are at a random choice of the steps before, with blanks at the others: unlike in copy_memory, the steps
    between an item and its repetition vary from sequence to sequence.

    Task(9, num_items=2)
    x  14 3 14 14 9 14 15 14 14
    y                     3  9
    """

    tokens, input_size, output_size, per_step, loss = True, 16, ALPHABET, True, "cross_entropy"
    metric, goal, chance, solved, causal = "recall", "maximize", 1 / ALPHABET, 0.99, False

    def __init__(self, length: int, *, num_items: int = 16) -> None:
        if num_items < 1:
            raise DeclarationError(f"selective_copy: num_items: must be at least 1, but found {num_items}")
        if length < 2 * num_items + 1:
            rule = f"must be at least {2 * num_items + 1} for {num_items} items"
            raise DeclarationError(f"selective_copy: length: {rule}, but found {length}")
        self.length, self.num_steps, self.num_items = length, length, num_items
        self.arguments = {"num_items": num_items}

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw items and the steps where they are."""
        context = self.length - self.num_items - 1
        items = rng.integers(0, ALPHABET, (size, self.num_items))
        steps = np.sort(rng.random((size, context)).argpartition(self.num_items - 1, axis=1)[:, : self.num_items])
        x, y = np.full((size, self.length), BLANK), np.zeros((size, self.length), dtype=np.int64)
        np.put_along_axis(x, steps, items, axis=1)
        x[:, context] = GO
        y[:, -self.num_items :] = items
        asked_BL = np.broadcast_to(np.arange(self.length) > context, x.shape).copy()
        return Batch(x, np.full(size, self.length), y, asked_BL)

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that repeat the items."""
        outputs = np.zeros((*batch.x.shape, ALPHABET))
        outputs[:, -self.num_items :] = np.eye(ALPHABET)[self._items(batch)]
        return outputs

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of items that are repeated correctly."""
        return {"recall": float((outputs.argmax(-1) == batch.y)[batch.mask].mean())}

    def bag(self, batch: Batch) -> np.ndarray:
        """Return outputs of the best answer that knows how often each item occurs, and not where: the commonest."""
        counts = np.eye(ALPHABET)[self._items(batch)].sum(1)
        return np.broadcast_to(counts[:, None], (*batch.x.shape, ALPHABET))

    def baselines(self, size: int) -> dict[str, float]:
        """Return the recall of a constant answer and of the best order-blind one."""
        test = self.split("test", size)
        constant = np.eye(ALPHABET)[np.zeros_like(test.y)]
        found = {"constant answer": self.score(constant, test)["recall"]}
        if self.num_items > 1:  # a single item has no order
            found["counts, no order"] = self.score(self.bag(test), test)["recall"]
        return found

    def _items(self, batch: Batch) -> np.ndarray:
        return batch.x[batch.x < ALPHABET].reshape(len(batch.x), self.num_items)
