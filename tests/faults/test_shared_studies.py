"""Studies in a PostgreSQL server that sweeps share, its faults, and passwords that must stay where they are."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from sqlalchemy import create_engine, make_url, text

from bench.config import addresses
from bench.errors import DeclarationError, StoreError, SweepLockedError
from bench.results.record import all_records, read_spec
from bench.sweeps import coordinator as coordinators
from bench.sweeps import importance, shared_studies
from bench.tracking import models
from bench.tracking.store import ENVIRONMENT, sweep_key
from tests import postgresql
from tests.faults.conftest import Sweep, sweep_of_stubs

pytestmark = pytest.mark.usefixtures("quick_databases")


@pytest.fixture(scope="module")
def server():
    """A server that has no tables yet."""
    if reason := postgresql.problem():
        pytest.skip(reason)
    pytest.importorskip("psycopg", reason="the extra postgresql is not installed")
    made = postgresql.Server()
    yield made
    made.remove()


def studies(server: postgresql.Server, sweep: Sweep) -> dict[str, list[optuna.trial.FrozenTrial]]:
    """Return the trials of a sweep's studies by the name of their cell."""
    storage = optuna.storages.RDBStorage(server.url.replace("postgresql:", "postgresql+psycopg:"))
    prefix = read_spec(sweep.folder)["studies"] + "/"
    found = optuna.get_all_study_summaries(storage)
    return {
        study.study_name.removeprefix(prefix): optuna.load_study(study_name=study.study_name, storage=storage).trials
        for study in found
        if study.study_name.startswith(prefix)
    }


def places_of(secret: str, sweep: Sweep) -> list[str]:
    """Return where a secret can be read: files of the results folder, outputs, and what processes show of themselves."""
    data = secret.encode()
    files = [path for path in sweep.results.parent.rglob("*") if path.is_file() and data in path.read_bytes()]
    shown = []
    coordinators = {process.pid for process in sweep.coordinators}
    for pid in sweep.alive():
        for name in ("cmdline", "environ"):
            path = Path(f"/proc/{pid}/{name}")
            if not (name == "environ" and pid in coordinators) and data in path.read_bytes():
                shown.append(path)
    return [str(path) for path in [*files, *shown]]


def test_an_address_is_postgresql_and_its_file_is_private(tmp_path, monkeypatch):
    monkeypatch.delenv(addresses.FILE, raising=False)
    monkeypatch.setenv(addresses.URL, "mysql://me:s3cret@host/x")
    with pytest.raises(DeclarationError, match="BENCH_STORAGE_URL: must be the address of a PostgreSQL") as refused:
        addresses.storage_url()
    assert "s3cret" not in str(refused.value)
    monkeypatch.delenv(addresses.URL)
    assert addresses.storage_url() is None
    path = tmp_path / "address"
    monkeypatch.setenv(addresses.FILE, str(path))
    with pytest.raises(DeclarationError, match="No such file or directory; give a file"):
        addresses.storage_url()
    path.write_text("postgresql://me:s3cret@host/x\n")
    path.chmod(0o644)
    with pytest.raises(DeclarationError, match="only you can read; run: chmod 600"):
        addresses.storage_url()
    path.chmod(0o600)
    assert addresses.storage_url() == "postgresql://me:s3cret@host/x"


def test_a_server_that_is_not_there_is_one_line_without_the_password(tmp_path, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setenv(addresses.URL, "postgresql://me:s3cret@127.0.0.1:9/x?password=s3cret")
    (tmp_path / "sweep.json").write_text(
        '{"spec": {"cells": []}, "trials": 1, "top_k": 1, "confirm_seeds": 1, "studies": "k"}'
    )
    with pytest.raises(StoreError, match="PostgreSQL 127.0.0.1/x: .*check that the server answers") as refused:
        shared_studies.open_storage(shared_studies.of_sweep(tmp_path))
    assert "s3cret" not in str(refused.value)
    monkeypatch.delenv(addresses.URL)
    with pytest.raises(StoreError, match="set BENCH_STORAGE_URL or BENCH_STORAGE_FILE, and run the same command"):
        shared_studies.of_sweep(tmp_path)


def test_runs_do_not_inherit_the_address_of_mlflow(stub_sweep):
    environment = {
        "MLFLOW_TRACKING_URI": "http://me:pl4nted-s3cret@127.0.0.1:9",
        "MLFLOW_TRACKING_TOKEN": "pl4nted-s3cret",
        "BENCH_STUB_SECONDS": "1",
    }
    coordinator = stub_sweep.start("trials=2", "confirm_seeds=1", **environment)
    stub_sweep.wait_until(lambda: stub_sweep.runs(coordinator), "a run")
    assert len(stub_sweep.alive()) >= 3
    assert places_of("pl4nted-s3cret", stub_sweep) == []
    status, output = coordinator.wait(), coordinator.communicate()[0]
    assert status == 0, output
    assert "no server there" in output
    assert places_of("pl4nted-s3cret", stub_sweep) == []


@pytest.mark.slow
def test_a_sweep_keeps_its_studies_in_a_shared_database_and_its_password_secret(stub_sweep, server, tmp_path):
    file = tmp_path / "private" / "address"
    file.parent.mkdir()
    file.write_text(server.url)
    file.chmod(0o600)
    environment = {"BENCH_STORAGE_FILE": str(file), "BENCH_STUB_SECONDS": "0.5"}
    coordinator = stub_sweep.start("trials=3", "confirm_seeds=1", **environment)
    stub_sweep.wait_until(lambda: stub_sweep.runs(coordinator), "a run")
    assert places_of(postgresql.PASSWORD, stub_sweep) == [str(file)]
    coordinator.kill()
    coordinator.wait()
    status, output = stub_sweep.finish("trials=3", "confirm_seeds=1", **environment)
    assert status == 0, output
    assert places_of(postgresql.PASSWORD, stub_sweep) == [str(file)]
    assert not (stub_sweep.folder / "study.db").exists()
    found = studies(server, stub_sweep)
    assert set(found) == {"latch/L8/gru", "latch/L8/mlp"}
    records = {record.config.run: record for record in all_records(stub_sweep.folder)}
    for cell, trials in found.items():
        assert [trial.number for trial in trials] == [0, 1, 2]
        assert [trial.value for trial in trials] == [records[f"{cell}/t{number}"].val_score for number in range(3)]
    stub_sweep.check_tracked()
    # MLflow has no copy of it either, whatever tags and parameters it keeps.
    with closing(sqlite3.connect(stub_sweep.results / "mlflow.db")) as pages:
        assert postgresql.PASSWORD not in "\n".join(pages.iterdump())
    # Without the address, the sweep says what is missing.
    status, output = stub_sweep.finish("trials=3", "confirm_seeds=1")
    assert status == 2
    assert "set BENCH_STORAGE_URL or BENCH_STORAGE_FILE" in output


@pytest.mark.slow
def test_the_server_of_the_studies_may_be_away_for_a_minute(stub_sweep, server, monkeypatch):
    environment = {"BENCH_STORAGE_URL": server.url, "BENCH_STUB_SECONDS": "4"}
    coordinator = stub_sweep.start("trials=6", "confirm_seeds=1", **environment)
    stub_sweep.wait_for("runs/**/t2/record.json", 120)
    stub_sweep.wait_until(lambda: stub_sweep.runs(coordinator), "a run")
    server.stop()
    before = len(list(stub_sweep.folder.rglob("record.json")))
    time.sleep(60)
    assert coordinator.poll() is None
    assert len(list(stub_sweep.folder.rglob("record.json"))) > before  # runs under way have ended meanwhile
    server.start()
    status, output = coordinator.wait(), coordinator.communicate()[0]
    assert status == 0, output
    for trials in studies(server, stub_sweep).values():
        assert [trial.number for trial in trials] == list(range(6))
        assert all(trial.state.is_finished() for trial in trials)
    stub_sweep.check_tracked()
    monkeypatch.setenv(addresses.URL, server.url)
    assert {str(found.cell) for found in importance.of_sweep(stub_sweep.folder)} == {"latch/L8/gru", "latch/L8/mlp"}


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root may have two host names")
def test_sweeps_of_one_name_on_two_machines_share_both_servers(
    tmp_path, empty_store, server, mlflow_server, monkeypatch
):
    """Two host names stand for two machines, which share no results folder. Both begin in the same second."""
    mlflow_server.start()
    servers = {"BENCH_STORAGE_URL": server.url, "MLFLOW_TRACKING_URI": mlflow_server.url, "BENCH_STUB_SECONDS": "1"}
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        sweep_of_stubs(tmp_path / "one", empty_store) as one,
        sweep_of_stubs(tmp_path / "two", empty_store) as two,
    ):
        sweeps = {"one": one, "two": two}
        started = {
            host: sweep.start("trials=4", "confirm_seeds=1", **servers, BENCH_HOST_NAME=host)
            for host, sweep in sweeps.items()
        }
        for host, sweep in sweeps.items():
            sweep.wait_until(lambda sweep=sweep: sweep.runs(sweep.coordinators[0]), "a run")
            assert f"on {host}\n" in (sweep.folder / "sweep.lock").read_text()
        for coordinator in started.values():
            assert coordinator.wait(600) == 0, coordinator.communicate()[0]
            assert "continues without" not in coordinator.communicate()[0]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
        runs = one.mlflow_runs()
        assert max(Counter(run.data.tags["bench.id"] for run in runs).values()) == 1
        for sweep in sweeps.values():
            found = {record.config.run: record for record in all_records(sweep.folder)}
            key = sweep_key(sweep.folder)
            mine = Counter(run.data.tags["bench.kind"] for run in runs if run.data.tags["bench.sweep"] == key)
            phases = Counter(record.config.phase for record in found.values())
            assert mine == {"sweep": 1, "cell": 2, "trial": phases["screen"], "confirm": phases["confirm"]}
            for cell, trials in studies(server, sweep).items():
                values = [found[f"{cell}/t{number}"].val_score for number in range(4)]
                assert [trial.value for trial in trials] == values


@pytest.mark.slow
def test_two_copies_of_a_results_folder_do_not_share_a_sweep(tmp_path, server, monkeypatch):
    monkeypatch.setenv(addresses.URL, server.url)
    (tmp_path / "sweep.json").write_text(
        '{"spec": {"cells": []}, "trials": 1, "top_k": 1, "confirm_seeds": 1, "studies": "k"}'
    )
    with shared_studies.locked(tmp_path):
        with pytest.raises(SweepLockedError, match="is being worked on by another"), shared_studies.locked(tmp_path):
            pass
        with create_engine(make_url(server.url).set(drivername="postgresql+psycopg")).connect() as connection:
            locks = connection.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")).scalar()
        assert locks == 1
    with shared_studies.locked(tmp_path):  # released with the connection
        pass


@pytest.fixture
def mlflow_server(server, tmp_path):
    """MLflow's server over PostgreSQL, which serves artifacts too; `start` and `kill` it as you like."""
    with create_engine(
        make_url(server.url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    ).connect() as connection:
        connection.execute(text(f"CREATE DATABASE {(name := f'pages{uuid.uuid4().hex}')}"))
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = MlflowServer(server.url.replace("/postgres", f"/{name}"), port, tmp_path / "mlflow")
    yield made
    made.kill()


class MlflowServer:
    """A process of `mlflow server`, with its address."""

    def __init__(self, store: str, port: int, folder: Path) -> None:
        self.url, self._folder = f"http://127.0.0.1:{port}", folder
        folder.mkdir()
        self._words = ["--port", str(port), "--workers", "1", "--artifacts-destination", str(folder / "artifacts")]
        self._environment = os.environ | ENVIRONMENT | {"MLFLOW_BACKEND_STORE_URI": store}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        with (self._folder / "log").open("a") as log:
            command = [sys.executable, "-m", "mlflow", "server", *self._words]
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5)
                return
            except OSError:
                log_text = (self._folder / "log").read_text()
                assert self._process.poll() is None, log_text
                assert time.monotonic() < end, log_text
                time.sleep(0.2)

    def kill(self) -> None:
        """Kill the server and its workers."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.mark.slow
def test_an_mlflow_server_that_is_away_for_a_minute_gets_what_it_missed(stub_sweep, mlflow_server, monkeypatch):
    mlflow_server.start()
    environment = {"MLFLOW_TRACKING_URI": mlflow_server.url, "BENCH_STUB_SECONDS": "8"}
    coordinator = stub_sweep.start("trials=24", "confirm_seeds=1", **environment)
    stub_sweep.wait_for("runs/**/t1/record.json", 300)
    mlflow_server.kill()
    before = len(list(stub_sweep.folder.rglob("record.json")))
    time.sleep(60)
    assert coordinator.poll() is None
    assert len(list(stub_sweep.folder.rglob("record.json"))) >= before + 5  # while two slots could at best end 14 runs
    mlflow_server.start()
    assert coordinator.poll() is None  # else the server took longer to start than the sweep to end
    status, output = coordinator.wait(600), coordinator.communicate()[0]
    assert status == 0, output
    assert "the sweep continues without it" in output
    assert "the server answers again, and has got what it missed" in output
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
    records = [run for run in all_records(stub_sweep.folder) if run.config.phase in ("screen", "confirm")]
    runs = stub_sweep.mlflow_runs()
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert Counter(run.data.tags["bench.kind"] for run in runs).items() >= {"sweep": 1, "cell": 2, "trial": 48}.items()
    names = {"trial": "val_screening", "confirm": "val_confirmation"}
    written = [(run.data.tags["bench.kind"], run.data.metrics) for run in runs]
    scores = [metrics[names[kind]] for kind, metrics in written if kind in names]
    assert sorted(scores) == sorted(record.val_score for record in records)


@pytest.mark.slow
def test_an_mlflow_server_over_postgresql_may_be_killed_during_a_sweep(stub_sweep, mlflow_server, monkeypatch):
    mlflow_server.start()
    environment = {"MLFLOW_TRACKING_URI": mlflow_server.url, "BENCH_STUB_SECONDS": "0.5"}
    coordinator = stub_sweep.start("trials=6", "confirm_seeds=1", **environment)
    stub_sweep.wait_for("runs/**/t2/record.json", 300)
    mlflow_server.kill()
    status, output = coordinator.wait(), coordinator.communicate()[0]
    assert status == 0, output
    assert "the sweep continues without it" in output
    mlflow_server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
    records = [run for run in all_records(stub_sweep.folder) if run.config.phase in ("screen", "confirm")]
    assert len(records) >= 14
    assert coordinators.sync(stub_sweep.folder, stub_sweep.results, print) == len(records)
    runs = stub_sweep.mlflow_runs()
    written = Counter(run.data.tags["bench.kind"] for run in runs)
    assert written["trial"] + written["confirm"] == len(records)
    assert max(Counter(run.data.tags["bench.id"] for run in runs).values()) == 1
    (folder := stub_sweep.results.parent / "model").mkdir()
    (folder / "weights").write_text("x")
    run = next(run for run in records if run.config.phase == "confirm").config.run
    line = models.register_model(stub_sweep.results, stub_sweep.folder, run, folder, "latch-L8")
    assert line == "MLflow: version 1 of model 'latch-L8'"  # its files went through the server
