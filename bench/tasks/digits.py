"""Handwritten digits read as sequences.

Alpaydin & Kaynak, 1998, Optical Recognition of Handwritten Digits, https://doi.org/10.24432/C50P49, as scikit-learn
ships it: 1,797 pictures of 8 x 8 pixels.

B batch, L steps, C classes.
"""

import functools

import numpy as np

from bench.config.contracts import Batch, StoredTask
from bench.errors import DeclarationError
from bench.tasks._sequences import class_scores

# Contiguous, because neighbours in the file were written by the same hand: a random split would let a model know
# the writers it is tested on.
SPLITS = {"train": (0, 1197), "val": (1197, 1497), "test": (1497, 1797)}


class Task(StoredTask):
    """Tell which digit is shown, row by row (length 8, 8 values a step) or pixel by pixel (length 64).

    Values are scaled to 0 to 1. Below, the first picture of the training part: a step is a column here, a row there.

    Task(8)
    x0 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00
    x1 0.00 0.00 0.19 0.25 0.31 0.25 0.12 0.00
    x2 0.31 0.81 0.94 0.75 0.50 0.69 0.88 0.38
    x3 0.81 0.94 0.12 0.00 0.00 0.00 0.31 0.81
    x4 0.56 0.62 0.00 0.00 0.00 0.06 0.62 0.62
    x5 0.06 0.94 0.69 0.50 0.56 0.75 0.75 0.00
    x6 0.00 0.31 0.50 0.50 0.50 0.44 0.00 0.00
    x7 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00
    y                                     0
    """

    tokens, output_size, per_step, loss = False, 10, False, "cross_entropy"
    metric, goal, solved, causal = "accuracy", "maximize", None, False
    kind = "series"
    chance = 0.1

    def __init__(self, length: int) -> None:
        if length not in (8, 64):
            raise DeclarationError(f"digits: length: 8 (rows) or 64 (pixels), but found {length}")
        self.length = self.num_steps = length
        self.counts = {part: stop - start for part, (start, stop) in SPLITS.items()}
        self.input_size = 64 // length

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the pictures of a part at these places."""
        pixels, digit = _load()
        places = places + SPLITS[part][0]
        x = pixels[places].reshape(len(places), self.length, self.input_size)
        return Batch(x, np.full(len(places), self.length), digit[places])

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return accuracy, balanced accuracy and macro F1."""
        return class_scores(outputs.argmax(-1), batch.y, self.output_size)


@functools.cache
def _load() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.data / 16).astype(np.float32), data.target.astype(np.int64)
