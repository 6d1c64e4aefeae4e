"""The rules of decision: pure functions from samples to supported, refuted or undecided.

Effects are oriented so that positive ones are as the claim says. Ratios are logarithms here. The rules follow practice
in trials: superiority needs an interval above zero and an effect that matters; equivalence is shown by two one-sided
tests (Schuirmann 1987, https://doi.org/10.1007/BF01068419); shares of seeds are compared by Fisher's exact test and
Newcombe's interval (1998, method 10, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8%3C873::AID-SIM779%3E3.0.CO;2-I).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from scipy import stats

from bench.results.stats import ALPHA, clopper_pearson, mean_interval

FEWEST = 3
"""Seeds below which nothing is decided."""

SHOWN_RATE = 0.5
"""Difference between two shares of solved seeds that matters."""

POWER = 7.85
"""(z of .975 + z of .8) squared: pairs needed are this times (deviation / margin) squared, for a power of .8."""


class Verdict(StrEnum):
    SUPPORTED = "supported"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Differences:
    """Effects, one a seed: differences of paired runs, or logarithms of ratios."""

    values: tuple[float, ...]
    resolution: float = 0.0  # of the values, such as 1 octave; its rounding adds to their variance
    is_least: bool = False  # the true effect may be larger, such as that of a run that never reached its target
    is_most: bool = False  # the true effect may be smaller
    is_exact: bool = False  # counted, not measured

    @property
    def deviation(self) -> float:
        """The standard deviation, the rounding included."""
        return math.sqrt(statistics.variance(self.values) + self.resolution**2 / 12)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return the interval of the mean with coverage 1 - alpha."""
        mean = statistics.fmean(self.values)
        if self.is_exact:
            return mean, mean
        if not self.resolution:
            return mean_interval(self.values, alpha)
        half = float(stats.t.ppf(1 - alpha / 2, len(self.values) - 1)) * self.deviation / math.sqrt(len(self.values))
        return mean - half, mean + half

    def p_above(self, bound: float) -> float:
        """Return the one-sided p of the hypothesis that the mean is at most `bound` (Student's t)."""
        excess = statistics.fmean(self.values) - bound
        if self.is_exact or not self.deviation:
            return 0.0 if excess > 0 else 1.0
        t = excess * math.sqrt(len(self.values)) / self.deviation
        return float(stats.t.sf(t, len(self.values) - 1))

    def p_below(self, bound: float) -> float:
        """Return the one-sided p of the hypothesis that the mean is at least `bound`."""
        return replace(self, values=tuple(-value for value in self.values)).p_above(-bound)


@dataclass(frozen=True)
class Rates:
    """How many seeds of two arms solve a task."""

    solved: int
    seeds: int
    other_solved: int
    other_seeds: int


@dataclass(frozen=True)
class Rate:
    """How many seeds of one arm solve a task."""

    solved: int
    seeds: int


Sample = Differences | Rates | Rate


@dataclass(frozen=True)
class Decision:
    """What a rule says of a sample."""

    verdict: Verdict
    value: float = math.nan
    low: float = math.nan  # of the 95 % interval
    high: float = math.nan
    n: int = 0  # seeds, or pairs of seeds
    p: float | None = None  # of what is supported; None if there is nothing to test
    reason: str = ""
    bound: str = ""  # "at least" or "at most", where only a bound of the effect is known


def decide(rule: str, margin: float, sample: Sample) -> Decision:
    """Apply a rule of a claim file to a sample."""
    if isinstance(sample, Rates):
        return solves(sample)
    if isinstance(sample, Rate):
        return rate(sample, margin, is_above=rule == "exceeds")
    if not sample.is_exact and len(sample.values) < FEWEST:
        found = f"{len(sample.values)} of at least {FEWEST} seeds"
        value = statistics.fmean(sample.values) if sample.values else math.nan
        return Decision(Verdict.UNDECIDED, value, n=len(sample.values), reason=found)
    rules = {"superiority": superiority, "exceeds": exceeds, "below": below, "equivalence": equivalence}
    return rules[rule](sample, margin)


def superiority(sample: Differences, margin: float) -> Decision:
    """Supported if the interval is above 0 and the mean at least the margin; refuted if the interval is below it."""
    found = _measured(sample, min(1.0, 2 * sample.p_above(0.0)))
    if found.low > 0 and found.value >= margin and not sample.is_most:
        return replace(found, verdict=Verdict.SUPPORTED)
    if found.high < margin and not sample.is_least:
        return replace(found, verdict=Verdict.REFUTED, reason="real but negligible" if found.low > 0 else "")
    return replace(found, reason=_needed(sample, margin))


def exceeds(sample: Differences, bound: float) -> Decision:
    """Supported if the interval is above the bound; refuted if it is below."""
    found = _measured(sample, min(1.0, 2 * sample.p_above(bound)))
    if found.low > bound and not sample.is_most:
        return replace(found, verdict=Verdict.SUPPORTED)
    if found.high < bound and not sample.is_least:
        return replace(found, verdict=Verdict.REFUTED)
    return replace(found, reason=_needed(sample, abs(found.value - bound)))


def below(sample: Differences, bound: float) -> Decision:
    """Supported if the interval is below the bound; refuted if it is above."""
    found = _measured(sample, min(1.0, 2 * sample.p_below(bound)))
    if found.high < bound and not sample.is_least:
        return replace(found, verdict=Verdict.SUPPORTED)
    if found.low > bound and not sample.is_most:
        return replace(found, verdict=Verdict.REFUTED)
    return replace(found, reason=_needed(sample, abs(found.value - bound)))


def equivalence(sample: Differences, margin: float) -> Decision:
    """Supported if the 90 % interval lies within the margins (TOST); refuted if the 95 % interval lies outside."""
    found = _measured(sample, max(sample.p_above(-margin), sample.p_below(margin)))
    low, high = sample.interval(2 * ALPHA)
    is_bound = sample.is_least or sample.is_most
    if -margin < low and high < margin and not is_bound:
        return replace(found, verdict=Verdict.SUPPORTED)
    if (found.low > margin and not sample.is_most) or (found.high < -margin and not sample.is_least):
        return replace(found, verdict=Verdict.REFUTED)
    return replace(found, reason=_needed(sample, margin))


def solves(sample: Rates) -> Decision:
    """Supported if one arm solves SHOWN_RATE more seeds (Fisher, one-sided); refuted if the interval is below that."""
    (a, n), (b, m) = (sample.solved, sample.seeds), (sample.other_solved, sample.other_seeds)
    if min(n, m) < FEWEST:
        return Decision(Verdict.UNDECIDED, n=min(n, m), reason=f"fewer than {FEWEST} seeds")
    value, low, high = newcombe(a, n, b, m)
    table = [[a, n - a], [b, m - b]]
    p = float(stats.fisher_exact(table, alternative="greater").pvalue)
    found = Decision(Verdict.UNDECIDED, value, low, high, min(n, m), p)
    if p <= ALPHA + 1e-12 and value >= SHOWN_RATE:
        return replace(found, verdict=Verdict.SUPPORTED)
    if high < SHOWN_RATE:
        return replace(found, verdict=Verdict.REFUTED)
    return replace(found, reason="too few seeds for this difference")


def rate(sample: Rate, bound: float, is_above: bool) -> Decision:
    """Compare the share of seeds that solve a task with a bound by its exact interval."""
    if sample.seeds < FEWEST:
        return Decision(Verdict.UNDECIDED, n=sample.seeds, reason=f"fewer than {FEWEST} seeds")
    low, high = clopper_pearson(sample.solved, sample.seeds)
    side = "greater" if is_above else "less"
    p = min(1.0, 2 * float(stats.binomtest(sample.solved, sample.seeds, bound, alternative=side).pvalue))
    found = Decision(Verdict.UNDECIDED, sample.solved / sample.seeds, low, high, sample.seeds, p)
    if low > bound or high < bound:
        return replace(found, verdict=Verdict.SUPPORTED if (low > bound) == is_above else Verdict.REFUTED)
    return replace(found, reason="too few seeds for this share")


def newcombe(a: int, n: int, b: int, m: int) -> tuple[float, float, float]:
    """Return the difference a/n - b/m and its 95 % interval from the Wilson intervals of both shares."""
    (low_a, high_a), (low_b, high_b) = (
        stats.binomtest(solved, seeds).proportion_ci(1 - ALPHA, method="wilson") for solved, seeds in ((a, n), (b, m))
    )
    p, q = a / n, b / m
    low = p - q - math.sqrt((p - low_a) ** 2 + (high_b - q) ** 2)
    high = p - q + math.sqrt((high_a - p) ** 2 + (q - low_b) ** 2)
    return p - q, low, high


def on_scale(ratio: float) -> float:
    """Return a ratio as samples hold it: its logarithm."""
    return math.log(ratio)


def quorum(verdicts: Sequence[Verdict], needed: int) -> Verdict:
    """Return the verdict over tasks: `needed` must be supported; refuted once so many are that this is impossible."""
    supported = verdicts.count(Verdict.SUPPORTED)
    refuted = verdicts.count(Verdict.REFUTED)
    if supported >= needed:
        return Verdict.SUPPORTED
    return Verdict.REFUTED if refuted >= len(verdicts) - needed + 1 else Verdict.UNDECIDED


def conjunction(verdicts: Sequence[Verdict]) -> Verdict:
    """Return Kleene's AND: refuted if any is, supported if all are."""
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED
    return Verdict.UNDECIDED if Verdict.UNDECIDED in verdicts else Verdict.SUPPORTED


def _measured(sample: Differences, p: float) -> Decision:
    """Return the effect of a sample and its interval, undecided."""
    low, high = sample.interval(ALPHA)
    bound = "at least" if sample.is_least else "at most" if sample.is_most else ""
    mean = statistics.fmean(sample.values)
    return Decision(Verdict.UNDECIDED, mean, low, high, len(sample.values), p, bound=bound)


def _needed(sample: Differences, margin: float) -> str:
    """Return how many pairs of seeds would show an effect of the size of the margin, as a sentence."""
    if sample.is_exact or not margin or not sample.deviation:
        return "only a bound of the effect is known" if sample.is_least or sample.is_most else "at the margin"
    needed = math.ceil(POWER * (sample.deviation / margin) ** 2)
    if needed <= len(sample.values):
        return "only a bound of the effect is known" if sample.is_least or sample.is_most else "close to the margin"
    return f"about {needed:,} seeds would decide"
