"""Each promise of a model, broken on purpose, is reported as broken in one line."""

import pytest

from bench.config import search_spaces
from bench.errors import DeclarationError
from bench.training import model_checks

CORRECT = """
import random
import torch
from torch import nn

class Model(nn.Module):
    causal = True

    def __init__(self, input_size, length, *, hidden_size, scale=1.0):
        super().__init__()
        self.output_size = self.summary_size = hidden_size
        self.rnn = nn.GRU(input_size, hidden_size, batch_first=True)
        with torch.no_grad():
            self.rnn.weight_hh_l0 *= scale

    def forward(self, x_BLD, length_B, state=None):
        h_BLH, state = self.rnn(x_BLD, state)
        return h_BLH, state

    def summary(self, h_BLH, length_B):
        return h_BLH[torch.arange(h_BLH.shape[0], device=h_BLH.device), length_B - 1]

    def state_size(self, length):
        return self.output_size
"""

SPACE = """
title = "Mine"
[tune]
hidden_size = { type = "int", low = 4, high = 8, default = 8 }
scale = { type = "float", low = 0.5, high = 2.0, default = 1.0 }
"""

BUILT = "        self.rnn = "
RETURNED = "        return h_BLH, state\n"
CALLED = "self.rnn(x_BLD, state)"
LAST = "h_BLH[torch.arange(h_BLH.shape[0], device=h_BLH.device), length_B - 1]"
OF_BOTH_ENDS = f"{CALLED}\n        h_BLH = h_BLH + h_BLH.flip(1)"

BROKEN = {  # the promise, what is changed into what, and the complaint
    "no module": (model_checks.outputs_have_the_declared_shapes, {"Model(nn.Module)": "Model"}, "Model must be a torch.nn.Module, but it derives from object"),
    "causal that is a word": (model_checks.outputs_have_the_declared_shapes, {"causal = True": "causal = 'yes'"}, "causal must be True or False, but it is 'yes'"),
    "no summary_size": (model_checks.outputs_have_the_declared_shapes, {" = self.summary_size": ""}, "'Model' object has no attribute 'summary_size'"),
    "no state returned": (model_checks.outputs_have_the_declared_shapes, {RETURNED: "        return h_BLH\n"}, "forward must return the pair (outputs, state), but it returns a Tensor"),
    "another width": (model_checks.outputs_have_the_declared_shapes, {"summary_size = hidden_size": "summary_size = hidden_size + 1"}, "the outputs of forward must have the shape (3, 1, 9), by output_size, but it is (3, 1, 8)"),
    "a summary of each step": (model_checks.outputs_have_the_declared_shapes, {LAST: "h_BLH"}, "the summaries must have the shape (3, 8), by summary_size, but it is (3, 1, 8)"),
    "a summary that is no tensor": (model_checks.outputs_have_the_declared_shapes, {LAST: "None"}, "the summaries must be a tensor, but a NoneType is returned"),
    "an error of its own": (model_checks.outputs_have_the_declared_shapes, {RETURNED: "        raise KeyError('x')\n"}, "line 18: KeyError: 'x'"),
    "a summary of padding": (model_checks.padding_changes_no_output, {LAST: "h_BLH[:, -1]"}, "the summaries of a sequence of 1 steps, alone and with 4 of padding, differ by"),
    "outputs of padding": (model_checks.padding_changes_no_output, {CALLED: OF_BOTH_ENDS}, "the outputs of a sequence of 1 steps, alone and with 4 of padding, differ by"),
    "not a number beside padding": (model_checks.padding_changes_no_output, {"return h_BLH, state": "return h_BLH + (0 if h_BLH.shape[1] < 16 else float('nan')), state"}, "differ by nan"),
    "statistics of padding": (model_checks.padding_changes_no_output, {BUILT: f"        self.norm = nn.BatchNorm1d(input_size)\n{BUILT}", CALLED: "self.rnn(self.norm(x_BLD.mT).mT, state)"}, "in training, with different padding, differ by"),
    "a look ahead": (model_checks.outputs_depend_on_later_steps_only_if_causal_is_false, {CALLED: OF_BOTH_ENDS}, "causal is True, but the first 6 steps change with the steps after them"),
    "no look ahead": (model_checks.outputs_depend_on_later_steps_only_if_causal_is_false, {"causal = True": "causal = False"}, "causal is False, but no step depends on a later one"),
    "a look ahead that no plan sees": (model_checks.outputs_depend_on_later_steps_only_if_causal_is_false, {BUILT: f"        self.causal = False\n{BUILT}", CALLED: OF_BOTH_ENDS}, "causal is False, but only after __init__: set it in the body of the class"),
    "outputs of nothing": (model_checks.outputs_depend_on_later_steps_only_if_causal_is_false, {"return h_BLH, state": "return h_BLH * 0, state"}, "the outputs do not depend on the input"),
    "a state that is forgotten": (model_checks.a_sequence_in_pieces_gives_the_same_outputs, {CALLED: "self.rnn(x_BLD)"}, "the outputs of 12 steps at once and in pieces of [1, 1, 1"),
    "a state of another size": (model_checks.the_state_has_the_declared_size, {"return self.output_size": "return 9"}, "state_size(12) is 9, but the state after 12 steps holds 8 numbers"),
    "a state that cannot be counted": (model_checks.the_state_has_the_declared_size, {RETURNED: "        return h_BLH, {'h': [state, 1, 'a']}\n"}, "the state may hold tensors, numbers, lists, tuples and dictionaries, but not a str"),
    "an unused layer": (model_checks.every_parameter_gets_a_gradient, {BUILT: f"        self.spare = nn.Linear(2, 2)\n{BUILT}"}, "spare.weight, spare.bias get no gradient from the summary"),
    "an argument without effect": (model_checks.every_tuned_argument_has_an_effect, {"*= scale": "*= 1"}, "scale has no effect: 0.5 and 2.0 give the same weights, outputs and gradients"),
    "random numbers of another source": (model_checks.the_seed_determines_the_initial_weights, {"*= scale": "*= scale * random.random()"}, "two models of the same seed start with different weights"),
    "constant weights": (model_checks.the_seed_determines_the_initial_weights, {"*= scale": "*= scale\n            for one in self.parameters(): one.fill_(0.1)"}, "models of different seeds start with the same weights"),
    "a width it does not take": (model_checks.every_configuration_builds, {BUILT: f"        if hidden_size == 6: raise ValueError('even')\n{BUILT}"}, "line 12: ValueError: even, with {'hidden_size': 6, "),
    "a length it does not take": (model_checks.every_configuration_builds, {BUILT: f"        assert length > 3, 'a longer one'\n{BUILT}"}, "line 12: a longer one, with {"),
    "a look at the values": (model_checks.the_model_runs_without_data, {RETURNED: f"        if h_BLH.sum() > 1e9: pass\n{RETURNED}"}, "line 18: "),
    "a tensor on another device": (model_checks.the_model_runs_without_data, {LAST: "h_BLH[torch.arange(h_BLH.shape[0]), length_B - 1] + torch.zeros(1)[length_B - 1]"}, "line 2"),
    "outputs that cannot be learned": (model_checks.eight_examples_can_be_memorised, {"return h_BLH, state": "return 1e-9 * h_BLH, state"}, "the loss must fall below 0.1 in 400 steps on eight examples, but it is"),
}  # fmt: skip


SLOW = {model_checks.eight_examples_can_be_memorised}


@pytest.fixture(autouse=True)
def _shorter_sequences(monkeypatch):
    monkeypatch.setattr(model_checks, "LONG", 24)  # no model here looks back a fixed number of steps


def space(folder, changes: dict[str, str]) -> search_spaces.SearchSpace:
    code = CORRECT
    for old, new in changes.items():
        assert old in code
        code = code.replace(old, new)
    (folder / "mine.py").write_text(code)
    (folder / "mine.toml").write_text(SPACE)
    return search_spaces.read(str(folder / "mine.py"))


def test_every_promise_is_broken_at_least_once():
    assert {promise for promise, _, _ in BROKEN.values()} == set(model_checks.CHECKS)


def test_a_correct_model_keeps_every_promise(tmp_path, monkeypatch):
    monkeypatch.setattr(model_checks, "CHECKS", [check for check in model_checks.CHECKS if check not in SLOW])
    found = dict(model_checks.problems(space(tmp_path, {})))
    assert len(found) == len(model_checks.CHECKS)
    assert set(found.values()) == {None}


@pytest.mark.slow
def test_a_correct_model_learns(tmp_path):
    model_checks.eight_examples_can_be_memorised(space(tmp_path, {}))


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (BROKEN[case][0] in SLOW)) for case in BROKEN]
)
def test_a_broken_promise_is_reported(tmp_path, monkeypatch, case):
    promise, changes, complaint = BROKEN[case]
    monkeypatch.setattr(model_checks, "CHECKS", [promise])
    ((_, problem),) = model_checks.problems(space(tmp_path, changes))
    assert problem is not None
    assert complaint in problem
    assert "\n" not in problem


def test_a_file_that_cannot_be_imported_is_reported_instead(tmp_path):
    with pytest.raises(DeclarationError, match=r"mine.py: line 2: ModuleNotFoundError: No module named 'no_such'"):
        list(model_checks.problems(space(tmp_path, {"import random": "import no_such"})))
