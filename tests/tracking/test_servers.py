"""A tracking server in MLFLOW_TRACKING_URI: used if it answers, and harmless if it does not."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing

import pytest
from mlflow import MlflowClient

from bench.errors import StoreError
from bench.tracking import models, pages, projection, store
from tests.tracking.sweeps import RECORDS, Log, runs_of, start, sweep_folder, write


def free_port() -> int:
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture
def silent_port():
    """A port that accepts connections and never answers."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen(100)
        yield server.getsockname()[1]


@pytest.fixture
def mlflow_server(tmp_path, empty_store):
    """A real server with a store of its own."""
    port, folder = free_port(), tmp_path / "server"
    folder.mkdir()
    shutil.copy(empty_store, folder / "store.db")
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", "sqlite:///store.db", "--artifacts-destination", "artifacts"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env=os.environ | store.ENVIRONMENT, start_new_session=True
        ) as process,
    ):
        end = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end, (folder / "log").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
        os.killpg(process.pid, 9)


def test_a_dead_server_costs_no_time_and_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    say = Log()
    writer = start(tmp_path, say=say)
    for _ in range(1000):
        writer.write_record(RECORDS[0])
    assert not writer.close(60)
    assert not [thread for thread in threading.enumerate() if thread.name == "mlflow"]
    assert writer.errors > 1000
    (line,) = say
    assert "no server there; check that the server answers" in line
    assert len((tmp_path / "sweeps/demo/mlflow.log").read_text().splitlines()) == 1
    assert not (tmp_path / "mlflow.db").exists()


def test_a_server_that_never_answers_is_not_waited_for(tmp_path, monkeypatch, silent_port):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent_port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    say, began = Log(), time.monotonic()
    writer = start(tmp_path, say=say)
    handed_over = time.monotonic() - began
    assert not writer.close()
    assert handed_over < 2  # while the first request alone takes 4 s
    assert writer.errors == 8
    (line,) = say
    assert "no answer in time" in line


def test_limits_are_set_and_your_own_ones_stay():
    code = "import os, bench.tracking.store; print(os.environ['MLFLOW_HTTP_REQUEST_TIMEOUT'])"
    for given, expected in (({}, "10"), ({"MLFLOW_HTTP_REQUEST_TIMEOUT": "77"}, "77")):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_HTTP")} | given
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


def test_sync_of_a_dead_server_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")
    folder = sweep_folder(tmp_path, RECORDS)
    with pytest.raises(StoreError, match="check that the server answers") as caught:
        projection.sync(folder, tmp_path, Log())
    assert "secret" not in str(caught.value)
    assert models.log_report(tmp_path, folder, folder / "sweep.json") is not None


@pytest.mark.slow
def test_a_real_server_gets_what_a_dead_one_missed(tmp_path, monkeypatch, mlflow_server):
    results = tmp_path / "results"
    folder = sweep_folder(results, RECORDS)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert not start(results).close(60)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    assert projection.written_until(folder) == 0
    assert projection.sync(folder, results, Log()) == 5
    assert "t0-s0 gru L8" in runs_of(results, mlflow_server)
    before = {name: run.info.run_id for name, run in runs_of(results, mlflow_server).items()}
    write(results)
    runs = runs_of(results, mlflow_server)
    assert {name: run.info.run_id for name, run in runs.items()} == before
    assert runs["t0-s0 gru L8"].data.metrics["score"] == 0.75
    assert not (results / "mlflow.db").exists()

    # Another results folder may hold a sweep of the same name.
    other = sweep_folder(tmp_path / "other", RECORDS[:1])
    (other / "sweep.json").write_text((other / "sweep.json").read_text().replace("2026-11-20", "2026-11-21"))
    assert store.sweep_key(other) != store.sweep_key(folder)
    assert projection.sync(other, tmp_path / "other", Log()) == 1
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("latch")
    names = [run.info.run_name for run in client.search_runs([experiment.experiment_id])]
    assert sorted(names) == sorted([*before, "demo", "gru L8", "t0 gru L8"])

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("x")
    line = models.register_model(results, folder, "latch/L8/gru/t0-s0", tmp_path / "model", "latch-L8")
    assert line == "MLflow: version 1 of model 'latch-L8'"
    assert models.log_report(results, folder, folder / "sweep.json") is None
    for _, link in pages.links(folder, {"latch": experiment.experiment_id}):
        assert link.startswith(f"{mlflow_server}/#/experiments/")
        assert f"mlflow.sharedViewState.{link.rsplit('viewStateShareKey=', 1)[1]}" in experiment.tags
    with pytest.raises(StoreError, match="the pages are at http"):
        pages.check(results)
