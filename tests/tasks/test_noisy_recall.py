"""Noisy recall: a key keeps its value within a sequence, and noise is never asked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.noisy_recall import Task

quick = settings(max_examples=20, deadline=None)


@quick
@given(
    pairs=st.integers(2, 40), size=st.integers(1, 20), seed=st.integers(0, 999), noise=st.sampled_from([0, 0.2, 0.8])
)
def test_a_repeated_key_asks_for_its_value(pairs, size, seed, noise):
    batch = Task(2 * pairs, noise=noise).train_batch(seed, 0, size)
    assert batch.x.shape == (size, 2 * pairs - 1)
    for x, y, mask in zip(batch.x.tolist(), batch.y.tolist(), batch.mask.tolist(), strict=True):
        value = {}
        for t in range(0, len(x), 2):
            followed_by = x[t + 1 : t + 2]  # nothing after the last key
            assert mask[t] == (x[t] in value)
            if x[t] >= 16:
                assert all(token >= 16 for token in followed_by)
            elif x[t] in value:
                assert y[t] == value[x[t]] - 8
                assert followed_by in ([value[x[t]]], [])
            else:
                assert 8 <= followed_by[0] < 16
                value[x[t]] = followed_by[0]
        assert mask[-1]
        assert not any(mask[1::2])


def test_the_share_of_noise_is_the_declared_one():
    x = Task(512, noise=0.4).train_batch(0, 0, 400).x
    assert (x[:, :-1] >= 16).mean() == pytest.approx(0.4, abs=0.01)
    np.testing.assert_allclose(np.bincount(x[x < 8]) / (x < 8).sum(), 1 / 8, atol=0.006)


@pytest.mark.parametrize(("length", "noise"), [(2, 0.2), (9, 0.2), (8, 1.0)])
def test_invalid_arguments_are_refused(length, noise):
    with pytest.raises(
        DeclarationError, match=r"^noisy_recall: (length: must be even|noise: must be at least 0).*found"
    ):
        Task(length, noise=noise)
