"""Settings: strict, and told in one line when wrong."""

import json

import pytest

from bench.config.budgets import BUDGETS, train_settings
from bench.config.settings import BASELINES, TUNABLE, RunConfig, TrainSettings
from bench.config.strict import fingerprint
from bench.config.sweep_settings import DEFAULT_SWEEP, SweepConfig
from bench.errors import DeclarationError, UnknownNameError

SETTINGS = {"max_sequences": 640, "batch_size": 16, "num_epochs": 4, "num_val": 8, "num_test": 8}
RUN = {
    "sweep": "s", "run": "r", "phase": "screen", "number": 0, "dataset": "latch", "task": "latch", "length": 8,
    "task_arguments": {}, "space": "lstm", "model": "lstm", "model_arguments": {}, "train": SETTINGS, "seed": 0,
}  # fmt: skip


def build(tmp_path, text: str, **options) -> SweepConfig:
    (tmp_path / "sweep.toml").write_text(text)
    return SweepConfig.build(tmp_path / "sweep.toml", options)


def test_without_file_and_options_the_defaults_hold():
    config = SweepConfig.build(None, {"budget": None, "seed": None})
    assert config == SweepConfig()
    assert (config.budget, config.datasets, config.seed) == ("quick", None, 0)


def test_an_option_goes_before_the_file_and_the_file_before_the_default(tmp_path):
    config = build(tmp_path, 'budget = "smoke"\ntrials = 5\nseed = 1\n', trials=7, seed=None)
    assert (config.budget, config.trials, config.seed, config.gpus) == ("smoke", 7, 1, "0")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("trails = 3", "trails: not a known key; did you mean 'trials'?"),
        (
            "trials = 0",
            "trials: must be a whole number from 1 to 10,000, but found 0; a search of more trials does not end",
        ),
        ("trials = 'many'", "trials: must be a whole number from 1 to 10,000, but found 'many'"),
        ("datasets = []", "datasets: must be a list of at least one entry, but found []"),
        ("lengths = [8, 0]", "lengths[1]: must be a whole number from 1 to 10,000,000, but found 0"),
        ("precision = 'fp16'", "precision: must be '32-true' or 'bf16-mixed', but found 'fp16'"),
        ("stall_seconds = inf", "stall_seconds: must be a number from 0.1 to 31,622,400, but found inf"),
        ("seed = -1", "seed: must be a whole number from 0 to 2,147,483,647, but found -1"),
        ("trials = 3\nseed = = 1", "not valid TOML: Invalid value (at line 2, column 8)"),
    ],
)
def test_a_mistake_in_a_sweep_file_is_one_line_with_file_and_key(tmp_path, text, complaint):
    with pytest.raises(DeclarationError) as caught:
        build(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'sweep.toml'}: {complaint}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [None, b"\xff\xfe\x00"])
def test_a_sweep_file_that_cannot_be_read(tmp_path, data):
    if data is not None:
        (tmp_path / "s.toml").write_bytes(data)
    with pytest.raises(DeclarationError, match=r"^[^\n]*s\.toml: [^\n]+$"):
        SweepConfig.build(tmp_path / "s.toml", {})


def test_a_budget_misspelled():
    with pytest.raises(UnknownNameError, match=r"unknown budget 'quik'; did you mean 'quick'\? \(there are: "):
        SweepConfig.build(None, {"budget": "quik"})


@pytest.mark.parametrize("name", ["a", "2026-01-01", "A.b_c-d", "x" * 64])
def test_a_name_that_may_be_a_folder(name):
    assert SweepConfig.build(None, {"name": name}).name == name


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "-a", ".a", "a b", "x" * 65, "a\n", "ä"])
def test_a_name_that_may_be_none(name):
    with pytest.raises(DeclarationError, match="--name: must "):
        SweepConfig.build(None, {"name": name})


@pytest.mark.parametrize("gpus", ["0", "4", "all"])
def test_gpus_are_a_count_or_all(gpus):
    assert SweepConfig.build(None, {"gpus": gpus}).gpus == gpus


@pytest.mark.parametrize("gpus", ["", "-1", "some", "1.5", "²"])
def test_gpus_are_nothing_else(gpus):
    with pytest.raises(DeclarationError, match="--gpus"):
        SweepConfig.build(None, {"gpus": gpus})


@pytest.mark.parametrize("phase", ["screen", "confirm", "speed", "baselines"])
def test_only_test_runs_open_the_test_split(phase):
    with pytest.raises(ValueError, match=f"opened by test runs only, not by phase '{phase}'"):
        RunConfig(**RUN | {"phase": phase, "opens_test_of": ["a/t0-s0"]})


def test_a_run_reads_what_it_wrote(tmp_path):
    config = RunConfig(**RUN | {"phase": "test", "opens_test_of": ["a/t0-s0"]})
    (tmp_path / "config.json").write_text(config.model_dump_json())
    assert RunConfig.read(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    "data",
    [None, b"", b"{", b"[]", b"\xff", b'{"sweep": 1}', json.dumps(RUN | {"sed": 1}).encode()],
)
def test_a_damaged_run_file_is_told_in_one_line(tmp_path, data):
    if data is not None:
        (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(DeclarationError, match=r"^[^\n]*config\.json: [^\n]+$"):
        RunConfig.read(tmp_path / "config.json")


@pytest.mark.parametrize(
    "changes",
    [{"colour": 1}, {"batch_size": 0}, {"dropout": 1.0}, {"learning_rate": float("inf")}, {"schedule": "linear"}],
)
def test_training_settings_are_strict(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        TrainSettings(**SETTINGS | changes)


@pytest.mark.parametrize(
    ("max_sequences", "batch_size", "num_epochs", "steps"),
    [(640, 16, 4, 10), (650, 16, 4, 10), (10, 16, 4, 1), (32_000, 32, 20, 50)],
)
def test_an_epoch_is_a_whole_number_of_steps(max_sequences, batch_size, num_epochs, steps):
    changes = {"max_sequences": max_sequences, "batch_size": batch_size, "num_epochs": num_epochs}
    settings = TrainSettings(**SETTINGS | changes)
    assert settings.steps_per_epoch == steps
    assert settings.max_steps == steps * num_epochs


def test_every_tunable_setting_is_one():
    assert TrainSettings.model_fields.keys() > TUNABLE
    assert not TUNABLE & {"max_sequences", "batch_size", "num_epochs", "num_val", "num_test"}


@pytest.mark.parametrize("name", BUDGETS)
def test_a_budget_is_never_exceeded(name):
    settings = train_settings(BUDGETS[name], {"learning_rate": 0.5})
    assert settings.max_steps * settings.batch_size <= BUDGETS[name].max_sequences
    assert settings.learning_rate == 0.5


def test_what_the_default_sweep_names_exists():
    from bench.config import datasets, search_spaces

    for name, lengths in DEFAULT_SWEEP:
        assert set(lengths) <= set(datasets.read(name).lengths)
    assert [search_spaces.read(name).name for name in BASELINES] == list(BASELINES)


def test_a_fingerprint_depends_on_the_value_alone():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": True})
    assert len(fingerprint(None)) == 12


def test_a_tab_may_be_typed_as_it_is_written():
    assert SweepConfig(delimiter="\\t").delimiter == SweepConfig(delimiter="\t").delimiter == "\t"
