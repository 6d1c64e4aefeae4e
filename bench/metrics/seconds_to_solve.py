"""Seconds of training until solved, validations not counted, while other runs shared the machine."""

from bench.results.record import RunRecord

UNIT = "s"
GOAL = "minimize"


def compute(record: RunRecord) -> float | None:
    """Return the metric of one run; None where the run has none."""
    return record.seconds_to_solve
