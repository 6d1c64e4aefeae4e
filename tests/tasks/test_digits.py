"""Digits: pictures of scikit-learn, cut by writer, in an order that any batch number can be asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from bench.errors import DeclarationError
from bench.tasks.digits import Task
from tests.baselines.fitting import reached

quick = settings(max_examples=20, deadline=None)
TRAIN = 1197
ALL = 10_000
DATA = load_digits()


@pytest.mark.parametrize("length", [8, 64])
@pytest.mark.parametrize(("name", "start", "stop"), [("val", 1197, 1497), ("test", 1497, 1797)])
def test_splits_are_contiguous(length, name, start, stop):
    batch = Task(length).split(name, ALL)
    assert batch.x.shape == (300, length, 64 // length)
    np.testing.assert_array_equal(batch.x.reshape(300, 8, 8) * 16, DATA.images[start:stop])
    np.testing.assert_array_equal(batch.y, DATA.target[start:stop])
    assert batch.x.min() == 0
    assert batch.x.max() == 1


def test_a_size_thins_a_split_evenly():
    few, all_ = Task(8).split("val", 10), Task(8).split("val", ALL)
    assert len(few.x) == 10
    np.testing.assert_array_equal(few.x, all_.x[::30])


@quick
@given(size=st.integers(1, 3_000), number=st.integers(0, 50), seed=st.integers(0, 3), length=st.sampled_from([8, 64]))
def test_a_batch_is_a_cut_of_endless_passes_over_the_training_part(size, number, seed, length):
    batch = Task(length).train_batch(seed, number, size)
    assert len(batch.x) == size
    for i in {0, size // 2, size - 1}:  # picture by picture, through batches of one
        one = Task(length).train_batch(seed, number * size + i, 1)
        np.testing.assert_array_equal(batch.x[i], one.x[0])
        assert batch.y[i] == one.y[0]


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_pass_shows_every_training_picture_once(epoch):
    pictures = Task(64).train_batch(7, epoch, TRAIN).x.reshape(TRAIN, 64) * 16
    expected = DATA.data[:TRAIN]
    np.testing.assert_array_equal(np.unique(pictures, axis=0), np.unique(expected, axis=0))
    assert len(np.unique(expected, axis=0)) == TRAIN


def test_every_pass_and_seed_has_its_own_order():
    task = Task(64)
    first = task.train_batch(7, 0, TRAIN).y
    assert not np.array_equal(first, task.train_batch(7, 1, TRAIN).y)
    assert not np.array_equal(first, task.train_batch(8, 0, TRAIN).y)


def test_pixels_and_rows_are_the_same_pictures():
    pixels, rows = Task(64).train_batch(0, 3, 20), Task(8).train_batch(0, 3, 20)
    np.testing.assert_array_equal(pixels.x.reshape(20, 8, 8), rows.x)
    np.testing.assert_array_equal(pixels.y, rows.y)


def test_a_batch_is_a_copy():
    task = Task(8)
    task.split("test", 5).x[:] = -1
    assert task.split("test", 5).x.min() >= 0


def test_baselines():
    found = [reached("logistic_on_steps", Task(length)) for length in (8, 64)]
    assert found[0] == found[1]  # the same pixels
    assert 0.86 < found[0] < 0.94  # a random split, writers mixed, would give more
    assert reached("constant", Task(8)) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("length", [1, 16, 784])
def test_what_is_refused(length):
    with pytest.raises(DeclarationError, match=rf"^digits: length: 8 \(rows\) or 64 \(pixels\), but found {length}$"):
        Task(length)
