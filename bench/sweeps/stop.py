"""How a sweep is stopped from outside: by Ctrl-C, SIGTERM or the terminal's end."""

import os
import signal
import stat
import sys
import threading
import time
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, NoReturn

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_STOP_SECONDS = 0.5
"""Signals this close together are one stop: `timeout` sends two, and a closing terminal often does."""


def leave(exit_code: int) -> NoReturn:
    """End this process with an exit code.

    After a stop, at once: MLflow's thread may still be at work, and Python aborts if it ends such a thread in C++ code.
    """
    if exit_code >= 128:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)


class Stop:
    """Catches the signals that stop a sweep, as a context manager. The first stops cleanly, a second at once.

    The second ends the process or, if not `leaves`, raises KeyboardInterrupt: a notebook loses all it holds otherwise.
    Only the main thread of a process can catch signals; a sweep in another thread is not stopped by them.
    """

    def __init__(self, leaves: bool = True) -> None:
        self._leaves = leaves
        self.number: int | None = None  # of the signal
        self._at = 0.0
        self._handlers: dict[int, Any] = {}

    def __bool__(self) -> bool:
        """Return whether the sweep is to stop."""
        return self.number is not None

    @property
    def exit_code(self) -> int:
        """The exit code of a process that a signal stopped."""
        return 128 + (self.number or 0)

    def __enter__(self) -> "Stop":
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores it
                self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.number is not None:
            if now - self._at < SAME_STOP_SECONDS:
                return
            if not self._leaves:
                raise KeyboardInterrupt
            # The life pipe closes with this process, so that the kernel kills every run.
            os._exit(128 + number)
        if number == signal.SIGHUP:
            _silence_closed_terminal()
        self.number, self._at = number, now


def _silence_closed_terminal() -> None:
    """Discard further output to a terminal that was closed, as every write to it would raise."""
    null = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(output).st_mode) and not os.isatty(output):
                os.dup2(null, output)
    os.close(null)
