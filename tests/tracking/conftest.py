"""A results folder whose name has to be escaped, with a store that holds a sweep."""

import shutil
from pathlib import Path

import pytest

from tests.tracking.sweeps import write

NAME = "a?b c%20d#é"


@pytest.fixture(autouse=True)
def _own_store(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def results(tmp_path, empty_store) -> Path:
    """A results folder with an empty store."""
    folder = tmp_path / NAME
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="session")
def written(tmp_path_factory, empty_store) -> Path:
    """A results folder whose store holds the sweep; tests must not write to it."""
    results = tmp_path_factory.mktemp("tracking") / NAME
    results.mkdir()
    shutil.copy(empty_store, results / "mlflow.db")
    write(results)
    return results
