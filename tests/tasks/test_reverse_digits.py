"""Digits repeated: written out, and what an answer without memory or without order is worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.reverse_digits import Task

quick = settings(max_examples=40, deadline=None)


@quick
@given(
    length=st.integers(2, 40),
    order=st.sampled_from(["reverse", "copy"]),
    size=st.integers(1, 20),
    seed=st.integers(0, 999),
)
def test_digits_are_followed_by_signs_to_go_at_which_they_are_repeated(length, order, size, seed):
    batch = Task(length, order=order).train_batch(seed, 0, size)
    for x, y, mask, steps in zip(batch.x.tolist(), batch.y.tolist(), batch.mask.tolist(), batch.length, strict=True):
        count = steps // 2
        digits = x[:count]
        assert max(1, length // 6) <= count <= length
        assert all(digit < 10 for digit in digits)
        assert x[count:steps] == [10] * count
        assert y[count:steps] == (digits[::-1] if order == "reverse" else digits)
        assert mask == [count <= t < steps for t in range(2 * length)]


def test_a_test_length_is_exact_and_training_mixes_5_to_30():
    assert np.unique(Task(30).of_length(200).length).tolist() == [60]
    assert np.unique(Task(30).train_batch(0, 0, 3_000).length // 2).tolist() == list(range(5, 31))


def test_one_wrong_digit_makes_the_sequence_wrong():
    task = Task(6)
    batch = task.split("test", 100)
    outputs = task.oracle(batch)
    rows = np.arange(50)
    outputs[rows, batch.length[:50] - 1] = -outputs[rows, batch.length[:50] - 1]
    scores = task.score(outputs, batch)
    assert scores["sequence_accuracy"] == 0.5
    assert 0.5 < scores["recall"] < 1


def test_chance_is_the_mean_over_the_numbers_of_digits():
    assert Task(3).chance == pytest.approx((0.1 + 0.01 + 0.001) / 3)
    assert Task(60).chance == pytest.approx(1e-10 / 51 / 0.9, rel=1e-6)


@pytest.mark.parametrize("order", ["reverse", "copy"])
def test_without_order_the_right_digits_are_of_little_use(order):
    # Of one digit there is one order. Two digits are in the order of the answer in 55 of 100 pairs, three in 220 of
    # 1,000, as there are 55 and 220 multisets.
    found = Task(3, order=order).baselines(4_000)["digits in ascending order"]
    assert found == pytest.approx((1 + 0.55 + 0.22) / 3, abs=0.03)


@pytest.mark.parametrize(("length", "order"), [(1, "reverse"), (8, "backwards")])
def test_invalid_arguments_are_refused(length, order):
    with pytest.raises(
        DeclarationError, match=r"^reverse_digits: (length: must be at least 2|order: must be one of).*found"
    ):
        Task(length, order=order)
