"""Whether the work that is timed had the processor to itself, so that a busy machine's times are known as such.

A clock keeps counting while the kernel runs another process, throttles a container, or while a hypervisor runs another
guest. The processor time of this process does not: the difference is what was lost.
"""

import os
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.training.ledger import synchronise

TOLERANCE = 0.05
"""Share of a repeat's time without a processor, above which it counts as disturbed."""

LEAST_SECONDS = 20e-6
"""Less than this is never counted as lost: reading the clocks takes a few microseconds."""

SLICE_SECONDS = 3e-3
"""What an involuntary switch costs if the kernel does not say: the base slice of Linux's scheduler."""

PATIENCE = 3.0
"""Measuring takes at most this multiple of its planned time, if other processes disturb it."""


class Repeats(NamedTuple):
    """The seconds of the undisturbed repeats, or of all repeats if too few were undisturbed."""

    seconds: list[float]
    is_disturbed: bool


def is_disturbed(seconds: float, lost: float) -> bool:
    """Return whether a repeat of `seconds` lost too much time to count."""
    return lost > max(TOLERANCE * seconds, LEAST_SECONDS)


class Stopwatch:
    """Times one call after another: its seconds, and whether other processes disturbed it.

    On one thread and on a GPU, a call has lost the wall time beyond the processor time of this process, which spins
    while it waits for the GPU. With several threads, which sleep while they have nothing to do, it is the time that the
    kernel noted as spent in the run queue; if the kernel notes none, it is estimated from the involuntary switches.

    On a GPU, the seconds are taken between two CUDA events, and wall time decides what was lost.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._lost = _beyond_processor if device == "cuda" or torch.get_num_threads() == 1 else _in_queue

    def time(self, act: Callable[[], object]) -> tuple[float, bool]:
        """Return the seconds of a call, and whether it was disturbed."""
        synchronise(self._device)
        events: list[Any] = []
        if self._device == "cuda":
            events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
        lost, start = self._lost(), time.perf_counter()
        if events:
            events[0].record()
        act()
        if events:
            events[1].record()
        synchronise(self._device)
        wall = time.perf_counter() - start
        lost = self._lost() - lost
        seconds = events[0].elapsed_time(events[1]) / 1e3 if events else wall
        return seconds, is_disturbed(wall, lost)


def collect(act: Callable[[], object], device: str, is_enough: Callable[[list[float]], bool], least: int) -> Repeats:
    """Repeat a call until `is_enough` of the undisturbed seconds, or until PATIENCE times the planned time is over.

    The planned time is what it took to have enough repeats, disturbed ones counted. With `least` undisturbed repeats,
    the result counts as undisturbed.
    """
    stopwatch = Stopwatch(device)
    every: list[float] = []
    undisturbed: list[float] = []
    began, bound = time.perf_counter(), None
    while not is_enough(undisturbed):
        seconds, disturbed = stopwatch.time(act)
        every.append(seconds)
        if not disturbed:
            undisturbed.append(seconds)
        elapsed = time.perf_counter() - began
        if bound is None and is_enough(every):
            bound = PATIENCE * elapsed
        if bound is not None and elapsed >= bound:
            break
    return Repeats(undisturbed, False) if len(undisturbed) >= least else Repeats(every, True)


def _beyond_processor() -> float:
    """Return the seconds so far in which no thread of this process was on a processor; only differences count."""
    return time.perf_counter() - time.process_time()


def _in_queue() -> float:
    """Return the seconds that the threads of this process were ready to run and had no processor, summed."""
    waited = 0
    try:
        for thread in os.scandir("/proc/self/task"):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                waited += int(Path(thread.path, "schedstat").read_text().split()[1])
    except (OSError, ValueError, IndexError):  # not Linux, or a kernel that does not count
        return SLICE_SECONDS * resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    return waited / 1e9
