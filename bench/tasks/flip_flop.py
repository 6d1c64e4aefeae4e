"""Flip-flop language modelling: a bit of memory that is written, read, and otherwise to be left alone.

Liu et al., 2023, https://arxiv.org/abs/2306.00946

B batch, L steps, P pairs of an instruction and a bit.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

IGNORE, WRITE, READ = 2, 3, 4  # 0 and 1 are the bits


class Task(SyntheticTask):
    """At each read instruction, name the bit that was written last.

    A sequence has length / 2 pairs of an instruction and a bit. The first instruction writes (3), the last reads (4),
    and each one between ignores (2) with probability `ignore`, and writes or reads with equal probability otherwise.
    The bit after a read is the one that was written last and the target at the read; other bits are random. As in
    language modelling, the bits that are asked follow in the input, so no model may look ahead. The very last one is
    asked and not shown. With `test_ignore`, validation and test ignore with that probability instead: sparse sequences
    (.98) keep the bit for longer than training did, and dense ones (.1) overwrite it more often.

    Task(10)
    x  3 1 2 0 4 1 2 0 4
    y          1       1
    """

    tokens, input_size, output_size, per_step, loss = True, 5, 2, True, "cross_entropy"
    metric, goal, chance, solved, causal = "accuracy", "maximize", 0.5, 0.999, True

    def __init__(self, length: int, *, ignore: float = 0.8, test_ignore: float | None = None) -> None:
        if length < 4 or length % 2:
            raise DeclarationError(f"flip_flop: length: must be even and at least 4, but found {length}")
        self.ignore, self.test_ignore = ignore, ignore if test_ignore is None else test_ignore
        for name, share in (("ignore", self.ignore), ("test_ignore", self.test_ignore)):
            if not 0 <= share < 1:
                raise DeclarationError(f"flip_flop: {name}: must be at least 0 and below 1, but found {share}")
        self.length, self.num_steps = length, length - 1
        self.arguments = {"ignore": ignore} | ({} if test_ignore is None else {"test_ignore": test_ignore})

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw instructions and bits, and let reads repeat what was written."""
        pairs = self.length // 2
        ignored = self.ignore if stream == "train" else self.test_ignore
        shares = [ignored, (1 - ignored) / 2, (1 - ignored) / 2]
        code_BP = rng.choice([IGNORE, WRITE, READ], (size, pairs), p=shares)
        code_BP[:, 0], code_BP[:, -1] = WRITE, READ
        written_BP = _last_written(code_BP, rng.integers(0, 2, (size, pairs)))
        bit_BP = np.where(code_BP == READ, written_BP, rng.integers(0, 2, (size, pairs)))
        bit_BP = np.where(code_BP == WRITE, written_BP, bit_BP)
        x, y = np.empty((size, self.length), dtype=np.int64), np.zeros((size, self.length), dtype=np.int64)
        x[:, ::2], x[:, 1::2] = code_BP, bit_BP
        y[:, ::2] = np.where(code_BP == READ, written_BP, 0)
        x, y = x[:, :-1], y[:, :-1]
        return Batch(x, np.full(size, self.num_steps), y, x == READ)

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that name the bit written last."""
        code_BP = batch.x[:, ::2]
        bit_BP = np.pad(batch.x[:, 1::2], ((0, 0), (0, 1)))
        outputs = np.zeros((*batch.x.shape, 2))
        outputs[:, ::2] = np.eye(2)[_last_written(code_BP, bit_BP)]
        return outputs

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of reads that are answered correctly."""
        return {"accuracy": float((outputs.argmax(-1) == batch.y)[batch.mask].mean())}

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of a constant answer and of one that repeats the bit just seen, written or not."""
        test = self.split("test", size)
        previous = np.zeros_like(test.x)
        previous[:, 2::2] = test.x[:, 1:-1:2]
        return {
            "constant answer": self.score(np.eye(2)[np.zeros_like(test.y)], test)["accuracy"],
            "previous bit": self.score(np.eye(2)[previous], test)["accuracy"],
        }


def _last_written(code_BP: np.ndarray, bit_BP: np.ndarray) -> np.ndarray:
    """Return the bit of the last pair up to each whose instruction writes, (B, P); the first instruction does."""
    pairs = np.arange(code_BP.shape[1])
    return np.take_along_axis(bit_BP, np.maximum.accumulate(np.where(code_BP == WRITE, pairs, 0), axis=1), axis=1)
