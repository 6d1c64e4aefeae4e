"""Modular arithmetic: formulas evaluated by Python, with the precedence of products."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.mod_arithmetic import Task

quick = settings(max_examples=20, deadline=None)


def value(symbols):
    formula = "".join("01234+-*"[symbol] for symbol in symbols)
    return eval(formula.rstrip("+-*")) % 5


@quick
@given(
    length=st.integers(2, 12), size=st.integers(1, 10), seed=st.integers(0, 999), part=st.sampled_from(["train", "val"])
)
def test_every_step_asks_for_the_value_so_far(length, size, seed, part):
    task = Task(length)
    batch = task.train_batch(seed, 0, size) if part == "train" else task.split(part, size)
    for x, y, steps in zip(batch.x.tolist(), batch.y.tolist(), batch.length.tolist(), strict=True):
        for t in range(steps):
            assert (x[t] < 5) == (t % 2 == 0)
            assert y[t] == value(x[: t + 1])


@pytest.mark.parametrize(
    ("formula", "expected"), [("1+2*3", 2), ("1-1-1", 4), ("0*1+4*3-2", 0)], ids=["product", "differences", "all"]
)
def test_formulas_of_the_authors(formula, expected):
    symbols = ["01234+-*".index(symbol) for symbol in formula]
    assert Task(9).answers(np.array([symbols]))[0, -1] == expected


@pytest.mark.parametrize("supervision", ["steps", "last"])
def test_the_chance_level_counts_that_products_are_often_zero(supervision):
    task = Task(5, supervision=supervision)
    batch = task.split("test", 40_000)
    constant = np.broadcast_to(np.eye(5)[0], (*batch.y.shape, 5))
    assert task.score(constant, batch)["accuracy"] == pytest.approx(task.chance, abs=0.009)  # four standard errors
    assert 0.2 < task.chance < 0.3


@pytest.mark.parametrize(("length", "supervision"), [(1, "steps"), (8, "dense")])
def test_invalid_arguments_are_refused(length, supervision):
    with pytest.raises(DeclarationError, match=r"^mod_arithmetic: (length: at least 2|supervision: one of).*found"):
        Task(length, supervision=supervision)
