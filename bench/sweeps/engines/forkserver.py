"""The process that run processes are forked from: `python -m bench.sweeps.engines.forkserver CHANNEL LIFE MODULE…`.

It imports the modules once, so that a run starts in hundredths of a second. It takes orders from the channel and
answers on it: `ready`, `pong`, `forked` with a process's number, and `exited` with its status, as Popen.returncode
gives it, once nothing that the process started is left. It ends, with all below it, when the channel is closed.
"""

import contextlib
import importlib
import os
import select
import signal
import sys
import time
import traceback
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any, NamedTuple, NoReturn

from bench.sweeps.engines import processes
from bench.sweeps.engines.server import load
from bench.training import launchers, signals

CLEANUP_SECONDS = 5.0  # for killed processes to be gone; one that waits for a dead disk takes longer


class Order(NamedTuple):
    """What a forked process is to do."""

    function: str  # module:function; called with the pipe's file, and the arguments
    arguments: tuple[Any, ...]
    environment: dict[str, str]
    log: str | None  # file for its output and errors; None: the server's own


class _Server:
    def __init__(self, channel: Connection, life: int) -> None:
        self._channel, self._life = channel, life
        self._jobs: dict[int, str] = {}  # forked processes that have not been reaped
        self._helpers = processes.children()  # of the imported modules
        # A byte for every child that ends wakes `select`.
        self._wake_read, self._wake_write = os.pipe()
        for file in (self._wake_read, self._wake_write):
            os.set_blocking(file, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Follow orders until the channel is closed; then kill everything below this process."""
        with contextlib.suppress(EOFError, OSError):
            self._channel.send(("ready",))
            while True:
                ready, _, _ = select.select([self._channel.fileno(), self._wake_read], [], [])
                if self._wake_read in ready:
                    os.read(self._wake_read, 65536)
                    self._reap()
                if self._channel.fileno() in ready:
                    self._follow(self._channel.recv())
        for pid in self._jobs:
            processes.kill_group(pid)
        self._jobs.clear()
        self._kill_orphans()

    def _follow(self, order: tuple[Any, ...]) -> None:
        if order[0] == "ping":
            self._channel.send(("pong",))
        elif order[0] == "kill":
            for pid, job in self._jobs.items():
                if job == order[1]:
                    processes.kill_group(pid)
        else:
            self._fork(order[1], Order(*order[2:]), recv_handle(self._channel))

    def _fork(self, job: str, order: Order, pipe: int) -> None:
        try:
            pid = os.fork()
        except OSError:  # no room for another process
            self._channel.send(("exited", job, -signal.SIGKILL))
        else:
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for file in (self._wake_read, self._wake_write):
                    os.close(file)
                self._channel.close()
                _run(order, pipe, self._life)
            self._jobs[pid] = job
            self._channel.send(("forked", job, pid))
        os.close(pipe)

    def _reap(self) -> None:
        """Report every process that has ended, after what it left behind is killed."""
        ended: dict[str, int] = {}
        for pid, job in list(self._jobs.items()):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                processes.kill_group(pid)  # while its number cannot be given to another
                ended[job] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                del self._jobs[pid]
        self._kill_orphans()
        for job, status in ended.items():
            self._channel.send(("exited", job, status))

    def _kill_orphans(self) -> None:
        """Kill what ended runs left behind: every child that is not a run, until there is none.

        Each run adopts what is left behind below it, so that no process here belongs to a run that is still there.
        """
        end = time.monotonic() + CLEANUP_SECONDS
        while (orphans := processes.children() - self._jobs.keys() - self._helpers) and time.monotonic() < end:
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError, PermissionError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.002)


def _run(order: Order, pipe: int, life: int) -> NoReturn:
    """Be the forked process: follow the order and end."""
    status = 1
    try:
        os.setsid()
        processes.tie_to(life, signal.SIGKILL)
        processes.adopt_orphans()
        processes.offer_to_the_memory_killer()
        signals.ignore_stops()
        os.environ.update(order.environment)  # before CUDA wakes
        if order.log is not None:
            log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
        load(order.function)(Connection(pipe), *order.arguments)
        status = 0
    except (SystemExit, KeyboardInterrupt) as end:
        if signals.was_told_to_stop():  # a library has acted on the signal
            os.kill(os.getpid(), signal.SIGKILL)
        code = end.code if isinstance(end, SystemExit) else 1
        status = code if isinstance(code, int) else int(code is not None)
    except BaseException:  # noqa: BLE001 - nothing may climb out of a forked process
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status & 0xFF)


def main() -> None:
    """Be the fork server."""
    channel, life = Connection(int(sys.argv[1])), int(sys.argv[2])
    for number in signals.STOPS:
        signal.signal(number, signal.SIG_IGN)
    launchers.forget()
    tie = processes.tie_to(life, signal.SIGKILL, whole_group=False)
    for module in sys.argv[3:]:
        try:
            importlib.import_module(module)
        except Exception:  # noqa: BLE001 - the runs that need it say more, each in its log
            traceback.print_exc()
    processes.adopt_orphans()
    # From here on it has to clean up below it when the coordinator ends, even if it is stopped now.
    os.close(tie)
    processes.tie_to(life, signal.SIGCONT, whole_group=False)
    for file in (channel.fileno(), life):
        os.set_inheritable(file, False)
    _Server(channel, life).serve()


if __name__ == "__main__":
    main()
