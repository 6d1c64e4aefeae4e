"""Floating-point operations of training on one sequence, backward pass included, counted on the meta device."""

from bench.results.record import RunRecord

UNIT = "FLOPs"
GOAL = "minimize"


def compute(record: RunRecord) -> float | None:
    """Return the metric of one run; None where the run has none."""
    return record.speed.get("train_flops_per_sequence") if record.speed else None
