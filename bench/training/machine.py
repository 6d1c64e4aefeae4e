"""The processor and the packages on which the figures of a run depend, found without loading torch."""

import os
import platform
from pathlib import Path

PACKAGES = ("torch", "pytorch-lightning", "optuna", "mlflow", "numpy")
"""The distributions whose versions are recorded."""


def processor() -> str:
    """Return the name of the processor and its number of cores."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass  # not Linux
    return f"{name} ({os.cpu_count()} cores)"
