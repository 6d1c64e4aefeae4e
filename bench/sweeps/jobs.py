"""The runs of a sweep as jobs of an engine: each gets its configuration, and its config.json before it is submitted."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bench.config.ids import CellId
from bench.config.settings import RunConfig
from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord, write_json
from bench.sweeps.cells import Cell
from bench.sweeps.disk import check_room
from bench.sweeps.engines.engine import Job
from bench.sweeps.environment import commit
from bench.sweeps.halving import RUNGS
from bench.sweeps.prepare import SEEDS_A_SWEEP, Plan, run_config
from bench.sweeps.studies import Studies


class Jobs:
    """Makes jobs of the runs that the search asks for, and knows which are under way.

    `runs` holds what has ended, by cell; a record that a new run supersedes is removed from it. `missing` are trials
    that ended, but have no record any more; those that run again are removed from it.
    """

    def __init__(self, plan: Plan, studies: Studies, runs: dict[CellId, CellRuns]) -> None:
        self.plan, self.studies, self.runs = plan, studies, runs
        self.commit = commit()
        self.missing: dict[CellId, list[int]] = {}
        self.under_way: dict[str, tuple[Cell, RunConfig]] = {}

    def has_weights(self, run: RunRecord) -> bool:
        """Return whether the weights of a run are there."""
        return (run_folder(self.plan, run) / "weights.pt").exists()

    def trial(self, cell: Cell, number: int | None, configurations: int | None = None) -> Job:
        """Return a trial that is drawn, or `number` again; with `configurations`, one of successive halving."""
        known = self.runs[cell.id].records
        if number is None:
            draw = self.studies.ask(cell, known)
        else:
            self.missing[cell.id].remove(number)
            draw = self.studies.ask_again(cell, number, known)
        crash_point("after_ask")
        fields: dict[str, object] = {"number": draw.number, "origin": draw.origin}
        if configurations is None:
            fields["ask_pruner"] = self.studies.prunes(cell)
        else:
            fields |= {"bracket": draw.number // configurations, "pause_after": RUNGS[0]}
        return self._prepared(
            cell, run_config(self.plan, cell, cell.id.trial(draw.number), "screen", draw.values, **fields)
        )

    def continue_trial(self, cell: Cell, trial: RunRecord, pause_after: int | None) -> Job:
        """Return the next stretch of a paused trial."""
        return self._prepared(cell, trial.config, pause_after=pause_after)

    def confirmation(self, cell: Cell, trial: RunRecord, index: int, old: RunRecord | None) -> Job:
        """Return the run of a trial's configuration on fresh seed `index`; an `old` record of it is superseded."""
        if old is not None:
            self.runs[cell.id] = self.runs[cell.id].without(old)
            (run_folder(self.plan, old) / "record.json").unlink(missing_ok=True)
        seed = self.plan.config.seed * SEEDS_A_SWEEP + 1 + index
        update = {"run": str(trial.config.id.confirmation(index)), "phase": "confirm", "number": index, "seed": seed}
        return self._prepared(cell, trial.config, **update)

    def taking_over(self, cell: Cell, trial: RunRecord) -> Job:
        """Return the run in which a trial of successive halving stands for its first confirm run, with its seed."""
        update = {"run": str(trial.config.id.confirmation(0)), "phase": "confirm", "number": 0}
        return self._prepared(cell, trial.config, **update, takes_over=trial.config.run)

    def test(self, cell: Cell, chosen: RunRecord, runs: tuple[RunRecord, ...]) -> Job:
        """Return the run that opens the test split for confirm runs of the chosen configuration."""
        done = {test.config.id for test in self.runs[cell.id].tests}
        run_id = next(name for i in range(len(done) + 1) if (name := chosen.config.id.test(i)) not in done)
        opened, lengths = tuple(run.config.run for run in runs), tuple(self.plan.config.test_lengths or ())
        update = {"run": str(run_id), "phase": "test", "opens_test_of": opened, "test_lengths": lengths}
        return self._prepared(cell, chosen.config, **update)

    def baselines(self, cell: Cell, end: float | None) -> Job | None:
        """Return the run of the cheap baselines, unless it has ended.

        After the monotonic time `end`, no further baseline begins.
        """
        run_id = cell.id.baselines()
        if RunRecord.read(self.plan.folder / "runs" / str(run_id)) is not None:
            return None
        config = run_config(self.plan, cell, run_id, "baselines", cell.space.default)
        # Baselines read the windows of the question, whatever the default of the first model is.
        update: dict[str, object] = {"train": config.train.model_copy(update={"look_back": 1}), "max_seconds": None}
        if end is not None:
            update["max_seconds"] = max(1.0, end - time.monotonic())
        return self._prepared(cell, config.model_copy(update=update))

    def speeds(self) -> Iterator[Job | None]:
        """Yield the exclusive passes that are missing, of the chosen configuration of each cell."""
        for cell in self.plan.cells:
            chosen = self.runs[cell.id].chosen
            if chosen is None or (self.plan.is_halved(cell) and not self.runs[cell.id].confirmed):
                continue
            run_id = chosen.config.id.speed()
            if RunRecord.read(self.plan.folder / "runs" / str(run_id)) is None:
                yield self._prepared(cell, chosen.config, run=str(run_id), phase="speed")

    def _prepared(self, cell: Cell, config: RunConfig, **update: object) -> Job:
        """Write the config.json of a run; `update` changes the configuration of the trial that it follows."""
        if update:
            fixed: dict[str, object] = {"ask_pruner": False, "source_hash": cell.space.source_hash}
            if update.get("phase"):
                fixed |= {"bracket": None, "pause_after": None}
            update = fixed | update
        config = config.model_copy(update={"commit": self.commit} | update)
        check_room(self.plan.folder)
        folder = self.plan.folder / "runs" / config.run
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", config.model_dump(mode="json"))
        crash_point("after_config")
        self.under_way[config.run] = (cell, config)
        return Job(config.run, folder, config.ask_pruner)


def run_folder(plan: Plan, record: RunRecord) -> Path:
    """Return the folder of a run."""
    return plan.folder / "runs" / record.config.run


_passed: Counter[str] = Counter()  # crash points


def crash_point(name: str) -> None:
    """Kill this process here, if a test of recovery demands it: BENCH_CRASH_AT=NAME, or NAME:N for the Nth time."""
    wanted, _, nth = os.environ.get("BENCH_CRASH_AT", "").partition(":")
    if wanted == name and os.environ.get("BENCH_TESTING") == "1":
        _passed[name] += 1
        if _passed[name] >= int(nth or 1):
            os.kill(os.getpid(), signal.SIGKILL)
