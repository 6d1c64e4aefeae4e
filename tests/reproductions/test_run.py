"""The set-ups of the reproductions agree with the published ones; `make reproduce` runs them in an hour."""

from types import SimpleNamespace

import pytest

from bench.training.module import SequenceModule
from tests.reproductions import language, machine, memory, running
from tests.reproductions import run as reproductions

CHARACTERS = 65  # of the published models; the bench has one more symbol, for characters not seen in training


def weights(config, characters: int) -> int:
    task = SimpleNamespace(
        tokens=True, input_size=characters, output_size=characters, per_step=True, num_steps=config.length,
        keep="nll",
    )  # fmt: skip
    return sum(SequenceModule(task, config).parameter_counts().values())


def test_the_lstm_has_the_published_weights():
    config = language.same_size("lstm", {})
    assert weights(config, CHARACTERS) == 822_849
    assert weights(config, CHARACTERS + 1) == 822_849 + 128 + 384 + 1  # embedding and head of one more symbol


def test_the_transformer_has_the_published_weights_but_for_positions():
    learned, projection = 128 * 128, 128 * 128 + 128  # the bench has a linear layer before the blocks
    assert weights(language.same_size("transformer", {}), CHARACTERS) == 826_433 - learned + projection


@pytest.mark.parametrize(
    ("config", "steps", "warmup"),
    [
        (memory.latch("default", 20, 1, {}), 3_000, 0),
        (language.same_size("lstm", {}), 3_000, 100),
        (language.same_size("transformer", {}), 3_000, 100),
        (language.small_gpt({}), 2_000, 100),
    ],
    ids=["N1", "N10-lstm", "N10-transformer", "N11"],
)
def test_steps_and_warmup_are_as_published(config, steps, warmup):
    assert config.train.max_steps == steps
    assert config.train.warmup_fraction * steps == pytest.approx(warmup)


def test_a_number_counts_as_reproduced_up_to_its_tolerance():
    assert running.within(1.648, 1.618, 0.03)
    assert running.within(1.588, 1.618, 0.03)
    assert not running.within(1.649, 1.618, 0.03)


def test_a_cell_of_the_latch_table_is_as_published_only_where_all_seeds_are():
    solved = {(bias, lag): [lag in memory.SOLVED[bias]] * 2 for bias in memory.BIASES for lag in memory.LAGS}
    assert memory.pattern(solved)[0] == 12
    solved[1.0, 40], solved[3.0, 80] = [True, False], [True, False]
    equal, table = memory.pattern(solved)
    assert equal == 10
    assert "+1: 20: 2 of 2, 40: 1 of 2, 80: 0 of 2, 160: 0 of 2" in table


def test_targets_are_chosen_by_name_and_settings_by_key():
    assert reproductions.chosen(["N10", "learning_rate=3e-3"]) == (
        ["N10-lstm", "N10-transformer"],
        {"learning_rate": 3e-3},
    )
    assert reproductions.chosen([])[0] == reproductions.chosen(["all"])[0] == list(reproductions.TARGETS)
    with pytest.raises(SystemExit, match="unknown target N2"):
        reproductions.chosen(["N2"])


def test_a_setting_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="learning_rat"):
        language.small_gpt({"learning_rat": 1e-3})


@pytest.mark.parametrize("model", language.CHORALES)
def test_the_models_of_chorales_have_the_published_number_of_weights(model):
    task = SimpleNamespace(tokens=False, input_size=88, output_size=88, per_step=True, num_steps=160, keep="outputs")
    counts = SequenceModule(task, language.chorales(model, {})).parameter_counts()
    assert sum(counts.values()) == pytest.approx(300_000, rel=0.02)


def test_two_curves_cross_between_the_lengths_at_which_their_order_changes():
    lstm = {128: 16.0, 256: 32.0, 512: 64.0, 1_024: 128.0}
    assert machine.crossover(lstm, {128: 4.0, 256: 16.0, 512: 64.0, 1_024: 256.0}) == pytest.approx(512)
    assert machine.crossover(lstm, {128: 20.0, 256: 40.0, 512: 80.0, 1_024: 160.0}) == 128
    assert machine.crossover(lstm, dict.fromkeys(lstm, 1.0)) == float("inf")


@pytest.mark.parametrize(
    ("config", "sequences"),
    [
        (memory.parity("rnn", 0, {}), 200_000),
        (memory.parity("transformer", 0, {}), 200_000),
        (memory.long_lag("temporal_order", 1_000_000, 0, {}), 1_000_000),
        (memory.long_lag("latch_hs97", 200_000, 0, {}), 200_000),
        (machine.step("lstm", 128, {}), 16),
    ],
)
def test_runs_have_as_many_sequences_as_are_allowed(config, sequences):
    assert 0.97 * sequences <= config.train.max_steps * config.train.batch_size <= sequences
