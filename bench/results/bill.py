"""The cost of runs in wall time, money, energy and CO2: pure functions of their records."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from bench.results.record import RunRecord


def wall_seconds(records: Iterable[RunRecord]) -> float:
    """Return the seconds during which at least one of the runs was active; pauses do not count."""
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
    """Return what runs cost in USD; None if any of them has no price."""
    costs = [record.cost_usd for record in records]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known and len(known) == len(costs) else None


def energy(records: Iterable[RunRecord], cpu_watts: float | None) -> tuple[float | None, str]:
    """Return the energy of runs in kWh, and its source: measured, estimated from CPU time, or not measured.

    A meter counts the whole device, so its reading is divided equally among the runs that share the device. Without a
    meter the estimate is CPU time times `cpu_watts`, the power of a busy core in watts; it is no evidence of its own.
    """
    joules, sources = 0.0, set()
    for record in records:
        if record.energy_joules is not None:
            joules += record.energy_joules / record.config.device_sharers
            sources.add(f"measured ({record.energy_from})")
        elif cpu_watts is not None and record.cpu_seconds is not None:
            joules += cpu_watts * record.cpu_seconds
            sources.add(f"estimated from CPU time at {cpu_watts:g} W a busy core")
        elif record.seconds.total:
            return None, "not measured"
    return (joules / 3.6e6, ", ".join(sorted(sources))) if sources else (None, "not measured")


def co2(kwh: float | None, energy_is: str, grid: Mapping[str, Any] | None) -> tuple[float | None, str]:
    """Return the CO2 equivalents of an energy in grams, and how the number came about.

    `grid` is what the sweep notes of its electricity: `gco2_per_kwh` in grams, and `source`. The number is never more
    than an estimate: a grid's mean of a year stands for the hours in which the sweep ran.
    """
    if grid is None:
        return None, "no grid given"
    if kwh is None:
        return None, "energy not measured"
    grams = kwh * grid["gco2_per_kwh"]
    return grams, f"energy {energy_is}, times {grid['gco2_per_kwh']:g} g a kWh ({grid['source']})"
