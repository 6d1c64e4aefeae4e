"""What several tests of training share."""

import time
from collections.abc import Callable

import pytest


@pytest.fixture
def clock(monkeypatch) -> Callable[[float], None]:
    """Return a function that moves `time.perf_counter` forward by some seconds; nothing else does."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait
