"""Multi-query recall: every key is asked once, at an even step, more often soon than late."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.mqar import Task

quick = settings(max_examples=20, deadline=None)


@quick
@given(pairs=st.integers(1, 7), more=st.integers(0, 20), size=st.integers(1, 20), seed=st.integers(0, 999))
def test_each_key_is_asked_once_for_its_value(pairs, more, size, seed):
    batch = Task(4 * pairs + more, num_tokens=16, num_pairs=pairs).train_batch(seed, 0, size)
    for x, y, mask in zip(batch.x.tolist(), batch.y.tolist(), batch.mask.tolist(), strict=True):
        value = dict(zip(x[: 2 * pairs : 2], x[1 : 2 * pairs : 2], strict=True))
        assert len(value) == len(set(value.values())) == pairs
        assert all(1 <= key < 8 <= value[key] < 16 for key in value)
        asked = [t for t in range(len(x)) if mask[t]]
        assert sorted(x[t] for t in asked) == sorted(value)
        for t in asked:
            assert t >= 2 * pairs
            assert t % 2 == 0
            assert y[t] == value[x[t]] - 8


@pytest.mark.parametrize(("length", "pairs"), [(64, 4), (128, 8), (256, 16), (1024, 64)])
def test_the_ladder_is_the_published_one(length, pairs):
    assert Task(length).num_pairs == pairs


def test_gaps_have_the_published_frequencies():
    # With a single pair, the query's gap follows the power law directly.
    task = Task(34, num_tokens=8, num_pairs=1)
    gaps = (task.train_batch(0, 0, 40_000).mask.argmax(1) - 2) // 2
    weights = np.arange(1.0, 17) ** -0.99
    np.testing.assert_allclose(np.bincount(gaps, minlength=16) / 40_000, weights / weights.sum(), atol=0.01)


def test_a_guess_in_context_is_worth_one_in_the_number_of_pairs():
    assert Task(64).baselines(5_000)["value of the first pair"] == pytest.approx(1 / 4, abs=1e-9)


@pytest.mark.parametrize(
    ("length", "arguments", "message"),
    [
        (64, {"num_tokens": 7}, "mqar: num_tokens: must be even and at least 4, but found 7"),
        (
            64,
            {"num_tokens": 8, "num_pairs": 4},
            "mqar: num_pairs: must be from 1 to 3, the number of keys, but found 4",
        ),
        (15, {"num_pairs": 4}, "mqar: length: must be at least 16 for 4 pairs, but found 15"),
    ],
)
def test_invalid_arguments_are_refused(length, arguments, message):
    with pytest.raises(DeclarationError, match=message):
        Task(length, **arguments)
