"""Every search space reads, builds, and has no knob that is not connected."""

import functools
import json
import tempfile
from pathlib import Path

import pytest
import torch

from bench.config import plugins, search_spaces
from bench.config.sections import KINDS
from bench.config.settings import BASELINES
from bench.training.train import run
from tests.makers import run_config

SPACES = sorted(plugins.declarations("search_spaces"))
read = functools.cache(search_spaces.read)
KNOBS = [(name, knob) for name in SPACES for knob in read(name).tuned]
SETTINGS = {"max_sequences": 768, "batch_size": 16, "num_epochs": 3, "num_val": 8, "num_test": 8}


def weights(name: str, values: dict) -> torch.Tensor:
    """Train 48 steps, so that a warm-up of a twentieth is more than one of them, and return all weights."""
    space = read(name)
    model_arguments, train = space.split(space.default | values)
    config = run_config(
        "confirm", length=6, space=name, model=space.model, model_arguments=model_arguments, settings=SETTINGS | train
    )
    with tempfile.TemporaryDirectory() as folder:
        record = run(config, folder=Path(folder))
        assert record.state == "complete", record.message
        state = torch.load(Path(folder) / "weights.pt", weights_only=True)
    return torch.cat([tensor.flatten().float() for tensor in state.values()])


@functools.cache
def known(name: str, values: str) -> torch.Tensor:
    """Return the weights of a configuration (JSON), trained once: many knobs are compared with the same default."""
    return weights(name, json.loads(values))


def ends(entry: dict) -> list:
    return entry["choices"] if entry["type"] == "categorical" else [entry["low"], entry["high"]]


def test_every_baseline_has_a_search_space_that_is_shipped():
    assert set(BASELINES) <= set(SPACES)


def test_every_kind_of_task_has_a_recipe_and_no_other_is_there():
    assert {path.stem for path in (plugins.shipped("search_spaces") / "recipes").iterdir()} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SPACES)
def test_a_space_is_small_enough_to_be_searched(name, kind):
    assert 1 <= len(read(name, kind=kind).tuned) <= 8


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"synthetic"}))
@pytest.mark.parametrize("name", SPACES)
def test_what_decides_on_real_data_is_tuned(name, kind):
    space = read(name, kind=kind)
    assert {"learning_rate", "weight_decay", space.width} <= set(space.tuned)
    assert space.fixed["schedule"] == "cosine"


@pytest.mark.parametrize(
    ("name", "knob"),
    [pytest.param(*case, marks=() if case[0] in BASELINES else pytest.mark.slow) for case in KNOBS],
)
def test_every_knob_is_connected(name, knob):
    """The default is compared with the other choices, or with the lower end of the range, or the upper if it is that."""
    entry = read(name).tuned[knob]
    counted = {other: choices[0] for other, choices in entry.get("when", {}).items()}
    others = [end for end in ends(entry) if end != entry["default"]]
    changed = counted if any(read(name).default[other] != choice for other, choice in counted.items()) else {}
    first = known(name, json.dumps(changed))
    for other in others if entry["type"] == "categorical" else others[:1]:
        weights_there = weights(name, changed | {knob: other})
        assert first.shape != weights_there.shape or not torch.equal(first, weights_there)


@pytest.mark.parametrize(("name", "knob"), [(name, knob) for name, knob in KNOBS if read(name).tuned[knob].get("when")])
def test_a_knob_that_does_not_count_is_left_out(name, knob):
    space = read(name)
    assert knob not in space.split(space.default)[0]


@pytest.mark.parametrize("name", SPACES)
def test_the_same_configuration_and_seed_give_the_same_weights(name):
    assert torch.equal(known(name, "{}"), weights(name, {}))


@pytest.mark.parametrize("name", SPACES)
def test_every_range_has_its_reason_beside_it(name):
    text = plugins.declarations("search_spaces")[name].read_text()
    assert text.count("#") >= 2
