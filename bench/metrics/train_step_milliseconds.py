"""Median time of one optimiser step on a batch, from the exclusive pass."""

from bench.results.record import RunRecord

UNIT = "ms"
GOAL = "minimize"


def compute(record: RunRecord) -> float | None:
    """Return the metric of one run; None where the run has none."""
    return record.speed["train_step_milliseconds"] if record.speed else None
