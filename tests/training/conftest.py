"""What several tests of training share."""

import time
from collections.abc import Callable

import pytest


@pytest.fixture
def clock(monkeypatch) -> Callable[..., None]:
    """Return a function that moves `time.perf_counter` forward by some seconds; nothing else does.

    The processor time of the process moves as far, less the seconds that are `lost` to other processes.
    """
    now = [100.0, 5.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "process_time", lambda: now[1])

    def wait(seconds: float, lost: float = 0.0) -> None:
        now[0] += seconds
        now[1] += seconds - lost

    return wait
