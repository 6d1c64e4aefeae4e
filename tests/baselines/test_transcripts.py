"""Cheap transcripts: loud stretches are found and divided, and words between pauses are named without an error."""

import numpy as np
import pytest

from bench.baselines._spoken import features, stretches
from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from tests.baselines.fitting import fit, score
from tests.makers import dictation


def recording(*loud, steps=60):
    x = np.full((steps, 2), -1.0)
    for first, stop in loud:
        x[first:stop] = 1.0
    return x


@pytest.mark.parametrize(
    ("loud", "gap", "longest", "expected"),
    [
        ([(10, 20), (30, 45)], 2, 99, [(10, 20), (30, 45)]),
        ([(10, 20), (22, 30)], 4, 99, [(10, 30)]),  # a pause that is part of a word
        ([(10, 20), (30, 32)], 2, 99, [(10, 20)]),  # a click
        ([(10, 40)], 2, 15, [(10, 25), (25, 40)]),
        ([(10, 12)], 2, 99, [(10, 12)]),  # nothing but a click
        ([], 2, 99, [(0, 60)]),
    ],
)
def test_loud_stretches_by_hand(loud, gap, longest, expected):
    assert stretches(recording(*loud), 0.5, gap, longest) == expected


def test_features_are_means_over_fifths_and_the_duration():
    x = np.arange(60.0)[:, None]
    found = features(x, [(10, 20), (0, 1)])
    assert found[0].tolist() == [10.5, 12.5, 14.5, 16.5, 18.5, 0.1]
    assert found[1].tolist() == [0, 0, 0, 0, 0, 0.01]


@pytest.mark.parametrize("tokens", ["word", "character"])
def test_words_between_pauses_are_named(tmp_path, tokens):
    folder = dictation(tmp_path / "words", 60)
    card = own_data.make(SweepConfig(data=[folder], task="transcription", tokens=tokens)).card
    task = card.at(card.lengths[0])
    assert score(fit("words_by_energy", task), task) == 0
    assert score(fit("constant", task), task) > 0.4
