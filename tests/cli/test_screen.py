"""What a sweep shows where there is no terminal."""

from types import SimpleNamespace

import pytest

from bench.cli import screen
from bench.cli.screen import LINE_SECONDS, UNCHANGED_SECONDS, Screen


@pytest.fixture
def status():
    plan = SimpleNamespace(cells=[1, 2], num_runs=9)
    return SimpleNamespace(
        plan=plan, phase="first trials", finished_cells=0, finished_runs=1, failed=0, seconds_left=300.0, best={}
    )


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(screen.time, "monotonic", lambda: clock.now)
    return clock


def test_a_line_appears_when_something_has_happened_and_seldom_when_nothing_has(status, clock, monkeypatch):
    shown = Screen()
    said: list[str] = []
    monkeypatch.setattr(shown, "say", said.append)
    shown.update(status)
    assert not said  # the sweep has just begun
    clock.now += LINE_SECONDS + 1
    shown.update(status)
    assert said == ["first trials: 0/2 cells, 1/9 runs, 0 failed, about 5 min left; no scores yet"]
    for _ in range(int(UNCHANGED_SECONDS) - 1):
        clock.now += 1
        shown.update(status)
    assert len(said) == 1
    clock.now += 2
    shown.update(status)
    assert len(said) == 2
    status.finished_runs = 2
    clock.now += LINE_SECONDS + 1
    shown.update(status)
    assert len(said) == 3
