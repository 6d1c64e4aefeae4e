"""Trainable numbers of encoder, embedding and head."""

from bench.results.record import RunRecord

UNIT = "numbers"
GOAL = "minimize"


def compute(record: RunRecord) -> float | None:
    """Return the metric of one run; None where the run has none."""
    return record.num_parameters or None
