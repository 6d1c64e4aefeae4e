"""`bench sync` writes all that MLflow lacks, whatever has become of the store."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from bench.errors import StoreError
from bench.tracking.projection import sync, to_sync, written_until
from bench.tracking.store import store_uri
from tests.tracking.sweeps import RECORDS, Log, make_record, runs_of, sweep_folder, write

ROOT = Path(__file__).parents[2]
NAMES = {"demo", "gru L8", "mlp L8", "t0 gru L8", "t1 gru L8", "t2 gru L8", "t0-s0 gru L8", "t0 mlp L8"}


def command(results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `bench sync` in another process: MLflow keeps connections to a file that was replaced."""
    line = [sys.executable, "-m", "bench", "sync", *words, "--results", str(results)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=200)


def test_sync_writes_what_the_writer_writes(results):
    folder = sweep_folder(results, RECORDS)
    assert sync(folder, results, Log()) == 5
    runs = runs_of(results)
    assert set(runs) == NAMES
    assert runs["gru L8"].info.status == "FINISHED"
    assert runs["mlp L8"].info.status == "KILLED"  # it has no confirm run yet
    assert runs["demo"].info.status == "KILLED"
    assert written_until(folder) > 0
    write(results)
    assert set(runs_of(results)) == NAMES


def test_sync_takes_the_latest_sweep_and_those_that_the_store_may_lack(results):
    for name in ("first", "second", "third"):
        folder = sweep_folder(results, [make_record("gru/t0")], name)
        os.utime(folder / "sweep.json", ns=(len(name), len(name)))
    sync(results / "sweeps" / "second", results, Log())
    assert [folder.name for folder in to_sync(results, [], Log())] == ["second", "first", "third"]
    assert [folder.name for folder in to_sync(results, ["third"], Log())] == ["third"]


@pytest.mark.parametrize("damage", ["garbage", pytest.param("deleted", marks=pytest.mark.slow)])
def test_sync_makes_a_lost_store_again_with_the_runs_of_all_sweeps(tmp_path, written, damage):
    results = tmp_path / "results of mine"
    results.mkdir()
    for name in ("demo", "other"):
        folder = sweep_folder(results, RECORDS, name)
        shutil.copy(written / "sweeps/demo/mlflow.json", folder)  # both were written
    if damage == "garbage":
        (results / "mlflow.db").write_bytes(b"no database" * 1000)
    done = command(results)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["demo: 5 runs are in MLflow", "other: 5 runs are in MLflow"]
    lines = done.stderr.splitlines()
    if damage == "garbage":
        assert len(lines) == 1, lines
        assert "is damaged; it is now mlflow.db.broken-1" in lines[0]
    else:
        assert lines == []
    client = MlflowClient(store_uri(results))
    experiment = client.get_experiment_by_name("latch").experiment_id
    assert len(client.search_runs([experiment])) == 2 * len(NAMES)


def test_a_run_that_cannot_be_written_does_not_stop_the_others(results):
    folder = sweep_folder(results, [*RECORDS, make_record("gru/t3", environment={"hardware": "x" * 9000})])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRUNCATE_LONG_VALUES", "false")
        with pytest.raises(StoreError, match="2 of 9 runs could not be written to MLflow: ") as caught:
            sync(folder, results, Log())
    assert "\n" not in str(caught.value)
    assert set(runs_of(results)) >= NAMES
    assert written_until(folder) == 0
