"""The machine that runs share: the cores, memory and GPUs this process may use, and the slots they make.

A container's limits (cgroup v1 and v2, at every level above this process) count as well as what the kernel shows.
"""

import importlib.metadata
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bench.errors import HardwareError
from bench.sweeps.engines.server import call

Slot = dict[str, str]
"""Environment variables of the runs in a slot: which GPUs they see."""


def make_slots(
    workers: int | None, gpus: str, runs_per_gpu: int = 1, gpus_per_run: int = 1, threads: int = 1
) -> tuple[list[Slot], str]:
    """Return the slots, one for each run at a time, and the device of their runs. Raises HardwareError.

    Without GPUs: `workers` slots, or one for every `threads` cores. With GPUs: `runs_per_gpu` slots on each of the
    first `gpus` that CUDA_VISIBLE_DEVICES leaves visible, or one slot on every `gpus_per_run` of them.
    """
    check_sharing(gpus, runs_per_gpu, gpus_per_run)
    if gpus == "0":
        return [{"CUDA_VISIBLE_DEVICES": ""} for _ in range(workers or max(1, usable_cores() // threads))], "cpu"
    visible = visible_gpus()
    count = len(visible) if gpus == "all" else int(gpus)
    if count > len(visible) or not visible:
        shown = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        raise HardwareError(f"--gpus {gpus}, but {len(visible)} are visible (CUDA_VISIBLE_DEVICES: {shown})")
    if count % gpus_per_run:
        raise HardwareError(f"--gpus-per-run {gpus_per_run} does not divide {count} GPUs: some would stand idle")
    groups = [",".join(visible[i : i + gpus_per_run]) for i in range(0, count, gpus_per_run)]
    # In the order of the bus, which is how NVML counts them.
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    slots = [{"CUDA_VISIBLE_DEVICES": group} | order for _ in range(runs_per_gpu) for group in groups]
    if workers is not None and workers > len(slots):
        hint = "" if gpus_per_run > 1 else f": add --runs-per-gpu {math.ceil(workers / count)}"
        raise HardwareError(f"--workers {workers}, but {count} GPUs make room for {len(slots)} runs at a time{hint}")
    return slots[: workers or len(slots)], "cuda"


def check_sharing(gpus: str, runs_per_gpu: int, gpus_per_run: int) -> None:
    """Raise HardwareError for options that contradict each other."""
    if gpus == "0" and (gpus_per_run > 1 or runs_per_gpu > 1):
        raise HardwareError("--gpus-per-run and --runs-per-gpu divide GPUs among runs: add --gpus all, or a count")
    if gpus_per_run > 1 and runs_per_gpu > 1:
        raise HardwareError(f"--gpus-per-run {gpus_per_run} and --runs-per-gpu {runs_per_gpu}: give one of them")


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may keep busy: those it may run on, within the CPU quota of its container.

    A quota of 3.5 cores counts as 3; the result is at least 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = []
    for folder in _cgroups("cpu", root):
        v1 = [*_numbers(folder, "cpu.cfs_quota_us"), *_numbers(folder, "cpu.cfs_period_us")]
        quota_and_period = _numbers(folder, "cpu.max", 2) or v1
        if len(quota_and_period) == 2 and min(quota_and_period) > 0:  # a quota of -1 is none
            quotas.append(quota_and_period[0] / quota_and_period[1])
    return max(1, int(min([cores, *quotas])))


def free_memory(slots: Sequence[Slot], device: str, root: Path = Path("/")) -> int:
    """Return the bytes that one run may use if all slots are taken: of its GPU, or of what is free on this machine."""
    if device == "cuda":
        return _gpu_memory(slots[0]["CUDA_VISIBLE_DEVICES"].split(",")[0]) // sum(slot == slots[0] for slot in slots)
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _cgroups("memory", root):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            for size in _numbers(folder, limit):
                free = min(free, size - max(0, sum(_numbers(folder, used)) - _page_cache(folder)))
    return max(0, free) // len(slots)


def _cgroups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of the cgroups this process is in, from its own up to the topmost one that is visible.

    /proc/self/cgroup names the group below the hierarchy's root; a container may see only a part of the hierarchy,
    mounted at the path of which /proc/self/mountinfo names the root. https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    try:
        groups = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
        mounts = [line.split() for line in (root / "proc/self/mountinfo").read_text().splitlines()]
    except OSError:  # not Linux
        return
    for _, controllers, group in groups:
        if controllers and controller not in controllers.split(","):
            continue
        for mount in mounts:
            kind = mount[mount.index("-") + 1]
            is_v1 = kind == "cgroup" and controller in mount[-1].split(",")
            if is_v1 if controllers else kind == "cgroup2":
                top = root / mount[4].lstrip("/")
                inside = PurePosixPath(group).is_relative_to(mount[3])
                below = PurePosixPath(group).relative_to(mount[3]) if inside else PurePosixPath()
                yield from (top / part for part in (below, *below.parents))


def _numbers(folder: Path, name: str, count: int = 1) -> list[int]:
    """Return the numbers at the beginning of a cgroup's file; none where it is missing or says `max`."""
    try:
        return [int(word) for word in (folder / name).read_text().split()[:count]]
    except (OSError, ValueError):
        return []


def _page_cache(folder: Path) -> int:
    """Return the bytes of a cgroup that the kernel gives back when memory is needed."""
    try:
        lines = [line.split() for line in (folder / "memory.stat").read_text().splitlines()]
    except OSError:
        return 0
    counts = {line[0]: int(line[1]) for line in lines if len(line) == 2}
    return counts.get("total_inactive_file", counts.get("inactive_file", 0))


def visible_gpus() -> list[str]:
    """Return the GPUs that may be used, as CUDA_VISIBLE_DEVICES names them."""
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is not None:
        names = [name.strip() for name in variable.split(",") if name.strip()]
        return list(itertools.takewhile(lambda name: name != "-1", names))  # CUDA looks no further
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    count = pynvml.nvmlDeviceGetCount()
    pynvml.nvmlShutdown()
    return [str(index) for index in range(count)]


def check_gpus(slots: Sequence[Slot]) -> None:
    """Raise HardwareError where torch does not see the GPUs of the slots: no CUDA in its build, or another driver's."""
    expected = len({gpu for slot in slots for gpu in slot["CUDA_VISIBLE_DEVICES"].split(",")})
    seen = call("torch.cuda:device_count")
    if seen < expected:
        version = importlib.metadata.version("torch")
        hint = "install the build for this machine's driver: https://pytorch.org/get-started/locally"
        raise HardwareError(f"--gpus: torch {version} sees {seen} of {expected}; {hint}")


def _gpu_memory(name: str) -> int:
    """Return the bytes of a GPU, or of a slice of one (MIG), by its index or the beginning of its UUID.

    CUDA uses the first slice of a GPU that is divided and named by its index. Raises HardwareError where `name` fits
    none, or several. https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables
    """
    import pynvml

    pynvml.nvmlInit()
    try:
        gpus = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        if name.isdecimal():
            matches = [(_slices(gpu) or [gpu])[0] for gpu in gpus[int(name) : int(name) + 1]]
        else:
            devices = [device for gpu in gpus for device in (gpu, *_slices(gpu))]
            matches = [device for device in devices if _uuid(device).startswith(name)]
        if len(matches) != 1:
            raise HardwareError(f"CUDA_VISIBLE_DEVICES names {name}, which fits {len(matches)} GPUs; name one of them")
        return int(pynvml.nvmlDeviceGetMemoryInfo(matches[0]).total)
    finally:
        pynvml.nvmlShutdown()


def _slices(gpu: Any) -> list[Any]:
    """Return the slices (MIG) that a GPU is divided into; none where it is whole."""
    import pynvml

    slices = []
    try:
        for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
            try:
                slices.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index))
            except pynvml.NVMLError:  # a place that no slice takes
                continue
    except pynvml.NVMLError:  # a GPU, or a driver, that knows no slices
        return []
    return slices


def _uuid(device: Any) -> str:
    import pynvml

    uuid = pynvml.nvmlDeviceGetUUID(device)
    return uuid.decode() if isinstance(uuid, bytes) else str(uuid)
