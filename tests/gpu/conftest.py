"""Tests with the marker `gpu` are skipped on a machine without a GPU; `make test-gpu` runs them and says so instead."""

import pytest
import torch

from bench.sweeps.engines import machine


@pytest.fixture(autouse=True)
def _skip_without_gpu(request):
    if request.node.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip(f"torch {torch.__version__} sees no CUDA device on this machine")


@pytest.fixture
def slot() -> machine.Slot:
    """The slot of the first GPU that is visible."""
    return machine.make_slots(None, "1")[0][0]
