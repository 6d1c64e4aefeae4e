"""Numbers that a sequence carries from one step to the next, at the end of a training sequence."""

from bench.results.record import RunRecord

UNIT = "numbers"
GOAL = "minimize"


def compute(record: RunRecord) -> float | None:
    """Return the metric of one run; None where the run has none."""
    return record.state_size
