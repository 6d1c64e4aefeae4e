"""Two marked numbers added, or multiplied.

hs97: Hochreiter & Schmidhuber, 1997, experiment 4, https://doi.org/10.1162/neco.1997.9.8.1735; product: experiment 5
tcn: Bai et al., 2018, https://arxiv.org/abs/1803.01271; urnn: Arjovsky et al., 2016, https://arxiv.org/abs/1511.06464

B batch, L length.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

# hs97: a number has variance 1/3 and X1 counts as 0 in one sequence of ten, so (0.9 / 3 + 1 / 3) / 16. Where X1
# counts, it is the 1/24 of a triangular target; dividing by that would lend a constant answer an r2 of 0.05.
VARIANCE = {"hs97": 19 / 480, "tcn": 1 / 6, "urnn": 1 / 6, "product": 7 / 144}
"""Of the target: the mean squared error of the best constant answer."""

HIT = 0.04  # an answer nearer than this is right (1997, hs97)


class Task(SyntheticTask):
    """Tell the sum of the two numbers that are marked; every step brings a number and its marker.

    Variants: "tcn", two places anywhere; "urnn", one in each half; "product", as tcn with the product asked;
    "hs97", length uniform from T to 1.1 T, numbers from -1 to 1, first and last step marked -1, the first place among
    the first ten, the second among the first T/2 - 1 steps not marked yet, target 0.5 + (X1 + X2) / 4, where X1 counts
    as 0 if it is on the very first step.

    Task(4, variant="tcn")
    x  0.30 0.91 0.25 0.64
    m  0    1    0    1
    y                 1.55
    """

    tokens, input_size, output_size, per_step, loss = False, 2, 1, False, "mse"
    metric, goal, chance, solved, causal = "r2", "maximize", 0.0, 0.99, False

    def __init__(self, length: int, *, variant: str = "hs97") -> None:
        if variant not in VARIANCE:
            raise DeclarationError(f"adding: variant: one of {', '.join(VARIANCE)}, but found {variant!r}")
        shortest = 20 if variant == "hs97" else 2
        if length < shortest:
            raise DeclarationError(f"adding: length: at least {shortest} for {variant}, but found {length}")
        self.length, self.variant = length, variant
        self.arguments = {"variant": variant}
        self.num_steps = length + length // 10 if variant == "hs97" else length

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw numbers and places."""
        if self.variant == "hs97":
            return self._sample_hs97(rng, size)
        value_BL = rng.random((size, self.length), dtype=np.float32)
        if self.variant == "urnn":
            half = self.length // 2
            first, second = rng.integers(0, half, size), rng.integers(half, self.length, size)
        else:
            first = rng.integers(0, self.length, size)
            second = (first + rng.integers(1, self.length, size)) % self.length  # any place but the first
        rows = np.arange(size)
        marker_BL = np.zeros_like(value_BL)
        marker_BL[rows, first] = marker_BL[rows, second] = 1
        x1, x2 = value_BL[rows, first], value_BL[rows, second]
        y = x1 * x2 if self.variant == "product" else x1 + x2
        return Batch(np.stack([value_BL, marker_BL], axis=-1), np.full(size, self.length), y)

    def _sample_hs97(self, rng: np.random.Generator, size: int) -> Batch:
        length_B = rng.integers(self.length, self.num_steps + 1, size)
        valid_BL = np.arange(self.num_steps) < length_B[:, None]
        value_BL = rng.uniform(-1, 1, (size, self.num_steps)).astype(np.float32) * valid_BL
        rows = np.arange(size)
        first = rng.integers(0, 10, size)
        # The second place is one of the first T/2 - 1 steps that are not marked: first, step 0 and the last one are.
        # Before the draw is counted, the marked steps in front of it are stepped over.
        second = rng.integers(0, self.length // 2 - 1, size) + 1
        second += (first > 0) & (second >= first)
        marker_BL = np.zeros_like(value_BL)
        marker_BL[:, 0] = marker_BL[rows, length_B - 1] = -1
        marker_BL[rows, first] = marker_BL[rows, second] = 1
        marker_BL[first == 0, 0] = -1  # the first step keeps its own marker: its number counts as 0
        x1 = np.where(first == 0, 0, value_BL[rows, first])
        y = (0.5 + (x1 + value_BL[rows, second]) / 4).astype(np.float32)
        return Batch(np.stack([value_BL, marker_BL], axis=-1), length_B, y)

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return the sum or product of the marked numbers."""
        value_BL, marked_BL = batch.x[..., 0], batch.x[..., 1] == 1
        if self.variant == "product":
            return np.where(marked_BL, value_BL, 1).prod(1)[:, None]
        total = (value_BL * marked_BL).sum(1)[:, None]
        return 0.5 + total / 4 if self.variant == "hs97" else total

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of the target's variance that is explained, and the mean squared error."""
        error = outputs[:, 0] - batch.y
        mse = float((error**2).mean())
        scores = {"r2": 1 - mse / VARIANCE[self.variant], "mse": mse}
        if self.variant == "hs97":
            scores["hit_rate"] = float((np.abs(error) < HIT).mean())
        return scores

    def baselines(self, size: int) -> dict[str, float]:
        """Return what the best constant answer explains, and a line through the mean of all numbers, marked or not."""
        val, test = self.split("val", size), self.split("test", size)
        mean = {"hs97": 0.5, "product": 0.25}.get(self.variant, 1.0)
        constant = self.score(np.full((size, 1), mean), test)["r2"]
        line = np.polyfit(_mean(val), val.y, 1)  # fitted on other sequences than it is judged on
        average = self.score(np.polyval(line, _mean(test))[:, None], test)["r2"]
        return {"constant answer": constant, "mean of all numbers": average}


def _mean(batch: Batch) -> np.ndarray:
    mean: np.ndarray = batch.x[..., 0].sum(1) / batch.length
    return mean
