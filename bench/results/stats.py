"""Intervals and tests for few seeds.

The percentile bootstrap covers 83 % instead of 95 % with five normal scores, and less with scores of solved and
unsolved runs. This module therefore uses exact tests for k of n, Student's t for scores below 20 seeds, and the BCa
bootstrap from 20 on.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy import stats

from bench.config.measures import MEASURES

ALPHA = 0.05


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """Return the exact two-sided 95 % interval of a proportion, k of n (Clopper & Pearson 1934)."""
    interval = stats.binomtest(k, n).proportion_ci(1 - ALPHA, method="exact")
    return float(interval.low), float(interval.high)


def mean_interval(scores: Sequence[float], alpha: float = ALPHA) -> tuple[float, float]:
    """Return an interval of the mean with coverage 1 - alpha.

    Student's t below 20 scores, BCa bootstrap from 20 on, NaN for one score.
    """
    if len(scores) < 2:
        return math.nan, math.nan
    if min(scores) == max(scores):
        return float(scores[0]), float(scores[0])
    if len(scores) < 20:
        mean, error = statistics.fmean(scores), statistics.stdev(scores) / math.sqrt(len(scores))
        half = float(stats.t.ppf(1 - alpha / 2, len(scores) - 1)) * error
        return mean - half, mean + half
    interval = stats.bootstrap((scores,), np.mean, confidence_level=1 - alpha, rng=0).confidence_interval
    return float(interval.low), float(interval.high)


def score_interval(scores: Sequence[float], metric: str) -> tuple[float, float]:
    """Return the interval of the mean of a primary metric, clipped to the metric's range: no accuracy exceeds 1.

    Student's t ignores the range. Values outside it are impossible, so clipping does not change the coverage.
    """
    low, high = mean_interval(scores)
    measure = MEASURES[metric]
    return max(low, measure.least), min(high, measure.most)


NEGLIGIBLE = 1e-40
"""Weight of a score, as a share of the largest, that no digit of an expected performance shows."""


def expected_performance(scores: Sequence[float]) -> list[float]:
    """Return the expected best of n = 1 … B scores of independent trials, where more is better.

    The unbiased estimate draws n of the B scores without replacement: sum of v_(i) C(i-1, n-1) / C(B, n) (Tang et al.
    2020). It is not valid beyond B, for trials that a sampler chose by earlier scores, or for pruned trials.
    """
    ordered, total = np.sort(np.asarray(scores, dtype=np.float64)), len(scores)
    rank = np.arange(1, total + 1)
    curve = []
    weights = np.full(total, 1 / max(1, total))  # of n = 1
    for n in range(1, total + 1):
        curve.append(math.fsum((weights * ordered).tolist()))
        if n < total:  # C(i-1, n) / C(B, n+1) from C(i-1, n-1) / C(B, n), without huge binomials
            weights = weights * ((rank - n) / n) * ((n + 1) / (total - n))
            first = int(np.searchsorted(weights, NEGLIGIBLE * weights[-1]))  # a weight that is small stays small
            weights, ordered, rank = weights[first:], ordered[first:], rank[first:]
    return curve


def plug_in_performance(scores: Sequence[float], n: int) -> float:
    """Return the expected best of n draws from the scores with replacement (Dodge et al. 2019, section 3).

    It is too low for n near the number of scores.
    """
    ordered, total = np.sort(np.asarray(scores, dtype=np.float64)), len(scores)
    rank = np.arange(1, total + 1)
    weights = (rank / total) ** n - ((rank - 1) / total) ** n
    return math.fsum((weights * ordered).tolist())


def hypervolume(losses: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Return the volume between points, where less is better, and a reference point that is worse than all of them."""
    import moocore

    return float(moocore.hypervolume(np.asarray(losses, dtype=float), ref=np.asarray(reference, dtype=float)))


def solves_more(a: Sequence[bool], b: Sequence[bool]) -> bool:
    """Return whether a solves more often than b: Fisher's exact test, one-sided, p <= .05.

    Three of three against none of three is p = .05, the only difference that three seeds can show.
    """
    table = [[sum(a), len(a) - sum(a)], [sum(b), len(b) - sum(b)]]
    p = float(stats.fisher_exact(table, alternative="greater").pvalue)
    return p <= ALPHA + 1e-12


def scores_higher(a: Sequence[float], b: Sequence[float]) -> bool:
    """Return whether the mean of a is above that of b: the 95 % interval of the paired differences excludes zero.

    Scores are paired by seed: runs at equal positions have seen the same data in the same order.
    """
    differences = [x - y for x, y in zip(a, b, strict=False)]
    low, _ = mean_interval(differences)
    return low > 0


def ranks(better: Sequence[Sequence[bool]]) -> list[int]:
    """Return ranks from 1: 1 plus the number of rows shown to be better. Statistically tied rows share a rank.

    `better[i][j]` says whether row i was shown to be better than row j.
    """
    return [1 + sum(row[j] for row in better) for j in range(len(better))]
