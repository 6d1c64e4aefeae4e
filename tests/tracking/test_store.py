"""Where the store is, and that it is usable after kills, damage and errors of the operating system."""

import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from bench.errors import StoreError
from bench.tracking import store
from tests.tracking.sweeps import Log

ROOT = Path(__file__).parents[2]
CONNECT = (
    "import sys; from pathlib import Path; from bench.tracking import store; store.connect(Path(sys.argv[1]), print)"
)


def connect_elsewhere(results: Path, **options) -> subprocess.Popen[str]:
    """Open the store of a results folder in another process."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | options.pop("env", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, "-c", CONNECT, str(results)], env=environment, **pipes, **options)


def break_off(path: Path) -> None:
    """Leave a store as a process does that is killed between two migrations."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE registered_models")
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        database.commit()


DAMAGES = {
    "zero bytes": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"no database" * 1000),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2 + 100),
    "a damaged page": lambda path: path.write_bytes(path.read_bytes()[:8192] + b"x" * 8192 + path.read_bytes()[16384:]),
    "between two migrations": break_off,
    "a folder in its place": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.usefixtures("quick_tables")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_set_aside_and_made_again(results, damage):
    path, say = results / "mlflow.db", Log()
    DAMAGES[damage](path)
    with pytest.raises(StoreError, match="run: python -m bench sync"):
        store.connect(results)
    client = store.connect(results, say)
    assert client.search_experiments(max_results=1)
    (line,) = say
    assert "it is now mlflow.db.broken-1" in line
    assert (results / "mlflow.db.broken-1").exists()
    assert not list(results.glob(".mlflow.db.*"))


@pytest.mark.usefixtures("quick_tables")
def test_a_second_damaged_store_does_not_replace_the_first(results):
    for number in (1, 2):
        (results / "mlflow.db").write_bytes(b"no database")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "_client", lambda uri: None)  # MLflow keeps connections to the file before
            store.connect(results, lambda line: None)
        assert (results / f"mlflow.db.broken-{number}").exists()


@pytest.mark.usefixtures("quick_tables")
def test_a_deleted_store_is_made_again_without_a_word(results):
    (results / "mlflow.db").unlink()
    (results / "mlflow.db-journal").write_bytes(b"SQLite would play this back into the new file")
    say = Log()
    store.connect(results, say)
    assert say == []
    assert not (results / "mlflow.db-journal").exists()


def test_a_store_of_another_version_that_holds_runs_is_not_set_aside(written, tmp_path):
    path = Path(shutil.copy(written / "mlflow.db", tmp_path))
    break_off(path)
    with pytest.raises(StoreError, match="mlflow db upgrade"):
        store.connect(tmp_path, lambda line: None)
    assert path.exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_first_start_that_is_killed_leaves_nothing_that_the_next_one_trips_over(tmp_path):
    rng = random.Random(0)
    for _ in range(6):
        process = connect_elsewhere(tmp_path)
        end = time.monotonic() + 120
        while not list(tmp_path.glob(".mlflow.db.*")) and process.poll() is None:
            assert time.monotonic() < end, "no table was made"
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 5))
        process.send_signal(rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        process.communicate()
    process = connect_elsewhere(tmp_path)
    output, _ = process.communicate(timeout=240)
    assert (process.returncode, output) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.lock"]
    store.connect(tmp_path)


@pytest.mark.parametrize("name", ["plain", "a?b", "c%20d", "e#f", "g h", "i@j:k", "ü&=", "quote'\""])
def test_an_address_leads_to_the_folder_it_was_made_of(tmp_path, name):
    url = make_url(store.store_uri(tmp_path / name))
    assert url.database == str((tmp_path / name / "mlflow.db").resolve())
    assert not url.query


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns"])
def test_a_folder_is_not_used_and_a_line_says_so(results, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    say = Log()
    store.connect(results, say)
    (line,) = say
    assert line.startswith(f"MLFLOW_TRACKING_URI is not used: {uri} is a folder")


def test_a_database_that_is_given_is_used_and_never_set_aside(results, tmp_path, monkeypatch):
    path = Path(shutil.copy(results / "mlflow.db", tmp_path / "shared.db"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    assert store.connect(tmp_path / "other").tracking_uri == f"sqlite:///{path}"
    path.write_bytes(b"no database")
    with pytest.raises(StoreError, match="restore it, or set MLFLOW_TRACKING_URI to another store"):
        store.connect(tmp_path / "other", lambda line: None)
    assert path.read_bytes() == b"no database"


def test_passwords_are_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9/mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert store.server_url() == "http://127.0.0.1:9/mlflow"
    with pytest.raises(StoreError) as caught:
        store.connect(tmp_path)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "check that the server answers" in str(caught.value)


def test_a_full_disk_is_one_line_that_says_what_to_do(results):
    """A limit on the size of files, which SQLite meets as it meets a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    (results / "mlflow.db").unlink()
    process = connect_elsewhere(results, preexec_fn=limit)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    last = output.strip().splitlines()[-1]
    assert re.search(r"StoreError: .*mlflow\.db: .*; free disk space", last), output
    assert not (results / "mlflow.db").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two users")
def test_a_store_of_another_user_is_one_line_that_says_what_to_do(empty_store):
    with tempfile.TemporaryDirectory() as folder:  # where both users may look, unlike pytest's
        os.chmod(folder, 0o755)
        for mode in (0o644, 0o600):
            path = Path(shutil.copy(empty_store, folder))
            path.chmod(mode)
            os.seteuid(65534)
            try:
                with pytest.raises(StoreError, match="make the file and its folder writable for you"):
                    store.connect(Path(folder), lambda line: None)
            finally:
                os.seteuid(0)
