"""Peak memory that training steps added to their process in the exclusive pass, or peak of the GPU's allocator."""

from bench.results.record import RunRecord

UNIT = "MiB"
GOAL = "minimize"


def compute(record: RunRecord) -> float | None:
    """Return the metric of one run; None where the run has none."""
    return record.peak_memory_bytes / 2**20 if record.config.phase == "speed" and record.peak_memory_bytes else None
