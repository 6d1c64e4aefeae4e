"""Induction: the special token occurs twice, and the answer follows its first occurrence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.induction import Task

quick = settings(max_examples=20, deadline=None)


@quick
@given(length=st.integers(3, 60), num_tokens=st.integers(2, 20), size=st.integers(1, 20), seed=st.integers(0, 999))
def test_the_target_follows_the_first_special_token(length, num_tokens, size, seed):
    batch = Task(length, num_tokens=num_tokens).train_batch(seed, 0, size)
    for x, y in zip(batch.x.tolist(), batch.y.tolist(), strict=True):
        assert len(x) == length
        assert x.count(num_tokens) == 2
        assert x[-1] == num_tokens
        assert y == x[x.index(num_tokens) + 1] < num_tokens


def test_every_lag_is_equally_frequent():
    x = Task(12).train_batch(0, 0, 20_000).x
    first = (x == 16).argmax(1)
    np.testing.assert_allclose(np.bincount(first) / len(x), 1 / 10, atol=0.009)  # four standard errors


def test_counting_solves_the_shortest_sequences_and_hardly_beats_chance_on_long_ones():
    shortest, long = (Task(length).baselines(5_000)["counts, no order"] for length in (3, 512))
    assert shortest == 1  # the only token that is not special
    assert long == pytest.approx(1 / 16, abs=0.05)


@pytest.mark.parametrize(("length", "num_tokens"), [(2, 16), (8, 1)])
def test_invalid_arguments_are_refused(length, num_tokens):
    with pytest.raises(DeclarationError, match=r"^induction: (length|num_tokens): must be at least .*found (2|1)"):
        Task(length, num_tokens=num_tokens)
