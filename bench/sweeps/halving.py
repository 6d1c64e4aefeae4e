"""What a sweep with a budget of time does next on one question: a pure function of its runs, and of what still fits.

1. Brackets. Successive halving over the configurations of all models at once (Jamieson & Talwalkar 2016): on the first
   rung every model has the same number of configurations, and of each rung a third continues to the next. Every model
   keeps at least one configuration on the second rung, and at least three run to their end.
   Further brackets follow as long as they end in the first part of the time.
2. Confirmation. The best model and the runner-up are trained again on fresh seeds and tested, then the other models.
   A trial that was trained in full stands for itself if no time is left for a fresh seed.
3. In the time that is left: further brackets, if a whole one still fits, and more fresh seeds.

Runs continue from where they paused. Scores are compared at equal numbers of validations.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.config.ids import CellId, RunId
from bench.results.cell_runs import FEWEST_SEEDS, CellRuns
from bench.results.record import RunRecord
from bench.results.selection import is_feasible, quality
from bench.sweeps.next_step import Confirm, Done, Test, Wait

ETA = 3
FINALISTS = 3
RUNGS = (1, 3, 9, 27)
"""Validations after which runs pause: 1/27, 1/9 and 1/3 of a run; the last is its end."""


@dataclass(frozen=True)
class Draw:
    """Start a trial of a cell: a new one, or `number`, which ran before but has no record any more."""

    cell: CellId
    number: int | None = None


@dataclass(frozen=True)
class Continue:
    """Continue a paused trial until it has made so many validations."""

    trial: RunRecord
    epochs: int


@dataclass(frozen=True)
class Bracket:
    """A whole further bracket and the confirmation that must follow it; asked of `fits` before it begins."""

    is_early: bool  # before any model is confirmed: the best two must follow, and else the best configuration


@dataclass(frozen=True)
class TakeOver:
    """Let a trial that was trained in full stand for its confirm run, for which no time is left."""

    trial: RunRecord


Step = Draw | Continue | Confirm | TakeOver | Test | Wait | Done

Fits = Callable[[Draw | Continue | Confirm | Bracket], bool]
"""Whether there is time for a step, and for what must follow it."""


@dataclass(frozen=True)
class Rules:
    """What is decided before a question begins."""

    configurations: int  # of each model on the first rung of a bracket
    most_seeds: int  # fresh seeds of a configuration at most
    finalists: int = FINALISTS  # trials of a bracket that run to their end


@dataclass(frozen=True)
class Entrant:
    """A model of the question, with its runs. Records of trials must have their epochs."""

    cell: CellId
    runs: CellRuns
    running: frozenset[RunId] = frozenset()
    num_configurations: int | None = None  # that its search space holds, if few
    missing: tuple[int, ...] = ()  # trials whose records are gone

    @property
    def begun(self) -> int:
        """How many trials have begun."""
        trials = {run.config.id for run in self.runs.screened} | {run for run in self.running if run == run.trial}
        return len(trials)

    @property
    def is_confirmed(self) -> bool:
        """Whether a confirm run of the model has begun."""
        begun = any(run != run.trial for run in self.running)
        return begun or any(run.config.phase == "confirm" for run in self.runs.records)

    def target(self, brackets: int, rules: Rules) -> int:
        """Return how many trials so many brackets have."""
        wanted = brackets * rules.configurations
        return wanted if self.num_configurations is None else min(wanted, self.num_configurations)


@dataclass(frozen=True)
class Rung:
    """The trials of a bracket that a rung admitted, and which of them it lets continue."""

    epochs: int  # validations at its end
    members: list[RunRecord] = field(default_factory=list)
    promoted: list[RunRecord] = field(default_factory=list)  # best first


def next_step(
    entrants: Sequence[Entrant],
    rules: Rules,
    fits: Fits,
    has_weights: Callable[[RunRecord], bool] = lambda run: True,
) -> Step:
    """Return the next step of a question.

    `has_weights` says whether the weights of a run are still there, which a test needs.
    """
    brackets = num_brackets(entrants, rules)
    step = _bracket_step(entrants, brackets - 1, rules, fits)
    if step is not None:
        return step
    ranking = ranked(entrants)
    left = [entrant for entrant in entrants if entrant.target(brackets + 1, rules) > entrant.begun]
    if left and ranking and not any(entrant.is_confirmed for entrant in entrants) and fits(Bracket(is_early=True)):
        return Draw(left[0].cell)
    for group in (ranking[:2], *([entrant] for entrant in ranking[2:])):
        for entrant in group:
            best = entrant.runs.best[0]
            if (step := _confirm(entrant, best, FEWEST_SEEDS, rules, fits)) is not None:
                return step
            if not entrant.is_confirmed and best.state == "complete" and rules.most_seeds and has_weights(best):
                return TakeOver(best)
        for entrant in group:
            if _is_ready(entrant, rules) and (step := _test(entrant, fits, has_weights)) is not None:
                return step
    if left and ranking and fits(Bracket(is_early=False)):
        return Draw(left[0].cell)
    for seeds in range(FEWEST_SEEDS, rules.most_seeds + 1):
        for entrant in ranking:
            chosen = entrant.runs.chosen
            if chosen is not None and (step := _confirm(entrant, chosen, seeds, rules, fits)) is not None:
                return step
    if any(entrant.running for entrant in entrants):
        return Wait()
    steps = (_test(entrant, fits, has_weights) for entrant in ranking)
    return next((step for step in steps if step is not None), Done())


def num_brackets(entrants: Sequence[Entrant], rules: Rules) -> int:
    """Return how many brackets have begun; there is always one."""
    return max(1, *(math.ceil(entrant.begun / rules.configurations) for entrant in entrants))


def ranked(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Return the entrants with a score, the best first: those whose runs came farthest, then by validation score."""
    scored = [entrant for entrant in entrants if entrant.runs.best]

    def standing(entrant: Entrant) -> tuple[bool, float, tuple[float, float]]:
        best = entrant.runs.best[0]
        return best.state == "complete", 1.0 if best.state == "complete" else round(best.share, 3), quality(best)

    return sorted(scored, key=standing, reverse=True)


def rungs(entrants: Sequence[Entrant], bracket: int, rules: Rules) -> list[Rung]:
    """Return the rungs of a bracket that are decided or under way: which trials each admitted and promoted.

    A rung is decided when none of its trials is on its way to its end any more. Trials that failed, or that exceed a
    limit, do not continue; others take their places.
    """
    first, last = bracket * rules.configurations, (bracket + 1) * rules.configurations
    members = [run for entrant in entrants for run in entrant.runs.screened if first <= run.config.number < last]
    running = frozenset[RunId]().union(*(entrant.running for entrant in entrants))
    sizes = [max(rules.finalists, math.ceil(len(members) / ETA**level)) for level in (1, 2, 3)]
    result: list[Rung] = []
    for level, (epochs, size) in enumerate(zip(RUNGS, sizes, strict=False)):
        on_the_way = [run for run in members if _reached(run) < epochs and run.config.id in running]
        if on_the_way:
            return [*result, Rung(epochs, members)]
        arrived = [run for run in members if run.state != "failed" and _reached(run) >= epochs and is_feasible(run)]
        arrived.sort(key=lambda run: score_at(run, epochs), reverse=True)  # stable: of equals the first
        promoted = arrived[:size]
        if level == 0:
            failed = (run for run in members if run.state == "failed" and len(run.epochs) > epochs)
            kept = {run.config.cell for run in (*promoted, *failed)}
            for run in arrived[size:]:
                if run.config.cell not in kept:
                    promoted.append(run)
                    kept.add(run.config.cell)
        result.append(Rung(epochs, members, promoted))
        members = promoted
    return [*result, Rung(RUNGS[-1], members)]


def score_at(run: RunRecord, epochs: int) -> tuple[float, float]:
    """Return the best validation among the first `epochs`: the score, and among equals a smaller loss."""
    metric, sign = run.asked.metric, run.asked.sign
    losses = ((sign * e.val[metric], -math.inf if e.val_loss is None else -e.val_loss) for e in run.epochs[:epochs])
    return max(losses, default=(-math.inf, -math.inf))


def _reached(run: RunRecord) -> float:
    """Return the validations that a trial has made; infinite if it has ended: then it has passed every rung."""
    return len(run.epochs) if run.is_paused else math.inf


def _bracket_step(entrants: Sequence[Entrant], bracket: int, rules: Rules, fits: Fits) -> Step | None:
    """Return the next step of a bracket; None if it has none left and nothing of it is under way."""
    for entrant in sorted(entrants, key=lambda entrant: entrant.begun):
        if entrant.begun < entrant.target(bracket + 1, rules):
            step = Draw(entrant.cell, entrant.missing[0] if entrant.missing else None)
            if fits(step):
                return step
            break  # all models have the same number of configurations, also where time ends the drawing
    trials = {run for entrant in entrants for run in entrant.running if run == run.trial}
    recorded = {run.config.id for entrant in entrants for run in entrant.runs.screened}
    if trials - recorded:
        return Wait()
    decided = rungs(entrants, bracket, rules)
    for rung, following in zip(decided, decided[1:], strict=False):
        for run in rung.promoted:
            if _reached(run) < following.epochs and run.config.id not in trials:
                step_on = Continue(run, following.epochs)
                if fits(step_on):
                    return step_on
    return Wait() if trials else None


def _confirm(entrant: Entrant, trial: RunRecord, seeds: int, rules: Rules, fits: Fits) -> Confirm | None:
    """Return the next of the first `seeds` fresh seeds of a trial, if there is one and it fits."""
    known = {run.config.id for run in entrant.runs.confirm_runs(trial)} | entrant.running
    for index in range(min(seeds, rules.most_seeds)):
        if trial.config.id.confirmation(index) not in known:
            step = Confirm(trial, index)
            return step if fits(step) else None
    return None


def _is_ready(entrant: Entrant, rules: Rules) -> bool:
    """Return whether the chosen configuration has its first seeds and was never tested; later seeds are tested last."""
    confirmed = entrant.runs.confirmed
    is_new = not any(run.config.run in entrant.runs.opened for run in confirmed)
    return is_new and len(confirmed) >= min(FEWEST_SEEDS, rules.most_seeds)


def _test(entrant: Entrant, fits: Fits, has_weights: Callable[[RunRecord], bool]) -> Test | Confirm | None:
    """Return the test of the chosen configuration's seeds, if one is due and no run of the entrant is under way."""
    runs, chosen = entrant.runs, entrant.runs.chosen
    if chosen is None or not runs.untested or any(run != run.trial for run in entrant.running):
        return None
    for run in runs.untested:
        if not has_weights(run):  # they were deleted when another configuration was tested
            again = Confirm(chosen, run.config.number, old=run)
            return again if fits(again) else None
    return Test(chosen, tuple(runs.untested))
