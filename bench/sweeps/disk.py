"""The disk of a sweep: it is a local one, and the sweep stops before it is full."""

import re
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


NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "davfs"}
    | {f"fuse.{name}" for name in ("sshfs", "s3fs", "rclone", "gcsfuse", "davfs", "smbnetfs")}
)
"""Names of file systems on which the lock of a sweep and those of SQLite do not hold between machines."""

MOUNTS = Path("/proc/self/mountinfo")


def check_local(folder: Path) -> None:
    """Raise StoreError, with what to do, if a sweep's folder is on a network file system. Linux only."""
    name = file_system(folder)
    if name in NETWORK:
        rule = f"a network file system ({name}), where locks do not hold and databases break"
        fix = "give --results on a local disk; `bench merge` joins the sweeps of several machines"
        raise StoreError(f"{folder}: is on {rule}; {fix}")


def file_system(folder: Path) -> str:
    """Return the name of the file system that a folder is on, such as ext4; empty if the system does not say."""
    try:
        lines = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        return ""
    path, longest, name = folder.resolve(), -1, ""
    for line in lines:
        mounted, _, source = line.partition(" - ")
        point = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), mounted.split()[4]))
        if path.is_relative_to(point) and len(point.parts) >= longest:  # a later mount hides an earlier one
            longest, name = len(point.parts), source.split()[0]
    return name
