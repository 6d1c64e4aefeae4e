"""The tables behind a report, against hand calculations."""

import math

import pytest

from bench.config.settings import Limits, RunConfig, TrainSettings
from bench.report import evidence
from bench.results import bill, stats
from bench.results.record import Asked, Epoch, RunRecord, Seconds
from bench.sweeps.estimate import CellEstimate, Estimate

SETTINGS = TrainSettings(max_sequences=640, batch_size=8, num_epochs=2, num_val=8, num_test=8)


def made(run: str, score: float | None = 0.5, model: str = "lstm", solved=None, config: dict | None = None, **facts):
    """A trial (t3) or confirm run (t3-s0); trial 0 is the default."""
    trial, _, seed = run.partition("-s")
    number = int(seed or trial[1:])
    values = {
        "sweep": "s", "run": f"d/L8/{model}/{run}", "phase": "confirm" if seed else "screen", "number": number,
        "dataset": "d", "task": "latch", "length": 8, "task_arguments": {}, "space": model, "model": "lstm",
        "model_arguments": {}, "train": SETTINGS, "seed": 100 + number if seed else 0,
        "origin": "default" if trial == "t0" else "sobol",
    }  # fmt: skip
    state = "complete" if score is not None else "failed"
    defaults = {"state": state, "val": {"acc": score} if score is not None else {}, "seconds": Seconds(total=10.0)}
    return RunRecord(
        config=RunConfig(**values | (config or {})),
        asked=Asked(metric="acc", goal="maximize", chance=0.1, solved=solved, num_steps=8),
        **defaults | facts,
    )


def test_outcomes_are_counted_by_cause():
    runs = [
        made("t0"), made("t1", None, cause="out_of_memory"), made("t2", None, cause="non_finite"), made("t0-s0"),
        made("t3", state="pruned", cause="pruner"), made("t4", state="pruned", cause="limit"), made("t0", model="gru"),
    ]  # fmt: skip
    frame = evidence.outcomes(runs).set_index("model")
    lstm = frame.loc["lstm"].to_dict()
    assert (lstm["runs"], lstm["complete"], lstm["pruned"], lstm["over the limit"]) == (6, 2, 1, 1)
    assert (lstm["out_of_memory"], lstm["non_finite"]) == (1, 1)
    assert frame.loc["gru", "out_of_memory"] == 0


def test_expected_performance_is_that_of_the_drawn_trials():
    runs = [made("t0", 0.99), *(made(f"t{i}", score) for i, score in enumerate((0.5, 0.6, 0.7, 0.8), 1))]
    frame = evidence.expected_performance(runs)
    assert frame["score"].tolist() == pytest.approx([0.65, 0.73333333, 0.775, 0.8])  # golden, science G1
    assert frame["device_seconds"].tolist() == [10, 20, 30, 40]
    assert frame["plug_in"].tolist() == pytest.approx([0.76171875] * 4)


def test_a_failed_trial_is_in_the_curve_at_chance():
    for failed in (made("t2", None, cause="error"), made("t2", 0.9, state="failed", cause="diverged")):
        frame = evidence.expected_performance([made("t1", 0.5), failed])
        assert frame["score"].tolist() == pytest.approx([0.3, 0.5])


@pytest.mark.parametrize(
    "spoiled",
    [
        made("t2", 0.6, config={"origin": "tpe"}),
        made("t2", 0.6, state="pruned"),
        made("t2", config={"ask_pruner": True}),
    ],
)
def test_no_curve_from_learned_or_pruned_trials(spoiled):
    kept = evidence.expected_performance([made("t1", 0.5), spoiled])
    assert len(kept) == (1 if spoiled.config.origin == "tpe" else 0)


def test_default_and_tuned_are_compared_on_the_same_seeds():
    runs = [made("t0", 0.6), made("t1", 0.9)]
    runs += [made(f"t0-s{i}", s) for i, s in enumerate((0.5, 0.6, 0.7))]
    runs += [made(f"t1-s{i}", s) for i, s in enumerate((0.7, 0.8, 0.84))]
    (row,) = evidence.default_against_tuned(runs, 1).to_dict("records")
    gains = (0.2, 0.2, 0.14)
    assert (row["default"], row["tuned"], row["gain"]) == pytest.approx((0.6, 0.78, 0.18))
    assert (row["low"], row["high"]) == pytest.approx(stats.mean_interval(gains))
    assert row["drop"] == pytest.approx(0.9 - 0.78)
    assert (row["picked"], row["chosen"], row["seeds"]) == (1, 1, 3)


def test_a_loss_by_tuning_is_reported_although_fresh_seeds_choose_the_default():
    """A gain of what these very seeds chose could never be negative."""
    runs = [made("t0", 0.6), made("t1", 0.9), *(made(f"t0-s{i}", 0.7) for i in range(2))]
    runs += [made(f"t1-s{i}", 0.5) for i in range(2)]
    (row,) = evidence.default_against_tuned(runs, 1).to_dict("records")
    assert (row["picked"], row["chosen"]) == (1, 0)
    assert (row["gain"], row["drop"]) == pytest.approx((-0.2, 0.4))


def test_a_seed_that_failed_counts_with_chance_also_where_it_had_been_better_before():
    runs = [made("t0", 0.6), made("t1", 0.9), *(made(f"t0-s{i}", 0.5) for i in range(2))]
    runs += [made("t1-s0", 0.9), made("t1-s1", 0.9, state="failed", cause="diverged")]
    (row,) = evidence.default_against_tuned(runs, 1).to_dict("records")
    assert row["tuned"] == pytest.approx((0.9 + 0.1) / 2)


def test_only_seeds_that_both_have_are_compared():
    runs = [made("t0", 0.6), made("t1", 0.9), made("t0-s0", 0.5), made("t1-s0", 0.7), made("t1-s1", 0.1)]
    (row,) = evidence.default_against_tuned(runs, 1).to_dict("records")
    assert (row["seeds"], row["gain"]) == (1, pytest.approx(0.2))


def test_the_front_and_its_volume():
    points = {"t0": (0.5, 10.0), "t1": (0.9, 30.0), "t2": (0.7, 20.0), "t3": (0.6, 25.0), "t4": (0.3, 30.0)}
    runs = [made(name, score, seconds=Seconds(total=cost)) for name, (score, cost) in points.items()]
    frame = evidence.pareto_front(runs, ("quality", "cost")).set_index("trial")
    assert frame["on_front"].to_dict() == {0: True, 1: True, 2: True, 3: False, 4: False}
    # In the box 0.3 to 0.9 by 10 to 30: 0.5 is met from 10 on, 0.7 from 20, 0.9 at the very corner.
    assert frame["hypervolume"].iloc[0] == pytest.approx((0.2 * 20 + 0.2 * 10) / (0.6 * 20))


def test_what_exceeds_a_limit_is_on_no_front():
    limits = {"limits": Limits(parameters=100)}
    runs = [made(f"t{i}", 0.5 + i / 10, config=limits, parameters={"encoder": 99 + i}) for i in range(3)]
    frame = evidence.pareto_front(runs, ("quality", "parameters"))
    assert frame["trial"].tolist() == [0, 1]


def test_each_rule_of_capacity_has_a_front_of_its_own():
    runs = [made("t0", 0.5, model="lstm@parameters=70k"), made("t0", 0.4, model="gru@parameters=70k")]
    runs.append(made("t0", 0.3, model="gru@state=64"))
    frame = evidence.pareto_front(runs, ("quality", "cost")).set_index("model")
    assert frame["on_front"].to_dict() == {
        "lstm@parameters=70k": True,
        "gru@parameters=70k": False,
        "gru@state=64": True,
    }


def test_the_bill_of_a_study_holds_every_run():
    runs = [made("t0"), made("t1", None, cause="error"), made("t0-s0"), made("t0", model="gru")]
    frame = evidence.study_bill(runs, 36.0).set_index("model")
    assert frame.loc["lstm", "device_hours"] == pytest.approx(30 / 3600)
    assert frame.loc["lstm", "confirming_hours"] == pytest.approx(10 / 3600)
    assert (frame.loc["lstm", "failed"], frame.loc["lstm", "runs"]) == (1, 3)
    assert frame.loc["lstm", "energy_is"] == "not measured"
    assert evidence.study_bill(runs, None)["usd"].isna().all()


def test_what_it_costs_to_reach_a_score():
    runs = [made(f"t{i}", score) for i, score in enumerate((0.5, 0.95, 0.2, 0.99))]
    (row,) = evidence.cost_to_reach(runs, 0.9).to_dict("records")
    assert (row["reached"], row["trials"], row["device_seconds"]) == (2, 4, 20.0)
    diverged = made("t4", 0.95, state="failed", cause="diverged")  # it cannot be chosen: that score was not reached
    (row,) = evidence.cost_to_reach([*runs, diverged], 0.9).to_dict("records")
    assert (row["reached"], row["device_seconds"]) == (2, 25.0)
    (row,) = evidence.cost_to_reach(runs, 0.999).to_dict("records")
    assert math.isnan(row["device_seconds"])
    (row,) = evidence.cost_to_reach(runs).to_dict("records")
    assert row["quality"] == pytest.approx(0.1 + 0.9 * 0.89)


def test_texts_are_those_of_the_chosen_configuration_and_of_cheap_samplers():
    runs = [made("t0", 0.6), made("t1", 0.9), made("t0-s0", 0.6), made("t1-s0", 0.9), made("t1-s1", 0.9)]
    written = {"copied_t0.5": 0.5, "copied_t1.0": 0.1, "real_words_t0.5": 0.7, "real_words_t1.0": 0.4}
    for trial, extra in (("t1", written), ("t0", {"copied_t0.5": 1.0})):
        opened = {f"d/L8/lstm/{trial}-s0": {"acc": 0.8} | extra, f"d/L8/lstm/{trial}-s1": {"acc": 0.7}}
        test = {"phase": "test", "run": f"d/L8/lstm/{trial}-test", "opens_test_of": tuple(opened)}
        runs.append(made(trial, config=test, tests=opened))
    floor = {"phase": "baselines", "run": "d/L8/_baselines"}
    runs.append(made("t0", config=floor, tests={"unigram": {"acc": 0.2, "copied_t1.0": 0.0, "real_words_t1.0": 0.1}}))
    frame = evidence.generated(runs, 1)
    shown = ["model", "temperature", "score", "copied", "real_words", "run"]
    assert frame[shown].to_numpy().tolist() == [
        ["lstm", "0.5", 0.8, 0.5, 0.7, "d/L8/lstm/t1-s0"],
        ["lstm", "1.0", 0.8, 0.1, 0.4, "d/L8/lstm/t1-s0"],
        ["(unigram)", "1.0", 0.2, 0.0, 0.1, "d/L8/_baselines"],
    ]
    assert evidence.generated(runs[:5], 1).empty


def test_a_prediction_is_compared_for_the_work_that_was_done():
    curve = [Epoch(steps=40, sequences=320, train_seconds=1, train_loss=1, val={"acc": 0.5})]
    runs = [made(f"t{i}", 0.5, epochs=curve, train_steps=40, started_at="2026-11-20T12:00:00+00:00") for i in range(2)]
    cell = CellEstimate(dataset="d", length=8, model="lstm", runs=2, run_seconds=24.0, device_seconds=48.0)
    estimate = Estimate(
        sweep="s", made="", hardware="", slots=2, memory_bytes=1, wall_seconds=24.0, usd=None, cells=[cell]
    )
    frame = evidence.predicted_against_actual(runs, estimate)
    (row,) = frame.to_dict("records")
    assert (row["actual_seconds"], row["ratio"]) == (20.0, 2.4)
    assert row["work_done"] == pytest.approx(80 / 160)
    assert row["predicted_for_work_done"] == pytest.approx(24.0)
    assert frame.attrs == {"wall_predicted": 24.0, "wall_actual": bill.wall_seconds(runs)}
