"""Dyck: brackets matched by a stack, never deeper than declared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.dyck import Task

quick = settings(max_examples=20, deadline=None)


@quick
@given(
    length=st.integers(5, 60),
    num_types=st.integers(2, 4),
    depth=st.integers(1, 5),
    size=st.integers(1, 20),
    seed=st.integers(0, 999),
)
def test_a_closing_bracket_has_the_type_of_the_last_one_open(length, num_types, depth, size, seed):
    batch = Task(length, num_types=num_types, depth=depth).train_batch(seed, 0, size)
    for x, y, mask in zip(batch.x.tolist(), batch.y.tolist(), batch.mask.tolist(), strict=True):
        stack = []
        for t, bracket in enumerate(x):
            if bracket < num_types:
                stack.append(bracket)
            else:
                assert mask[t - 1]
                assert y[t - 1] == stack.pop() == bracket - num_types
            assert len(stack) <= depth
            if mask[t]:
                assert y[t] == stack[-1]
            if not stack:
                assert not mask[t]
            if len(stack) == depth:
                assert mask[t]


def test_the_nesting_reaches_its_depth_and_both_types_are_equally_frequent():
    task = Task(64)
    x = task.train_batch(0, 0, 1_000).x
    height = np.where(x < 2, 1, -1).cumsum(1)
    assert (height.min(), height.max()) == (0, 8)
    assert (x[x < 2] == 0).mean() == pytest.approx(0.5, abs=0.012)


def test_the_last_bracket_opened_is_right_where_it_is_open_and_a_guess_elsewhere():
    # In a long sequence, every height is reached from below as often as from above, except the greatest. Of the 8
    # closings that leave the 8 heights, 7 / 2 + 1 follow an opening, and of the others a guess between two is right in
    # half: 9/16 + 7/32.
    found = Task(2_000).baselines(50)["last bracket opened"]
    assert found == pytest.approx(25 / 32, abs=0.01)


@pytest.mark.parametrize(
    ("length", "num_types", "depth"), [(8, 1, 4), (8, 2, 0), (3, 2, 4)], ids=["types", "depth", "length"]
)
def test_invalid_arguments_are_refused(length, num_types, depth):
    with pytest.raises(DeclarationError, match=r"^dyck: (num_types must be|length: must be at least the depth).*found"):
        Task(length, num_types=num_types, depth=depth)
