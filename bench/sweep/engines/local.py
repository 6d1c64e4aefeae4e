"""Runs as processes of this machine.

A run process is forked from a server that has torch and Lightning loaded, leads a process group of its own, and is
killed by the kernel, with all it started, when the coordinator is gone. It gets a folder with a config.json and leaves
a record.json there; what it says meanwhile comes up a pipe.
"""

import contextlib
import fcntl
import importlib
import importlib.metadata
import itertools
import math
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from bench.errors import BenchError, HardwareError

RUN = "bench.training.train:run_in_folder"
PRELOAD = ("bench.sweep.engines._preload",)
CALL_SECONDS = 120  # of `call`: code of one's own may never come back


@dataclass(frozen=True)
class Job:
    """A run to be made."""

    id: str
    folder: Path
    ask_pruner: bool = False  # the process waits for `decide` after every epoch


@dataclass(frozen=True)
class Event:
    """What happened to a job: it told something, or it ended."""

    job: Job
    kind: Literal["tick", "epoch", "ended"]
    steps: int = 0
    value: float | None = None
    cause: str | None = None  # of an end without success: killed, stall, signal N, exit N
    seconds: float = 0.0  # since it was started


@dataclass
class _Running:
    job: Job
    slot: dict[str, str]
    process: Any
    pipe: Connection
    started: float
    heard: float
    stalled: bool = field(default=False)


class LocalEngine:
    """Runs jobs in slots, each a set of environment variables (which GPU) that a run process gets.

    `run` names the function a process calls, `preload` what its server imports first; tests put their own there.
    """

    def __init__(
        self,
        slots: Sequence[dict[str, str]],
        stall_seconds: float,
        run: str = RUN,
        preload: Sequence[str] = PRELOAD,
    ) -> None:
        self.concurrency = len(slots)
        self._free = deque(slots)
        self._stall_seconds = stall_seconds
        self._run = run
        self._waiting: deque[Job] = deque()
        self._running: dict[str, _Running] = {}
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        self._server_is_ready = False
        # No one ever writes to this pipe. Its read end comes to its end when the last holder of the write end is gone,
        # and that is this process alone.
        self._life_read, self._life_write = self._context.Pipe(duplex=False)

    def start_server(self) -> None:
        """Start the fork server; it loads torch in the background."""
        _start_server()

    def wait_for_server(self) -> None:
        """Wait until the server can fork: what it loads until then is no run's time."""
        _start_server()
        if not self._server_is_ready:
            process = self._context.Process(target=_nothing)
            process.start()
            process.join()
            self._server_is_ready = True

    @property
    def idle(self) -> int:
        """How many more jobs could be handed over before one would wait for longer than its predecessor's end."""
        return self.concurrency + 1 - len(self._running) - len(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether any job is running or waiting."""
        return bool(self._running or self._waiting)

    def submit(self, job: Job) -> None:
        """Hand over a job. It starts now, or as soon as a slot is free."""
        self._waiting.append(job)
        self._start_waiting()

    def decide(self, job: Job, keep_going: bool) -> None:
        """Answer a job that asked after an epoch."""
        running = self._running.get(job.id)
        if running is not None:
            with contextlib.suppress(OSError):
                running.pipe.send(keep_going)

    def wait(self, timeout: float) -> list[Event]:
        """Return what happened since the last call, waiting up to `timeout` seconds for something to happen."""
        handles = {running.process.sentinel: running for running in self._running.values()}
        pipes = {running.pipe: running for running in self._running.values()}
        ready = wait([*handles, *pipes], timeout)
        events: list[Event] = []
        for handle in ready:
            if handle in pipes:
                events += self._receive(pipes[handle])
        for handle in ready:
            if handle in handles:
                events.append(self._end(handles[handle]))
        # The next job starts before anyone spends time on the events.
        self._start_waiting()
        for running in self._running.values():
            if time.monotonic() - running.heard > self._stall_seconds:
                running.stalled = True
                _kill_group(running.process.pid)
        return events

    def run_all(self, jobs: Sequence[Job]) -> list[Event]:
        """Carry out jobs that ask nothing meanwhile; return the event that ended each, in their order."""
        ends: dict[str, Event] = {}
        for job in jobs:
            self.submit(job)
        while len(ends) < len(jobs):
            ends |= {event.job.id: event for event in self.wait(0.25) if event.kind == "ended"}
        return [ends[job.id] for job in jobs]

    def close(self) -> None:
        """Kill what runs and forget what waits."""
        self._waiting.clear()
        for running in list(self._running.values()):
            _kill_group(running.process.pid)
            running.process.join(5)
            self._end(running)
        self._life_write.close()
        self._life_read.close()

    def _start_waiting(self) -> None:
        while self._waiting and self._free and len(self._running) < self.concurrency:
            self.wait_for_server()
            job, slot = self._waiting.popleft(), self._free.popleft()
            ours, theirs = self._context.Pipe()
            process = self._context.Process(
                target=_run_process,
                args=(self._run, str(job.folder), job.ask_pruner, theirs, self._life_read, slot, time.monotonic()),
                name=job.id,
            )
            process.start()
            theirs.close()
            now = time.monotonic()
            self._running[job.id] = _Running(job, slot, process, ours, now, now)

    def _receive(self, running: _Running) -> list[Event]:
        events = []
        with contextlib.suppress(EOFError, OSError):
            while running.pipe.poll():
                kind, steps, value = running.pipe.recv()
                events.append(Event(running.job, kind, steps, value))
                running.heard = time.monotonic()
        return events

    def _end(self, running: _Running) -> Event:
        running.process.join()
        _kill_group(running.process.pid, alive=False)
        del self._running[running.job.id]
        self._free.append(running.slot)
        running.pipe.close()
        code = running.process.exitcode
        cause = None
        if running.stalled:
            cause = "stall"
        elif code == -signal.SIGKILL:
            cause = "killed"
        elif code:
            cause = f"signal {-code}" if code < 0 else f"exit {code}"
        running.process.close()
        return Event(running.job, "ended", cause=cause, seconds=time.monotonic() - running.started)


def call(function: str, *arguments: Any) -> Any:
    """Return what "module:function" returns for the arguments, worked out in a process that has torch loaded.

    Raises BenchError if the process dies, or is killed because it takes too long.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    _start_server()
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_call_in_time, CALL_SECONDS, function, *arguments).result()
        except BrokenProcessPool:
            raise BenchError(f"the process of {function} died, or took longer than {CALL_SECONDS} s") from None


def _start_server() -> None:
    """Start the fork server, unless it runs, with the path on which this process finds its modules.

    By itself it would look into the working directory first, and take a bench.py there for this package.
    """
    from multiprocessing import forkserver

    own = {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def make_slots(
    workers: int | None, gpus: str, runs_per_gpu: int, gpus_per_run: int = 1
) -> tuple[list[dict[str, str]], str, int]:
    """Return the slots, the device of their runs, and the CPU threads of each of their processes. Raises HardwareError.

    Without GPUs: one slot a core, or `workers` of them, and the cores divided among them. With GPUs: of the first
    `gpus` that CUDA_VISIBLE_DEVICES leaves visible, `runs_per_gpu` slots on each, or one slot on every `gpus_per_run`.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if gpus == "0":
        if gpus_per_run > 1 or runs_per_gpu > 1:
            raise HardwareError("--gpus-per-run and --runs-per-gpu divide GPUs among runs: add --gpus all, or a count")
        slots = [{"CUDA_VISIBLE_DEVICES": ""} for _ in range(workers or cores)]
        return slots, "cpu", max(1, cores // len(slots))
    visible = visible_gpus()
    wanted = len(visible) if gpus == "all" else int(gpus)
    if wanted > len(visible) or not visible:
        shown = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        raise HardwareError(f"--gpus {gpus}, but {len(visible)} are visible (CUDA_VISIBLE_DEVICES: {shown})")
    if gpus_per_run > 1 and runs_per_gpu > 1:
        raise HardwareError(f"--gpus-per-run {gpus_per_run} and --runs-per-gpu {runs_per_gpu}: give one of them")
    if wanted % gpus_per_run:
        raise HardwareError(f"--gpus-per-run {gpus_per_run} does not divide {wanted} GPUs: some would stand idle")
    groups = [",".join(visible[i : i + gpus_per_run]) for i in range(0, wanted, gpus_per_run)]
    # In the order of the bus, which is how NVML counts them.
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    slots = [{"CUDA_VISIBLE_DEVICES": group} | order for _ in range(runs_per_gpu) for group in groups]
    if workers is not None and workers > len(slots):
        more = "" if gpus_per_run > 1 else f": add --runs-per-gpu {math.ceil(workers / wanted)}"
        raise HardwareError(f"--workers {workers}, but {wanted} GPUs make room for {len(slots)} runs at a time{more}")
    slots = slots[: workers or len(slots)]
    return slots, "cuda", max(1, cores // (len(slots) * gpus_per_run))


def visible_gpus() -> list[str]:
    """Return the GPUs that may be used, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        names = [name.strip() for name in named.split(",") if name.strip()]
        return list(itertools.takewhile(lambda name: name != "-1", names))  # CUDA looks no further
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    count = pynvml.nvmlDeviceGetCount()
    pynvml.nvmlShutdown()
    return [str(index) for index in range(count)]


def check_gpus(slots: Sequence[dict[str, str]]) -> None:
    """Raise HardwareError where torch does not see the GPUs of the slots: no CUDA in its build, or another driver's."""
    wanted = len({gpu for slot in slots for gpu in slot["CUDA_VISIBLE_DEVICES"].split(",")})
    seen = call("torch.cuda:device_count")
    if seen < wanted:
        version = importlib.metadata.version("torch")
        hint = "install the build for this machine's driver: https://pytorch.org/get-started/locally"
        raise HardwareError(f"--gpus: torch {version} sees {seen} of {wanted}; {hint}")


def free_memory(slots: Sequence[dict[str, str]], device: str) -> int:
    """Return the bytes that one run may use if all slots are taken: of its GPU's memory, or of what is free here."""
    if device == "cuda":
        import pynvml

        pynvml.nvmlInit()
        first = slots[0]["CUDA_VISIBLE_DEVICES"].split(",")[0]
        find = pynvml.nvmlDeviceGetHandleByIndex if first.isdecimal() else pynvml.nvmlDeviceGetHandleByUUID
        total = int(pynvml.nvmlDeviceGetMemoryInfo(find(int(first) if first.isdecimal() else first)).total)
        pynvml.nvmlShutdown()
        return total // sum(slot == slots[0] for slot in slots)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except OSError:  # not Linux
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container
    if limit.exists() and limit.read_text().strip().isdecimal():
        free = min(free, int(limit.read_text()))
    return free // len(slots)


def _nothing() -> None:
    """Be forked."""


def _run_process(
    run: str, folder: str, ask_pruner: bool, pipe: Connection, life: Connection, slot: dict[str, str], submitted: float
) -> None:
    os.setsid()
    _die_with(life.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator decides what Ctrl-C means
    os.environ.update(slot)  # before CUDA wakes
    log = os.open(Path(folder) / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def on_report(report: tuple[str, int, float | None]) -> bool:
        pipe.send(tuple(report))
        return bool(pipe.recv()) if ask_pruner and report[0] == "epoch" else True

    _call(run, Path(folder), on_report, submitted)


def _call(function: str, *arguments: Any) -> Any:
    module, name = function.split(":")
    return getattr(importlib.import_module(module), name)(*arguments)


def _call_in_time(seconds: int, function: str, *arguments: Any) -> Any:
    signal.alarm(seconds)  # no one handles it: the kernel ends the process, whatever it is at
    return _call(function, *arguments)


def _die_with(life: int) -> None:
    """Have the kernel kill this process group when the other end of the pipe `life` is closed."""
    if not hasattr(fcntl, "F_SETSIG"):  # not Linux

        def watch() -> None:
            os.read(life, 1)
            os.killpg(0, signal.SIGKILL)

        threading.Thread(target=watch, daemon=True).start()
        return
    # Opened anew, because the owner that is to be signalled belongs to the open file, which all run processes share.
    own = os.open(f"/proc/self/fd/{life}", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([own], [], [], 0)[0]:  # it was closed before the kernel watched
        sys.exit(1)


def _kill_group(pid: int, alive: bool = True) -> None:
    """Kill a run process and all it started; of one that has ended, what it left behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
        return
    if alive:  # it has not made its group yet
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
