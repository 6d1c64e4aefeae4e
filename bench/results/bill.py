"""What runs have cost: wall time, money and energy, as pure functions of their records."""

from collections.abc import Iterable
from datetime import datetime

from bench.results.record import RunRecord


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
