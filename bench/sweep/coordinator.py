"""The coordinator of a sweep: ask -> run -> record -> tell, then confirm; it alone writes to Optuna and MLflow.

A record on disk is the truth about a run. The study follows it, so that the coordinator may be killed between any two
lines and go on where it was: a trial left RUNNING is told from its record, or waits to be run again under its number.
"""

import fcntl
import math
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Protocol

from bench.config import plugins
from bench.config.ids import CellId, RunId
from bench.config.settings import RunConfig
from bench.errors import StoreError, SweepLockedError
from bench.results.cell_runs import CellRuns
from bench.results.record import Asked, RunRecord, add_crash, all_records, read_crashes, write_json
from bench.sweep.engines.local import Event, Job, LocalEngine
from bench.sweep.engines.machine import check_gpus
from bench.sweep.meter import Meter
from bench.sweep.prepare import SEEDS_A_SWEEP, Cell, Plan, freeze, note_end, run_config
from bench.sweep.studies import Studies
from bench.tracking import projection
from bench.tracking.writer import Writer

RETRIES = {"stall": 1}  # of an attempt that died by this cause; signals otherwise:
SIGNAL_RETRIES = 3
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_STOP_SECONDS = 0.5
"""Signals this close together are one stop: `timeout` sends two, and a closing terminal often does."""


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

    exit_code: int  # 0 done, 3 nothing succeeded; 129, 130 and 143: interrupted
    ended_by: str | None  # the budget that ended it before all runs were made
    tracked: bool  # MLflow has everything
    experiments: dict[str, str]  # dataset -> MLflow experiment id


def run(plan: Plan, display: Display, engine: LocalEngine | None = None) -> Outcome:
    """Carry out a sweep, or go on with it. Raises SweepLockedError, HardwareError, DeclarationError, StoreError."""
    if plan.device == "cuda":
        check_gpus(plan.slots)
    plan.folder.mkdir(parents=True, exist_ok=True)
    engine = engine or LocalEngine(plan.slots, plan.config.stall_seconds)
    try:
        with _locked(plan.folder / "sweep.lock", plan.name):
            freeze(plan)
            engine.start_server()
            return _Coordinator(plan, display, engine).run()
    finally:
        engine.close()


def sync(folder: Path, results: Path, say: Callable[[str], None]) -> int:
    """Write every record of a sweep into MLflow again; return how many there are. Raises SweepLockedError, StoreError.

    `say` gets a line if the store was damaged and is made again.
    """
    with _locked(folder / "sweep.lock", folder.name):
        return projection.sync(folder, results, say)


class _Coordinator:
    def __init__(self, plan: Plan, display: Display, engine: LocalEngine) -> None:
        self.plan, self.display, self.engine = plan, display, engine
        self.status = Status(plan)
        self.stop_signals: list[int] = []
        self.stopped_at = 0.0
        self.attempts: Counter[tuple[str, str]] = Counter()  # of this session that died, by run and cause
        self.failures_in_a_row = 0
        self.any_success = False
        self.jobs: dict[str, tuple[Cell, RunConfig]] = {}
        self.records = {cell.id: CellRuns((), plan.budget.top_k) for cell in plan.cells}
        self.screened: set[CellId] = set()
        self.finished: set[CellId] = set()
        self.run_seconds: list[float] = []
        self.commit = _commit()
        self.studies = Studies(plan)
        self.meter = Meter(plan)
        self.ended_by: str | None = None
        datasets = sorted({cell.dataset.name for cell in plan.cells})
        self.tracker = Writer(plan.config.results, plan.folder, display.say)
        self.tracker.write_sweep(datasets, "running")
        self.datasets = datasets

    def run(self) -> Outcome:
        """Screen and confirm every cell, then measure speed with nothing else running."""
        ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()  # by nohup
        handlers = {number: signal.signal(number, self._on_signal) for number in {*STOP_SIGNALS} - ignored}
        try:
            return self._run()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _run(self) -> Outcome:
        try:
            self._resume()
            self._work(self._search_jobs())
            if not self.stop_signals and self.any_success:
                self.status.phase, self.status.seconds_left = "measuring speed, one run at a time", None
                self.engine.concurrency = 1
                self._work(self._speed_jobs())
        finally:
            self.engine.close()
            self._release_trials()
        if self.stop_signals:
            for cell in self.plan.cells:
                if self.records[cell.id].records and cell.id not in self.finished:
                    self.tracker.write_cell(cell.id, "interrupted", {})
        if not self.stop_signals:
            note_end(self.plan, self.ended_by)
        state = "interrupted" if self.stop_signals else "complete" if self.any_success else "failed"
        self.tracker.write_sweep(self.datasets, state)
        # Whoever stops a sweep does not wait for its projection: the next start, or `sync`, makes up for it.
        tracked = self.tracker.close(3.0 if self.stop_signals else None)
        if self.stop_signals:
            return Outcome(128 + self.stop_signals[0], None, tracked, self.tracker.experiments)
        return Outcome(0 if self.any_success else 3, self.ended_by, tracked, self.tracker.experiments)

    def _on_signal(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self.stop_signals and now - self.stopped_at < SAME_STOP_SECONDS:
            return
        self.stopped_at = now
        if number == signal.SIGHUP:
            _silence_closed_terminal()
        self.stop_signals.append(number)
        if len(self.stop_signals) > 1:
            # At once: closing the life pipe has the kernel kill every run; the next start puts the trials right.
            os._exit(128 + number)

    def _resume(self) -> None:
        """Take up what an earlier coordinator left: its records, and the trials that were running."""
        for cell in self.plan.cells:
            for number in self.studies.unfinished(cell):
                folder = self._folder(cell.id.trial(number))
                record = RunRecord.read(folder)
                if record is None:
                    self.studies.give_back(cell, number)
                else:
                    self.studies.tell(cell, self._check_score(record, folder))
        for record in all_records(self.plan.folder):
            cell_id = record.config.cell
            self.meter.add(record, of_earlier_session=True)
            if record.config.phase in ("screen", "confirm", "test") and cell_id in self.records:
                self._count(cell_id, record)
        for mine in self.records.values():
            self.tracker.write_missing(mine)
        if self.status.finished_runs:
            self.display.say(f"going on with {self.plan.name}: {self.status.finished_runs} runs are done")

    def _search_jobs(self) -> Iterator[Job | None]:
        """Yield runs as slots come free; None while all that is left depends on runs under way.

        Cells of one dataset and length are worked on side by side, so that no slot waits for the last trial of a cell
        before the cell's confirmation may begin.
        """
        groups: dict[tuple[str, int], list[Cell]] = {}
        for cell in self.plan.cells:
            # Where the budget may end the sweep anywhere, all cells go forward together.
            group = ("all", 0) if self.meter.is_limited else (cell.dataset.name, cell.length)
            groups.setdefault(group, []).append(cell)
        open_cells: list[Cell] = []
        firsts = {(cell.dataset.name, cell.length): cell for cell in reversed(self.plan.cells)}
        pending = [self._baseline_job(cell) for cell in reversed(firsts.values())]
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
        if self.meter.is_limited:
            cells = sorted(cells, key=lambda cell: len(self.records[cell.id].records) + len(self._running(cell)))
        for index, cell in enumerate(cells):
            job, finished = self._cell_job(cell)
            if not finished:
                still_open.append(cell)
            if job is not None:
                return job, still_open + cells[index + 1 :]
        return None, still_open

    def _cell_job(self, cell: Cell) -> tuple[Job | None, bool]:
        """Return a run that the cell can start now, if any, and whether the cell is finished."""
        mine, running = self.records[cell.id], self._running(cell)
        seeds = self.plan.budget.confirm_seeds
        if cell.id not in self.screened:
            if len(mine.screened) + len(running) < self.plan.budget.trials and not self._is_spent(cell, reserve=seeds):
                return self._trial_job(cell), False
            if running:
                return None, False
            self.screened.add(cell.id)
        done = {record.config.run for record in mine.records}
        for place, trial in enumerate(mine.to_confirm):
            # Before a second configuration is confirmed, something is kept for the best one of every cell.
            reserve = seeds if place else 0
            for index in range(seeds):
                run_id = str(trial.config.id.confirmation(index))
                if run_id not in done and run_id not in running and not self._is_spent(cell, reserve):
                    return self._confirm_job(cell, trial, run_id, index), False
        if running:
            return None, False
        job = self._test_job(cell)
        if job is not None:
            return job, False
        self._finish_cell(cell)
        return None, True

    def _running(self, cell: Cell) -> set[str]:
        return {run_id for run_id in self.jobs if RunId.parse(run_id).cell == cell.id}

    def _is_spent(self, cell: Cell, reserve: int = 0) -> bool:
        """Whether a further run of the cell, and `reserve` seeds for each cell's best, would exceed a budget."""
        reason = self.meter.reason_to_stop(self.records, cell, reserve, [run for _, run in self.jobs.values()])
        if reason and not self.ended_by:
            self.ended_by = reason
            self.display.say(f"budget: {reason}; no more trials are begun, the best so far are confirmed")
        return reason is not None

    def _trial_job(self, cell: Cell) -> Job:
        draw = self.studies.ask(cell, self.records[cell.id].records)
        crash_point("after_ask")
        run_id = cell.id.trial(draw.number)
        more = {"number": draw.number, "origin": draw.origin, "ask_pruner": self.studies.prunes(cell)}
        return self._prepare(cell, run_config(self.plan, cell, run_id, "screen", draw.values, **more))

    def _confirm_job(self, cell: Cell, trial: RunRecord, run_id: str, index: int) -> Job:
        seed = self.plan.config.seed * SEEDS_A_SWEEP + 1 + index
        update = {"run": run_id, "phase": "confirm", "number": index, "seed": seed, "ask_pruner": False}
        return self._prepare(cell, trial.config.model_copy(update=update))

    def _test_job(self, cell: Cell) -> Job | None:
        """Return the run that opens the test split for the chosen configuration, where it has not been opened yet."""
        mine = self.records[cell.id]
        chosen, untested = mine.chosen, mine.untested
        if chosen is None or not untested:
            return None
        for run in untested:
            if not (self._folder(run.config.id) / "weights.pt").exists():  # it was not the chosen one before
                self.records[cell.id] = mine.without(run)
                return self._confirm_job(cell, chosen, run.config.run, run.config.number)
        opens = tuple(run.config.run for run in untested)
        update = {
            "run": str(chosen.config.id.test(len(mine.tests))),
            "phase": "test",
            "opens_test_of": opens,
            "ask_pruner": False,
        }
        return self._prepare(cell, chosen.config.model_copy(update=update))

    def _baseline_job(self, cell: Cell) -> Job | None:
        run_id = cell.id.baselines()
        if RunRecord.read(self._folder(run_id)) is not None:
            return None
        return self._prepare(cell, run_config(self.plan, cell, run_id, "baselines", cell.space.default))

    def _speed_jobs(self) -> Iterator[Job | None]:
        for cell in self.plan.cells:
            best = self.records[cell.id].chosen
            if best is None:
                continue
            run_id = best.config.id.speed()
            if RunRecord.read(self._folder(run_id)) is None:
                update = {"run": str(run_id), "phase": "speed", "ask_pruner": False}
                yield self._prepare(cell, best.config.model_copy(update=update))

    def _prepare(self, cell: Cell, config: RunConfig) -> Job:
        config = config.model_copy(update={"commit": self.commit})
        folder = self._folder(config.id)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", config.model_dump(mode="json"))
        crash_point("after_config")
        self.jobs[config.run] = (cell, config)
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
        cell, config = self.jobs[happened.job.id]
        share = f"{100 * happened.steps // config.train.max_steps} %"
        self.status.running[happened.job.id] = (
            share if happened.value is None else f"{share}, {cell.task.metric} {happened.value:.3f}"
        )
        if happened.kind == "epoch" and config.ask_pruner:
            keep_going = self.studies.keep_going(cell, config.number, happened.steps, happened.value or 0.0)
            self.engine.decide(happened.job, keep_going)

    def _on_end(self, happened: Event) -> None:
        cell, config = self.jobs[happened.job.id]
        folder = happened.job.folder
        try:
            record = RunRecord.read(folder)
        except StoreError as error:
            record = self._failure(happened, "bad_result", str(error))
        if record is None:
            if self.stop_signals:
                return  # the stop may have ended the run too: it stays open, and the next start runs it again
            cause = happened.cause or "bad_result"
            add_crash(folder, cause, happened.seconds)
            crash_point("after_crash")
            # Earlier sessions do not count: what ended their runs may be what ended them.
            self.attempts[config.run, cause] += 1
            allowed = RETRIES.get(cause, 0 if cause.startswith(("exit", "bad")) else SIGNAL_RETRIES)
            if self.attempts[config.run, cause] <= allowed:
                self.engine.submit(happened.job)
                return
            record = self._failure(happened, cause, f"the process ended ({cause}); see {folder}/log.txt")
        if config.phase in ("screen", "confirm"):
            record = self._check_score(record, folder)
            crash_point("after_record")
        if config.phase == "screen":
            self.studies.tell(cell, record)
        crash_point("after_tell")
        del self.jobs[happened.job.id]
        self.status.running.pop(happened.job.id, None)
        self.meter.add(record)
        if config.phase == "test":
            self._on_tested(cell, record)
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
        cell, config = self.jobs[happened.job.id]
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

    def _on_tested(self, cell: Cell, record: RunRecord) -> None:
        self.records[cell.id] = self.records[cell.id].plus(record)
        for run in self.records[cell.id].with_tests():
            if run.config.run in record.config.opens_test_of:
                self.tracker.write_record(run)
            elif run.config.phase == "confirm" and record.state == "complete":
                (self._folder(run.config.id) / "weights.pt").unlink(missing_ok=True)  # only the chosen one's are kept

    def _count(self, cell_id: CellId, record: RunRecord) -> None:
        self.records[cell_id] = self.records[cell_id].plus(record)
        if record.config.phase == "test":
            return
        self.status.finished_runs += 1
        if record.state == "failed":
            self.status.failed += 1
            self.failures_in_a_row += 1
            return
        self.any_success |= record.state == "complete"
        self.failures_in_a_row = 0
        score, sign = record.val_score, record.asked.sign
        key = f"{record.config.dataset} {record.config.length}"
        if score is not None and (key not in self.status.best or sign * score > sign * self.status.best[key][1]):
            self.status.best[key] = (record.config.space, score)

    def _finish_cell(self, cell: Cell) -> None:
        self.finished.add(cell.id)
        self.status.finished_cells = len(self.finished)
        self.tracker.write_cell(cell.id, *projection.cell_summary(self.records[cell.id]))

    def _release_trials(self) -> None:
        """Let trials that were stopped wait for the next start, under their numbers and with their parameters."""
        for cell, config in self.jobs.values():
            if config.phase == "screen":
                self.studies.give_back(cell, config.number)

    def _folder(self, run_id: RunId) -> Path:
        return self.plan.folder / "runs" / str(run_id)


def _silence_closed_terminal() -> None:
    """Discard further output to a terminal that was closed, as every write to it would raise."""
    null = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(output).st_mode) and not os.isatty(output):
                os.dup2(null, output)
    os.close(null)


def leave(exit_code: int) -> NoReturn:
    """End this process with an exit code.

    After a stop, at once: MLflow's thread may still be at work, and Python aborts if it ends such a thread in C++ code.
    """
    if exit_code >= 128:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)


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


def _commit() -> str:
    """Return the commit of the code, marked if it was changed since; empty outside a checkout."""
    root = Path(plugins.__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
