"""Cores, memory and GPUs of the machine, with the limits of containers; the slots that follow from them."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.errors import HardwareError
from bench.sweeps.engines import machine

GIB = 2**30


def fake_root(tmp_path: Path, kind: str, group: str, top: str, files: dict[str, str], controller: str = "cpu") -> Path:
    """A root folder whose /proc and /sys show a process in `group`, of which the container sees what is below `top`."""
    if kind == "v2":
        groups, mounts, folder = f"0::{group}", f"30 23 0:26 {top} /sys/fs/cgroup rw - cgroup2 cgroup2 rw", ""
    else:
        groups = f"4:{controller},cpuacct:{group}\n1:name=systemd:/init"
        mounts = f"32 31 0:29 {top} /sys/fs/cgroup/{controller} rw shared:1 - cgroup cgroup rw,{controller},cpuacct"
        folder = controller
    contents = {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, "proc/meminfo": "MemAvailable: 67108864 kB"}
    contents |= {f"sys/fs/cgroup/{folder}/{path}": text for path, text in files.items()}
    for path, text in contents.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text + "\n")
    return tmp_path


QUOTAS = {
    "v2, in a container": ("v2", "/", "/", {"cpu.max": "300000 100000"}, 3),
    "v2, no limit": ("v2", "/", "/", {"cpu.max": "max 100000"}, 16),
    "v2, a nested group with a limit above": ("v2", "/pod/job", "/", {"pod/cpu.max": "200000 100000"}, 2),
    "v2, the lowest of two": ("v2", "/a/b", "/", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "150000 100000"}, 1),
    "v2, less than a core": ("v2", "/", "/", {"cpu.max": "50000 100000"}, 1),
    "v1, no limit": ("v1", "/", "/", {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, 16),
    "v1, nested": ("v1", "/job/step", "/", {"job/cpu.cfs_quota_us": "500000", "job/cpu.cfs_period_us": "100000"}, 5),
    "v1, a container that sees its own group only": (
        *("v1", "/docker/abc", "/docker/abc"),
        *({"cpu.cfs_quota_us": "600000", "cpu.cfs_period_us": "100000"}, 6),
    ),
    "no cgroup files": ("v2", "/", "/", {}, 16),
}


@pytest.mark.parametrize("name", QUOTAS)
def test_the_cpu_quota_of_a_container_limits_the_cores(tmp_path, monkeypatch, name):
    kind, group, top, files, cores = QUOTAS[name]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    assert machine.usable_cores(fake_root(tmp_path, kind, group, top, files)) == cores


MEMORY = {
    "v2": ("v2", "/", {"memory.max": str(8 * GIB), "memory.current": str(3 * GIB)}, 5),
    "v2, page cache is free": (
        *("v2", "/"),
        *({"memory.max": f"{8 * GIB}", "memory.current": f"{7 * GIB}", "memory.stat": f"inactive_file {4 * GIB}"}, 5),
    ),
    "v2, nested": ("v2", "/a/b", {"a/memory.max": str(6 * GIB), "a/b/memory.max": "max"}, 6),
    "v1, nested": ("v1", "/a/b", {"a/memory.limit_in_bytes": str(2 * GIB), "a/memory.usage_in_bytes": "0"}, 2),
    "v1, no limit": ("v1", "/", {"memory.limit_in_bytes": "9223372036854771712"}, 64),
}


@pytest.mark.parametrize("name", MEMORY)
def test_the_memory_limit_of_a_container_limits_the_runs(tmp_path, name):
    kind, group, files, gib = MEMORY[name]
    root = fake_root(tmp_path, kind, group, "/", files, controller="memory")
    slots = [{"CUDA_VISIBLE_DEVICES": ""}] * 2
    assert machine.free_memory(slots, "cpu", root) == gib * GIB // 2


def test_this_machine_has_cores_and_memory():
    assert 1 <= machine.usable_cores() <= len(os.sched_getaffinity(0))
    assert machine.free_memory([{}], "cpu") > 2**20


@pytest.mark.parametrize(("workers", "threads", "slots"), [(None, 1, 6), (None, 2, 3), (None, 99, 1), (4, 2, 4)])
def test_the_cores_are_divided_by_the_threads_of_a_run(monkeypatch, workers, threads, slots):
    monkeypatch.setattr(machine, "usable_cores", lambda: 6)
    made, device = machine.make_slots(workers, "0", threads=threads)
    assert (len(made), device) == (slots, "cpu")


class FakeNvml:
    """Two GPUs, the second of them divided into two slices, as nvidia-ml-py shows them."""

    class NVMLError(Exception):
        """As NVML raises it."""

    def __init__(self) -> None:
        self.gpus = {"GPU-aaaa1111": 80, "GPU-bbbb2222": 80}
        self.slices = {"GPU-bbbb2222": ["MIG-cccc3333", None, "MIG-cccc4444"]}
        self.sizes = self.gpus | {"MIG-cccc3333": 10, "MIG-cccc4444": 20}

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return list(self.gpus)[index]

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return handle

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: str) -> int:
        if handle not in self.slices:
            raise self.NVMLError("not supported")
        return len(self.slices[handle])

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, index: int) -> str:
        if self.slices[handle][index] is None:
            raise self.NVMLError("not found")
        return self.slices[handle][index]

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(total=self.sizes[handle] * GIB)


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("0", 80),
        ("GPU-aaaa1111", 80),
        ("GPU-aa", 80),
        ("MIG-cccc4444", 20),
        ("MIG-cccc3", 10),
        ("1", 10),  # CUDA takes the first slice
    ],
)
def test_the_memory_of_a_gpu_or_a_slice_is_found_by_every_name(monkeypatch, name, gib):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    slots = [{"CUDA_VISIBLE_DEVICES": name}, {"CUDA_VISIBLE_DEVICES": name}]
    assert machine.free_memory(slots, "cuda") == gib * GIB // 2


@pytest.mark.parametrize(("name", "count"), [("MIG-cccc", 2), ("GPU-zzzz", 0), ("7", 0)])
def test_a_gpu_name_that_fits_none_or_several_is_refused(monkeypatch, name, count):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    with pytest.raises(HardwareError, match=f"names {name}, which fits {count} GPUs"):
        machine.free_memory([{"CUDA_VISIBLE_DEVICES": name}], "cuda")
