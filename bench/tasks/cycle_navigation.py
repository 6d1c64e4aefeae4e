"""Cycle navigation: the place on a circle after steps to either side, asked on longer walks than in training.

Delétang et al., 2023, https://arxiv.org/abs/2207.02098, with an answer asked at every step

B batch, L steps, C outputs.
"""

import numpy as np

from bench.tasks._state_tracking import StateTracking

PLACES = 5
MOVES = np.array([0, 1, -1])
"""What each symbol adds to the place."""


class Task(StateTracking):
    """Name the place on a circle of five after the moves so far.

    A walk begins at place 0; the moves stay (0), go one place up (1) or one down (2). Training lengths are uniform from
    1 to `length`, and validation and test take longer walks, up to 6.4 times as long; no model may look ahead. With
    supervision "last" instead of "steps", every walk has `length` moves and only the last place is asked.

    Task(6)
    x  1 1 0 2 2 2
    y  1 2 2 1 0 4
    """

    input_size, output_size, symbol = 3, PLACES, "move"

    def __init__(self, length: int, *, supervision: str = "steps") -> None:
        super().__init__(length, supervision)

    def symbols(self, rng: np.random.Generator, size: int, steps: int) -> np.ndarray:
        """Draw moves."""
        return rng.integers(0, 3, (size, steps))

    def answers(self, x: np.ndarray) -> np.ndarray:
        """Return the place after each move."""
        return MOVES[x].cumsum(1) % PLACES

    def answer_shares(self, steps: int) -> np.ndarray:
        """Return the distribution over places of the random walk."""
        share_C, shares = np.eye(PLACES)[0], []
        for _ in range(steps):
            share_C = np.mean([np.roll(share_C, move) for move in MOVES], axis=0)
            shares.append(share_C)
        return np.array(shares)
