"""The MLflow store of a results folder: where it is, how it is made, and what to do if it cannot be used.

The store is the file `mlflow.db` in the results folder, or what the variable MLFLOW_TRACKING_URI names. The file is a
projection of the records, so a damaged one is set aside and replaced.
"""

import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from filelock import FileLock

from bench.config.strict import fingerprint
from bench.errors import StoreError
from bench.results.record import read_spec

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a server that only shows pages runs no jobs
}
LIMITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""For servers that do not answer; MLflow's own limits add up to a quarter of an hour a request."""

for _name, _value in LIMITS.items():
    os.environ.setdefault(_name, _value)
os.environ.update(ENVIRONMENT)  # MLflow reads them when it is imported

KEY = "key"
"""The key of sweep.json that tells a sweep from others of its name, made in the same second on other machines too."""

NOTE = "mlflow.json"
"""File in a sweep's folder that notes up to which moment the store holds its records."""


def given_uri() -> str:
    """Return the store that MLFLOW_TRACKING_URI names; empty if it is not set, or names a folder."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    return "" if _is_folder(uri) else uri


def store_uri(results: Path) -> str:
    """Return the address of the store of a results folder."""
    return given_uri() or sqlite_uri((results / "mlflow.db").resolve())


def sqlite_uri(path: Path) -> str:
    """Return the address of a SQLite file, escaped.

    If anything is escaped, slashes are too: MLflow makes the parent folder of the address as it is written, and a
    folder `a%3Fb` would appear beside `a?b`.
    """
    text = str(path)
    return "sqlite:///" + (text if quote(text) == text else quote(text, safe=""))


def server_url() -> str:
    """Return the address of the tracking server without user name and password; empty if the store is a database."""
    return shown_uri().rstrip("/") if given_uri().startswith(("http://", "https://")) else ""


def shown_uri() -> str:
    """Return what `given_uri` returns, without user name and password."""
    return _without_password(given_uri())


def sweep_key(folder: Path) -> str:
    """Return the name of a sweep in the store; a store that others may share needs a key as well."""
    return f"{folder.name}-{key_of(read_spec(folder))}" if given_uri() else folder.name


def key_of(spec: dict[str, Any]) -> str:
    """Return what tells a sweep from others of its name; sweeps from before there were keys have a fingerprint."""
    return str(spec.get(KEY) or fingerprint([spec.get("created"), spec["command"]])[:6])


def connect(results: Path, say: Callable[[str], None] | None = None) -> "MlflowClient":
    """Return a client of the store of a results folder. Raises StoreError, one line with what to do.

    With `say`, a missing or damaged store is replaced by a new one, and `say` gets a line about it.
    """
    try:
        if say is not None:
            _prepare(results, say)
        elif (path := _database(results)) and (problem := _problem(path)):
            raise StoreError(f"{path}: {problem}; run: python -m bench sync")
        return _client(store_uri(results))
    except Exception as error:  # noqa: BLE001 - MLflow raises the errors of all its drivers
        raise StoreError(explain(error, results)) from None


def explain(error: Exception, results: Path) -> str:
    """Return what failed and what to do about it, in one line, without passwords."""
    if isinstance(error, StoreError):
        return str(error)
    text = " ".join(re.split(r"\[SQL:|\(Background on", str(error))[0].split())
    text = f"{type(error).__name__}: {_without_password(text)}"
    if given_uri():
        known = {"timed out": "no answer in time", "refused": "no server there", "resolve": "no such host"}
        text = next((words for sign, words in known.items() if sign in text), text[:300])
        return f"{shown_uri()}: {text}; check that the server answers and that MLFLOW_TRACKING_URI is right"
    text = text[:300]
    path = results / "mlflow.db"
    if re.search("readonly|[Rr]ead-only|unable to open|[Pp]ermission", text):
        return f"{path}: {text}; make the file and its folder writable for you"
    if re.search("is full|No space|disk I/O|too large|quota", text):
        return f"{path}: {text}; free disk space"
    return f"{path}: {text}"


def _prepare(results: Path, say: Callable[[str], None]) -> None:
    """Make the tables of a store that has none, and set a damaged file aside.

    The tables are made in another file, which is then renamed: a process killed here leaves the store as it was. A
    store that MLFLOW_TRACKING_URI names is never set aside.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if uri and not given_uri():
        say(
            f"MLFLOW_TRACKING_URI is not used: {uri} is a folder, and MLflow writes only to servers and databases; "
            f"runs are written to {results / 'mlflow.db'}"
        )
    path = _database(results)
    if path is None:
        return
    # Two processes that make the tables of a new store at once would break each other's migration.
    with FileLock(path.with_name("mlflow.lock")):
        problem = _problem(path)
        if problem is None:
            return
        if os.path.lexists(path):
            if given_uri():
                raise StoreError(f"{path}: {problem}; restore it, or set MLFLOW_TRACKING_URI to another store")
            aside = _set_aside(path)
            say(
                f"{path}: {problem}; it is now {aside.name}, and a new file is made from the records of this sweep; "
                "add earlier sweeps with `python -m bench sync`, and restart `python -m bench ui` if it is running"
            )
        _make_tables(path)
        for note in results.glob(f"sweeps/*/{NOTE}"):
            note.unlink(missing_ok=True)


def _is_folder(uri: str) -> bool:
    is_allowed = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1")
    return urlsplit(uri).scheme in ("", "file") and not is_allowed


def _without_password(uri: str) -> str:
    return re.sub(r"(password=)[^&\s]+", r"\1***", re.sub(r"//[^/@\s]+@", "//", uri))


def _database(results: Path) -> Path | None:
    """Return the SQLite file of the store; None if it is a server or another database."""
    from sqlalchemy.engine import make_url

    uri = store_uri(results)
    if not uri.startswith("sqlite:"):
        return None
    database = make_url(uri).database
    return Path(database).absolute() if database and database != ":memory:" else None


def _problem(path: Path) -> str | None:
    """Return what is wrong with a SQLite file, or None. Raises OSError, sqlite3.Error and StoreError."""
    if not path.exists():
        return "is missing"
    if not path.is_file():
        return "is not a file"
    try:
        with closing(sqlite3.connect(path, timeout=20)) as database:
            if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                return "is damaged"
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"alembic_version", "runs"} <= tables:
                return "has no complete tables"
            version = database.execute("SELECT version_num FROM alembic_version").fetchone()
            is_empty = database.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is None
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return "is damaged"
        raise
    expected = _schema()
    if version == (expected,):
        return None
    if is_empty:  # a store that was killed while its tables were made
        return "has no complete tables"
    raise StoreError(
        f"{path}: made by another version of MLflow (tables {version and version[0]}, here {expected}); run: "
        f"mlflow db upgrade '{sqlite_uri(path)}', or delete the file and run: python -m bench sync"
    )


def _schema() -> str:
    """Return the version of the tables that this MLflow works with."""
    from mlflow.store.db.utils import _get_latest_schema_revision  # it has no public name

    return str(_get_latest_schema_revision())  # type: ignore[no-untyped-call]


def _client(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    # Now, as MLflow sets its own levels when it is imported. Errors are shown by `explain`, in one line.
    for name in ("alembic", "mlflow", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    client = MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)
    return client


def _make_tables(path: Path) -> None:
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink()
    new = path.with_name(f".{path.name}.{time.time_ns()}")  # not used before: MLflow keeps connections by address
    _client(sqlite_uri(new))
    _move_journals(path, path.with_name(f".{path.name}.old"))
    os.replace(new, path)


def _set_aside(path: Path) -> Path:
    """Rename a damaged file, its journals with it: SQLite would play them back into the next file of this name."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.broken-{number}")):
        number += 1
    _move_journals(path, aside)
    path.rename(aside)
    return aside


def _move_journals(path: Path, other: Path) -> None:
    for suffix in ("-journal", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(other.with_name(other.name + suffix))
