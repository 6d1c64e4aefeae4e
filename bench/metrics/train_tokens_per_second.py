"""Steps of training sequences (tokens, where the task has tokens) trained on in a second, from the exclusive pass."""

from bench.results.record import RunRecord

UNIT = "tokens/s"
GOAL = "maximize"


def compute(record: RunRecord) -> float | None:
    """Return the metric of one run; None where the run has none."""
    return record.speed["train_sequences_per_second"] * record.asked.num_steps if record.speed else None
