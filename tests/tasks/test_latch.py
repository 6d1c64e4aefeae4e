"""Latch: the first symbol is asked, and counting symbols gets so far and no further."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.latch import Task

quick = settings(max_examples=20, deadline=None)


def bag_optimum(lag, num_fillers=10):
    """Accuracy of the best order-blind answer with two cues: the cue seen more often, a coin where both are equal."""
    cue = 1 / (2 + num_fillers)
    total = 0.0
    for right in range(lag + 1):
        for wrong in range(lag - right + 1):
            others = lag - right - wrong
            ways = comb(lag, right) * comb(lag - right, wrong)
            won = 1.0 if right + 1 > wrong else 0.5 if right + 1 == wrong else 0.0
            total += won * ways * cue ** (right + wrong) * (1 - 2 * cue) ** others
    return total


@quick
@given(
    length=st.integers(1, 40),
    size=st.integers(1, 20),
    seed=st.integers(0, 999),
    variant=st.sampled_from(["distract", "clean"]),
    num_cues=st.integers(2, 8),
    num_fillers=st.integers(1, 10),
)
def test_the_target_is_the_first_symbol(length, size, seed, variant, num_cues, num_fillers):
    batch = Task(length, variant=variant, num_cues=num_cues, num_fillers=num_fillers).train_batch(seed, 0, size)
    for x, y, steps in zip(batch.x.tolist(), batch.y.tolist(), batch.length.tolist(), strict=True):
        assert steps == len(x) == length + 1
        assert y == x[0] < num_cues
        if variant == "clean":
            assert all(symbol >= num_cues for symbol in x[1:])


@pytest.mark.parametrize(
    ("lag", "accuracy"), [(8, 0.7996), (10, 0.7758), (16, 0.7277), (64, 0.6200), (100, 0.5966), (256, 0.5608)]
)
def test_counting_gets_as_far_as_the_closed_form_says(lag, accuracy):
    assert bag_optimum(lag) == pytest.approx(accuracy, abs=5e-5)
    task = Task(lag)
    batch = task.split("test", 40_000)
    found = task.score(task.bag(batch), batch)["accuracy"]
    assert found == pytest.approx(accuracy, abs=0.01)  # four standard errors


@quick
@given(length=st.integers(1, 60), size=st.integers(1, 20), seed=st.integers(0, 999), num_fillers=st.integers(1, 10))
def test_hs97_asks_for_the_cue_after_a_lag_of_unknown_length(length, size, seed, num_fillers):
    batch = Task(length, variant="hs97", num_fillers=num_fillers).train_batch(seed, 0, size)
    begin, end = 2 + num_fillers, 3 + num_fillers
    for x, y, steps in zip(batch.x.tolist(), batch.y.tolist(), batch.length.tolist(), strict=True):
        assert length + 3 <= steps <= length + 43
        assert x[0] == begin
        assert y == x[1] < 2
        assert all(2 <= symbol < begin for symbol in x[2 : steps - 1])
        assert x[steps - 1] == end


def test_hs97_has_nine_fillers_more_than_the_lag_on_average():
    more = Task(50, variant="hs97").train_batch(0, 0, 20_000).length - 53
    # Of a geometric number k, P(k > n) is 0.9^(n + 1): the mean of the smaller of k and 40 is the sum of these.
    assert more.mean() == pytest.approx(sum(0.9 ** (n + 1) for n in range(40)), abs=0.27)  # four standard errors
    assert (more == 0).mean() == pytest.approx(0.1, abs=0.009)


@pytest.mark.parametrize("variant", ["clean", "hs97"])
def test_counting_solves_the_variants_without_cues_among_the_fillers(variant):
    task = Task(16, variant=variant)
    assert task.score(task.bag(task.split("test", 200)), task.split("test", 200))["accuracy"] == 1


def test_cues_among_the_distractors_are_as_frequent_as_fillers():
    x = Task(31).split("val", 4_000).x[:, 1:]
    np.testing.assert_allclose(np.bincount(x.ravel()) / x.size, 1 / 12, atol=0.004)


def test_a_model_that_reads_the_last_symbol_is_at_chance():
    batch = Task(16).split("test", 4_000)
    # A cue in last place is drawn anew: it agrees with the first one in half of the sequences.
    last = batch.x[:, -1]
    asked = last < 2
    assert (last[asked] == batch.y[asked]).mean() == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "clear"}, "latch: variant: one of distract, clean, hs97, but found 'clear'"),
        ({"num_cues": 1}, "latch: needs 2 cues and 1 filler, but found 1 and 10"),
        ({"num_fillers": 0}, "latch: needs 2 cues and 1 filler, but found 2 and 0"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(DeclarationError, match=message):
        Task(8, **arguments)
