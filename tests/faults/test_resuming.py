"""Whatever is deleted, damaged or left over: the same runs are made again, and nothing else."""

import json
import shutil
import signal
import sqlite3
import subprocess

import pytest

from bench.errors import StoreError
from bench.results.record import RunRecord, read_crashes, read_spec, records
from tests.faults.conftest import Sweep

SIZE = ("trials=2", "confirm_seeds=1")


def facts(sweep: Sweep) -> dict[str, tuple]:
    """Return what each run trained with and scored."""
    return {
        run.config.run: (
            run.config.model_arguments,
            run.config.train,
            run.config.seed,
            run.val,
            run.config.opens_test_of,
        )
        for run in records(sweep.folder)
    }


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("gru/t1", "gru", "gru/t0-s0/record.json")]


@pytest.mark.parametrize("deleted", ["gru/t0/record.json", "", *SLOW])
def test_deleted_runs_are_repeated_with_the_same_number_and_values_and_a_warning(finished_sweep, deleted):
    before = facts(finished_sweep)
    path = finished_sweep.folder / "runs/latch/L8" / deleted
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    status, output = finished_sweep.finish(*SIZE)
    assert status == 0, output
    named = deleted.removesuffix("/record.json") or "gru/t0"
    assert f"Records are missing and their runs are repeated with the same values: latch/L8/{named}" in output
    assert facts(finished_sweep) == before
    finished_sweep.check_complete(2, 1)


def test_a_damaged_record_runs_again_after_the_advice_is_followed(finished_sweep):
    before = facts(finished_sweep)
    path = finished_sweep.folder / "runs/latch/L8/mlp/t0/record.json"
    path.write_text("{")
    status, output = finished_sweep.finish(*SIZE)
    assert status == 2
    assert "mlp/t0/record.json" in output
    assert "delete it" in output
    path.unlink()
    status, output = finished_sweep.finish(*SIZE)
    assert status == 0, output
    assert facts(finished_sweep) == before


def test_more_trials_after_a_deletion_are_new_ones(finished_sweep):
    (finished_sweep.folder / "runs/latch/L8/gru/t0/record.json").unlink()
    status, output = finished_sweep.finish("trials=3", "confirm_seeds=1")
    assert status == 0, output
    finished_sweep.check_complete(3, 1)


def test_seeds_tested_later_leave_the_weights_of_those_tested_before(finished_sweep):
    status, output = finished_sweep.finish("trials=2", "confirm_seeds=2")
    assert status == 0, output
    tests = [run for run in records(finished_sweep.folder) if run.config.phase == "test"]
    assert [run for run in tests if run.config.id != run.config.id.test(0)], "no seed was tested later"
    for test in tests:
        for run in test.config.opens_test_of:
            assert (finished_sweep.folder / "runs" / run / "weights.pt").exists(), f"{run} has lost its weights"


def test_leftovers_of_killed_writers_are_removed_and_their_journal_is_rolled_back(finished_sweep):
    run = finished_sweep.folder / "runs/latch/L8/gru/t0"
    leftovers = [run / ".record.json.4711", run / ".crashes.json.12", finished_sweep.folder / ".sweep.json.99"]
    for path in leftovers:
        path.write_text("{")
    study = finished_sweep.folder / "study.db"
    code = (
        f"import os, sqlite3; c = sqlite3.connect({str(study)!r}, isolation_level=None); c.execute('PRAGMA cache_size=1');"
        "c.execute('BEGIN IMMEDIATE'); c.execute('DELETE FROM trial_params');"
        "c.execute('CREATE TABLE filler AS SELECT randomblob(900000)'); os._exit(9)"
    )
    subprocess.run(["python", "-c", code], check=False)
    assert (finished_sweep.folder / "study.db-journal").exists()
    kept = run / ".hidden"
    kept.write_text("mine")
    status, output = finished_sweep.finish(*SIZE)
    assert status == 0, output
    assert not any(path.exists() for path in leftovers)
    assert kept.exists()
    assert not (finished_sweep.folder / "study.db-journal").exists()
    finished_sweep.check_complete(2, 1)


def test_a_deleted_lock_file_admits_no_second_coordinator(stub_sweep):
    first = stub_sweep.start(*SIZE, BENCH_STUB_SECONDS="1")
    stub_sweep.wait_for("runs/*/*/*/t0/starts.txt")
    (stub_sweep.folder / "sweep.lock").unlink()
    status, output = stub_sweep.finish(*SIZE)
    assert status == 75
    assert "is being worked on by another process" in output
    first.communicate(timeout=120)
    assert first.returncode == 0


def test_garbage_in_sweep_json_is_refused_in_one_line(finished_sweep):
    path = finished_sweep.folder / "sweep.json"
    for content in (b"[]", b"{}", b"\xff\x00", b'{"spec": 3}', b"nul", b'{"spec": {"cells": [1]}}'):
        path.write_bytes(content)
        with pytest.raises(StoreError, match="sweep.json: damaged .* another --name") as caught:
            read_spec(finished_sweep.folder)
        assert "\n" not in str(caught.value)
    status, output = finished_sweep.finish(*SIZE)
    assert status == 2
    assert output.count("\n") == 1
    assert "sweep.json: damaged" in output


def test_garbage_in_crashes_json_counts_as_no_crash(finished_sweep):
    run = finished_sweep.folder / "runs/latch/L8/gru/t1"
    for content in (b"[]", b"{}", b"\xff\x00", b"3", b'[["killed"]]', b'[{"cause": 1}]'):
        (run / "crashes.json").write_bytes(content)
        assert read_crashes(run) == []
    (run / "record.json").unlink()
    status, output = finished_sweep.finish(*SIZE, BENCH_STUB='{"gru/t1": "raise"}')
    assert status == 0, output
    assert "Traceback" not in output
    assert RunRecord.read(run).cause == "exit 1"


def test_a_study_locked_for_too_long_ends_in_one_line_and_loses_nothing(stub_sweep):
    process = stub_sweep.start(*SIZE, BENCH_STUB_SECONDS="2", BENCH_LOCK_SECONDS="1")
    stub_sweep.wait_for("runs/*/*/*/t0/starts.txt")
    with sqlite3.connect(stub_sweep.folder / "study.db", timeout=60, isolation_level=None) as reader:
        reader.execute("BEGIN EXCLUSIVE")
        output, _ = process.communicate(timeout=120)
        reader.execute("ROLLBACK")
    assert process.returncode == 2
    assert "Traceback" not in output
    assert "study.db: locked by another process" in output
    assert "resume" in output
    status, output = stub_sweep.finish(*SIZE)
    assert status == 0, output
    stub_sweep.check_complete(2, 1)


@pytest.mark.parametrize("name", ["r?%20s", pytest.param("a?b c%20d#e", marks=pytest.mark.slow)])
def test_a_results_folder_of_any_name_holds_its_own_study_and_resumes(tmp_path, empty_store, name):
    results = tmp_path / "outer" / name
    results.mkdir(parents=True)
    shutil.copy(empty_store, results / "mlflow.db")
    sweep = Sweep(results)
    status, _ = sweep.finish(*SIZE, BENCH_CRASH_AT="after_tell")
    assert status == -signal.SIGKILL
    assert list(sweep.folder.rglob("record.json"))
    status, output = sweep.finish(*SIZE)
    assert status == 0, output
    sweep.check_complete(2, 1)
    folders = [path.name for path in results.parent.iterdir() if path.is_dir()]
    assert folders == [name]


SPACE = """
title = "Four configurations"
model = "gru"
[fixed]
learning_rate = 1e-3
[tune.hidden_size]
type = "categorical"
choices = [8, 16]
default = 8
[tune.dropout]
type = "categorical"
choices = [0.0, 0.1]
default = 0.0
"""


def test_a_space_of_four_configurations_trains_four_times_and_says_so(stub_sweep, tmp_path):
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "four.toml").write_text(SPACE)
    words = ("trials=10", "confirm_seeds=1", 'models=["four"]', f"search_spaces={json.dumps(str(tmp_path / 'spaces'))}")
    status, output = stub_sweep.finish(*words)
    assert status == 0, output
    assert "latch/L8/four: the search space is exhausted after 4 configurations" in output
    trials = [run for run in records(stub_sweep.folder) if run.config.phase == "screen"]
    tried = {json.dumps([run.config.model_arguments, run.config.train.dropout]) for run in trials}
    assert (len(trials), len(tried)) == (4, 4)


@pytest.mark.parametrize("seconds", ["4s", pytest.param("8s", marks=pytest.mark.slow)])
def test_a_short_budget_leaves_time_for_a_score_and_says_what_was_confirmed(stub_sweep, seconds):
    words = ("trials=50", "confirm_seeds=3", 'models=["gru"]', f'device_time="{seconds}"')
    status, output = stub_sweep.finish(*words, BENCH_STUB_SECONDS="0.5")
    assert status == 0, output
    assert "Budget: device time of" in output
    tested = [name for run in records(stub_sweep.folder) for name in run.tests]
    assert tested
    assert f"1 of 1 cell with a test score, on {len(tested)} of 3 seeds" in output


def test_a_budget_too_short_for_a_seed_says_that_nothing_is_confirmed(stub_sweep):
    words = ("trials=50", "confirm_seeds=3", 'models=["gru"]', 'device_time="1s"')
    status, output = stub_sweep.finish(*words, BENCH_STUB_SECONDS="0.8")
    assert status == 0, output
    assert "Budget: 0 of 1 cell" in output
    assert "give a larger budget to the same command" in output
