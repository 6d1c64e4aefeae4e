"""What the kernel offers to end processes for certain: a tie to another process's life, adoption, and a search by mark.

Nothing here loads torch. On systems other than Linux the tie is a thread, and nothing is adopted or found.
"""

import contextlib
import ctypes
import fcntl
import functools
import os
import select
import signal
import sys
import threading
import time
import uuid
from pathlib import Path

MARK = "BENCH_FORK_SERVER"
"""Environment variable whose value all processes below one fork server share: it begins with `own_mark()`."""

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def own_mark() -> str:
    """Return what the marks of all fork servers of this process begin with."""
    return _mark_of(os.getpid())


@functools.cache
def _mark_of(pid: int) -> str:  # a process that is forked later is another one
    return uuid.uuid4().hex


def tie_to(life: int, number: signal.Signals, whole_group: bool = True) -> int:
    """Have the kernel signal this process, or its group, when the write end of the pipe `life` is closed.

    SIGKILL ends stopped processes too, and SIGCONT wakes them. Return a file whose closing unties them.
    """
    if not hasattr(fcntl, "F_SETSIG"):  # not Linux

        def watch() -> None:
            os.read(life, 1)
            os.kill(0 if whole_group else os.getpid(), number)

        threading.Thread(target=watch, daemon=True).start()
        return os.dup(life)
    # Opened anew, because the owner that is to be signalled belongs to the open file, which all run processes share.
    tie = os.open(f"/proc/self/fd/{life}", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(tie, fcntl.F_SETSIG, number)
    fcntl.fcntl(tie, fcntl.F_SETOWN, -os.getpgrp() if whole_group else os.getpid())
    fcntl.fcntl(tie, fcntl.F_SETFL, fcntl.fcntl(tie, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([tie], [], [], 0)[0]:  # it was closed before the kernel watched
        os._exit(1)
    return tie


def adopt_orphans() -> None:
    """Make this process, in place of init, the parent of all processes below it that lose their own."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> set[int]:
    """Return the processes whose parent this process is, adopted ones and ended ones included."""
    lists = list(Path("/proc/self/task").glob("*/children"))
    if lists:
        return {int(pid) for path in lists for pid in path.read_text().split()}
    return _below({os.getpid()}, deep=False)  # a kernel without these lists


def kill_marked(mark: str, seconds: float = 5.0) -> None:
    """Kill every process that was started with a MARK that begins with `mark`, and all below it.

    They are stopped first: one that is killed while it starts another could leave one that is below nobody.
    """
    end = time.monotonic() + seconds
    while (found := _marked(mark)) and time.monotonic() < end:
        stopped: set[int] = set()
        while found - stopped and time.monotonic() < end:
            _signal_all(found - stopped, signal.SIGSTOP)
            stopped |= found
            found = _marked(mark)
        _signal_all(stopped, signal.SIGKILL)
        time.sleep(0.01)


def _marked(mark: str) -> set[int]:
    marked = {pid for pid in _parents() if _has_mark(pid, mark)}
    return marked | _below(marked) if marked else marked


def _signal_all(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _has_mark(pid: int, mark: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return pid != os.getpid() and any(entry.startswith(f"{MARK}={mark}".encode()) for entry in environment)
    except OSError:  # it has ended, or is another user's
        return False


def _below(pids: set[int], deep: bool = True) -> set[int]:
    parents = _parents()
    below = {pid for pid, parent in parents.items() if parent in pids}
    return below | _below(below) if below and deep else below


def _parents() -> dict[int, int]:
    """Return the parent of every process."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    return parents


def kill_group(pid: int) -> None:
    """Kill the process group that `pid` leads, or `pid` alone where it has not made its group yet."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
            return


def offer_to_the_memory_killer() -> None:
    """Have the kernel end this process, rather than its server or the coordinator, when memory runs out."""
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("500")
