"""Times that other processes disturbed are shown with a mark, and nothing is decided by them."""

import shutil

import pandas as pd
import pytest

from bench.config.settings import Limits
from bench.report import evidence
from bench.results import answers, disturbance, leaderboard, tables
from bench.results.record import FittedBaseline, RunRecord, Seconds
from bench.results.selection import best_trials, is_feasible, losses, objective
from tests.makers import record
from tests.results.boards import row, small


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


BUSY = {"seconds": Seconds(total=10.0), "cpu_seconds": 4.0}


def test_times_that_other_processes_disturbed_are_marked_and_decide_nothing(sweep, tmp_path):
    shutil.copytree(sweep, tmp_path / "one")
    runs = tmp_path / "one/runs/latch/L8/lstm"
    for path in (runs / f"t0-s{number}" for number in range(3)):
        record = RunRecord.read(path)
        record.model_copy(update=BUSY).write(path)
    timed = RunRecord.read(runs / "t0-speed")
    flags = {"train_disturbed": 1.0, "train_spread": 0.5, "inference_disturbed": 0.0}
    timed.model_copy(update={"speed": timed.speed | flags}).write(runs / "t0-speed")
    board = leaderboard.build(tmp_path / "one")
    found = row(board, "latch", "lstm")
    assert (found["timing_disturbed"], found["train_spread"]) == ("training, train_step", 0.5)
    assert pd.isna(row(board, "latch", "gru")["timing_disturbed"])  # no exclusive pass says anything
    first = answers.answers(board)[0]
    assert "solved on all 3 seeds by gru and lstm, with the fewest sequences by gru (600 sequences)" in first
    assert "quickest" not in first
    (remark,) = answers.disturbed_timing(board)
    assert remark.startswith("Times marked with * were measured while other processes used the processor")
    (cells,) = [cells for cells in tables.for_people(board)["latch at 8 (8 steps, accuracy; interval of the share of "
                "seeds that solve)"] if cells[0] == "lstm"]  # fmt: skip
    shown = dict(zip(tables.SHOWN, cells, strict=True))
    assert (shown["train_step_milliseconds"], shown["inference_sequences_per_second"]) == ("4.00*", "4")


def test_a_duration_is_the_median_of_the_undisturbed_seeds(tmp_path):
    quiet = {"seconds": Seconds(train=2.0, total=3.0), "cpu_seconds": 2.9}
    busy = {"seconds": Seconds(train=20.0, total=30.0), "cpu_seconds": 3.0}
    seeds = {"t0": {"score": 0.7}, "t0-s0": {"score": 0.7} | quiet, "t0-s1": {"score": 0.7} | busy}
    found = row(small(tmp_path, "digits", lstm=seeds), "digits", "lstm")
    assert found["train_seconds"] == 2.0
    assert pd.isna(found["timing_disturbed"])


def test_trials_that_a_disturbed_time_left_out_are_counted_and_named(sweep, tmp_path):
    shutil.copytree(sweep, tmp_path / "one")
    path = tmp_path / "one/runs/digits/L8/gru/t1"
    record = RunRecord.read(path)
    config = record.config.model_copy(update={"limits": Limits(inference_ms=1.0)})
    record.model_copy(update={"config": config, "inference_milliseconds": 3.0, "inference_disturbed": True}).write(path)
    board = leaderboard.build(tmp_path / "one")
    assert row(board, "digits", "gru")["num_disturbed"] == 1
    assert answers.lines(board)[-1] == (
        "Other processes disturbed the timing of some trials, so a limit or an objective of time did not admit them: "
        "gru on digits at 8 (1)."
    )
