"""Parity of the bits so far, trained on short and asked on long sequences.

Delétang et al., 2023, https://arxiv.org/abs/2207.02098, with an answer asked at every step

B batch, L steps, C outputs.
"""

import numpy as np

from bench.tasks._state_tracking import StateTracking


class Task(StateTracking):
    """Name whether the number of ones so far is odd.

    With supervision "steps" (dense), training lengths are uniform from 1 to `length`, and validation and test take
    longer ones, up to 6.4 times as long: a counter-task, which one bit of state solves at any length. Answers are to be
    given as the bits arrive, so no model may look ahead. With "last", every sequence has `length` bits and the answer
    is asked once, at the end: even all bits but one say nothing about it.

    Task(5)
    x  1 0 1 1 0
    y  1 1 0 1 1
    """

    input_size, output_size, symbol = 2, 2, "bit"

    def __init__(self, length: int, *, supervision: str = "steps") -> None:
        super().__init__(length, supervision)

    def symbols(self, rng: np.random.Generator, size: int, steps: int) -> np.ndarray:
        """Draw bits."""
        return rng.integers(0, 2, (size, steps))

    def answers(self, x: np.ndarray) -> np.ndarray:
        """Return the parity of the bits so far."""
        return x.cumsum(1) % 2

    def answer_shares(self, steps: int) -> np.ndarray:
        """Return one half for each answer: the last bit alone makes it so."""
        return np.full((steps, 2), 0.5)
