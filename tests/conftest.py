"""What every test leaves behind as it found it, on how many threads it computes, and where real data are."""

import functools
import os
import pickle
import shutil
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest

BESIDE = Path(__file__).parents[2] / "shared" / "data"  # of the checkout


def pytest_configure(config):
    """Look for real data beside the checkout; keep what is prepared of them out of the user's cache.

    It is prepared once for all processes of pytest-xdist, which inherit the address of the folder.
    One thread, as runs have it where each has a core: on tensors this small, more of them mostly wait for each other,
    and cost four times the CPU time. What is measured with several sets their number itself.
    """
    # A busy machine is no fault of what is tested. Every run draws other examples, so that few are enough in each.
    hypothesis.settings.register_profile("any machine", deadline=None, max_examples=25)
    hypothesis.settings.load_profile("any machine")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would each compile the whole package
    if "BENCH_DATA_DIR" not in os.environ and BESIDE.is_dir():
        os.environ["BENCH_DATA_DIR"] = str(BESIDE)
    if not hasattr(config, "workerinput"):
        config.bench_cache = os.environ["BENCH_CACHE_DIR"] = tempfile.mkdtemp(prefix="bench-cache-")


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        shutil.rmtree(config.bench_cache, ignore_errors=True)


@pytest.fixture(autouse=True)
def _subnormal_numbers_stay():
    """Undo what `measure.prepare_process` sets for a whole process: hypothesis draws subnormal numbers."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session")
def quick_databases():
    """Let SQLite return before the disk has written: a test of what a database holds need not wait for it."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def relax(connection, _):
        if type(connection).__module__.startswith("sqlite3"):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", relax)
    yield
    event.remove(Engine, "connect", relax)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory, quick_databases) -> Path:
    """An MLflow store without runs, made once: its tables take seconds."""
    from bench.tracking import store

    results = tmp_path_factory.mktemp("empty") / "a?b c%20d#é"  # which has to be escaped
    results.mkdir()
    store.connect(results, lambda line: None)
    assert sorted(path.name for path in results.iterdir()) == ["mlflow.db", "mlflow.lock"]
    assert [path.name for path in results.parent.iterdir()] == [results.name]
    return results / "mlflow.db"


@pytest.fixture(scope="module")
def quick_tables(empty_store):
    """Copies an empty store where the bench would make its tables, which takes seconds."""
    from bench.tracking import store

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_make_tables", lambda path: shutil.copy(empty_store, path))
        yield


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Return what `export_of` returns for a kind of file; tests must not write to its folder.

    Each kind is trained once for all processes of pytest-xdist, whose folders lie beside each other.
    """
    from filelock import FileLock

    from tests.export.kinds import export_of

    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "exported"
    shared.mkdir(exist_ok=True)

    @functools.cache
    def make(kind: str):
        folder = shared / kind.replace(" ", "_")
        made = folder.with_suffix(".pickle")
        with FileLock(folder.with_suffix(".lock")):
            if not made.exists():
                folder.mkdir()
                made.write_bytes(pickle.dumps(export_of(kind, folder)))
            return pickle.loads(made.read_bytes())

    return make
