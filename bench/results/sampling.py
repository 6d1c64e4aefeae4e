"""The sampling error of a split: by how much a score would change with other examples of the same kind.

Seeds say how much a score depends on the training; they all answer the same examples. The examples are divided into
groups, and the score is computed without each of them (delete-a-group jackknife: Quenouille 1956; Shao & Wu 1989,
https://doi.org/10.1214/aos/1176347263). Forecasting windows overlap and the windows of a text or a piece of music
follow each other, so their groups are stretches of neighbours; other examples are independent, and their groups are
drawn at random.

B batch, C outputs, G groups.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from bench.config.contracts import Batch

GROUPS = 20
FEWEST = 5
"""Examples below which there is no interval."""

Score = Callable[[np.ndarray, Batch], dict[str, float]]


class LeftOut(BaseModel):
    """A score of one split, without each of the groups of its examples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    examples: int  # of the split
    proportion: bool  # the score is the share of the examples that were answered correctly
    scores: list[float]  # without each group, (G,)

    @classmethod
    def of(cls, task: Any, outputs: np.ndarray, batch: Batch, score: Score) -> "LeftOut | None":
        """Return the scores of raw outputs by the task's metric without each group; None for too few examples.

        `task` has the declarations of a task; `score` returns the metrics of outputs for a batch.
        """
        count = len(outputs)
        if count < FEWEST:
            return None
        order = np.arange(count)
        if task.kind not in ("forecasting", "language", "music"):
            order = np.random.default_rng(0).permutation(count)
        scores = []
        for group in np.array_split(order, min(GROUPS, count)):
            kept = np.delete(np.arange(count), group)
            rest = Batch._make(None if part is None else part[kept] for part in batch)
            scores.append(float(score(outputs[kept], rest)[task.metric]))
        is_share = task.metric == "accuracy" and not task.per_step
        return cls(examples=count, proportion=is_share, scores=scores)


def half_width(left_out: Sequence[LeftOut]) -> float:
    """Return half the width of the 95 % interval of the mean score of several runs on the same split.

    0 if every example is answered alike; NaN if the runs do not have the same groups.
    """
    return _half_width([part.scores for part in left_out])


def interval(score: float, left_out: Sequence[LeftOut], least: float, most: float) -> tuple[float, float]:
    """Return the 95 % interval of the mean score of several runs, from the sampling of examples alone.

    A share of correct answers has Wilson's interval (Wilson 1927), which stays sound near 0 and 1; any other score that
    of the jackknife, clipped to the possible values `least` to `most`. NaN if it is not known.
    """
    if not left_out:
        return math.nan, math.nan
    if all(part.proportion for part in left_out):
        return _wilson(score, left_out[0].examples)
    half = half_width(left_out)
    return max(least, score - half), min(most, score + half)


def difference_half_width(a: Sequence[LeftOut], b: Sequence[LeftOut]) -> float:
    """Return half the width of the 95 % interval of the difference of two mean scores on the same split."""
    means = [np.mean([part.scores for part in side], axis=0) for side in (a, b) if side]
    if len(means) < 2 or len(means[0]) != len(means[1]):
        return math.nan
    return _half_width([means[0] - means[1]])


def _half_width(scores: Sequence[Any]) -> float:
    if len({len(part) for part in scores}) != 1:
        return math.nan
    from scipy import stats  # records are read without it, as it takes half a second to load

    means = np.mean(scores, axis=0)  # over runs, (G,)
    count = len(means)
    error = math.sqrt((count - 1) / count * float(((means - means.mean()) ** 2).sum()))
    return float(stats.t.ppf(0.975, count - 1)) * error


def _wilson(share: float, count: int) -> tuple[float, float]:
    z = 1.959964  # the 97.5th percentile of the normal distribution
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
