"""Parity: recounted bit by bit, asked on longer sequences than were trained on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config.contracts import Batch
from bench.errors import DeclarationError
from bench.tasks.parity import Task

quick = settings(max_examples=20, deadline=None)


@quick
@given(
    length=st.integers(2, 50),
    size=st.integers(1, 20),
    seed=st.integers(0, 999),
    part=st.sampled_from(["train", "val", "test"]),
)
def test_every_step_asks_for_the_parity_so_far(length, size, seed, part):
    task = Task(length)
    batch = task.train_batch(seed, 0, size) if part == "train" else task.split(part, size)
    for x, y, mask, steps in zip(batch.x, batch.y, batch.mask, batch.length, strict=True):
        ones = 0
        for t in range(steps):
            ones += x[t]
            assert y[t] == ones % 2
        assert mask.tolist() == [t < steps for t in range(len(x))]


@quick
@given(length=st.integers(2, 50), size=st.integers(1, 20), seed=st.integers(0, 999))
def test_last_asks_once(length, size, seed):
    batch = Task(length, supervision="last").train_batch(seed, 0, size)
    assert batch.x.shape == (size, length)
    assert batch.mask is None
    assert batch.y.tolist() == [sum(row) % 2 for row in batch.x.tolist()]


def test_trained_on_1_to_40_and_asked_on_41_to_256():
    task = Task(40)
    train = np.unique(task.train_batch(0, 0, 5_000).length)
    assert train.tolist() == list(range(1, 41))
    for name in ("val", "test"):
        assert np.unique(task.split(name, 5_000).length).tolist() == list(range(41, 257))


def test_dense_answers_may_not_look_ahead_and_the_last_one_may():
    assert Task(8).causal
    assert Task(8).per_step
    assert not Task(8, supervision="last").causal
    assert not Task(8, supervision="last").per_step


def test_every_sequence_weighs_the_same():
    # One step of one asked right, none of three asked: half, and not a quarter.
    mask = np.array([[True, False, False], [True, True, True]])
    batch = Batch(np.zeros((2, 3), int), np.array([1, 3]), np.array([[0, 0, 0], [1, 1, 1]]), mask)
    answers = np.eye(2)[np.zeros((2, 3), int)]
    assert Task(2).score(answers, batch) == {"accuracy": 0.5}


def test_padding_is_not_scored():
    task = Task(8)
    batch = task.split("test", 50)
    outputs = task.oracle(batch)
    outputs[~batch.mask] = np.nan
    assert task.score(outputs, batch) == {"accuracy": 1.0}


def test_all_bits_but_one_say_nothing():
    task = Task(8, supervision="last")
    batch = task.split("test", 4_000)
    guess = np.eye(2)[batch.x[:, :-1].sum(1) % 2]
    assert task.score(guess, batch)["accuracy"] == pytest.approx(0.5, abs=0.032)


@pytest.mark.parametrize(("length", "supervision"), [(1, "steps"), (8, "dense")])
def test_what_is_refused(length, supervision):
    with pytest.raises(DeclarationError, match=r"^parity: (length: at least 2|supervision: one of).*found"):
        Task(length, supervision=supervision)
