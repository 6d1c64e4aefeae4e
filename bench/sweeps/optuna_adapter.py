"""The only calls into Optuna's private parts and into the semantics of its queue; its test fails when they change.

A trial is known by its number. Optuna's public interface cannot report to, release or resume a trial of an earlier
process, so this module reaches for the trial's id in the storage.
"""

import functools
import io
import pickle
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages._rdb.models import TrialModel
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import URL, func, select
from sqlalchemy.exc import SQLAlchemyError

from bench.config import addresses
from bench.errors import StoreError
from bench.sweeps import shared_studies
from bench.sweeps.shared_studies import Database

LOCK_SECONDS = 60
"""How long a locked database is waited for."""

OPEN = (TrialState.RUNNING, TrialState.WAITING)


PICKLED = {("cmaes._cma", "CMA"), ("numpy", "dtype"), ("numpy", "ndarray")} | {
    (module, name)
    for module in ("numpy._core.multiarray", "numpy.core.multiarray")
    for name in ("_reconstruct", "scalar")
}
"""All that the state of CMA-ES is made of."""


class CmaEs(optuna.samplers.CmaEsSampler):
    """CMA-ES that reads its stored state as numbers only.

    Optuna keeps the state as a pickle in the study, and a pickle may run any code. A study may be somebody else's.
    """

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        for trial in reversed(completed_trials):
            parts = {name: v for name, v in trial.system_attrs.items() if name.startswith(self._attr_key_optimizer)}
            if parts:
                return _Numbers(io.BytesIO(bytes.fromhex(self._concat_optimizer_attrs(parts)))).load()
        return None


class _Numbers(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PICKLED:
            rule = "it is not read, because it could run code; start the sweep under another --name"
            raise StoreError(f"the stored state of CMA-ES refers to {module}.{name}; {rule}")
        return super().find_class(module, name)


@contextmanager
def in_one_line(path: Path | Database) -> Iterator[None]:
    """Turn an error of the database at `path` into a StoreError that says what to do."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, sqlite3.Error) as error:
        reason = shared_studies.reason(error)
        if isinstance(path, Database):
            kind = ConnectionLostError if shared_studies.is_lost(error) else StoreError
            raise kind(f"{path}: {reason}; {shared_studies.fix()}") from None
        if "locked" in reason:
            rule = f"locked by another process for {LOCK_SECONDS} s; close it, then run the same command to resume"
        else:
            rule = f"the database cannot be used ({reason}); free the disk or restore the file, then resume"
        raise StoreError(f"{path}: {rule}") from None


class ConnectionLostError(StoreError):
    """The server of a shared database ended in the middle of a request, which may have been carried out or not."""


Method = TypeVar("Method", bound=Callable[..., Any])


def guarded(method: Method) -> Method:
    """Have a method of Studies, whose first argument is a cell, raise StoreError for every error of its database.

    After a lost connection it is called once more, which waits until the server answers.
    """

    @functools.wraps(method)
    def wrapped(self: Any, *arguments: Any) -> Any:
        try:
            with in_one_line(self.path):
                return method(self, *arguments)
        except ConnectionLostError:
            with in_one_line(self.path):
                self.release_lost(arguments[0])
                return method(self, *arguments)

    return cast(Method, wrapped)


class TrialStore:
    """The studies of a sweep, in the file `path` or in a shared database.

    Raises StoreError if the file is damaged, or if the studies are missing although there are runs.
    """

    def __init__(self, path: Path, database: Database | None = None) -> None:
        self.path = path if database is None else database
        self._prefix = "" if database is None else database.prefix
        has_runs = any((path.parent / "runs").glob("*/*/*/*/record.json"))
        if database is None and path.exists():
            _check(path)
        elif database is None and has_runs:
            raise StoreError(f"{path}: missing although there are runs; restore it, or use another --name")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with in_one_line(self.path):
            self._storage = open_file(path) if database is None else shared_studies.open_storage(database)
            names = optuna.get_all_study_names(self._storage)
        self.begun = {name.removeprefix(self._prefix) for name in names if name.startswith(self._prefix)}
        if database is not None and has_runs and not self.begun:
            rule = f"has no studies of this sweep although there are runs; check {addresses.URL}, or use another --name"
            raise StoreError(f"{database}: {rule}")

    def study(
        self,
        name: str,
        directions: Sequence[Literal["maximize", "minimize"]],
        sampler: optuna.samplers.BaseSampler,
    ) -> optuna.Study:
        """Return a study, new or as it was left."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna marks some of our samplers as experimental
            return optuna.create_study(
                study_name=self._prefix + name,
                storage=self._storage,
                directions=list(directions),
                sampler=sampler,
                pruner=optuna.pruners.NopPruner(),
                load_if_exists=True,
            )

    def count(self, study: optuna.Study, *states: TrialState) -> int:
        """Return how many trials are in these states, by default in any; Optuna reads all trials to count them."""
        query = select(func.count()).where(TrialModel.study_id == study._study_id)
        if states:
            query = query.where(TrialModel.state.in_(states))
        with self._storage.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def frozen(self, study: optuna.Study, number: int) -> FrozenTrial:
        """Return a trial as it is stored."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        return self._storage.get_trial(trial_id)

    def handle(self, study: optuna.Study, number: int) -> Trial:
        """Return a trial that may be reported to, whichever process asked for it."""
        return Trial(study, self.frozen(study, number)._trial_id)

    def release(self, study: optuna.Study, number: int) -> None:
        """Queue a trial that was stopped: `ask` returns it before any new one, with its number and its values."""
        self._set_state(study, number, TrialState.RUNNING, TrialState.WAITING)

    def resume(self, study: optuna.Study, number: int) -> None:
        """Take a trial out of the queue again."""
        self._set_state(study, number, TrialState.WAITING, TrialState.RUNNING)

    def _set_state(self, study: optuna.Study, number: int, before: TrialState, after: TrialState) -> None:
        frozen = self.frozen(study, number)
        if frozen.state == before:
            self._storage.set_trial_state_values(frozen._trial_id, after)


def open_file(path: Path) -> optuna.storages.RDBStorage:
    """Return Optuna's storage in a file; another process may lock it for LOCK_SECONDS."""
    url = URL.create("sqlite", database=str(path.resolve())).render_as_string()
    return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}})


def _check(path: Path) -> None:
    try:
        with sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=LOCK_SECONDS) as connection:
            if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok" or not path.stat().st_size:
                raise sqlite3.DatabaseError("quick_check failed")
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            with in_one_line(path):
                raise
        raise StoreError(f"{path}: damaged ({error}); restore the file, or use another --name") from None
