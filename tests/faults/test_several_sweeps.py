"""Several sweeps at once in one results folder and one MLflow store."""

import os
from collections import Counter

import pytest

from bench.results.record import all_records
from tests.faults.conftest import Sweep


@pytest.mark.parametrize(
    "has_store", [pytest.param(True, marks=pytest.mark.slow, id="made before"), pytest.param(False, id="made by both")]
)
def test_two_sweeps_share_a_results_folder_and_an_mlflow_store(stub_sweep, has_store):
    """Both are complete, and MLflow holds each of their records once."""
    if not has_store:
        os.remove(stub_sweep.results / "mlflow.db")
    other = Sweep(stub_sweep.results, "other")
    other.token = stub_sweep.token  # the fixture kills what either leaves
    coordinators = [
        stub_sweep.start("trials=4", "confirm_seeds=2"),
        other.start("trials=3", "confirm_seeds=1", "seed=7"),
    ]
    for coordinator in coordinators:
        output, _ = coordinator.communicate()
        assert coordinator.returncode == 0, output
        assert "MLflow" not in output
    stub_sweep.check_complete(4, 2)
    other.check_complete(3, 1, seed=7)
    runs = stub_sweep.mlflow_runs()
    for sweep in (stub_sweep, other):
        ended = [record for record in all_records(sweep.folder) if record.config.phase in ("screen", "confirm")]
        mine = [run for run in runs if run.data.tags["bench.sweep"] == sweep.folder.name]
        assert Counter(run.data.tags["bench.kind"] for run in mine) == {
            "sweep": 1,
            "cell": 2,
            "trial": sum(record.config.phase == "screen" for record in ended),
            "confirm": sum(record.config.phase == "confirm" for record in ended),
        }
        by_id = {run.data.tags["bench.id"]: run for run in mine}
        for record in ended:
            run = by_id[f"{sweep.folder.name}/{record.config.run}"]
            name = "val_screening" if record.config.phase == "screen" else "val_confirmation"
            assert run.data.metrics[name] == record.val_score
