"""Claim files: the built-in ones name what exists, and mistakes in yours are found before anything runs."""

from pathlib import Path

import pytest

from bench.claims import declaration
from bench.config import datasets, plugins, search_spaces
from bench.config.sweep_settings import SweepConfig
from bench.errors import DeclarationError, UnknownNameError
from bench.sweeps import prepare

MINE = """
title = "A claim"
belief = "It is said."
question = "Is it so?"
why = "It matters."
changes = "More data."

[experiments.one]
datasets = ["latch"]
lengths = [8]
models = ["lstm", "rnn"]
max_sequences = 640

[[subclaims]]
id = "A"
says = "The LSTM is better."
otherwise = "The LSTM is not better."
experiment = "one"
measure = "score"
arm = "lstm"
against = "rnn"
rule = "superiority"
margin = 0.1
"""


def mine(folder: Path, *changes: tuple[str, str]) -> str:
    text = MINE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "mine.toml").write_text(text)
    return str(folder / "mine.toml")


@pytest.mark.parametrize("name", declaration.names())
def test_a_built_in_claim_names_data_sets_models_and_settings_that_exist(name):
    claim = declaration.read(name)
    for declared in claim.experiments.values():
        for experiment in (declared, declared.within(declaration.LONG_SECONDS)):
            for dataset in experiment.datasets:
                card = datasets.read(dataset)
                assert card.lengths
                if card.kind == "synthetic":
                    for length in experiment.lengths:
                        card.at(length)
            for model in experiment.models:
                space = search_spaces.read(model, claim.search_spaces)
                plugins.source("models", space.model)
                assert space.width or not experiment.match
            options = {"datasets": experiment.datasets, "lengths": experiment.lengths or None}
            match = [experiment.match] if experiment.match else None
            SweepConfig.build(None, options | {"models": experiment.models, "match": match})


@pytest.mark.slow
@pytest.mark.parametrize("name", declaration.names())
def test_models_of_a_built_in_claim_have_the_size_that_their_experiment_matches(name, tmp_path):
    claim = declaration.read(name)
    for declared in claim.experiments.values():
        experiment = declared.within(declaration.LONG_SECONDS)
        if experiment.match:
            options = {"datasets": experiment.datasets, "lengths": experiment.lengths[:1] or None}
            options |= {"models": experiment.models, "match": [experiment.match], "results": tmp_path}
            plan = prepare.make(SweepConfig.build(None, options | {"search_spaces": claim.search_spaces}))
            assert plan.not_applicable == []


def test_together_the_built_in_claims_are_the_eight_of_the_protocol():
    claims = [declaration.read(name) for name in declaration.names()]
    ids = {sub.id[:2] for claim in claims for sub in claim.subclaims}
    assert len(claims) == 8
    assert ids == {f"C{number}" for number in range(1, 9)}


def test_a_claim_of_yours_is_a_file(tmp_path):
    claim = declaration.read(mine(tmp_path))
    assert (claim.name, claim.experiments["one"].seeds, claim.search_spaces) == ("mine", 5, None)
    (tmp_path / "search_spaces").mkdir()
    assert claim.search_spaces == tmp_path / "search_spaces"


def test_a_long_budget_changes_the_experiment(tmp_path):
    claim = declaration.read(mine(tmp_path, ("max_sequences = 640", "max_sequences = 640\nlong = { seeds = 9 }")))
    assert claim.experiments["one"].within(1800).seeds == 5
    assert claim.experiments["one"].within(8 * 3600).seeds == 9


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("max_sequences =", "max_sequence =", "one.max_sequence: not a known key; did you mean 'max_sequences'?"),
        ('arm = "lstm"', 'arm = "lstn"', "model: 'lstn' is not in experiment one; did you mean 'lstm'?"),
        ('experiment = "one"', 'experiment = "two"', "experiment: 'two' is not one of the file"),
        ('rule = "superiority"', 'rule = "below"', "rule: measure score has superiority"),
        ('against = "rnn"\n', "", "measure score needs `against`"),
        ("margin = 0.1", "margin = -1", "margin"),
        ('measure = "score"', 'measure = "scores"', "measure: must be"),
        ('measure = "score"', 'measure = "latency"', "reads a speed experiment, but it is a sweep"),
        ("max_sequences = 640", "max_sequences = 640\nlong = { seed = 9 }", "long.seed: not a known key"),
        ('says = "The LSTM is better."\n', "", "says: missing"),
        ("[experiments.one]", 'name = "x"\n[experiments.one]', "name: not a known key"),
        ('id = "A"', 'id = "A"\ncore = false', "at least one must decide the claim"),
        ("lengths = [8]", 'lengths = [8]\nmatch = "size=3"', "parameters=N"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file(old, new, said, tmp_path):
    with pytest.raises(DeclarationError) as error:
        declaration.read(mine(tmp_path, (old, new)))
    assert said in str(error.value)
    assert "mine.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_claim_is_refused_with_a_suggestion():
    with pytest.raises(UnknownNameError, match="unknown claim 'vanish'; did you mean 'vanishing'"):
        declaration.read("vanish")
