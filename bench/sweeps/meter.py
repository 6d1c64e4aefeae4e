"""What a running sweep has spent, and whether its budget allows a further run."""

import time
from collections.abc import Mapping, Sequence

from bench.config.ids import CellId
from bench.config.settings import RunConfig
from bench.results.bill import wall_seconds
from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord
from bench.sweeps.cells import Cell
from bench.sweeps.prepare import Plan
from bench.wording import duration


class Meter:
    """Follows what a sweep has spent, and says when its budget allows no further run."""

    def __init__(self, plan: Plan) -> None:
        config = plan.config
        self._slots, self._usd_per_hour = len(plan.slots), plan.usd_per_hour
        self._devices = config.gpus_per_run
        wall_time = config.wall_time if plan.seconds is None else _abrupt_share(plan)
        self._allowed = {"wall time": wall_time, "device time": config.device_time, "money": config.max_usd}
        self.is_limited = any(self._allowed.values())
        self._earlier: list[RunRecord] = []
        self._earlier_seconds: float | None = None  # of wall time
        self._device_seconds = self._run_seconds = 0.0
        self._started = time.monotonic()

    def add(self, record: RunRecord, of_earlier_session: bool = False) -> None:
        """Put a run on the bill."""
        if of_earlier_session:
            self._earlier.append(record)
            self._earlier_seconds = None
        self._device_seconds += record.device_seconds
        self._run_seconds += record.seconds.total

    def exceeded(
        self, known: Mapping[CellId, CellRuns], cell: Cell, seeds: int, running: Sequence[RunConfig]
    ) -> str | None:
        """Return which budget a further run of `cell` would exceed, in a sentence; None if none.

        Counted are what was spent, the runs under way at their cells' averages, the further run, and what every cell
        that has begun still needs for a test score: up to `seeds` seeds of its best configuration, and their test.
        """
        if not self.is_limited:
            return None
        seconds = {cell_id: runs.seconds / max(1, len(runs.records)) for cell_id, runs in known.items()}
        overall = sum(runs.seconds for runs in known.values()) / max(1, sum(len(r.records) for r in known.values()))
        ahead = seconds.get(cell.id) or overall
        for config in running:
            ahead += seconds.get(config.cell) or overall
        for cell_id, runs in known.items():
            if runs.best:
                confirmed = {run.config.id for run in runs.confirm_runs(runs.best[0])}
                under_way = sum(config.cell == cell_id and config.phase == "confirm" for config in running)
                ahead += max(0, seeds - len(confirmed) - under_way) * seconds[cell_id] + _test_seconds(runs, seeds)
        if self._earlier_seconds is None:
            self._earlier_seconds = wall_seconds(self._earlier)
        wall = time.monotonic() - self._started + self._earlier_seconds
        spent = {
            "wall time": wall + ahead / self._slots,
            "device time": self._device_seconds + ahead * self._devices,
            "money": (self._usd_per_hour or 0.0) / self._slots * (self._run_seconds + ahead) / 3600,
        }
        for name, allowed in self._allowed.items():
            if allowed is not None and spent[name] > allowed:
                limit = f"{allowed:g} USD" if name == "money" else duration(allowed)
                return f"{name} of {limit} would be exceeded by a further run"
        return None


def _abrupt_share(plan: Plan) -> float | None:
    """Return the part of a budget of time that questions get which are not halved; None if there are none."""
    questions = plan.questions.values()
    abrupt = sum(not plan.is_halved(cells[0]) for cells in questions)
    return plan.seconds * abrupt / len(questions) if abrupt and plan.seconds else None


def _test_seconds(runs: CellRuns, seeds: int) -> float:
    """Return what the test of `seeds` seeds is expected to take, if the test split is still closed.

    A run validates once an epoch; its test does the same once a seed on a split of another size.
    """
    if runs.tests:
        return 0.0
    best = runs.best[0]
    settings, parts = best.config.train, best.seconds
    validation = parts.evaluate / settings.num_epochs
    return parts.setup + parts.waiting + max(1, seeds) * validation * settings.num_test / settings.num_val
