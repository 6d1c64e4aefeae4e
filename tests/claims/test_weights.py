"""Claims about trained weights, and parts that a short budget leaves out."""

import json

import pytest
from click.testing import CliRunner

from bench.claims import declaration, experiments, page, verdicts
from bench.claims.rules import Verdict
from bench.cli.commands import main
from bench.errors import DeclarationError
from bench.results.record import write_json
from tests.claims.test_declaration import mine
from tests.claims.test_verdicts import GOOD, cell, sweep

MEMORY = (
    ("max_sequences = 640", 'max_sequences = 640\nkind = "weights"'), ('measure = "score"', 'measure = "cell_probe"'),
    ('against = "rnn"\n', ""), ('rule = "superiority"', 'rule = "exceeds"'), ("margin = 0.1", "margin = 0.9"),
)  # fmt: skip
GAIN = (
    ("max_sequences = 640", 'max_sequences = 640\nkind = "weights"'), ('measure = "score"', 'measure = "context_gain"'),
)  # fmt: skip


def json_rows(path):
    return json.loads(path.read_text()) if path.exists() else []


def examined(results, arm, values):
    """Add rows of what was measured of the weights of an arm, a dictionary for each seed."""
    path = results / "claims" / "claim-mine-one.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    row = {"dataset": "latch", "length": 8, "model": arm, "seconds": 1.5, "measurement": "m", "weights": None}
    rows = json_rows(path) + [row | {"run": f"{arm}{n}", "seed": 1 + n, "values": v} for n, v in enumerate(values)]
    write_json(path, rows)


def decided(tmp_path, *changes):
    claim = declaration.read(mine(tmp_path, *changes))
    (found,) = verdicts.decide_all([claim], 1800.0, tmp_path / "results")
    return found


def probed(areas, right=1.0, shuffled=0.5):
    return [{"cell_probe": area, "right": right, "shuffled_probe": shuffled} for area in areas]


@pytest.mark.parametrize(
    ("areas", "verdict"),
    [([0.99, 1.0, 0.98, 1.0, 0.99], Verdict.SUPPORTED), ([0.6, 0.61, 0.6, 0.62, 0.6], Verdict.REFUTED),
     ([0.8, 1.0, 0.9, 0.95, 0.85], Verdict.UNDECIDED)],
)  # fmt: skip
def test_what_is_measured_of_trained_weights_is_compared_with_a_number(areas, verdict, tmp_path):
    cell(sweep(tmp_path / "results"), "lstm", GOOD)
    examined(tmp_path / "results", "lstm", probed(areas))
    found = decided(tmp_path, *MEMORY)
    assert found.verdict is verdict
    assert found.seconds >= 7.5


@pytest.mark.parametrize("control", [{"right": 0.7}, {"shuffled": 0.8}])
def test_a_memory_whose_controls_fail_fails_gate_g2(control, tmp_path):
    cell(sweep(tmp_path / "results"), "lstm", GOOD)
    examined(tmp_path / "results", "lstm", probed([1.0] * 5, **control))
    found = decided(tmp_path, *MEMORY)
    assert found.verdict is Verdict.UNDECIDED
    assert [gate.id for gate in found.subs[0].gates if not gate.holds] == ["g2"]


def test_weights_of_two_models_are_compared_by_seed(tmp_path):
    folder = sweep(tmp_path / "results")
    for arm, gains in (("lstm", [0.30, 0.31, 0.29, 0.30, 0.32]), ("rnn", [0.10, 0.12, 0.09, 0.1, 0.11])):
        cell(folder, arm, GOOD)
        examined(tmp_path / "results", arm, [{"context_gain": gain} for gain in gains])
    found = decided(tmp_path, *GAIN)
    assert found.verdict is Verdict.SUPPORTED
    assert "+0.200 [" in page.text([found])


def test_networks_that_use_no_distant_context_fail_gate_g2(tmp_path):
    folder = sweep(tmp_path / "results")
    for arm in ("lstm", "rnn"):
        cell(folder, arm, GOOD)
        examined(tmp_path / "results", arm, [{"context_gain": gain} for gain in (0.01, 0.02, 0.01, 0.02, 0.01)])
    found = decided(tmp_path, *GAIN)
    assert found.verdict is Verdict.UNDECIDED
    assert "gate g2: distant context saves a network up to 0.014 nats" in found.subs[0].reason


LATER = """
[experiments.later]
long_only = true
share = 3.0
datasets = ["latch"]
lengths = [8]
models = ["lstm", "rnn"]
max_sequences = 640

[[subclaims]]
id = "B"
says = "It is better later."
otherwise = "It is not better later."
experiment = "later"
measure = "score"
arm = "lstm"
against = "rnn"
rule = "superiority"
margin = 0.1
"""


def test_a_short_budget_leaves_out_what_needs_a_long_one_and_the_page_says_so(tmp_path):
    path = mine(tmp_path)
    with open(path, "a") as file:
        file.write(LATER)
    claim = declaration.read(path)
    folder = sweep(tmp_path / "results")
    cell(folder, "lstm", GOOD)
    cell(folder, "rnn", [0.5, 0.52, 0.49, 0.5, 0.51])
    assert [task.name for task in experiments.tasks([claim], 1800.0)] == ["one"]
    (found,) = verdicts.decide_all([claim], 1800.0, tmp_path / "results")
    assert found.verdict is Verdict.UNDECIDED
    assert [sub.verdict for sub in found.subs] == [Verdict.SUPPORTED, Verdict.UNDECIDED]
    for text in (page.text([found]), page.markdown([found], "python -m bench claims")):
        assert "Left out for lack of time or data: B, whose experiments need a budget of 2.00 h or more." in text
    assert page.rows([found])[1]["reason"] == "left out: needs a budget of 2.00 h or more"
    (found,) = verdicts.decide_all([claim], 7200.0, tmp_path / "results")
    assert "Left out for lack of time or data: B, whose experiments were not run." in page.text([found])


def test_in_a_long_budget_a_claim_gets_more_time_for_what_only_it_holds(tmp_path):
    (tmp_path / "other").mkdir()
    other = declaration.read(mine(tmp_path / "other"))
    path = mine(tmp_path)
    with open(path, "a") as file:
        file.write(LATER)
    claims = [declaration.read(path), other]
    assert [task.seconds for task in experiments.tasks(claims, 1800.0)] == [900.0, 900.0]
    assert [task.seconds for task in experiments.tasks(claims, 7500.0)] == [1500.0, 4500.0, 1500.0]


def test_a_claim_that_only_a_long_budget_could_test_is_refused(tmp_path):
    with pytest.raises(DeclarationError, match="all are long_only"):
        declaration.read(mine(tmp_path, ("lengths = [8]", "lengths = [8]\nlong_only = true")))


def test_weights_are_examined_once_and_those_of_unsolved_runs_never(tmp_path, monkeypatch):
    claim = declaration.read(mine(tmp_path, *MEMORY))
    results = tmp_path / "results"
    folder = sweep(results)
    cell(folder, "lstm", [1.0, 0.5, 1.0], weights_sha256="a")
    asked = []

    def call(function, measurement, config, trained, sha256):
        asked.append((function, measurement, config.seed, trained == folder / "runs" / config.run, sha256))
        return {"cell_probe": 1.0}

    monkeypatch.setattr(experiments, "call", call)
    (task,) = experiments.tasks([claim], 1800.0)
    for _ in range(2):
        experiments._weights(task, results)
    assert asked == [("bench.training.examine:examine", "memory", seed, True, "a") for seed in (1, 3)]


@pytest.mark.slow
def test_the_memory_of_a_trained_lstm_is_examined_from_file_to_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = (('["latch"]', '["flip_flop"]'), ("[8]", "[32]"), ('["lstm", "rnn"]', '["lstm"]'), ("640", "4_800"))
    mine(tmp_path, *changes, *((old.replace("640", "4_800"), new.replace("640", "4_800")) for old, new in MEMORY))
    done = CliRunner().invoke(main, ["claims", "mine.toml", "--budget", "1h"])
    assert done.exit_code == 0, done.stderr
    rows = json_rows(tmp_path / "results" / "claims" / "claim-mine-one.json")
    assert len(rows) >= 3
    assert all(row["values"]["right"] > 0.95 and row["values"]["untrained_right"] < 0.7 for row in rows)
    assert "SUPPORTED" in done.stdout
