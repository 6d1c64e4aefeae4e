"""When a budget allows no further run."""

from types import SimpleNamespace

import pytest

from bench.config.ids import CellId
from bench.config.settings import RunConfig, TrainSettings
from bench.results.cell_runs import CellRuns
from bench.results.record import Asked, RunRecord, Seconds
from bench.sweeps.meter import Meter

SETTINGS = TrainSettings(max_sequences=64, batch_size=8, num_epochs=2, num_val=8, num_test=8)
A, B = CellId("d", 8, "a"), CellId("d", 8, "b")


def run_of(cell: CellId, phase: str = "screen") -> RunRecord:
    """A run of 5 seconds."""
    config = RunConfig(
        sweep="s", run=str(cell.trial(0) if phase == "screen" else cell.trial(0).confirmation(0)), phase=phase,
        number=0, dataset="d", task="latch", length=8, task_arguments={}, space=cell.space, model="lstm",
        model_arguments={}, train=SETTINGS, seed=0,
    )  # fmt: skip
    asked = Asked(metric="score", goal="maximize", chance=0.5, solved=None, num_steps=8)
    return RunRecord(config=config, asked=asked, state="complete", val={"score": 0.7}, seconds=Seconds(total=5))


@pytest.mark.parametrize(("allowed", "is_enough"), [(36, True), (34, False)])
def test_seeds_for_the_best_of_every_cell_are_reserved(allowed, is_enough):
    """15 s are spent; a run of 5 s is next, and two seeds of 5 s are reserved for each cell, less the one that ran."""
    runs = {A: CellRuns((run_of(A), run_of(A, "confirm")), 1), B: CellRuns((run_of(B),), 1)}
    plan = SimpleNamespace(
        slots=[{}], usd_per_hour=None, seconds=None,
        config=SimpleNamespace(gpus_per_run=1, wall_time=None, device_time=allowed, max_usd=None),
    )  # fmt: skip
    meter = Meter(plan)
    for cell_runs in runs.values():
        for record in cell_runs.records:
            meter.add(record)
    reason = meter.exceeded(runs, SimpleNamespace(id=A), 2, [])
    assert (reason is None) == is_enough
    assert meter.exceeded(runs, SimpleNamespace(id=A), 0, []) is None
