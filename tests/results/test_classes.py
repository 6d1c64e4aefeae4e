"""Counts by class, and the interval of a score from the sampling of its examples."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from bench.config.contracts import Batch
from bench.results import sampling
from bench.results.classes import ClassCounts, class_names
from bench.results.sampling import LeftOut
from bench.tasks._sequences import class_scores

NAMES = ["a", "b", "c", "d"]
RNG = np.random.default_rng(0)
Y = RNG.choice(4, size=300, p=[0.5, 0.3, 0.15, 0.05])
ANSWERS = np.where(RNG.random(300) < 0.6, Y, RNG.integers(0, 3, 300))  # d is never guessed, only known


def test_scores_by_class_equal_those_of_scikit_learn():
    counts = ClassCounts.of(ANSWERS, Y, NAMES)
    expected = metrics.precision_recall_fscore_support(Y, ANSWERS, labels=range(4))
    for found, wanted in zip((counts.precision, counts.recall, counts.f1, counts.support), expected, strict=True):
        assert found == pytest.approx(wanted)
    assert counts.matrix().tolist() == metrics.confusion_matrix(Y, ANSWERS).tolist()
    scores = class_scores(ANSWERS, Y, 4)
    assert scores["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(Y, ANSWERS))
    assert scores["macro_f1"] == pytest.approx(metrics.f1_score(Y, ANSWERS, average="macro"))


def test_a_class_that_occurs_and_is_never_answered_is_named():
    answers = np.where(Y == 3, 0, Y)
    counts = ClassCounts.of(answers, Y, [*NAMES, "absent"])
    assert counts.never_predicted == ["d"]
    assert counts.precision[3] is None
    assert counts.recall[3] == 0
    assert counts.f1[4] is None
    assert counts.confused == [(3, 0, int((Y == 3).sum()))]


def test_counts_of_several_seeds_are_summed():
    both = ClassCounts.sum([ClassCounts.of(ANSWERS, Y, NAMES), ClassCounts.of(np.where(Y == 3, 0, Y), Y, NAMES)])
    assert sum(both.support) == 600
    assert (
        both.matrix().tolist()
        == (metrics.confusion_matrix(Y, ANSWERS) + metrics.confusion_matrix(Y, np.where(Y == 3, 0, Y))).tolist()
    )


def test_of_many_classes_only_the_most_frequent_confusions_are_kept():
    y = np.repeat(np.arange(60), 60)
    answers = np.where(y == 1, 0, np.tile(np.arange(60), 60))
    counts = ClassCounts.of(answers, y, [str(number) for number in range(60)])
    assert (len(counts.confused), counts.confused[0]) == (400, (1, 0, 60))
    assert counts.matrix() is None


def test_drawn_tasks_and_numbers_have_no_classes():
    for loss, keep, kind in (("mse", "outputs", "series"), ("cross_entropy", "nll", "language")):
        assert class_names(SimpleNamespace(loss=loss, keep=keep, kind=kind, output_size=3)) is None
    assert class_names(SimpleNamespace(loss="cross_entropy", keep="outputs", kind="synthetic", output_size=3)) is None


def left_out(values: np.ndarray, kind: str = "series", metric: str = "mse") -> LeftOut:
    """What is left of the mean of `values`, one an example, without groups of them."""
    task = SimpleNamespace(kind=kind, metric=metric, per_step=False)
    batch = Batch(values, np.ones(len(values), int), values)
    return LeftOut.of(task, values, batch, lambda outputs, rest: {metric: float(outputs.mean())})


def test_the_interval_of_a_mean_is_near_that_of_student():
    values = RNG.normal(size=2_000)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert sampling.half_width([left_out(values)]) == pytest.approx((high - low) / 2, rel=0.4)


def test_neighbouring_windows_of_a_series_count_for_less_than_independent_ones():
    walk = np.repeat(RNG.normal(size=40), 50)  # 40 levels that last for 50 windows each
    independent, of_series = (sampling.half_width([left_out(walk, kind)]) for kind in ("series", "forecasting"))
    assert of_series > 3 * independent


def test_the_difference_of_two_models_on_the_same_examples_is_surer_than_either_score():
    hard = RNG.normal(size=500) * 5
    a, b = left_out(hard), left_out(hard + 0.1 + RNG.normal(size=500) / 10)
    assert sampling.difference_half_width([a], [b]) < 0.1 * sampling.half_width([a])


def test_a_perfect_accuracy_on_few_examples_has_an_interval():
    perfect = left_out(np.ones(20), metric="accuracy")
    assert sampling.interval(1.0, [perfect], 0, 1) == pytest.approx((0.839, 1.0), abs=1e-3)


def test_an_interval_is_clipped_to_what_is_possible_and_unknown_for_few_examples():
    values = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 3.0])
    low, high = sampling.interval(0.5, [left_out(values)], 0.0, np.inf)
    assert low == 0
    assert high > 0.5
    assert left_out(np.ones(4)) is None
    assert np.isnan(sampling.interval(0.5, [], 0.0, 1.0)).all()
