"""Which run of a cell is chosen."""

import pytest

from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord
from bench.results.selection import best_trials
from tests.makers import record


def made(run: str, score=0.5, solved_at: int | None = None, *, goal="maximize", state="complete") -> RunRecord:
    trial, _, part = run.partition("-s")
    phase, number = "confirm" if part else "screen", int(part or trial[1:])
    val = {"score": score, "loss": -score} if state != "failed" else {}
    return record(
        {"run": f"latch/L8/lstm/{run}", "phase": phase, "number": number}, {"metric": "score", "goal": goal},
        state=state, val=val, solved=solved_at is not None, sequences_to_solve=solved_at,
    )  # fmt: skip


def chosen(*records: RunRecord) -> str | None:
    best = best_trials(records, 1)
    return best[0].config.run.rsplit("/", 1)[1] if best else None


def test_a_solved_trial_goes_before_a_better_one_that_is_not():
    assert chosen(made("t0", 0.999), made("t1", 0.99, 640)) == "t1"


def test_of_solved_trials_the_first_is_kept():
    assert chosen(made("t0", 0.99, 1_000), made("t1", 1.0, 501)) == "t0"


def test_a_later_trial_that_needs_half_the_sequences_is_chosen():
    assert chosen(made("t0", 1.0, 1_000), made("t1", 0.99, 500)) == "t1"


def test_a_trial_has_to_be_clearly_quicker_than_the_one_chosen_so_far():
    assert chosen(made("t0", 1.0, 1_000), made("t1", 1.0, 500), made("t2", 1.0, 400), made("t3", 1.0, 250)) == "t3"


def test_of_unsolved_trials_the_better_score_wins():
    assert chosen(made("t0", 0.5), made("t1", 0.8), made("t2", 0.7)) == "t1"


def test_of_equal_scores_the_earlier_trial_wins():
    assert chosen(made("t2", 0.8), made("t0", 0.5), made("t10", 0.8)) == "t2"


def test_less_is_better_where_the_task_says_so():
    assert chosen(made("t0", 0.5, goal="minimize"), made("t1", 0.2, goal="minimize")) == "t1"


@pytest.mark.parametrize("state", ["failed", "pruned"])
def test_a_trial_that_did_not_end_is_never_chosen(state):
    assert chosen(made("t0", 0.9, state=state), made("t1", 0.1)) == "t1"
    assert chosen(made("t0", 0.9, 640, state=state)) is None


def test_a_confirm_run_is_never_chosen():
    assert chosen(made("t0-s0", 1.0, 8), made("t0", 0.1)) == "t0"


def test_the_order_in_which_runs_finish_changes_nothing():
    records = [made("t0", 0.9, 1_000), made("t1", 0.9, 500), made("t2", 0.9, 300), made("t3", 1.0)]
    assert {chosen(*records[i:], *records[:i]) for i in range(4)} == {"t1"}


def test_confirmations_are_those_of_the_chosen_trial_by_number():
    records = [made(run) for run in ("t1", "t1-s10", "t11-s0", "t1-s2", "t11", "t10-s1", "t1-s0")]
    found = CellRuns(tuple(records), 1).confirmations(records[0])
    assert [record.config.run.rsplit("/", 1)[1] for record in found] == ["t1-s0", "t1-s2", "t1-s10"]


def test_test_scores_of_all_test_runs_are_taken():
    """Where seeds are added later, or the choice changes, the cell has test runs -test, -test1 and so on."""
    runs = [made("t0"), made("t0-s0"), made("t0-s1")]
    opened = [
        runs[0].model_copy(
            update={
                "config": runs[0].config.model_copy(
                    update={"run": f"latch/L8/lstm/t0-test{times}", "phase": "test", "opens_test_of": (run.config.run,)}
                ),
                "tests": {run.config.run: {"score": score}},
            }
        )
        for times, run, score in (("", runs[1], 0.7), ("1", runs[2], 0.9))
    ]
    assert [run.test_score for run in CellRuns((*runs, *opened), 1).confirmations(runs[0])] == [0.7, 0.9]
