"""What a running sweep has spent, and when its budget allows no further run."""

import time
from collections.abc import Mapping, Sequence

from bench.config.ids import CellId
from bench.config.settings import RunConfig
from bench.results.bill import wall_seconds
from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord
from bench.sweep.prepare import Cell, Plan


class Meter:
    """Follows what a sweep has spent, and says when its budget forbids a further run."""

    def __init__(self, plan: Plan) -> None:
        config = plan.config
        self._slots, self._usd_per_hour = len(plan.slots), plan.usd_per_hour
        self._devices = config.gpus_per_run
        self._allowed = {"wall time": config.wall_time, "device time": config.device_time, "money": config.max_usd}
        self.is_limited = any(self._allowed.values())
        self._earlier: list[RunRecord] = []
        self._device_seconds = self._run_seconds = 0.0
        self._started = time.monotonic()

    def add(self, record: RunRecord, of_earlier_session: bool = False) -> None:
        """Put a run on the bill."""
        if of_earlier_session:
            self._earlier.append(record)
        self._device_seconds += record.device_seconds
        self._run_seconds += record.seconds.total

    def reason_to_stop(
        self, known: Mapping[CellId, CellRuns], cell: Cell, reserve: int, running: Sequence[RunConfig]
    ) -> str | None:
        """Return which budget would be exceeded by a further run of `cell`, in words; None if none would.

        Counted are what was spent, the runs under way at their cells' averages, the further run, and `reserve` seeds
        for the best of every cell, so that what was searched can still be confirmed.
        """
        if not self.is_limited:
            return None
        seconds = {cell_id: _average(runs.records) for cell_id, runs in known.items()}
        overall = _average([run for runs in known.values() for run in runs.records])
        ahead = seconds.get(cell.id) or overall
        for config in running:
            ahead += seconds.get(config.cell) or overall
        for cell_id, runs in known.items():
            if reserve and runs.best:
                confirmed = sum(run.config.phase == "confirm" for run in runs.records)
                ahead += max(0, reserve - confirmed) * seconds[cell_id]
        wall = time.monotonic() - self._started + wall_seconds(self._earlier)
        run_seconds = self._run_seconds + ahead
        spent = {
            "wall time": wall + ahead / self._slots,
            "device time": self._device_seconds + ahead * self._devices,
            "money": (self._usd_per_hour or 0.0) / self._slots * run_seconds / 3600,
        }
        for name, allowed in self._allowed.items():
            if allowed is not None and spent[name] > allowed:
                unit = "USD" if name == "money" else "s"
                return f"{name} of {allowed:g} {unit} would be exceeded by a further run"
        return None


def _average(runs: Sequence[RunRecord]) -> float:
    return sum(run.seconds.total for run in runs) / len(runs) if runs else 0.0
