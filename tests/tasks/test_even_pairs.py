"""Even pairs: unequal neighbours recounted one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.even_pairs import Task

quick = settings(max_examples=40, deadline=None)


@quick
@given(
    length=st.integers(2, 50),
    size=st.integers(1, 20),
    seed=st.integers(0, 999),
    part=st.sampled_from(["train", "val", "test"]),
)
def test_every_step_asks_whether_the_unequal_pairs_so_far_are_odd(length, size, seed, part):
    task = Task(length)
    batch = task.train_batch(seed, 0, size) if part == "train" else task.split(part, size)
    for x, y, steps in zip(batch.x.tolist(), batch.y.tolist(), batch.length.tolist(), strict=True):
        pairs = 0
        for t in range(steps):
            pairs += t > 0 and x[t - 1] != x[t]
            assert y[t] == pairs % 2


def test_last_asks_once_and_is_decided_by_the_ends():
    batch = Task(20, supervision="last").train_batch(0, 0, 200)
    assert batch.y.tolist() == (batch.x[:, 0] != batch.x[:, -1]).tolist()


def test_the_first_step_has_no_pair():
    shares = Task(8).answer_shares(4)
    np.testing.assert_array_equal(shares, [[1, 0], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])
    drawn = Task(8).split("test", 4_000).y[:, :8]
    np.testing.assert_allclose(drawn.mean(0), [0, *[0.5] * 7], atol=0.04)


def test_an_unknown_supervision_is_refused():
    with pytest.raises(DeclarationError, match=r"^even_pairs: supervision: one of steps, last, but found 'dense'$"):
        Task(8, supervision="dense")
