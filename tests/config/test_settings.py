"""Settings: strict, and told in one line when wrong."""

import json
from pathlib import Path

import pytest

from bench.config.budgets import BUDGETS, Budget, of_steps, passes, train_settings
from bench.config.contracts import StoredTask
from bench.config.datasets import make_task
from bench.config.settings import BASELINES, TUNABLE, RunConfig, TrainSettings
from bench.config.strict import fingerprint
from bench.config.sweep_settings import DEFAULT_EFFORT, DEFAULT_MODELS, DEFAULT_SWEEP, SweepConfig
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
    assert config == SweepConfig(models=list(DEFAULT_MODELS), **DEFAULT_EFFORT)
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


def test_the_batches_of_a_run_on_several_devices_are_not_halved():
    several = RUN | {"num_devices": 2}
    assert RunConfig(**several).on_out_of_memory == "fail"
    with pytest.raises(ValueError, match="on_out_of_memory 'halve': for runs of one device, not of num_devices 2"):
        RunConfig(**several, on_out_of_memory="halve")


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


LATCH = make_task("latch", 8, {})


@pytest.mark.parametrize("name", BUDGETS)
def test_a_budget_of_drawn_sequences_is_never_exceeded(name):
    settings = train_settings(BUDGETS[name], LATCH, {"learning_rate": 0.5})
    assert settings.max_steps * settings.batch_size <= BUDGETS[name].max_sequences
    assert settings.learning_rate == 0.5


class Stored(StoredTask):
    kind = "series"

    def __init__(self, examples: int, val: int = 7) -> None:
        self.counts = {"train": examples, "val": val, "test": 7}


class Text(Stored):
    kind = "language"


def work(budget: str | Budget, task: StoredTask) -> tuple[int, int, int]:
    settings = train_settings(BUDGETS[budget] if isinstance(budget, str) else budget, task, {})
    return settings.max_steps, settings.batch_size, settings.num_epochs


@pytest.mark.parametrize(
    ("budget", "task", "steps", "batch"),
    [
        ("smoke", Stored(5_000), 20, 32),  # smoke stays tiny, whatever the data
        ("smoke", Stored(10), 20, 5),
        ("quick", Stored(10), 297, 5),  # a batch is never more than half of the examples; the floor of 300 steps
        ("quick", Stored(1), 297, 1),
        ("quick", Stored(1_600), 999, 32),  # 20 passes are 1,000 steps; 27 validations of 37
        ("quick", Stored(9_999), 1_998, 32),  # the cap of 2,000
        ("quick", Stored(10_000), 1_998, 64),
        ("standard", Stored(16_000), 4_995, 64),
        ("standard", Stored(10**6), 5_994, 64),
        ("quick", Text(32_000), 999, 64),  # 2 passes
        ("standard", Text(32_000), 4_995, 64),  # 10 passes
    ],
)
def test_steps_follow_from_passes_over_the_data(budget, task, steps, batch):
    assert work(budget, task) == (steps, batch, 2 if budget == "smoke" else 27)
    settings = train_settings(BUDGETS[budget], task, {})
    assert passes(task, settings) == steps * batch / task.num_train
    assert (settings.num_val, settings.num_test) == (7, 7)  # all there are


def test_validations_score_a_thousand_examples_or_as_many_as_were_trained_on_since_the_last():
    settings = train_settings(BUDGETS["quick"], Stored(8_000, val=2_880), {})
    assert settings.num_val == settings.steps_per_epoch * settings.batch_size == 74 * 32
    assert train_settings(BUDGETS["quick"], Stored(1_000, val=900), {}).num_val == 900
    assert of_steps(settings, 27).num_val == 100
    assert of_steps(settings, 27 * 5).num_val == 3 * 5 * 32  # costs about as much as the training before it
    assert of_steps(settings, 27 * 11).num_val == 1_000
    assert of_steps(settings, 27 * 50).num_val == 50 * 32
    assert train_settings(BUDGETS["full"], Stored(10**6, val=50_000), {}).num_val == 20_000


def test_a_limit_of_sequences_holds_for_stored_and_for_drawn_ones():
    limited = BUDGETS["quick"].model_copy(update={"max_sequences": 10_000, "most_sequences": 10_000})
    assert work(limited, Stored(1_600)) == (297, 32, 27)
    assert train_settings(limited, LATCH, {}).max_sequences == 10_000
    assert passes(LATCH, train_settings(limited, LATCH, {})) is None


def test_a_budget_without_passes_counts_sequences_of_every_task():
    counted = BUDGETS["quick"].model_copy(update={"passes": None})
    assert train_settings(counted, Stored(10), {}) == train_settings(counted, LATCH, {})


@pytest.mark.parametrize(("asked", "steps"), [(1, 27), (27, 27), (100, 108), (1_000, 999)])
def test_a_run_of_about_so_many_steps_keeps_its_validations(asked, steps):
    settings = of_steps(train_settings(BUDGETS["quick"], Stored(1_600), {}), asked)
    assert (settings.max_steps, settings.num_epochs, settings.batch_size) == (steps, 27, 32)


def test_what_the_default_sweep_names_exists():
    from bench.config import datasets, search_spaces

    for name, lengths in DEFAULT_SWEEP:
        assert set(lengths) <= set(datasets.read(name).lengths)
    assert set(DEFAULT_MODELS) <= set(BASELINES)
    assert [search_spaces.read(name).name for name in BASELINES] == list(BASELINES)


@pytest.mark.parametrize(
    ("options", "models", "max_sequences", "confirm_seeds"),
    [
        ({}, list(DEFAULT_MODELS), 12_800, None),
        ({"confirm_seeds": 2, "models": ["lstm"]}, ["lstm"], 12_800, 2),
        ({"budget": "smoke"}, list(DEFAULT_MODELS), None, None),
        ({"budget": "10m"}, list(DEFAULT_MODELS), None, None),
        ({"datasets": ["latch"]}, None, None, None),
        ({"data": [Path("my.csv")]}, None, None, None),
    ],
)
def test_the_default_sweep_has_models_and_an_effort_of_its_own(options, models, max_sequences, confirm_seeds):
    config = SweepConfig.build(None, options)
    assert (config.models, config.max_sequences, config.confirm_seeds) == (models, max_sequences, confirm_seeds)


def test_a_fingerprint_depends_on_the_value_alone():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": True})
    assert len(fingerprint(None)) == 12


def test_a_tab_may_be_typed_as_it_is_written():
    assert SweepConfig(delimiter="\\t").delimiter == SweepConfig(delimiter="\t").delimiter == "\t"
