"""Studies in a PostgreSQL database that many sweeps share, named by the variables in bench/config/addresses.py.

A sweep that begins with an address writes the key of its studies into sweep.json; its studies stay there. Others keep
theirs in study.db.
"""

import hashlib
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from sqlalchemy import URL, create_engine, event, func, select
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from bench.config import addresses
from bench.errors import DeclarationError, StoreError, SweepLockedError
from bench.results.record import read_spec

KEY = "studies"
"""The key of sweep.json that names the studies of a sweep in a shared database."""

WAIT_SECONDS = 600.0
"""How long a sweep waits for a server that it has used and that no longer answers; its runs go on meanwhile."""

SETTINGS = {"connect_timeout": 10, "tcp_user_timeout": 30_000, "application_name": "bench"}
"""Of a connection: a server that has vanished from the network is noticed within half a minute."""


class Database(NamedTuple):
    """A PostgreSQL database, and what the names of a sweep's studies begin with."""

    url: URL
    prefix: str

    def __str__(self) -> str:
        """Return where it is, without user name and password."""
        return f"PostgreSQL {self.url.host or 'on this machine'}/{self.url.database or ''}"


def new_key(name: str) -> str | None:
    """Return a key for the studies of a new sweep; None if they belong into study.db. Raises DeclarationError."""
    return None if addresses.storage_url() is None else f"{name}-{uuid.uuid4().hex[:12]}"


def of_sweep(folder: Path) -> Database | None:
    """Return the database of a sweep; None if its studies are in study.db. Raises StoreError."""
    key = read_spec(folder).get(KEY) if (folder / "sweep.json").exists() else None
    if key is None:
        return None
    address = addresses.storage_url()
    if address is None:
        rule = f"its studies are in a database; set {addresses.URL} or {addresses.FILE}"
        raise StoreError(f"sweep {folder.name}: {rule}, and run the same command to resume")
    try:
        return Database(make_url(address).set(drivername="postgresql+psycopg"), f"{key}/")
    except ArgumentError:
        raise DeclarationError(f"{addresses.URL}: is not an address; check its form") from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a sweep in its database, so that two copies of a results folder are not worked on at once.

    The server releases it when this process dies. Raises SweepLockedError and StoreError.
    """
    database = of_sweep(folder)
    if database is None:
        yield
        return
    with _connected(database) as connection:
        if not connection.scalar(select(func.pg_try_advisory_lock(_number(database.prefix)))):
            rule = f"sweep {folder.name} is being worked on by another process, as its lock in {database} says"
            raise SweepLockedError(f"{rule}; wait for it, stop it, or use another --name")
        yield


def open_storage(database: Database) -> optuna.storages.RDBStorage:
    """Return Optuna's storage in a database. Raises StoreError if it cannot be reached now.

    Later it waits for a server that is restarted. A connection is tried before each use, since servers drop idle ones.
    """
    with _connected(database) as connection:
        # Processes that make the tables of an empty database at once would break each other's.
        connection.execute(select(func.pg_advisory_lock(_number("tables of Optuna"))))
        storage = optuna.storages.RDBStorage(
            database.url.render_as_string(hide_password=False),
            engine_kwargs={"pool_pre_ping": True, "connect_args": SETTINGS},
        )
    event.listen(storage.engine, "do_connect", _connect_patiently)
    return storage


@contextmanager
def _connected(database: Database) -> Iterator[Connection]:
    """Open a connection of its own, without a transaction. Raises StoreError."""
    try:
        engine = create_engine(
            database.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=SETTINGS
        )  # fmt: skip
        connection = engine.connect()
    except ModuleNotFoundError:
        raise StoreError(f"{database}: needs psycopg; run: pip install 'sequence-model-bench[postgresql]'") from None
    except SQLAlchemyError as error:
        raise StoreError(f"{database}: {reason(error)}; {fix()}") from None
    try:
        yield connection
    finally:
        _close(connection)


def _close(connection: Connection) -> None:
    try:
        connection.close()
    except SQLAlchemyError:  # the server was restarted, and has released what it held
        connection.invalidate()


def _connect_patiently(dialect: Any, record: Any, arguments: Any, parameters: Any) -> Any:
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return dialect.connect(*arguments, **parameters)
        except dialect.loaded_dbapi.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def _number(text: str) -> int:
    """Return the number of a lock; PostgreSQL names them by 64 bits."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def reason(error: BaseException) -> str:
    """Return what a driver says, in a line without the parameters of its statement."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).splitlines() or [type(error).__name__])[0]


def is_lost(error: BaseException | None) -> bool:
    """Return whether the connection broke in the middle of a request."""
    while error is not None:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return True
        error = error.__cause__
    return False


def fix() -> str:
    """Return what to do about a server that does not answer."""
    return f"check that the server answers and that {addresses.URL} is right, then run the same command to resume"
