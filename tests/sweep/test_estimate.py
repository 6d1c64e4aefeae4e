"""Predictions, from probes made by hand and from real ones."""

import pytest

from bench.config.sweep_settings import SweepConfig
from bench.results.record import Asked, Epoch, RunRecord, Seconds
from bench.sweep import estimate
from bench.sweep import prepare as plans


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
    """A probe whose steps take `step` seconds, and an epoch `beside` them, the first one `first` more."""
    config = estimate._probe(plan, plan.cells[0], 0, steps)
    ends = [first + (beside + steps * step) * number for number in (1, 2, 3)]
    curve = [
        Epoch(steps=steps * i, sequences=i, train_seconds=end, train_loss=1, val={"accuracy": 0.5})
        for i, end in enumerate(ends, 1)
    ]
    seconds = Seconds(setup=0.2, train=ends[-1], evaluate=0.5, waiting=0.1, total=0.8 + ends[-1] + 0.05)
    return RunRecord(
        config=config, asked=Asked.model_validate(plan.cells[0].task), state="complete", epochs=curve, seconds=seconds,
        parameters={"encoder": 1_000}, peak_memory_bytes=2**20,
    )  # fmt: skip


def test_steps_and_epochs_are_told_apart(tmp_path):
    plan = make(tmp_path)
    short, longer = (probe(plan, steps, 0.003, 0.02) for steps in (2, 30))
    assert estimate.run_seconds(short, longer) == pytest.approx((0.003, 0.02))
    assert estimate.run_seconds(short, None) == pytest.approx(((0.02 + 0.006) / 2, 0.0))


def test_a_run_is_the_sum_of_its_parts(tmp_path):
    plan = make(tmp_path)  # 640 sequences in 2 epochs of 10 steps, 1 trial and 1 seed
    cell = estimate._cell(
        plan, plan.cells[0], probe(plan, 2, 0.003, 0.02, 0.5), probe(plan, 30, 0.003, 0.02, 0.5), 2**30
    )
    # set up, waiting and the rest; what the first epoch needs more; two epochs of steps, their own cost, validation
    run = (0.2 + 0.1 + 0.05) + 0.5 + 2 * (10 * 0.003 + 0.02 + 0.1)
    assert cell.run_seconds == pytest.approx(run)
    assert cell.runs == 2
    assert cell.device_seconds == pytest.approx(2 * run + (0.35 + 0.1))  # and the test run of one seed
    assert cell.problem is None


def test_what_does_not_fit_is_marked(tmp_path):
    plan = make(tmp_path)
    cell = estimate._cell(plan, plan.cells[0], probe(plan, 2, 0.003, 0.02), None, 2**19)
    assert cell.problem == "needs 0.0 GiB"
    failed = probe(plan, 2, 1, 0).model_copy(update={"state": "failed", "cause": "out_of_memory", "message": "no"})
    assert estimate._cell(plan, plan.cells[0], failed, None, 2**30).problem == "fails: out_of_memory: no"


def test_the_default_is_expected_among_the_best_as_often_as_any_other(tmp_path):
    plan = make(tmp_path, trials=4, confirm_seeds=10, top_k=2)
    cell = estimate._cell(plan, plan.cells[0], probe(plan, 2, 0.003, 0.02), None, 2**30)
    assert cell.runs == 4 + 10 * (2 + 0.5)


def test_a_real_plan_predicts_and_is_kept(tmp_path):
    plan = make(tmp_path, models=["lstm", "mlp"], price_per_hour=3.6)
    said: list[str] = []
    found = estimate.make(plan, None, said.append)
    assert estimate.read(plan.folder) == found
    assert [cell.model for cell in found.cells] == ["lstm", "mlp"]
    assert all(cell.problem is None and 0 < cell.run_seconds < 60 for cell in found.cells)
    assert found.usd == pytest.approx(3.6 * found.wall_seconds / 3600)
    assert not (plan.folder / "runs").exists()  # nothing of it is taken for a run
    assert len(found.table()) == 2
    assert len(found.table()[0]) == len(found.SHOWN)
    assert "before all runs are made" not in found.sentences()[0]
    short = found.model_copy(update={"is_cut_short": True}).sentences()[0]
    assert "a budget of time or money ends it before all runs are made, which would take" in short
    plans.freeze(plan)  # a sweep may begin there


def test_a_plan_that_a_budget_ends_says_so(tmp_path):
    found = estimate.make(make(tmp_path, models=["mlp"], wall_time="0.01s"), None, lambda text: None)
    assert found.is_cut_short


@pytest.mark.parametrize(
    ("budget", "seconds"),
    [({}, float("inf")), ({"wall_time": "30s"}, 30), ({"device_time": "1m"}, 15), ({"max_usd": 0.01}, 10),
     ({"wall_time": "12s", "device_time": "1m", "max_usd": 1.0}, 12)],
)  # fmt: skip
def test_a_budget_of_time_or_money_ends_what_is_predicted(tmp_path, budget, seconds):
    plan = make(tmp_path, workers=4, price_per_hour=3.6, **budget)
    assert estimate._allowed_seconds(plan) == pytest.approx(seconds)


@pytest.mark.slow
def test_the_frontier_is_what_fits(tmp_path):
    plan = make(tmp_path, models=["lstm", "transformer"], datasets=["adding"], lengths=[50])
    found = estimate.frontier(plan, 0.15, lambda text: None)
    for reach in found.reaches:
        assert reach.ended_by == "memory"
        assert 0.5 * found.memory_bytes < reach.peak_memory_bytes <= found.memory_bytes
    lengths = {reach.model: reach.length for reach in found.reaches}
    assert lengths["lstm"] > 2 * lengths["transformer"]


def test_a_frontier_knows_what_the_task_allows(tmp_path):
    plan = make(tmp_path, models=["mlp"], datasets=["digits"])
    (reach,) = estimate.frontier(plan, None, lambda text: None).reaches
    assert reach.length == 8
    assert reach.ended_by.startswith("the task: digits: length")


def test_nothing_fits_into_nothing(tmp_path):
    (reach,) = estimate.frontier(make(tmp_path), 1e-6, lambda text: None).reaches
    assert (reach.length, reach.ended_by) == (None, "memory")


def test_how_early_runs_are_solved_is_learned_from_earlier_sweeps(tmp_path):
    plan = make(tmp_path)
    cell, probes = plan.cells[0], (probe(plan, 2, 0.003, 0.02), probe(plan, 30, 0.003, 0.02))
    known = estimate._cell(plan, cell, *probes, 2**30, [(8, 64), (8, 192), (512, 640)])
    assert (known.share, known.learned_from) == (pytest.approx(0.2), 2)  # of 640; the nearest length counts
    full = estimate._cell(plan, cell, *probes, 2**30)
    whole = 2 * (10 * 0.003 + 0.02 + 0.1)
    assert full.device_seconds - known.device_seconds == pytest.approx(2 * 0.8 * whole)
    assert known.run_seconds == full.run_seconds


def test_runs_of_earlier_sweeps_are_found(tmp_path):
    earlier = make(tmp_path, name="earlier")
    earlier.folder.mkdir(parents=True)
    plans.freeze(earlier)
    record = probe(earlier, 2, 0.003, 0.02).model_copy(update={"solved": True, "train_sequences": 320})
    record = record.model_copy(update={"config": record.config.model_copy(update={"phase": "screen"})})
    folder = earlier.folder / "runs" / "t0"
    folder.mkdir(parents=True)
    record.write(folder)
    assert estimate._earlier(make(tmp_path)) == {("latch", "lstm"): [(8, 320)]}
    assert estimate._earlier(earlier) == {}
