"""Ensembles of a configuration's seeds, and models that are trained again on train and val, as exports."""

import functools
import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest

from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.errors import DeclarationError
from bench.export import export as exporting
from bench.export.evaluate import evaluate
from bench.export.export import export
from bench.export.predictor import ExportedModel
from bench.training.ensemble import Average
from tests.export.kinds import KINDS, swept
from tests.makers import pieces


@pytest.fixture(scope="module")
def sweep_of(tmp_path_factory):
    """Return a file of a kind and the sweep of a network with so many seeds; each is trained once."""

    @functools.cache
    def make(kind: str, seeds: int):
        folder = tmp_path_factory.mktemp(kind)
        maker, options = KINDS[kind]
        file = maker(folder)
        own = own_data.make(SweepConfig(data=[file], **options))
        return file, swept(folder, own.card, options["lengths"][0], seeds=seeds)

    return make


@pytest.fixture
def exported(sweep_of, tmp_path):
    """Return the file, the sweep, the exported folder and what the export says, of a kind."""

    def make(kind: str, seeds: int = 2, **options):
        file, sweep = sweep_of(kind, seeds)
        options = {"is_ensemble": True} | options
        told = export(sweep, tmp_path / "results", None, None, None, tmp_path / "out", **options)
        return file, sweep, tmp_path / "out", told

    return make


@pytest.fixture
def plain(monkeypatch):
    """Leave out the other forms, which take seconds."""
    for form in ("_export_onnx", "_export_mlflow"):
        monkeypatch.setattr(exporting, form, lambda *_: "left out")


@pytest.mark.parametrize("kind", ["forecast", "text"])
def test_it_answers_with_the_average_of_its_seeds(exported, kind):
    file, sweep, out, lines = exported(kind)
    assert lines[1].startswith("ensemble of 2 seeds")
    assert "times as long as one seed" in lines[1]
    settings = json.loads((out / "config.json").read_text())
    metric = "mse" if kind == "forecast" else "accuracy"
    assert lines[2] == (
        f"{metric} of the exported model: validation {settings['val'][metric]:.4g}, test {settings['test'][metric]:.4g}"
    )
    model = ExportedModel.load(out)
    assert len(model.module.members) == 2
    assert len(json.loads((out / "config.json").read_text())["ensemble"]) == 2
    new = model.predictor.read(file, model.module.task.num_steps)
    average = Average(model.module.task)
    together = model.outputs(new.x, new.length)
    ensemble = model.module
    for member in ensemble.members:
        model.module = member
        average.add(model.outputs(new.x, new.length))
    np.testing.assert_allclose(together, average.outputs, atol=1e-5)
    model.module = ensemble
    assert len(model.predict(file))
    assert evaluate(out, file).test[metric] == pytest.approx(settings["test"][metric])
    assert (out / "model.onnx").exists()
    assert "mlflow_model: loads, and gives the same answers" in lines


def test_it_needs_two_seeds_and_no_language_model(exported):
    with pytest.raises(DeclarationError, match="needs at least two confirmed seeds"):
        exported("forecast", seeds=1)
    with pytest.raises(DeclarationError, match="not supported for language models"):
        exported("language")


def test_a_refit_trains_on_train_and_val_for_the_best_steps(exported, plain, tmp_path):
    file, sweep, out, lines = exported("forecast", is_ensemble=False, is_refit=True)
    assert lines[1] == "refit on train and val: 4 steps, as many as were best on validation"
    settings = json.loads((out / "config.json").read_text())
    assert settings["refit_epochs"] == 1
    assert settings["val"] == {}  # it has learned from them
    assert lines[2] == f"mse of the exported model: test {settings['test']['mse']:.4g}"
    refitted = ExportedModel.load(out)
    export(sweep, tmp_path / "results", None, None, None, tmp_path / "plain")
    plain = ExportedModel.load(tmp_path / "plain")
    assert not np.allclose(refitted.predict(file).iloc[:, -1], plain.predict(file).iloc[:, -1])


def test_a_refit_ensemble_trains_every_seed_again(exported, plain):
    _, _, out, lines = exported("text", is_refit=True)
    assert lines[1].startswith("ensemble of 2 seeds")
    assert lines[2].startswith("refit on train and val")
    assert len(ExportedModel.load(out).module.members) == 2


def test_a_refit_of_a_language_model_is_refused(exported):
    with pytest.raises(DeclarationError, match="--refit: not supported for language_modelling"):
        exported("language", is_ensemble=False, is_refit=True)


def test_an_ensemble_of_musicians_averages_the_probabilities_of_keys(tmp_path):
    file = pieces(tmp_path / "pieces.mat")
    content = file.read_bytes()
    files = [{"path": str(file), "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}]
    card = SimpleNamespace(name="pieces", task="music", arguments={"files": files})
    sweep = swept(tmp_path, card, 16, seeds=2)
    lines = export(sweep, tmp_path / "results", None, None, None, tmp_path / "out", is_ensemble=True)
    assert "mlflow_model: loads, and gives the same answers" in lines
    assert any("model.onnx: answers differ by" in line for line in lines)
    model = ExportedModel.load(tmp_path / "out")
    batch = model.predictor.labelled(file, 16).batch
    together, ensemble = model.outputs(batch.x, batch.length), model.module
    odds = []
    for member in ensemble.members:
        model.module = member
        odds.append(model.outputs(batch.x, batch.length)[batch.mask].astype(np.float64))
    mean = np.mean([1 / (1 + np.exp(-values)) for values in odds], axis=0)
    np.testing.assert_allclose(together[batch.mask], np.log(mean / (1 - mean)), atol=1e-4)
    average = Average(model.task)
    for values in odds:
        average.add(values)
    np.testing.assert_allclose(average.outputs, together[batch.mask], atol=1e-4)
    model.module = ensemble
    scores = evaluate(tmp_path / "out", file)
    assert scores.metric == "frame_nats"
    assert scores.low < scores.score < scores.high
    assert len(model.predict(file)) == 20
