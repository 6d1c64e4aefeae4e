"""Noisy in-context recall: values of keys that occur again, among pairs of noise.

Poli et al., 2024 (MAD), https://arxiv.org/abs/2403.17844

B batch, L steps, P pairs, C outputs.
"""

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

KEYS = 8  # 0 to 7; the values are 8 to 15
NOISE, TOKENS = 16, 32  # noise is 16 to 31


class Task(SyntheticTask):
    """Name the value of a key whenever the key occurs again.

    A sequence has length / 2 pairs. A pair is a random key (0 to 7) and its value (8 to 15), which is drawn once for
    each sequence, or, with probability `noise`, two tokens of noise (16 to 31). The last pair repeats an earlier key.
    Class c is the value 8 + c. As in language modelling, the values that are asked follow in the input, so no model may
    look ahead. The very last one is asked and not shown.

    Task(10)
    x  2 9 25 16 5 14 2 9 5
    y                 1   6
    """

    tokens, input_size, output_size, per_step, loss = True, TOKENS, KEYS, True, "cross_entropy"
    metric, goal, chance, solved, causal = "accuracy", "maximize", 1 / KEYS, 0.99, True

    def __init__(self, length: int, *, noise: float = 0.2) -> None:
        if length < 4 or length % 2:
            raise DeclarationError(f"noisy_recall: length: must be even and at least 4, but found {length}")
        if not 0 <= noise < 1:
            raise DeclarationError(f"noisy_recall: noise: must be at least 0 and below 1, but found {noise}")
        self.length, self.noise, self.num_steps = length, noise, length - 1
        self.arguments = {"noise": noise}

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw the value of each key, the keys, and which pairs are noise."""
        pairs, rows = self.length // 2, np.arange(size)
        value_BK = rng.integers(0, KEYS, (size, KEYS))
        key_BP = rng.integers(0, KEYS, (size, pairs))
        is_noise_BP = rng.random((size, pairs)) < self.noise
        is_noise_BP[rows, rng.integers(0, pairs - 1, size)] = False  # one pair at least, before the last
        is_noise_BP[:, -1] = False
        seen_BK = np.stack([((key_BP == key) & ~is_noise_BP)[:, :-1].any(1) for key in range(KEYS)], axis=1)
        key_BP[:, -1] = np.where(seen_BK, rng.random((size, KEYS)), -1).argmax(1)
        value_BP = np.take_along_axis(value_BK, key_BP, axis=1)
        noise_BL = rng.integers(NOISE, TOKENS, (size, self.length))
        x, y, asked_BL = noise_BL, np.zeros_like(noise_BL), np.zeros(noise_BL.shape, dtype=bool)
        x[:, ::2] = np.where(is_noise_BP, noise_BL[:, ::2], key_BP)
        x[:, 1::2] = np.where(is_noise_BP, noise_BL[:, 1::2], KEYS + value_BP)
        asked_BL[:, ::2] = _is_repeated(x[:, ::2])
        y[:, ::2] = np.where(asked_BL[:, ::2], value_BP, 0)
        return Batch(x[:, :-1], np.full(size, self.num_steps), y[:, :-1], asked_BL[:, :-1])

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that name the value that followed the first occurrence of each key."""
        outputs, rows = np.zeros((*batch.x.shape, KEYS), dtype=np.float32), np.arange(len(batch.x))
        for key in range(KEYS):
            first = (batch.x[:, :-1] == key).argmax(1)
            row, step = np.nonzero(batch.x == key)
            outputs[row, step] = np.eye(KEYS)[batch.x[rows, first + 1] % KEYS][row]
        return outputs

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of repeated keys whose value is named correctly."""
        return {"accuracy": float((outputs.argmax(-1) == batch.y)[batch.mask].mean())}

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of a constant answer and of the value that occurred most often so far."""
        test = self.split("test", size)
        is_value_BLK = test.x[:, :, None] == KEYS + np.arange(KEYS)
        return {
            "constant answer": float((test.y == 0)[test.mask].mean()),
            "commonest value so far": self.score(is_value_BLK.cumsum(1, dtype=np.int16), test)["accuracy"],
        }


def _is_repeated(token_BP: np.ndarray) -> np.ndarray:
    """Return whether the first token of each pair is a key that an earlier pair has too, (B, P)."""
    pairs = np.arange(token_BP.shape[1])
    repeated = np.zeros(token_BP.shape, dtype=bool)
    for key in range(KEYS):
        occurs = token_BP == key
        repeated |= occurs & (pairs > occurs.argmax(1)[:, None])
    return repeated
