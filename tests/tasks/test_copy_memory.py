"""Copy memory: where items, blanks and the sign to go stand, and what one who remembers nothing scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.copy_memory import Task

quick = settings(max_examples=20, deadline=None)


@quick
@given(length=st.integers(1, 40), num_items=st.integers(1, 12), size=st.integers(1, 20), seed=st.integers(0, 999))
def test_items_come_back_after_the_lag(length, num_items, size, seed):
    batch = Task(length, num_items=num_items).train_batch(seed, 0, size)
    for x, y, steps in zip(batch.x.tolist(), batch.y.tolist(), batch.length.tolist(), strict=True):
        items = x[:num_items]
        assert all(item < 8 for item in items)
        assert x == items + [8] * (length - 1) + [9] * (num_items + 1)
        assert y == [8] * (length + num_items) + items
        assert steps == len(x) == length + 2 * num_items
    assert batch.mask.all()


@pytest.mark.parametrize(
    ("length", "nats"),
    [(100, 0.17329), (200, 0.09452), (300, 0.06498), (500, 0.03999), (1_000, 0.02039), (2_000, 0.01029)],
)
def test_cross_entropy_without_memory_is_the_published_line(length, nats):
    task = Task(length)
    batch = task.split("test", 100)
    scores = task.score(task.memoryless(batch), batch)
    assert scores["cross_entropy"] == pytest.approx(nats, abs=5e-6)
    assert scores["cross_entropy"] == pytest.approx(10 * np.log(8) / (length + 20))


def test_cross_entropy_does_not_depend_on_a_shift_of_the_outputs():
    task = Task(10)
    batch = task.split("test", 20)
    outputs = np.random.default_rng(0).normal(size=(*batch.y.shape, 9)).astype(np.float32)
    assert task.score(outputs + 300, batch)["cross_entropy"] == pytest.approx(
        task.score(outputs, batch)["cross_entropy"], rel=1e-4
    )


def test_recall_looks_at_the_items_only():
    task = Task(5, num_items=2)
    batch = task.split("test", 50)
    outputs = task.oracle(batch)
    outputs[:, :-2] = 0  # wrong about every blank
    assert task.score(outputs, batch)["recall"] == 1
    outputs[:, -1] = 0
    outputs[:, -1, 8] = 1  # and silent about the last item
    assert task.score(outputs, batch)["recall"] == 0.5


def test_the_last_item_alone_is_worth_its_share():
    # One item is right, each of the nine others with probability 1/8.
    assert Task(10).baselines(4_000)["last item only"] == pytest.approx((1 + 9 / 8) / 10, abs=0.01)


@pytest.mark.parametrize(("length", "num_items"), [(0, 10), (10, 0)])
def test_what_is_refused(length, num_items):
    with pytest.raises(DeclarationError, match=f"at least 1, but found {length} and {num_items}"):
        Task(length, num_items=num_items)
