"""Every model, with every search space, fulfils the contract in bench/config/contracts.py.

The checks are the same as in `bench check FILE.py`.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config import plugins, search_spaces
from bench.config.sections import KINDS
from bench.config.settings import BASELINES, TUNABLE
from bench.training import model_checks
from bench.training.model_checks import PIECES, L

SPACES = sorted(plugins.declarations("search_spaces"))
CAUSAL = [name for name in SPACES if not search_spaces.read(name).bidirectional]
TESTED_BELOW = {  # with more cases, or slowly
    model_checks.padding_changes_no_output,
    model_checks.a_sequence_in_pieces_gives_the_same_outputs,
    model_checks.the_state_has_the_declared_size,
    model_checks.eight_examples_can_be_memorised,
}
CHECKS = [check for check in model_checks.CHECKS if check not in TESTED_BELOW]


def models() -> list[search_spaces.SearchSpace]:
    """Return the search spaces whose knobs of the model differ, over all models and kinds of tasks."""
    distinct = {}
    for name in SPACES:
        for kind in KINDS:
            space = search_spaces.read(name, kind=kind)
            tuned = {knob: entry for knob, entry in space.tuned.items() if knob not in TUNABLE}
            distinct.setdefault(repr((name, space.split(space.default)[0], sorted(tuned.items()))), space)
    return list(distinct.values())


def _is_slow(space: search_spaces.SearchSpace) -> bool:
    """Return whether a case is left to the slow tests: models that are chosen by name, beyond one kind in each way."""
    return space.name not in BASELINES and space.kind not in ("synthetic", "series")


MODELS = [
    pytest.param(space, id=f"{space.name}-{space.kind}", marks=pytest.mark.slow if _is_slow(space) else ())
    for space in models()
]


def test_every_model_has_a_search_space():
    assert {search_spaces.read(name).model for name in SPACES} == set(plugins.names("models"))


@pytest.mark.parametrize("space", MODELS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_model_passes_the_check(check, space):
    check(space)


@pytest.mark.parametrize("space", MODELS)
def test_the_defaults_of_every_kind_keep_padding_and_streams(space):
    model_checks.padding_changes_no_output(space)
    model_checks.a_sequence_in_pieces_gives_the_same_outputs(space)
    model_checks.the_state_has_the_declared_size(space)


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=12, deadline=None)
@given(
    lengths=st.lists(st.integers(1, L), min_size=1, max_size=4), padding=st.integers(1, 9), garbage=st.integers(1, 5)
)
def test_padding_changes_no_output(name, lengths, padding, garbage):
    model_checks.padding_changes_no_output(search_spaces.read(name), lengths, padding, garbage)


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("name", CAUSAL)
def test_a_sequence_in_pieces_gives_the_same_outputs(name, pieces):
    space = search_spaces.read(name)
    assert model_checks.make(space).causal
    model_checks.a_sequence_in_pieces_gives_the_same_outputs(space, [PIECES[pieces]])


@pytest.mark.parametrize("name", CAUSAL)
def test_the_state_has_the_declared_size(name):
    space = search_spaces.read(name)
    assert model_checks.make(space).causal
    model_checks.the_state_has_the_declared_size(space)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_eight_examples_can_be_memorised(name):
    model_checks.eight_examples_can_be_memorised(search_spaces.read(name))
