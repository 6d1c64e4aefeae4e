"""Even pairs: whether neighbours have differed an even number of times, asked on longer sequences than in training.

Delétang et al., 2023, https://arxiv.org/abs/2207.02098, with an answer asked at every step

B batch, L steps, C outputs.
"""

import numpy as np

from bench.tasks._state_tracking import StateTracking


class Task(StateTracking):
    """Name whether the number of pairs of unequal neighbours so far is odd.

    It is odd if the first and the last bit differ, so that the first bit is all that has to be kept: the easiest of
    the regular languages of this family, beside parity. Training lengths are uniform from 1 to `length`, and validation
    and test take longer sequences, up to 6.4 times as long; no model may look ahead. With supervision "last" instead of
    "steps", every sequence has `length` bits and the answer is asked once, at the end.

    Task(6)
    x  1 0 0 1 1 0
    y  0 1 1 0 0 1
    """

    input_size, output_size, symbol = 2, 2, "bit"

    def __init__(self, length: int, *, supervision: str = "steps") -> None:
        super().__init__(length, supervision)

    def symbols(self, rng: np.random.Generator, size: int, steps: int) -> np.ndarray:
        """Draw bits."""
        return rng.integers(0, 2, (size, steps))

    def answers(self, x: np.ndarray) -> np.ndarray:
        """Return whether the number of unequal neighbours so far is odd."""
        return x ^ x[:, :1]

    def answer_shares(self, steps: int) -> np.ndarray:
        """Return one half for each answer, but for the first step, which has no pair."""
        shares = np.full((steps, 2), 0.5)
        shares[0] = 1, 0
        return shares
