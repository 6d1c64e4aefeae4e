"""What is measured of an LSTM's memory of a bit, on networks whose answers are known."""

import pandas as pd
import pytest
import torch

from bench.config.contracts import Batch
from bench.config.datasets import task_of
from bench.errors import DeclarationError
from bench.report import diagnosis_charts
from bench.results import diagnoses
from bench.results.diagnoses import Row
from bench.training import diagnosis, memory
from bench.training.module import SequenceModule
from tests.makers import run_config

WRITE, READ = 3, 4
INPUT, FORGET, NEW, SHOW = range(4)  # the order of PyTorch's gates


def module_of(hidden_size: int = 4, length: int = 32, **arguments):
    config = run_config(
        dataset="flip_flop", length=length, model_arguments={"hidden_size": hidden_size} | arguments,
        settings={"embedding_size": 5},
    )  # fmt: skip
    torch.manual_seed(0)
    task = task_of(config)
    return task, SequenceModule(task, config).eval()


class Weights:
    """Weights of an LSTM that are written gate by gate; a token is its own input."""

    def __init__(self, module):
        self.module, self.layer = module, module.encoder.forward_layers[0]
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.zero_()
            module.embedding.weight.copy_(torch.eye(5))
            module.head.weight.zero_()
            module.head.bias.zero_()

    def set(self, gate, unit, bias=0.0, tokens=(), units=()):
        row = gate * self.layer.hidden_size + unit
        with torch.no_grad():
            self.layer.bias_ih_l0[row] = bias
            for token, weight in dict(tokens).items():
                self.layer.weight_ih_l0[row, token] = weight
            for other, weight in dict(units).items():
                self.layer.weight_hh_l0[row, other] = weight

    def answer_with(self, unit):
        with torch.no_grad():
            self.module.head.weight[:, unit] = torch.tensor([-1.0, 1.0])


FLAG, BIT = 0, 1


def flag(weights):
    """Unit FLAG is .76 in the step after a write instruction and 0 elsewhere."""
    for gate, bias in ((INPUT, 20.0), (FORGET, -20.0), (SHOW, 20.0)):
        weights.set(gate, FLAG, bias)
    weights.set(NEW, FLAG, tokens={WRITE: 20.0})


def bit_in_the_cell():
    """Return a network that keeps the bit in a cell, which its output gate hides until the read."""
    task, module = module_of()
    weights = Weights(module)
    flag(weights)
    weights.set(INPUT, BIT, -20.0, units={FLAG: 60.0})
    weights.set(FORGET, BIT, 20.0, units={FLAG: -60.0})
    weights.set(NEW, BIT, tokens={0: -20.0, 1: 20.0})
    weights.set(SHOW, BIT, -20.0, tokens={READ: 40.0})
    weights.answer_with(BIT)
    return task, module


def bit_in_the_hidden_state():
    """Return a network whose forget gates are shut: a bit is kept by a loop through the hidden state."""
    task, module = module_of()
    weights = Weights(module)
    flag(weights)
    for unit in (1, 2, 3):
        for gate, bias in ((INPUT, 20.0), (FORGET, -20.0), (SHOW, 20.0)):
            weights.set(gate, unit, bias)
    for unit, bit in ((2, 0), (3, 1)):  # 1 where this bit is written, -1 elsewhere
        weights.set(NEW, unit, -30.0, tokens={bit: 20.0}, units={FLAG: 26.0})
    weights.set(NEW, BIT, units={BIT: 3.0, 2: -10.0, 3: 10.0})
    weights.answer_with(BIT)
    return task, module


def test_the_step_by_step_lstm_is_that_of_pytorch():
    task, module = module_of(hidden_size=8, forget_bias="chrono")
    made = memory.sequences(task.num_steps)
    with torch.inference_mode():
        x_NLD = module.embed(made.x)
        expected, _ = module.encoder(x_NLD, torch.full((len(x_NLD),), x_NLD.shape[1]))
        trace = memory.run(module.encoder.forward_layers[0], x_NLD)
    assert torch.allclose(trace.hidden, expected, atol=1e-5)


@pytest.mark.parametrize("length", [24, 32, 64])
def test_the_sequences_are_some_of_the_task(length):
    task, _ = module_of(length=length)
    made = memory.sequences(task.num_steps)
    x = made.x.numpy()
    assert x.shape[1] == task.num_steps
    assert (x[:, 0] == WRITE).all()
    assert (x[:, -1] == READ).all()
    answers = task.oracle(Batch(x, None, None)).argmax(-1)
    assert (answers[:, -1] == made.bit.numpy()).all()
    assert (made.bit[::2] != made.bit[1::2]).all()
    assert made.x.shape[1] - 1 - made.write > memory.FAR


def test_a_bit_in_the_cell_is_read_swapped_kept_and_destroyed():
    found = memory.examine(*bit_in_the_cell())
    assert found["right"] == 1.0
    assert found["cell_probe"] == pytest.approx(1.0)
    assert found["hidden_probe"] == pytest.approx(0.5, abs=0.1)
    assert found["cell_over_hidden"] > 0.4
    assert found["shuffled_probe"] == pytest.approx(0.5, abs=0.1)
    assert found["cell_swap"] == 1.0
    assert found["hidden_swap"] == 0.0
    assert found["input_gate_contrast"] == pytest.approx(1.0, abs=0.01)
    assert found["forget_gate_kept"] == pytest.approx(1.0, abs=0.01)
    assert found["forget_open_score"] == 1.0
    assert found["forget_shut_score"] == pytest.approx(0.5, abs=0.05)
    assert found["input_shut_score"] == pytest.approx(0.5, abs=0.05)


def test_a_bit_in_the_hidden_state_is_found_there_and_survives_shut_forget_gates():
    found = memory.examine(*bit_in_the_hidden_state())
    assert found["right"] == 1.0
    assert found["hidden_probe"] == pytest.approx(1.0)
    assert found["cell_over_hidden"] == pytest.approx(0.0, abs=0.01)
    assert found["cell_swap"] == 0.0
    assert found["hidden_swap"] == 1.0
    assert found["forget_shut_score"] == 1.0
    assert found["forget_gate_kept"] < 0.01


def test_a_network_that_knows_nothing_is_at_chance():
    task, module = module_of()
    Weights(module)
    found = memory.examine(task, module)
    assert {name: found[name] for name in ("right", "cell_swap", "forget_open_score")} == dict.fromkeys(
        ("right", "cell_swap", "forget_open_score"), 0.5
    )
    assert found["cell_probe"] == pytest.approx(0.5, abs=0.1)
    assert found["input_gate_contrast"] == pytest.approx(0.0, abs=1e-6)


def test_the_area_under_the_roc_curve_counts_pairs():
    bit_N = torch.tensor([0, 0, 1, 1])
    assert memory.area(torch.tensor([1.0, 2.0, 3.0, 4.0]), bit_N) == 1.0
    assert memory.area(torch.tensor([1.0, 3.0, 2.0, 4.0]), bit_N) == 0.75
    assert memory.area(torch.zeros(4), bit_N) == 0.5


@pytest.mark.parametrize("changes", [{"num_layers": 2}, {"bidirectional": True}, {"length": 12}])
def test_other_networks_are_refused_by_claims_and_passed_over_by_diagnoses(changes):
    task, module = module_of(**changes)
    with pytest.raises(DeclarationError, match="needs an LSTM of one layer and one direction on flip_flop"):
        memory.examine(task, module)
    assert list(memory.by_lag(task, module)) == []


def test_a_diagnosis_shows_what_probes_read_by_lag():
    task, module = bit_in_the_cell()
    config = run_config(
        dataset="flip_flop", length=32, model_arguments={"hidden_size": 4}, settings={"embedding_size": 5}
    )
    table = pd.DataFrame(diagnosis.diagnose(task, config, module.state_dict()), columns=Row._fields)
    probes = table[table["quantity"].str.startswith("bit in the") & (table["at"] == "end")]
    cell, hidden = (probes[probes["quantity"] == f"bit in the {state} state"] for state in ("cell", "hidden"))
    assert cell["step"].tolist() == list(range(19))  # written at step 11 of 31, read at the last
    assert cell["mean"].min() > 0.99
    assert hidden["mean"].to_numpy()[1:] == pytest.approx(0.5, abs=0.15)
    line = next(line for line in diagnoses.lines(table) if line.startswith("bit in the cell state"))
    assert "18 steps after the write" in line
    assert "1.00 after it" in line
    (chart,) = [chart for chart, _ in diagnosis_charts.charts("flip_flop-L32-lstm", table) if "probes" in chart.title]
    assert [series.line for series in chart.series] == ["line", "dashed"]
