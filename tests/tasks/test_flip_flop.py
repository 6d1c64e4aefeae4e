"""Flip-flop: reads repeat the bit that was written last, whatever stands between."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.flip_flop import Task

quick = settings(max_examples=20, deadline=None)


@quick
@given(
    pairs=st.integers(2, 40), size=st.integers(1, 20), seed=st.integers(0, 999), ignore=st.sampled_from([0, 0.1, 0.8])
)
def test_a_read_asks_for_the_bit_written_last(pairs, size, seed, ignore):
    batch = Task(2 * pairs, ignore=ignore).train_batch(seed, 0, size)
    assert batch.x.shape == (size, 2 * pairs - 1)
    for x, y, mask in zip(batch.x.tolist(), batch.y.tolist(), batch.mask.tolist(), strict=True):
        assert (x[0], x[-1]) == (3, 4)
        memory = None
        for t in range(0, len(x), 2):
            assert x[t] in (2, 3, 4)
            assert mask[t] == (x[t] == 4)
            if x[t] == 3:
                memory = x[t + 1]
            elif x[t] == 4:
                assert y[t] == memory
                assert x[t + 1 : t + 2] in ([memory], [])  # the bit follows, but for the last
        assert not any(mask[1::2])


def test_instructions_have_the_frequencies_of_the_paper():
    codes = Task(512).train_batch(0, 0, 500).x[:, 2:-1:2]
    np.testing.assert_allclose(np.bincount(codes.ravel())[2:] / codes.size, [0.8, 0.1, 0.1], atol=0.005)


@pytest.mark.parametrize("test_ignore", [0.98, 0.1])
def test_validation_test_and_test_lengths_may_be_sparser_or_denser_than_training(test_ignore):
    task = Task(512, test_ignore=test_ignore)
    train, *others = task.train_batch(0, 0, 200), task.split("val", 200), task.split("test", 200), task.of_length(200)
    assert (train.x[:, 2:-1:2] == 2).mean() == pytest.approx(0.8, abs=0.01)
    for batch in others:
        assert (batch.x[:, 2:-1:2] == 2).mean() == pytest.approx(test_ignore, abs=0.01)


def test_without_a_share_for_tests_nothing_has_changed_in_the_data():
    # A fingerprint of the sequences that earlier results were measured on.
    test = Task(64).split("test", 100)
    assert Task(64).arguments == {"ignore": 0.8}
    assert (int(test.x.sum()), int(test.mask.sum())) == (9_092, 403)


def test_ignored_bits_say_nothing():
    # The bit before a read is the one in memory only if it was written or read; otherwise it agrees by chance.
    found = Task(512).baselines(500)["previous bit"]
    assert found == pytest.approx(0.8 * 0.5 + 0.2, abs=0.01)


@pytest.mark.parametrize(
    ("length", "ignore", "test_ignore"), [(2, 0.8, None), (9, 0.8, None), (8, 1.0, 0.5), (8, 0, 1)]
)
def test_invalid_arguments_are_refused(length, ignore, test_ignore):
    rule = r"^flip_flop: (length: must be even|(test_)?ignore: must be at least 0).*found"
    with pytest.raises(DeclarationError, match=rule):
        Task(length, ignore=ignore, test_ignore=test_ignore)
