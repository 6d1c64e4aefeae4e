"""The Optuna studies of a sweep, one a cell: who draws the next configuration, and who is ended early.

The coordinator knows trials by their numbers only. A study holds no truth of its own: the run records do.
"""

import sqlite3
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from bench.config.ids import CellId
from bench.errors import StoreError
from bench.results import selection
from bench.results.record import RunRecord
from bench.sweep.prepare import Cell, Plan

PRUNER_STARTUP_TRIALS = 10
"""Trials before any is ended early; and none is before a quarter of its steps, whatever the pruner."""

GRACE = 4
REDUCTION = 2  # asha and hyperband: of the trials that reach a rung (a quarter, a half) a half goes on


class Draw(NamedTuple):
    """A configuration to be tried."""

    number: int
    values: dict[str, Any]
    origin: str  # default, warm start (from what), or a sampler's name


class Studies:
    """All studies of a sweep, in one database. Raises StoreError where it is damaged, or gone despite runs."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._storage = _open(plan.folder / "study.db")
        self._begun = set(optuna.get_all_study_names(self._storage))
        self._studies: dict[CellId, optuna.Study] = {}
        self._shadows: dict[CellId, _Shadow] = {}

    def ask(self, cell: Cell, known: Sequence[RunRecord]) -> Draw:
        """Return the next configuration of a cell; one that was given back comes first, under its number."""
        study = self._study(cell)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on which of our samplers Optuna still finds new
            trial = study.ask(fixed_distributions=cell.space.distributions())
        if self._needs_shadow(cell):
            self._shadow(cell, known).begin(trial.number)
        return Draw(trial.number, trial.params, self._origin(cell, trial.number))

    def unfinished(self, cell: Cell) -> list[int]:
        """Return the trials that an earlier coordinator left running or waiting."""
        if str(cell.id) not in self._begun:
            return []
        states = (TrialState.RUNNING, TrialState.WAITING)
        # Counted first: reading thousands of finished trials takes seconds.
        if not any(self._storage.get_n_trials(self._study(cell)._study_id, state) for state in states):
            return []
        return [trial.number for trial in self._study(cell).get_trials(deepcopy=False, states=states)]

    def give_back(self, cell: Cell, number: int) -> None:
        """Let a trial that was stopped wait for the next start, under its number and with its values."""
        trial = self._frozen(cell, number)
        if not trial.state.is_finished():
            self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def keep_going(self, cell: Cell, number: int, step: int, score: float) -> bool:
        """Report a validation score of a trial; return whether the pruner lets it go on."""
        spared = number < PRUNER_STARTUP_TRIALS
        if cell.id in self._shadows:
            return self._shadows[cell.id].keep_going(number, step, score) or spared
        frozen = self._frozen(cell, number)
        trial = Trial(self._study(cell), frozen._trial_id)
        if step not in frozen.intermediate_values:  # a repeated attempt reports again
            trial.report(score, step)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return not trial.should_prune() or spared

    def tell(self, cell: Cell, record: RunRecord) -> None:
        """Tell how a trial ended."""
        study, number = self._study(cell), record.config.number
        frozen = self._frozen(cell, number)
        if frozen.state.is_finished():
            return
        if frozen.state == TrialState.WAITING:  # its record came while it was given back
            self._storage.set_trial_state_values(frozen._trial_id, TrialState.RUNNING)
        trial = Trial(study, frozen._trial_id)
        for name, excess in selection.violations(record).items():
            trial.set_constraint(name, excess)
        if record.cause is not None:
            trial.set_user_attr("cause", record.cause)
        values: float | list[float] | None = None
        if record.state == "complete":
            values = _values(record, self.plan.config.objectives)
        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        study.tell(number, values, state=states[record.state])
        if cell.id in self._shadows:
            self._shadows[cell.id].end(record)

    def prunes(self, cell: Cell) -> bool:
        """Whether runs of this cell ask after every epoch; a task that is solved of a sudden has no say in it."""
        return self.plan.config.pruner != "none" and cell.task.solved is None

    def _needs_shadow(self, cell: Cell) -> bool:
        return self.prunes(cell) and len(self.plan.config.objectives) > 1

    def _shadow(self, cell: Cell, known: Sequence[RunRecord]) -> "_Shadow":
        if cell.id not in self._shadows:
            self._shadows[cell.id] = _Shadow(cell, self._pruner(), known, self.plan.folder / "runs")
        return self._shadows[cell.id]

    def _pruner(self) -> optuna.pruners.BasePruner:
        steps = self.plan.max_steps
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
            objectives = self.plan.config.objectives
            quality: Literal["maximize", "minimize"] = cell.task.goal
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._studies[cell.id] = optuna.create_study(
                    study_name=str(cell.id),
                    storage=self._storage,
                    directions=[quality if name == "quality" else "minimize" for name in objectives],
                    sampler=_Sampler(cell, self.plan),
                    pruner=self._pruner() if self.prunes(cell) else optuna.pruners.NopPruner(),
                    load_if_exists=True,
                )
        return self._studies[cell.id]

    def _frozen(self, cell: Cell, number: int) -> FrozenTrial:
        study_id = self._study(cell)._study_id
        return self._storage.get_trial(self._storage.get_trial_id_from_study_id_trial_number(study_id, number))

    def _origin(self, cell: Cell, number: int) -> str:
        first = self.plan.first_points(cell)
        return first[number][0] if number < len(first) else self.plan.config.sampler


def _values(record: RunRecord, objectives: Sequence[str]) -> float | list[float]:
    values = [selection.objective(record, name) for name in objectives]
    known = [float("inf") if value is None else value for value in values]
    return known[0] if len(known) == 1 else known


class _Shadow:
    """A study of quality alone, beside one of several objectives.

    Optuna refuses reports to a study of several objectives, and so any pruning of it. It is kept in memory and made
    again from the records.
    """

    def __init__(self, cell: Cell, pruner: optuna.pruners.BasePruner, known: Sequence[RunRecord], runs: Path) -> None:
        self.study = optuna.create_study(study_name=str(cell.id), direction=cell.task.goal, pruner=pruner)
        self.trials: dict[int, Trial] = {}
        # Replayed, because some pruners keep notes of their own on every report.
        for record in sorted(known, key=lambda record: record.config.number):
            if record.config.phase == "screen":
                self.begin(record.config.number)
                whole = record if record.epochs else RunRecord.read(runs / record.config.run)
                for epoch in whole.epochs if whole else []:
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
            states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
            value = record.val_score if record.state == "complete" else None
            self.study.tell(trial, value, state=states[record.state])


class _Sampler(optuna.samplers.BaseSampler):
    """Draws the default, then what earlier sweeps found, then what the sampler named says.

    What is drawn depends on the seed of the sweep and the number of the trial (and, of samplers that learn, on the
    scores so far): a sampler made once with a seed would draw its first points again after every interruption.
    """

    def __init__(self, cell: Cell, plan: Plan) -> None:
        self.space, self.name, self.seed = cell.space, plan.config.sampler, plan.config.seed
        self.points = [values for _, values in plan.first_points(cell)]
        self._inner: optuna.samplers.BaseSampler | None = None

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._inner = None
        if trial.number >= len(self.points) and self.name not in ("sobol",):
            self._inner = _make(self.name, 1_000_003 * self.seed + trial.number)
            self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        # Every trial has every knob. Optuna would find that out by comparing all trials, a second at 3,000 of them; and
        # CMA-ES leaves out what is no number.
        if self._inner is not None and self.name == "cmaes":
            return self._inner.infer_relative_search_space(study, trial)
        return self.space.distributions()

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self._inner is not None:
            return self._inner.sample_relative(study, trial, search_space)
        if trial.number < len(self.points):
            return self.points[trial.number]
        return self.space.sobol_point(trial.number - len(self.points), self.seed)

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
        return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return optuna.samplers.NSGAIISampler(seed=seed)


def _open(path: Path) -> optuna.storages.RDBStorage:
    if path.exists():
        try:
            with sqlite3.connect(path) as connection:
                if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok" or not path.stat().st_size:
                    raise sqlite3.DatabaseError("quick_check failed")
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{path}: damaged ({error}); use another --name, or restore the file") from None
    elif (path.parent / "runs").exists():
        raise StoreError(f"{path}: missing although there are runs; restore it, or use another --name")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})
