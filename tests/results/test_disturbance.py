"""Times that other processes disturbed are shown with a mark, and nothing is decided by them."""

import pandas as pd
import pytest

from bench.config.settings import Limits
from bench.report import evidence
from bench.results import disturbance
from bench.results.record import FittedBaseline, RunRecord, Seconds
from bench.results.selection import best_trials, is_feasible, losses, objective
from tests.makers import record


def trial(number: int = 0, *, score: float = 0.5, busy: bool | None = None, ms: float = 1.0, **changes) -> RunRecord:
    facts = {"inference_milliseconds": ms, "inference_disturbed": busy, "val": {"accuracy": score}}
    facts |= {name: changes.pop(name) for name in ("seconds", "cpu_seconds") if name in changes}
    config = {"run": f"latch/L8/lstm/t{number}", "number": number} | changes
    return record(config, {"solved": None}, parameters={"encoder": 1}, **facts)


@pytest.mark.parametrize(
    ("seconds", "cpu", "changes", "disturbed"),
    [
        (Seconds(total=10.0), 9.5, {}, False),
        (Seconds(total=10.0), 7.5, {}, True),
        (Seconds(total=10.0, waiting=1.0, logging=1.0, crashed=1.0), 6.8, {}, False),  # these need no processor
        (Seconds(total=10.0), None, {}, False),  # not known
        (Seconds(total=10.0), 1.0, {"threads": 2}, False),
        (Seconds(total=10.0), 1.0, {"device": "cuda"}, False),
    ],
)
def test_a_run_that_had_the_processor_for_less_than_four_fifths_of_its_time_is_disturbed(
    seconds, cpu, changes, disturbed
):
    assert disturbance.is_run_disturbed(trial(seconds=seconds, cpu_seconds=cpu, **changes)) == disturbed


def test_a_disturbed_time_is_no_objective():
    busy = {"seconds": Seconds(total=10.0), "cpu_seconds": 2.0}
    assert objective(trial(busy=True), "latency") is None
    assert objective(trial(busy=False), "latency") == objective(trial(busy=None), "latency") == 1.0
    assert objective(trial(**busy), "cost") is None
    assert objective(trial(), "quality") == 0.5
    assert losses(trial(busy=True), ("quality", "latency")) == (-0.5, float("inf"))


def test_a_disturbed_time_is_on_no_front():
    two = {"objectives": ("quality", "latency")}
    slow = trial(0, score=0.5, ms=2.0, **two)
    records = [slow, trial(1, score=0.4, ms=1.0, busy=True, **two), trial(2, score=0.4, ms=1.5, **two)]
    front = evidence.pareto_front(records, ["quality", "latency"])
    assert front["trial"].tolist() == [0, 2]
    assert {run.config.number for run in best_trials(records, 3)} == {0, 2}


def test_a_disturbed_time_below_a_limit_shows_that_the_trial_is_within_it_and_above_it_nothing():
    limits = {"limits": Limits(inference_ms=1.0)}
    within, over, slow = trial(ms=0.9, busy=True, **limits), trial(ms=1.1, busy=True, **limits), trial(ms=2, **limits)
    assert [is_feasible(run) for run in (within, over, slow)] == [True, False, False]
    assert [disturbance.is_left_out(run) for run in (within, over, slow)] == [False, True, False]
    assert disturbance.is_left_out(trial(busy=True, objectives=("quality", "latency")))
    assert not disturbance.is_left_out(trial(busy=True))


def test_the_word_of_a_measurement_marks_its_columns():
    speed = {
        "train_disturbed": 1.0,
        "inference_disturbed": 0.0,
        "latency_disturbed": 1.0,
        "inference_b2_disturbed": 1.0,
    }
    text = disturbance.words(disturbance.of_speed(speed))
    assert text == "train_step, latency, inference_b2"
    row = {"timing_disturbed": text}
    marked = (
        "train_step_milliseconds",
        "train_tokens_per_second",
        "latency_p95_milliseconds",
        "inference_b2_milliseconds",
    )
    for column in marked:
        assert disturbance.mark(row, column) == "*"
    for column in ("inference_step_milliseconds", "train_seconds", "score", "inference_b1_milliseconds"):
        assert disturbance.mark(row, column) == ""
    for unmarked in (None, float("nan"), "no"):
        assert not disturbance.is_marked({"timing_disturbed": unmarked}, "train_step_milliseconds")


def test_what_is_not_known_is_not_said():
    assert disturbance.words(disturbance.of_speed(None)) is None
    assert disturbance.words(disturbance.of_speed({"train_step_milliseconds": 1.0})) is None  # of an earlier version
    assert disturbance.words(disturbance.of_speed({"train_disturbed": 0.0})) == "no"
    states = [None, False, True]
    texts = [disturbance.of_baseline(FittedBaseline(title="a", latency_disturbed=state)) for state in states]
    assert texts == [None, "no", "latency"]


def test_of_several_durations_the_undisturbed_ones_count():
    busy, quiet = trial(0, seconds=Seconds(total=10.0), cpu_seconds=1.0), trial(1)
    assert disturbance.undisturbed([busy, quiet]) == [quiet]
    assert disturbance.undisturbed([busy]) == [busy]
    assert pd.isna(disturbance.words(None))
