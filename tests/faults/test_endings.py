"""Every ending has one name, the same in study, record and MLflow (rows 11, 13, 15-18, 20)."""

import json
import os
import re
import sqlite3

import optuna
import pytest

from bench.results.record import RunRecord, records

SIZE = ("trials=2", "confirm_seeds=1")

ENDINGS = {  # by the trial that ends so
    "t1": ("raise", "exit 1"),
    "t2": ("die", "killed"),
    "t3": ("segfault", "signal 11"),
    "t4": ("infinite", "non_finite"),
    "t5": ("nothing", "bad_result"),
    "t6": ("text", "bad_result"),
    "t7": ("memory", "out_of_memory"),
}


def test_a_failure_has_one_name_and_the_sweep_goes_on(stub_sweep):
    actions = {f"gru/{name}": action for name, (action, _) in ENDINGS.items()}
    status, output = stub_sweep.finish("trials=8", "confirm_seeds=1", BENCH_STUB=json.dumps(actions))
    assert status == 0, output
    assert "Traceback" not in output
    stub_sweep.check_complete(8, 1)
    trials = stub_sweep.trials()["latch/L8/gru"]
    pages = {run.data.tags["bench.id"]: run for run in stub_sweep.mlflow_runs()}
    for name, (_, cause) in ENDINGS.items():
        assert f"failed: latch/L8/gru/{name}: {cause}" in output
        trial, page = trials[int(name[1:])], pages[f"s/latch/L8/gru/{name}"]
        assert trial.state == optuna.trial.TrialState.FAIL
        assert trial.user_attrs["cause"] == cause
        assert (page.info.status, page.data.tags["bench.cause"]) == ("FAILED", cause)
    # The default alone is sound: no infinite score was the best.
    assert (stub_sweep.folder / "runs/latch/L8/gru/t0-s0/record.json").exists()


def test_an_infinite_score_that_no_coordinator_has_checked_is_a_failure_after_resuming(finished_sweep):
    """As a kill leaves it between the end of the run and the check."""
    runs = finished_sweep.folder / "runs/latch/L8/gru"
    for path in finished_sweep.folder.rglob("record.json"):
        record = json.loads(path.read_text())
        if record["config"]["phase"] in ("test", "speed") and record["config"]["space"] == "gru":
            path.unlink()
    path = runs / "t0-s0" / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"val": {"accuracy": float("inf")}}))
    status, output = finished_sweep.finish(*SIZE)
    assert status == 0, output
    checked = RunRecord.read(runs / "t0-s0")
    assert (checked.state, checked.cause, checked.val) == ("failed", "non_finite", {})
    assert checked.epochs
    finished_sweep.check_complete(2, 1)


def test_a_run_that_hangs_is_ended_and_the_other_slot_works_on(stub_sweep):
    status, output = stub_sweep.finish(*SIZE, "stall_seconds=1", BENCH_STUB='{"gru/t1": "sleep", "gru/t0": "stop"}')
    assert status == 0, output
    for number in (0, 1):
        record = RunRecord.read(stub_sweep.folder / f"runs/latch/L8/gru/t{number}")
        assert (record.state, record.cause) == ("failed", "stall")
        assert record.crashes == ["stall", "stall"]  # one retry
    stub_sweep.check_complete(2, 1)
    stub_sweep.check_dead()


def test_a_pruned_run_is_finished_with_a_tag(stub_sweep):
    status, output = stub_sweep.finish(*SIZE, BENCH_STUB='{"mlp/t0": "prune"}')
    assert status == 0, output
    stub_sweep.check_complete(2, 1)
    assert stub_sweep.trials()["latch/L8/mlp"][0].state == optuna.trial.TrialState.PRUNED


def test_a_sweep_in_which_all_fails_stops_itself(stub_sweep):
    status, output = stub_sweep.finish("trials=8", "max_failures=3", BENCH_STUB='{"": "raise"}')
    assert status == 3
    assert re.search(r"stopped: the first [34] runs failed", output)  # two may end at once
    assert len(list(records(stub_sweep.folder))) <= 6


def test_terms_that_changed_are_named(finished_sweep):
    for word, complaint in {
        "seed=3": "seed was 0 and is now 3",
        "trials=1": "trials was 2 and is now 1",
        'models=["gru"]': "cells was ['latch/L8/mlp'] and is now []",
    }.items():
        status, output = finished_sweep.finish(*SIZE, word)
        assert status == 2
        assert complaint in output
        assert "Traceback" not in output


@pytest.mark.parametrize("damage", ["truncated", "emptied", "deleted", "overwritten"])
def test_a_damaged_study_is_refused(finished_sweep, damage):
    path = finished_sweep.folder / "study.db"
    if damage == "deleted":
        path.unlink()
    elif damage == "overwritten":
        with path.open("r+b") as file:
            file.seek(4096)  # the second page; the first holds the tables' names
            file.write(b"\xff" * 4096)
    else:
        os.truncate(path, 0 if damage == "emptied" else path.stat().st_size // 2)
    status, output = finished_sweep.finish(*SIZE)
    assert status == 2, output
    assert "study.db" in output
    assert "Traceback" not in output


def test_a_reader_that_locks_the_database_only_delays(stub_sweep):
    process = stub_sweep.start("trials=4", "confirm_seeds=1")
    stub_sweep.wait_for("runs/*/*/*/t1/record.json")
    with sqlite3.connect(stub_sweep.folder / "study.db", timeout=30, isolation_level=None) as reader:
        reader.execute("BEGIN EXCLUSIVE")
        import time

        time.sleep(3)
        reader.execute("COMMIT")
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    stub_sweep.check_complete(4, 1)


def test_a_damaged_mlflow_store_is_replaced_and_holds_all_runs(stub_sweep):
    (stub_sweep.results / "mlflow.db").write_bytes(b"this is no database" * 100)
    status, output = stub_sweep.finish(*SIZE)
    assert status == 0, output
    assert "mlflow.db: is damaged; it is now mlflow.db.broken-1" in output
    assert not (stub_sweep.folder / "mlflow.log").exists()
    stub_sweep.check_tracked()
    from bench.sweeps import coordinator

    runs = [record for record in records(stub_sweep.folder) if record.config.phase in ("screen", "confirm")]
    assert len(runs) >= 6
    assert coordinator.sync(stub_sweep.folder, stub_sweep.results, print) == len(runs)
    stub_sweep.check_tracked()


def test_an_mlflow_server_that_is_gone_stops_nothing_and_sync_writes_the_runs_later(stub_sweep):
    status, output = stub_sweep.finish(*SIZE, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert status == 0, output
    assert "no server there; check that the server answers" in output
    assert (stub_sweep.folder / "mlflow.log").exists()
    from bench.sweeps import coordinator

    coordinator.sync(stub_sweep.folder, stub_sweep.results, print)
    stub_sweep.check_tracked()


def test_pruning_ends_runs_below_the_median_where_the_task_allows_it(stub_sweep):
    words = ('models=["mlp"]', "trials=16", "confirm_seeds=1", 'pruner="median"')
    status, output = stub_sweep.finish(*words, 'datasets=["digits", "latch"]', BENCH_STUB_SECONDS="0.01")
    assert status == 0, output
    states = {name: [trial.state.name for trial in study] for name, study in stub_sweep.trials().items()}
    assert states["latch/L8/mlp"] == ["COMPLETE"] * 16  # solved of a sudden: never pruned
    assert states["digits/L8/mlp"][:10] == ["COMPLETE"] * 10
    pruned = [number for number, state in enumerate(states["digits/L8/mlp"]) if state == "PRUNED"]
    assert pruned
    runs = [RunRecord.read(stub_sweep.folder / "runs" / f"digits/L8/mlp/t{number}") for number in range(16)]
    at_ten = [{epoch.steps: epoch.val["accuracy"] for epoch in run.epochs}.get(10) for run in runs]
    for number in pruned:
        assert at_ten[number] < max(score for score in at_ten[:number] if score is not None)
    stub_sweep.check_complete(16, 1)
