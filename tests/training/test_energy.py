"""Energy and CPU time: what the meters say, and that a meter without an answer harms nothing."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.training.energy import EnergyMeter, cpu_seconds

RANGE = 65_532_610_987  # microjoules, of an Intel CPU
BURN = "import time\nwhile time.process_time() < {}: pass"


def zone(root: Path, name: str, microjoules: int, label: str = "package-0") -> Path:
    """Set a domain of the fake powercap tree."""
    folder = root / name
    folder.mkdir(exist_ok=True)
    (folder / "name").write_text(label + "\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
    return folder


def test_packages_are_summed(tmp_path):
    zone(tmp_path, "intel-rapl:0", 1_000_000)
    zone(tmp_path, "intel-rapl:1", 5_000_000, "package-1")
    meter = EnergyMeter("cpu", tmp_path)
    zone(tmp_path, "intel-rapl:0", 3_500_000)
    zone(tmp_path, "intel-rapl:1", 6_000_000, "package-1")
    assert meter.joules() == (pytest.approx(3.5), "rapl")


def test_only_packages_are_counted_and_each_once(tmp_path):
    others = {"intel-rapl:0:0": "core", "intel-rapl:1": "psys", "intel-rapl-mmio:0": "package-0"}
    zone(tmp_path, "intel-rapl:0", 0)
    for name, label in others.items():
        zone(tmp_path, name, 0, label)
    (tmp_path / "intel-rapl").mkdir()  # the control type itself
    meter = EnergyMeter("cpu", tmp_path)
    zone(tmp_path, "intel-rapl:0", 2_000_000)
    for name, label in others.items():
        zone(tmp_path, name, 1_000_000, label)
    assert meter.joules() == (pytest.approx(2), "rapl")


def test_a_counter_that_begins_again_is_followed(tmp_path):
    zone(tmp_path, "intel-rapl:0", RANGE - 1_000_000)
    meter = EnergyMeter("cpu", tmp_path)
    zone(tmp_path, "intel-rapl:0", 500_000)
    assert meter.joules() == (pytest.approx(1.5), "rapl")


def test_calls_in_between_follow_it_through_several_turns(tmp_path):
    zone(tmp_path, "intel-rapl:0", 0)
    meter = EnergyMeter("cpu", tmp_path)
    for turn in range(1, 4):
        for microjoules in (RANGE // 2, 0):
            zone(tmp_path, "intel-rapl:0", microjoules)
            joules, _ = meter.joules()
        assert joules == pytest.approx(turn * RANGE / 1e6)


@pytest.mark.parametrize("file", ["energy_uj", "max_energy_range_uj", "name"])
def test_one_file_that_cannot_be_read_means_no_answer(tmp_path, file):
    zone(tmp_path, "intel-rapl:0", 0)
    (zone(tmp_path, "intel-rapl:1", 0, "package-1") / file).unlink()
    assert EnergyMeter("cpu", tmp_path).joules() == (None, None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_counter_for_root_alone_means_no_answer(tmp_path):
    (zone(tmp_path, "intel-rapl:0", 0) / "energy_uj").chmod(0)
    assert EnergyMeter("cpu", tmp_path).joules() == (None, None)


def test_a_counter_that_goes_away_for_a_while_is_not_guessed(tmp_path):
    zone(tmp_path, "intel-rapl:0", 0)
    meter = EnergyMeter("cpu", tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("no number")
    assert meter.joules() == (None, None)
    zone(tmp_path, "intel-rapl:0", 4_000_000)
    assert meter.joules() == (pytest.approx(4), "rapl")


@pytest.mark.parametrize("found", [True, False])
def test_a_machine_without_counters_has_no_answer(tmp_path, found):
    assert EnergyMeter("cpu", tmp_path if found else tmp_path / "none").joules() == (None, None)


def test_this_machine_raises_nothing():
    joules, source = EnergyMeter("cpu").joules()
    assert (joules is None) == (source is None)
    assert joules is None or joules >= 0


class NVMLError(Exception):
    pass


@pytest.fixture
def nvml(monkeypatch):
    """A fake NVML of three GPUs; `millijoules` is what their counters show."""
    millijoules = [1_000, 20_000, 300_000]
    users = [0]

    def enter(step: int) -> None:
        users[0] += step

    def energy(gpu: int) -> int:
        assert users[0] == 1
        if millijoules[gpu] < 0:
            raise NVMLError("not supported")
        return millijoules[gpu]

    module = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: enter(1),
        nvmlShutdown=lambda: enter(-1),
        nvmlDeviceGetCount=lambda: 3,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda gpu: f"GPU-{'abc'[gpu]}1111111-2222",
        nvmlDeviceGetTotalEnergyConsumption=energy,
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)
    yield SimpleNamespace(millijoules=millijoules, module=module)
    assert users[0] == 0


@pytest.mark.parametrize(
    ("visible", "joules"),
    [
        (None, 7),
        ("0", 1),
        ("2, 0", 5),
        ("GPU-b1111111-2222", 2),
        ("GPU-c,1", 6),
    ],
)
def test_the_visible_gpus_are_summed(nvml, monkeypatch, visible, joules):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    meter = EnergyMeter("cuda")
    for gpu, more in enumerate((1_000, 2_000, 4_000)):
        nvml.millijoules[gpu] += more
    assert meter.joules() == (pytest.approx(joules), "nvml")


@pytest.mark.parametrize("visible", ["", "7", "-1", "GPU-", "MIG-a1111111-2222"])
def test_a_name_that_is_no_single_gpu_means_no_answer(nvml, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert EnergyMeter("cuda").joules() == (None, None)


def test_an_error_of_one_gpu_means_no_answer(nvml, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    meter = EnergyMeter("cuda")
    nvml.millijoules[1] = -1
    assert meter.joules() == (None, None)


def test_a_gpu_run_is_not_measured_by_the_cpus_meter(nvml, monkeypatch, tmp_path):
    def fail() -> None:
        raise NVMLError("no driver")

    monkeypatch.setattr(nvml.module, "nvmlInit", fail)
    zone(tmp_path, "intel-rapl:0", 0)
    assert EnergyMeter("cuda", tmp_path).joules() == (None, None)


def test_no_nvml_means_no_answer(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)  # an import of it now fails
    assert EnergyMeter("cuda").joules() == (None, None)


RESOLUTION = 0.02  # of the kernel's clocks of CPU time, in seconds


def test_cpu_seconds_are_those_of_a_busy_loop():
    earlier, start, before = time.process_time(), cpu_seconds(), time.process_time()
    while time.process_time() < before + 0.3:
        pass
    measured, spent = cpu_seconds() - start, time.process_time() - earlier
    assert 0.3 - RESOLUTION <= measured <= spent + RESOLUTION


def test_sleep_costs_no_cpu_seconds():
    before, start = time.process_time(), cpu_seconds()
    time.sleep(0.3)
    measured, spent = cpu_seconds() - start, time.process_time() - before
    assert measured <= spent + RESOLUTION


def test_children_that_have_ended_are_counted():
    before, start = time.process_time(), cpu_seconds()
    child = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", BURN.format(0.5)], os.environ)
    _, status, used = os.wait4(child, 0)
    measured, spent = cpu_seconds() - start, time.process_time() - before
    assert status == 0
    of_the_child = used.ru_utime + used.ru_stime
    assert of_the_child >= 0.5 - RESOLUTION
    assert of_the_child - RESOLUTION <= measured <= of_the_child + spent + RESOLUTION
