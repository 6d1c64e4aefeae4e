"""Gates g6 and g7: a task decides nothing if more trials, or other learning rates, could have changed its scores."""

import pytest

from bench.claims import page
from bench.claims.rules import Verdict
from tests.claims.test_verdicts import GOOD, cell, decided, failing, sweep, write
from tests.makers import record

BAD = [0.5, 0.52, 0.49, 0.5, 0.51]


def trials(folder, arm, scores, length=8, rate=3e-4, **facts):
    """Write trials after the first one of a cell, whose validation score is 0.9."""
    for number, score in enumerate(scores, 1):
        settings = {"settings": {"learning_rate": rate}}
        config = {
            "run": f"latch/L{length}/{arm}/t{number}",
            "length": length,
            "space": arm,
            "number": number,
        } | settings
        write(folder, record(config, val={"accuracy": score}, **facts))


def compared(tmp_path, rate=1e-3, **late):
    """Return the sweep of two arms whose first trial, with this learning rate, is the best but for the late ones."""
    folder = sweep(tmp_path / "results")
    for arm, scores in (("lstm", GOOD), ("rnn", BAD)):
        cell(folder, arm, scores, settings={"learning_rate": rate})
        trials(folder, arm, late.get(arm, [0.8, 0.85, 0.7]))
    return folder


def test_trials_that_brought_nothing_new_pass_both_gates(tmp_path):
    compared(tmp_path)
    found = decided(tmp_path)
    assert found.verdict is Verdict.SUPPORTED
    texts = {gate.id: gate.text for gate in found.subs[0].gates}
    assert texts["g6"] == "tuning has converged"
    assert texts["g7"] == "learning rates are inside their ranges"


@pytest.mark.parametrize("arm", ["lstm", "rnn"])
def test_tuning_that_still_improves_an_arm_fails_gate_g6(arm, tmp_path):
    compared(tmp_path, **{arm: [0.8, 0.85, 0.96]})  # by .06 in the second half, and half of the margin is .05
    found = decided(tmp_path)
    assert failing(found) == ["g6"]
    assert "gate g6 fails: latch at 8: the second half of the trials improved validation by 0.06" in page.text([found])


def test_an_improvement_that_is_small_beside_the_margin_passes_gate_g6(tmp_path):
    compared(tmp_path, lstm=[0.8, 0.85, 0.94])
    assert decided(tmp_path).verdict is Verdict.SUPPORTED


def test_an_improvement_in_the_first_half_of_the_trials_passes_gate_g6(tmp_path):
    compared(tmp_path, lstm=[0.99, 0.85, 0.8])
    found = decided(tmp_path)
    assert [gate.holds for gate in found.subs[0].gates if gate.id == "g6"] == [True]


@pytest.mark.parametrize("rate", [1.1e-4, 2.9e-2])
def test_a_learning_rate_at_the_edge_of_its_range_fails_gate_g7(rate, tmp_path):
    compared(tmp_path, rate)
    found = decided(tmp_path)
    assert failing(found) == ["g7"]
    assert "at the edge of its range" in found.subs[0].reason


def test_default_configurations_are_not_tuned_and_have_neither_gate(tmp_path):
    folder = sweep(tmp_path / "results")
    cell(folder, "lstm", GOOD, settings={"learning_rate": 1e-4})
    cell(folder, "rnn", BAD)
    found = decided(tmp_path)
    assert found.verdict is Verdict.SUPPORTED
    assert not {"g6", "g7"} & {gate.id for gate in found.subs[0].gates}


def test_tasks_that_pass_decide_beside_one_that_fails(tmp_path):
    folder = compared(tmp_path, lstm=[0.8, 0.85, 0.99])
    for arm, scores in (("lstm", GOOD), ("rnn", BAD)):
        cell(folder, arm, scores, length=16, settings={"learning_rate": 1e-3})
        trials(folder, arm, [0.8, 0.85, 0.7], length=16)
    changes = ("lengths = [8]", "lengths = [8, 16]"), ("margin = 0.1", "margin = 0.1\nquorum = 1")
    found = decided(tmp_path, *changes)
    assert found.verdict is Verdict.SUPPORTED
    assert [task.decision.verdict for task in found.subs[0].tasks] == [Verdict.UNDECIDED, Verdict.SUPPORTED]
    assert "gate g6" in found.subs[0].tasks[0].decision.reason
