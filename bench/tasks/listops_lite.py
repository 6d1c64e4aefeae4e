"""Nested operations on digits: ListOps with shorter lists and a bounded depth.

Nangia & Bowman, 2018, https://arxiv.org/abs/1804.06028; for long sequences: Tay et al., 2021,
https://arxiv.org/abs/2011.04006

B batch, L steps, C outputs, N tokens.
"""

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError

DIGITS, FIRST, CLOSE = 10, 10, 14  # digits are 0 to 9, operators open a list and are 10 to 13, and 14 closes it
OPERATORS: tuple[Callable[[list[int]], int], ...] = (
    min,
    max,
    lambda values: sum(sorted(values)[(len(values) - 1) // 2 : len(values) // 2 + 1]) // (2 - len(values) % 2),
    lambda values: sum(values) % DIGITS,
)
"""Minimum, maximum, median (of an even number, the mean of the middle two, rounded down) and sum modulo 10."""

FEWEST, MOST = 2, 5  # arguments of an operation
SURVEYED = 1_000
NESTED = 0.25  # probability that an argument is an operation and not a digit, above the greatest depth


class Task(SyntheticTask):
    """Name the value of an expression of nested minima (10), maxima (11), medians (12) and sums modulo 10 (13).

    An operator opens a list of two to five arguments, which are digits or operations, and 14 closes it. Expressions
    have more than half of `length` tokens and at most `length`. At most `depth` operations lie within one another: by
    default 4 up to 32 tokens, and 2 more for each doubling, up to 10. The distribution is that of drawing expressions
    at random until one has a length that is allowed.

    Below, max(4, min(2, 3), 1, sum(9, 8)) = 7.

    Task(12)
    x  11 4 10 2 3 14 1 13 9 8 14 14
    y                             7
    """

    tokens, input_size, output_size, per_step, loss = True, CLOSE + 1, DIGITS, False, "cross_entropy"
    metric, goal, solved, causal = "accuracy", "maximize", 0.99, False

    def __init__(self, length: int, *, depth: int | None = None) -> None:
        if length < 8:
            raise DeclarationError(f"listops_lite: length: must be at least 8, but found {length}")
        self.length = self.num_steps = length
        self.depth = min(10, 4 + 2 * max(0, math.ceil(math.log2(length / 32)))) if depth is None else depth
        if self.depth < 1 or not self._sizes()[-1]:
            rule = f"must be enough for {length} tokens, and at least 1"
            raise DeclarationError(f"listops_lite: depth: {rule}, but found {self.depth}")
        self.arguments = {"depth": depth}

    @functools.cached_property
    def chance(self) -> float:
        """The share of the most frequent value, among SURVEYED expressions of validation."""
        return float(self._value_shares.max())

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw the numbers of tokens, then expressions that have them."""
        share_N = self._sizes()
        length_B = self.length // 2 + 1 + rng.choice(len(share_N), size, p=share_N / share_N.sum())
        x, y = np.zeros((size, self.length), dtype=np.int64), np.zeros(size, dtype=np.int64)
        for row, tokens in enumerate(length_B.tolist()):
            written: list[int] = []
            _write(written, tokens, self.depth, self.length, iter(rng.random(2 * tokens).tolist()))
            x[row, :tokens], y[row] = written, _value(written)
        return Batch(x, length_B, y)

    def oracle(self, batch: Batch) -> np.ndarray:
        """Return outputs that name the value."""
        rows = zip(batch.x.tolist(), batch.length.tolist(), strict=True)
        return np.eye(DIGITS)[[_value(row[:tokens]) for row, tokens in rows]]

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of correct answers."""
        return {"accuracy": float((outputs.argmax(-1) == batch.y).mean())}

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of the most frequent value, and of the first operator applied to its own digits.

        If that operator has only operations as arguments, the most frequent value is the answer.
        """
        test, constant = self.split("test", size), int(self._value_shares.argmax())
        x = test.x
        opens = ((x >= FIRST) & (x < CLOSE)).cumsum(1) - (x == CLOSE).cumsum(1)
        is_own = (opens == 1) & (x < DIGITS) & (np.arange(self.length) < test.length[:, None])
        rows = ((int(row[0]), row[own].tolist()) for row, own in zip(x, is_own, strict=True))
        shallow = [OPERATORS[first - FIRST](digits) if digits else constant for first, digits in rows]
        return {
            "most frequent value": float((test.y == constant).mean()),
            "first operator on its own digits": float((test.y == np.array(shallow)).mean()),
        }

    @functools.cached_property
    def _value_shares(self) -> np.ndarray:
        return np.bincount(self.split("val", SURVEYED).y, minlength=DIGITS) / SURVEYED

    def _sizes(self) -> np.ndarray:
        """Return how likely an expression has each number of tokens from length / 2 + 1 to length, (N,)."""
        return _shares(self.depth - 1, self.length)[FEWEST:].mean(0)[self.length // 2 - 1 : self.length - 1]


def _value(tokens: list[int]) -> int:
    """Return the value of an expression."""
    lists: list[list[int]] = [[]]
    for token in tokens:
        if token == CLOSE:
            operator, *values = lists.pop()
            lists[-1].append(OPERATORS[operator - FIRST](values))
        elif token >= FIRST:
            lists.append([token])
        else:
            lists[-1].append(token)
    return lists[0][0]


# Drawing an expression with a given number of tokens, by the probabilities of all numbers of tokens


@functools.cache
def _shares(depth: int, longest: int) -> np.ndarray:
    """Return how likely 0 to 5 arguments together have each number of tokens up to `longest`, (6, N).

    At most `depth` operations lie within one another in them.
    """
    one = np.zeros(longest + 1)
    one[1] = 1 - NESTED if depth else 1
    if depth:
        one[2:] += NESTED * _shares(depth - 1, longest)[FEWEST:].mean(0)[:-2]
    shares = [np.eye(longest + 1)[0]]
    for _ in range(MOST):
        shares.append(np.convolve(shares[-1], one)[: longest + 1])
    return np.array(shares)


@functools.lru_cache(maxsize=16_384)
def _first(count: int, tokens: int, depth: int, longest: int) -> np.ndarray:
    """Return the distribution function of the tokens of the first of several arguments, from 1 on; (N,)."""
    shares = _shares(depth, longest)
    return _distribution(shares[1, 1:tokens] * shares[count - 1, tokens - 1 : 0 : -1])


@functools.lru_cache(maxsize=16_384)
def _count(tokens: int, depth: int, longest: int) -> np.ndarray:
    """Return the distribution function of the number of arguments, from FEWEST on, that have `tokens`; (N,)."""
    return _distribution(_shares(depth, longest)[FEWEST:, tokens])


def _distribution(weights: np.ndarray) -> np.ndarray:
    summed = weights.cumsum()
    return np.asarray(summed / summed[-1])


def _write(written: list[int], tokens: int, depth: int, longest: int, draws: Iterator[float]) -> None:
    """Append an operation of `tokens` tokens; `draws` are uniform from 0 to 1, two for each token are enough."""
    written.append(FIRST + int(len(OPERATORS) * next(draws)))
    left, inner = tokens - 2, depth - 1
    count = FEWEST + int(_count(left, inner, longest).searchsorted(next(draws), side="right"))
    for more in range(count, 0, -1):
        size = left
        if more > 1:
            size = 1 + int(_first(more, left, inner, longest).searchsorted(next(draws), side="right"))
        left -= size
        if size == 1:
            written.append(int(DIGITS * next(draws)))
        else:
            _write(written, size, inner, longest, draws)
    written.append(CLOSE)
