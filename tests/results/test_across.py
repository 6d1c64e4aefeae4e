"""Models across datasets, on leaderboards whose answers are known."""

import itertools
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.report import across_datasets
from bench.results import across
from bench.results.leaderboard import COLUMNS, Status


def board(scores: dict[str, dict[str, float | None]], goal: str = "maximize", cheap: dict[str, float] | None = None):
    """Return a leaderboard with one length for each dataset; None is a model that was dropped."""
    rows = []
    for dataset, models in scores.items():
        shared = {"sweep": "s", "dataset": dataset, "length": 8, "metric": "accuracy", "goal": goal}
        for model, score in models.items():
            status = Status.DROPPED if score is None else Status.COMPLETE
            rank = None if score is None else 1
            seconds = {"lstm": 2.0, "gru": 1.0}.get(model)
            rows.append(shared | {"model": model, "score": score, "status": status, "rank": rank,
                                  "train_seconds": seconds})  # fmt: skip
        if cheap:
            rows.append(shared | {"model": "(ridge)", "score": cheap[dataset], "status": Status.BASELINE,
                                  "chosen_by_validation": True})  # fmt: skip
        rows.append(shared | {"model": "(constant answer)", "score": 0.0, "status": Status.BASELINE})
    return pd.DataFrame(rows, columns=COLUMNS)


EIGHT = {f"d{number}": {"lstm": 0.9 - 0.01 * number, "gru": 0.8, "mlp": 0.7} for number in range(8)}


def test_a_model_that_is_always_ahead_is_shown_to_be():
    results = across.results_of(board(EIGHT))
    best, second, third = across.standings(results)
    assert (best.model, best.rank, best.wins, best.gap) == ("lstm", 1.0, 1.0, 0.0)
    assert (second.model, second.rank, second.wins) == ("gru", 2.0, 0.5)
    assert (third.model, third.rank, third.wins) == ("mlp", 3.0, 0.0)
    assert second.gap == pytest.approx(sum((0.1 - 0.01 * n) / (0.9 - 0.01 * n) for n in range(8)) / 8)
    found = across.pairs(results)
    assert [(pair.better, pair.worse, pair.wins, pair.losses) for pair in found][0][2:] == (8, 0)
    # Eight of eight: p = 2 / 2^8 for one pair, three times as much for three.
    assert [pair.p for pair in found] == pytest.approx([3 / 128] * 3)
    assert across.friedman(results) == (pytest.approx(stats.chi2.sf(16, 2)), 3, 8)
    assert across.sentence(results).endswith("and is shown to be ahead of gru and mlp.")


def test_five_datasets_show_nothing():
    results = across.results_of(board({name: EIGHT[name] for name in list(EIGHT)[:5]}))
    assert all(math.isnan(pair.p) for pair in across.pairs(results))
    assert "no difference to another model is significant" in across.sentence(results)


def test_errors_are_better_when_smaller():
    results = across.results_of(board({"d": {"lstm": 0.3, "gru": 0.2}}, goal="minimize"))
    assert across.standings(results)[0].model == "gru"


def test_dropped_models_share_the_last_places_and_the_largest_gap():
    results = across.results_of(board({"d": {"lstm": 0.9, "gru": 0.6, "mlp": None, "rnn": None}}))
    places = dict(zip(results["model"], results["place"], strict=True))
    assert places == {"lstm": 1, "gru": 2, "mlp": 3.5, "rnn": 3.5}
    gaps = dict(zip(results["model"], results["gap"], strict=True))
    assert gaps["mlp"] == gaps["rnn"] == gaps["gru"] == pytest.approx(1 / 3)
    assert [row.num_dropped for row in across.standings(results)] == [0, 0, 1, 1]


def test_the_cheap_baseline_is_a_model_among_the_others():
    results = across.results_of(board({"d": {"lstm": 0.9, "gru": 0.8}}, cheap={"d": 0.95}))
    assert across.standings(results)[0].model == across.CHEAP


def test_lengths_and_sweeps_of_a_dataset_count_once():
    short, long = board({"d": {"lstm": 0.9, "gru": 0.8}}), board({"d": {"lstm": 0.5, "gru": 0.8}})
    long["length"] = 16
    results = across.results_of(pd.concat([short, long]))
    assert [(row.rank, row.num_datasets) for row in across.standings(results)] == [(1.5, 1), (1.5, 1)]
    again = short.assign(sweep="other")
    pd.testing.assert_frame_equal(across.results_of(pd.concat([short, again])), across.results_of(short))


def test_costs_are_ratios_and_disturbed_ones_are_left_out():
    made = board(EIGHT)
    costs = {row.model: row.costs["train_seconds"] for row in across.standings(across.results_of(made))}
    assert costs == {"lstm": pytest.approx(2.0), "gru": pytest.approx(1.0), "mlp": None}
    made["timing_disturbed"] = "training"
    assert all(row.costs["train_seconds"] is None for row in across.standings(across.results_of(made)))


def test_rows_with_a_rule_of_capacity_are_left_out():
    assert across.results_of(board(EIGHT).assign(match="parameters=70k")).empty


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_a_corrected_p_keeps_the_order_and_is_at_most_that_of_bonferroni(p_values):
    corrected = across.holm(p_values)
    assert all(p <= c <= min(1.0, len(p_values) * p) + 1e-12 for p, c in zip(p_values, corrected, strict=True))
    for i, j in itertools.combinations(range(len(p_values)), 2):
        if p_values[i] < p_values[j]:
            assert corrected[i] <= corrected[j]


def test_a_profile_is_the_share_of_datasets_within_a_gap():
    results = across.results_of(board({"a": {"lstm": 0.9, "gru": 0.45}, "b": {"lstm": 0.45, "gru": 0.9}}))
    assert across.profile(results, "lstm", [0.0, 0.4, 0.5, 1.0]) == [0.5, 0.5, 1.0, 1.0]


def test_the_page_says_what_the_datasets_say():
    kinds = {name: "forecasting" if name < "d4" else "classification of texts" for name in EIGHT}
    html = across_datasets.render({"one": board(EIGHT)}, kinds)
    assert "Lstm has the best average rank, 1.0 [1.0, 1.0], on 8 datasets" in html
    assert "forecasting: 4 datasets" in html
    assert "Fewer than six datasets" not in html
    assert html == across_datasets.render({"one": board(EIGHT)}, kinds)


def test_the_page_of_one_dataset_warns():
    html = across_datasets.render({"one": board({"d": {"lstm": 0.9, "gru": 0.8}})}, {"d": "forecasting"})
    assert across_datasets.FEW in html
