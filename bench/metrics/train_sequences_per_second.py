"""Training throughput from the exclusive pass: batch size over the median step."""

from bench.results.record import RunRecord

UNIT = "sequences/s"
GOAL = "maximize"


def compute(record: RunRecord) -> float | None:
    """Return the metric of one run; None where the run has none."""
    return record.speed["train_sequences_per_second"] if record.speed else None
