"""Reber grammar: strings that a parser accepts, parts without a common string, and the criterion of 1997."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.reber import Task

quick = settings(max_examples=20, deadline=None)

# The same language as the automaton of the task, as a regular expression: state 3 follows after T S* X X, or after P.
THREE = "T*V(PXT*V)*(PS|V)"
STRING = f"B(TS*X(S|X{THREE})|P{THREE})E"


def strings(batch):
    rows = zip(batch.x.tolist(), batch.y.tolist(), batch.length.tolist(), strict=True)
    return ["".join("BTPSXVE"[symbol] for symbol in [*x[:steps], y[steps - 1]]) for x, y, steps in rows]


@quick
@given(
    length=st.integers(1, 6),
    size=st.integers(1, 20),
    seed=st.integers(0, 999),
    part=st.sampled_from(["train", "val", "test"]),
)
def test_sequences_embed_strings_of_the_grammar(length, size, seed, part):
    task = Task(length)
    batch = task.train_batch(seed, 0, size) if part == "train" else task.split(part, size)
    assert len(batch.x) == size
    for sequence in strings(batch):
        assert re.fullmatch(f"B([TP])({STRING}){{{length}}}\\1E", sequence)
    after = np.roll(batch.x, -1, axis=1)
    inner = batch.mask & (np.arange(batch.x.shape[1]) < batch.length[:, None] - 1)
    assert (batch.y == after)[inner].all()


def test_no_string_of_validation_or_test_occurs_in_training_with_either_letter_around_it():
    task = Task(1)
    inside = [
        {sequence[2:-2] for sequence in strings(batch)}
        for batch in (task.train_batch(0, 0, 2_000), task.split("val", 500), task.split("test", 500))
    ]
    assert min(map(len, inside)) >= 15
    assert not inside[0] & inside[1]
    assert not inside[0] & inside[2]
    assert not inside[1] & inside[2]


def test_the_letter_to_recall_is_even_odds_in_every_part():
    task = Task(1)
    for batch in (task.train_batch(0, 0, 4_000), task.split("val", 4_000), task.split("test", 4_000)):
        assert (batch.x[:, 1] == 1).mean() == pytest.approx(0.5, abs=0.032)  # four standard errors


def test_the_shortest_lag_is_that_of_the_paper():
    # Its shortest strings have 9 symbols, of which the last is not shown.
    lengths = Task(1).train_batch(0, 0, 2_000).length
    assert lengths.min() in (8, 9)  # the shortest string inside may belong to validation or test
    assert min(batch.length.min() for batch in (Task(1).split("val", 500), Task(1).split("test", 500))) >= 8


def test_a_sequence_is_legal_only_if_every_possible_symbol_outranks_every_other():
    task = Task(2)
    batch = task.split("test", 50)
    outputs = task.oracle(batch)
    assert task.score(outputs, batch) == {"accuracy": 1.0, "legal": 1.0}
    assert task.score(task.legal(batch) * 1.0, batch) == {"accuracy": 1.0, "legal": 1.0}
    outputs[0, 0, 2] = 0  # after B, T or P may follow: now P does not outrank the others
    outputs[1, -1] = np.nan  # padding does not count, unless the longest sequence is in the second row
    outputs[1, batch.length[1] - 2] = np.eye(7)[6]  # E instead of the letter to recall
    assert task.score(outputs, batch) == {"accuracy": 0.98, "legal": 0.96}


def test_one_of_the_next_symbols_is_right_but_the_set_is_not_legal():
    task = Task(1)
    batch = task.split("test", 50)
    scores = task.score(np.eye(7)[batch.y], batch)
    assert scores["accuracy"] == 1.0
    assert scores["legal"] == 0.0


def test_a_length_below_one_is_refused():
    with pytest.raises(DeclarationError, match="^reber: length: must be at least 1 string inside, but found 0"):
        Task(0)
