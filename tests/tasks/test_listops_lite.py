"""ListOps: expressions evaluated by recursion, and drawn as if those of other lengths had been rejected."""

import random
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.listops_lite import Task

quick = settings(max_examples=25, deadline=None)


def evaluated(tokens, start=0):
    """The value of the expression that begins at a place, the place after it, its arguments and its depth."""
    if tokens[start] < 10:
        return tokens[start], start + 1, [], 0
    values, place, depth = [], start + 1, 0
    while tokens[place] != 14:
        value, place, _, inner = evaluated(tokens, place)
        values.append(value)
        depth = max(depth, inner)
    value = {10: min, 11: max, 12: lambda v: int(statistics.median(v)), 13: lambda v: sum(v) % 10}[tokens[start]](
        values
    )
    return value, place + 1, values, depth + 1


def rejected(length, depth, rng):
    """The tokens of an expression, drawn as the authors draw them, until its length is allowed."""

    def draw(left):
        if left == 0 or rng.random() > 0.25:
            return [rng.randrange(10)]
        return operation(left)

    def operation(left):
        arguments = [draw(left - 1) for _ in range(rng.randint(2, 5))]
        return [rng.randrange(10, 14), *(token for tokens in arguments for token in tokens), 14]

    while not length // 2 < len(tokens := operation(depth)) <= length:
        pass
    return tokens


@quick
@given(length=st.integers(8, 70), size=st.integers(1, 8), seed=st.integers(0, 999), depth=st.sampled_from([None, 3]))
def test_expressions_are_well_formed_and_evaluated(length, size, seed, depth):
    if depth is not None and length > 40:
        depth = 4
    task = Task(length, depth=depth)
    batch = task.train_batch(seed, 0, size)
    for x, y, steps in zip(batch.x.tolist(), batch.y, batch.length, strict=True):
        assert length // 2 < steps <= length
        value, end, arguments, nested = evaluated(x)
        assert (value, end) == (y, steps)
        assert 2 <= len(arguments) <= 5
        assert 1 <= nested <= task.depth


def test_the_distribution_is_that_of_rejection():
    # Of 3,000 expressions each: the mean number of tokens, of operations and of arguments of the first, the mean depth
    # and the share of each value.
    def facts(expressions):
        rows = []
        for tokens in expressions:
            value, _, arguments, depth = evaluated(tokens)
            rows.append([len(tokens), sum(token == 14 for token in tokens), len(arguments), depth, *np.eye(10)[value]])
        return np.mean(rows, axis=0), np.std(rows, axis=0)

    batch = Task(24, depth=3).split("test", 3_000)
    drawn = [row[:steps] for row, steps in zip(batch.x.tolist(), batch.length, strict=True)]
    rng = random.Random(0)
    (mean, deviation), (expected, _) = facts(drawn), facts([rejected(24, 3, rng) for _ in range(3_000)])
    assert (abs(mean - expected) < 4 * deviation * (2 / 3_000) ** 0.5).all()


def test_the_greatest_depth_grows_with_the_length():
    assert [Task(length).depth for length in (16, 32, 64, 128, 256, 512, 1024)] == [4, 4, 6, 8, 10, 10, 10]


def test_the_longest_expressions_have_their_length():
    task = Task(1024)
    batch = task.train_batch(0, 0, 4)
    assert batch.length.min() > 512
    assert [evaluated(x)[0] for x in batch.x.tolist()] == batch.y.tolist()


def test_the_median_of_an_even_number_is_rounded_down():
    task = Task(8)
    batch = task.split("test", 1)._replace(x=np.array([[12, 1, 9, 4, 4, 14, 0, 0]]), length=np.array([6]))
    assert task.oracle(batch).argmax(-1).tolist() == [4]
    assert task.oracle(batch._replace(x=np.array([[12, 1, 9, 4, 5, 14, 0, 0]]))).argmax(-1).tolist() == [4]


def test_the_first_operator_knows_more_than_the_most_frequent_value():
    found = Task(32).baselines(1_000)
    assert Task(32).chance < 0.3
    assert found["first operator on its own digits"] > found["most frequent value"] + 0.05


@pytest.mark.parametrize(("length", "depth"), [(7, None), (32, 0), (64, 2)])
def test_invalid_arguments_are_refused(length, depth):
    with pytest.raises(
        DeclarationError, match=r"^listops_lite: (length: must be at least 8|depth: must be enough).*found"
    ):
        Task(length, depth=depth)
