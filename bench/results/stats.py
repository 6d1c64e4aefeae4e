"""Intervals and tests for few seeds.

Percentile bootstrap covers 83 % instead of 95 % with five normal scores and less with scores of solved and unsolved
runs, so: exact tests for k of n, Student's t for scores below 20 seeds, BCa bootstrap from there.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

ALPHA = 0.05


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """Return the exact two-sided 95 % interval of a proportion, k of n (Clopper & Pearson 1934)."""
    interval = stats.binomtest(k, n).proportion_ci(1 - ALPHA, method="exact")
    return float(interval.low), float(interval.high)


ENDS = {
    "accuracy": (0.0, 1.0),
    "recall": (0.0, 1.0),
    "r2": (-math.inf, 1.0),
    "mse": (0.0, math.inf),
    "nats": (0.0, math.inf),
}
"""The least and the most that a primary metric can be."""


def mean_interval(scores: Sequence[float]) -> tuple[float, float]:
    """Return a 95 % interval of the mean: Student's t below 20 scores, BCa bootstrap from there; NaN for one score."""
    if len(scores) < 2:
        return math.nan, math.nan
    if min(scores) == max(scores):
        return float(scores[0]), float(scores[0])
    if len(scores) < 20:
        interval = stats.ttest_1samp(scores, 0.0).confidence_interval(1 - ALPHA)
    else:
        interval = stats.bootstrap((scores,), np.mean, confidence_level=1 - ALPHA, rng=0).confidence_interval
    return float(interval.low), float(interval.high)


def score_interval(scores: Sequence[float], metric: str) -> tuple[float, float]:
    """Return the interval of the mean of a primary metric, cut off where the metric ends: no accuracy exceeds 1.

    Student's t knows of no ends; what lies beyond them is impossible, so the interval holds as often without it.
    """
    low, high = mean_interval(scores)
    least, most = ENDS[metric]
    return max(low, least), min(high, most)


def expected_performance(scores: Sequence[float], unbiased: bool = True) -> list[float]:
    """Return the expected best of n = 1 … B scores of independent trials, of which more is better.

    Unbiased: n of the B scores drawn without replacement, sum of v_(i) C(i-1, n-1) / C(B, n) (Tang et al. 2020). Else
    the plug-in estimate of Dodge et al. 2019, section 3, with replacement, which is too low for n near B. Neither says
    anything beyond B, of trials that a sampler chose by earlier scores, or of pruned ones.
    """
    ordered, total = np.sort(np.asarray(scores, dtype=np.float64)), len(scores)
    rank = np.arange(1, total + 1)
    curve = []
    weights = np.full(total, 1 / max(1, total))  # of n = 1
    for n in range(1, total + 1):
        if not unbiased:
            weights = (rank / total) ** n - ((rank - 1) / total) ** n
        curve.append(math.fsum(weights * ordered))
        if n < total:  # C(i-1, n) / C(B, n+1) from C(i-1, n-1) / C(B, n), without numbers of a thousand digits
            weights = weights * ((rank - n) / n) * ((n + 1) / (total - n))
    return curve


def hypervolume(losses: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Return the volume between a set of points, of which less is better, and a reference point worse than all."""
    import moocore

    return float(moocore.hypervolume(np.asarray(losses, dtype=float), ref=np.asarray(reference, dtype=float)))


def solves_more(a: Sequence[bool], b: Sequence[bool]) -> bool:
    """Whether a solves more often than b: Fisher's exact test, one-sided, p <= .05.

    Three of three against none of three is p = .05, the least that three seeds can tell apart.
    """
    table = [[sum(a), len(a) - sum(a)], [sum(b), len(b) - sum(b)]]
    p = float(stats.fisher_exact(table, alternative="greater").pvalue)
    return p <= ALPHA + 1e-12


def scores_higher(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether the mean of a lies above that of b: the 95 % interval of the paired differences excludes zero.

    Scores are paired by seed: equal positions saw the same data in the same order.
    """
    differences = [x - y for x, y in zip(a, b, strict=False)]
    low, _ = mean_interval(differences)
    return low > 0


def ranks(better: Sequence[Sequence[bool]]) -> list[int]:
    """Return ranks from 1: one more than the number of rows shown to be better. Rows not told apart share a rank.

    `better[i][j]` says that row i was shown to be better than row j.
    """
    return [1 + sum(row[j] for row in better) for j in range(len(better))]
