"""Temporal order: where the symbols are, which class an order has, and how far counting gets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.temporal_order import Task

quick = settings(max_examples=20, deadline=None)


@quick
@given(
    length=st.integers(10, 120), size=st.integers(1, 20), seed=st.integers(0, 999), num_symbols=st.sampled_from([2, 3])
)
def test_the_class_counts_the_order_in_binary(length, size, seed, num_symbols):
    batch = Task(length, num_symbols=num_symbols).train_batch(seed, 0, size)
    for x, y, steps in zip(batch.x.tolist(), batch.y.tolist(), batch.length.tolist(), strict=True):
        assert length <= steps <= length + length // 10
        assert (x[0], x[steps - 1]) == (6, 7)
        symbols = [symbol for symbol in x if symbol in (4, 5)]
        assert len(symbols) == num_symbols
        assert y == int("".join(str(symbol - 4) for symbol in symbols), 2)


@pytest.mark.parametrize(
    ("num_symbols", "windows"), [(2, [(10, 20), (50, 60)]), (3, [(10, 20), (33, 43), (66, 76)])], ids=["6a", "6b"]
)
def test_a_length_of_100_has_the_steps_of_the_paper(num_symbols, windows):
    batch = Task(100, num_symbols=num_symbols).train_batch(0, 0, 3_000)
    places = np.nonzero((batch.x == 4) | (batch.x == 5))[1].reshape(-1, num_symbols)
    assert list(zip(places.min(0), places.max(0), strict=True)) == windows
    assert (batch.length.min(), batch.length.max()) == (100, 110)


@pytest.mark.parametrize(("num_symbols", "accuracy"), [(2, 0.75), (3, 0.5)])
def test_counting_gets_as_far_as_the_closed_form_says(num_symbols, accuracy):
    task = Task(50, num_symbols=num_symbols)
    batch = task.split("test", 20_000)
    assert task.score(task.bag(batch), batch)["accuracy"] == pytest.approx(accuracy, abs=0.015)  # four standard errors


@pytest.mark.parametrize(("length", "num_symbols"), [(9, 2), (50, 4)])
def test_invalid_arguments_are_refused(length, num_symbols):
    with pytest.raises(DeclarationError, match=r"^temporal_order: (length|num_symbols): must be .*found (9|4)"):
        Task(length, num_symbols=num_symbols)
