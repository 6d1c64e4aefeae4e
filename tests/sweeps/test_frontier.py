"""The longest trainable length, from real probes and from a search with made-up ones."""

import math

import pytest

from bench.config.sweep_settings import SweepConfig
from bench.errors import DeclarationError
from bench.sweeps import frontier
from bench.sweeps import prepare as plans
from tests.makers import record


def make(tmp_path, **options) -> plans.Plan:
    values = {"datasets": ["latch"], "lengths": [8], "models": ["lstm"], "results": tmp_path, "budget": "smoke"}
    return plans.make(SweepConfig.build(None, values | options))


class FakeProber:
    """Answers each probe with a peak of `bytes_a_step` times the length to a power."""

    def __init__(self, power: float, seconds: float = 0.0) -> None:
        self.power, self.seconds, self.lengths = power, seconds, []

    def __call__(self, plan):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None: ...

    def probe(self, configs):
        (config,) = configs
        self.lengths.append(config.length)
        peak = int(config.length**self.power)
        seconds = {"train": self.seconds * config.length}
        return [record(config, {"num_steps": config.length}, peak_memory_bytes=peak, seconds=seconds)]


@pytest.mark.parametrize("power", [1, 2])
def test_lengths_double_until_the_next_would_not_fit(tmp_path, monkeypatch, power):
    prober = FakeProber(power)
    monkeypatch.setattr(frontier, "Prober", prober)
    memory = 1_000**power
    (reach,) = frontier.make(make(tmp_path), memory / 2**30, lambda text: None).reaches
    assert prober.lengths[:-1] == [8, 16, 32, 64, 128, 256, 512]
    assert 900 < prober.lengths[-1] <= 1_000
    assert (reach.length, reach.ended_by) == (prober.lengths[-1], "memory")


def test_the_search_ends_before_a_step_takes_too_long(tmp_path, monkeypatch):
    prober = FakeProber(1, seconds=frontier.STEP_SECONDS / 100)
    monkeypatch.setattr(frontier, "Prober", prober)
    (reach,) = frontier.make(make(tmp_path), 1.0, lambda text: None).reaches
    assert prober.lengths == [8, 16, 32, 64]
    assert (reach.length, reach.ended_by) == (64, "time: a step of twice this length takes over 20 s")


@pytest.mark.parametrize("gigabytes", [0.0, -1.0, math.nan, math.inf])
def test_memory_is_a_number_above_zero(tmp_path, gigabytes):
    with pytest.raises(DeclarationError, match="--memory-gb must be a number above 0, but it is"):
        frontier.make(make(tmp_path), gigabytes, print)


@pytest.mark.slow
def test_the_frontier_is_what_fits(tmp_path):
    plan = make(tmp_path, models=["lstm", "transformer"], datasets=["adding"], lengths=[50])
    found = frontier.make(plan, 0.15, lambda text: None)
    for reach in found.reaches:
        assert reach.ended_by == "memory"
        assert 0.5 * found.memory_bytes < reach.peak_memory_bytes <= found.memory_bytes
    lengths = {reach.model: reach.length for reach in found.reaches}
    assert lengths["lstm"] > 2 * lengths["transformer"]


def test_a_frontier_ends_where_the_task_does(tmp_path):
    plan = make(tmp_path, models=["mlp"], datasets=["digits"])
    (reach,) = frontier.make(plan, None, lambda text: None).reaches
    assert reach.length == 8
    assert reach.ended_by.startswith("the task: digits: length")


def test_nothing_fits_into_no_memory(tmp_path):
    (reach,) = frontier.make(make(tmp_path), 1e-6, lambda text: None).reaches
    assert (reach.length, reach.ended_by) == (None, "memory")
