"""95th percentile of the time of the last step of a sequence, in the exclusive pass; causal encoders only."""

from bench.results.record import RunRecord

UNIT = "ms"
GOAL = "minimize"


def compute(record: RunRecord) -> float | None:
    """Return the metric of one run; None where the run has none."""
    return record.speed.get("streaming_p95_milliseconds") if record.speed else None
