"""Diagnoses of networks whose answers are known."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from bench.config.datasets import task_of
from bench.results import diagnoses
from bench.results.diagnoses import Row
from bench.results.record import Epoch
from bench.training import diagnosis
from bench.training.module import SequenceModule
from bench.training.watch import History
from tests.makers import run_config


def diagnosed(
    space: str, change=lambda module: None, dataset: str = "adding", length: int = 30, **arguments
) -> pd.DataFrame:
    """Return the diagnosis of a network whose trained weights are its initial ones after `change`."""
    config = run_config(dataset=dataset, length=length, space=space, model=space, model_arguments=arguments)
    task = task_of(config)
    torch.manual_seed(config.seed)
    module = SequenceModule(task, config)
    with torch.no_grad():
        change(module)
    return pd.DataFrame(diagnosis.diagnose(task, config, module.state_dict()), columns=Row._fields)


def value(table: pd.DataFrame, quantity: str, part: str, at: str = "end") -> float:
    rows = table[(table["quantity"] == quantity) & (table["part"] == part) & (table["at"] == at)]
    return float(rows["mean"].iloc[0])


def steps(table: pd.DataFrame) -> int:
    """Return the steps of the sequences that were examined; those of adding are a little longer than asked for."""
    return int(table[table["quantity"] == "gradient of the input"]["step"].max()) + 1


def halving(module: SequenceModule) -> None:
    """Make the state of a ReLU network half of the one before, plus a part of the input."""
    rnn = module.encoder.rnn
    rnn.weight_hh_l0.copy_(0.5 * torch.eye(8))
    rnn.weight_ih_l0.fill_(0.1)
    rnn.bias_ih_l0.fill_(0.1)
    rnn.bias_hh_l0.zero_()


def test_a_state_that_is_halved_at_every_step_has_a_half_life_of_one():
    table = diagnosed("rnn", halving, hidden_size=8, nonlinearity="relu")
    assert value(table, "gradient of the state", "half-life") == pytest.approx(1.0)
    assert value(table, "gradient of the input", "half-life") == pytest.approx(1.0, rel=0.01)
    by_lag = table[(table["quantity"] == "gradient of the state") & (table["part"] == "") & (table["at"] == "end")]
    assert by_lag["step"].tolist() == list(range(1, steps(table)))
    assert np.allclose(by_lag["mean"].to_numpy()[1:] / by_lag["mean"].to_numpy()[:-1], 0.5)


def test_numbers_too_small_for_single_precision_are_counted():
    def vanishing(module):
        halving(module)
        module.encoder.rnn.weight_hh_l0.mul_(1e-4)

    table = diagnosed("rnn", vanishing, hidden_size=8, nonlinearity="relu")
    zeros, subnormal = (value(table, "gradient of the state", f"{kind} in float32") for kind in ("zeros", "subnormal"))
    assert 0.6 < zeros < 0.9  # after about ten steps of 5e-5 each
    assert 0 < subnormal < 0.1
    assert any("too small for single precision" in line for line in diagnoses.lines(table))


def test_gates_are_as_open_as_their_biases_say():
    def shut(module):
        lstm = module.encoder.forward_layers[0]
        for weight in (lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_hh_l0):
            weight.zero_()
        lstm.bias_ih_l0.copy_(torch.tensor([-9.0, math.log(9), 0.0, 0.0]).repeat_interleave(8))

    table = diagnosed("lstm", shut, hidden_size=8)
    layer = "forward_layers.0"
    assert value(table, "input gate", layer) == pytest.approx(0.0, abs=1e-3)
    assert value(table, "forget gate", layer) == pytest.approx(0.9)
    assert value(table, "output gate", layer) == pytest.approx(0.5)
    survives = table[(table["quantity"] == "survives") & (table["at"] == "end")]
    assert np.allclose(survives["mean"], 0.9 ** survives["step"].to_numpy())


def test_even_attention_looks_back_half_of_the_way():
    def even(module):
        for block in module.encoder.blocks:
            block.qkv.weight.zero_()
            block.qkv.bias.zero_()

    table = diagnosed("transformer", even, head_size=4, num_heads=2, num_layers=1)
    distance = table[(table["quantity"] == "attention distance") & (table["at"] == "end")]
    assert distance["mean"].tolist() == pytest.approx([(steps(table) - 1) / 4])  # the mean of t / 2


@pytest.mark.parametrize("dataset", ["latch", "adding", "parity"])
@pytest.mark.parametrize("space", ["mlp", "rnn", "lstm", "gru", "cnn", "transformer"])
def test_any_model_on_any_task_is_diagnosed(space, dataset):
    arguments = {"head_size": 4, "num_heads": 2} if space == "transformer" else {"hidden_size": 8}
    table = diagnosed(space, dataset=dataset, length=20, **arguments)
    assert {"start", "end"} == set(table["at"])
    by_lag = table[(table["quantity"] == "gradient of the input") & (table["part"] == "") & (table["at"] == "end")]
    assert by_lag["step"].tolist() == list(range(steps(table)))
    assert by_lag["mean"].iloc[0] > 0
    pd.testing.assert_frame_equal(
        table[table["at"] == "start"].drop(columns="at").reset_index(drop=True),
        table[table["at"] == "end"].drop(columns="at").reset_index(drop=True),
    )
    assert diagnoses.lines(table)


def test_half_way_is_told_with_its_steps_and_without_its_weights_that_they_were_not_kept():
    config = run_config(dataset="adding", length=30, space="rnn", model="rnn", model_arguments={"hidden_size": 8, "nonlinearity": "relu"})  # fmt: skip
    module = SequenceModule(task_of(config), config)
    with torch.no_grad():
        halving(module)
    halved = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with torch.no_grad():
        module.encoder.rnn.weight_hh_l0.mul_(0.5)
    rows = diagnosis.diagnose(task_of(config), config, module.state_dict(), (1_280, halved))
    table = pd.DataFrame(rows, columns=Row._fields)
    assert value(table, "gradient of the state", "half-life", "middle") == pytest.approx(1.0)
    assert value(table, "gradient of the state", "half-life", "end") == pytest.approx(0.5)
    lines = diagnoses.lines(table)
    assert "every 1.00 steps half way and every 0.500 steps after it" in lines[0]
    assert "half way is after 1,280 training steps" in lines
    assert "weights of the middle of training were not kept" in diagnoses.lines(table[table["at"] != "middle"])


@pytest.mark.parametrize("best", [1, 2, 3, 4, 5, 7, 11, 12, 20, 40, 97])
@pytest.mark.parametrize("more", [0, 1, 30])
def test_the_middle_lies_between_a_third_and_two_thirds_of_the_way_to_the_best(best, more):
    config = run_config()
    task = task_of(config)
    history, module = History(task, keeps_weights=True), SequenceModule(task, config)
    for number in range(1, best + more + 1):
        accuracy = number / best if number <= best else 0.0
        history.add(Epoch(steps=10 * number, sequences=number, train_seconds=0.0, train_loss=1.0, val={"accuracy": accuracy}), module)  # fmt: skip
        if number == 3:  # as a run that was stopped and resumes
            state, history = history.state_dict(), History(task, keeps_weights=True)
            history.load_state_dict(state)
    assert history.best_epoch == best - 1
    if best == 1:
        assert history.middle is None
    else:
        steps, weights = history.middle
        assert best / 3 <= steps / 10 <= 2 * best / 3
        assert weights.keys() == module.state_dict().keys()


def test_a_diagnosis_changes_nothing_outside():
    attention = torch.nn.functional.scaled_dot_product_attention
    diagnosed("transformer", head_size=4, num_heads=2)
    assert torch.nn.functional.scaled_dot_product_attention is attention


def test_too_few_steps_for_a_half_life_are_one_sentence():
    rows = [Row(at, "gradient of the input", "half-life", 0, math.nan, math.nan, math.nan) for at in ("start", "end")]
    assert diagnoses.lines(pd.DataFrame(rows, columns=Row._fields)) == [
        "half-life of the gradient of the input: too few steps of it to measure one",
        "weights of the middle of training were not kept",
    ]


def test_a_half_life_of_growth_is_infinite_and_of_few_steps_unknown():
    assert diagnosis.half_life(2.0 ** -np.arange(10) / 4) == pytest.approx(1.0)
    assert math.isinf(diagnosis.half_life(2.0 ** np.arange(10)))
    assert math.isnan(diagnosis.half_life(np.ones(4)))
