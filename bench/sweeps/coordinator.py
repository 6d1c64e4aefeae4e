"""The coordinator of a sweep: it alone writes to Optuna and MLflow, and executes what `next_step` says.

The record on disk is authoritative, and the study follows it. So the coordinator may be killed between any two
lines: the next one tells the study what the records say, and runs again what has no record, under the same number.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.config.ids import CellId, RunId
from bench.config.settings import RunConfig
from bench.errors import BenchError, StoreError
from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord, add_crash, all_records, lean, read_crashes
from bench.sweeps import prepare, shared_studies
from bench.sweeps.cells import Cell
from bench.sweeps.disk import check_local, check_room
from bench.sweeps.engines.engine import Engine, Event, Job
from bench.sweeps.jobs import Jobs, crash_point, run_folder
from bench.sweeps.lock import locked, remove_leftovers
from bench.sweeps.meter import Meter
from bench.sweeps.next_step import Confirm, Done, Test, Trial, Wait, next_step
from bench.sweeps.prepare import Plan
from bench.sweeps.status import Display, Outcome, Status
from bench.sweeps.stop import Stop
from bench.sweeps.studies import Studies
from bench.sweeps.terms import freeze, note_end
from bench.sweeps.timed_search import TimedSearch, Timing
from bench.tracking import projection
from bench.tracking.writer import Writer
from bench.wording import count, first

RETRIES = {"stall": 1}  # of an attempt that died by this cause; signals otherwise:
SIGNAL_RETRIES = 3

SEARCH = ("screen", "confirm", "test")
"""The phases of the runs that the search itself makes."""


def run(
    plan: Plan,
    display: Display,
    engine: Engine | None = None,
    began: float | None = None,
    stop: Stop | None = None,
    measures_speed: bool = True,
) -> Outcome:
    """Carry out or resume a sweep. Raises SweepLockedError, HardwareError, DeclarationError, StoreError.

    `began` is the monotonic time from which a budget of time counts, by default now. `stop` decides what signals do.
    Without `measures_speed` there is no exclusive pass, which a sweep otherwise ends with.
    """
    began = time.monotonic() if began is None else began
    engine = engine or prepare.make_engine(plan)
    plan.folder.mkdir(parents=True, exist_ok=True)
    try:
        check_local(plan.folder)
        check_room(plan.folder)
        with locked(plan.folder):
            remove_leftovers(plan.folder)
            for remark in freeze(plan):
                display.say(remark)
            engine.start_server()
            with shared_studies.locked(plan.folder), Stop() if stop is None else stop as stop:
                timing = None
                if plan.seconds is not None:
                    timing = Timing(plan, began)
                    timing.measure(engine, display)
                    plan = timing.plan
                return _Coordinator(plan, display, engine, stop, timing).run(measures_speed)
    finally:
        engine.close()


def sync(folder: Path, results: Path, say: Callable[[str], None]) -> int:
    """Write every record of a sweep into MLflow again; return how many there are. Raises SweepLockedError, StoreError.

    `say` gets a line if the store was damaged and is rebuilt.
    """
    with locked(folder):
        return projection.sync(folder, results, say)


class _Coordinator:
    def __init__(self, plan: Plan, display: Display, engine: Engine, stop: Stop, timing: Timing | None = None) -> None:
        self.plan, self.display, self.engine, self.stop, self.timing = plan, display, engine, stop, timing
        self.status, self.meter, self.studies = Status(plan), Meter(plan), Studies(plan)
        self.tracker = Writer(plan.config.results, plan.folder, display.say)
        self.runs = {cell.id: CellRuns((), plan.budget.top_k) for cell in plan.cells}
        self.trials = {cell.id: plan.trials_of(cell) for cell in plan.cells}  # fewer once the budget ends the search
        self.jobs = Jobs(plan, self.studies, self.runs)
        self.attempts: Counter[tuple[str, str]] = Counter()  # that died in this session, by run and cause
        self.measured: list[Cell] = []  # whose exclusive pass ended in this session
        self.ended_by: str | None = None
        self._shared: dict[Any, Any] = {}  # parts of records, see `lean`

    def run(self, measures_speed: bool = True) -> Outcome:
        """Screen and confirm every cell, then measure speed with nothing else running, unless this is not wanted."""
        datasets = sorted({cell.dataset.name for cell in self.plan.cells})
        self.tracker.write_sweep(datasets, "running")
        try:
            self._resume()
            self._predict_end()
            self._work(self._search_jobs())
            self._finish_halved()
            if not self.stop:
                self._say_what_is_confirmed()
            if not self.stop and self.status.any_success and measures_speed:
                self.status.phase = "measuring speed, one run at a time"
                self.engine.concurrency = 1
                self._predict_end()
                self.tracker.drain(5.0)  # what is written meanwhile would take a core from what is measured
                self._work(self.jobs.speeds())
        except BenchError:
            self.engine.close()
            self.tracker.close(3.0)
            raise
        finally:
            self.engine.close()
            self._release_trials()
        for cell in self.measured:
            self._track(cell)
        if self.stop:
            for cell in self.plan.cells:
                if self.runs[cell.id].records and cell.id not in self.status.finished:
                    self.tracker.write_cell(cell.id, "interrupted")
        else:
            note_end(self.plan, self.ended_by)
        if self.timing is not None:
            self.timing.note(at_once=True)
        state = "interrupted" if self.stop else "complete" if self.status.any_success else "failed"
        self.tracker.write_sweep(datasets, state)
        # A sweep that is stopped, or whose time is over, does not wait for MLflow: `sync` writes what is missing.
        patience = None if self.timing is None else self.timing.pace.closing
        tracked = self.tracker.close(3.0 if self.stop else patience)
        if self.stop:
            return Outcome(self.stop.exit_code, None, tracked, self.tracker.experiments)
        return Outcome(0 if self.status.any_success else 3, self.ended_by, tracked, self.tracker.experiments)

    def _resume(self) -> None:
        """Read the records of earlier sessions, and tell the studies what they do not know yet."""
        halved = {cell.id for cell in self.plan.cells if self.plan.is_halved(cell)}
        found: dict[CellId, dict[str, RunRecord]] = {}
        for record in all_records(self.plan.folder):
            if record.config.cell in halved and record.config.phase in SEARCH:  # its epochs decide what continues
                record = RunRecord.read(run_folder(self.plan, record)) or record
            self.meter.add(record, of_earlier_session=True)
            self.status.time_left.add(record, record.seconds.total - record.seconds.crashed)
            if record.config.phase in SEARCH and record.config.cell in self.runs:
                # A coordinator may have been killed between the end of the run and this check.
                record = self._check_score(record) if record.config.phase != "test" else record
                known = found.setdefault(record.config.cell, {})
                is_new = known.pop(record.config.run, None) is None
                known[record.config.run] = record
                if record.config.phase != "test":
                    self.status.count(record, is_new)
        self.runs |= {cell: CellRuns(tuple(runs.values()), self.plan.budget.top_k) for cell, runs in found.items()}
        for cell in self.plan.cells:
            runs = self.runs[cell.id]
            ended = {run.config.number: run for run in runs.screened}
            for number in self.studies.unfinished(cell):
                if number in ended:
                    self.studies.tell(cell, ended[number])
                else:
                    self.studies.give_back(cell, number)
            self.jobs.missing[cell.id] = self.studies.missing(cell, set(ended))
            self._warn_of_deleted(cell)
            self.tracker.write_missing(CellRuns(tuple(r for r in runs.records if not r.is_paused), runs.top_k))
        if self.status.finished_runs:
            total = self.plan.num_runs
            most = "" if total is None else f" of at most {max(total, self.status.finished_runs)}"
            self.display.say(f"Resuming {self.plan.name}: {self.status.finished_runs}{most} runs are done")
            if self.timing is not None and self.timing.pace.end < time.monotonic():
                self.display.say(f"--budget {self.plan.config.budget} is spent; a longer --budget continues the sweep")

    def _warn_of_deleted(self, cell: Cell) -> None:
        """Say which runs of a cell are repeated because they had ended, and their records are gone."""
        runs = self.runs[cell.id]
        known = {run.config.run for run in runs.records}
        deleted = [str(cell.id.trial(number)) for number in self.jobs.missing[cell.id]]
        deleted += [run for test in runs.tests for run in test.config.opens_test_of if run not in known]
        if deleted:
            self.display.say(
                f"Records are missing and their runs are repeated with the same values: {first(deleted, 5)}"
            )

    def _search_jobs(self) -> Iterator[Job | None]:
        """Yield runs as slots come free; None while all that is left depends on runs under way.

        The first trial of every cell comes first: what fails, and how long the sweep takes, then shows early. After
        that, cells of one dataset and length are worked on side by side, so that no slot waits for the last trial of a
        cell before the cell's confirmation may begin.
        """
        groups: dict[tuple[str, int], list[Cell]] = {}
        for cell in self.plan.cells:
            if self.plan.is_halved(cell):
                continue
            # Where the budget may end the sweep anywhere, all cells advance together.
            group = ("all", 0) if self.meter.is_limited else (cell.dataset.name, cell.length)
            groups.setdefault(group, []).append(cell)
        firsts = {(cell.dataset.name, cell.length): cell for cell in reversed(self.plan.cells)}
        end = None if self.timing is None else self.timing.pace.end
        pending = [self.jobs.baselines(cell, end) for cell in reversed(firsts.values())]
        yield from (job for job in pending if job is not None)
        self.status.phase = "first trials"
        for cell in [cell for cells in groups.values() for cell in cells]:
            if not self.runs[cell.id].records and not self._running(cell):
                first = self._cell_job(cell)
                if isinstance(first, Job):
                    yield first
        open_cells: list[Cell] = []
        for cells in groups.values():
            open_cells += cells
            self.status.phase = f"{cells[0].dataset.name} at {cells[0].length}"
            while (job := self._next_job(open_cells)) is not None:
                yield job
        self.status.phase = "last runs"
        while (job := self._next_job(open_cells)) is not None or open_cells:
            yield job
        if self.timing is not None:
            yield from TimedSearch(self, self.timing).jobs()

    def _next_job(self, open_cells: list[Cell]) -> Job | None:
        """Return the next run of the open cells, if one can start now; remove the cells that are done."""
        cells = list(open_cells)
        if self.meter.is_limited:
            cells.sort(key=lambda cell: len(self.runs[cell.id].records) + len(self._running(cell)))
        for cell in cells:
            job = self._cell_job(cell)
            if isinstance(job, Job):
                return job
            if isinstance(job, Done):
                open_cells.remove(cell)
                self._finish_cell(cell)
        return None

    def _cell_job(self, cell: Cell) -> Job | Wait | Done:
        """Return the next run of a cell, or why none starts."""
        seeds = self.plan.budget.confirm_seeds
        step = next_step(
            self.runs[cell.id],
            self._running(cell),
            self.trials[cell.id],
            seeds,
            missing=self.jobs.missing[cell.id],
            fits=lambda reserved: self._fits(cell, reserved),
            has_weights=self.jobs.has_weights,
        )
        match step:
            case Trial(number):
                return self.jobs.trial(cell, number)
            case Wait():
                return step
        # The search of this cell is over: no later estimate of the budget reopens it.
        self.trials[cell.id] = min(self.trials[cell.id], len(self.runs[cell.id].screened))
        match step:
            case Confirm(trial, index, old):
                return self.jobs.confirmation(cell, trial, index, old)
            case Test(chosen, runs):
                return self.jobs.test(cell, chosen, runs)
        return step

    def _running(self, cell: Cell) -> set[RunId]:
        return {
            config.id for _, config in self.jobs.under_way.values() if config.phase in SEARCH and config.cell == cell.id
        }

    def _fits(self, cell: Cell, seeds: int) -> bool | None:
        """Return whether the budget allows a further run of the cell; None if no run has shown yet what one takes."""
        if self.meter.is_limited and not any(runs.records for runs in self.runs.values()):
            return None
        reason = self.meter.exceeded(self.runs, cell, seeds, [config for _, config in self.jobs.under_way.values()])
        if reason and not self.ended_by:
            self.ended_by = reason
            self.display.say(f"Budget: {reason}. No more trials start; what is left of it goes to the best ones.")
        return reason is None

    def _say_what_is_confirmed(self) -> None:
        """Say what the budget that ended the search left room for."""
        if self.ended_by is None or not self.plan.budget.confirm_seeds:
            return
        seeds = {cell: sum(run.test is not None for run in runs.confirmed) for cell, runs in self.runs.items()}
        tested = [number for number in seeds.values() if number]
        text = f"{len(tested)} of {count(len(seeds), 'cell')} with a test score"
        if tested:
            fewest, most = min(tested), max(tested)
            spread = f"{most}" if fewest == most else f"{fewest} to {most}"
            text += f", on {spread} of {count(self.plan.budget.confirm_seeds, 'seed')}"
        if len(tested) < len(seeds):
            text += "; give a larger budget to the same command to confirm the others"
        self.display.say(f"Budget: {text}.")

    def _work(self, jobs: Iterator[Job | None]) -> None:
        """Submit runs and follow them until none is left, or the sweep is to stop."""
        is_exhausted = False
        while (not is_exhausted or self.engine.busy) and not self.stop:
            # There is one run more than there are slots, so that a slot never waits for Optuna.
            while not is_exhausted and not self.stop and self.engine.idle > 0:
                try:
                    job = next(jobs)
                except StopIteration:
                    is_exhausted = True
                    break
                if job is None:
                    break
                self.engine.submit(job)
                self.status.running[job.id] = "waiting"
                crash_point("after_submit")
            self.display.update(self.status)
            for event in self.engine.wait(0.25):
                if event.kind == "ended":
                    self._on_end(event)
                else:
                    self._on_report(event)
            failures = self.status.failures_in_a_row
            if failures >= self.plan.config.max_failures and not self.status.any_success:
                self.display.say(f"stopped: the first {failures} runs failed; see their log.txt")
                return
        self.display.update(self.status)

    def _on_report(self, event: Event) -> None:
        cell, config = self.jobs.under_way[event.job.id]
        progress = f"{100 * event.steps // config.train.max_steps} %"
        if event.value is not None:
            progress += f", {cell.task.metric} {event.value:.3f}"
        self.status.running[event.job.id] = progress
        if event.kind == "epoch" and config.ask_pruner:
            keep_going = self.studies.keep_going(cell, config.number, event.steps, event.value or 0.0)
            self.engine.decide(event.job, keep_going)

    def _outcome(self, event: Event, cell: Cell, config: RunConfig) -> RunRecord | None:
        """Return the record of a run that ended; None if it runs again, now or at the next start."""
        folder, earlier = event.job.folder, None
        try:
            record = RunRecord.read(folder)
            cause, message = "bad_result", ""
        except StoreError as error:
            record, cause, message = None, "bad_result", str(error)
        if record is not None and record.is_paused and record.config.pause_after != config.pause_after:
            record, earlier = None, record  # the process died before it replaced the record of its last pause
        if record is None or record.cause == "error":
            self._check_room(folder)
        if record is not None:
            return record
        if self.stop:
            return None  # the stop may have ended the run too: it stays open
        if not message:
            cause = event.cause or cause
            message = f"the process ended ({cause}); see {folder}/log.txt"
            remove_leftovers(folder)
            add_crash(folder, cause, event.seconds)
            crash_point("after_crash")
            # Earlier sessions do not count: what ended their runs may be what ended them.
            self.attempts[config.run, cause] += 1
            allowed = RETRIES.get(cause, 0 if cause.startswith(("exit", "bad")) else SIGNAL_RETRIES)
            if self.attempts[config.run, cause] <= allowed:
                self.engine.submit(event.job)
                return None
        crashes = read_crashes(folder) or [{"cause": cause, "seconds": event.seconds}]
        record = RunRecord.of_dead_run(config, cell.task, cause, message, crashes)
        if earlier is not None:
            record = record.continuing(earlier)
        record.write(folder)
        return record

    def _check_room(self, folder: Path) -> None:
        """Leave a run that failed without an outcome if the disk is full. Raises StoreError."""
        try:
            check_room(folder)
        except StoreError:
            (folder / "record.json").unlink(missing_ok=True)
            raise

    def _on_end(self, event: Event) -> None:
        cell, config = self.jobs.under_way[event.job.id]
        record = self._outcome(event, cell, config)
        if record is None:
            return
        if config.phase in ("screen", "confirm"):
            record = self._check_score(record)
            crash_point("after_record")
        if config.phase == "screen":
            self.studies.tell(cell, record)
        crash_point("after_tell")
        del self.jobs.under_way[config.run]
        self.status.running.pop(config.run, None)
        self.meter.add(record)
        if config.phase in SEARCH:
            self._count(record)
        if config.phase == "test":
            self._on_tested(cell, record)
        if config.phase in ("screen", "confirm") and not record.is_paused:  # else it is written when it has ended
            self.tracker.write_record(record)
        if config.phase == "speed":
            self.measured.append(cell)
        self.status.time_left.add(record, event.seconds)
        self._predict_end()
        if record.state == "failed":
            self.display.say(f"failed: {config.run}: {record.cause}: {record.message}")

    def _predict_end(self) -> None:
        """Predict when the sweep ends."""
        running = sum(config.phase in ("screen", "confirm") for _, config in self.jobs.under_way.values())
        self.status.predict(self.runs, min(running, self.engine.concurrency), self.engine.concurrency)

    def _check_score(self, record: RunRecord) -> RunRecord:
        """Return the record, made a failure if it has no finite score: an infinite one would win for ever."""
        score = record.val_score
        if record.state != "complete" or (score is not None and math.isfinite(score)):
            return record
        cause, shown = ("bad_result", "nothing") if score is None else ("non_finite", score)
        message = f"validation {record.asked.metric}: a finite number expected, but found {shown}"
        full = RunRecord.read(run_folder(self.plan, record)) or record  # with its epochs
        record = full.model_copy(update={"state": "failed", "cause": cause, "message": message, "val": {}})
        record.write(run_folder(self.plan, record))
        return record

    def _on_tested(self, cell: Cell, record: RunRecord) -> None:
        for run in self.runs[cell.id].with_tests():
            is_chosen = run.config.id.trial == record.config.id.trial
            if run.config.run in record.config.opens_test_of:
                self.tracker.write_record(run)
            elif run.config.phase == "confirm" and record.state == "complete" and not is_chosen:
                for name in ("weights.pt", "middle.pt"):  # only those of the chosen configuration's seeds are kept
                    (run_folder(self.plan, run) / name).unlink(missing_ok=True)

    def _count(self, record: RunRecord) -> None:
        if self.plan.seconds is None:  # else its epochs may decide what continues, and how long further runs take
            record = lean(record, self._shared)
        runs = self.runs[record.config.cell]
        is_new = all(record.config.run != known.config.run for known in runs.records)
        self.runs[record.config.cell] = (runs if is_new else runs.without(record)).plus(record)
        if record.config.phase != "test":
            self.status.count(record, is_new)

    def abandon(self) -> None:
        """Kill what is under way; it has no record and stays open."""
        self.engine.close()
        self._release_trials()
        self.jobs.under_way.clear()
        self.status.running.clear()

    def _finish_halved(self) -> None:
        """Finish the cells of successive halving: write the trials it dropped, and remove their checkpoints."""
        for cell in self.plan.cells:
            if self.stop or not self.plan.is_halved(cell):
                continue
            for run in self.runs[cell.id].screened:
                if run.is_paused:
                    self.tracker.write_record(run)
                    for path in run_folder(self.plan, run).glob("checkpoint-*.ckpt"):
                        path.unlink(missing_ok=True)
            self._finish_cell(cell)

    def _finish_cell(self, cell: Cell) -> None:
        self.status.finished.add(cell.id)
        size = cell.num_configurations
        if size is not None and len(self.runs[cell.id].screened) == size < self.plan.budget.trials:
            tried = count(size, "configuration")
            self.display.say(f"{cell.id}: the search space is exhausted after {tried}")
        self._track(cell)

    def _track(self, cell: Cell) -> None:
        """Write what the records of a cell hold by now."""
        self.tracker.write_cell(cell.id, projection.cell_state(self.runs[cell.id]))

    def _release_trials(self) -> None:
        """Give the trials that were stopped back, so that the next start runs them under their numbers."""
        with suppress(StoreError):  # a locked study: the next start finds them running, which is as good
            for cell, config in self.jobs.under_way.values():
                if config.phase == "screen":
                    self.studies.give_back(cell, config.number)
