"""Runs on a GPU as a sweep makes them, in processes of the engine; and what such a process does in a test.

The functions that take a folder, a callback and a time are the work of a run process, in place of
`bench.training.train.run_in_folder`.
"""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.config.settings import RunConfig
from bench.results.record import RunRecord
from bench.sweeps.engines import machine
from bench.sweeps.engines.engine import RUN, Event, Job
from bench.sweeps.engines.local import LocalEngine
from bench.sweeps.engines.machine import Slot
from bench.training import train
from bench.training.watch import OnReport
from tests.makers import run_config

HERE = "tests.gpu.runs"
CAP = "BENCH_TEST_GPU_BYTES"
CONTEXT = "/dev/nvidia-uvm"  # a process opens it when CUDA wakes; NVML does without it


def on_gpu(name: str, phase: str = "screen", **changes: Any) -> RunConfig:
    """Return a small run on a GPU; see run_config."""
    return run_config(phase, run=f"d/{name}", **{"device": "cuda"} | changes)


class Gpu(NamedTuple):
    """The first GPU that is visible, as NVML describes it."""

    index: str
    uuid: str
    slices: list[str]  # UUIDs of its parts (MIG)
    name: str
    driver: str


def first_gpu() -> Gpu:
    """Return the first GPU that is visible, also where CUDA_VISIBLE_DEVICES names a slice of it."""
    import pynvml

    wanted = machine.visible_gpus()[0]
    pynvml.nvmlInit()
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid, slices = machine._uuid(handle), [machine._uuid(part) for part in machine._slices(handle)]
            if wanted == str(index) or any(name.startswith(wanted) for name in (uuid, *slices)):
                name, driver = pynvml.nvmlDeviceGetName(handle), pynvml.nvmlSystemGetDriverVersion()
                return Gpu(str(index), uuid, slices, name, driver)
    finally:
        pynvml.nvmlShutdown()
    raise LookupError(f"NVML knows no GPU {wanted}")


def losses(record: RunRecord) -> list[float]:
    """Return the training and validation losses of a complete run."""
    assert record.state == "complete", f"{record.config.run}: {record.cause}: {record.message}"
    return [loss for epoch in record.epochs for loss in (epoch.train_loss, epoch.val_loss or 0.0)]


def carry_out(
    folder: Path, configs: Sequence[RunConfig], slots: Sequence[Slot], run: str = RUN
) -> tuple[list[RunRecord], list[Event]]:
    """Carry out runs, as many at a time as there are slots; return their records and how each ended, in their order."""
    for config in configs:
        (folder / config.run).mkdir(parents=True)
        (folder / config.run / "config.json").write_text(config.model_dump_json())
    engine = LocalEngine(slots, stall_seconds=120, run=run)
    try:
        engine.wait_for_server()
        ends = engine.run_all([Job(config.run, folder / config.run) for config in configs])
    finally:
        engine.close()
    records = []
    for config, end in zip(configs, ends, strict=True):
        record = RunRecord.read(folder / config.run)
        log = folder / config.run / "log.txt"
        assert record is not None, f"{config.run}: {end.cause}: {log.read_text()[-2000:] if log.exists() else 'no log'}"
        records.append(record)
    return records, ends


def opened_devices(pid: int) -> set[str]:
    """Return the files below /dev that a process has open; empty if it has ended."""
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return set()
    opened = set()
    for link in links:
        try:
            opened.add(os.readlink(link))
        except OSError:  # it was closed meanwhile
            continue
    return {path for path in opened if path.startswith("/dev/")}


def look_around(folder: Path, on_report: OnReport, submitted: float) -> None:
    """Write what a run process sees of GPUs into `seen.json`."""
    waited = time.monotonic() - submitted
    began = time.perf_counter()
    torch.zeros(1, device="cuda").item()
    found: dict[str, Any] = {
        "variable": os.environ["CUDA_VISIBLE_DEVICES"],
        "count": torch.cuda.device_count(),
        "uuid": str(torch.cuda.get_device_properties(0).uuid),
        "bytes": torch.cuda.get_device_properties(0).total_memory,
        "waited_seconds": waited,
        "wake_seconds": time.perf_counter() - began,
        "opened": sorted(opened_devices(os.getpid())),
        "opened_by_server": sorted(opened_devices(os.getppid())),
    }
    (folder / "seen.json").write_text(json.dumps(found))


def with_a_cap(folder: Path, on_report: OnReport, submitted: float) -> None:
    """Train with no more of the GPU's memory than CAP says, in bytes; PyTorch raises its own error beyond it."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(int(os.environ[CAP]) / total)
    train.run_in_folder(folder, on_report, submitted)


def on_one_device(folder: Path, on_report: OnReport, submitted: float) -> None:
    """Train with all ranks on the first GPU, which Lightning would not choose."""
    from pytorch_lightning.accelerators import CUDAAccelerator

    first = torch.device("cuda", 0)
    CUDAAccelerator.parse_devices = staticmethod(lambda devices: [0] * int(devices))  # type: ignore[method-assign]
    CUDAAccelerator.get_parallel_devices = staticmethod(lambda devices: [first] * len(devices))  # type: ignore[method-assign]
    train.run_in_folder(folder, on_report, submitted)
