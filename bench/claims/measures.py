"""What is measured for a sub-claim: samples of effects, one for each task, from the records of an experiment.

Differences are paired by seed: runs of equal seeds see the same data in the same order. Every effect is oriented so
that positive values are as the claim says; ratios are arm over other arm, as logarithms.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from bench.claims.declaration import EXAMINED, SubClaim
from bench.claims.evidence import Evidence, Question, questions
from bench.claims.rules import Differences, Rate, Rates, Sample
from bench.results.cell_runs import best_baseline
from bench.results.disturbance import MEASUREMENTS, of_speed
from bench.results.record import RunRecord
from bench.results.selection import counted_test

FLOORS = ("constant", "uniform", "unigram", "repeat_last", "last_frame", "copy_source")
"""Cheap baselines that ignore the input or repeat it: the floor of a task."""

RANDOM = "random_score"  # the floor of anomaly detection, which has no score on validation

MOST_MISSED = 1 / 3
"""Share of the seeds of an arm that may miss a target; beyond that only a bound of the ratio is known."""

LEARNED = 0.2  # of the way from chance to the threshold, by which a task counts as learned

LONGEST = 1e6  # steps; a half-life of a gradient that does not decay counts as so many


class Unit(NamedTuple):
    """A task of a sub-claim with its sample, and the questions that it rests on."""

    task: str
    sample: Sample
    questions: tuple[Question, ...]


def units(sub: SubClaim, found: Evidence) -> list[Unit]:
    """Return the tasks of a sub-claim with their samples, from the records that there are."""
    asked = questions(found, sub.tasks, sub.lengths)
    by_dataset: dict[str, list[Question]] = {}
    for question in asked:
        by_dataset.setdefault(question.dataset, []).append(question)
    if sub.measure == "mean_score":
        return [Unit("mean of all tasks", _mean_score(sub, found, asked), tuple(asked))]
    if sub.measure == "horizon":
        return [Unit(name, _horizon(sub, found, ladder), tuple(ladder)) for name, ladder in by_dataset.items()]
    if sub.measure == "growth":
        return [Unit(name, _growth(sub, found, ladder), (ladder[0], ladder[-1])) for name, ladder in by_dataset.items()]
    return [Unit(str(question), _SAMPLES[sub.measure](sub, found, question), (question,)) for question in asked]


def is_learned(found: Evidence, question: Question, arms: Sequence[str]) -> bool:
    """Return whether a run of one of the arms came LEARNED of the way from chance to where a task counts as solved.

    Otherwise the runs were too short for the task, and a comparison says nothing. True for tasks that are a matter of
    degree.
    """
    for run in (run for arm in arms for run in found.confirmed(question, arm)):
        asked = run.asked
        if asked.solved is None or run.solved:
            return True
        if run.test_score is not None and (run.test_score - asked.chance) / (asked.solved - asked.chance) > LEARNED:
            return True
    return False


def _score(sub: SubClaim, found: Evidence, question: Question) -> Differences:
    return Differences(tuple(_by_seed(sub, found, question).values()))


def _by_seed(sub: SubClaim, found: Evidence, question: Question) -> dict[int, float]:
    """Return the difference of the test scores of both arms by seed, above 0 where the arm is better."""
    runs = found.confirmed(question, sub.arm)
    if sub.test_length is not None:
        return _by_seed_beyond(sub, found, question, sub.test_length)
    if sub.against in ("floor", "cheap baseline"):
        cheap = found.cheap.get(question)
        other = None if cheap is None else cheap_score(cheap, is_floor=sub.against == "floor")
        scores = {} if other is None else {run.config.seed: other for run in runs}
    else:
        scores = _scores(found.confirmed(question, sub.against or ""))
    sign = runs[0].asked.test_sign if runs else 1
    return {seed: sign * (value - scores[seed]) for seed, value in _scores(runs).items() if seed in scores}


def _by_seed_beyond(sub: SubClaim, found: Evidence, question: Question, length: int) -> dict[int, float]:
    """Return the difference of the scores at another length than that of training, by seed."""
    sides: list[dict[int, float]] = []
    for arm in (sub.arm, sub.against or ""):
        cell = found.cells.get((question, arm))
        seeds = [run.config.seed for run in cell.confirmed if run.test is not None] if cell is not None else []
        scores = cell.by_length.get(length, []) if cell is not None else []
        sides.append(dict(zip(seeds, scores, strict=False)) if len(seeds) == len(scores) else {})
    runs = found.confirmed(question, sub.arm)
    sign = runs[0].asked.sign if runs else 1
    return {seed: sign * (value - sides[1][seed]) for seed, value in sides[0].items() if seed in sides[1]}


def _scores(runs: Sequence[RunRecord]) -> dict[int, float]:
    return {run.config.seed: value for run in runs if (value := counted_test(run)) is not None}


def cheap_score(run: RunRecord, is_floor: bool) -> float | None:
    """Return the test score of the best floor or of the best cheap baseline of a task; validation chooses it."""
    if not run.fitted:  # a synthetic task
        return run.asked.chance if is_floor else None
    chosen = best_baseline(run)
    if is_floor:
        metric = run.asked.metric
        floors = [name for name in FLOORS if name in run.fitted and metric in run.fitted[name].val]
        chosen = max(floors, key=lambda name: run.asked.sign * run.fitted[name].val[metric], default=None)
    if is_floor and RANDOM in run.fitted:
        chosen = RANDOM
    return None if chosen is None else run.fitted[chosen].test.get(run.asked.ranks_by)


def _mean_score(sub: SubClaim, found: Evidence, asked: Sequence[Question]) -> Differences:
    """Return the difference by seed, averaged over the tasks that an arm learns.

    Scores are normalised: 0 at chance and 1 where the task counts as solved.
    """
    differences: dict[int, list[float]] = {}
    for question in asked:
        cell = found.cells.get((question, sub.arm))
        if cell is None or not is_learned(found, question, [sub.arm, sub.against or ""]):
            continue
        facts = cell.records[0].asked
        scale = abs((1.0 if facts.solved is None else facts.solved) - facts.chance)
        for seed, value in _by_seed(sub, found, question).items():
            differences.setdefault(seed, []).append(value / scale)
    complete = max(map(len, differences.values()), default=0)
    return Differences(tuple(statistics.fmean(values) for values in differences.values() if len(values) == complete))


def _growth(sub: SubClaim, found: Evidence, ladder: Sequence[Question]) -> Differences:
    """Return by how much the difference at the last length exceeds that at the first, by seed."""
    first, last = (_by_seed(sub, found, question) for question in (ladder[0], ladder[-1]))
    return Differences(tuple(last[seed] - first[seed] for seed in last if seed in first))


def _solved(sub: SubClaim, found: Evidence, question: Question) -> Rates:
    counts = [found.confirmed(question, arm or "") for arm in (sub.arm, sub.against)]
    (a, n), (b, m) = ((sum(bool(run.solved) for run in runs), len(runs)) for runs in counts)
    return Rates(a, n, b, m)


def _solve_rate(sub: SubClaim, found: Evidence, question: Question) -> Rate:
    runs = found.confirmed(question, sub.arm)
    return Rate(sum(bool(run.solved) for run in runs), len(runs))


# Horizons


def _horizon(sub: SubClaim, found: Evidence, ladder: Sequence[Question]) -> Differences:
    """Return the difference of the horizons in octaves, by seed.

    The horizon of a seed is the longest length that it solves after all shorter ones; half the shortest if it solves
    none. At the end of the ladder the true horizon may be longer, at its beginning shorter: if more than half of the
    seeds of an arm are there, the difference is a bound.
    """
    ladder = sorted(ladder, key=lambda question: question.length)
    arm, other = (_horizons(found, name or "", ladder) for name in (sub.arm, sub.against))
    seeds = [seed for seed in arm if seed in other]
    if not seeds:
        return Differences(())
    shortest, longest = math.log2(ladder[0].length / 2), math.log2(ladder[-1].length)

    def most_are(horizons: dict[int, float], at: float) -> bool:
        return sum(horizons[seed] == at for seed in seeds) > len(seeds) / 2

    return Differences(
        tuple(arm[seed] - other[seed] for seed in seeds),
        resolution=max((math.log2(b.length / a.length) for a, b in pairwise(ladder)), default=1.0),
        is_least=most_are(arm, longest) or most_are(other, shortest),
        is_most=most_are(other, longest) or most_are(arm, shortest),
    )


def _horizons(found: Evidence, arm: str, ladder: Sequence[Question]) -> dict[int, float]:
    """Return log2 of the horizon of each seed; a seed that lacks a length it needs is left out."""
    solved = [{run.config.seed: bool(run.solved) for run in found.confirmed(question, arm)} for question in ladder]
    horizons = {}
    for seed in solved[0]:
        horizon = ladder[0].length / 2
        for question, by_seed in zip(ladder, solved, strict=True):
            if seed not in by_seed:
                break
            if not by_seed[seed]:
                horizons[seed] = math.log2(horizon)
                break
            horizon = question.length
        else:
            horizons[seed] = math.log2(horizon)
    return horizons


# Costs


def _seconds_to_target(sub: SubClaim, found: Evidence, question: Question) -> Differences:
    """Return log ratios of the training seconds until both arms reach the quality of the other arm.

    The target is what every seed of the other arm reaches on validation, or the threshold of a task that can be solved.
    An arm that misses it counts with all its seconds, so that the true ratio is larger.
    """
    runs = [found.with_epochs(run) for run in found.confirmed(question, sub.arm) if run.state == "complete"]
    if sub.against == "cheap baseline":
        cheap = found.cheap.get(question)
        name = best_baseline(cheap) if cheap is not None else None
        if cheap is None or name is None:
            return Differences(())
        target = cheap.asked.sign * cheap.fitted[name].val[cheap.asked.metric]
        others: list[tuple[float, bool]] = [(max(cheap.fitted[name].fit_seconds or 0.0, 1e-3), True)] * len(runs)
    else:
        completed = [run for run in found.confirmed(question, sub.against or "") if run.state == "complete"]
        opponents = {run.config.seed: found.with_epochs(run) for run in completed}
        runs = [run for run in runs if run.config.seed in opponents]
        if not runs:
            return Differences(())
        target = min(_best(opponents[run.config.seed]) for run in runs)
        others = [_seconds(opponents[run.config.seed], target) for run in runs]
    own = [_seconds(run, target) for run in runs]
    missed = [sum(not reached for _, reached in side) > MOST_MISSED * len(side) for side in (own, others)]
    ratios = [math.log(a / b) for (a, _), (b, _) in zip(own, others, strict=True)]
    return Differences(tuple(ratios), is_least=missed[0], is_most=missed[1])


def _best(run: RunRecord) -> float:
    return max(run.asked.sign * epoch.val[run.asked.metric] for epoch in run.epochs)


def _seconds(run: RunRecord, target: float) -> tuple[float, bool]:
    """Return the training seconds until a run reaches a quality, and whether it does."""
    if run.asked.solved is not None:
        reached = run.seconds_to_solve
        return (reached, True) if run.solved and reached else (run.epochs[-1].train_seconds, False)
    for epoch in run.epochs:
        if run.asked.sign * epoch.val[run.asked.metric] >= target - 1e-12:
            return epoch.train_seconds, True
    return run.epochs[-1].train_seconds, False


def _ratio(value: Callable[[RunRecord], float | None], is_exact: bool = False) -> Callable[..., Differences]:
    def sample(sub: SubClaim, found: Evidence, question: Question) -> Differences:
        arms = [
            {run.config.number: value(run) for run in found.speed.get((question, arm or ""), ())}
            for arm in (sub.arm, sub.against)
        ]
        pairs = [(arms[0][number], arms[1][number]) for number in arms[0] if number in arms[1]]
        ratios = tuple(math.log(a / b) for a, b in pairs if a and b)
        return Differences(ratios[:1] if is_exact else ratios, is_exact=is_exact and bool(ratios))

    return sample


def _half_life(sub: SubClaim, found: Evidence, question: Question) -> Differences:
    lives = found.untrained.get((question, sub.arm), ())
    return Differences(tuple(math.log(min(life, LONGEST)) for life in lives if life > 0))


def _guessed(sub: SubClaim, found: Evidence, question: Question) -> Differences:
    return Differences(found.untrained.get((question, sub.arm), ()))


def _examined(sub: SubClaim, found: Evidence, question: Question) -> Differences:
    """Return what was measured of the weights of an arm, by seed: less that of the other arm, if there is one."""
    own, other = (found.examined.get((question, arm or ""), {}) for arm in (sub.arm, sub.against))
    if sub.against is None:
        return Differences(tuple(values[sub.measure] for values in own.values() if sub.measure in values))
    return Differences(tuple(own[seed][sub.measure] - other[seed][sub.measure] for seed in own if seed in other))


def _undisturbed(name: str) -> Callable[[RunRecord], float | None]:
    """Return what reads a time of an exclusive pass, None if other processes disturbed it."""

    def value(run: RunRecord) -> float | None:
        is_disturbed = MEASUREMENTS[name] in (of_speed(run.speed) or [])
        return None if is_disturbed else (run.speed or {}).get(name)

    return value


_SAMPLES: dict[str, Callable[[SubClaim, Evidence, Question], Sample]] = {
    "score": _score,
    "solved": _solved,
    "solve_rate": _solve_rate,
    "seconds_to_target": _seconds_to_target,
    "parameters": _ratio(lambda run: run.parameters.get("encoder"), is_exact=True),
    "train_step": _ratio(_undisturbed("train_step_milliseconds")),
    "latency": _ratio(_undisturbed("latency_p50_milliseconds")),
    "streaming": _ratio(_undisturbed("streaming_p50_milliseconds")),
    "half_life": _half_life,
    "guessed": _guessed,
    **dict.fromkeys(EXAMINED, _examined),
}
