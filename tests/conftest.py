"""What every test leaves behind as it found it, on how many threads it computes, and where real data are."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest

BESIDE = Path(__file__).parents[2] / "shared" / "data"  # of the checkout


def pytest_configure(config):
    """Look for real data beside the checkout; keep what is prepared of them out of the user's cache.

    One thread, as runs have it where each has a core: on tensors this small, more of them mostly wait for each other,
    and cost four times the CPU time. What is measured with several sets their number itself.
    """
    # A busy machine is no fault of what is tested.
    hypothesis.settings.register_profile("any machine", deadline=None)
    hypothesis.settings.load_profile("any machine")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported
    if "BENCH_DATA_DIR" not in os.environ and BESIDE.is_dir():
        os.environ["BENCH_DATA_DIR"] = str(BESIDE)
    config.bench_cache = os.environ["BENCH_CACHE_DIR"] = tempfile.mkdtemp(prefix="bench-cache-")


def pytest_unconfigure(config):
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
