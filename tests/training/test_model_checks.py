"""Each promise of a model, broken on purpose, is found broken and told in one line."""

import pytest

from bench.config import search_spaces
from bench.errors import DeclarationError
from bench.training import model_checks as contract

SOUND = """
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
    "no module": (contract.shapes_are_as_declared, {"Model(nn.Module)": "Model"}, "Model is no torch.nn.Module, but object"),
    "causal that is a word": (contract.shapes_are_as_declared, {"causal = True": "causal = 'yes'"}, "causal: True or False expected, but found 'yes'"),
    "no summary_size": (contract.shapes_are_as_declared, {" = self.summary_size": ""}, "'Model' object has no attribute 'summary_size'"),
    "no state returned": (contract.shapes_are_as_declared, {RETURNED: "        return h_BLH\n"}, "forward returns a Tensor; the pair (outputs, state) expected"),
    "another width": (contract.shapes_are_as_declared, {"summary_size = hidden_size": "summary_size = hidden_size + 1"}, "the outputs of forward have the shape (3, 1, 8); (3, 1, 9) expected from output_size"),
    "a summary of each step": (contract.shapes_are_as_declared, {LAST: "h_BLH"}, "the summaries have the shape (3, 1, 8); (3, 8) expected from summary_size"),
    "a summary that is no tensor": (contract.shapes_are_as_declared, {LAST: "None"}, "the summaries: a tensor expected, but found a NoneType"),
    "an error of its own": (contract.shapes_are_as_declared, {RETURNED: "        raise KeyError('x')\n"}, "line 18: KeyError: 'x'"),
    "a summary of padding": (contract.padding_never_changes_an_output, {LAST: "h_BLH[:, -1]"}, "the summaries of a sequence of 1 steps, alone and with 4 of padding differ by"),
    "outputs of padding": (contract.padding_never_changes_an_output, {CALLED: OF_BOTH_ENDS}, "the outputs of a sequence of 1 steps, alone and with 4 of padding differ by"),
    "no number beside padding": (contract.padding_never_changes_an_output, {"return h_BLH, state": "return h_BLH + (0 if h_BLH.shape[1] < 16 else float('nan')), state"}, "differ by nan"),
    "statistics of padding": (contract.padding_never_changes_an_output, {BUILT: f"        self.norm = nn.BatchNorm1d(input_size)\n{BUILT}", CALLED: "self.rnn(self.norm(x_BLD.mT).mT, state)"}, "in training, by what its padding holds, differ by"),
    "a look ahead": (contract.the_future_changes_the_past_only_where_that_is_declared, {CALLED: OF_BOTH_ENDS}, "causal is True, but the first 6 steps change with what comes after them"),
    "no look ahead": (contract.the_future_changes_the_past_only_where_that_is_declared, {"causal = True": "causal = False"}, "causal is False, but no step depends on a later one"),
    "a look ahead that no plan sees": (contract.the_future_changes_the_past_only_where_that_is_declared, {BUILT: f"        self.causal = False\n{BUILT}", CALLED: OF_BOTH_ENDS}, "causal is False, which a plan cannot tell: write it into the body of the class"),
    "outputs of nothing": (contract.the_future_changes_the_past_only_where_that_is_declared, {"return h_BLH, state": "return h_BLH * 0, state"}, "the outputs do not depend on the input"),
    "a state that is forgotten": (contract.going_on_from_a_state_gives_the_outputs_of_the_whole, {CALLED: "self.rnn(x_BLD)"}, "the outputs of 12 steps fed at once and in pieces of [1, 1, 1"),
    "a state of another size": (contract.the_state_is_as_large_as_declared, {"return self.output_size": "return 9"}, "state_size(12) is 9, but the state after 12 steps holds 8 numbers"),
    "a state that cannot be counted": (contract.the_state_is_as_large_as_declared, {RETURNED: "        return h_BLH, {'h': [state, 1, 'a']}\n"}, "the state holds a str: tensors in lists or tuples expected"),
    "a layer left out": (contract.a_gradient_reaches_every_parameter, {BUILT: f"        self.spare = nn.Linear(2, 2)\n{BUILT}"}, "no gradient from the summary to spare.weight, spare.bias"),
    "a knob left out": (contract.every_knob_of_the_model_counts, {"*= scale": "*= 1"}, "scale is ignored: 0.5 and 2.0 give the same weights, outputs and gradients"),
    "chance of its own": (contract.the_seed_decides_the_weights, {"*= scale": "*= scale * random.random()"}, "two models of one seed begin with different weights"),
    "no chance": (contract.the_seed_decides_the_weights, {"*= scale": "*= scale\n            for one in self.parameters(): one.fill_(0.1)"}, "models of different seeds begin with the same weights"),
    "a width it does not take": (contract.every_point_of_the_space_builds, {BUILT: f"        if hidden_size == 6: raise ValueError('even')\n{BUILT}"}, "line 12: ValueError: even, with {'hidden_size': 6, "),
    "a length it does not take": (contract.every_point_of_the_space_builds, {BUILT: f"        assert length > 3, 'a longer one'\n{BUILT}"}, "line 12: a longer one, with {"),
    "a look at the values": (contract.operations_are_counted_without_data, {RETURNED: f"        if h_BLH.sum() > 1e9: pass\n{RETURNED}"}, "line 18: "),
    "a tensor on another device": (contract.operations_are_counted_without_data, {LAST: "h_BLH[torch.arange(h_BLH.shape[0]), length_B - 1] + torch.zeros(1)[length_B - 1]"}, "line 2"),
    "what cannot be learnt": (contract.eight_examples_can_be_learnt_by_heart, {"return h_BLH, state": "return 1e-9 * h_BLH, state"}, "after 400 steps on eight examples; below 0.1 expected"),
}  # fmt: skip


SLOW = {contract.eight_examples_can_be_learnt_by_heart}


def space(folder, changes: dict[str, str]) -> search_spaces.SearchSpace:
    code = SOUND
    for old, new in changes.items():
        assert old in code
        code = code.replace(old, new)
    (folder / "mine.py").write_text(code)
    (folder / "mine.toml").write_text(SPACE)
    return search_spaces.read(str(folder / "mine.py"))


def test_every_promise_is_broken_once():
    assert {promise for promise, _, _ in BROKEN.values()} == set(contract.CHECKS)


def test_a_sound_model_breaks_none(tmp_path, monkeypatch):
    monkeypatch.setattr(contract, "CHECKS", [check for check in contract.CHECKS if check not in SLOW])
    found = dict(contract.problems(space(tmp_path, {})))
    assert len(found) == len(contract.CHECKS)
    assert set(found.values()) == {None}


@pytest.mark.slow
def test_a_sound_model_learns(tmp_path):
    contract.eight_examples_can_be_learnt_by_heart(space(tmp_path, {}))


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (BROKEN[case][0] in SLOW)) for case in BROKEN]
)
def test_a_broken_promise_is_told(tmp_path, case):
    promise, changes, complaint = BROKEN[case]
    problem = contract._problem(promise, space(tmp_path, changes))
    assert problem is not None
    assert complaint in problem
    assert "\n" not in problem


def test_a_file_that_cannot_be_imported_is_told_instead(tmp_path):
    with pytest.raises(DeclarationError, match=r"mine.py: line 2: ModuleNotFoundError: No module named 'no_such'"):
        list(contract.problems(space(tmp_path, {"import random": "import no_such"})))
