"""Selective copying: items in order at random steps, and nothing scored but their repetition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.selective_copy import Task

quick = settings(max_examples=20, deadline=None)


@quick
@given(num_items=st.integers(1, 12), blanks=st.integers(0, 30), size=st.integers(1, 20), seed=st.integers(0, 999))
def test_items_come_back_in_order(num_items, blanks, size, seed):
    length = 2 * num_items + 1 + blanks
    batch = Task(length, num_items=num_items).train_batch(seed, 0, size)
    for x, y, mask in zip(batch.x.tolist(), batch.y.tolist(), batch.mask.tolist(), strict=True):
        context = x[: length - num_items - 1]
        items = [token for token in context if token < 14]
        assert [token for token in context if token >= 14] == [14] * blanks
        assert x[len(context) :] == [15] + [14] * num_items
        assert y[-num_items:] == items
        assert mask == [False] * (len(context) + 1) + [True] * num_items


def test_every_step_of_the_context_holds_an_item_equally_often():
    context = Task(20, num_items=4).train_batch(0, 0, 20_000).x[:, :15]
    np.testing.assert_allclose((context < 14).mean(0), 4 / 15, atol=0.013)  # four standard errors


@pytest.mark.parametrize(("length", "num_items"), [(32, 16), (64, 0)])
def test_invalid_arguments_are_refused(length, num_items):
    with pytest.raises(DeclarationError, match=r"^selective_copy: (length|num_items): must be at least .*found (32|0)"):
        Task(length, num_items=num_items)
