"""One coordinator per sweep: a lock on its folder, and the leftovers that only its holder may remove."""

import fcntl
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import SweepLockedError
from bench.sweeps.engines import processes


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a sweep's folder. Raises SweepLockedError if another process holds it.

    The lock is on the folder itself, so that no file can be deleted to circumvent it, and the kernel releases it when
    the process dies. The file sweep.lock only says who holds it. `filelock` locks files, and could not serve here.
    """
    note = folder / "sweep.lock"
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read(note).partition("\n")[0]
            rule = f"sweep {folder.name} is being worked on by {holder or 'another process'}"
            raise SweepLockedError(f"{rule}; wait for it, stop it, or use another --name") from None
        _kill_orphans(_read(note))
        note.write_text(f"process {os.getpid()} on {socket.gethostname()}\nmark {processes.own_mark()}\n")
        try:
            yield
        finally:
            with suppress(OSError):
                os.truncate(note, 0)  # this process may live on, with the runs of another sweep
    finally:
        os.close(handle)


def _read(note: Path) -> str:
    return note.read_text(errors="replace") if note.exists() else ""


def _kill_orphans(note: str) -> None:
    """Kill the helpers of runs that outlived the last holder of the lock.

    They end with it, unless it and its fork server are killed at the same moment.
    """
    mark = re.search(r"^mark ([0-9a-f]{32})$", note, re.MULTILINE)
    if mark is not None and mark[1] != processes.own_mark():
        processes.kill_marked(mark[1])


_TEMPORARY = re.compile(r"\..+\.\d+")


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed writers (`.record.json.PID`) from a sweep's folder, or from that of one run.

    SQLite removes its own journals.
    """
    for path in [*folder.glob(".*"), *(folder / "runs").rglob(".*")]:
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
