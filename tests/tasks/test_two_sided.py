"""Two-sided sums: recounted step by step, with what the past and counts alone are worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.two_sided import Task

quick = settings(max_examples=40, deadline=None)


@quick
@given(
    length=st.integers(1, 20),
    variant=st.sampled_from(["two_sided", "one_sided", "delayed"]),
    size=st.integers(1, 20),
    seed=st.integers(0, 999),
)
def test_each_answer_is_the_sum_of_the_symbols_that_its_variant_names(length, variant, size, seed):
    batch = Task(length, variant=variant).train_batch(seed, 0, size)
    steps = 4 * length + 32
    assert batch.x.shape == (size, steps)
    for x, y, mask in zip(batch.x.tolist(), batch.y.tolist(), batch.mask.tolist(), strict=True):
        for t in range(steps):
            if variant == "delayed":
                assert mask[t] == (t >= 2 * length)
                answer = x[t - 2 * length] + x[t] if mask[t] else 0
            else:
                assert mask[t] == (length <= t < steps - length)
                later = x[t + length] if mask[t] and variant == "two_sided" else 0
                answer = x[t - length] + later if mask[t] else 0
            assert y[t] == answer


def test_given_the_past_five_sums_are_equally_likely():
    batch = Task(4).split("test", 2_000)
    earlier, now = batch.x[:, :-8].ravel(), batch.x[:, 4:-4].ravel()
    table = np.zeros((5, 5, 5))  # by the symbols k steps before and now, and what is added to the former
    np.add.at(table, (earlier, now, batch.y[:, 4:-4].ravel() - earlier), 1)
    np.testing.assert_allclose(table / table.sum(-1, keepdims=True), 0.2, atol=0.03)


def test_one_linear_map_of_what_each_direction_knows_is_enough():
    # Two directions are joined by a linear output layer: the scores of the classes are a sum of what each side says.
    task = Task(4)
    batch = task.split("test", 100)
    sum_BL = np.roll(batch.x, 4, axis=1) + np.roll(batch.x, -4, axis=1)
    classes = np.arange(9)
    scores = sum_BL[..., None] * classes - classes**2 / 2
    assert task.score(scores, batch) == {"accuracy": 1.0}


def test_of_one_side_the_past_is_enough():
    task = Task(4, variant="one_sided")
    test = task.split("test", 50)
    earlier = np.eye(5)[np.concatenate([test.x[:, -4:], test.x[:, :-4]], axis=1)]
    assert task.score(earlier, test) == {"accuracy": 1.0}
    assert "past alone" not in task.baselines(50)


@pytest.mark.parametrize("variant", ["two_sided", "one_sided", "delayed"])
def test_counts_are_worth_what_all_pairs_of_steps_say(variant):
    task = Task(1, variant=variant)
    batch = task.split("test", 20)
    for x, outputs in zip(batch.x, task.bag(batch), strict=True):
        if variant == "one_sided":
            votes = np.bincount(x, minlength=5)
        else:
            votes = np.bincount((x[:, None] + x)[~np.eye(len(x), dtype=bool)], minlength=9)
        np.testing.assert_array_equal(outputs, np.broadcast_to(votes, outputs.shape))


def test_what_is_near_the_edges_is_not_scored():
    task = Task(3)
    batch = task.split("test", 20)
    outputs = task.oracle(batch)
    outputs[:, :3] = outputs[:, -3:] = np.nan
    assert task.score(outputs, batch) == {"accuracy": 1.0}


@pytest.mark.parametrize(("length", "variant"), [(0, "two_sided"), (4, "both")])
def test_invalid_arguments_are_refused(length, variant):
    with pytest.raises(
        DeclarationError, match=r"^two_sided: (length: must be at least 1|variant: must be one of).*found"
    ):
        Task(length, variant=variant)
