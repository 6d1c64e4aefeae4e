"""A task that one metric chooses and another one ranks, as in anomaly detection."""

from bench.config.measures import MEASURES
from bench.results import leaderboard, scores
from bench.results.cell_runs import best_baseline
from bench.results.record import Asked, FittedBaseline
from bench.results.selection import best_trials, counted_test, counted_val
from tests.makers import record

ASKED = {"metric": "mse", "goal": "minimize", "chance": 1.0, "solved": None, "test_metric": "average_precision"}


def runs(mse: float, precision: float):
    """Three confirm runs of one configuration, with test scores around `precision`."""
    tests = [{"mse": mse, "average_precision": precision + seed / 100} for seed in range(3)]
    return [
        record({"phase": "confirm", "seed": seed, "number": seed}, ASKED, val={"mse": mse}, test=test)
        for seed, test in enumerate(tests)
    ]


def test_the_score_is_that_of_the_test_metric_and_choices_are_those_of_validation():
    forecaster, detector = runs(0.1, 0.5), runs(0.2, 0.7)
    assert (counted_val(forecaster[0]), counted_test(forecaster[0])) == (0.1, 0.5)
    assert scores.score(detector)["score"] == 0.71
    assert scores.rank([forecaster, detector]) == [2, 1]  # more average precision is better, less error was chosen
    trials = [record({"number": n}, ASKED, val={"mse": mse}) for n, mse in enumerate((0.2, 0.1))]
    assert best_trials(trials, 1)[0].config.number == 1


def test_a_failed_run_counts_with_the_worst_value_of_the_test_metric():
    failed = record({"phase": "confirm"}, ASKED, state="failed", cause="diverged")
    assert (counted_val(failed), counted_test(failed)) == (1.0, MEASURES["average_precision"].least)


def test_a_detector_without_a_validation_score_is_never_chosen():
    fitted = {
        "forest": FittedBaseline(title="isolation forest", test={"average_precision": 0.9}),
        "last": FittedBaseline(title="repeat last", val={"mse": 0.3}, test={"average_precision": 0.2, "mse": 0.3}),
    }
    run = record({"phase": "baselines"}, ASKED, fitted=fitted, baselines={"constant score": 0.01})
    assert best_baseline(run) == "last"
    rows = leaderboard._baseline_rows([run], run)
    assert [(row["model"], row["score"]) for row in rows] == [
        ("(isolation forest)", 0.9),
        ("(repeat last)", 0.2),
        ("(constant score)", 0.01),
    ]
    assert {(row["metric"], row["goal"], row["val_metric"]) for row in rows} == {
        ("average_precision", "maximize", "mse")
    }


def test_other_tasks_and_records_of_earlier_versions_have_one_metric():
    asked = Asked(metric="mse", goal="minimize", chance=1.0, solved=None, num_steps=4)
    assert (asked.ranks_by, asked.test_goal, asked.test_sign) == ("mse", "minimize", -1)
