"""Experiments of claims: how the time is divided, and one real claim from its file to its page and back."""

import json
import os

import pytest
from click.testing import CliRunner

from bench.claims import declaration, experiments
from bench.cli.commands import main
from tests.claims.test_declaration import mine

OWN = """
title = "A claim"
belief = "It is said."
question = "Is it so?"
why = "It matters."
changes = "More data."

[experiments.scores]
datasets = ["latch"]
lengths = [4]
models = ["rnn", "gru"]
max_sequences = 640
seeds = 2
share = 8.0

[experiments.times]
kind = "speed"
datasets = ["latch"]
lengths = [4]
models = ["rnn", "gru"]
seeds = 3

[experiments.gradients]
kind = "gradients"
datasets = ["latch"]
lengths = [16]
models = ["rnn"]
seeds = 3

[[subclaims]]
id = "A"
says = "A GRU has more parameters than an RNN of the same width."
otherwise = "A GRU has not more parameters than an RNN of the same width."
experiment = "times"
measure = "parameters"
arm = "gru"
against = "rnn"
rule = "exceeds"
margin = 2.9

[[subclaims]]
id = "B"
core = false
says = "A GRU is better."
otherwise = "A GRU is not better."
experiment = "scores"
measure = "score"
arm = "gru"
against = "rnn"
rule = "superiority"
margin = 0.1

[[subclaims]]
id = "C"
says = "The gradient of an RNN with orthogonal initialisation halves after more than one step."
otherwise = "The gradient of an RNN with orthogonal initialisation halves within one step."
experiment = "gradients"
measure = "half_life"
arm = "rnn"
rule = "exceeds"
margin = 1.0
"""


def test_the_time_is_divided_by_shares_and_cheap_evidence_comes_first(tmp_path):
    (tmp_path / "own.toml").write_text(OWN)
    own, other = declaration.read(str(tmp_path / "own.toml")), declaration.read(mine(tmp_path))
    tasks = experiments.tasks([other, own], 600.0)
    assert [(task.claim.name, task.name) for task in tasks] == [
        ("own", "gradients"), ("own", "times"), ("mine", "one"), ("own", "scores"),
    ]  # fmt: skip
    assert [task.seconds for task in tasks] == [30.0, 30.0, 300.0, 240.0]


def test_an_experiment_without_its_data_is_left_out_and_the_others_run(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))  # other tests have prepared the data
    monkeypatch.setattr(experiments, "_loaded", lambda: 0.0)
    (tmp_path / "nothing").mkdir()
    claim = declaration.read(mine(tmp_path, ('["latch"]', '["gunpoint"]'), ("lengths = [8]", "lengths = [50]")))
    said = []

    class Display:
        def say(self, text):
            said.append(text)

        def update(self, status): ...

    assert experiments.run([claim], 600.0, tmp_path / "results", Display()) == 0
    assert "is left out" in said[-1]
    assert "bench fetch gunpoint" in said[-1]


def test_a_budget_is_a_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["claims", "gru", "--budget", "quick"])
    assert result.exit_code == 2
    assert "--budget: must be a number of seconds, or such as 90s" in result.stderr


@pytest.mark.slow
def test_a_claim_is_decided_from_its_file_and_nothing_is_measured_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(OWN)
    words = ["claims", "own.toml", "--budget", "1h"]
    first = CliRunner().invoke(main, words)
    assert first.exit_code == 0, first.stderr
    assert "own: A claim" in first.stdout
    assert "×3.00, exact" in first.stdout
    assert "1 of 1 claim decided" in first.stdout
    records = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}
    assert len([path for path in records if "-s" in path.parent.name and "-speed" not in path.parent.name]) == 4
    assert len([path for path in records if path.parent.name.endswith("-speed")]) == 6
    (row,) = json.loads((tmp_path / "results" / "claims" / "claim-own-gradients.json").read_text())
    assert len(row["half_lives"]) == 3
    assert all(0 < life < 1e6 for life in row["half_lives"])
    assert (tmp_path / "results" / "claims" / "claims.md").read_text().startswith("# Claims, decided")

    again = CliRunner().invoke(main, [*words, "--json"])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")} == records
    rows = json.loads(again.stdout)
    assert [row["subclaim"] for row in rows] == ["A", "B", "C"]
    assert rows[0]["verdict"] == "supported"
    assert os.path.isdir("results/sweeps/claim-own-scores")


def test_time_that_one_experiment_leaves_or_takes_too_much_is_divided_among_the_others(tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text(OWN)
    claim, clock, said = declaration.read(str(tmp_path / "own.toml")), [0.0], []
    spent = {"gradients": 10.0, "times": 150.0, "scores": 0.0}

    def experiment(task, *_):
        clock[0] += spent[task.name]
        return spent[task.name]

    class Display:
        def say(self, text):
            said.append(text)

        def update(self, status): ...

    monkeypatch.setattr(experiments, "_loaded", lambda: 0.0)
    monkeypatch.setattr(experiments.time, "monotonic", lambda: clock[0])
    for name in ("_speed", "_untrained"):
        monkeypatch.setattr(experiments, name, experiment)
    monkeypatch.setattr(experiments, "_sweep", lambda task, *_: (0, experiment(task)))
    assert experiments.run([claim], 600.0, tmp_path, Display()) == 0
    assert said == [
        "own: gradients, at most 60.0 s",
        "own: times, at most 65.6 s",  # a ninth of the 590 s that are left
        "own: scores, at most 7.33 min",
    ]
