"""What the machine can do to a sweep: a full disk, a folder that is read only, a clock set back, little memory."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from bench.results.record import RunRecord, records
from bench.sweeps.disk import MIN_FREE_MIB
from bench.tracking.projection import note, written_until
from bench.training import train
from tests.faults.conftest import Sweep, sweep_of_stubs
from tests.makers import run_config

ROOT = Path(__file__).parents[2]

SIZE = ("trials=2", "confirm_seeds=1")
MIB = 2**20


@contextlib.contextmanager
def mounted(folder: Path, mebibytes: int):
    """Mount a file system of its own, which takes memory only for what it holds."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "bench-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path, empty_store):
    """A sweep of stubs whose results lie on a disk with twice the room that a sweep needs."""
    with mounted(tmp_path / "disk", 2 * MIN_FREE_MIB) as disk, sweep_of_stubs(disk, empty_store) as sweep:
        yield sweep


def fill(sweep: Sweep, leave: int = 0) -> Path:
    """Fill the disk of a sweep but for some bytes; return the file that does."""
    path = sweep.results.parent / "ballast"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(path.parent).free - leave)
    return path


def stopped_for_room(output: str, status: int) -> None:
    assert status == 2, output
    assert "Traceback" not in output
    assert "free" in output
    assert "resume" in output


def test_a_sweep_does_not_start_on_a_disk_that_is_nearly_full(small_disk):
    ballast = fill(small_disk, leave=(MIN_FREE_MIB - 10) * MIB)
    status, output = small_disk.finish(*SIZE)
    stopped_for_room(output, status)
    assert f"MiB are free on this disk, and a sweep needs {MIN_FREE_MIB}; free some space" in output
    ballast.unlink()
    status, output = small_disk.finish(*SIZE)
    assert status == 0, output
    small_disk.check_complete(2, 1)


def test_a_disk_that_fills_up_stops_a_sweep_and_is_no_outcome_of_its_runs(small_disk):
    large = json.dumps({"/t2": "large", "/t3": "large"})  # runs that write 8 MiB
    process = small_disk.start("trials=4", "confirm_seeds=1", BENCH_STUB_SECONDS="1", BENCH_STUB=large)
    small_disk.wait_for("runs/*/*/*/t1/record.json")
    ballast = fill(small_disk, leave=2 * MIB)
    output, _ = process.communicate()
    stopped_for_room(output, process.returncode)
    small_disk.check_dead()
    before = {path: path.read_bytes() for path in small_disk.folder.rglob("record.json")}
    assert before
    assert {record.state for record in records(small_disk.folder)} == {"complete"}
    ballast.unlink()
    status, output = small_disk.finish("trials=4", "confirm_seeds=1")
    assert status == 0, output
    assert {path: path.read_bytes() for path in before} == before
    assert {record.state for record in records(small_disk.folder)} == {"complete"}
    small_disk.check_complete(4, 1)


def test_a_read_only_folder_is_refused_in_a_line_and_still_read(finished_results, tmp_path):
    from click.testing import CliRunner

    from bench.cli.commands import main

    with mounted(tmp_path / "disk", 2 * MIN_FREE_MIB) as disk:
        results = Path(shutil.copytree(finished_results, disk / "results"))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        shown = CliRunner().invoke(main, ["leaderboard", "--results", str(results)])
        assert (shown.exit_code, "gru" in shown.stdout) == (0, True), shown.stderr
        words = ["sweep", "--name", "s", "--dataset", "latch", "--length", "8", "--models", "gru,mlp"]
        refused = CliRunner().invoke(main, [*words, "--budget", "smoke", "--results", str(results)])
        assert refused.exit_code == 2
        assert refused.stderr.splitlines()[-1].startswith("bench: ")
        assert "Read-only file system; choose a folder that can be written" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_clock_that_is_set_back_loses_nothing_in_mlflow(stub_sweep):
    for _ in range(2):  # what a killed coordinator could not hand to MLflow is written by the next one
        status, output = stub_sweep.finish(*SIZE, BENCH_CRASH_AT="after_tell:2")
        assert status == -signal.SIGKILL, output
        note(stub_sweep.folder, time.time_ns() + 86_400 * 10**9)  # as if the clock had been a day ahead
        assert written_until(stub_sweep.folder) == 0
    status, output = stub_sweep.finish(*SIZE)
    assert status == 0, output
    stub_sweep.check_complete(2, 1)


def test_a_clock_that_runs_backwards_makes_no_duration_negative(monkeypatch):
    ticks = itertools.count(2_000_000_000.0, -3600.0)
    monkeypatch.setattr(time, "time", lambda: next(ticks))
    record = train.run(run_config(settings={"max_sequences": 64, "batch_size": 16, "num_epochs": 2, "num_val": 8}))
    assert record.state == "complete", record.message
    assert min(record.seconds.model_dump().values()) >= 0
    assert record.seconds.total > 0
    passed = [epoch.train_seconds for epoch in record.epochs]
    assert passed == sorted(passed)


def test_a_sweep_works_with_few_open_files(stub_sweep):
    status, output = stub_sweep.finish(*SIZE, BENCH_OPEN_FILES="64")
    assert status == 0, output
    stub_sweep.check_complete(2, 1)


@pytest.mark.slow
def test_a_sweep_with_too_few_open_files_says_how_to_get_more(tmp_path):
    sweep = (
        f"{sys.executable} -m bench sweep --dataset latch --length 8 --models gru --budget smoke --results {tmp_path}"
    )
    done = subprocess.run(["bash", "-c", f"ulimit -n 10; {sweep}"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "Too many open files; raise the limit of open files: ulimit -n 4096" in done.stderr
    assert "Traceback" not in done.stderr


@contextlib.contextmanager
def memory_group(limit: int):
    """Make a control group of limited memory; return the file that takes processes in."""
    old, new = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    parent, name = (old, "memory.limit_in_bytes") if old.is_dir() else (new, "memory.max")
    group = parent / f"bench-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
        (group / name).write_text(str(limit))
    except OSError:
        pytest.skip("control groups can be made by root only, and on Linux")
    try:
        yield group / "cgroup.procs"
    finally:
        end = time.monotonic() + 30
        while group.exists() and time.monotonic() < end:
            with contextlib.suppress(OSError):  # its last process has not ended yet
                group.rmdir()
            time.sleep(0.05)


def test_the_memory_killer_of_a_control_group_ends_a_run_and_not_the_sweep(stub_sweep):
    with memory_group(600 * MIB) as group:
        words = {"BENCH_STUB": '{"gru/t1": "hog"}', "BENCH_GROUP": str(group)}
        status, output = stub_sweep.finish(*SIZE, **words)
        assert status == 0, output
        record = RunRecord.read(stub_sweep.folder / "runs/latch/L8/gru/t1")
        assert (record.state, record.cause) == ("failed", "killed")
        stub_sweep.check_complete(2, 1)
        stub_sweep.check_dead()


NOTES = ["mlflow.json", "runs/latch/L8/gru/t0/config.json", "leaderboard.csv"]


@pytest.mark.parametrize("name", ["sweep.lock", *(pytest.param(name, marks=pytest.mark.slow) for name in NOTES)])
def test_garbage_in_a_file_that_is_written_anew_disturbs_nothing(finished_sweep, name):
    (finished_sweep.folder / name).write_bytes(b"\xff\x00[]" + json.dumps({"mark": "x"}).encode())
    status, output = finished_sweep.finish(*SIZE)
    assert status == 0, output
    assert "Traceback" not in output
    finished_sweep.check_complete(2, 1)


@pytest.mark.slow
def test_of_coordinators_that_start_at_once_one_wins_and_the_others_are_refused(stub_sweep):
    processes = [stub_sweep.start(*SIZE, BENCH_STUB_SECONDS="1") for _ in range(4)]
    ends = [(process.communicate()[0], process.returncode) for process in processes]
    assert sorted(status for _, status in ends) == [0, 75, 75, 75]
    assert not [output for output, _ in ends if "Traceback" in output]
    stub_sweep.check_complete(2, 1)
