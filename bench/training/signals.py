"""Signals that stop a sweep, which a scheduler or a terminal may send to every process of it at once.

The coordinator alone decides what they mean. The processes of a run ignore them and are killed when the coordinator
stops, so that a stop never looks like the end of a run.
"""

import os
import signal
from types import FrameType

STOPS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

_received: set[int] = set()


def ignore_stops() -> None:
    """Ignore the signals of STOPS in this process, but not in those it starts, so that it can terminate them."""
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            _received.add(number)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number in STOPS:
        signal.signal(number, handle)


def was_told_to_stop() -> bool:
    """Return whether this process has ignored a signal that a library may have acted on."""
    return bool(_received)
