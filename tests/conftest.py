"""What every test leaves behind as it found it, and where real data are."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[2] / "shared" / "data"  # of the checkout


def pytest_configure(config):
    """Look for real data beside the checkout; keep what is prepared of them out of the user's cache."""
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
