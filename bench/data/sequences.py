"""Sequences of unequal length that are stored one after the other: batches, scale and summary features.

B batch, L steps, D channels, S steps of all sequences, C classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.config.contracts import Batch
from bench.data.remarks import Remark
from bench.data.tables import carry_forward


def padded(values: np.ndarray, first: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return the `length` steps from `first` on, padded on the right with zeros: (B, L) tokens, or (B, L, D)."""
    step = np.arange(int(length.max()))
    valid = step < length[:, None]
    x = values[np.where(valid, first[:, None] + step, 0)]
    if x.ndim == 2:
        return np.where(valid, x, 0).astype(np.int64)
    return np.asarray(x * valid[..., None].astype(np.float32))


def with_next(x: np.ndarray, length: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return windows (B, L, D) moved by one step: their last of `length` steps holds the targets y (B, T).

    The other channels of that step, which are not known, keep their last value.
    """
    last, rows = length - 1, np.arange(len(x))
    moved = np.concatenate([x[:, 1:], x[:, -1:]], axis=1)
    moved[rows, last] = x[rows, last]
    moved[rows, last, : y.shape[1]] = y
    return moved


def standardised(steps: np.ndarray, starts: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return standardised steps (S, D), float32. `starts` are the first steps of sequences.

    A missing value is filled with the previous value of its sequence, or with the mean.
    """
    filled = np.stack([carry_forward(steps[:, channel], starts) for channel in range(steps.shape[1])], axis=1)
    return np.nan_to_num((filled - mean) / scale).astype(np.float32)


def training_scale(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each channel of the training steps (S, D); the deviation of a constant one is 1."""
    train = steps.astype(np.float64)
    mean, scale = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    return mean, np.where(scale > resolution(steps) * np.abs(mean), scale, 1.0)


def resolution(values: np.ndarray) -> float:
    """Return the deviation, as a share of the level, from which on values vary by more than their rounding."""
    return 1e-6 if values.dtype == np.float32 else 1e-12


def repeated(contents: list[Any], part: np.ndarray, parts: Sequence[str]) -> list[Remark]:
    """Return remarks on examples that an earlier part also has. `part` is an index into `parts`, -1 for none."""
    remarks = []
    members = [np.flatnonzero(part == number) for number in range(len(parts))]
    known = [{contents[i] for i in indices} for indices in members]
    for number in range(1, len(parts)):
        counts = [sum(contents[i] in known[earlier] for i in members[number]) for earlier in range(number)]
        if any(counts):
            shared = " and ".join(f"{count:,} also in {parts[earlier]}" for earlier, count in enumerate(counts))
            text = f"equal examples: of {len(members[number]):,} in {parts[number]}, {shared}"
            remarks.append(Remark("equal", text))
    return remarks


def cut(lengths: np.ndarray, most: int, keep: str) -> list[Remark]:
    """Return a remark if some sequences are longer than `most`, the steps that a model reads."""
    longer = int((lengths > most).sum())
    if not longer:
        return []
    read = f"the {keep} {most:,} are read, as in training"
    return [Remark("cut", f"{longer:,} of {len(lengths):,} sequences are longer than {most:,} steps: {read}")]


def moments(batch: Batch) -> np.ndarray:
    """Return mean and deviation of every channel over the valid steps, (B, 2 D)."""
    valid = (np.arange(batch.x.shape[1]) < batch.length[:, None])[..., None]
    mean = batch.x.sum(1) / batch.length[:, None]
    deviation = np.sqrt((((batch.x - mean[:, None]) * valid) ** 2).sum(1) / batch.length[:, None])
    return np.concatenate([mean, deviation], axis=1)


def summary_features(batch: Batch, steps: int) -> np.ndarray:
    """Return mean, deviation, minimum, maximum, first and last of every channel, and the length over `steps`."""
    valid = (np.arange(batch.x.shape[1]) < batch.length[:, None])[..., None]
    least, most = np.where(valid, batch.x, np.inf).min(1), np.where(valid, batch.x, -np.inf).max(1)
    last = batch.x[np.arange(len(batch.x)), batch.length - 1]
    share = batch.length[:, None] / steps
    return np.concatenate([moments(batch), least, most, batch.x[:, 0], last, share], axis=1)


def softmax(outputs: np.ndarray) -> np.ndarray:
    """Return the probabilities of classes in double precision; the last axis holds the classes."""
    powers = np.exp(outputs.astype(np.float64) - outputs.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))
