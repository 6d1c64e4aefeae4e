"""Sequences of unequal length that are stored one after the other: batches, scale and what sums them up.

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


def standardised(steps: np.ndarray, starts: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return steps (S, D) with mean and deviation taken out, float32. `starts` are the first steps of sequences.

    A missing value is the last before it in its sequence, or the mean.
    """
    filled = np.stack([carry_forward(steps[:, channel], starts) for channel in range(steps.shape[1])], axis=1)
    return np.nan_to_num((filled - mean) / scale).astype(np.float32)


def training_scale(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each channel of the training steps (S, D); a deviation of 1 where it is constant."""
    train = steps.astype(np.float64)
    mean, scale = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    return mean, np.where(scale > 1e-6 * np.abs(mean), scale, 1.0)  # float32 is no finer


def repeated(contents: list[Any], part: np.ndarray, parts: Sequence[str]) -> list[Remark]:
    """Return remarks on examples that stand in an earlier part too. `part` is an index into `parts`, -1 for none."""
    remarks = []
    of_part = [{contents[i] for i in np.flatnonzero(part == place)} for place in range(len(parts))]
    for place in range(1, len(parts)):
        again = [sum(contents[i] in of_part[other] for i in np.flatnonzero(part == place)) for other in range(place)]
        if any(again):
            told = " and ".join(f"{count:,} also in {parts[other]}" for other, count in enumerate(again))
            rule = f"equal examples: of {int((part == place).sum()):,} in {parts[place]}, {told}"
            remarks.append(Remark("equal", rule))
    return remarks


def cut(lengths: np.ndarray, most: int, keep: str) -> list[Remark]:
    """Return a remark if some of the sequences are longer than what a model reads of them."""
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
    """Return mean, deviation, least, most, first and last of every channel, and the share of the longest length."""
    valid = (np.arange(batch.x.shape[1]) < batch.length[:, None])[..., None]
    least, most = np.where(valid, batch.x, np.inf).min(1), np.where(valid, batch.x, -np.inf).max(1)
    last = batch.x[np.arange(len(batch.x)), batch.length - 1]
    share = batch.length[:, None] / steps
    return np.concatenate([moments(batch), least, most, batch.x[:, 0], last, share], axis=1)


def softmax(outputs: np.ndarray) -> np.ndarray:
    """Return the probabilities of classes, in double precision; the last axis is that of classes."""
    powers = np.exp(outputs.astype(np.float64) - outputs.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))
