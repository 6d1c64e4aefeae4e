"""What stored tasks inherit: batches of the training part, and of train and val together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.config.contracts import Batch, StoredTask, joined


class Numbered(StoredTask):
    """Its examples are their own numbers: those of val follow those of train."""

    def __init__(self, train: int, val: int) -> None:
        self.counts = {"train": train, "val": val, "test": 1}

    def take(self, part: str, places: np.ndarray) -> Batch:
        numbers = places + (self.counts["train"] if part == "val" else 0)
        return Batch(numbers[:, None], np.ones(len(numbers), dtype=np.int64), numbers)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 15), st.integers(0, 1000))
def test_a_pass_of_a_refit_shows_every_example_of_train_and_val_once(train, val, size, seed):
    task = Numbered(train, val)
    count = train + val
    batches = [task.refit_batch(seed, number, size) for number in range(count)]  # `size` passes
    assert all(len(batch.y) == size for batch in batches)
    numbers, times = np.unique(np.concatenate([batch.y for batch in batches]), return_counts=True)
    assert numbers.tolist() == list(range(count))
    assert (times == size).all()


def test_joined_batches_are_padded_to_the_longest_sequence():
    short = Batch(np.ones((1, 2, 3)), np.array([2]), np.array([[1, 2]]), np.array([[True, True]]))
    long = Batch(np.ones((1, 4, 3)), np.array([4]), np.array([[1, 2, 3, 4]]), np.array([[True] * 4]))
    both = joined([short, long])
    assert both.x.shape == (2, 4, 3)
    assert both.x[0, 2:].sum() == 0
    assert both.y.tolist() == [[1, 2, 0, 0], [1, 2, 3, 4]]
    assert both.mask.tolist() == [[True, True, False, False], [True] * 4]


def test_joined_targets_of_whole_sequences_are_not_padded():
    short, long = (Batch(np.ones((1, steps)), np.array([steps]), np.array([[0.5, 0.7]])) for steps in (2, 4))
    assert joined([short, long]).y.shape == (2, 2)
    assert joined([short, long]).mask is None
