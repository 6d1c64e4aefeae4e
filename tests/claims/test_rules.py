"""The rules that decide claims, on numbers whose answers are known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.claims import rules
from bench.claims.rules import Differences, Rate, Rates, Verdict

SUPPORTED, REFUTED, UNDECIDED = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.UNDECIDED
EFFECTS = st.lists(st.floats(-2, 2), min_size=3, max_size=12)
VERDICTS = st.lists(st.sampled_from(list(Verdict)), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("values", "margin", "verdict"),
    [
        ((0.30, 0.32, 0.28, 0.31, 0.29), 0.05, SUPPORTED),
        ((0.010, 0.012, 0.008, 0.011, 0.009), 0.05, REFUTED),  # real but negligible
        ((-0.30, -0.32, -0.28, -0.31, -0.29), 0.05, REFUTED),
        ((0.9, -0.5, 0.6, -0.2, 0.4), 0.05, UNDECIDED),
        ((0.30, 0.32), 0.05, UNDECIDED),  # two seeds
        ((), 0.05, UNDECIDED),
    ],
)
def test_superiority_needs_an_interval_above_zero_and_an_effect_that_matters(values, margin, verdict):
    decision = rules.decide("superiority", margin, Differences(values))
    assert decision.verdict is verdict
    if values == (0.010, 0.012, 0.008, 0.011, 0.009):
        assert decision.reason == "real but negligible"


def test_the_interval_is_students_t():
    decision = rules.decide("superiority", 0.05, Differences((0.1, 0.2, 0.3, 0.4, 0.5)))
    assert (decision.value, decision.low, decision.high) == pytest.approx((0.3, 0.10368, 0.49632), abs=1e-4)
    assert decision.p == pytest.approx(0.01324, abs=1e-4)  # scipy.stats.ttest_1samp, two-sided


def test_an_undecided_effect_says_how_many_seeds_would_decide():
    decision = rules.decide("superiority", 0.5, Differences((1.5, -0.5, 1.5, -0.5, 0.5)))
    assert decision.verdict is UNDECIDED
    assert decision.reason == "about 32 seeds would decide"  # 7.85 * (1 / 0.5) ** 2


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.01, -0.01, 0.005, -0.005, 0.0), SUPPORTED),
        ((0.2, 0.21, 0.19, 0.2, 0.2), REFUTED),
        ((0.2, -0.2, 0.1, -0.1, 0.05), UNDECIDED),
        ((0.0, 0.0, 0.0, 0.0, 0.0), SUPPORTED),
    ],
)
def test_equivalence_needs_the_interval_within_the_margins(values, verdict):
    assert rules.decide("equivalence", 0.05, Differences(values)).verdict is verdict


@pytest.mark.parametrize(("rule", "verdict"), [("exceeds", SUPPORTED), ("below", REFUTED)])
def test_a_bound_is_exceeded_by_the_whole_interval(rule, verdict):
    assert rules.decide(rule, 1.0, Differences((1.5, 1.6, 1.4))).verdict is verdict
    assert rules.decide(rule, 1.5, Differences((1.5, 1.6, 1.4))).verdict is UNDECIDED


def test_a_counted_ratio_needs_no_seeds():
    decision = rules.decide("exceeds", math.log(1.3), Differences((math.log(4 / 3),), is_exact=True))
    assert decision.verdict is SUPPORTED
    assert decision.low == decision.high == pytest.approx(math.log(4 / 3))


def test_a_bound_of_an_effect_decides_in_its_own_direction_alone():
    large, small = (3.0, 3.1, 2.9), (0.1, 0.11, 0.09)
    assert rules.decide("superiority", 1.0, Differences(large, is_least=True)).verdict is SUPPORTED
    assert rules.decide("superiority", 1.0, Differences(large, is_most=True)).verdict is UNDECIDED
    assert rules.decide("superiority", 1.0, Differences(small, is_least=True)).verdict is UNDECIDED
    assert rules.decide("superiority", 1.0, Differences(small, is_most=True)).verdict is REFUTED
    assert rules.decide("equivalence", 1.0, Differences(small, is_least=True)).verdict is UNDECIDED


def test_a_ladder_of_lengths_widens_the_interval_of_equal_horizons():
    decision = rules.decide("superiority", 1.0, Differences((2.0, 2.0, 2.0), resolution=1.0))
    assert decision.low < 2.0 < decision.high
    assert decision.verdict is SUPPORTED


@pytest.mark.parametrize(
    ("counts", "verdict", "p"),
    [
        ((5, 5, 0, 5), SUPPORTED, 0.00397),
        ((5, 5, 1, 5), SUPPORTED, 0.02381),
        ((4, 5, 1, 5), UNDECIDED, 0.10317),
        ((5, 5, 5, 5), REFUTED, 1.0),
        ((8, 8, 1, 8), SUPPORTED, 0.00070),
        ((9, 10, 2, 10), SUPPORTED, 0.00274),
    ],
)
def test_shares_of_seeds_are_compared_by_fisher(counts, verdict, p):
    decision = rules.decide("solves", 0.5, Rates(*counts))
    assert decision.p == pytest.approx(p, abs=2e-5)
    assert decision.verdict is verdict


def test_newcombes_interval_is_that_of_his_table():
    # Newcombe 1998, table II, method 10: 56/70 and 48/80.
    assert rules.newcombe(56, 70, 48, 80) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


@pytest.mark.parametrize(
    ("solved", "seeds", "verdict"), [(0, 6, SUPPORTED), (6, 6, REFUTED), (3, 6, UNDECIDED), (0, 5, UNDECIDED)]
)
def test_a_share_of_seeds_is_below_a_half_by_its_exact_interval(solved, seeds, verdict):
    assert rules.decide("below", 0.5, Rate(solved, seeds)).verdict is verdict


@given(EFFECTS, st.floats(0.01, 1))
def test_the_opposite_effects_are_never_both_supported(values, margin):
    ahead = rules.decide("superiority", margin, Differences(tuple(values))).verdict
    behind = rules.decide("superiority", margin, Differences(tuple(-value for value in values))).verdict
    assert not (ahead is SUPPORTED and behind is SUPPORTED)


@given(EFFECTS, st.floats(0.01, 1))
def test_an_effect_that_matters_is_not_equivalence(values, margin):
    if rules.decide("equivalence", margin, Differences(tuple(values))).verdict is SUPPORTED:
        assert rules.decide("superiority", margin, Differences(tuple(values))).verdict is not SUPPORTED


@given(st.integers(3, 12), st.integers(3, 12), st.data())
def test_newcombes_interval_holds_the_difference(n, m, data):
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    value, low, high = rules.newcombe(a, n, b, m)
    assert -1 - 1e-9 <= low - 1e-12 <= value <= high + 1e-12 <= 1 + 1e-9


@given(VERDICTS, st.data())
def test_a_quorum_is_never_both_reached_and_out_of_reach(verdicts, data):
    needed = data.draw(st.integers(1, len(verdicts)))
    found = rules.quorum(verdicts, needed)
    assert (found is SUPPORTED) == (verdicts.count(SUPPORTED) >= needed)
    assert (found is REFUTED) == (len(verdicts) - verdicts.count(REFUTED) < needed)


@given(VERDICTS)
def test_one_refuted_part_refutes_all_and_one_undecided_part_leaves_it_open(verdicts):
    found = rules.conjunction(verdicts)
    assert (found is REFUTED) == (REFUTED in verdicts)
    assert (found is SUPPORTED) == (set(verdicts) == {SUPPORTED})
