"""Sequences stored one after the other: what batches, scales and summaries make of them, by hand and by loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.config.contracts import Batch
from bench.data import sequences


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.booleans())
def test_a_batch_holds_the_steps_asked_and_zeros_after_them(lengths, tokens):
    stop = np.cumsum(lengths)
    values = np.arange(1, stop[-1] + 1)
    values = values if tokens else np.stack([values, -values], axis=1).astype(np.float32)
    kept = np.array([max(1, length - 1) for length in lengths])
    x = sequences.padded(values, stop - kept, kept)
    assert x.shape[:2] == (len(lengths), kept.max())
    for row, end, length in zip(x, stop, kept, strict=True):
        np.testing.assert_array_equal(row[:length], values[end - length : end])
        assert not row[length:].any()


def test_a_gap_is_filled_from_before_within_its_sequence():
    steps = np.array([[1.0], [np.nan], [np.nan], [5.0]], dtype=np.float32)
    found = sequences.standardised(steps, np.array([0, 2]), np.array([3.0]), np.array([2.0]))
    assert found[:, 0].tolist() == [-1, -1, 0, 1]  # the third is the first of its sequence: the mean
    assert np.isnan(steps[1, 0])  # what was handed in is as it was


def test_the_scale_is_that_of_known_steps():
    mean, scale = sequences.training_scale(np.array([[1.0, 7.0], [np.nan, 7.0], [5.0, 7.0]]))
    assert (mean.tolist(), scale.tolist()) == ([3, 7], [2, 1])


def test_summary_features_by_hand():
    batch = Batch(np.array([[[1.0], [3.0], [0.0]], [[2.0], [0.0], [4.0]]]), np.array([2, 3]), np.zeros(2))
    # mean, deviation, least, most, first, last, share of the longest
    assert sequences.summary_features(batch, 3).tolist() == [
        [2, 1, 1, 3, 1, 3, 2 / 3],
        pytest.approx([2, (8 / 3) ** 0.5, 0, 4, 2, 4, 1]),
    ]


def test_probabilities_of_large_outputs():
    assert sequences.softmax(np.array([[1_000.0, 1_000.0 + np.log(3)]])).tolist() == [pytest.approx([0.25, 0.75])]


def test_what_is_not_read_of_long_sequences_is_told():
    assert sequences.cut(np.array([3, 8, 9]), 9, "first") == []
    assert list(map(str, sequences.cut(np.array([3, 8, 9]), 7, "last"))) == [
        "2 of 3 sequences are longer than 7 steps: the last 7 are read, as in training"
    ]
