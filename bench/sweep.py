"""The coordinator of a sweep: ask -> run -> record -> tell, then confirm; it alone writes to Optuna and MLflow.

A record on disk is the truth about a run. The study follows it, so that the coordinator may be killed between any two
lines and go on where it was: a trial left RUNNING is told from its record, or waits to be run again under its number.
"""

import fcntl
import math
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from bench import plugins
from bench.config import RunConfig, train_settings
from bench.engines.local import Event, Job, LocalEngine
from bench.errors import StoreError, SweepLockedError
from bench.plan import SEEDS_A_SWEEP, Cell, Plan, freeze
from bench.record import Asked, RunRecord, add_crash, read_crashes, read_spec, records, write_json
from bench.search_spaces import SearchSpace
from bench.selection import best_trial, confirmations
from bench.stats import mean_interval
from bench.tracking import Tracker

RETRIES = {"stall": 1}  # of an attempt that died by this cause; signals otherwise:
SIGNAL_RETRIES = 3
PRUNER_STARTUP_TRIALS = 10  # full ones, before any is ended early, and none before a quarter of its steps


@dataclass
class Status:
    """Where a sweep stands, for a display."""

    plan: Plan
    finished_cells: int = 0
    finished_runs: int = 0
    running: dict[str, str] = field(default_factory=dict)  # run -> what it is at
    best: dict[str, tuple[str, float]] = field(default_factory=dict)  # dataset/length -> model, validation score
    failed: int = 0
    phase: str = "starting"
    seconds_left: float | None = None


class Display(Protocol):
    """What shows a sweep to a person."""

    def update(self, status: Status) -> None:
        """Show where the sweep stands; called several times a second."""

    def say(self, text: str) -> None:
        """Show a line that stays."""


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended."""

    exit_code: int  # 0 done, 3 nothing succeeded, 130 and 143 interrupted
    tracked: bool  # MLflow has everything
    experiments: dict[str, str]  # dataset -> MLflow experiment id


def run(plan: Plan, display: Display, engine: LocalEngine | None = None) -> Outcome:
    """Carry out a sweep, or go on with it. Raises SweepLockedError, DeclarationError and StoreError."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    engine = engine or LocalEngine(plan.slots, plan.config.stall_seconds)
    try:
        with _locked(plan.folder / "sweep.lock", plan.name):
            freeze(plan)
            engine.start_server()
            return _Coordinator(plan, display, engine).run()
    finally:
        engine.close()


def sync(folder: Path, results: Path) -> int:
    """Write every record of a sweep into MLflow again; return how many there are. Raises SweepLockedError."""
    with _locked(folder / "sweep.lock", folder.name):
        spec = read_spec(folder)
        tracker = Tracker(results, folder.name, folder, spec["command"])
        cells: dict[str, list[RunRecord]] = {cell_id: [] for cell_id in spec["spec"]["cells"]}
        for record in records(folder):
            if record.config.phase in ("screen", "confirm"):
                cells[_cell_id(record)].append(record)
                tracker.write_record(record)
        finished = True
        for cell_id, mine in cells.items():
            dataset, length, space = cell_id.split("/")
            state, metrics = _summary(mine)
            if len([record for record in mine if record.config.phase == "screen"]) < spec["trials"] or (
                state == "complete" and metrics["test/seeds"] < spec["confirm_seeds"]
            ):
                state, finished = "interrupted", False
            if mine:
                tracker.write_cell(dataset, int(length[1:]), space, state, metrics)
        datasets = sorted({cell_id.split("/")[0] for cell_id, mine in cells.items() if mine})
        tracker.write_sweep(datasets, "complete" if finished else "interrupted")
        if not tracker.close(timeout=3600):
            raise StoreError(f"{folder / 'mlflow.log'}: {tracker.errors} runs could not be written to MLflow")
        return sum(map(len, cells.values()))


def _cell_id(record: RunRecord) -> str:
    return f"{record.config.dataset}/L{record.config.length}/{record.config.space}"


def _summary(mine: list[RunRecord]) -> tuple[str, dict[str, float]]:
    """Return the state of a cell whose runs are done, and what stands for it on its MLflow page."""
    metrics: dict[str, float] = {"total_seconds": sum(record.seconds.total for record in mine)}
    best = best_trial(mine)
    if best is None:
        return "failed", metrics
    confirmed = confirmations(mine, best)
    name = f"test/{best.asked.metric}"
    scores = [record.test_score for record in confirmed if record.test_score is not None]
    metrics["test/seeds"] = len(confirmed)
    if best.asked.solved is not None:
        metrics["test/solved"] = sum(bool(record.solved) for record in confirmed)
        metrics[name] = statistics.median(scores) if scores else math.nan
    elif scores:
        metrics[name] = statistics.fmean(scores)
        metrics[f"{name}_ci_low"], metrics[f"{name}_ci_high"] = mean_interval(scores)
    return "complete", metrics


class _Coordinator:
    def __init__(self, plan: Plan, display: Display, engine: LocalEngine) -> None:
        self.plan, self.display, self.engine = plan, display, engine
        self.status = Status(plan)
        self.stop_signals: list[int] = []
        self.failures_in_a_row = 0
        self.any_success = False
        self.jobs: dict[str, tuple[Cell, RunConfig, optuna.Trial | None]] = {}
        self.records: dict[str, list[RunRecord]] = {cell.id: [] for cell in plan.cells}
        self.screened: set[str] = set()
        self.finished: set[str] = set()
        self.studies: dict[str, optuna.Study] = {}
        self.run_seconds: list[float] = []
        self.commit = _commit()
        self.storage = _open_storage(plan.folder / "study.db")
        datasets = sorted({cell.dataset.name for cell in plan.cells})
        self.tracker = Tracker(plan.config.results, plan.name, plan.folder, read_spec(plan.folder)["command"])
        self.tracker.write_sweep(datasets, "running")
        self.datasets = datasets

    def run(self) -> Outcome:
        """Screen and confirm every cell, then measure speed with nothing else running."""
        handlers = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._resume()
            self._work(self._search_jobs())
            if not self.stop_signals and self.any_success:
                self.status.phase = "measuring speed, one run at a time"
                self.engine.concurrency = 1
                self._work(self._speed_jobs())
        finally:
            self.engine.close()
            self._release_trials()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if self.stop_signals:
            for cell in self.plan.cells:
                if self.records[cell.id] and cell.id not in self.finished:
                    self.tracker.write_cell(cell.dataset.name, cell.length, cell.space.name, "interrupted", {})
        state = "interrupted" if self.stop_signals else "complete" if self.any_success else "failed"
        self.tracker.write_sweep(self.datasets, state)
        # Whoever stops a sweep does not wait for its projection: the next start, or `sync`, makes up for it.
        tracked = self.tracker.close(timeout=3.0 if self.stop_signals else 600.0)
        if self.stop_signals:
            return Outcome(128 + self.stop_signals[0], tracked, self.tracker.experiments)
        return Outcome(0 if self.any_success else 3, tracked, self.tracker.experiments)

    def _on_signal(self, number: int, frame: Any) -> None:
        self.stop_signals.append(number)
        if len(self.stop_signals) > 1:
            # At once: closing the life pipe has the kernel kill every run; the next start puts the trials right.
            os._exit(128 + number)

    def _resume(self) -> None:
        """Take up what an earlier coordinator left: its records, and the trials that were running."""
        begun = set(optuna.get_all_study_names(self.storage))
        for cell in self.plan.cells:
            if cell.id not in begun:
                continue
            study = self._study(cell)
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
                folder = self._folder(f"{cell.id}/t{trial.number}")
                record = RunRecord.read(folder)
                if record is None:
                    self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
                    continue
                if trial.state == TrialState.WAITING:  # its record came while it was given back
                    self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
                self._tell(study, trial.number, self._check_score(record, folder))
        for record in records(self.plan.folder):
            config = record.config
            cell_id = _cell_id(record)
            if config.phase in ("screen", "confirm") and cell_id in self.records:
                self._count(cell_id, record)
                self.tracker.write_record(record)  # the last coordinator may not have come to it
        if self.status.finished_runs:
            self.display.say(f"going on with {self.plan.name}: {self.status.finished_runs} runs are done")

    def _search_jobs(self) -> Iterator[Job | None]:
        """Yield runs as slots come free; None while all that is left depends on runs under way.

        Cells of one dataset and length are worked on side by side, so that no slot waits for the last trial of a cell
        before the cell's confirmation may begin.
        """
        groups: dict[tuple[str, int], list[Cell]] = {}
        for cell in self.plan.cells:
            groups.setdefault((cell.dataset.name, cell.length), []).append(cell)
        open_cells: list[Cell] = []
        pending = [self._baseline_job(cells[0]) for cells in groups.values()]
        yield from (job for job in pending if job is not None)
        for cells in groups.values():
            open_cells += cells
            self.status.phase = f"{cells[0].dataset.name} at {cells[0].length}"
            while True:
                job, open_cells = self._next_job(open_cells)
                if job is None:
                    break
                yield job
        while open_cells:
            self.status.phase = "last runs"
            job, open_cells = self._next_job(open_cells)
            if job is not None or open_cells:
                yield job

    def _next_job(self, cells: list[Cell]) -> tuple[Job | None, list[Cell]]:
        """Return the next run among `cells`, and the cells that are not finished."""
        still_open: list[Cell] = []
        job: Job | None = None
        for index, cell in enumerate(cells):
            job, finished = self._cell_job(cell)
            if not finished:
                still_open.append(cell)
            if job is not None:
                return job, still_open + cells[index + 1 :]
        return None, still_open

    def _cell_job(self, cell: Cell) -> tuple[Job | None, bool]:
        """Return a run that the cell can start now, if any, and whether the cell is finished."""
        mine = {run_id for run_id in self.jobs if run_id.startswith(cell.id + "/")}
        if cell.id not in self.screened:
            asked = len([record for record in self.records[cell.id] if record.config.phase == "screen"])
            if asked + len(mine) < self.plan.trials:
                return self._trial_job(cell), False
            if mine:
                return None, False
            self.screened.add(cell.id)
        best = best_trial(self.records[cell.id])
        if best is None:
            if not mine:
                self._finish_cell(cell)
            return None, not mine
        done = {record.config.run for record in confirmations(self.records[cell.id], best)}
        for index in range(self.plan.confirm_seeds):
            run_id = f"{cell.id}/t{best.config.number}-s{index}"
            if run_id not in done and run_id not in mine:
                return self._confirm_job(cell, best, run_id, index), False
        if not mine:
            self._finish_cell(cell)
        return None, not mine

    def _trial_job(self, cell: Cell) -> Job:
        study = self._study(cell)
        trial = study.ask(fixed_distributions=cell.space.distributions())
        crash_point("after_ask")
        seed = self.plan.config.seed * SEEDS_A_SWEEP
        run_id = f"{cell.id}/t{trial.number}"
        config = self._config(cell, run_id, "screen", trial.number, seed, trial.params)
        return self._prepare(cell, config, trial)

    def _confirm_job(self, cell: Cell, best: RunRecord, run_id: str, index: int) -> Job:
        seed = self.plan.config.seed * SEEDS_A_SWEEP + 1 + index
        update = {
            "run": run_id,
            "phase": "confirm",
            "number": index,
            "seed": seed,
            "evaluate_test": True,
            "ask_pruner": False,
        }
        return self._prepare(cell, best.config.model_copy(update=update), None)

    def _baseline_job(self, cell: Cell) -> Job | None:
        run_id = f"{cell.dataset.name}/L{cell.length}/_baselines"
        if RunRecord.read(self._folder(run_id)) is not None:
            return None
        return self._prepare(cell, self._config(cell, run_id, "baselines", 0, 0, cell.space.default), None)

    def _speed_jobs(self) -> Iterator[Job | None]:
        for cell in self.plan.cells:
            best = best_trial(self.records[cell.id])
            if best is None:
                continue
            run_id = f"{cell.id}/t{best.config.number}-speed"
            if RunRecord.read(self._folder(run_id)) is None:
                update = {"run": run_id, "phase": "speed", "ask_pruner": False}
                yield self._prepare(cell, best.config.model_copy(update=update), None)

    def _config(self, cell: Cell, run_id: str, phase: str, number: int, seed: int, values: dict[str, Any]) -> RunConfig:
        model_arguments, train = cell.space.split(values)
        return RunConfig(
            sweep=self.plan.name,
            run=run_id,
            phase=phase,  # type: ignore[arg-type]
            number=number,
            dataset=cell.dataset.name,
            task=cell.dataset.task,
            length=cell.length,
            task_arguments=cell.dataset.arguments,
            space=cell.space.name,
            model=cell.space.model,
            model_arguments=model_arguments,
            train=train_settings(self.plan.budget, train),
            seed=seed,
            device=self.plan.device,  # type: ignore[arg-type]
            threads=self.plan.threads,
            precision=self.plan.config.precision,
            ask_pruner=phase == "screen" and self._prunes(cell),
            space_hash=cell.space.hash,
            data_fingerprint=cell.dataset.fingerprint,
            commit=self.commit,
        )

    def _prepare(self, cell: Cell, config: RunConfig, trial: optuna.Trial | None) -> Job:
        folder = self._folder(config.run)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", config.model_dump(mode="json"))
        crash_point("after_config")
        self.jobs[config.run] = (cell, config, trial)
        return Job(config.run, folder, config.ask_pruner)

    def _work(self, jobs: Iterator[Job | None]) -> None:
        """Hand over runs and follow them until none is left, or the sweep is to stop."""
        more = True
        while (more or self.engine.busy) and not self.stop_signals:
            # One run more than there are slots is asked for, so that a slot never waits for Optuna.
            while more and self.engine.idle > 0:
                try:
                    job = next(jobs)
                except StopIteration:
                    more = False
                    break
                if job is None:
                    break
                self.engine.submit(job)
                self.status.running[job.id] = "waiting"
                crash_point("after_submit")
            self.display.update(self.status)
            for happened in self.engine.wait(0.25):
                if happened.kind == "ended":
                    self._on_end(happened)
                else:
                    self._on_report(happened)
            if self.failures_in_a_row >= self.plan.config.max_failures and not self.any_success:
                self.display.say(f"stopped: the first {self.failures_in_a_row} runs failed; see their log.txt")
                return
        self.display.update(self.status)

    def _on_report(self, happened: Event) -> None:
        cell, config, trial = self.jobs[happened.job.id]
        share = f"{100 * happened.steps // config.train.max_steps} %"
        self.status.running[happened.job.id] = (
            share if happened.value is None else f"{share}, {cell.task.metric} {happened.value:.3f}"
        )
        if happened.kind == "epoch" and config.ask_pruner:
            assert trial is not None
            if happened.steps not in self._frozen(trial).intermediate_values:  # a repeated attempt reports again
                trial.report(happened.value or 0.0, happened.steps)
            self.engine.decide(happened.job, not trial.should_prune())

    def _on_end(self, happened: Event) -> None:
        cell, config, trial = self.jobs[happened.job.id]
        folder = happened.job.folder
        try:
            record = RunRecord.read(folder)
        except StoreError as error:
            record = self._failure(happened, "bad_result", str(error))
        if record is None:
            cause = happened.cause or "bad_result"
            add_crash(folder, cause, happened.seconds)
            crash_point("after_crash")
            again = [crash for crash in read_crashes(folder) if crash["cause"] == cause]
            allowed = RETRIES.get(cause, 0 if cause.startswith(("exit", "bad")) else SIGNAL_RETRIES)
            if len(again) <= allowed:
                self.engine.submit(happened.job)
                return
            record = self._failure(happened, cause, f"the process ended ({cause}); see {folder}/log.txt")
        if config.phase in ("screen", "confirm"):
            record = self._check_score(record, folder)
        crash_point("after_record")
        if trial is not None:
            self._tell(self._study(cell), trial.number, record)
        crash_point("after_tell")
        del self.jobs[happened.job.id]
        self.status.running.pop(happened.job.id, None)
        if config.phase in ("screen", "confirm"):
            self._count(cell.id, record)
            self.tracker.write_record(record)
            self.run_seconds.append(happened.seconds)
            left = self.plan.num_runs - self.status.finished_runs
            average = sum(self.run_seconds) / len(self.run_seconds)
            self.status.seconds_left = left * average / self.engine.concurrency
        if record.state == "failed":
            self.display.say(f"failed: {config.run}: {record.cause}: {record.message}")

    def _failure(self, happened: Event, cause: str, message: str) -> RunRecord:
        cell, config, _ = self.jobs[happened.job.id]
        folder = happened.job.folder
        crashes = read_crashes(folder)
        seconds = sum(crash["seconds"] for crash in crashes) or happened.seconds
        record = RunRecord.model_validate(
            {
                "config": config,
                "asked": Asked.model_validate(cell.task),
                "state": "failed",
                "cause": cause,
                "message": message,
                "seconds": {"crashed": seconds, "total": seconds},
                "crashes": [crash["cause"] for crash in crashes],
                "started_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            }
        )
        record.write(folder)
        return record

    def _check_score(self, record: RunRecord, folder: Path) -> RunRecord:
        """Return the record, made a failure if it has no finite score: an infinite one would win for ever."""
        score = record.val_score
        if record.state != "complete" or (score is not None and math.isfinite(score)):
            return record
        cause, found = ("bad_result", "nothing") if score is None else ("non_finite", score)
        message = f"validation {record.asked.metric}: a finite number expected, but found {found}"
        record = record.model_copy(update={"state": "failed", "cause": cause, "message": message, "val": {}})
        record.write(folder)
        return record

    def _tell(self, study: optuna.Study, number: int, record: RunRecord) -> None:
        if record.state == "complete":
            study.tell(number, record.val_score)
        elif record.state == "pruned":
            study.tell(number, state=TrialState.PRUNED)
        else:
            trial_id = self.storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
            self.storage.set_trial_user_attr(trial_id, "cause", record.cause)
            study.tell(number, state=TrialState.FAIL)

    def _count(self, cell_id: str, record: RunRecord) -> None:
        self.records[cell_id].append(record)
        self.status.finished_runs += 1
        if record.state == "failed":
            self.status.failed += 1
            self.failures_in_a_row += 1
            return
        self.any_success = True
        self.failures_in_a_row = 0
        score = record.val_score
        key = f"{record.config.dataset} {record.config.length}"
        if score is not None and (key not in self.status.best or score > self.status.best[key][1]):
            self.status.best[key] = (record.config.space, score)

    def _finish_cell(self, cell: Cell) -> None:
        self.finished.add(cell.id)
        self.status.finished_cells = len(self.finished)
        state, metrics = _summary(self.records[cell.id])
        self.tracker.write_cell(cell.dataset.name, cell.length, cell.space.name, state, metrics)

    def _release_trials(self) -> None:
        """Let trials that were stopped wait for the next start, under their numbers and with their parameters."""
        for _, _, trial in self.jobs.values():
            if trial is not None and not self._frozen(trial).state.is_finished():
                self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def _frozen(self, trial: optuna.Trial) -> FrozenTrial:
        return self.storage.get_trial(trial._trial_id)

    def _study(self, cell: Cell) -> optuna.Study:
        if cell.id not in self.studies:
            pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
            if self._prunes(cell):
                warmup = train_settings(self.plan.budget, {}).max_steps // 4
                pruner = optuna.pruners.MedianPruner(n_startup_trials=PRUNER_STARTUP_TRIALS, n_warmup_steps=warmup)
            self.studies[cell.id] = optuna.create_study(
                study_name=cell.id,
                storage=self.storage,
                direction=cell.task.goal,
                sampler=_Points(cell.space, self.plan.config.seed),
                pruner=pruner,
                load_if_exists=True,
            )
        return self.studies[cell.id]

    def _prunes(self, cell: Cell) -> bool:
        """A task that is solved of a sudden has a flat curve until then: a pruner would kill the winners."""
        return cell.task.solved is None and self.plan.trials > PRUNER_STARTUP_TRIALS

    def _folder(self, run_id: str) -> Path:
        return self.plan.folder / "runs" / run_id


class _Points(optuna.samplers.BaseSampler):
    """Hands Optuna the point that the search space has for a trial's number."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space, self.seed = space, seed

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        return self.space.distributions()

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        return self.space.point(trial.number, self.seed)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: Any) -> Any:
        raise AssertionError(f"{name} is not in the search space of {study.study_name}")


def crash_point(name: str) -> None:
    """Kill this process here, if a test of recovery asks for it."""
    if os.environ.get("BENCH_CRASH_AT") == name and os.environ.get("BENCH_TESTING") == "1":
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def _locked(path: Path, name: str) -> Iterator[None]:
    """Hold the sweep's lock; the kernel lets go of it when the process dies, however it dies."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise SweepLockedError(f"sweep {name} is being worked on by {holder}") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        os.set_inheritable(file.fileno(), False)
        yield


def _open_storage(path: Path) -> optuna.storages.RDBStorage:
    """Open the study's database. Raises StoreError where it is damaged, or gone although there were runs."""
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


def _commit() -> str:
    """Return the commit of the code, marked if it was changed since; empty outside a checkout."""
    root = Path(plugins.__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
