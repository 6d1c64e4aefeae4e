"""The Optuna studies of a sweep, one per cell: which configuration comes next, and which trial is pruned.

The coordinator knows trials by their numbers only. The run records hold the results; a study follows them.
"""

import random
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from bench.config.ids import CellId
from bench.results import selection
from bench.results.record import RunRecord
from bench.sweeps import shared_studies
from bench.sweeps.cells import Cell
from bench.sweeps.optuna_adapter import OPEN, CmaEs, TrialStore, guarded
from bench.sweeps.prepare import Plan

PRUNER_STARTUP_TRIALS = 10
"""The first trials of a cell are never pruned, nor is any trial in the first quarter of its steps."""

STARTUP_TRIALS = 10
"""The trials of a cell that a timed sweep draws evenly before proposals begin."""

GRACE = 4
REDUCTION = 2  # asha and hyperband: half of the trials that reach a rung (a quarter, a half) continue

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}

REDRAWS = 20
"""How often a sampler may repeat a configuration before one is drawn from those that are left."""


class Draw(NamedTuple):
    """A configuration to try."""

    number: int
    values: dict[str, Any]
    origin: str  # default, warm start (from what), or a sampler's name


class Studies:
    """All studies of a sweep, in one database. Every method raises StoreError if the database cannot be used."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._store = TrialStore(plan.folder / "study.db", shared_studies.of_sweep(plan.folder))
        self.path = self._store.path
        self._studies: dict[CellId, optuna.Study] = {}
        self._curves: dict[CellId, _Curves] = {}
        self._repeated: set[tuple[CellId, int]] = set()
        self._begun: set[tuple[CellId, int]] = set()  # trials that were handed out by this process

    @guarded
    def ask(self, cell: Cell, known: Sequence[RunRecord]) -> Draw:
        """Return the next configuration of a cell: first those given back, under their numbers."""
        study = self._study(cell)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna marks some of our samplers as experimental
            trial = study.ask(fixed_distributions=cell.space.distributions())
        return self._begin(cell, trial.number, trial.params, known)

    @guarded
    def ask_again(self, cell: Cell, number: int, known: Sequence[RunRecord]) -> Draw:
        """Return the configuration of a trial that ended but whose record is missing: it runs again as it was."""
        self._repeated.add((cell.id, number))
        return self._begin(cell, number, self._store.frozen(self._study(cell), number).params, known)

    @guarded
    def unfinished(self, cell: Cell) -> list[int]:
        """Return the trials that an earlier coordinator left running or waiting."""
        if str(cell.id) not in self._store.begun or not self._store.count(self._study(cell), *OPEN):
            return []
        return [trial.number for trial in self._study(cell).get_trials(deepcopy=False, states=OPEN)]

    @guarded
    def missing(self, cell: Cell, recorded: set[int]) -> list[int]:
        """Return the trials that ended, but are not among the `recorded` ones."""
        if str(cell.id) not in self._store.begun:
            return []
        if self._store.count(self._study(cell), *STATES.values()) == len(recorded):
            return []
        ended = self._study(cell).get_trials(deepcopy=False, states=tuple(STATES.values()))
        return [trial.number for trial in ended if trial.number not in recorded]

    @guarded
    def give_back(self, cell: Cell, number: int) -> None:
        """Queue a trial that was stopped for the next start, under its number and with its values."""
        self._store.release(self._study(cell), number)

    @guarded
    def keep_going(self, cell: Cell, number: int, step: int, score: float) -> bool:
        """Report a validation score of a trial; return whether the pruner lets it continue."""
        if (cell.id, number) in self._repeated:
            return True  # it runs again only because its record is missing
        return self._curves[cell.id].keep_going(number, step, score) or number < PRUNER_STARTUP_TRIALS

    @guarded
    def tell(self, cell: Cell, record: RunRecord) -> None:
        """Tell how a trial ended; nothing happens if the study knows already."""
        study, number = self._study(cell), record.config.number
        if self._store.frozen(study, number).state.is_finished():
            return
        self._store.resume(study, number)  # its record came while it was given back
        trial = self._store.handle(study, number)
        for name, excess in selection.violations(record).items():
            trial.set_constraint(name, excess)
        if record.cause is not None:
            trial.set_user_attr("cause", record.cause)
        # The study learns the score of a paused trial on the first rung, where all trials of a cell are compared.
        is_scored = record.state == "complete" or record.is_paused
        values = _values(record, self.plan.config.objectives) if is_scored else None
        if record.state == "pruned" and record.epochs and len(self.plan.config.objectives) == 1:
            # Samplers that learn place a pruned trial by the last score it reached.
            trial.report(record.epochs[-1].val[record.asked.metric], record.epochs[-1].steps)
        study.tell(number, values, state=TrialState.COMPLETE if is_scored else STATES[record.state])
        if cell.id in self._curves:
            self._curves[cell.id].end(record)

    def release_lost(self, cell: Cell) -> None:
        """Queue a trial that the database began for this process, but could not return before the connection broke."""
        study = self._study(cell)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if (cell.id, trial.number) not in self._begun:
                self._store.release(study, trial.number)

    def prunes(self, cell: Cell) -> bool:
        """Return whether runs of this cell ask after every epoch. Pruning is off for tasks solved abruptly."""
        return self.plan.config.pruner != "none" and cell.task.solved is None

    def _begin(self, cell: Cell, number: int, values: dict[str, Any], known: Sequence[RunRecord]) -> Draw:
        self._begun.add((cell.id, number))
        if self.prunes(cell):
            if cell.id not in self._curves:
                self._curves[cell.id] = _Curves(cell, self._pruner(cell), known, self.plan.folder / "runs")
            self._curves[cell.id].begin(number)
        return Draw(number, values, self._origin(cell, number))

    def _pruner(self, cell: Cell) -> optuna.pruners.BasePruner:
        steps = self.plan.settings(cell).max_steps
        kind = self.plan.config.pruner
        if kind == "median":
            return optuna.pruners.MedianPruner(PRUNER_STARTUP_TRIALS, n_warmup_steps=steps // GRACE)
        if kind == "asha":
            return optuna.pruners.SuccessiveHalvingPruner(max(1, steps // GRACE), REDUCTION)
        if kind == "hyperband":
            return optuna.pruners.HyperbandPruner(max(1, steps // GRACE), steps, REDUCTION)
        return optuna.pruners.NopPruner()

    def _study(self, cell: Cell) -> optuna.Study:
        if cell.id not in self._studies:
            quality: Literal["maximize", "minimize"] = cell.task.goal
            self._studies[cell.id] = self._store.study(
                str(cell.id),
                [quality if name == "quality" else "minimize" for name in self.plan.config.objectives],
                _Sampler(cell, self.plan),
            )
        return self._studies[cell.id]

    def _origin(self, cell: Cell, number: int) -> str:
        first = self.plan.first_points(cell)
        return first[number][0] if number < len(first) else sampler_of(self.plan, cell, number)


def _values(record: RunRecord, objectives: Sequence[str]) -> float | list[float]:
    values = [selection.objective(record, name) for name in objectives]
    known = [float("inf") if value is None else value for value in values]
    return known[0] if len(known) == 1 else known


def sampler_of(plan: Plan, cell: Cell, number: int) -> str:
    """Return which sampler draws a trial: by default TPE in halved cells, once it has scores to learn from."""
    learns = plan.is_halved(cell) and plan.config.sampler == "sobol" and number >= STARTUP_TRIALS
    return "tpe" if learns else plan.config.sampler


class _Curves:
    """The learning curves of a cell as a study in memory, which its pruner reads.

    Optuna writes every report to its database, and a run would wait for the disk. It also refuses reports to a study of
    several objectives. This study has quality alone and is rebuilt from the records.
    """

    def __init__(self, cell: Cell, pruner: optuna.pruners.BasePruner, known: Sequence[RunRecord], runs: Path) -> None:
        self.study = optuna.create_study(study_name=str(cell.id), direction=cell.task.goal, pruner=pruner)
        self.trials: dict[int, Trial] = {}
        # Replayed, because some pruners store attributes at every report.
        for record in sorted(known, key=lambda record: record.config.number):
            if record.config.phase == "screen":
                self.begin(record.config.number)
                full = record if record.epochs else RunRecord.read(runs / record.config.run)
                for epoch in full.epochs if full else []:
                    self.keep_going(record.config.number, epoch.steps, epoch.val[record.asked.metric])
                self.end(record)

    def begin(self, number: int) -> None:
        self.trials[number] = self.study.ask()

    def keep_going(self, number: int, step: int, score: float) -> bool:
        trial = self.trials[number]
        if step not in self.study.trials[trial.number].intermediate_values:
            trial.report(score, step)
        return not trial.should_prune()

    def end(self, record: RunRecord) -> None:
        trial = self.trials.pop(record.config.number, None)
        if trial is not None:
            value = record.val_score if record.state == "complete" else None
            self.study.tell(trial, value, state=STATES[record.state])


class _Sampler(optuna.samplers.BaseSampler):
    """Draws the default, then what earlier sweeps found, then what the named sampler says; in small spaces, each once.

    A draw depends on the seed of the sweep and the number of the trial (and, for samplers that learn, on the scores so
    far): a sampler that is made once with a seed would repeat its first points after every interruption.
    """

    def __init__(self, cell: Cell, plan: Plan) -> None:
        self.space, self.cell, self.plan, self.seed = cell.space, cell, plan, plan.config.seed
        self.points = [values for _, values in plan.first_points(cell)]
        self.configurations = cell.space.configurations() or []
        self.name: str = plan.config.sampler
        self._inner: optuna.samplers.BaseSampler | None = None

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._inner = None
        self.name = sampler_of(self.plan, self.cell, trial.number)
        if trial.number >= len(self.points) and self.name not in ("sobol", "grid"):
            self._inner = _make(self.name, 1_000_003 * self.seed + trial.number)
            self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        # Every trial has every knob. Optuna would compare all trials to find that out, a second at 3,000 of them.
        return self.space.distributions()

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        # Warm starts and portfolios may hold points of this very sequence: they were drawn with the same seed.
        if not self.space.can_repeat and len(self.points) < 2:
            return self._draw(study, trial, search_space, 0)
        earlier = study.get_trials(deepcopy=False)[: trial.number]
        tried = {self._key(other.params) for other in earlier if other.params.keys() >= search_space.keys()}
        values: dict[str, Any] = {}
        for attempt in range(REDRAWS):
            values = self._draw(study, trial, search_space, attempt)
            for name in sorted(search_space.keys() - values.keys()):
                values[name] = self.sample_independent(study, trial, name, search_space[name])
            if self._key(values) not in tried:
                return values
        left = [point for point in self.configurations if self._key(point) not in tried]
        return random.Random(f"{self.seed}/{trial.number}").choice(left) if left else values

    def _draw(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution], attempt: int
    ) -> dict[str, Any]:
        if self._inner is not None:
            if self.name == "cmaes":  # it searches numbers only
                search_space = self._inner.infer_relative_search_space(study, trial)
            return dict(self._inner.sample_relative(study, trial, search_space))
        if trial.number < len(self.points) and not attempt:
            return dict(self.points[trial.number])
        if self.name == "grid":  # the points in an order drawn once; those that were tried are drawn again by number
            order = random.Random(self.seed).sample(range(len(self.configurations)), len(self.configurations))
            return dict(self.configurations[order[(trial.number - len(self.points) + attempt) % len(order)]])
        return self.space.sobol_point(max(0, trial.number - len(self.points)) + attempt, self.seed)

    def _key(self, values: dict[str, Any]) -> str:
        # Rounded, because samplers compute the steps of a float in different ways.
        rounded = {k: float(f"{v:.9g}") if isinstance(v, float) else v for k, v in sorted(values.items())}
        return repr(self.space.split(rounded))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if self._inner is None:
            raise AssertionError(f"{param_name} is not in the search space of {study.study_name}")
        return self._inner.sample_independent(study, trial, param_name, param_distribution)


def _make(name: str, seed: int) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)
    if name == "cmaes":
        return CmaEs(seed=seed, warn_independent_sampling=False)
    return optuna.samplers.NSGAIISampler(seed=seed)
