"""The leaderboard of a sweep written by hand: latch has a threshold from which it is solved, digits has none."""

import json
import math
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from bench.config.settings import Limits, RunConfig, TrainSettings
from bench.errors import DeclarationError, StoreError, UnknownNameError
from bench.report import report
from bench.results import answers, leaderboard, stats, sweeps, tables
from bench.results.classes import ClassCounts
from bench.results.record import Asked, RunRecord, Seconds
from bench.results.sampling import LeftOut

SETTINGS = TrainSettings(max_sequences=6_400, batch_size=16, num_epochs=4, num_val=8, num_test=8)
ASKED = {
    "latch": Asked(metric="accuracy", goal="maximize", chance=0.5, solved=0.99, num_steps=8),
    "digits": Asked(metric="accuracy", goal="maximize", chance=0.1, solved=None, num_steps=8),
}
ENVIRONMENT = {"hardware": "a machine (2 cores)", "python": "3.13", "torch": "2.12"}


def write(folder, dataset: str, space: str, run: str, **facts) -> None:
    """Write the record of one run: t0 a trial, t0-s1 a confirm run, t0-speed the exclusive pass, or baselines."""
    trial, _, part = run.partition("-")
    phase = "baselines" if run == "baselines" else "speed" if part == "speed" else "confirm" if part else "screen"
    number = int(part[1:]) if phase == "confirm" else int(trial[1:]) if phase == "screen" else 0
    path = f"{dataset}/L8/_baselines" if phase == "baselines" else f"{dataset}/L8/{space}/{run}"
    config = RunConfig(
        sweep=folder.name, run=path, phase=phase, number=number, dataset=dataset, task=dataset, length=8,
        task_arguments={}, space=space, model=space, model_arguments={"hidden_size": 4}, train=SETTINGS,
        seed=100 + number, origin="default" if number == 0 else "sobol",
    )  # fmt: skip
    if "score" in facts:
        score = facts.pop("score")
        facts |= {"val": {"accuracy": score + 0.01}}
        if phase == "confirm":
            seal(folder, config, score)
    values = {"state": "complete", "seconds": Seconds(total=1.0), "environment": ENVIRONMENT} | facts
    (folder / "runs" / path).mkdir(parents=True)
    RunRecord(config=config, asked=ASKED[dataset], **values).write(folder / "runs" / path)


def seal(folder, config: RunConfig, score: float) -> None:
    """Add a confirm run to the test run of its configuration."""
    name = config.run.rsplit("-s", 1)[0] + "-test"
    path = folder / "runs" / name
    path.mkdir(parents=True, exist_ok=True)
    old = RunRecord.read(path)
    tests = (old.tests if old else {}) | {config.run: {"accuracy": score}}
    tested = config.model_copy(update={"phase": "test", "run": name, "opens_test_of": tuple(tests)})
    RunRecord(config=tested, asked=ASKED[config.dataset], state="complete", tests=tests).write(path)


def solved(at: int, seconds: float = 1.0) -> dict:
    return {"score": 1.0, "solved": True, "sequences_to_solve": at, "seconds_to_solve": seconds}


FAILED = {"state": "failed", "cause": "non_finite"}
UNSOLVED = {"score": 0.5, "solved": False}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "sweeps" / "one"
    models = ("mlp", "rnn", "lstm", "stacked_lstm", "gru", "transformer")
    spec = {
        "spec": {"cells": [f"latch/L8/{model}" for model in models] + ["digits/L8/lstm", "digits/L8/gru", "digits/L8/mlp"]},
        "trials": 2, "top_k": 1, "confirm_seeds": 3, "not_applicable": {"latch/L8/bilstm": "sees the future"},
    }  # fmt: skip

    def latch(space, run, **facts):
        write(folder, "latch", space, run, **facts)

    # Solves on all seeds; one trial failed after an attempt that died.
    latch("lstm", "t0", **solved(1_000))
    latch("lstm", "t1", **FAILED, crashes=["killed", "stall"], seconds=Seconds(crashed=5.0, total=7.0))
    for number, at in enumerate((900, 1_100, 1_300)):
        latch("lstm", f"t0-s{number}", **solved(at, at / 100), parameters={"encoder": 40, "head": 2}, state_size=8)
    latch("lstm", "t0-speed", speed=dict.fromkeys(
        ("train_sequences_per_second", "inference_sequences_per_second", "train_step_milliseconds"), 4.0
    ), peak_memory_bytes=3 * 2**20)  # fmt: skip
    # Solves on all seeds too, quicker in sequences, slower in seconds.
    latch("gru", "t0", state="pruned", val={"accuracy": 1.0})
    latch("gru", "t1", **solved(900))
    for number, at in enumerate((500, 600, 700)):
        latch("gru", f"t1-s{number}", **solved(at, at / 10))
    # On one seed of three, the others unsolved and failed.
    latch("rnn", "t0", **UNSOLVED)
    latch("rnn", "t1", **UNSOLVED)
    for number, facts in enumerate((solved(2_000), UNSOLVED, FAILED)):
        latch("rnn", f"t0-s{number}", **facts)
    # On none.
    latch("mlp", "t0", **UNSOLVED)
    latch("mlp", "t1", **UNSOLVED)
    for number in range(3):
        latch("mlp", f"t0-s{number}", **UNSOLVED)
    # No trial succeeded; and one still has a trial to make.
    latch("stacked_lstm", "t0", **FAILED)
    latch("stacked_lstm", "t1", state="failed", cause="killed")
    latch("transformer", "t0", **FAILED)
    latch("lstm", "baselines", baselines={"majority": 0.52, "bag": 0.6})

    for space, scores in {"lstm": (0.9, 0.92, 0.94), "gru": (0.89, 0.93, 0.94), "mlp": (0.4, 0.45)}.items():
        write(folder, "digits", space, "t0", score=0.8)
        write(folder, "digits", space, "t1", score=0.7)
        for number, score in enumerate(scores):
            write(folder, "digits", space, f"t0-s{number}", score=score)
    write(folder, "digits", "lstm", "baselines", baselines={"nearest": 0.95, "majority": 0.1})
    (folder / "sweep.json").write_text(json.dumps(spec))
    return folder


@pytest.fixture(scope="module")
def board(sweep) -> pd.DataFrame:
    return leaderboard.build(sweep)


def row(board, dataset, model) -> pd.Series:
    (found,) = (row for _, row in board.iterrows() if (row["dataset"], row["model"]) == (dataset, model))
    return found


def small(tmp_path, dataset: str, **runs: dict[str, dict]) -> pd.DataFrame:
    """The board of one dataset with two seeds a model; `runs` are by model and run."""
    folder = tmp_path / "sweeps" / "small"
    for model, found in runs.items():
        for run, facts in found.items():
            write(folder, dataset, model, run, **facts)
    spec = {"trials": 1, "top_k": 1, "confirm_seeds": 2, "not_applicable": {}}
    cells = [f"{dataset}/L8/{model}" for model in runs]
    folder.joinpath("sweep.json").write_text(json.dumps(spec | {"spec": {"cells": cells}}))
    return leaderboard.build(folder)


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


def sampled(folder, model: str, left_out: list[float], shift: float = 0.0) -> None:
    """Add to the test run of a model what is left of its score without groups of examples."""
    test = RunRecord.read(folder / f"runs/digits/L8/{model}/t0-test")
    parts = LeftOut(examples=60, proportion=False, scores=[score + shift for score in left_out])
    test.model_copy(update={"left_out": dict.fromkeys(test.tests, parts)}).write(
        folder / f"runs/digits/L8/{model}/t0-test"
    )


def test_a_rank_within_the_sampling_error_of_the_test_split_is_remarked(tmp_path):
    """Seeds answer the same examples: ranks that rest on them may rest on a handful of examples."""
    good = {"t0": {"score": 0.8}, "t0-s0": {"score": 0.800}, "t0-s1": {"score": 0.801}, "t0-s2": {"score": 0.802}}
    less = {"t0": {"score": 0.8}, "t0-s0": {"score": 0.790}, "t0-s1": {"score": 0.791}, "t0-s2": {"score": 0.792}}
    small(tmp_path, "digits", lstm=good, gru=less)
    folder = tmp_path / "sweeps" / "small"
    assert row(leaderboard.build(folder), "digits", "lstm")["tied_by_sampling"] is None
    hard, other = [0.79, 0.81] * 10, [0.81, 0.79] * 10
    sampled(folder, "lstm", hard)
    sampled(folder, "gru", hard, -0.01)  # right and wrong on the same examples: the difference is sure
    assert row(leaderboard.build(folder), "digits", "lstm")["tied_by_sampling"] is None
    sampled(folder, "gru", other, -0.01)
    board = leaderboard.build(folder)
    assert row(board, "digits", "lstm")["tied_by_sampling"] == "gru"
    assert "with other test examples gru could be as good (60 were scored)" in answers.answers(board)[0]
    page = report.render(folder)
    assert "same kind could reverse: digits at 8: lstm and gru." in page


def test_validation_that_parts_from_test_by_more_than_both_errors_is_remarked(tmp_path):
    runs = {"t0": {"score": 0.8}, **{f"t0-s{n}": {"score": 0.8 + n / 1000} for n in range(3)}}
    small(tmp_path, "digits", lstm=runs)
    folder = tmp_path / "sweeps" / "small"
    sampled(folder, "lstm", [0.8, 0.803] * 10)
    board = leaderboard.build(folder)
    assert "differ by more than both errors" not in answers.answers(board)[0]  # 0.811 and 0.801, ± 0.0025 and ± 0.014
    for number in range(3):
        path = folder / f"runs/digits/L8/lstm/t0-s{number}"
        RunRecord.read(path).model_copy(update={"val": {"accuracy": 0.9}}).write(path)
    board = leaderboard.build(folder)
    rule = "0.900 on validation, 0.801 on the test split: they differ by more than both errors of the score"
    assert rule in answers.answers(board)[0]
    assert "Validation and test differ by more than both errors: lstm on digits at 8." in report.render(folder)


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


def test_a_model_that_was_not_tried_is_unfinished(tmp_path):
    unsolved = {"t0": UNSOLVED, "t0-s0": UNSOLVED, "t0-s1": UNSOLVED}
    board = small(tmp_path, "latch", mlp=unsolved, lstm={"t0": UNSOLVED})
    chance = "none of the models beats chance (0.500 accuracy)"
    expected = f"latch at 8: {chance}; not solved within 6,400 sequences by mlp; unfinished: lstm."
    assert answers.answers(board) == [expected]
    board = small(tmp_path / "all", "latch", mlp=unsolved, lstm=unsolved)
    assert answers.answers(board) == [f"latch at 8: {chance}; not solved within 6,400 sequences by any model."]


def test_the_answer_says_why_no_model_could_be_confirmed(tmp_path):
    over = {"t0": {"state": "pruned", "cause": "limit"}}
    board = small(tmp_path, "digits", lstm=over, gru=over)
    assert answers.answers(board) == [
        "digits at 8: no model could be confirmed; failed: lstm (over the limit), gru (over the limit)."
    ]


def test_no_more_seeds_are_claimed_than_there_were(tmp_path):
    both = {"t0": {"score": 1.0}, "t0-s0": solved(900), "t0-s1": solved(900)}
    board = small(tmp_path, "latch", lstm=both, gru={run: both[run] for run in ("t0", "t0-s0")})
    assert "solved on each of their 1 to 2 seeds by" in answers.answers(board)[0]


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


def test_answers_say_what_the_evidence_says(board):
    assert answers.answers(board) == [
        "latch at 8: solved on all 3 seeds by gru and lstm, quickest by lstm (11.0 s, 1,100 sequences); solved on some "
        "seeds by rnn (1 of 3); not solved within 6,400 sequences by mlp; unfinished: transformer; failed: stacked_lstm "
        "(killed, non_finite).",
        "digits at 8: none of the models beats the cheap baseline nearest (0.950 accuracy, 0.030 ahead of the best model): use it; best model: lstm, "
        "0.920 accuracy [0.870, 0.970]; gru is statistically tied; at most 6,400 training sequences a run; unfinished: mlp.",
    ]


def over_lengths(good: dict[str, list[int]], goal: str | None, **changes) -> pd.DataFrame:
    """A board at 8, 16 and 32; `good`: where each model solves, or is in the first rank if there is a goal."""
    rows = []
    for place, (model, lengths) in enumerate(good.items()):
        for length in (8, 16, 32):
            is_good = length in lengths
            row = {
                "dataset": "d",
                "length": length,
                "match": None,
                "model": model,
                "status": "complete",
                "num_seeds": 3,
            }
            row |= {
                "rank": 1 if is_good or not goal else 2,
                "solved": None if goal else 3 * is_good,
                "goal": goal or "maximize",
            }
            row |= {"score": 0.9 if is_good else 0.5, "max_sequences": 6_400, "hardware": "one"}
            rows.append(row | {"train_step_milliseconds": 9.0 - place} | changes)
    floors = [
        {"dataset": "d", "length": n, "model": "(majority)", "status": "baseline", "score": 0.1 * n / 8}
        for n in (8, 32)
    ]
    return pd.DataFrame(rows + floors, columns=leaderboard.COLUMNS)


@pytest.mark.parametrize(
    ("good", "goal", "sentence"),
    [
        (
            {"gru": [8, 16, 32], "lstm": [8, 16, 32], "rnn": [8, 16], "bilstm": [8, 32], "mlp": []},
            None,
            "solved on every seed at all 3 lengths by gru and lstm (shortest training step at 32: lstm, 8.00 ms); "
            "up to length 16 by rnn; only at 8 and 32 by bilstm; at no length within 6,400 sequences by mlp.",
        ),
        (
            {"gru": [], "lstm": []},
            None,
            "solved on every seed at no length by any model within 6,400 sequences.",
        ),
        (
            {"gru": [8, 16, 32], "mlp": [32]},
            "maximize",
            "first rank, alone or statistically tied, at all 3 lengths by gru; only at 32 by mlp.",
        ),
        (
            {"gru": [8, 16, 32]},
            "minimize",
            "at 8 and 32 no model beats the cheap baselines; first rank, alone or statistically tied, at all 3 lengths by gru.",
        ),
    ],
)
def test_one_sentence_says_which_models_are_good_at_which_lengths(good, goal, sentence):
    assert answers.summaries(over_lengths(good, goal)) == [f"d at 8 to 32: {sentence}"]


def test_steps_of_several_machines_are_not_compared_in_the_sentence():
    board = over_lengths({"gru": [8, 16, 32], "lstm": [8, 16, 32]}, None)
    board.loc[board["model"] == "gru", "hardware"] = "another"
    (sentence,) = answers.summaries(board)
    assert "training step" not in sentence


def test_a_dataset_at_one_length_needs_no_summary(board):
    assert answers.summaries(board) == []


def test_no_answer_says_what_a_model_cannot(board):
    assert "cannot" not in tables.to_markdown(board)


def test_the_answer_names_a_cheap_baseline_where_no_model_could_be_confirmed(tmp_path):
    board = small(tmp_path, "digits", lstm={"t0": {"state": "pruned", "cause": "limit"}})
    rows = [
        {"model": f"({name})", "score": score} for name, score in {"chance": 0.5, "1-NN": 0.4, "forest": 0.3}.items()
    ]
    cheap = pd.DataFrame(rows).assign(
        dataset="digits", length=8, status="baseline", metric="accuracy", goal="maximize", size_bytes=100.0
    )
    (answer,) = answers.answers(pd.concat([board.assign(status="dropped"), cheap], ignore_index=True))
    assert answer == (
        "digits at 8: no model could be confirmed in this time; give --budget more; use the cheap baseline 1-NN "
        "(0.400 accuracy), the best of them (python -m bench export --model 1-NN)."
    )


def test_the_answer_names_the_cheap_baseline_that_validation_chose_not_the_best_on_test(tmp_path):
    runs = {"t0": {"score": 0.5}, "t0-s0": {"score": 0.5}, "t0-s1": {"score": 0.5}}
    board = small(tmp_path, "digits", lstm=runs)
    best = float(board.iloc[0]["score"])
    shared = {"dataset": "digits", "length": 8, "status": "baseline", "metric": "accuracy", "goal": "maximize"}
    rows = [shared | {"model": "(forest)", "score": best + 0.2}, shared | {"model": "(1-NN)", "score": best + 0.1}]
    cheap = pd.DataFrame(rows)
    cheap["chosen_by_validation"] = [None, True]
    (answer,) = answers.answers(pd.concat([board, cheap], ignore_index=True))
    assert answer.startswith("digits at 8: none of the models beats the cheap baseline 1-NN")
    cheap.loc[1, "score"] = best - 0.1  # behind the model, unlike the other
    (answer,) = answers.answers(pd.concat([board, cheap], ignore_index=True))
    assert answer.startswith("digits at 8: none of the models beats the cheap baseline forest")


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


def test_before_a_confirmation_no_answer_is_given(tmp_path):
    write(tmp_path, "latch", "lstm", "t0", **solved(100))
    spec = {"spec": {"cells": ["latch/L8/lstm"]}, "trials": 1, "top_k": 1, "confirm_seeds": 1, "not_applicable": {}}
    (tmp_path / "sweep.json").write_text(json.dumps(spec))
    board = leaderboard.build(tmp_path)
    assert answers.answers(board) == ["latch at 8: no model has been confirmed yet."]
    assert row(board, "latch", "lstm")["status"] == "unfinished"


def test_the_table_shows_what_a_failed_model_cost(board):
    (cells,) = (cells for table in tables.for_people(board).values() for cells in table if "stacked" in cells[0])
    assert cells[0] == "stacked_lstm (failed)"
    assert cells[-1] == f"{row(board, 'latch', 'stacked_lstm')['device_seconds']:.1f}" != "0.0"


def test_the_csv_holds_the_board(board, tmp_path):
    tables.write_csv(board, tmp_path / "board.csv")
    found = pd.read_csv(tmp_path / "board.csv")
    assert list(found.columns) == leaderboard.COLUMNS
    assert found["model"].tolist() == board["model"].tolist()
    assert found["score"].tolist() == pytest.approx(board["score"].tolist(), nan_ok=True)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "1234567", "12e4567", "0012"])
def test_text_that_a_spreadsheet_would_evaluate_gets_a_quote(tmp_path, text):
    board = pd.DataFrame({"model": [text, "plain"], "score": [-1.5, 2.0], "solved": [-1, None]})
    tables.write_csv(board, tmp_path / "board.csv")
    found = pd.read_csv(tmp_path / "board.csv")
    assert found["model"].tolist() == [f"'{text}", "plain"]
    assert found["score"].tolist() == [-1.5, 2.0]
    assert found["solved"][0] == -1


def test_a_table_has_a_row_a_model_and_fits_its_headings(board):
    shown = tables.for_people(board)
    assert list(shown) == [
        "latch at 8 (8 steps, accuracy; interval of the share of seeds that solve)",
        "digits at 8 (8 steps, accuracy; interval of the mean score)",
    ]
    rows = [cells for table in shown.values() for cells in table]
    assert len(rows) == len(board)
    assert {len(cells) for cells in rows} == {len(tables.SHOWN)}
    assert all(type(cell) is str and "nan" not in cell for cells in rows for cell in cells)
    assert rows[1][:6] == ["lstm", "1", "1.000", "0.29 to 1.00", "3 of 3", "1,100"]


def test_markdown_omits_empty_columns(board):
    shown = tables.to_markdown(board).split("### ")[1:]
    assert [table.split(" at ")[0] for table in shown] == ["latch", "digits"]
    for table in shown:
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1
        assert ("solved" in lines[0]) == table.startswith("latch")
        for column in zip(*(line.strip("|").split("|") for line in lines[2:]), strict=True):
            assert any(cell.strip() for cell in column)


def test_records_load_flat(sweep):
    frame = sweeps.load(sweep.parents[1])
    assert len(frame) == len(list(sweep.rglob("record.json")))
    assert {"config.train.learning_rate", "val.accuracy", "seconds.total", "asked.metric"} <= set(frame.columns)
    assert frame.equals(sweeps.load(sweep.parents[1], "one"))
    assert sweeps.load(sweep.parents[1] / "nowhere").empty


def test_sweeps_are_found_by_name_the_latest_without(sweep):
    results = sweep.parents[1]
    assert sweeps.find(results, []) == sweeps.find(results, ["one"]) == [sweep]


def test_a_sweep_misspelled(sweep):
    with pytest.raises(UnknownNameError, match="unknown sweep 'ome'; did you mean 'one'"):
        sweeps.find(sweep.parents[1], ["ome"])


def test_a_folder_without_sweeps(tmp_path):
    with pytest.raises(DeclarationError, match="no sweep here yet; run: python -m bench sweep"):
        sweeps.find(tmp_path, [])


def test_one_seed_has_no_interval_of_the_mean(tmp_path):
    write(tmp_path, "digits", "lstm", "t0", score=0.8)
    write(tmp_path, "digits", "lstm", "t0-s0", score=0.7)
    spec = {"spec": {"cells": ["digits/L8/lstm"]}, "trials": 1, "top_k": 1, "confirm_seeds": 1, "not_applicable": {}}
    (tmp_path / "sweep.json").write_text(json.dumps(spec))
    found = row(leaderboard.build(tmp_path), "digits", "lstm")
    assert found["score"] == 0.7
    assert math.isnan(found["ci_low"])


def test_less_is_better_where_the_metric_says_so(tmp_path):
    folder = tmp_path / "sweeps" / "one"
    asked = Asked(metric="accuracy", goal="minimize", chance=1.0, solved=None, num_steps=8)
    for space, scores in {"lstm": (0.2, 0.3), "gru": (0.6, 0.7)}.items():
        write(folder, "digits", space, "t0", score=0.8)
        for number, score in enumerate(scores):
            write(folder, "digits", space, f"t0-s{number}", score=score)
    write(folder, "digits", "lstm", "baselines", baselines={"naive": 0.5, "ridge": 0.22})
    for path in folder.rglob("record.json"):
        record = RunRecord.read(path.parent)
        record.model_copy(update={"asked": asked}).write(path.parent)
    spec = {
        "spec": {"cells": ["digits/L8/gru", "digits/L8/lstm"]},
        "trials": 1,
        "top_k": 1,
        "confirm_seeds": 2,
        "not_applicable": {},
    }
    (folder / "sweep.json").write_text(json.dumps(spec))
    board = leaderboard.build(folder)
    assert board["model"].tolist()[:2] == ["lstm", "gru"]
    (answer,) = answers.answers(board)
    assert answer.startswith(
        "digits at 8: none of the models beats the cheap baseline ridge (0.220 accuracy, 0.030 ahead of the best model): use it; best"
    )
    assert "best model: lstm" in answer


def test_the_newest_sweep_without_results_gives_way_to_the_newest_with_results(sweep, tmp_path):
    shutil.copytree(sweep.parents[1], tmp_path / "results")
    new = tmp_path / "results" / "sweeps" / "two"
    new.mkdir()
    new.joinpath("sweep.json").write_text(json.dumps({"spec": {"cells": []}}))
    lines = []
    (found,) = sweeps.find(tmp_path / "results", [], lines.append)
    assert found.name == "one"
    assert lines == ["sweep two has no finished run yet; this is sweep one, the newest that has one"]
    assert sweeps.find(tmp_path / "results", ["two"], lines.append) == [new]
    assert len(lines) == 1


def test_without_any_result_the_newest_sweep_is_taken(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "sweeps" / name).mkdir(parents=True)
        (tmp_path / "sweeps" / name / "sweep.json").write_text("{}")
    os.utime(tmp_path / "sweeps" / "one" / "sweep.json", (0, 0))
    lines = []
    assert [path.name for path in sweeps.find(tmp_path, [], lines.append)] == ["two"]
    assert lines == []


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


def test_no_fastest_step_is_named_if_one_of_them_was_disturbed(board):
    rows = pd.DataFrame({"model": ["lstm", "gru"], "length": 8, "train_step_milliseconds": [1.0, 2.0], "mixed": None,
                         "timing_disturbed": ["no", "no"]} | dict.fromkeys(leaderboard.CONDITIONS, "same"))  # fmt: skip
    assert "lstm, 1.00 ms" in answers._fastest_step(rows, ["lstm", "gru"], 8)
    rows["timing_disturbed"] = ["no", "train_step"]
    assert answers._fastest_step(rows, ["lstm", "gru"], 8) == ""


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
