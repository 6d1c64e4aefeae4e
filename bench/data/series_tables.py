"""Sequences of numbers from tables: a row is a step of a sequence, or a whole sequence; and their scale.

N sequences, S steps of all sequences, D channels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import wording
from bench.data import sequences
from bench.data.remarks import Remark
from bench.data.tables import Table, group_starts
from bench.errors import DataError


class Series(NamedTuple):
    """Sequences stored one after the other."""

    steps: np.ndarray  # (S, D) float32, NaN where a value is missing
    lengths: np.ndarray  # (N,) int64: steps of each sequence, at least 1
    names: list[str]  # of the sequences: group, or number of the row from 1

    @property
    def starts(self) -> np.ndarray:
        """The first step of each sequence, (N,) int64."""
        return np.cumsum(np.r_[0, self.lengths[:-1]])


def from_table(table: Table, columns: Sequence[str], path: Path) -> Series:
    """Return the sequences of a table: with groups, a row is a step and columns are channels; else columns are steps.

    Empty cells at the end of a row without group mean that its sequence is shorter. Raises DataError.
    """
    values = np.stack([table.columns[name] for name in columns], axis=1)
    if table.groups is not None:
        starts = group_starts(table.groups)
        return Series(values, np.diff(np.r_[starts, len(values)]), table.group_names)
    known = ~np.isnan(values)
    lengths = np.where(known.any(1), values.shape[1] - known[:, ::-1].argmax(1), 0)
    if not lengths.all():
        row = int((lengths == 0).argmax()) + 1
        raise DataError(f"{path}: row {row} of the data has no value in any step; remove the row")
    steps = values[np.arange(values.shape[1]) < lengths[:, None]][:, None]
    return Series(steps, lengths, [str(number) for number in range(1, len(values) + 1)])


class Scaled(NamedTuple):
    """Steps without gaps, and the scale that the training steps decide."""

    values: np.ndarray  # (S, D) float32: mean 0 and deviation 1 on the training steps
    mean: np.ndarray  # (D,)
    scale: np.ndarray  # (D,)
    remarks: list[Remark]


def scaled(steps: np.ndarray, lengths: np.ndarray, num_train: int, path: Path, channels: Sequence[str]) -> Scaled:
    """Return the steps (S, D) of sequences, the first `num_train` of which are for training, on the training scale.

    A missing value becomes the last one before it in its sequence, or the training mean. Raises DataError for a
    channel, named as in `channels`, without a value in training.
    """
    stop = np.cumsum(lengths)
    train = steps[: stop[num_train - 1]]
    empty = np.isnan(train).all(0)
    if empty.any():
        raise DataError(f"{path}: {channels[int(empty.argmax())]} has no value in the training part; leave it out")
    mean, scale = sequences.training_scale(train)
    missing = int(np.isnan(steps).sum())
    filled = f"{wording.count(missing, 'missing value')} filled with the previous value, or the training mean"
    values = sequences.standardised(steps, np.r_[0, stop[:-1]], mean, scale)
    return Scaled(values, mean, scale, [Remark("missing", filled)] if missing else [])
