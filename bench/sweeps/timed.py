"""How a sweep spends a budget of time: how long full runs are, how many configurations begin, and what still fits."""

import json
import math
import os
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.config.budgets import of_steps
from bench.config.ids import CellId
from bench.config.settings import TrainSettings
from bench.results.cell_runs import FEWEST_SEEDS, CellRuns
from bench.results.record import RunRecord, write_json
from bench.sweeps.cells import Cell
from bench.sweeps.engines.engine import Engine
from bench.sweeps.estimate import EXCLUSIVE_SECONDS, EXCLUSIVE_STEPS, RunCost
from bench.sweeps.halving import ETA, FINALISTS, RUNGS, Continue, Draw, Rules, TakeOver
from bench.sweeps.next_step import Confirm, Test
from bench.sweeps.prepare import Plan
from bench.sweeps.probes import PROBE_EPOCHS, Prober, epoch_seconds, probe

END_SECONDS, END_SHARE = 1.0, 0.3
"""Kept for what follows the last run, MLflow's last writes and the leaderboard; and as a share of the start's time."""

LATEST_SECONDS, LATEST_SHARE = 10.0, 0.05
"""How long after the end of a question its last test runs may take, and after the end of all the cheap baselines:
without them what was confirmed has no score, and a slow machine no answer. Seconds at least, and as a share of the
budget."""

LAST_RESORT_SECONDS = 60.0
"""How much longer cheap baselines may take if nothing else has a score: a late answer is better than none."""

SLOWER = 1.3
"""Mean cost of a step of drawn configurations in units of the default's: their widths go up and down."""

USED = 0.9
"""The share of the time that is planned for; runs of unequal length leave slots idle, and cheap baselines take some."""

SEARCHED = 0.6
"""The share of the time of a question in which further brackets begin and end before any model is confirmed."""

MOST_CONFIGURATIONS = 9  # of each model on a first rung; more of them come in further brackets
BRACKET = RUNGS[-1]  # configurations on a first rung, of all models together, at least

FULL = RUNGS[-1]

FEWEST_STEPS = 300
"""Steps of a full run below which rather fewer configurations begin: shorter runs learn too little to be compared."""

PROBE_STEPS = 2, 12  # steps between two validations of the probes of a cell; the difference is the cost of a step
PROBE_SECONDS = 1.0  # of training that the longer probe of a slow model takes at most, unless 4 steps take more


@dataclass(frozen=True)
class QuestionPlan:
    """What is decided of a question before it begins, from probes."""

    steps: int  # of a full run, the same for every model
    configurations: int  # of each model on the first rung
    costs: dict[CellId, RunCost]  # of runs of the default configuration

    def rules(self, most_seeds: int, slots: int) -> Rules:
        """Return the rules of successive halving."""
        return Rules(self.configurations, most_seeds, finalists(slots))


def finalists(slots: int) -> int:
    """Return how many trials of a bracket run to their end: at least FINALISTS, and as many as leave no slot idle."""
    return slots * math.ceil(FINALISTS / slots)


def process_seconds() -> float:
    """Return the seconds since this process was started; 0 where the kernel does not say."""
    try:
        started = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
    except (OSError, ValueError, AttributeError, IndexError):
        return 0.0


def epoch_cost(cost: RunCost, settings: TrainSettings, slower: float = SLOWER) -> float:
    """Return the seconds from one validation to the next."""
    return cost.epoch + settings.num_val * cost.evaluation + slower * settings.steps_per_epoch * cost.step


def bracket_seconds(
    costs: Mapping[CellId, RunCost],
    settings: TrainSettings,
    configurations: int,
    slots: int,
    first_rung: bool = True,
    end: float = FULL,
) -> float:
    """Return the wall seconds of a bracket in `slots` slots, with its first rung or without it.

    Runs that come to their end make `end` validations.
    """
    models = len(costs)
    start = statistics.fmean(cost.start + cost.first_epoch for cost in costs.values())
    epoch = statistics.fmean(epoch_cost(cost, settings) for cost in costs.values())
    planned, last = configurations * models, finalists(slots)
    later = [max(last, math.ceil(planned / ETA**level)) for level in (1, 2, 3)]
    runs = [planned, *(min(planned, number) for number in (max(later[0], models), *later[1:]))]
    stretches = list(zip(runs, (0, *RUNGS), (*RUNGS[:-1], end), strict=False))
    return sum(
        math.ceil(number / slots) * (start + (until - before) * epoch)
        for number, before, until in stretches[0 if first_rung else 1 :]
    )


def confirm_seconds(
    costs: Mapping[CellId, RunCost],
    settings: TrainSettings,
    models: int,
    slots: int,
    seeds: int = FEWEST_SEEDS,
    end: float = FULL,
) -> float:
    """Return the wall seconds of confirming and testing so many models, which may be slower than the mean.

    A run makes `end` validations.
    """
    full = [cost.start + cost.first_epoch + end * epoch_cost(cost, settings) for cost in costs.values()]
    run = (statistics.fmean(full) + max(full)) / 2
    tests = max((cost.test(seeds, settings.num_test) for cost in costs.values()), default=0.0)
    return math.ceil(models * seeds / slots) * run + math.ceil(models / slots) * tests


def plan_question(
    costs: Mapping[CellId, RunCost], settings: TrainSettings, slots: int, seconds: float, seeds: int
) -> QuestionPlan:
    """Return the longest full runs with which a bracket and the confirmation of two models fit, and how many begin.

    `settings` are those of the longest run that is wanted. If all models can be confirmed as well, more configurations
    begin. If runs would be shorter than FEWEST_STEPS, fewer begin, and then only the best model is confirmed.
    """
    fewest = max(1, math.ceil(BRACKET / len(costs)))
    confirmed, seeds = min(2, len(costs)), min(FEWEST_SEEDS, seeds)
    validations, longest = settings.num_epochs, settings.max_steps

    def wall(configurations: int, steps: int, models: int, seeds: int) -> float:
        shorter = of_steps(settings, steps)
        after = confirm_seconds(costs, shorter, models, slots, seeds)
        return bracket_seconds(costs, shorter, configurations, slots) + after

    if wall(fewest, longest, confirmed, seeds) <= seconds:
        wider = range(fewest, MOST_CONFIGURATIONS + 1)
        more = [n for n in wider if wall(n, longest, len(costs), seeds) <= seconds]
        return QuestionPlan(longest, max(more, default=fewest), dict(costs))
    steps, configurations = 0, fewest
    for configurations, models, confirms in (
        *((number, confirmed, seeds) for number in range(fewest, 0, -1)),
        (1, 1, seeds),
        (1, 1, min(1, seeds)),
    ):
        low, high = 0, longest // validations  # steps between two validations; 0 if not even one fits
        while low < high:
            middle = (low + high + 1) // 2
            fits = wall(configurations, middle * validations, models, confirms) <= seconds
            low, high = (middle, high) if fits else (low, middle - 1)
        steps = low * validations
        if steps >= min(FEWEST_STEPS, longest):
            break
    return QuestionPlan(max(steps, validations), configurations, dict(costs))


def measure(plan: Plan, cells: Sequence[Cell], engine: Engine) -> dict[CellId, RunCost]:
    """Return what the parts of a run take, from a few training steps of each cell; cells that fail are left out."""
    small = replace(plan, cells=list(cells))
    costs = {}
    with Prober(small, engine) as prober:
        short = prober.probe([probe(small, cell, index, PROBE_STEPS[0]) for index, cell in enumerate(cells)])
        sound = {index: record for index, record in enumerate(short) if record.state != "failed" and record.epochs}
        longer = prober.probe([probe(small, cells[index], index, _longer(record)) for index, record in sound.items()])
        for record in longer:
            index = record.config.number
            costs[cells[index].id] = RunCost.of_probes(sound[index], record if record.epochs else None)
    return costs


def _longer(short: RunRecord) -> int:
    """Return the steps between two validations of the longer probe of a cell."""
    step = epoch_seconds(short) / short.config.train.steps_per_epoch
    return max(4, min(PROBE_STEPS[1], int(PROBE_SECONDS / PROBE_EPOCHS / max(step, 1e-6))))


class Journal:
    """What a timed sweep must know when it is resumed: what was planned from probes, and the seconds it has spent."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "timing.json"
        self.plans: dict[str, QuestionPlan] = {}
        self.spent = 0.0  # in earlier sessions
        with suppress(OSError, ValueError, KeyError, TypeError):  # a lost journal costs probes, and no results
            known = json.loads(self.path.read_text())
            self.spent = float(known["spent"])
            for name, values in known["questions"].items():
                costs = {CellId.parse(cell): RunCost(*parts) for cell, parts in values["costs"].items()}
                self.plans[name] = QuestionPlan(values["steps"], values["configurations"], costs)

    def write(self, seconds: float) -> None:
        """Write the plans, and the seconds spent in all sessions."""
        questions: dict[str, Any] = {
            name: {
                "steps": made.steps,
                "configurations": made.configurations,
                "costs": {str(cell): list(cost) for cell, cost in made.costs.items()},
            }
            for name, made in self.plans.items()
        }
        write_json(self.path, {"spent": round(seconds, 3), "questions": questions})


@dataclass
class Pace:
    """The clock of a timed sweep: when it must end, and what still fits before the end of a question.

    `began` is the monotonic time at which this session began.
    """

    seconds: float  # the budget
    spent: float  # of it in earlier sessions
    began: float
    deadline: float = math.inf  # monotonic, of the current question
    closing: float = END_SECONDS  # seconds kept for what follows the last run

    @property
    def end(self) -> float:
        """The monotonic time after which no run may be under way."""
        return self.began + self.seconds - self.spent - self.closing

    def latest(self, deadline: float) -> float:
        """Return the monotonic time after which the last test runs and cheap baselines end."""
        return deadline + max(LATEST_SECONDS, LATEST_SHARE * self.seconds)

    @property
    def elapsed(self) -> float:
        """The seconds spent in all sessions."""
        return self.spent + time.monotonic() - self.began

    def share(self, questions: int, speed: float) -> float:
        """Return the seconds of each of so many questions, if `speed` seconds are kept for exclusive passes."""
        return max(0.0, self.end - speed - time.monotonic()) / questions


@dataclass
class Speeds:
    """What the steps of a question take: measured on its runs, and before there are any, on its probes."""

    plan: QuestionPlan
    settings: TrainSettings  # of a full run
    runs: Mapping[CellId, CellRuns]
    slots: int
    beside: float = 0.0  # seconds between two runs of a slot, in which the coordinator notes one and draws the next

    def seconds(self, step: Draw | Continue | Confirm | TakeOver | Test) -> float:
        """Return the expected seconds of a step, until its slot is free again."""
        match step:
            case Draw(cell):
                return self._start(cell) + RUNGS[0] * self._epoch(cell)
            case Continue(trial, epochs):
                return self._start(trial.config.cell) + (epochs - len(trial.epochs)) * self._epoch_of(trial)
            case Confirm(trial):
                return self._start(trial.config.cell) + FULL * self._epoch_of(trial)
            case TakeOver(trial):
                return self._start(trial.config.cell)
            case Test(chosen, runs):
                return self._test(chosen.config.cell, len(runs))

    def after(self, step: Draw | Continue | Confirm, configurations: int) -> float:
        """Return the expected seconds of what must follow a step, so that it leads to a tested score.

        `configurations` of each model have begun in the bracket of a trial.
        """
        match step:
            case Draw():
                costs, slots = self._costs(), self.slots
                later = bracket_seconds(costs, self.settings, configurations, slots, first_rung=False)
                return later + confirm_seconds(costs, self.settings, 1, slots, min(FEWEST_SEEDS, slots))
            case Continue(trial, epochs):
                rest = (FULL - epochs) + FULL
                return rest * self._epoch_of(trial) + self._test(trial.config.cell, self.slots)
            case Confirm(trial):
                return self._test(trial.config.cell, FEWEST_SEEDS)

    def bracket(self) -> float:
        """Return the expected wall seconds of a further bracket."""
        return bracket_seconds(self._costs(), self.settings, self.plan.configurations, self.slots, end=self._end())

    def confirmation(self, models: int, seeds: int) -> float:
        """Return the expected wall seconds of the confirmation and the test of so many models."""
        seeds = min(FEWEST_SEEDS, seeds)
        return confirm_seconds(self._costs(), self.settings, models, self.slots, seeds, self._end())

    def speed(self, cells: Iterable[CellId]) -> float:
        """Return the seconds of the exclusive passes of cells."""
        step = self.settings.steps_per_epoch
        return sum(EXCLUSIVE_SECONDS + self._start(cell) + EXCLUSIVE_STEPS * self._epoch(cell) / step for cell in cells)

    def _end(self) -> float:
        """Return after how many validations a run ends, in the mean of those that came to their end.

        Early stopping ends many. Without this a further bracket would be expected to take up to twice its time, and
        would often not be begun. The full length counts as one more run.
        """
        ends = [len(run.epochs) for cell in self.plan.costs for run in self._trained(cell) if run.state == "complete"]
        return max(float(RUNGS[-2]), statistics.fmean([FULL, *ends]))

    def _costs(self) -> dict[CellId, RunCost]:
        """Return the costs of the probes, made as slow as runs have been since."""
        factor = self._factor()
        return {
            cell: cost._replace(step=cost.step * factor, start=cost.start + self.beside)
            for cell, cost in self.plan.costs.items()
        }

    def _factor(self) -> float:
        """Return how much slower runs were than their probes, in the median; 1 if there are none."""
        ratios = []
        for cell, cost in self.plan.costs.items():
            probed = epoch_cost(cost, self.settings)
            if (measured := self._measured(cell)) is not None and probed > 0:
                ratios.append(measured / probed)
        return statistics.median(ratios) if ratios else 1.0

    def _measured(self, cell: CellId) -> float | None:
        seconds = [epoch_total(run) for run in self._trained(cell) if run.epochs]
        return statistics.fmean(seconds) if seconds else None

    def _epoch(self, cell: CellId) -> float:
        measured = self._measured(cell)
        if measured is not None:
            return measured
        cost = self.plan.costs.get(cell)
        if cost is not None:
            return epoch_cost(cost, self.settings)
        return statistics.fmean(epoch_cost(cost, self.settings) for cost in self.plan.costs.values())

    def _epoch_of(self, trial: RunRecord) -> float:
        """Return the seconds of an epoch of a trial's configuration, from its own runs, the longest of them."""
        confirmed = self.runs[trial.config.cell].confirm_runs(trial)
        known = [run for run in (trial, *confirmed) if run.epochs]
        if not known:
            return self._epoch(trial.config.cell)
        return epoch_total(max(known, key=lambda run: len(run.epochs)))

    def _start(self, cell: CellId) -> float:
        """Return the seconds of a run beside its epochs."""
        runs = [run for run in self._trained(cell) if run.epochs]
        if runs:
            return self.beside + statistics.median(start_seconds(run) for run in runs)
        costs = self.plan.costs
        known = [costs[cell]] if cell in costs else list(costs.values())
        return self.beside + statistics.fmean(cost.start + cost.first_epoch for cost in known)

    def _test(self, cell: CellId, seeds: int) -> float:
        runs = [run for run in self._trained(cell) if run.epochs]
        validation = statistics.median(run.seconds.evaluate / len(run.epochs) for run in runs) if runs else 0.1
        test = validation * self.settings.num_test / self.settings.num_val
        return 1.5 * (self._start(cell) + seeds * test)

    def _trained(self, cell: CellId) -> list[RunRecord]:
        runs = self.runs.get(cell)
        records = () if runs is None else runs.records
        return [run for run in records if run.config.phase in ("screen", "confirm") and run.state != "failed"]


def epoch_total(run: RunRecord) -> float:
    """Return the seconds from one validation of a run to the next, validations included."""
    seconds = run.seconds
    return (seconds.train + seconds.data + seconds.evaluate) / len(run.epochs)


def start_seconds(run: RunRecord) -> float:
    """Return the seconds of one stretch of a run beside its epochs."""
    stretches = 1 + sum(epochs < len(run.epochs) for epochs in RUNGS[:-1]) if run.config.bracket is not None else 1
    beside = run.seconds.total - run.seconds.crashed - epoch_total(run) * len(run.epochs)
    return max(0.0, beside) / stretches


def confirmed_cells(runs: Mapping[CellId, CellRuns]) -> list[CellId]:
    """Return the cells that will have an exclusive pass: those with fresh seeds."""
    return [cell for cell, known in runs.items() if known.confirmed]
