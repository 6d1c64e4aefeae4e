"""Predictions of a sweep, from probes made by hand and from real ones."""

import pytest

from bench.config.sweep_settings import SweepConfig
from bench.results.record import Asked, Epoch, RunRecord, Seconds
from bench.sweeps import estimate, probes, terms
from bench.sweeps import prepare as plans
from tests.makers import record


def make(tmp_path, **options) -> plans.Plan:
    values = {
        "datasets": ["latch"],
        "lengths": [8],
        "models": ["lstm"],
        "results": tmp_path,
        "budget": "smoke",
        "name": "s",
    }
    return plans.make(SweepConfig.build(None, values | options))


def probe(plan, steps: int, step: float, beside: float, first: float = 0.0) -> RunRecord:
    """Return a probe whose steps take `step` seconds; an epoch takes `beside` more, and the first epoch `first` more."""
    config = probes.probe(plan, plan.cells[0], 0, steps)
    ends = [first + (beside + steps * step) * number for number in (1, 2, 3)]
    curve = [
        Epoch(steps=steps * i, sequences=i, train_seconds=end, train_loss=1, val={"accuracy": 0.5})
        for i, end in enumerate(ends, 1)
    ]
    seconds = Seconds(setup=0.2, train=ends[-1], evaluate=0.5, waiting=0.1, total=0.8 + ends[-1] + 0.05)
    return record(
        config, Asked.model_validate(plan.cells[0].task), epochs=curve, seconds=seconds,
        parameters={"encoder": 1_000}, peak_memory_bytes=2**20,
    )  # fmt: skip


def test_steps_and_epochs_are_separated(tmp_path):
    plan = make(tmp_path)
    short, longer = (probe(plan, steps, 0.003, 0.02) for steps in (2, 30))
    both, one = estimate.RunCost.of_probes(short, longer), estimate.RunCost.of_probes(short, None)
    assert (both.step, both.epoch) == pytest.approx((0.003, 0.02))
    assert (one.step, one.epoch) == pytest.approx(((0.02 + 0.006) / 2, 0.0))


def test_a_run_is_the_sum_of_its_parts(tmp_path):
    plan = make(tmp_path)  # 640 sequences in 2 epochs of 10 steps, 1 trial and 1 seed
    cell = estimate.estimate_cell(
        plan, plan.cells[0], probe(plan, 2, 0.003, 0.02, 0.5), probe(plan, 30, 0.003, 0.02, 0.5), 2**30
    )
    # Setup, waiting and the rest; the surplus of the first epoch; two epochs of steps, their overhead and validation.
    run = (0.2 + 0.1 + 0.05) + 0.5 + 2 * (10 * 0.003 + 0.02 + 0.1)
    assert cell.run_seconds == pytest.approx(run)
    assert cell.runs == 2
    assert cell.device_seconds == pytest.approx(2 * run + (0.35 + 0.1))  # with the test run of one seed
    assert cell.problem is None


def test_a_test_run_takes_longer_with_more_seeds_and_test_lengths(tmp_path):
    few, several, longer = (
        make(tmp_path, **options)
        for options in ({}, {"confirm_seeds": 2}, {"confirm_seeds": 2, "test_lengths": [16, 32]})
    )
    num_test, num_val = few.settings(few.cells[0]).num_test, few.settings(few.cells[0]).num_val
    splits = num_test + num_val  # several seeds are averaged by their outputs for val
    assert few.test_sequences(few.cells[0]) == num_test
    assert several.test_sequences(several.cells[0]) == splits
    assert longer.test_sequences(longer.cells[0]) == splits + num_test * (8 + 16 + 32) / 8
    seconds = [
        estimate.estimate_cell(plan, plan.cells[0], probe(plan, 2, 0.003, 0.02), None, 2**30).device_seconds
        for plan in (several, longer)
    ]
    evaluation = 0.1 / num_val  # of a sequence, as the probe shows it
    assert seconds[1] - seconds[0] == pytest.approx(2 * num_test * 7 * evaluation)


def test_a_cell_that_does_not_fit_is_marked(tmp_path):
    plan = make(tmp_path)
    cell = estimate.estimate_cell(plan, plan.cells[0], probe(plan, 2, 0.003, 0.02), None, 2**19)
    assert cell.problem == "needs 0.0 GiB"
    failed = probe(plan, 2, 1, 0).model_copy(update={"state": "failed", "cause": "out_of_memory", "message": "no"})
    assert estimate.estimate_cell(plan, plan.cells[0], failed, None, 2**30).problem == "fails: out_of_memory: no"


def test_the_default_is_expected_among_the_best_as_often_as_any_other(tmp_path):
    plan = make(tmp_path, trials=4, confirm_seeds=10, top_k=2)
    cell = estimate.estimate_cell(plan, plan.cells[0], probe(plan, 2, 0.003, 0.02), None, 2**30)
    assert cell.runs == 4 + 10 * (2 + 0.5)


def test_a_real_plan_predicts_and_is_kept(tmp_path):
    plan = make(tmp_path, models=["lstm", "mlp"], price_per_hour=3.6)
    said: list[str] = []
    found = estimate.make(plan, None, said.append)
    assert estimate.read(plan.folder) == found
    assert [cell.model for cell in found.cells] == ["lstm", "mlp"]
    assert all(cell.problem is None and 0 < cell.run_seconds < 60 for cell in found.cells)
    assert found.usd == pytest.approx(3.6 * found.wall_seconds / 3600)
    assert not (plan.folder / "runs").exists()  # no probe is mistaken for a run
    assert len(found.table()) == 2
    assert len(found.table()[0]) == len(found.SHOWN)
    assert not any("ends it early" in sentence for sentence in found.sentences())
    cut = " ".join(found.model_copy(update={"is_cut_short": True}).sentences())
    assert "A budget of time or money ends it early: all its runs would take" in cut
    terms.freeze(plan)  # a sweep may start there


def test_a_plan_notes_that_a_budget_ends_it(tmp_path):
    found = estimate.make(make(tmp_path, models=["mlp"], wall_time="0.01s"), None, lambda text: None)
    assert found.is_cut_short


@pytest.mark.parametrize(
    ("budget", "seconds"),
    [({}, float("inf")), ({"wall_time": "30s"}, 30), ({"device_time": "1m"}, 15), ({"max_usd": 0.01}, 10),
     ({"wall_time": "12s", "device_time": "1m", "max_usd": 1.0}, 12)],
)  # fmt: skip
def test_a_budget_of_time_or_money_ends_what_is_predicted(tmp_path, budget, seconds):
    plan = make(tmp_path, workers=4, price_per_hour=3.6, **budget)
    assert estimate.allowed_seconds(plan) == pytest.approx(seconds)


def test_how_early_runs_are_solved_is_learned_from_earlier_sweeps(tmp_path):
    plan = make(tmp_path)
    cell, probes = plan.cells[0], (probe(plan, 2, 0.003, 0.02), probe(plan, 30, 0.003, 0.02))
    learned = estimate.estimate_cell(plan, cell, *probes, 2**30, [(8, 64), (8, 192), (512, 640)])
    assert (learned.share, learned.learned_from) == (pytest.approx(0.2), 2)  # of 640; the nearest length counts
    full = estimate.estimate_cell(plan, cell, *probes, 2**30)
    training = 2 * (10 * 0.003 + 0.02 + 0.1)
    assert full.device_seconds - learned.device_seconds == pytest.approx(2 * 0.8 * training)
    assert learned.run_seconds == full.run_seconds


def test_runs_of_earlier_sweeps_are_found(tmp_path):
    earlier = make(tmp_path, models=["mlp"], name="earlier")
    earlier.folder.mkdir(parents=True)
    terms.freeze(earlier)
    solved = probe(earlier, 2, 0.003, 0.02).model_copy(update={"solved": True, "train_sequences": 320})
    solved = solved.model_copy(update={"config": solved.config.model_copy(update={"phase": "screen"})})
    folder = earlier.folder / "runs" / "t0"
    folder.mkdir(parents=True)
    solved.write(folder)
    (cell,) = estimate.make(make(tmp_path, models=["mlp"]), None, lambda text: None).cells
    assert (cell.share, cell.learned_from) == (0.5, 1)
    (cell,) = estimate.make(earlier, None, lambda text: None).cells
    assert cell.learned_from == 0  # its own runs do not count
