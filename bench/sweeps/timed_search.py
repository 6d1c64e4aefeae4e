"""The search of a sweep with a budget of time: asks `halving` what comes next, and the clock whether it fits."""

import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from bench.config.budgets import passes
from bench.config.ids import CellId, RunId
from bench.config.settings import TrainSettings
from bench.results.cell_runs import CellRuns
from bench.sweeps import halving, timed
from bench.sweeps.cells import Cell
from bench.sweeps.engines.engine import Engine, Job
from bench.sweeps.estimate import EXCLUSIVE_SECONDS
from bench.sweeps.halving import RUNGS, Bracket, Continue, Draw, Entrant, TakeOver
from bench.sweeps.jobs import Jobs
from bench.sweeps.next_step import Confirm, Done, Test, Wait
from bench.sweeps.prepare import Plan
from bench.sweeps.status import Display, Status
from bench.sweeps.timed import Journal, Pace, Speeds
from bench.wording import count

NOTE_SECONDS = 1.0
"""Between two notes of the time spent, of which a kill loses so much at most."""


class Host(Protocol):
    """The coordinator, as far as the search needs it."""

    plan: Plan
    status: Status
    display: Display
    runs: dict[CellId, CellRuns]
    jobs: Jobs

    def abandon(self) -> None:
        """Kill what is under way; it has no record and stays open."""


class Timing:
    """The plans and the clock of a timed sweep, and the plan of the sweep that follows from them."""

    def __init__(self, plan: Plan, began: float) -> None:
        assert plan.seconds is not None
        self.plan, self.journal = plan, Journal(plan.folder)
        self.pace = Pace(plan.seconds, self.journal.spent, began)
        # A machine that took long to load this program takes long to end it.
        self.pace.closing += timed.END_SHARE * self.pace.elapsed - timed.END_SHARE * self.pace.spent
        self._noted = -math.inf

    @property
    def questions(self) -> dict[str, list[Cell]]:
        """The questions that are searched by successive halving."""
        return {name: cells for name, cells in self.plan.questions.items() if self.plan.is_halved(cells[0])}

    def measure(self, engine: Engine, display: Display) -> None:
        """Probe the cells of an unplanned question, and decide how long full runs are and how many begin."""
        new = {name: cells for name, cells in self.questions.items() if name not in self.journal.plans}
        cells = [cell for group in new.values() for cell in group]
        costs = timed.measure(self.plan, cells, engine) if cells else {}
        share = self.pace.share(len(self.plan.questions), 0.0)
        for name, group in new.items():
            known = {cell.id: costs[cell.id] for cell in group if cell.id in costs}
            if known:
                kept: float = sum(sorted(EXCLUSIVE_SECONDS + cost.start for cost in known.values())[-2:])
                self.journal.plans[name] = timed.plan_question(
                    known,
                    self.plan.settings(group[0]),
                    len(self.plan.slots),
                    timed.USED * max(0.0, share - kept),
                    self.plan.budget.confirm_seeds,
                )
        steps = {name: made.steps for name, made in self.journal.plans.items()}
        asked, self.plan = self.plan, replace(self.plan, full_steps=steps)
        self.note(at_once=True)
        for name, cells in self.questions.items():
            display.say(f"{title(cell.id for cell in cells)}: {self._planned(name, asked.settings(cells[0]))}")

    def note(self, at_once: bool = False) -> None:
        """Write how much time is spent."""
        if at_once or time.monotonic() - self._noted > NOTE_SECONDS:
            self._noted = time.monotonic()
            self.journal.write(self.pace.elapsed)

    def _planned(self, name: str, asked: TrainSettings) -> str:
        """Return how many configurations begin, and the length of a full run if it is less than was asked for."""
        made = self.journal.plans.get(name)
        if made is None:
            return "no model could be trained for a few steps; see the failed runs"
        begin = f"{count(made.configurations, 'configuration')} of each model begin"
        cell = self.questions[name][0]
        settings = self.plan.settings(cell)
        if settings.max_steps == asked.max_steps:
            return begin
        number = passes(cell.task, settings)
        over = "" if number is None else f", {number:.3g} passes over the training data"
        return f"{begin}; in this time a full run has {settings.max_steps:,} steps{over}"


def title(cells: Iterable[CellId]) -> str:
    """Return what the answers call the question of these cells."""
    cell = next(iter(cells))
    return f"{cell.dataset} at {cell.length}"


class TimedSearch:
    """Yields the runs of a timed sweep, one question after another; None while all that is left must wait."""

    def __init__(self, host: Host, timing: Timing) -> None:
        self.host, self.timing, self.pace = host, timing, timing.pace
        self._cells: dict[CellId, Cell] = {}
        self._start = 0.0  # of the current question in this session
        self._ends: dict[str, float] = {}  # expected end of the runs under way
        self._begun: dict[str, tuple[float, float]] = {}  # when they were asked for, and the seconds they had before
        self._beside: list[float] = []  # seconds that slots were not used before and after a run
        self._speeds: Speeds | None = None

    def jobs(self) -> Iterator[Job | None]:
        """Yield runs as slots come free."""
        questions = self.timing.questions
        for index, (name, cells) in enumerate(questions.items()):
            seconds = self.pace.share(len(questions) - index, self._speed_seconds())
            self.pace.deadline = time.monotonic() + seconds
            if name in self.timing.journal.plans:  # without time that is left, what is confirmed is still tested
                self._begin(name, cells)
                yield from self._question()
        while self.host.jobs.under_way:
            self._end_what_is_late("cheap baselines", self.pace.end)
            yield None

    def _begin(self, name: str, cells: list[Cell]) -> None:
        self._cells, self._start = {cell.id: cell for cell in cells}, time.monotonic()
        plan, made = self.host.plan, self.timing.journal.plans[name]
        self._rules = made.rules(plan.budget.confirm_seeds, len(plan.slots))
        self._speeds = Speeds(made, plan.settings(cells[0]), self.host.runs, len(plan.slots))

    def _question(self) -> Iterator[Job | None]:
        while True:
            self.timing.note()
            self._measure_beside()
            self.host.status.ends_at = self.pace.end
            if self._end_what_is_late(title(self._cells), self.pace.deadline):
                return
            if len(self.host.jobs.under_way) >= len(self.host.plan.slots):
                yield None
                continue
            entrants = self._entrants()
            step = halving.next_step(entrants, self._rules, self._fits, self.host.jobs.has_weights)
            self.host.status.phase = self._phase(entrants, step)
            if isinstance(step, Done):
                return
            yield None if isinstance(step, Wait) else self._job(step)

    def _end_what_is_late(self, name: str, deadline: float) -> bool:
        """End what is still under way after the deadline; return whether nothing more may start.

        Test runs and cheap baselines have a little longer: they give what is confirmed its score, and the sweep an
        answer. If nothing else has given one yet, baselines have longer still.
        """
        now, latest = time.monotonic() - timed.END_SECONDS, self.pace.latest(deadline)
        phases = {config.phase for _, config in self.host.jobs.under_way.values()}
        are_last = phases <= {"test", "baselines"}
        end = latest if are_last else deadline
        if are_last and "baselines" in phases and not any(runs.tests for runs in self.host.runs.values()):
            end += timed.LAST_RESORT_SECONDS  # a test run beside them may hang, and is then ended with them
        if self.host.jobs.under_way and now > end:
            late = count(len(self.host.jobs.under_way), "run")
            self.host.display.say(f"{name}: the time is over; {late} under way ended without a result")
            self.host.abandon()
        return now > latest

    def _entrants(self) -> list[Entrant]:
        running: dict[CellId, set[Any]] = {}
        for _, config in self.host.jobs.under_way.values():
            if config.phase in ("screen", "confirm", "test"):
                running.setdefault(config.cell, set()).add(config.id)
        return [
            Entrant(
                cell.id,
                self.host.runs[cell.id],
                frozenset(running.get(cell.id, ())),
                cell.num_configurations,
                tuple(self.host.jobs.missing[cell.id]),
            )
            for cell in self._cells.values()
        ]

    def _measure_beside(self) -> None:
        """Measure how long slots are not used around a run, from the runs that have ended."""
        for run in [run for run in self._begun if run not in self.host.jobs.under_way]:
            began, before = self._begun.pop(run)
            records = self.host.runs[RunId.parse(run).cell].records
            seconds = next((record.seconds.total for record in records if record.config.run == run), None)
            if seconds is not None:
                self._beside.append(max(0.0, time.monotonic() - began - (seconds - before)))
        if self._speeds is not None and self._beside:
            self._speeds.beside = statistics.median(self._beside[-20:])

    def _job(self, step: Draw | Continue | Confirm | TakeOver | Test) -> Job:
        assert self._speeds is not None
        began = time.monotonic()
        seconds = self._delay() + self._speeds.seconds(step)
        match step:
            case Draw(cell, number):
                job = self.host.jobs.trial(self._cells[cell], number, self._rules.configurations)
            case Continue(trial, epochs):
                pause = None if epochs == RUNGS[-1] else epochs
                job = self.host.jobs.continue_trial(self._cells[trial.config.cell], trial, pause)
            case Confirm(trial, index, old):
                job = self.host.jobs.confirmation(self._cells[trial.config.cell], trial, index, old)
            case TakeOver(trial):
                job = self.host.jobs.taking_over(self._cells[trial.config.cell], trial)
            case Test(chosen, runs):
                job = self.host.jobs.test(self._cells[chosen.config.cell], chosen, runs)
        self._ends[job.id] = time.monotonic() + seconds
        self._begun[job.id] = began, step.trial.seconds.total if isinstance(step, Continue) else 0.0
        return job

    def _fits(self, step: Draw | Continue | Confirm | Bracket) -> bool:
        """Return whether a step, and what must follow it, end before the question does."""
        assert self._speeds is not None
        speeds, cells = self._speeds, set(timed.confirmed_cells(self._own_runs()))
        if isinstance(step, Bracket):
            searched = time.monotonic() + self._delay() + speeds.bracket()
            if step.is_early and searched > self._start + timed.SEARCHED * (self.pace.deadline - self._start):
                return False
            confirmed = min(2, len(self._cells)) if step.is_early else 1
            seconds = speeds.bracket() + speeds.confirmation(confirmed, self._rules.most_seeds)
        else:
            begun = sum(len(runs.screened) for runs in self._own_runs().values()) / len(self._cells)
            configurations = math.ceil(begun % self._rules.configurations) + 1
            seconds = speeds.seconds(step) + (0.0 if self._is_first(step) else speeds.after(step, configurations))
            cells.add(step.cell if isinstance(step, Draw) else step.trial.config.cell)
        return time.monotonic() + self._delay() + seconds + speeds.speed(cells) <= self.pace.deadline

    def _is_first(self, step: Draw | Continue | Confirm) -> bool:
        """Return whether a step is the first of its kind: in too short a time it starts whatever must follow it."""
        if isinstance(step, Draw):
            return not self.host.runs[step.cell].screened
        trials = [run for runs in self._own_runs().values() for run in runs.screened]
        return isinstance(step, Continue) and not any(run.state == "complete" for run in trials)

    def _own_runs(self) -> Mapping[CellId, CellRuns]:
        return {cell: self.host.runs[cell] for cell in self._cells}

    def _speed_seconds(self) -> float:
        """Return the seconds kept for the exclusive passes of the questions that are done."""
        return 0.0 if self._speeds is None else self._speeds.speed(timed.confirmed_cells(self.host.runs))

    def _delay(self) -> float:
        """Return the seconds until a slot is expected to be free; runs that take unknown time do not end."""
        ends = sorted(self._ends.get(run, math.inf) for run in self.host.jobs.under_way)
        return 0.0 if len(ends) < len(self.host.plan.slots) else max(0.0, ends[0] - time.monotonic())

    def _phase(self, entrants: list[Entrant], step: halving.Step) -> str:
        bracket = halving.num_brackets(entrants, self._rules)
        match step:
            case Draw():
                part = f"bracket {bracket}, {count(self._rules.configurations, 'configuration')} of each model begin"
            case Continue(_, epochs):
                share = "the end" if epochs == RUNGS[-1] else f"1/{RUNGS[-1] // epochs}"
                part = f"bracket {bracket}, the best continue to {share} of a run"
            case Confirm() | TakeOver():
                part = "the best are trained again on fresh seeds"
            case Test():
                part = "the test split is opened"
            case _:
                return self.host.status.phase
        return f"{title(self._cells)}: {part}"
