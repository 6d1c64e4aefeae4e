"""Cycle navigation: walks recounted move by move, asked on longer ones than were trained on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.cycle_navigation import Task

quick = settings(max_examples=20, deadline=None)


@quick
@given(
    length=st.integers(2, 50),
    size=st.integers(1, 20),
    seed=st.integers(0, 999),
    part=st.sampled_from(["train", "val", "test"]),
)
def test_every_step_asks_for_the_place(length, size, seed, part):
    task = Task(length)
    batch = task.train_batch(seed, 0, size) if part == "train" else task.split(part, size)
    for x, y, steps in zip(batch.x.tolist(), batch.y.tolist(), batch.length.tolist(), strict=True):
        place = 0
        for t in range(steps):
            place += {0: 0, 1: 1, 2: -1}[x[t]]
            assert y[t] == place % 5


def test_walks_of_the_paper():
    # Its examples: 1 -1 0 -1 -1 leads to place 3, and 1 1 1 -1 to place 2.
    task = Task(5)
    assert task.answers(np.array([[1, 2, 0, 2, 2]]))[0, -1] == 3
    assert task.answers(np.array([[1, 1, 1, 2]]))[0, -1] == 2


@pytest.mark.parametrize("supervision", ["steps", "last"])
def test_the_chance_level_counts_how_often_a_walk_is_at_its_commonest_place(supervision):
    task = Task(4, supervision=supervision)
    batch = task.split("test", 40_000)
    constant = np.broadcast_to(np.eye(5)[0], (*batch.y.shape, 5))
    assert task.score(constant, batch)["accuracy"] == pytest.approx(task.chance, abs=0.009)  # four standard errors
    assert 0.2 < task.chance < 0.3


def test_trained_on_1_to_10_and_asked_on_11_to_64():
    task = Task(10)
    assert np.unique(task.train_batch(0, 0, 1_000).length).tolist() == list(range(1, 11))
    assert np.unique(task.split("val", 3_000).length).tolist() == list(range(11, 65))


@pytest.mark.parametrize(("length", "supervision"), [(1, "steps"), (8, "dense")])
def test_invalid_arguments_are_refused(length, supervision):
    with pytest.raises(DeclarationError, match=r"^cycle_navigation: (length: at least 2|supervision: one of).*found"):
        Task(length, supervision=supervision)
