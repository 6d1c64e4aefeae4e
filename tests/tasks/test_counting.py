"""Counting: strings written out, and how far an answer counts without an error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.counting import Task

quick = settings(max_examples=40, deadline=None)


@quick
@given(most=st.integers(2, 20), num_symbols=st.sampled_from([2, 3]), size=st.integers(1, 20), seed=st.integers(0, 999))
def test_everything_after_the_first_b_is_asked_and_follows_from_the_count(most, num_symbols, size, seed):
    batch = Task(most * num_symbols, num_symbols=num_symbols).train_batch(seed, 0, size)
    for x, y, mask, steps in zip(batch.x.tolist(), batch.y.tolist(), batch.mask.tolist(), batch.length, strict=True):
        count = steps // num_symbols
        string = "".join(letter * count for letter in "abc"[:num_symbols])
        assert 1 <= count <= most
        assert "".join("abc"[symbol] for symbol in x[:steps]) == string
        following = string[1:] + "$"  # the end
        for t in range(len(x)):
            assert mask[t] == (t < steps and string[t] != "a")
            if mask[t]:
                assert ("bc"[: num_symbols - 1] + "$")[y[t]] == following[t]


def test_every_count_is_equally_frequent():
    length = Task(20).split("test", 5_000).length
    np.testing.assert_allclose(np.bincount(length // 2)[1:] / len(length), 0.1, atol=0.02)


def test_strings_of_a_test_length_reach_beyond_those_of_training():
    assert Task(80).of_length(500).length.max() == 80
    assert Task(20).train_batch(0, 0, 500).length.max() == 20


@pytest.mark.parametrize("num_symbols", [2, 3])
def test_scores_of_a_counter_that_stops_at_four(num_symbols):
    # It is right up to four, and answers b throughout in longer strings.
    task = Task(10 * num_symbols, num_symbols=num_symbols)
    batch = task.split("test", 400)
    outputs = task.oracle(batch)
    outputs[batch.length > 4 * num_symbols, :, :] = np.eye(num_symbols)[0]
    scores = task.score(outputs, batch)
    assert scores["sequence_accuracy"] == pytest.approx((batch.length <= 4 * num_symbols).mean())
    assert scores["counts_to"] == 4
    assert scores["sequence_accuracy"] < scores["accuracy"] < 1


def test_the_oracle_counts_to_the_end_and_a_constant_answer_not_at_all():
    task = Task(20)
    batch = task.split("test", 400)
    assert task.score(task.oracle(batch), batch) == {"sequence_accuracy": 1.0, "accuracy": 1.0, "counts_to": 10.0}
    assert task.score(np.broadcast_to([1.0, 0.0], (*batch.x.shape, 2)), batch)["counts_to"] == 0


def test_the_baselines_are_the_scores_of_answers():
    task = Task(30, num_symbols=3)
    test = task.split("test", 500)
    found = task.baselines(500)
    one = np.broadcast_to(np.eye(3)[[0, 1, 2, *([0] * 27)]], (500, 30, 3))  # abc: c follows b, and the end c
    assert found["one count"] == task.score(one, test)["sequence_accuracy"]
    short = np.where((test.length <= 8)[:, None, None], task.oracle(test), np.eye(3)[0])
    assert found["last 8 symbols"] == task.score(short, test)["sequence_accuracy"]


@pytest.mark.parametrize(("length", "num_symbols"), [(7, 2), (2, 2), (20, 3), (8, 4)])
def test_invalid_arguments_are_refused(length, num_symbols):
    with pytest.raises(
        DeclarationError, match=r"^counting: (num_symbols: must be 2 or 3|length: must be a multiple).*found"
    ):
        Task(length, num_symbols=num_symbols)
