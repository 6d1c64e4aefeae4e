"""Runs as processes of this machine.

A run process is forked from a server that has torch and Lightning loaded, leads a session of its own, and is killed,
with all it started, when the coordinator is gone. It gets a folder with a config.json and leaves a record.json there;
its progress comes up a pipe.
"""

import contextlib
import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from bench.sweeps.engines.engine import RUN, Engine, Event, Job
from bench.sweeps.engines.server import PRELOAD, Child, Clock, load, shared
from bench.training import signals


@dataclass
class _Running:
    job: Job
    slot: dict[str, str]
    child: Child
    started: float  # monotonic
    heard: float  # by the engine's clock
    is_stalled: bool = False


class LocalEngine(Engine):
    """Runs jobs in slots, each a set of environment variables (which GPU) that a run process gets.

    `run` names the function that a process calls, `preload` what its server imports first; tests put their own there.
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
        self._server = shared(tuple(preload))
        self._clock = Clock()

    def start_server(self) -> None:
        """Start the fork server; it loads torch in the background."""
        self._server.start()

    def wait_for_server(self) -> None:
        """Wait until the server can fork. Raises HardwareError where it cannot load torch."""
        self._server.wait_until_ready()

    @property
    def num_open(self) -> int:
        """How many jobs are running or waiting."""
        return len(self._running) + len(self._waiting)

    @property
    def processes(self) -> dict[str, int]:
        """The number of the process of each job that has one."""
        pids = {job_id: running.child.pid for job_id, running in self._running.items()}
        return {job_id: pid for job_id, pid in pids.items() if pid is not None}

    def submit(self, job: Job) -> None:
        """Start a job as soon as a slot is free and the server is ready. Raises HardwareError."""
        self._waiting.append(job)
        self._start_waiting()

    def decide(self, job: Job, keep_going: bool) -> None:
        """Answer a job that asked after an epoch."""
        running = self._running.get(job.id)
        if running is not None:
            with contextlib.suppress(OSError):
                running.child.pipe.send(keep_going)

    def wait(self, timeout: float) -> list[Event]:
        """Return what happened since the last call, waiting up to `timeout` seconds for something to happen.

        Raises HardwareError where the server cannot be started again.
        """
        self._start_waiting()
        pipes = [running.child.pipe for running in self._running.values() if not running.child.pipe.closed]
        if not any(running.child.status is not None for running in self._running.values()):
            wait([*pipes, *([self._server.channel] if self._server.channel is not None else [])], timeout)
        self._server.update()
        events: list[Event] = []
        now = self._clock.now()
        for running in list(self._running.values()):
            has_ended = running.child.status is not None  # seen before the pipe is read to its end
            events += (progress := self._receive(running))
            if progress:
                running.heard = now
            if has_ended:
                events.append(self._end(running))
            elif now - running.heard > self._stall_seconds:
                running.is_stalled = True
                self._server.kill(running.child)
        # The next job starts before any time is spent on the events.
        self._start_waiting()
        return events

    def close(self) -> None:
        """Kill what runs and forget what waits."""
        self._waiting.clear()
        self._server.end([running.child for running in self._running.values()])
        for running in list(self._running.values()):
            self._end(running)

    def _start_waiting(self) -> None:
        while self._waiting and self._free and len(self._running) < self.concurrency:
            self._server.start()
            if not self._server.ready:
                return
            job, slot = self._waiting.popleft(), self._free.popleft()
            started = time.monotonic()
            folder = job.folder.absolute()  # the server may have another working directory
            arguments = (self._run, str(folder), job.ask_pruner, started)
            child = self._server.fork(f"{__name__}:work", arguments, slot, str(folder / "log.txt"))
            self._running[job.id] = _Running(job, slot, child, started, self._clock.now())

    def _receive(self, running: _Running) -> list[Event]:
        events = []
        pipe = running.child.pipe
        try:
            while not pipe.closed and pipe.poll():
                kind, steps, value = pipe.recv()
                events.append(Event(running.job, kind, steps, value))
        except (EOFError, OSError):
            pipe.close()
        return events

    def _end(self, running: _Running) -> Event:
        del self._running[running.job.id]
        self._free.append(running.slot)
        running.child.pipe.close()
        cause = "stall" if running.is_stalled else _cause(running.child.status)
        return Event(running.job, "ended", cause=cause, seconds=time.monotonic() - running.started)


def work(pipe: Connection, run: str, folder: str, ask_pruner: bool, submitted: float) -> None:
    """Carry out the run in a folder, reporting up the pipe; this is the work of a run process."""

    def on_report(report: tuple[str, int, float | None]) -> bool:
        pipe.send(tuple(report))
        return bool(pipe.recv()) if ask_pruner and report[0] == "epoch" else True

    load(run)(Path(folder), on_report, submitted)


def _cause(status: int | None) -> str | None:
    """Return the name of an exit status, as Popen.returncode gives it; None for success."""
    if not status:
        return None
    if -status in (signal.SIGKILL, *signals.STOPS):
        return "killed"
    return f"signal {-status}" if status < 0 else f"exit {status}"
