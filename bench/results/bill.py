"""The bill: what was spent, on what, and when to stop spending. Pure functions of records, and a meter of a sweep."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from bench.config.settings import RunConfig
from bench.results.record import RunRecord
from bench.results.selection import best_trials
from bench.sweep.prepare import Cell, Plan


def wall_seconds(records: Iterable[RunRecord]) -> float:
    """Return the time in which at least one of the runs was under way, in seconds; pauses between do not count."""
    spans = []
    for record in records:
        if record.started_at:
            start = datetime.fromisoformat(record.started_at).timestamp() - record.seconds.waiting
            spans.append((start, start + record.seconds.total))
    total, end = 0.0, float("-inf")
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


def usd(records: Iterable[RunRecord]) -> float | None:
    """Return what runs cost in USD; None where no price was given."""
    costs = [record.cost_usd for record in records]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known and len(known) == len(costs) else None


def energy(records: Iterable[RunRecord], cpu_watts: float | None) -> tuple[float | None, str]:
    """Return the energy of runs in kWh and how it is known: measured, estimated from CPU time, or not measured.

    A meter counts the whole device: runs that share it share its reading equally. Where there is no meter, CPU time
    times `cpu_watts`, the power of a busy core, which is time in disguise and no evidence of its own.
    """
    joules, ways = 0.0, set()
    for record in records:
        if record.energy_joules is not None:
            joules += record.energy_joules / record.config.device_sharers
            ways.add(f"measured ({record.energy_from})")
        elif cpu_watts is not None and record.cpu_seconds is not None:
            joules += cpu_watts * record.cpu_seconds
            ways.add(f"estimated from CPU time at {cpu_watts:g} W a busy core")
        elif record.seconds.total:
            return None, "not measured"
    return (joules / 3.6e6, ", ".join(sorted(ways))) if ways else (None, "not measured")


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
        self, known: Mapping[str, Sequence[RunRecord]], cell: Cell, reserve: int, running: Sequence[RunConfig]
    ) -> str | None:
        """Return which budget would be exceeded by a further run of `cell`, in words; None if none would.

        Counted are what was spent, the runs under way at their cells' averages, the further run, and `reserve` seeds
        for the best of every cell, so that what was searched can still be confirmed.
        """
        if not self.is_limited:
            return None
        seconds = {cell_id: _average(runs) for cell_id, runs in known.items()}
        overall = _average([run for runs in known.values() for run in runs])
        ahead = seconds.get(cell.id) or overall
        for config in running:
            ahead += seconds.get(f"{config.dataset}/L{config.length}/{config.space}") or overall
        for cell_id, runs in known.items():
            if reserve and best_trials(runs, 1):
                confirmed = sum(run.config.phase == "confirm" for run in runs)
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
