"""Splits: how the examples of a dataset are divided into train, val and test."""

import itertools
from collections.abc import Sequence

from bench.errors import DeclarationError

PARTS = ("train", "val", "test")


def check_splits(task: str, splits: Sequence[float], counted: str | None = None) -> None:
    """Raise DeclarationError unless `splits` are three shares that sum to 1, or three numbers of what is `counted`."""
    numbers = [part for part in splits if isinstance(part, int | float) and not isinstance(part, bool)]
    are_three = len(numbers) == len(splits) == len(PARTS)
    are_shares = are_three and all(0 < part < 1 for part in numbers) and abs(sum(numbers) - 1) < 1e-6
    are_counts = are_three and counted is not None and all(isinstance(part, int) and part >= 1 for part in numbers)
    if not are_shares and not are_counts:
        rule = "three shares that sum to 1" + ("" if counted is None else f", or three numbers of {counted}")
        raise DeclarationError(f"{task}: splits must be {rule}, for train, val and test, but are {list(splits)}")


def split_borders(count: int, splits: Sequence[float]) -> list[int]:
    """Return where train, val and test begin and test ends, of `count` examples.

    Of shares, train and test are rounded down and val is the rest. Numbers of examples may end after or before `count`.
    """
    if sum(splits) > 1.5:
        return [0, *map(int, itertools.accumulate(splits))]
    # Rounded down, but not because 0.7 is a little less than seven tenths.
    train, test = (int(count * share + 1e-9) for share in (splits[0], splits[2]))
    return [0, train, count - test, count]
