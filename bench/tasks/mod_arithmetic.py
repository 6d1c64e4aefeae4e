"""Modular arithmetic without brackets: the value of a formula so far, asked on longer formulas than in training.

Delétang et al., 2023, https://arxiv.org/abs/2207.02098 (simple modular arithmetic), with an answer at every step

B batch, L steps, C outputs, S states.
"""

import functools
import itertools

import numpy as np

from bench.tasks._state_tracking import StateTracking

MODULUS = 5
PLUS, MINUS, TIMES = 5, 6, 7  # 0 to 4 are the numbers


class Task(StateTracking):
    """Name the value, modulo 5, of the formula so far.

    Numbers (0 to 4) alternate with plus (5), minus (6) and times (7), which binds more strongly than the others. After
    an operator the value is that of the formula before it. Training lengths are uniform from 1 to `length` symbols, and
    validation and test take longer formulas, up to 6.4 times as long; no model may look ahead. With supervision "last"
    instead of "steps", every formula has `length` symbols and only the last value is asked.

    Below, 2 + 3 = 0, 2 + 3 * 4 = 4 and 2 + 3 * 4 - 1 = 3.

    Task(7)
    x  2 5 3 7 4 6 1
    y  2 2 0 0 4 4 3
    """

    input_size, output_size, symbol = 8, MODULUS, "number"

    def __init__(self, length: int, *, supervision: str = "steps") -> None:
        super().__init__(length, supervision)

    def symbols(self, rng: np.random.Generator, size: int, steps: int) -> np.ndarray:
        """Draw numbers and the operators between them."""
        x = rng.integers(0, MODULUS, (size, steps))
        x[:, 1::2] = rng.integers(PLUS, TIMES + 1, x[:, 1::2].shape)
        return x

    def answers(self, x: np.ndarray) -> np.ndarray:
        """Return the value of the formula up to each symbol; 0 before the first number."""
        total, term = np.zeros((2, len(x)), dtype=np.int64)
        operator, y = np.full(len(x), PLUS), np.empty_like(x)
        for step in range(x.shape[1]):
            is_number = x[:, step] < MODULUS
            after = _apply(total, term, operator, x[:, step])
            total, term = (np.where(is_number, new, old) for new, old in zip(after, (total, term), strict=True))
            operator = np.where(is_number, operator, x[:, step])
            y[:, step] = (total + term) % MODULUS
        return y

    def answer_shares(self, steps: int) -> np.ndarray:
        """Return the distribution over values: products make 0 a little more frequent in short formulas."""
        share_S, shares = np.zeros(MODULUS**2), []  # of the states: the sum of the terms before, then the term so far
        share_S[:MODULUS] = 1 / MODULUS
        values = np.add.outer(np.arange(MODULUS), np.arange(MODULUS)).ravel() % MODULUS
        for _ in range(0, steps, 2):
            shares += [np.bincount(values, weights=share_S, minlength=MODULUS)] * 2
            share_S = share_S @ _transitions()
        return np.array(shares[:steps])


def _apply(total: np.ndarray, term: np.ndarray, operator: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the sum of the finished terms, and the term so far, after an operator and a number; modulo 5."""
    multiplies = operator == TIMES
    signed = np.where(operator == MINUS, -number, number)
    return np.where(multiplies, total, total + term) % MODULUS, np.where(multiplies, term * number, signed) % MODULUS


@functools.cache
def _transitions() -> np.ndarray:
    """Return the probability of each state after an operator and a number are drawn, (25, 25), by the state before."""
    states, symbols = range(MODULUS**2), list(itertools.product((PLUS, MINUS, TIMES), range(MODULUS)))
    operator, number = np.array(symbols).T
    table = np.zeros((len(states), len(states)))
    for state in states:
        before = [np.full(len(symbols), part) for part in divmod(state, MODULUS)]
        total, term = _apply(before[0], before[1], operator, number)
        np.add.at(table[state], total * MODULUS + term, 1 / len(symbols))
    return table
