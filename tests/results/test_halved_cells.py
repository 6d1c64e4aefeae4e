"""What is chosen and shown of a sweep with a budget of time, which paused most of its trials."""

import json
from pathlib import Path

import pytest

from bench.config.ids import CellId
from bench.report import evidence, report
from bench.results import answers, leaderboard
from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord
from tests.halved import confirm, opened, trial

A, B, C = (CellId("names", 8, name) for name in ("lstm", "gru", "rnn"))


@pytest.fixture
def sweep(tmp_path) -> Path:
    """A sweep that confirmed lstm, trained gru in full, and dropped rnn and a second configuration of lstm."""
    folder = tmp_path / "sweeps" / "timed"
    best = trial(A, 1, [0.5] * 26 + [0.9])
    seeds = [confirm(best, seed, 0.85 + seed / 100) for seed in range(3)]
    runs = [
        *(trial(A, 0, [0.4] * 3), best, *seeds, opened(best, *seeds, score=0.8)),
        *(trial(B, 0, [0.7] * 27), trial(B, 1, [0.3])),
        *(trial(C, 0, [0.2]), trial(C, 1, [0.1, 0.6, 0.5])),
    ]
    for run in runs:
        path = folder / "runs" / run.config.run
        path.mkdir(parents=True)
        run.write(path)
    cells = [str(cell) for cell in (A, B, C)]
    spec = {"spec": {"cells": cells, "budget": "10m", "sampler": "sobol"}, "trials": 10_000, "top_k": 1}
    (folder / "sweep.json").write_text(json.dumps(spec | {"confirm_seeds": 10, "not_applicable": {}}))
    return folder


def test_a_row_without_a_confirmed_score_says_how_far_it_came(sweep):
    rows = {row.model: row for row in leaderboard.build(sweep).itertuples()}
    assert {model: row.status for model, row in rows.items()} == {
        "lstm": "complete",
        "gru": "dropped",
        "rnn": "dropped",
    }
    assert rows["gru"].reason == "trained in full at 0.7 accuracy on validation; no time was left for fresh seeds"
    assert rows["rnn"].reason == "dropped after 1/9 of a run at 0.6 accuracy on validation"
    assert (rows["lstm"].score, rows["lstm"].num_seeds, rows["lstm"].rank) == (pytest.approx(0.8), 3, 1)
    (answer,) = answers.answers(leaderboard.build(sweep))
    assert "not confirmed, because successive halving put others first: rnn and gru" in answer
    assert "unfinished" not in answer


def test_a_row_whose_trial_stands_for_a_fresh_seed_says_so(sweep):
    best = trial(B, 0, [0.95] * 27)
    taken = confirm(best, 0, 0.95)
    taken = taken.model_copy(update={"config": taken.config.model_copy(update={"takes_over": best.config.run})})
    for run in (best, taken, opened(best, taken, score=0.9)):
        (sweep / "runs" / run.config.run).mkdir(parents=True, exist_ok=True)
        run.write(sweep / "runs" / run.config.run)
    board = leaderboard.build(sweep)
    row = board[board["model"] == "gru"].iloc[0]
    assert (row["status"], row["score"], row["num_seeds"]) == ("complete", pytest.approx(0.9), 1)
    (answer,) = answers.answers(board)
    assert "best: gru, 0.900 accuracy" in answer
    assert leaderboard.TAKEN_OVER in answer


def test_the_best_of_a_cell_is_the_best_that_came_farthest():
    paused = [trial(A, 0, [0.9]), trial(A, 1, [0.5] * 9), trial(A, 2, [0.6] * 9)]
    assert CellRuns(tuple(paused), 1).best == [paused[2]]
    whole = trial(A, 3, [0.4] * 27)
    assert CellRuns((*paused, whole), 1).best == [whole]


def test_a_configuration_on_one_seed_does_not_beat_one_on_three():
    first, second = trial(A, 0, [0.7] * 27), trial(A, 3, [0.8] * 27, bracket=1)
    seeds = [confirm(first, seed, 0.7) for seed in range(3)]
    runs = CellRuns((first, second, *seeds), 1)
    assert runs.best == [second]
    assert runs.chosen == first
    assert CellRuns((*runs.records, confirm(second, 0, 0.9)), 1).chosen == first
    assert CellRuns((*runs.records, *(confirm(second, seed, 0.9) for seed in range(3))), 1).chosen == second


def test_the_report_says_who_was_dropped_when_at_what_score_and_cost(sweep):
    runs = [RunRecord.read(path.parent, epochs=False) for path in sorted((sweep / "runs").rglob("record.json"))]
    frame = evidence.halving(runs).set_index(["model", "trial"])
    assert frame.loc[("rnn", 1)][["state", "share", "score", "device_seconds"]].tolist() == ["dropped", 1 / 9, 0.6, 3.0]
    assert frame.loc[("gru", 0)][["state", "share"]].tolist() == ["complete", 1.0]
    page = report.render(sweep)
    assert "Of 6 configurations, 4 did not run to the end" in page
    assert "dropped after 1/27 of a run" in page
    assert "6 of them" not in page
    # Curves of expected performance hold for independent draws that ran to their end.
    assert evidence.expected_performance(runs).empty
    outcomes = evidence.outcomes(runs).set_index("model")
    assert outcomes.loc["rnn", "dropped"] == 2
