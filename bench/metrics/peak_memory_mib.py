"""Peak memory that training added to its process, or peak of the GPU's allocator."""

from bench.record import RunRecord

UNIT = "MiB"
GOAL = "minimize"


def compute(record: RunRecord) -> float | None:
    """Return the metric of one run; None where the run has none."""
    return record.peak_memory_bytes / 2**20 if record.config.phase == "confirm" and record.peak_memory_bytes else None
