"""A fork server and the processes forked from it, as this process sees them.

The server is a process like any other: it may be killed, stopped or hang. It is asked for a sign of life while it is
used, and one that gives none is killed; its processes then count as killed, and the next order starts it again.
"""

import atexit
import contextlib
import functools
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.reduction import send_handle
from typing import Any

from bench.config.addresses import without_secrets
from bench.errors import BenchError, HardwareError
from bench.sweeps.engines import processes

PRELOAD = ("bench.sweeps.engines._preload",)
LOAD_SECONDS = 300.0  # to import the modules
SILENT_SECONDS = 30.0  # without a sign of life, after which a server counts as hung
MAX_STARTS = 3  # in a row that end before the server is ready
CALL_SECONDS = 120  # of `call`: your own code may never come back


@dataclass
class Child:
    """A process forked from a server."""

    id: str
    pipe: Connection  # to the process
    pid: int | None = None  # None until the server has forked it
    status: int | None = None  # as Popen.returncode gives it; None while the process runs


class Clock:
    """Seconds that this process was at work: a pause, as when it was stopped itself, counts as one second."""

    def __init__(self) -> None:
        self._seconds, self._last = 0.0, time.monotonic()

    def now(self) -> float:
        """Return the seconds so far."""
        last, self._last = self._last, time.monotonic()
        self._seconds += min(self._last - last, 1.0)
        return self._seconds


class ForkServer:
    """Starts a fork server, forks processes from it and follows them."""

    def __init__(self, preload: Sequence[str]) -> None:
        self._preload = preload
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Connection | None = None
        self._mark = f"{processes.own_mark()}/{uuid.uuid4().hex}"
        self._children: dict[str, Child] = {}
        self._clock = Clock()
        self._heard = self._asked = 0.0  # by the clock
        self._failed_starts = 0
        self.ready = False
        # Nothing is ever written to this pipe. The kernel acts when its last write end, which this process alone
        # holds, is closed.
        self._life_read, self._life_write = os.pipe()

    def start(self) -> None:
        """Start the server, unless it runs; it imports its modules in the background. Raises HardwareError."""
        if self._process is not None and self._process.poll() is not None:
            self._lose()
        if self._process is not None:
            return
        if self._failed_starts >= MAX_STARTS:
            hint = "see the lines above, and check that there is memory for it"
            raise HardwareError(f"the process that starts runs ended {MAX_STARTS} times while it loaded torch; {hint}")
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "bench.sweeps.engines.forkserver", str(theirs.fileno()), str(self._life_read)]
        self._process = subprocess.Popen(
            [*command, *self._preload],
            env=without_secrets(os.environ) | _module_path() | {processes.MARK: self._mark},
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), self._life_read),
            start_new_session=True,
        )
        theirs.close()
        self._channel = Connection(ours.detach())
        self._heard = self._asked = self._clock.now()

    @property
    def channel(self) -> Connection | None:
        """What becomes readable when there is something to `update`; None while the server does not run."""
        return self._channel

    def wait_until_ready(self) -> None:
        """Wait until the server can fork. Raises HardwareError."""
        self.start()
        while not self.ready:
            wait([self._channel] if self._channel is not None else [], 0.25)
            self.update()
            self.start()

    def fork(
        self, function: str, arguments: Sequence[Any], environment: dict[str, str] | None = None, log: str | None = None
    ) -> Child:
        """Fork a process from a server that is ready; it calls function(pipe, *arguments).

        `environment` and the settings of this process in BENCH_… are added to the server's environment: a program may
        have set them after the server was started. Output and errors go to the file `log`, or where the server's go.
        """
        inherited = without_secrets(os.environ)
        settings = {
            key: value for key, value in inherited.items() if key.startswith("BENCH_") and key != processes.MARK
        }
        ours, theirs = Pipe()
        child = Child(uuid.uuid4().hex, ours)
        self._children[child.id] = child
        try:
            assert self._channel is not None
            assert self._process is not None
            self._channel.send(("fork", child.id, function, tuple(arguments), settings | (environment or {}), log))
            send_handle(self._channel, theirs.fileno(), self._process.pid)
        except OSError:
            self._lose()
        theirs.close()
        return child

    def kill(self, child: Child) -> None:
        """Have the server kill a process and all it started."""
        self._send(("kill", child.id))

    def update(self) -> None:
        """Take in what the server has said; kill it if it has said nothing for too long."""
        try:
            while self._channel is not None and self._channel.poll():
                self._take_in(self._channel.recv())
        except (EOFError, OSError):
            self._lose()
        now = self._clock.now()
        if self._channel is None:
            return
        if now - self._heard > (SILENT_SECONDS if self.ready else LOAD_SECONDS):
            self._lose()
        elif self.ready and now - max(self._heard, self._asked) > SILENT_SECONDS / 4:
            self._asked = now
            self._send(("ping",))

    def end(self, children: Sequence[Child], seconds: float = 3.0) -> None:
        """Kill processes and all they started, through the server or, if that takes too long, together with it."""
        for child in children:
            if child.status is None:
                self.kill(child)
        end = time.monotonic() + seconds
        while any(child.status is None for child in children):
            if self._channel is None or time.monotonic() > end:
                self._lose()
                return
            wait([self._channel], 0.05)
            self.update()

    def close(self) -> None:
        """End the server and all below it."""
        if self._process is None:
            return
        if self._channel is not None:
            self._channel.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(3)
        self._lose()

    def _send(self, order: tuple[Any, ...]) -> None:
        try:
            if self._channel is not None:
                self._channel.send(order)
        except OSError:
            self._lose()

    def _take_in(self, message: tuple[Any, ...]) -> None:
        self._heard = self._clock.now()
        if message[0] == "ready":
            self.ready, self._failed_starts = True, 0
        elif message[0] == "forked":
            self._children[message[1]].pid = message[2]
        elif message[0] == "exited":
            self._children.pop(message[1]).status = message[2]

    def _lose(self) -> None:
        """Kill the server and all below it; they count as killed."""
        if self._process is None:
            return
        self._failed_starts += not self.ready
        self.ready = False
        self._process.kill()
        self._process.wait()
        processes.kill_marked(self._mark)
        if self._channel is not None:
            self._channel.close()
        self._process = self._channel = None
        for child in self._children.values():
            child.status = -signal.SIGKILL
        self._children.clear()


@functools.cache
def shared(preload: tuple[str, ...] = PRELOAD) -> ForkServer:
    """Return the server of this process for a list of modules: to import them takes seconds, so it is kept."""
    server = ForkServer(preload)
    atexit.register(server.close)
    return server


def call(function: str, *arguments: Any) -> Any:
    """Return what "module:function" returns for the arguments, worked out in a process that has torch loaded.

    Raises BenchError if the process dies, or is killed because it takes too long; and what the function raises.
    """
    server = shared()
    for _ in range(2):
        server.wait_until_ready()
        answer = _ask(server, function, arguments)
        if answer is not None or server.ready:  # else the server died, and not only the process
            break
    if answer is None:
        raise BenchError(f"the process of {function} died, or took longer than {CALL_SECONDS} s")
    succeeded, value = answer
    if not succeeded:
        raise value
    return value


def _ask(server: ForkServer, function: str, arguments: tuple[Any, ...]) -> tuple[bool, Any] | None:
    child = server.fork(f"{__name__}:answer", (function, arguments))
    end = time.monotonic() + CALL_SECONDS
    answer: tuple[bool, Any] | None = None
    try:
        while answer is None and child.status is None and time.monotonic() < end:
            if child.pipe in wait([child.pipe, *([server.channel] if server.channel is not None else [])], 0.25):
                answer = child.pipe.recv()
            server.update()
    except (EOFError, OSError):
        server.update()
    finally:
        server.end([child])
        child.pipe.close()
    return answer


def answer(pipe: Connection, function: str, arguments: tuple[Any, ...]) -> None:
    """Send what a function returns, or the error it raises, up the pipe; this is the work of a called process."""
    try:
        result = (True, load(function)(*arguments))
    except Exception as error:  # noqa: BLE001 - the caller handles it
        result = (False, error)
    sys.stdout.flush()  # the caller ends this process once it has the answer
    try:
        pipe.send(result)
    except Exception as error:  # noqa: BLE001 - of an object that cannot be sent, its text can
        pipe.send((False, BenchError(f"{type(result[1]).__name__}: {result[1]} ({error})")))


def load(function: str) -> Callable[..., Any]:
    """Return the function that `module:function` names."""
    module, name = function.split(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return loaded


def _module_path() -> dict[str, str]:
    """Return the environment with which a server and its runs find modules where this process does.

    Python would look into the working directory first, and take a bench.py there for this package.
    """
    return {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "PYTHONSAFEPATH": "1"}
