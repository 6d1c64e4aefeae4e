"""Every search space reads, builds, and has no knob that is not connected."""

import pytest
import torch

from bench.config import plugins, search_spaces
from bench.config.sections import KINDS
from bench.config.settings import BASELINES
from bench.training.train import run
from tests.makers import run_config

SPACES = sorted(plugins.declarations("search_spaces"))
KNOBS = [(name, knob) for name in SPACES for knob in search_spaces.read(name).tuned]
SETTINGS = {"max_sequences": 768, "batch_size": 16, "num_epochs": 3, "num_val": 8, "num_test": 8}


def weights(folder, name: str, values: dict, settings: dict = SETTINGS) -> torch.Tensor:
    """Train 48 steps, so that a warm-up of a twentieth is more than one of them, and return all weights."""
    space = search_spaces.read(name)
    model_arguments, train = space.split(space.default | values)
    config = run_config(
        "confirm", length=6, space=name, model=space.model, model_arguments=model_arguments, settings=settings | train
    )
    record = run(config, folder=folder)
    assert record.state == "complete", record.message
    state = torch.load(folder / "weights.pt", weights_only=True)
    return torch.cat([tensor.flatten().float() for tensor in state.values()])


def ends(entry: dict) -> list:
    return entry["choices"] if entry["type"] == "categorical" else [entry["low"], entry["high"]]


def test_every_baseline_has_a_search_space_that_is_shipped():
    assert set(BASELINES) <= set(SPACES)


def test_every_kind_of_task_has_a_recipe_and_no_other_is_there():
    assert {path.stem for path in (plugins.shipped("search_spaces") / "recipes").iterdir()} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SPACES)
def test_a_space_is_small_enough_to_be_searched(name, kind):
    assert 1 <= len(search_spaces.read(name, kind=kind).tuned) <= 8


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"synthetic"}))
@pytest.mark.parametrize("name", SPACES)
def test_what_decides_on_real_data_is_tuned(name, kind):
    space = search_spaces.read(name, kind=kind)
    assert {"learning_rate", "weight_decay", space.width} <= set(space.tuned)
    assert space.fixed["schedule"] == "cosine"


@pytest.mark.parametrize(
    ("name", "knob"),
    [pytest.param(*case, marks=() if case[0] in BASELINES else pytest.mark.slow) for case in KNOBS],
)
def test_every_knob_is_connected(tmp_path, name, knob):
    entry = search_spaces.read(name).tuned[knob]
    counted = {other: choices[0] for other, choices in entry.get("when", {}).items()}
    first, *others = [weights(tmp_path, name, counted | {knob: end}) for end in ends(entry)]
    for other in others:
        assert first.shape != other.shape or not torch.equal(first, other)


@pytest.mark.parametrize(
    ("name", "knob"), [(name, knob) for name, knob in KNOBS if search_spaces.read(name).tuned[knob].get("when")]
)
def test_a_knob_that_does_not_count_is_left_out(name, knob):
    space = search_spaces.read(name)
    assert knob not in space.split(space.default)[0]


@pytest.mark.parametrize("name", SPACES)
def test_the_same_configuration_and_seed_give_the_same_weights(tmp_path, name):
    assert torch.equal(weights(tmp_path, name, {}), weights(tmp_path, name, {}))


@pytest.mark.parametrize("name", SPACES)
def test_every_range_has_its_reason_beside_it(name):
    text = plugins.declarations("search_spaces")[name].read_text()
    assert text.count("#") >= 2
