"""Median time to answer one sequence by itself, from the exclusive pass."""

from bench.results.record import RunRecord

UNIT = "ms"
GOAL = "minimize"


def compute(record: RunRecord) -> float | None:
    """Return the metric of one run; None where the run has none."""
    return record.speed.get("latency_p50_milliseconds") if record.speed else None
