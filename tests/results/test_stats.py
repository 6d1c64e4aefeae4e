"""Intervals and tests for few seeds, against published and exact values."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.results import stats


@pytest.mark.parametrize(("n", "lower"), [(5, 0.4782), (8, 0.6306), (10, 0.6915), (20, 0.8316), (29, 0.8806)])
def test_all_of_n_solved_leaves_this_much_doubt(n, lower):
    low, high = stats.clopper_pearson(n, n)
    assert low == pytest.approx(lower, abs=5e-5)
    assert low == pytest.approx(0.025 ** (1 / n))
    assert high == 1


def test_the_interval_of_a_proportion_is_symmetric():
    low, high = stats.clopper_pearson(1, 5)
    assert stats.clopper_pearson(4, 5) == pytest.approx((1 - high, 1 - low))
    assert stats.clopper_pearson(0, 5) == pytest.approx((0, 0.5218), abs=5e-5)


@pytest.mark.parametrize(
    ("a", "b", "n", "more"),
    [
        *[(3, 0, 3, True), (3, 1, 3, False), (2, 0, 3, False), (0, 3, 3, False)],
        *[(4, 0, 5, True), (5, 1, 5, True), (4, 1, 5, False), (5, 2, 5, False)],  # p of .024, .024, .10 and .08
        *[(7, 1, 8, True), (7, 2, 8, True), (9, 2, 10, True)],  # .005, .020, .0027
    ],
)
def test_the_differences_that_n_seeds_can_show(a, b, n, more):
    # By hand: 3 of 3 against 0 of 3 is 1 / C(6, 3) = .05; 5 of 5 against 1 of 5 is (5 + 1) / C(10, 5) = .024.
    assert stats.solves_more([i < a for i in range(n)], [i < b for i in range(n)]) is more


def test_the_golden_curves_of_expected_performance():
    scores = [0.7, 0.5, 0.8, 0.6]
    assert stats.expected_performance(scores) == pytest.approx([0.65, 0.7333333, 0.775, 0.8])
    plug_in = [stats.plug_in_performance(scores, n) for n in (1, 2, 3, 4)]
    assert plug_in == pytest.approx([0.65, 0.7125, 0.74375, 0.76171875])


few_scores = st.lists(st.floats(-10, 10), min_size=1, max_size=8)


@given(scores=few_scores)
def test_the_unbiased_curve_is_the_mean_of_the_best_of_every_choice(scores):
    for n, expected in enumerate(stats.expected_performance(scores), 1):
        assert expected == pytest.approx(np.mean([max(drawn) for drawn in combinations(scores, n)]), abs=1e-9)


@given(scores=few_scores)
def test_the_plug_in_curve_is_the_mean_of_the_best_of_every_draw(scores):
    for n in range(1, min(4, len(scores)) + 1):
        expected = stats.plug_in_performance(scores, n)
        assert expected == pytest.approx(np.mean([max(drawn) for drawn in product(scores, repeat=n)]), abs=1e-9)


@given(scores=st.lists(st.floats(-10, 10), min_size=1, max_size=300))
def test_a_curve_climbs_from_the_mean_to_the_best(scores):
    curve = stats.expected_performance(scores)
    assert (curve[0], curve[-1]) == (pytest.approx(np.mean(scores), abs=1e-9), pytest.approx(max(scores), abs=1e-9))
    assert (np.diff(curve) >= -1e-9).all()


def test_thousands_of_trials_have_a_curve():
    scores = np.random.default_rng(0).random(2_000)
    curve = stats.expected_performance(scores)
    assert np.isfinite(curve).all()
    assert (np.diff(curve) >= -1e-12).all()
    assert curve[999] < stats.plug_in_performance(scores, 2_000) < curve[-1] == pytest.approx(max(scores))


@given(points=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_the_volume_of_a_front_is_the_area_below_its_steps(points):
    best, area = 1.0, 0.0
    for x, y in sorted(points):
        area += max(0.0, best - y) * (1 - x)
        best = min(best, y)
    assert stats.hypervolume(points, (1, 1)) == pytest.approx(area, abs=1e-9)


def test_one_seed_tells_nothing():
    assert not stats.solves_more([True], [False])
    assert all(math.isnan(end) for end in stats.mean_interval([0.5]))


def test_equal_scores_leave_no_doubt():
    assert stats.mean_interval([0.7, 0.7, 0.7]) == (0.7, 0.7)
    low, high = stats.mean_interval([0.7, 0.7, 0.7 + 1e-16])  # without a warning about precision
    assert (low, high) == pytest.approx((0.7, 0.7))


def test_the_interval_of_few_scores_is_students():
    # Mean 3, sd sqrt(2.5), t(.975, 4) = 2.776: 3 -+ 2.776 * sqrt(2.5 / 5).
    assert stats.mean_interval([1, 2, 3, 4, 5]) == pytest.approx((1.0367, 4.9633), abs=1e-4)


@pytest.mark.parametrize("n", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_nineteen_of_twenty_intervals_hold_the_mean(n):
    draws = np.random.default_rng(0).normal(size=(1_000, n))
    intervals = [stats.mean_interval(scores) for scores in draws]
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    assert covered == pytest.approx(0.95 if n < 20 else 0.93, abs=0.02)


def test_many_scores_give_the_same_interval_each_time():
    scores = np.random.default_rng(1).exponential(size=30)
    low, high = stats.mean_interval(scores)
    assert (low, high) == stats.mean_interval(scores)
    assert low < scores.mean() < high


def test_scores_are_compared_in_pairs():
    # Far apart from seed to seed, and yet one is better on each.
    a, b = [0.1, 0.5, 0.9], [0.05, 0.44, 0.86]
    assert stats.scores_higher(a, b)
    assert not stats.scores_higher(a, [0.44, 0.05, 0.86])
    assert not stats.scores_higher(b, a)
    assert not stats.scores_higher(a, a)


def test_tied_models_share_a_rank():
    # The first is better than the third only; the second is tied with both.
    assert stats.ranks([[False, False, True], [False, False, False], [False, False, False]]) == [1, 1, 2]
    assert stats.ranks([[False, True, True], [False, False, True], [False, False, False]]) == [1, 2, 3]
    assert stats.ranks([]) == []


def test_an_interval_ends_where_the_metric_does():
    low, high = stats.mean_interval([0.9, 0.99])
    assert low < 0.99 < 1 < high
    assert stats.score_interval([0.9, 0.99], "accuracy") == (low, 1.0)
    assert stats.score_interval([0.01, 0.2], "mse")[0] == 0
    assert all(math.isnan(end) for end in stats.score_interval([0.5], "accuracy"))
    assert all(math.isnan(end) for end in stats.score_interval([], "mse"))
