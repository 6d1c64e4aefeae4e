"""Models and reports beside their runs; what cannot be written there is a line, never an error."""

import shutil

import pytest

from bench.tracking import models
from tests.tracking.sweeps import sweep_folder


@pytest.fixture
def swept(written, tmp_path):
    """A copy of the results folder with a sweep, and a small model."""
    results = shutil.copytree(written, tmp_path / "results")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("x")
    return results, tmp_path / "model"


def register(results, model, run="latch/L8/gru/t0-s0") -> str:
    return models.register_model(results, results / "sweeps/demo", run, model, "latch-L8")


def test_a_model_is_registered_with_its_run(swept):
    results, model = swept
    assert register(results, model) == "MLflow: version 1 of model 'latch-L8'"
    assert register(results, model) == "MLflow: version 2 of model 'latch-L8'"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("deleted", "mlflow.db: is missing; run: python -m bench sync"),
        ("garbage", "mlflow.db: is damaged; run: python -m bench sync"),
        ("no such run", "it does not hold the run latch/L8/gru/t9; run: python -m bench sync demo"),
    ],
)
def test_a_model_that_cannot_be_registered_is_a_line(swept, damage, reason):
    results, model = swept
    if damage == "deleted":
        (results / "mlflow.db").unlink()
    elif damage == "garbage":
        (results / "mlflow.db").write_bytes(b"no database" * 1000)
    line = register(results, model, "latch/L8/gru/t9" if damage == "no such run" else "latch/L8/gru/t0-s0")
    assert line.startswith("MLflow: not registered: ")
    assert reason in line
    assert "\n" not in line


def test_a_report_lies_beside_the_run_of_its_sweep(swept, tmp_path):
    results, _ = swept
    report = tmp_path / "report.html"
    report.write_text("page")
    assert models.log_report(results, results / "sweeps/demo", report) is None
    other = sweep_folder(results, name="other")
    assert (
        models.log_report(results, other, report) == "MLflow does not hold the sweep; run: python -m bench sync other"
    )
    (results / "mlflow.db").unlink()
    assert "run: python -m bench sync" in str(models.log_report(results, other, report))
