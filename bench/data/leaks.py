"""Remarks on what makes a test score too good: columns that tell the target, and sequences that two splits share.

N sequences, S steps of all sequences, D channels.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from bench.data.remarks import Remark

FEWEST = 8  # rows or sequences: a pattern in fewer is chance
_MOST_COLUMNS, _MOST_ROWS, _MOST_STEPS = 200, 20_000, 20_000_000
_SHORTEST, _LONGEST = 6, 32  # steps of a stretch that two sequences share
_IN_TURN = 0.9  # share of sequences that begin after the one before has ended


def in_columns(columns: Mapping[str, np.ndarray], y: np.ndarray | None = None) -> list[Remark]:
    """Return remarks on input columns that count the rows, or that determine the target one to one.

    Args:
        columns: Values of each column, (N,), one for each row or sequence.
        y: Targets or class numbers, (N,); None if the target does not belong to the same rows.
    """
    remarks = []
    for name, column in list(columns.items())[:_MOST_COLUMNS]:
        if counts_rows(column):
            text = "counts the rows, so it says where a row stands in the file; leave it out with --features"
            remarks.append(Remark("leak", text, name))
        elif y is not None and tells(column[:_MOST_ROWS], y[:_MOST_ROWS]):
            text = (
                "determines the target one to one: if it is not known before the target, leave it out with --features"
            )
            remarks.append(Remark("leak", text, name))
    return remarks


def counts_rows(column: np.ndarray) -> bool:
    """Return whether a column (N,) holds each of N whole numbers that follow each other once, as row numbers do."""
    count = len(column)
    if count < FEWEST or np.isnan(column).any() or (column != np.floor(column)).any():
        return False
    return bool(column.max() - column.min() == count - 1) and len(np.unique(column)) == count


def tells(column: np.ndarray, y: np.ndarray) -> bool:
    """Return whether each value of a column (N,) stands for one target (N,) and each target for one value.

    If hardly a value occurs twice, that says nothing: then the column must rise or fall with the target throughout.
    """
    known = ~np.isnan(column) & ~np.isnan(y)
    column, y = column[known], y[known]
    if len(column) < FEWEST:
        return False
    values, x_number = np.unique(column, return_inverse=True)
    targets, y_number = np.unique(y, return_inverse=True)
    if len(values) != len(targets) or len(values) < 2:
        return False
    if len(values) <= len(column) // 2:
        return len(np.unique(x_number * len(targets) + y_number)) == len(values)
    return bool((x_number == y_number).all() or (x_number == len(targets) - 1 - y_number).all())


def overlapping(
    steps: np.ndarray, lengths: np.ndarray, part: np.ndarray, parts: Sequence[str], fix: str
) -> list[Remark]:
    """Return a remark on sequences of val and test that share a stretch of steps with one of training, but shifted.

    Windows that were cut from one recording share most of their steps with their neighbours. Sequences that are equal
    as a whole have a remark of their own.

    Args:
        steps: Steps of all sequences, one after the other, (S, D).
        lengths: Steps of each sequence, (N,).
        part: Split of each sequence as an index into `parts`, -1 for none, (N,).
        parts: Names of the splits, training first.
        fix: What to do about it.
    """
    width = int(np.clip(np.median(lengths) // 4, _SHORTEST, _LONGEST))
    if len(lengths) < FEWEST or len(steps) > _MOST_STEPS or len(steps) <= width:
        return []
    starts = np.cumsum(np.r_[0, lengths[:-1]])
    stretch = _stretches(steps, width)
    varies = np.cumsum(np.r_[0, (np.diff(steps, axis=0) != 0).any(1)])
    varies = varies[width - 1 :] - varies[: len(varies) - width + 1] >= width // 2  # zeros are alike everywhere
    of_sequence = np.repeat(np.arange(len(lengths)), lengths)[: len(stretch)]
    offset = np.arange(len(stretch)) - starts[of_sequence]
    last = lengths[of_sequence] - width
    usable = varies & (offset <= last) & (part[of_sequence] == 0)
    known = [stretch[usable & (offset != 0)], stretch[usable & (offset != last)]]  # that others begin and end with
    found = []
    for number in range(1, len(parts)):
        members = np.flatnonzero((part == number) & (lengths >= width))
        shares = np.zeros(len(members), dtype=bool)
        for place, of_train in zip((starts[members], (starts + lengths - width)[members]), known, strict=True):
            shares |= varies[place] & np.isin(stretch[place], of_train)
        if shares.any():
            found.append(f"{int(shares.sum()):,} of {int((part == number).sum()):,} in {parts[number]}")
    if not found:
        return []
    text = f"sequences overlap with those of {parts[0]} by {width} steps or more: {', '.join(found)}"
    return [Remark("leak", f"{text}; scores are too good; {fix}")]


def _stretches(steps: np.ndarray, width: int) -> np.ndarray:
    """Return a hash of the `width` steps from each step on, (S - width + 1,) uint64."""
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(steps, dtype=np.float64).view(np.uint64)
        odd = np.random.default_rng(0).integers(0, 2**62, bits.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        mixed = (bits ^ (bits >> np.uint64(29))) * odd
        step = np.bitwise_xor.reduce(mixed, axis=1) if bits.shape[1] > 1 else mixed[:, 0]
        step = (step ^ (step >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
        base = 0xD6E8FEB86659FD93
        powers = np.cumprod(np.full(len(step), base, dtype=np.uint64))
        inverse = np.cumprod(np.full(len(step), pow(base, -1, 2**64), dtype=np.uint64))
        sums = np.r_[np.uint64(0), np.cumsum(step * powers)]
        return np.asarray((sums[width:] - sums[:-width]) * inverse[: len(step) - width + 1])


def in_turn(times: np.ndarray, starts: np.ndarray, name: str, fix: str) -> list[Remark]:
    """Return a remark if sequences follow each other in time: a split at random then mixes the past and the future.

    Args:
        times: Times of the steps, int64, (S,).
        starts: First step of each sequence, (N,).
        name: Column of the times.
        fix: What to do about it.
    """
    spans = sorted(zip(times[starts], times[np.r_[starts[1:], len(times)] - 1], strict=True))
    if len(spans) < FEWEST:
        return []
    apart = sum(after[0] >= before[1] for before, after in pairwise(spans))
    if apart < _IN_TURN * (len(spans) - 1):
        return []
    return [Remark("leak", f"sequences follow each other in time, but are split at random; {fix}", name)]
