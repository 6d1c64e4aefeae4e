"""The winner in its folder: every form answers as the training code did, and what cannot be exported is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.config import plugins
from bench.config.contracts import Batch
from bench.errors import BenchError, DeclarationError, StoreError, UnknownNameError
from bench.export import export as exporting
from bench.export.export import export
from bench.export.predictor import ExportedModel
from bench.results import cell_runs
from bench.results.cell_runs import CellRuns
from bench.results.record import records
from bench.tracking import store
from tests.export.kinds import KINDS, swept
from tests.makers import hourly

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_is_written_and_answers_alike(exported, kind):
    _, task, out, told = exported(kind)
    assert "answers differ by" in told[2], told[2]
    names = {path.name for path in out.iterdir()}
    assert names == {"weights.safetensors", "config.json", "preprocessing.json", "model.onnx", "mlflow_model"}
    assert "the same answers to the last bit" in told[1]
    assert told[3] == "mlflow_model: loads, and gives the same answers"
    assert "not registered" in told[4]
    settings = json.loads((out / "config.json").read_text())
    assert told[0].endswith(f"test {settings['test'][task.metric]:.4g}")
    assert not {"ids", "groups", "remarks"} & json.loads((out / "preprocessing.json").read_text()).keys()


SERVE = """
import sys
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
import bench
assert bench.__file__.startswith(sys.argv[1]), bench.__file__  # its own code, not an installed one
model.predict(pandas.read_csv(sys.argv[2])).to_csv(sys.argv[3], index=False)
"""


@pytest.mark.parametrize("kind", ["forecast", pytest.param("text", marks=pytest.mark.slow)])
def test_mlflow_loads_the_model_in_a_fresh_process(exported, kind, tmp_path):
    file, _, out, _ = exported(kind)
    words = [sys.executable, "-P", "-c", SERVE, out / "mlflow_model", file, tmp_path / "served.csv"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr
    expected = ExportedModel.load(out).predict(file)
    expected.to_csv(tmp_path / "expected.csv", index=False)
    served, expected = pd.read_csv(tmp_path / "served.csv"), pd.read_csv(tmp_path / "expected.csv")
    served = served.drop(columns="sequence", errors="ignore")  # named for the file, and there is none
    pd.testing.assert_frame_equal(served, expected.drop(columns="sequence", errors="ignore"))


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")  # of MLflow's own classes
def test_the_mlflow_model_accepts_whole_numbers_and_times_as_its_file_does(exported):
    import mlflow.pyfunc

    file, _, out, _ = exported("forecast")
    model = mlflow.pyfunc.load_model(str(out / "mlflow_model"))
    frame = pd.read_csv(file, parse_dates=["timestamp"])
    frame["load"] = np.arange(len(frame)) % 24  # int64
    answers = model.predict(frame)
    assert len(answers) == 3
    pd.testing.assert_frame_equal(answers, model.predict(frame.astype({"load": float, "timestamp": str})))
    columns = mlflow.models.get_model_info(str(out / "mlflow_model")).metadata["columns"]
    assert columns == {"timestamp": "text", "load": "number"}


@pytest.mark.parametrize("kind", ["wav", "forecast"])
def test_the_signature_says_what_is_asked_and_answered(exported, kind):
    import mlflow.models

    _, _, out, _ = exported(kind)
    signature = mlflow.models.get_model_info(str(out / "mlflow_model")).signature
    names = [column.name for column in signature.inputs], [column.name for column in signature.outputs]
    assert (
        names
        == {
            "wav": (["path"], ["sequence", "label", "probability", "p(high)", "p(low)"]),
            "forecast": (["timestamp", "load"], ["timestamp", "load"]),
        }[kind]
    )


@pytest.mark.parametrize("space", sorted(plugins.declarations("search_spaces")))
def test_every_architecture_is_written_as_onnx(space, tmp_path):
    from bench.config import datasets

    card = datasets.read("adding")
    sweep = swept(tmp_path, card, 12, space)
    told = export(sweep, tmp_path / "results", "adding", 12, space, tmp_path / "out")
    # The complex numbers of a state space have no form in ONNX.
    expected = "model.onnx: not written" if space == "s4d" else "model.onnx: answers differ by"
    assert expected in told[2]
    assert len(told) == 3  # a synthetic task reads no files
    with pytest.raises(DeclarationError, match="a model of 'adding' reads no files; its data are synthetic"):
        ExportedModel.load(tmp_path / "out").predict(tmp_path / "a.csv")


def test_what_cannot_be_written_as_onnx_is_left_out(exported, tmp_path, monkeypatch):
    import torch

    def fail(*_, **__):
        raise RuntimeError("no operator for this\nmore")

    monkeypatch.setattr(torch.onnx, "export", fail)
    model = ExportedModel.load(exported("text")[2])
    batch = Batch(np.ones((1, 3), int), np.array([3]), np.zeros(1))
    told = exporting._export_onnx(model.module, batch, np.zeros((1, 2)), tmp_path / "model.onnx")
    assert told == "model.onnx: not written: RuntimeError: no operator for this"


def test_other_answers_are_no_export():
    with pytest.raises(BenchError, match="differ by 1"):
        exporting._compare("m", np.zeros(2), np.array([0.0, 1.0]), 1e-4)
    with pytest.raises(BenchError, match="differ by nan"):
        exporting._compare("m", np.array([np.nan]), np.zeros(1), 1e-4)


@pytest.mark.slow
def test_from_a_file_to_predictions(tmp_path):
    """As a user does it: sweep, export, predict; the model is registered with the run it came from."""
    hourly(tmp_path / "load.csv")

    def bench(*words: str) -> tuple[str, str]:
        line = [sys.executable, "-m", "bench", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=500)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    bench("sweep", "--data", "load.csv", "--length", "12", "--horizon", "3", "--models", "gru,mlp", "--budget", "smoke")
    told, _ = bench("export", "--out", "cheapest")  # no network beats a sine that is continued
    assert told.startswith("load/L12/_baselines: exponential smoothing")
    told, _ = bench("export", "--model", "gru", "--out", "best")
    assert "MLflow: version 1 of model 'load-L12'" in told
    _, said = bench("predict", "best", "load.csv", "--out", "predictions.csv")
    assert "wrote predictions.csv: 3 rows, columns timestamp, load" in said
    assert (tmp_path / "predictions.csv").read_text().splitlines()[1].startswith("2026-01-26 00:00:00,")

    import mlflow

    client = mlflow.MlflowClient(store.store_uri(tmp_path / "results"))
    version = client.get_model_version("load-L12", "1")
    of_run = client.get_run(version.run_id)
    assert of_run.data.tags["bench.kind"] == "confirm"
    assert told.startswith(of_run.data.tags["bench.id"].split("/", 1)[1])


def test_the_best_on_validation_is_exported(tmp_path):
    """Neither its test score nor the order of models decides."""
    from bench.config import datasets

    card = datasets.read("adding")
    sweep = swept(tmp_path, card, 12, "gru", seeds=2)
    found = list(records(sweep))
    better = [each.model_copy(update={"val": {name: value + 1 for name, value in each.val.items()}}) for each in found]
    chosen = cell_runs.winner([CellRuns(tuple(found), 1), CellRuns(tuple(better), 1)])
    assert chosen is not None
    assert chosen.asked.goal == "maximize"
    assert chosen.val_score == max(each.val_score for each in better if each.config.phase == "confirm")
    assert cell_runs.winner([CellRuns(tuple(each for each in found if each.config.phase == "screen"), 1)]) is None


def test_what_cannot_be_exported_is_refused_in_a_line(tmp_path):
    from bench.config import datasets

    sweep = swept(tmp_path, datasets.read("adding"), 12)
    results, out = tmp_path / "results", tmp_path / "out"
    for words, error, rule in (
        (("addign", 12, None), UnknownNameError, "addign"),
        (("adding", 13, None), UnknownNameError, "unknown length of this sweep '13'"),
        (("adding", 12, "lstm"), UnknownNameError, "lstm"),
    ):
        with pytest.raises(error, match=rule):
            export(sweep, results, *words, out)
    out.mkdir()
    (out / "mine.txt").write_text("x")
    with pytest.raises(DeclarationError, match="must be a new or empty folder"):
        export(sweep, results, "adding", 12, None, out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    next((sweep / "runs").rglob("weights.pt")).unlink()
    with pytest.raises(StoreError, match=r"weights\.pt: missing"):
        export(sweep, results, "adding", 12, None, tmp_path / "other")


def test_an_export_is_whole_or_not_at_all(exported, tmp_path, monkeypatch):
    def fail(*_):
        raise BenchError("no room")

    monkeypatch.setattr(exporting, "_export_onnx", fail)
    sweep = exported("text")[2].parent / "results" / "sweeps" / "s"
    with pytest.raises(BenchError, match="no room"):
        export(sweep, tmp_path, None, None, None, tmp_path / "out")
    assert not list(tmp_path.iterdir())
