"""What every test leaves behind as it found it."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _subnormal_numbers_stay():
    """Undo what `measure.prepare_process` sets for a whole process: hypothesis draws subnormal numbers."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
