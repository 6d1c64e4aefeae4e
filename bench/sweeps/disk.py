"""Room on the disk: a sweep stops before the disk is full, and a run that met a full disk has no outcome."""

import shutil
from pathlib import Path

from bench.errors import StoreError

MIN_FREE_MIB = 32
"""What must be free for a run to start: its log, weights and record, and the databases."""


def check_room(folder: Path) -> None:
    """Raise StoreError, with what to do, if the disk of a sweep's folder is nearly full."""
    free = shutil.disk_usage(folder).free / 2**20
    if free < MIN_FREE_MIB:
        rule = f"{free:.0f} MiB are free on this disk, and a sweep needs {MIN_FREE_MIB}"
        raise StoreError(f"{folder}: {rule}; free some space, then run the same command to resume")
