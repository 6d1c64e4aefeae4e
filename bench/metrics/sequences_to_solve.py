"""Training sequences until the second of two validations in a row that reached the task's threshold."""

from bench.results.record import RunRecord

UNIT = "sequences"
GOAL = "minimize"


def compute(record: RunRecord) -> float | None:
    """Return the metric of one run; None where the run has none."""
    return record.sequences_to_solve
