"""A time that other processes disturbed is measured again, and marked if it stays disturbed."""

import os
import subprocess
import sys
import time
from itertools import cycle

import pytest
import torch

from bench.training import contention, timing

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")


@pytest.fixture
def busy_core():
    """Pin this process to one core, on which another process computes all the time."""
    cores = os.sched_getaffinity(0)
    core = min(cores)
    burn = f"import os; os.sched_setaffinity(0, {{{core}}}); print(flush=True)\nwhile True: pass"
    other = subprocess.Popen([sys.executable, "-c", burn], stdout=subprocess.PIPE)
    try:
        other.stdout.readline()
        os.sched_setaffinity(0, {core})
        yield core
    finally:
        os.sched_setaffinity(0, cores)
        other.kill()
        other.wait()
        other.stdout.close()


def compute(seconds: float) -> None:
    """Use the processor for `seconds`, however long that takes."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_steps_longer_than_a_time_slice_are_marked_on_a_busy_core(busy_core):
    repeats = timing.repeat(lambda: compute(0.03), "cpu", 10)
    assert repeats.is_disturbed
    assert sorted(repeats.seconds)[len(repeats.seconds) // 2] > 0.03 * (1 + contention.TOLERANCE)


def test_measuring_on_a_busy_core_ends_in_time(busy_core):
    calls = []
    timing.repeat(lambda: (calls.append(1), compute(0.03)), "cpu", 10)
    planned = 10 + 3  # the repeats and the warm-up
    assert len(calls) <= contention.PATIENCE * planned


@pytest.mark.parametrize("threads", [1, 2])
def test_the_kernel_or_the_clocks_know_of_a_busy_core(busy_core, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        stopwatch = contention.Stopwatch("cpu")
        found = [stopwatch.time(lambda: compute(0.05)) for _ in range(3)]
    finally:
        torch.set_num_threads(before)
    assert all(disturbed for _, disturbed in found)


def test_a_kernel_that_counts_no_queue_is_asked_for_switches(busy_core, monkeypatch):
    def missing(path):
        raise FileNotFoundError(path)

    before = contention._in_queue()
    monkeypatch.setattr(os, "scandir", missing)
    switches = contention._in_queue()
    compute(0.1)
    assert contention._in_queue() > switches >= 0
    assert before >= 0


def test_only_undisturbed_repeats_count(clock):
    """Every other repeat of 20 ms loses 80 ms to another process."""
    losses = cycle([0.0, 0.08])

    def act():
        lost = next(losses)
        clock(0.02 + lost, lost)

    repeats = timing.repeat(act, "cpu", 30)
    assert repeats.seconds == pytest.approx([0.02] * len(repeats.seconds))
    assert len(repeats.seconds) > 5  # it tried again for more than the least
    assert not repeats.is_disturbed


def test_a_measurement_that_stays_disturbed_is_marked_after_three_times_its_time(clock):
    calls = []

    def act():
        calls.append(1)
        clock(0.1, 0.08)

    repeats = timing.repeat(act, "cpu", 30)
    assert repeats.is_disturbed
    assert repeats.seconds == pytest.approx([0.1] * len(repeats.seconds))
    planned = 5  # repeats of 0.1 s
    assert len(repeats.seconds) == contention.PATIENCE * planned


def test_a_few_undisturbed_repeats_are_enough(clock):
    """One repeat in six is undisturbed: 5 of them come before three times the planned time is over, not 30."""
    losses = cycle([0.0, *[0.001] * 5])

    def act():
        lost = next(losses)
        clock(0.001 + lost, lost)

    repeats = timing.repeat(act, "cpu", 30)
    assert not repeats.is_disturbed
    assert repeats.seconds == pytest.approx([0.001] * len(repeats.seconds))
    assert 5 <= len(repeats.seconds) < 30


@pytest.mark.parametrize(
    ("seconds", "lost", "disturbed"),
    [(1.0, 0.04, False), (1.0, 0.06, True), (50e-6, 15e-6, False), (50e-6, 25e-6, True), (0.0, 0.0, False)],
)
def test_a_twentieth_of_a_repeat_may_be_lost(seconds, lost, disturbed):
    assert contention.is_disturbed(seconds, lost) == disturbed


def test_a_gpu_is_timed_by_events_and_judged_by_wall_time(clock, monkeypatch):
    """A fake device: its events say 2 ms, the wall 10 ms, of which another process took 8 ms."""

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self): ...

        def elapsed_time(self, end):
            return 2.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    stopwatch = contention.Stopwatch("cuda")
    assert stopwatch.time(lambda: clock(0.01, 0.008)) == (0.002, True)
    assert stopwatch.time(lambda: clock(0.0021)) == (0.002, False)
