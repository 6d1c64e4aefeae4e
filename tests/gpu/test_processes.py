"""Run processes on a GPU: what each sees, what it costs to start one, and several on one GPU."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from bench.sweeps.engines import machine
from bench.training.energy import EnergyMeter
from tests.gpu.runs import CONTEXT, HERE, carry_out, first_gpu, look_around, losses, on_gpu, opened_devices

ROOT = Path(__file__).parents[2]


def seen_by(folder: Path, slot: machine.Slot) -> dict:
    """Return what `look_around` writes in a run process of a slot."""
    from bench.sweeps.engines.engine import Job
    from bench.sweeps.engines.local import LocalEngine

    folder.mkdir()
    engine = LocalEngine([slot], stall_seconds=120, run=f"{HERE}:{look_around.__name__}")
    try:
        engine.wait_for_server()
        (end,) = engine.run_all([Job("d/look", folder)])
    finally:
        engine.close()
    assert end.cause is None, (folder / "log.txt").read_text()
    return json.loads((folder / "seen.json").read_text())


def names_of_the_gpu() -> dict[str, str | None]:
    """Return the names under which CUDA_VISIBLE_DEVICES may ask for the first GPU; None where it has no such name."""
    gpu = first_gpu()
    is_whole = not gpu.slices
    return {
        "index": gpu.index,
        "UUID": gpu.uuid if is_whole else None,  # CUDA asks for a slice by its own UUID
        "beginning of the UUID": gpu.uuid[: len("GPU-") + 8] if is_whole else None,
        "UUID of a slice": None if is_whole else gpu.slices[0],
    }


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["index", "UUID", "beginning of the UUID", "UUID of a slice"])
def test_a_gpu_is_found_by_every_name_and_seen_alone(tmp_path, monkeypatch, record_property, kind):
    name = names_of_the_gpu()[kind]
    if name is None:
        state = "is divided into slices (MIG)" if first_gpu().slices else "is not divided into slices (MIG)"
        pytest.skip(f"{first_gpu().name} {state}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", name)
    slots, device = machine.make_slots(None, "all")
    assert device == "cuda"
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots] == [name]
    seen = seen_by(tmp_path / "look", slots[0])
    assert (seen["variable"], seen["count"]) == (name, 1)
    gpu = first_gpu()
    if not gpu.slices:
        assert seen["uuid"].lower() in gpu.uuid.lower()
    # NVML counts what the driver keeps for itself as well.
    assert machine.free_memory(slots, "cuda") == pytest.approx(seen["bytes"], rel=0.1)
    joules, meter = EnergyMeter("cuda").joules()
    assert (joules is None) == (meter is None)
    if kind == "UUID of a slice":
        assert meter is None  # a slice has no meter of its own
    record_property("start of the process, s", f"{seen['waited_seconds']:.3f}")
    record_property("start of CUDA in it, s", f"{seen['wake_seconds']:.2f}")


@pytest.mark.gpu
def test_two_runs_on_two_gpus_see_a_different_one_each(tmp_path):
    if len(machine.visible_gpus()) < 2:
        pytest.skip("one GPU is visible")
    first, second = (seen_by(tmp_path / str(i), slot) for i, slot in enumerate(machine.make_slots(None, "2")[0]))
    assert (first["count"], second["count"]) == (1, 1)
    assert first["uuid"] != second["uuid"]


@pytest.mark.gpu
def test_the_fork_server_has_not_woken_cuda_when_a_run_does(tmp_path, slot):
    seen = seen_by(tmp_path / "look", slot)
    assert CONTEXT in seen["opened"]
    assert CONTEXT not in seen["opened_by_server"]


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has ended
        return []


def roles(coordinator: int) -> Iterator[tuple[str, int]]:
    """Yield the processes of a sweep that runs, each with its role: coordinator, fork server or run."""
    yield "coordinator", coordinator
    for server in children(coordinator):
        yield "fork server", server
        for run in children(server):
            yield "run", run


def devices_of_a_sweep(*options: str) -> dict[str, set[str]]:
    """Carry out a small sweep by the command line; return the device files that its processes opened, by role."""
    command = [sys.executable, "-m", "bench", "sweep", "--dataset", "latch", "--length", "8", "--models", "lstm"]
    command += ["--budget", "smoke", "--name", "s", *options]
    opened: dict[str, set[str]] = {"coordinator": set(), "fork server": set(), "run": set()}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while process.poll() is None:
            for role, pid in roles(process.pid):
                opened[role] |= opened_devices(pid)
            time.sleep(0.01)
        assert process.stdout is not None
        assert process.returncode == 0, process.stdout.read()
    return opened


@pytest.mark.gpu
def test_only_the_runs_of_a_sweep_wake_cuda(tmp_path):
    opened = devices_of_a_sweep("--gpus", "1", "--results", str(tmp_path))
    assert CONTEXT in opened["run"]
    assert CONTEXT not in opened["coordinator"] | opened["fork server"]


@pytest.mark.gpu
def test_the_price_of_a_run_is_that_of_a_fork_and_of_cuda(tmp_path, slot, record_property):
    """The price is what a run takes beside its later steps and validations."""
    cpu: machine.Slot = {"CUDA_VISIBLE_DEVICES": ""}
    for device, where in (("cpu", cpu), ("cuda", slot)):
        configs = [on_gpu(f"{device}{seed}", seed=seed, device=device) for seed in range(5)]
        records, ends = carry_out(tmp_path / device, configs, [where])
        prices = []
        for record, end in zip(records, ends, strict=True):
            losses(record)
            assert record.seconds.waiting < 3, "torch was imported anew, which takes longer"
            prices.append(end.seconds - record.seconds.data - record.seconds.train - record.seconds.evaluate)
        record_property(f"price of a run on {device}, median of 5, s", f"{statistics.median(prices):.2f}")
        first_steps = [record.seconds.burn_in for record in records]
        record_property(f"of it, the first step on {device}, s", f"{statistics.median(first_steps):.2f}")


def interval(record) -> tuple[float, float]:
    start = datetime.fromisoformat(record.started_at).timestamp()
    return start, start + record.seconds.total - record.seconds.waiting


@pytest.mark.gpu
def test_three_runs_share_a_gpu_and_learn_what_each_learns_alone(tmp_path, record_property):
    size = {"max_sequences": 32 * 300, "batch_size": 32, "learning_rate": 1e-2}
    configs = [on_gpu(f"t{seed}", seed=seed, length=64, settings=size, device_sharers=3) for seed in range(3)]
    carry_out(tmp_path / "first", [on_gpu("first")], machine.make_slots(None, "1")[0])  # starts the fork server
    found = {}
    for name, slots in {
        "one after another": machine.make_slots(None, "1")[0],
        "at a time": machine.make_slots(None, "1", runs_per_gpu=3)[0],
    }.items():
        began = time.monotonic()
        found[name], _ = carry_out(tmp_path / name, configs, slots)
        record_property(f"three runs {name}, s", f"{time.monotonic() - began:.1f}")
    intervals = [interval(record) for record in found["at a time"]]
    assert max(start for start, _ in intervals) < min(end for _, end in intervals), "the runs did not overlap"
    for alone, shared in zip(*found.values(), strict=True):
        assert losses(shared) == pytest.approx(losses(alone), abs=0.02)
