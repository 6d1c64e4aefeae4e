"""One attempt of a run on a machine of a cluster: its files in, its reports, files and end out.

The machine executes it as a coordinator there would, with a local engine of one slot. So a run is a process of its own
that is forked from a server with torch loaded; the server stays for the next run.
"""

import fcntl
import functools
import hashlib
import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import bench
from bench.config.cache import cache
from bench.sweeps.engines.engine import Job
from bench.sweeps.engines.local import LocalEngine
from bench.sweeps.engines.parcels import Changes, Get, Message, Parcel, batches, unpack

PACKAGES = ("torch", "pytorch-lightning", "numpy")
"""The distributions that must be the same on all machines of a sweep."""


class Order(NamedTuple):
    """How the runs of an engine are executed."""

    run: str  # the function that a run process calls
    preload: tuple[str, ...]  # what the fork server imports first
    stall_seconds: float


def carry_out(
    parcel: Parcel, order: Order, ask_pruner: bool, slot: dict[str, str], get: Get, decision: Callable[[], bool]
) -> Iterator[list[Message]]:
    """Execute a run; yield lists of messages: the files of parcels.py, reports, and `ended` at the end.

    Reports are ("tick" or "epoch", steps, value), and the end is ("ended", cause, seconds). `decision` waits for the
    answer to an epoch's report.
    """
    with own_folder(cache() / "runs") as cell:
        folder = unpack(parcel, cell, get)
        changes = Changes(folder)
        engine = LocalEngine([slot], order.stall_seconds, order.run, order.preload)
        job = Job(parcel.run, folder, ask_pruner)
        try:
            engine.submit(job)
            while True:
                for event in engine.wait(0.25):
                    if event.kind == "ended":
                        yield from batches([*changes.rest(), ("ended", event.cause, event.seconds)])
                        return
                    yield [*changes.progress(), (event.kind, event.steps, event.value)]
                    if ask_pruner and event.kind == "epoch":
                        engine.decide(job, decision())
        finally:
            engine.close()


@functools.cache
def software() -> dict[str, str]:
    """Return what the scores of a run depend on besides the run: a hash of the bench's code, and versions."""
    root = Path(bench.__file__).parent
    code = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        code.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    versions = {name: importlib.metadata.version(name).split("+")[0] for name in PACKAGES}  # without the device
    return {"bench": f"{bench.__version__} ({code.hexdigest()[:8]})", "python": platform.python_version(), **versions}


@contextmanager
def own_folder(base: Path) -> Iterator[Path]:
    """Yield a new folder in `base` that is removed at the end, after those that killed processes left there.

    A lock on the folder says that its process lives.
    """
    base.mkdir(parents=True, exist_ok=True)
    for path in base.iterdir():
        _remove_if_left(path)
    folder = Path(tempfile.mkdtemp(dir=base, prefix=".new-"))
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        folder = folder.rename(base / folder.name.removeprefix(".new-"))  # only now may others look at it
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _remove_if_left(folder: Path) -> None:
    if folder.name.startswith("."):
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # its process has removed it
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(handle)
