"""Coordinators and runs killed for real, at every commit point and at random moments (rows 1-9, 12, 21, 22)."""

import contextlib
import inspect
import json
import os
import random
import re
import signal
import sqlite3
import time

import pytest

from bench.results.record import RunRecord, records
from bench.sweeps import coordinator, jobs
from tests.faults import losses
from tests.faults.conftest import leads_session

TRIALS = 2
SIZE = (f"trials={TRIALS}", "confirm_seeds=1")
ONCE = '{"gru/t1": "die once"}'
POINTS = ["after_ask", "after_config", "after_submit", "after_crash", "after_record", "after_tell"]


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_a_commit_point_loses_nothing(stub_sweep, point):
    status, output = stub_sweep.finish(*SIZE, BENCH_CRASH_AT=point, BENCH_STUB=ONCE if point == "after_crash" else "{}")
    assert status == -signal.SIGKILL, output
    stub_sweep.check_dead()
    before = [path.parent for path in stub_sweep.folder.rglob("record.json")]
    status, output = stub_sweep.finish(*SIZE, BENCH_STUB='{"": "helpers"}')
    assert status == 0, output
    stub_sweep.check_complete(TRIALS, 1)
    stub_sweep.check_dead()
    # What has a record is told to the study and is not run again.
    assert before or point not in ("after_record", "after_tell")
    assert all(len((run / "starts.txt").read_text().split()) == 1 for run in before)
    if point == "after_crash":
        assert RunRecord.read(stub_sweep.folder / "runs/latch/L8/gru/t1").crashes == ["killed"]


def test_every_commit_point_of_the_coordinator_is_killed_at():
    assert re.findall(r'crash_point\("(\w+)"\)', inspect.getsource(jobs) + inspect.getsource(coordinator)) == POINTS


def test_runs_that_die_at_every_attempt_are_failures_and_the_sweep_ends(stub_sweep):
    status, output = stub_sweep.finish("trials=2", "confirm_seeds=1", BENCH_CRASH_AT="in_run")
    assert status == 3, output
    found = {record.config.run: record for record in records(stub_sweep.folder)}
    trials = {f"latch/L8/{name}/t{number}" for name in ("gru", "mlp") for number in range(2)}
    assert found.keys() == {*trials, "latch/L8/_baselines"}
    for run, record in found.items():
        starts = (stub_sweep.folder / "runs" / run / "starts.txt").read_text().split()
        assert (record.state, record.cause) == ("failed", "killed")
        assert record.crashes == ["killed"] * len(starts)
        assert len(starts) > 1  # it was tried again
    stub_sweep.check_dead()
    stub_sweep.check_tracked()


def test_a_run_that_died_after_its_record_is_not_made_again(stub_sweep):
    status, output = stub_sweep.finish(*SIZE, BENCH_CRASH_AT="after_run_record")
    assert status == 0, output
    stub_sweep.check_complete(TRIALS, 1)
    status, output = stub_sweep.finish(*SIZE)
    assert status == 0, output
    for starts in stub_sweep.folder.rglob("starts.txt"):
        assert len(starts.read_text().split()) == 1


@pytest.mark.parametrize("rounds", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_coordinators_and_runs_killed_at_random_moments(stub_sweep, rounds):
    rng = random.Random(0)
    size = ("trials=4", "confirm_seeds=2")
    for round_ in range(rounds):
        process = stub_sweep.start(*size, BENCH_STUB_SECONDS="0.15")
        if round_:
            time.sleep(0.8)
        else:
            stub_sweep.wait_for("runs/*/*/*/t*/starts.txt")
        time.sleep(rng.uniform(0, 1.2))
        for _ in range(2):
            runs = [pid for pid in stub_sweep.alive() if pid != process.pid and leads_session(pid)]
            if runs and rng.random() < 0.7:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(runs), signal.SIGKILL)
            time.sleep(rng.uniform(0, 0.3))
        with contextlib.suppress(ProcessLookupError):  # on a quick machine it may have ended by itself
            (os.killpg if round_ % 2 else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        stub_sweep.check_dead()
    status, output = stub_sweep.finish(*size)
    assert status == 0, output
    stub_sweep.check_complete(4, 2)
    stub_sweep.check_dead()


def test_runs_die_with_their_coordinator(stub_sweep):
    """By the kernel's hand: they would sleep for a minute, and nobody is left to end them."""
    process = stub_sweep.start(*SIZE, BENCH_STUB_SECONDS="60")
    stub_sweep.wait_for("runs/*/*/*/t0/starts.txt")
    process.kill()
    process.wait()
    stub_sweep.check_dead()


def test_a_second_signal_stops_at_once(stub_sweep):
    process = stub_sweep.start(*SIZE, BENCH_STUB_SECONDS="30")
    stub_sweep.wait_for("runs/*/*/*/t0/starts.txt")
    end = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < end:  # two that come together are one to the kernel
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert process.returncode == 130
    stub_sweep.check_dead()
    code, output = stub_sweep.finish(*SIZE)
    assert code == 0, output
    stub_sweep.check_complete(TRIALS, 1)


def test_a_second_coordinator_is_refused(stub_sweep):
    first = stub_sweep.start(*SIZE, BENCH_STUB_SECONDS="1")
    stub_sweep.wait_for("runs/*/*/*/t0/starts.txt")
    status, output = stub_sweep.finish(*SIZE)
    assert status == 75
    assert f"process {first.pid} on" in output
    assert "Traceback" not in output
    first.communicate(timeout=60)
    assert first.returncode == 0
    stub_sweep.check_complete(TRIALS, 1)


def test_an_interrupted_sweep_draws_what_an_uninterrupted_one_draws(stub_sweep):
    # check_complete compares each trial with the point of its number; here the pieces are 1 + 3 trials.
    for trials in (1, 4):
        status, output = stub_sweep.finish(f"trials={trials}", "confirm_seeds=1", "seed=5", 'models=["gru"]')
        assert status == 0, output
    stub_sweep.check_complete(4, 1, seed=5)


def test_a_finished_sweep_starts_no_run_again(finished_sweep):
    before = {path: path.stat().st_mtime_ns for path in finished_sweep.folder.rglob("record.json")}
    status, output = finished_sweep.finish("trials=2", "confirm_seeds=1")
    assert status == 0, output
    assert "Resuming s: " in output
    assert " runs are done" in output
    assert before
    assert before == {path: path.stat().st_mtime_ns for path in finished_sweep.folder.rglob("record.json")}
    finished_sweep.check_complete(2, 1)


def test_the_record_of_kills_counts_what_is_lost_doubled_left_open_and_different(finished_sweep, finished_results):
    folder, undisturbed = finished_sweep.folder, finished_results / "sweeps" / "s"
    assert not any(losses.compare(folder, undisturbed).values())
    runs = folder / "runs" / "latch" / "L8"
    record = json.loads((runs / "gru/t1/record.json").read_text())
    (runs / "gru/t1/record.json").write_text(json.dumps(record | {"val": {"accuracy": 0.125}}))
    record["config"]["run"] = "latch/L8/gru/t7"
    (runs / "gru/t7").mkdir()
    (runs / "gru/t7/record.json").write_text(json.dumps(record))
    (runs / "mlp/t1/record.json").unlink()
    (runs / "mlp/t1/.record.json.17").touch()
    with sqlite3.connect(folder / "study.db") as study:
        study.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 1 AND study_id = 1")
        study.execute("UPDATE trials SET number = 0 WHERE number = 1 AND study_id = 2")
    with sqlite3.connect(finished_sweep.results / "mlflow.db") as store:
        store.execute("UPDATE tags SET value = 's/latch/L8/gru/t0' WHERE value = 's/latch/L8/gru/t1'")
        store.execute(
            "UPDATE runs SET status = 'RUNNING' WHERE run_uuid IN (SELECT run_uuid FROM tags WHERE value = 's/latch')"
        )
    found = {word: " ".join(texts) for word, texts in losses.compare(folder, undisturbed).items()}
    for word, names in {
        "lost": ["run latch/L8/mlp/t1", "MLflow run s/latch/L8/gru/t1", "trial ("],
        "doubled": ["run latch/L8/gru/t7", "MLflow run s/latch/L8/gru/t0", "trial latch/L8/"],
        "left open": ["RUNNING", "MLflow run s/latch", "file runs/latch/L8/mlp/t1/.record.json.17"],
        "differing": ["run latch/L8/gru/t1: val", "trial ("],
    }.items():
        assert all(name in found[word] for name in names), (word, found[word])
