"""What a run costs: a ledger of seconds, peak memory, and the description of the machine."""

import ctypes
import functools
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import bench
from bench.training.machine import PACKAGES, processor

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc


def prepare_process(threads: int) -> None:
    """Prepare this process for long sequences; call it before the first tensor operation.

    Vanishing gradients pass through subnormal floats, which a CPU handles many times slower: they are flushed to zero.
    The setting belongs to a thread, and threads started later inherit it. glibc would return every large block to the
    kernel and fault it in again at the next step: it is set to keep them, which makes time linear in length.
    """
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        libc.mallopt(_M_TOP_PAD, 64 << 20)


class Ledger:
    """Seconds by purpose. Time of an inner purpose is not counted for the outer one."""

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device
        self._stack: list[str] = []
        self._last = time.perf_counter()

    @contextmanager
    def spent_on(self, purpose: str) -> Iterator[None]:
        """Book the time of the block under `purpose`, including the work of the device."""
        self.switch(purpose)
        try:
            yield
        finally:
            self.back()

    def switch(self, purpose: str, synchronised: bool = True) -> None:
        """Start to book under `purpose`; `back` returns to the purpose before."""
        self._book(synchronised)
        self._stack.append(purpose)

    def back(self, synchronised: bool = True) -> None:
        """Return to the purpose before the last `switch`."""
        self._book(synchronised)
        self._stack.pop()

    def so_far(self, purpose: str) -> float:
        """Return the seconds booked under `purpose` until now."""
        self._book()
        return self.seconds.get(purpose, 0.0)

    def _book(self, synchronised: bool = True) -> None:
        if synchronised:
            synchronise(self._device)
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] = self.seconds.get(self._stack[-1], 0.0) + now - self._last
        self._last = now


def synchronise(device: str) -> None:
    """Wait until the device has finished, so that a clock can be read."""
    if device == "cuda":
        torch.cuda.synchronize()


class PeakMemory:
    """Peak memory of a run: what this process added since the meter was created, or the peak of the GPU's allocator."""

    def __init__(self, device: str) -> None:
        self._device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            return
        # A forked process starts with the pages of its server and, until it is reset, with its peak.
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self._start = 0
        else:
            self._start = self._resident("VmRSS")

    def bytes(self) -> int | None:
        """Return the peak so far, in bytes; None if the kernel cannot reset it."""
        if self._device == "cuda":
            return int(torch.cuda.max_memory_allocated())
        if not self._start:
            return None
        return max(0, self._resident("VmHWM") - self._start)

    @staticmethod
    def _resident(field: str) -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@functools.cache
def environment(device: str) -> dict[str, Any]:
    """Return the hardware and the versions on which the figures of a run depend."""
    hardware = processor()
    if device == "cuda":
        hardware = f"{torch.cuda.get_device_name()}, {hardware}"
    return {
        "hardware": hardware,
        "platform": platform.platform(),
        "bench": bench.__version__,
        "python": platform.python_version(),
        **{name.replace("-", "_"): version(name) for name in PACKAGES},
    }
