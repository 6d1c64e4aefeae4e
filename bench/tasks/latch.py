"""One item kept through noise.

Hochreiter & Schmidhuber, 1997, experiment 2, https://doi.org/10.1162/neco.1997.9.8.1735

B batch, L steps, C outputs.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

VARIANTS = ("distract", "clean", "hs97")

MOST_MORE = 40
"""Of "hs97": fillers after the lag, at most. A geometric number of them, 9 on average, exceeds it once in 75 times."""


class Task(SyntheticTask):
    """Name the first symbol after `length` more symbols.

    Symbols below `num_cues` are cues, the others fillers. The first is a cue; those that follow are fillers (variant
    "clean") or any symbol ("distract"), so that counting cues is not enough.

    Variant "hs97" is experiment 2c: two more symbols begin and end a sequence, the cue is the second, and after
    `length` fillers each further step is one more filler with probability 0.9 and the end with 0.1, so that a model
    cannot count the steps to the answer.

    Task(7)
    x  1 5 0 7 0 3 0 2
    y                1
    """

    tokens, per_step, loss = True, False, "cross_entropy"
    metric, goal, solved, causal = "accuracy", "maximize", 0.99, False

    def __init__(self, length: int, *, variant: str = "distract", num_cues: int = 2, num_fillers: int = 10) -> None:
        if length < 1:
            raise DeclarationError(f"latch: length: a lag of at least 1, but found {length}")
        if variant not in VARIANTS:
            raise DeclarationError(f"latch: variant: one of {', '.join(VARIANTS)}, but found {variant!r}")
        if num_cues < 2 or num_fillers < 1:
            raise DeclarationError(f"latch: needs 2 cues and 1 filler, but found {num_cues} and {num_fillers}")
        self.length, self.variant, self.num_cues, self.num_fillers = length, variant, num_cues, num_fillers
        self.arguments = {"variant": variant, "num_cues": num_cues, "num_fillers": num_fillers}
        self.input_size, self.output_size = num_cues + num_fillers, num_cues
        self.chance, self.num_steps = 1 / num_cues, length + 1
        if variant == "hs97":
            self.input_size, self.num_steps = self.input_size + 2, length + MOST_MORE + 3

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw cues and what follows them."""
        if self.variant == "hs97":
            return self._sample_hs97(rng, size)
        lowest = 0 if self.variant == "distract" else self.num_cues
        x = rng.integers(lowest, self.input_size, (size, self.num_steps))
        x[:, 0] = rng.integers(0, self.num_cues, size)
        return Batch(x, np.full(size, self.num_steps), x[:, 0].copy())

    def _sample_hs97(self, rng: np.random.Generator, size: int) -> Batch:
        begin, end = self.input_size - 2, self.input_size - 1
        length_B = self.length + 3 + np.minimum(rng.geometric(0.1, size) - 1, MOST_MORE)
        x = rng.integers(self.num_cues, begin, (size, self.num_steps))
        cue_B = rng.integers(0, self.num_cues, size)
        x[:, 0], x[:, 1], x[np.arange(size), length_B - 1] = begin, cue_B, end
        return Batch(x * (np.arange(self.num_steps) < length_B[:, None]), length_B, cue_B)

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that name the cue."""
        return np.eye(self.num_cues)[batch.x[:, 1 if self.variant == "hs97" else 0]]

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of right answers."""
        return {"accuracy": float((outputs.argmax(-1) == batch.y).mean())}

    def bag(self, batch: Batch) -> np.ndarray:
        """Return outputs of the best answer that knows how often each symbol occurs, and not where.

        Given the first symbol, the others are as likely in any order: the posterior of a cue goes with its count.
        """
        is_valid = np.arange(batch.x.shape[1]) < batch.length[:, None]
        return np.stack([((batch.x == cue) & is_valid).sum(1) for cue in range(self.num_cues)], axis=1)

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of a constant answer and of the best order-blind one."""
        test = self.split("test", size)
        constant = np.eye(self.num_cues)[np.zeros_like(test.y)]
        return {
            "constant answer": self.score(constant, test)["accuracy"],
            "counts, no order": self.score(self.bag(test), test)["accuracy"],
        }
