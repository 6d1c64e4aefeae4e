"""What a leaderboard says, as sentences."""

import json

import pandas as pd
import pytest

from bench.report import report
from bench.results import answers, leaderboard
from bench.results.record import Asked, RunRecord
from bench.results.sampling import LeftOut
from tests.results.boards import UNSOLVED, row, small, solved, write


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


def test_before_a_confirmation_no_answer_is_given(tmp_path):
    write(tmp_path, "latch", "lstm", "t0", **solved(100))
    spec = {"spec": {"cells": ["latch/L8/lstm"]}, "trials": 1, "top_k": 1, "confirm_seeds": 1, "not_applicable": {}}
    (tmp_path / "sweep.json").write_text(json.dumps(spec))
    board = leaderboard.build(tmp_path)
    assert answers.answers(board) == ["latch at 8: no model has been confirmed yet."]
    assert row(board, "latch", "lstm")["status"] == "unfinished"


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


def test_no_fastest_step_is_named_if_one_of_them_was_disturbed(board):
    rows = pd.DataFrame({"model": ["lstm", "gru"], "length": 8, "train_step_milliseconds": [1.0, 2.0], "mixed": None,
                         "timing_disturbed": ["no", "no"]} | dict.fromkeys(leaderboard.CONDITIONS, "same"))  # fmt: skip
    assert "lstm, 1.00 ms" in answers._fastest_step(rows, ["lstm", "gru"], 8)
    rows["timing_disturbed"] = ["no", "train_step"]
    assert answers._fastest_step(rows, ["lstm", "gru"], 8) == ""
