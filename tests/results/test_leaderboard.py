"""The leaderboard of a sweep written by hand: its rows, their order, status, scores and conditions."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest

from bench.errors import StoreError
from bench.report import report
from bench.results import answers, leaderboard, stats, tables
from bench.results.classes import ClassCounts
from bench.results.record import RunRecord
from bench.results.sampling import LeftOut
from tests.results.boards import ENVIRONMENT, FAILED, row, seal, small, solved, write


def test_a_seed_that_failed_counts_with_the_chance_score(tmp_path):
    """Without it, a model that diverges every other time would be the best."""
    good = {"t0": {"score": 0.7}, "t0-s0": {"score": 0.7}, "t0-s1": {"score": 0.71}}
    board = small(tmp_path, "digits", lstm=good, gru=good | {"t0-s0": {"score": 0.9}, "t0-s1": FAILED})
    found = row(board, "digits", "gru")
    assert (found["score"], found["num_seeds"]) == (pytest.approx((0.9 + 0.1) / 2), 2)
    assert found["ci_low"] == 0
    assert answers.answers(board)[0].startswith("digits at 8: best: lstm, 0.705 accuracy [0.641, 0.769]; gru is")
    with_average = board.assign(score_ensemble=board["score"] + 0.05)
    average = "the average of its 2 seeds has 0.755 (python -m bench export --model lstm --ensemble)"
    assert average in answers.answers(with_average)[0]
    assert "the average" not in answers.answers(board.assign(score_ensemble=board["score"] - 0.05))[0]


def test_a_class_that_no_seed_ever_predicts_is_named(tmp_path):
    """A set whose classes were in part never predicted showed one accuracy and nothing else."""
    y = np.repeat([0, 1, 2], 20)
    folder = tmp_path / "sweeps" / "small"
    runs = {"t0": {"score": 0.7}, "t0-s0": {"score": 0.7}, "t0-s1": {"score": 0.7}}
    small(tmp_path, "digits", lstm=runs)
    scores = {"accuracy": 2 / 3, "balanced_accuracy": 2 / 3, "macro_f1": 0.5}
    counts = ClassCounts.of(np.where(y == 2, 0, y), y, ["walk", "run", "fall"])
    left_out = LeftOut(examples=60, proportion=True, scores=[0.6, 0.7] * 10)
    test = RunRecord.read(folder / "runs/digits/L8/lstm/t0-test")
    facts = {"tests": scores, "classes": counts, "left_out": left_out}
    update = {name: dict.fromkeys(test.tests, value) for name, value in facts.items()}
    test.model_copy(update=update).write(folder / "runs/digits/L8/lstm/t0-test")
    board = leaderboard.build(folder)
    found = row(board, "digits", "lstm")
    assert found["never_predicted"] == "fall"
    assert found[["test_accuracy", "test_balanced_accuracy", "test_macro_f1"]].tolist() == list(scores.values())
    assert found[["num_test", "sampling_low", "sampling_high"]].tolist() == pytest.approx([60, 0.541, 0.773], abs=1e-3)
    assert "lstm never predicts fall" in answers.answers(board)[0]
    page = report.render(folder)
    assert "digits at 8: lstm never predicts 1 of 3 classes (fall)." in page
    assert page.count("lstm precision") == 1


def test_a_run_without_a_test_score_does_not_count(tmp_path):
    late = {"t0": {"score": 1.0}, "t0-s0": solved(900), "t0-s1": {"val": {"accuracy": 1.0}, "solved": True}}
    none = {"t0": {"score": 1.0}} | {f"t0-s{i}": {"val": {"accuracy": 1.0}, "solved": True} for i in range(2)}
    board = small(tmp_path, "latch", lstm=late, gru=none)
    shown = ["status", "num_seeds", "solved"]
    assert row(board, "latch", "lstm")[shown].tolist() == ["unfinished", 1, 1]
    assert row(board, "latch", "gru")[shown[:2]].tolist() == ["unfinished", 0]
    assert pd.isna(row(board, "latch", "gru")["rank"])


def test_a_test_run_that_failed_is_the_reason(tmp_path):
    runs = {"t0": {"score": 0.7}} | {f"t0-s{i}": {"val": {"accuracy": 0.7}} for i in range(2)}
    small(tmp_path, "digits", lstm=runs)
    seal(folder := tmp_path / "sweeps" / "small", RunRecord.read(folder / "runs/digits/L8/lstm/t0-s0").config, 0.5)
    path = folder / "runs/digits/L8/lstm/t0-test"
    failed = RunRecord.read(path).model_copy(update={"state": "failed", "cause": "out_of_memory", "tests": {}})
    failed.write(path)
    found = row(leaderboard.build(folder), "digits", "lstm")
    assert (found["status"], found["reason"]) == ("failed", "test run: out_of_memory")


def test_the_columns_are_as_defined(board):
    assert list(board.columns) == leaderboard.COLUMNS


def test_rows_are_sorted_from_best_to_baselines(board):
    latch, digits = (board[board["dataset"] == name]["model"].tolist() for name in ("latch", "digits"))
    others = ["stacked_lstm", "transformer", "bilstm"]
    assert latch == ["gru", "lstm", "rnn", "mlp", *others, "(bag)", "(majority)", "(chance)"]
    assert digits == ["lstm", "gru", "mlp", "(nearest)", "(majority)"]


def test_models_that_are_statistically_tied_share_a_rank(board):
    # With three seeds, 3 against 0 is a difference and 3 against 1 is a tie. digits: mlp is worse on the shared seeds.
    ranked = {(r.dataset, r.model): r.rank for r in board.dropna(subset="rank").itertuples()}
    assert [ranked["latch", model] for model in ("gru", "lstm", "rnn", "mlp")] == [1, 1, 1, 3]
    assert [ranked["digits", model] for model in ("lstm", "gru", "mlp")] == [1, 1, 3]


@pytest.mark.parametrize(("model", "k", "score"), [("lstm", 3, 1.0), ("rnn", 1, 0.5), ("mlp", 0, 0.5)])
def test_a_task_that_can_be_solved_is_scored_by_k_of_n(board, model, k, score):
    found = row(board, "latch", model)
    assert (found["solved"], found["num_seeds"], found["score"], found["score_is"]) == (k, 3, score, "median")
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(stats.clopper_pearson(k, 3))
    assert found["ci_of"] == "share of seeds that solve"


def test_a_task_without_a_threshold_is_scored_by_the_mean(board):
    found = row(board, "digits", "lstm")
    assert found["score"] == pytest.approx(0.92)
    assert (found["score_is"], found["ci_of"]) == ("mean", "mean score")
    # sd .02, t(.975, 2) = 4.303
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((0.92 - 0.0497, 0.92 + 0.0497), abs=1e-4)
    assert pd.isna(found["solved"])


def test_figures_are_medians_of_the_runs_that_have_them(board):
    lstm, rnn = row(board, "latch", "lstm"), row(board, "latch", "rnn")
    assert (lstm["sequences_to_solve"], lstm["seconds_to_solve"]) == (1_100, 11)
    assert (lstm["num_parameters"], lstm["state_size"]) == (42, 8)
    assert (lstm["train_step_milliseconds"], lstm["peak_memory_mib"]) == (4, 3)
    assert rnn["sequences_to_solve"] == 2_000
    assert pd.isna(rnn["train_step_milliseconds"])


def test_the_bill_holds_what_failed_and_died(board):
    found = row(board, "latch", "lstm")
    assert found["device_seconds"] == 1 + 7 + 3 * 1 + 1
    assert (found["num_trials"], found["num_failed"], found["num_pruned"], found["num_crashes"]) == (2, 1, 0, 2)
    assert row(board, "latch", "rnn")["num_failed"] == 1
    assert row(board, "latch", "gru")["num_pruned"] == 1


def test_validation_and_choice_are_shown(board):
    found = row(board, "latch", "gru")
    assert found["config_file"] == "runs/latch/L8/gru/t1-test/config.json"
    assert json.loads(found["configuration"])["hidden_size"] == 4
    assert found["configurations_tested"] == 1
    assert found["val_screening"] == found["val_confirmation"] == pytest.approx(1.01)


def test_every_row_has_a_status_and_a_reason(board):
    states = {(r.dataset, r.model): (r.status, r.reason) for r in board.itertuples()}
    assert states["latch", "stacked_lstm"] == ("failed", "killed, non_finite")
    assert states["latch", "bilstm"] == ("not_applicable", "sees the future")
    status = {key: status for key, (status, reason) in states.items() if pd.isna(reason)}
    assert status["latch", "lstm"] == "complete"
    assert status["latch", "transformer"] == status["digits", "mlp"] == "unfinished"
    assert status["latch", "(chance)"] == status["digits", "(nearest)"] == "baseline"
    assert {status for status, _ in states.values()} == set(leaderboard.Status) - {leaderboard.Status.DROPPED}


def test_baselines_have_a_score_and_no_rank(board):
    chance, bag = row(board, "latch", "(chance)"), row(board, "latch", "(bag)")
    assert (chance["score"], bag["score"], chance["steps"]) == (0.5, 0.6, 8)
    assert pd.isna(chance["rank"])
    assert pd.isna(bag["num_seeds"])


def test_a_group_in_which_every_confirm_run_failed_has_no_best(tmp_path):
    for model in ("lstm", "gru"):
        write(tmp_path, "digits", model, "t0", score=0.8)
        for number in range(2):
            write(tmp_path, "digits", model, f"t0-s{number}", **FAILED)
    spec = {"spec": {"cells": ["digits/L8/lstm", "digits/L8/gru"]}, "trials": 1, "top_k": 1, "confirm_seeds": 2}
    (tmp_path / "sweep.json").write_text(json.dumps(spec | {"not_applicable": {}}))
    board = leaderboard.build(tmp_path)
    (answer,) = answers.answers(board)
    assert answer == "digits at 8: no model could be confirmed; failed: lstm (non_finite), gru (non_finite)."
    found = row(board, "digits", "lstm")
    assert (found["status"], found["reason"]) == ("failed", "non_finite")
    assert pd.isna(found["score"])
    assert pd.isna(found["rank"])
    assert "nan" not in tables.to_markdown(board)


def test_a_model_whose_confirm_runs_failed_is_not_the_best(tmp_path):
    write(tmp_path, "digits", "lstm", "t0", score=0.8)
    write(tmp_path, "digits", "gru", "t0", score=0.8)
    write(tmp_path, "digits", "lstm", "t0-s0", **FAILED)
    write(tmp_path, "digits", "gru", "t0-s0", score=0.7)
    spec = {"spec": {"cells": ["digits/L8/lstm", "digits/L8/gru"]}, "trials": 1, "top_k": 1, "confirm_seeds": 1}
    (tmp_path / "sweep.json").write_text(json.dumps(spec | {"not_applicable": {}}))
    board = leaderboard.build(tmp_path)
    assert board["model"].tolist() == ["gru", "lstm"]
    assert pd.isna(row(board, "digits", "lstm")["rank"])
    (answer,) = answers.answers(board)
    assert (
        answer
        == "digits at 8: best: gru, 0.700 accuracy; one seed: not compared; at most 6,400 training sequences a run; failed: lstm (non_finite)."
    )


def test_a_sweep_in_which_nothing_has_ended(tmp_path):
    spec = {"spec": {"cells": ["latch/L8/lstm"]}, "trials": 1, "top_k": 1, "confirm_seeds": 1, "not_applicable": {}}
    (tmp_path / "sweep.json").write_text(json.dumps(spec))
    with pytest.raises(StoreError, match="no finished run yet"):
        leaderboard.build(tmp_path)


def test_one_seed_has_no_interval_of_the_mean(tmp_path):
    write(tmp_path, "digits", "lstm", "t0", score=0.8)
    write(tmp_path, "digits", "lstm", "t0-s0", score=0.7)
    spec = {"spec": {"cells": ["digits/L8/lstm"]}, "trials": 1, "top_k": 1, "confirm_seeds": 1, "not_applicable": {}}
    (tmp_path / "sweep.json").write_text(json.dumps(spec))
    found = row(leaderboard.build(tmp_path), "digits", "lstm")
    assert found["score"] == 0.7
    assert math.isnan(found["ci_low"])


GARBAGE = ["", "{", "[]", "null", "{}", '{"spec": 3}', "\x00\x01", '{"spec": {"cells": ["a"]}, "top_k": 1}']


@pytest.mark.parametrize("text", GARBAGE)
def test_a_damaged_sweep_file_is_one_line(sweep, tmp_path, text):
    shutil.copytree(sweep, tmp_path / "one")
    (tmp_path / "one" / "sweep.json").write_text(text)
    with pytest.raises(StoreError) as error:
        leaderboard.build(tmp_path / "one")
    assert "sweep.json: damaged" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", "\x00\x01"])
def test_a_damaged_record_is_one_line(sweep, tmp_path, text):
    shutil.copytree(sweep, tmp_path / "one")
    (tmp_path / "one" / "runs/latch/L8/lstm/t0/record.json").write_text(text)
    with pytest.raises(StoreError, match="not a run record") as error:
        leaderboard.build(tmp_path / "one")
    assert "\n" not in str(error.value)


def mixed(sweep, tmp_path, **environment):
    """The board of a sweep in which one confirm run of an lstm was made under other conditions."""
    shutil.copytree(sweep, tmp_path / "one")
    path = tmp_path / "one/runs/latch/L8/lstm/t0-s1"
    record = RunRecord.read(path)
    record.model_copy(update={"environment": ENVIRONMENT | environment}).write(path)
    return leaderboard.build(tmp_path / "one")


def test_a_row_names_all_conditions_of_its_runs(sweep, tmp_path):
    board = mixed(sweep, tmp_path, hardware="another (4 cores)", torch="2.13")
    found = row(board, "latch", "lstm")
    assert found["hardware"] == "a machine (2 cores); another (4 cores)"
    assert (found["torch"], found["python"], found["threads"]) == ("2.12; 2.13", "3.13", 1)
    assert found["mixed"] == "hardware, torch"
    assert pd.isna(row(board, "latch", "gru")["mixed"])


def test_runs_of_several_commits_and_thread_counts_are_named(sweep, tmp_path):
    shutil.copytree(sweep, tmp_path / "one")
    for number, (commit, threads) in enumerate([("abc", 1), ("def", 2)]):
        path = tmp_path / f"one/runs/latch/L8/lstm/t0-s{number}"
        record = RunRecord.read(path)
        config = record.config.model_copy(update={"commit": commit, "threads": threads})
        record.model_copy(update={"config": config}).write(path)
    found = row(leaderboard.build(tmp_path / "one"), "latch", "lstm")
    assert (found["commit"], found["threads"]) == ("abc; def", "1; 2")
    assert found["mixed"] == "threads, commit"
    tables.write_csv(leaderboard.build(tmp_path / "one"), tmp_path / "board.csv")
    assert "1; 2" in (tmp_path / "board.csv").read_text()


def test_times_of_mixed_conditions_are_not_compared(sweep, board, tmp_path):
    assert "quickest by lstm" in answers.answers(board)[0]
    assert answers.mixed_conditions(board) is None
    spoiled = mixed(sweep, tmp_path, torch="2.13")
    assert "quickest" not in " ".join(answers.lines(spoiled))
    assert answers.lines(spoiled)[-1] == "The runs differ in torch (2.12; 2.13), so times are not compared across them."


def test_times_of_divided_batches_are_not_compared_with_others(sweep, tmp_path):
    """Memory ran out in one confirm run of an lstm; the records of the others are of this and of an earlier version."""
    shutil.copytree(sweep, tmp_path / "one")
    for name, count in {"t0": 1, "t0-s0": 1, "t0-s1": 2}.items():
        path = tmp_path / "one/runs/latch/L8/lstm" / name
        RunRecord.read(path).model_copy(update={"accumulate_grad_batches": count}).write(path)
    board = leaderboard.build(tmp_path / "one")
    found = row(board, "latch", "lstm")
    assert (found["accumulate_grad_batches"], found["mixed"]) == ("1; 2", "accumulate_grad_batches")
    assert pd.isna(row(board, "latch", "gru")["accumulate_grad_batches"])
    lines = answers.lines(board)
    assert "quickest" not in " ".join(lines)
    assert lines[-1] == "The runs differ in accumulate_grad_batches (1; 2), so times are not compared across them."


def test_seeds_that_were_added_have_a_test_run_of_their_own(tmp_path):
    runs = {"t0": {"score": 0.7}, "t0-s0": {"score": 0.7}, "t0-s1": {"score": 0.6}}
    small(tmp_path, "digits", lstm=runs)
    folder = tmp_path / "sweeps" / "small"
    first = RunRecord.read(folder / "runs/digits/L8/lstm/t0-test")
    (a, scores_a), (b, scores_b) = first.tests.items()
    first.model_copy(update={"tests": {a: scores_a}}).write(folder / "runs/digits/L8/lstm/t0-test")
    config = first.config.model_copy(update={"run": "digits/L8/lstm/t0-test1", "opens_test_of": (b,)})
    (folder / "runs/digits/L8/lstm/t0-test1").mkdir()
    first.model_copy(update={"config": config, "tests": {b: scores_b}}).write(folder / "runs/digits/L8/lstm/t0-test1")
    found = row(leaderboard.build(folder), "digits", "lstm")
    names = [f"runs/digits/L8/lstm/{name}/config.json" for name in ("t0-test", "t0-test1")]
    assert found["config_file"] == "; ".join(names)
    assert found["score"] == pytest.approx(0.65)
