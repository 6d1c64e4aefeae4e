"""Widths of equal capacity, against the golden values of the protocol (science K3)."""

import pytest
from torch import nn

from bench.config import search_spaces
from bench.config.budgets import BUDGETS, train_settings
from bench.config.datasets import make_task, read
from bench.config.settings import BASELINES, RunConfig
from bench.errors import DeclarationError
from bench.training import capacity
from tests.makers import run_config

WIDTHS = {  # core parameters, input width: hidden size of RNN, GRU, LSTM, BiLSTM, two LSTMs; width of two blocks
    (5_000, 16): (62, 33, 27, 18, 17, 14),
    (20_000, 16): (133, 73, 62, 42, 38, 28),
    (70_000, 16): (256, 144, 124, 85, 73, 53),
    (300_000, 16): (539, 307, 265, 185, 155, 111),
    (20_000, 64): (112, 55, 45, 27, 31, 28),
    (70_000, 64): (234, 123, 103, 66, 66, 53),
    (300_000, 64): (516, 285, 243, 163, 147, 111),
}


def core(gates: int, inputs: int, hidden: int) -> int:
    """Weights and both biases of one recurrent layer."""
    return gates * (hidden * (hidden + inputs) + 2 * hidden)


@pytest.mark.parametrize(("target", "inputs"), list(WIDTHS))
def test_the_golden_widths(target, inputs):
    sizes = (
        lambda h: core(1, inputs, h),
        lambda h: core(3, inputs, h),
        lambda h: core(4, inputs, h),
        lambda h: 2 * core(4, inputs, h),
        lambda h: core(4, inputs, h) + core(4, h, h),
        lambda d: 2 * (12 * d * d + 13 * d),
    )
    assert tuple(capacity.nearest(size, target)[0] for size in sizes) == WIDTHS[target, inputs]


def test_the_counts_are_those_of_the_modules():
    for gates, kind in ((1, nn.RNN), (3, nn.GRU), (4, nn.LSTM)):
        assert core(gates, 128, 128) == sum(p.numel() for p in kind(128, 128).parameters())


def config(space: search_spaces.SearchSpace, dataset: str = "latch", length: int = 32) -> RunConfig:
    card = read(dataset)
    arguments, train = space.split(space.default)
    return run_config(
        "probe", dataset=dataset, task=card.task, length=length, task_arguments=card.arguments, space=space.name,
        model=space.model, model_arguments=arguments, train=train_settings(BUDGETS["smoke"], card.at(length), train),
    )  # fmt: skip


QUICK = ("mlp", "cnn")
"""Models whose operations are counted in the fast tests; counting those of all takes a minute and a half."""


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        *((name, "parameters=20000") for name in BASELINES),
        *((pytest.param(name, "flops=5000000", marks=() if name in QUICK else pytest.mark.slow)) for name in BASELINES),
    ],
)
def test_every_baseline_comes_within_a_tenth(name, rule):
    rule, target = rule.split("=")
    space = search_spaces.read(name)
    width, found = capacity.solve(config(space), space.width, rule, float(target))
    assert width is not None
    assert abs(found - float(target)) <= 0.1 * float(target)
    assert found == capacity.size(config(space), space.width, rule, width)
    for other in (width - 1, width + 1):  # and no neighbour is nearer
        size = capacity.size(config(space), space.width, rule, other)
        assert size is None or abs(size - float(target)) >= abs(found - float(target))


@pytest.mark.parametrize(("name", "wanted"), [("rnn", 128), ("gru", 128), ("lstm", 64), ("stacked_lstm", 32)])
def test_state_is_matched(name, wanted):
    space = search_spaces.read(name)
    assert capacity.solve(config(space), space.width, "state", 128) == (wanted, 128)


def test_a_transformer_has_the_state_of_its_cache():
    space = search_spaces.read("transformer")
    steps = make_task("latch", 32, read("latch").arguments).num_steps
    width, found = capacity.solve(config(space), "head_size", "state", 2 * steps * 2 * 2 * 8)
    assert (width, found) == (8, 2 * steps * 2 * 2 * 8)


@pytest.mark.parametrize("name", ["mlp", "bilstm", "cnn", "bitransformer"])
def test_what_carries_no_state_cannot_be_matched(name):
    space = search_spaces.read(name)
    assert capacity.solve(config(space), space.width, "state", 128) == (None, 0)


def test_a_target_below_the_smallest_width_is_not_met():
    space = search_spaces.read("transformer")
    width, found = capacity.solve(config(space), "head_size", "parameters", 10)
    assert width is None
    assert found > 11


def test_a_model_that_breaks_is_told_with_its_line(tmp_path):
    (tmp_path / "mine.py").write_text(
        """from torch import nn
class Model(nn.Module):
    def __init__(self, input_size, length, *, hidden_size=8):
        raise KeyError("x")
"""
    )
    rate = '{ type = "float", low = 1e-4, high = 1e-2, default = 1e-3 }'
    (tmp_path / "mine.toml").write_text(f'title = "Mine"\nwidth = "hidden_size"\n[tune]\nlearning_rate = {rate}\n')
    mine = config(search_spaces.read(str(tmp_path / "mine.py")))
    with pytest.raises(DeclarationError, match=r"--match flops: .*/mine.py: line 4: KeyError: 'x'"):
        capacity.solve(mine, "hidden_size", "flops", 1e6)


def test_knobs_that_change_the_size_are_held_at_their_defaults():
    space = search_spaces.read("gru", kind="series")
    made = config(space, "digits", 8)
    width, _ = capacity.solve(made, "hidden_size", "parameters", 20_000)
    matched = space.matched("parameters=20k", width)
    held = capacity.resizing(made.model_copy(update={"model_arguments": matched.fixed}), matched, "parameters", 20_000)
    assert held == ["bidirectional"]
    assert capacity.resizing(made, matched, "parameters", 40_000) != held  # then all knobs miss the target
