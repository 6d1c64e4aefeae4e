"""What the tests of a GPU are written with: it is checked here without one."""

import os
import sys
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import torch

from tests.gpu import measure, runs
from tests.gpu.test_processes import children
from tests.sweeps.engines.test_machine import FakeNvml

GPU = runs.Gpu("0", "GPU-1", [], "Fast | One", "570.1")


def report(name: str, outcome: str = "passed", when: str = "call", longrepr=None, properties=()) -> pytest.TestReport:
    nodeid, location = f"tests/gpu/x.py::test_{name}", ("x.py", 1, name)
    return pytest.TestReport(nodeid, location, {}, outcome, longrepr, when, user_properties=list(properties))


def test_the_page_has_what_was_measured_and_how_each_test_ended():
    results = measure.Results()
    for one in (
        report("a_price[index]", when="setup"),
        report("a_price[index]", properties=[("price of a run, s", "0.31")]),
        report("a_slice", "skipped", "setup", ("x.py", 3, "Skipped: no | slices")),
        report(
            "a_fault", "failed", longrepr=SimpleNamespace(reprcrash=SimpleNamespace(message="assert 1 == 2\nwhere"))
        ),
        report("a_fault", when="teardown"),
    ):
        results.pytest_runtest_logreport(one)
    text = measure.page(results, GPU, datetime(2026, 11, 27, tzinfo=UTC))
    assert "on 2026-11-27 at commit" in text
    assert "Fast | One, driver 570.1, CUDA " in text
    assert f"torch {torch.__version__}" in text
    assert text.endswith(
        "| Test | What was measured | Value |\n"
        "| --- | --- | --- |\n"
        "| a price[index] | price of a run, s | 0.31 |\n"
        "\n"
        "| Test | Outcome | Reason |\n"
        "| --- | --- | --- |\n"
        "| a price[index] | passed |  |\n"
        "| a slice | skipped | no \\| slices |\n"
        "| a fault | failed | assert 1 == 2 |\n"
    )


@pytest.mark.parametrize("code", [0, 1])
def test_the_table_is_written_where_there_is_a_gpu(tmp_path, monkeypatch, capsys, code):
    asked = []

    def run(words, plugins):
        asked.append(words)
        plugins[0].pytest_runtest_logreport(report("a_price", properties=[("price, s", "0.31")]))
        return code

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(measure, "first_gpu", lambda: GPU)
    monkeypatch.setattr(measure, "RECORD", tmp_path / "measured.md")
    assert measure.main(["-k", "price"], run) == code
    assert asked == [["-m", "gpu", str(measure.HERE), "-k", "price"]]
    assert "| a price | price, s | 0.31 |" in (tmp_path / "measured.md").read_text()
    assert capsys.readouterr().out == f"wrote {tmp_path / 'measured.md'}\n"


def test_without_a_gpu_nothing_is_tested_or_written_and_that_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(measure, "RECORD", tmp_path / "measured.md")
    assert measure.main([], run=None) == 1
    assert not (tmp_path / "measured.md").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"make test-gpu: torch {torch.__version__} sees no CUDA device, so nothing was tested")


class Nvml(FakeNvml):
    """That of the tests of the engine, with a name and a driver."""

    def nvmlDeviceGetName(self, handle: str) -> str:
        return f"name of {handle}"

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.1"


@pytest.mark.parametrize(
    ("visible", "index"),
    [("0", "0"), ("1", "1"), ("GPU-bb", "1"), ("MIG-cccc4444", "1"), ("GPU-aaaa1111,1", "0"), (None, "0")],
)
def test_the_first_gpu_is_found_by_the_name_that_makes_it_visible(monkeypatch, visible, index):
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = runs.first_gpu()
    assert found.index == index
    assert found.slices == [[], ["MIG-cccc3333", "MIG-cccc4444"]][int(index)]
    assert found.name == f"name of {found.uuid}"


def test_the_open_devices_of_a_process_are_found():
    assert "/dev/zero" not in runs.opened_devices(os.getpid())
    with open("/dev/zero", "rb"):
        assert "/dev/zero" in runs.opened_devices(os.getpid())
    assert runs.opened_devices(2**22 + 1) == set()


def test_the_children_of_a_process_are_found():
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    try:
        assert pid in children(os.getpid())
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert children(2**22 + 1) == []
