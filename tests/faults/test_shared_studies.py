"""Studies in a PostgreSQL server that sweeps share, its faults, and passwords that must stay where they are."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from sqlalchemy import create_engine, make_url, text

from bench.config import addresses
from bench.errors import DeclarationError, StoreError, SweepLockedError
from bench.results.record import all_records, read_spec
from bench.sweeps import importance, shared_studies
from tests import postgresql
from tests.faults.conftest import Sweep

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
def test_the_server_of_the_studies_may_be_killed_for_a_while(stub_sweep, server, monkeypatch):
    environment = {"BENCH_STORAGE_URL": server.url, "BENCH_STUB_SECONDS": "0.3"}
    coordinator = stub_sweep.start("trials=6", "confirm_seeds=1", **environment)
    stub_sweep.wait_for("runs/**/t2/record.json", 120)
    server.stop()
    before = len(list(stub_sweep.folder.rglob("record.json")))
    time.sleep(5)
    assert coordinator.poll() is None
    assert len(list(stub_sweep.folder.rglob("record.json"))) >= before  # runs under way have ended meanwhile
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
