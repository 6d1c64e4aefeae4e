"""The winner in its folder: every form answers as the training code did, for every kind of file."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import jiwer
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bench.cli.commands import main
from bench.config import plugins, search_spaces
from bench.config.contracts import Batch, Sampling, joined
from bench.config.datasets import make_task
from bench.config.settings import RunConfig, TrainSettings
from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.errors import BenchError, DataError, DeclarationError, StoreError, UnknownNameError
from bench.export import export as exporting
from bench.export.evaluate import evaluate
from bench.export.export import export
from bench.export.predictor import ExportedModel
from bench.results import cell_runs
from bench.results.cell_runs import CellRuns
from bench.results.record import records, write_json
from bench.tracking import store
from bench.training.train import run
from tests.makers import dictation, hourly, long_table, recordings, reviews, series, tagged

ROOT = Path(__file__).parents[2]
TEXT = "the quick brown fox jumps over the lazy dog\nand runs away, as foxes do.\n" * 12


def text(path: Path) -> Path:
    path.write_text(TEXT)
    return path


def two_loads(path: Path) -> Path:
    hourly(path)
    table = pd.read_csv(path)
    table["b"], table["sun"] = table["load"].shift(3, fill_value=1.0) * 5 + 40, np.arange(len(table)) % 24 > 12
    table["sun"] = table["sun"].astype(int)
    table.to_csv(path, index=False)
    return path


RECIPES = {
    "forecast by a recipe": {
        "input_normalisation": "revin", "channel_independent": True, "linear_skip": True, "patch_size": 5,
        "look_back": 2, "readout": "all",
    },
    "tagging by a recipe": {"word_features": True},
    "numbers by a recipe": {"stem_channels": 4, "stem_stride": 2, "readout": "all"},
    "texts by a recipe": {"linear_skip": True},
}  # fmt: skip
"""Training settings of a kind."""

KINDS = {
    "forecast": (lambda f: hourly(f / "load.csv"), {"horizon": 3, "lengths": [12]}),
    "forecast by a recipe": (
        lambda f: two_loads(f / "load.csv"),
        {"horizon": 3, "lengths": [12], "target": ["load", "b"]},
    ),
    "groups": (
        lambda f: long_table(f / "s.csv", "target", 30),
        {"task": "forecasting", "target": ["value"], "group": "id", "lengths": [2], "splits": [0.6, 0.2, 0.2]},
    ),
    "regression": (
        lambda f: long_table(f / "s.csv", "target"),
        {"task": "regression", "target": ["target"], "group": "id", "lengths": [8]},
    ),
    "numbers": (lambda f: series(f / "rows.csv"), {"label": "label", "lengths": [12]}),
    "long": (lambda f: long_table(f / "l.csv", "label"), {"label": "label", "group": "id", "lengths": [6]}),
    "ts": (lambda f: series(f / "series.ts"), {"lengths": [12]}),
    "arrays": (lambda f: series(f / "series.npz"), {"lengths": [9]}),
    "wav": (lambda f: recordings(f / "tones"), {"lengths": [10]}),
    "speech": (lambda f: dictation(f / "words"), {"task": "transcription", "lengths": [90]}),
    "text": (lambda f: reviews(f / "reviews.csv"), {"text": "text", "label": "label", "lengths": [5]}),
    "bytes": (lambda f: reviews(f / "r.jsonl"), {"text": "text", "label": "label", "tokens": "byte", "lengths": [20]}),
    "tagging": (lambda f: tagged(f / "words.conllu"), {"lengths": [4]}),
    "tagged table": (
        lambda f: tagged(f / "words.csv"),
        {"task": "tagging", "group": "sentence", "label": "label", "lengths": [5]},
    ),
    "tagging by a recipe": (lambda f: tagged(f / "words.conllu"), {"lengths": [4]}),
    "numbers by a recipe": (
        lambda f: long_table(f / "l.csv", "label"),
        {"label": "label", "group": "id", "lengths": [6]},
    ),
    "texts by a recipe": (
        lambda f: reviews(f / "r.jsonl"),
        {"text": "text", "label": "label", "tokens": "character", "lengths": [20]},
    ),
    "language": (lambda f: text(f / "foxes.txt"), {"lengths": [24]}),
    "words": (lambda f: text(f / "foxes.txt"), {"lengths": [6], "tokens": "word"}),
}


def swept(folder: Path, card, length: int, space_name: str = "gru", seeds: int = 1, **settings) -> Path:
    """Return the folder of a sweep of one cell: its confirm runs and their test, made in this process, and a trial.

    The record of the trial is that of the first confirm run, under its own name: no test looks at its training.
    """
    sweep = folder / "results" / "sweeps" / "s"
    space = search_spaces.read(space_name)
    arguments, training = space.split(space.default)
    cell = f"{card.name}/L{length}/{space_name}"
    effort = {"max_sequences": 64, "batch_size": 16, "num_epochs": 1, "num_val": 40, "num_test": 40}
    train = TrainSettings(**effort | training | settings)
    config = RunConfig(
        sweep="s", run=f"{cell}/t0", phase="screen", number=0, dataset=card.name, task=card.task, length=length,
        task_arguments=card.arguments, space=space_name, model=space.model, model_arguments=arguments, train=train,
        seed=0,
    )  # fmt: skip
    made = []
    for seed in range(seeds):
        update = {"run": f"{cell}/t0-s{seed}", "phase": "confirm", "number": seed, "seed": seed + 1}
        made.append(config.model_copy(update=update))
    opened = tuple(each.run for each in made)
    made.append(config.model_copy(update={"run": f"{cell}/t0-test", "phase": "test", "opens_test_of": opened}))
    for each in made:
        place = sweep / "runs" / each.run
        place.mkdir(parents=True)
        record = run(each, folder=place)
        assert record.state == "complete", record.message
        record.write(place)
        if not (sweep / "runs" / config.run).exists():
            (sweep / "runs" / config.run).mkdir()
            record.model_copy(update={"config": config}).write(sweep / "runs" / config.run)
    spec = {"cells": [cell]}
    write_json(
        sweep / "sweep.json",
        {"top_k": 1, "trials": 1, "confirm_seeds": 1, "command": "python -m bench sweep", "spec": spec},
    )
    return sweep


def export_of(kind: str, folder: Path):
    """Return the file, the task and the exported folder of a kind, and what the export did."""
    maker, options = KINDS[kind]
    file = maker(folder)
    own = own_data.make(SweepConfig(data=[file], **options))
    assert own is not None
    length = options["lengths"][0]
    recipe = RECIPES.get(kind, {})
    sweep = swept(folder, own.card, length, **recipe)
    told = export(sweep, folder / "results", None, None, None, folder / "out")
    concerned = {name: recipe[name] for name in ("look_back", "word_features") if name in recipe}
    return file, make_task(own.card.task, length, own.card.arguments | concerned), folder / "out", told


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return what `export_of` returns for a kind; each is trained once."""
    return functools.cache(lambda kind: export_of(kind, tmp_path_factory.mktemp(kind.replace(" ", "_"))))


every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
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


def known_answers(task, out: Path) -> tuple[ExportedModel, dict[str, np.ndarray]]:
    """Return the answers to all stored examples by their id, of the batches that training was given."""
    model = ExportedModel.load(out)
    found = {}
    edge = 0
    for part in ("train", "val", "test"):
        batch = task.take(part, np.arange(task.counts[part]))
        for place, answer in enumerate(model.outputs(batch.x, batch.length)):
            found[task.meta["ids"][edge + place]] = answer
        edge += task.counts[part]
    return model, found


@pytest.mark.parametrize(
    "kind", ["regression", "numbers", "numbers by a recipe", "long", "ts", "arrays", "wav", "text", "bytes"]
)
def test_a_new_file_is_read_as_the_training_file_was(exported, kind):
    """The training file, handed in as a new one, gets the answers that its prepared arrays get."""
    file, task, out, _ = exported(kind)
    model, known = known_answers(task, out)
    found = model.predict(file)
    ids = found.iloc[:, 0]
    assert set(map(str, ids)) == set(known)
    for name, (_, row) in zip(ids, found.iterrows(), strict=True):
        if kind == "regression":
            assert row["target"] == pytest.approx(float(task.decode(known[name])[0]), rel=1e-4)
        else:
            (label,), (probabilities,) = task.decode(known[name][None])
            assert row["label"] == label
            assert row["probability"] == pytest.approx(probabilities.max(), abs=1e-4)
            assert [row[f"p({each})"] for each in task.meta["classes"]] == pytest.approx(probabilities, abs=1e-4)


@pytest.mark.parametrize("kind", ["forecast", "forecast by a recipe"])
def test_a_forecast_goes_on_from_the_last_row(exported, tmp_path, kind):
    file, task, out, _ = exported(kind)
    model = ExportedModel.load(out)
    batch = task.take("test", np.array([0]))
    expected = task.decode(model.outputs(batch.x, batch.length))[0, :, 0]
    first_target = str(task.times("test", np.array([0]))[0, 0]).replace("T", " ")[:19]
    lines = file.read_text().splitlines()
    cut = next(place for place, line in enumerate(lines) if line.startswith(first_target))
    new = tmp_path / "new.csv"
    new.write_text("\n".join(lines[:cut]) + "\n")
    found = model.predict(new)
    assert list(found.columns) == ["timestamp", *task.target]
    assert [str(time) for time in found["timestamp"]] == [line.split(",")[0] for line in lines[cut : cut + 3]]
    assert found["load"].to_numpy() == pytest.approx(expected, rel=1e-5)


def test_a_longer_look_back_asks_for_no_more_rows(exported, tmp_path):
    """The rows of one length suffice; the first one stands for those before it, as in training."""
    file, task, out, _ = exported("forecast by a recipe")
    head, *rows = file.read_text().splitlines()
    new, model = tmp_path / "new.csv", ExportedModel.load(out)
    new.write_text("\n".join([head, *rows[:12]]) + "\n")
    batch = task.take("train", np.array([0]))
    assert (batch.x[0, :12] == batch.x[0, 12]).all()
    expected = task.decode(model.outputs(batch.x, batch.length))[0]
    np.testing.assert_allclose(model.predict(new)[["load", "b"]], expected, rtol=1e-5)
    new.write_text("\n".join([head, *rows[:11]]) + "\n")
    with pytest.raises(DataError, match="must have at least 12 rows, but has 11"):
        model.predict(new)


def test_a_forecast_of_each_group(exported, tmp_path):
    _, task, out, _ = exported("groups")
    new = tmp_path / "new.csv"
    new.write_text("id,value\nb,1\nb,2\na,5\na,\na,7\n")
    found = ExportedModel.load(out).predict(new)
    assert list(found["id"]) == ["b", "a"]
    assert list(found["step"]) == [1, 1]
    assert found.attrs["remarks"] == [
        "new.csv: column 'value': 1 missing value in the last rows filled with the previous value",
        "new.csv: series that training did not see are scaled by their own rows (b, a)",
    ]
    assert np.isfinite(found["value"]).all()


@pytest.mark.parametrize("kind", ["text", "tagging"])
def test_what_a_reader_remarks_of_a_new_file_is_told(exported, tmp_path, kind):
    new = tmp_path / "new.txt"
    new.write_bytes("a café\n".encode("cp1252") + b"a " * 200)
    remarks = ExportedModel.load(exported(kind)[2]).predict(new).attrs["remarks"]
    assert "new.txt: line 1, byte 5, is not UTF-8" in remarks[0]
    if kind == "text":
        assert "1 of 2 sequences are longer than" in remarks[1]


@pytest.mark.parametrize("kind", ["tagging", "tagging by a recipe", "tagged table"])
def test_every_step_gets_a_label(exported, kind, tmp_path):
    file, task, out, _ = exported(kind)
    model = ExportedModel.load(out)
    found = model.predict(file)
    lines = [line for line in file.read_text().splitlines() if line][kind == "tagged table" :]
    word = 1
    assert list(found.iloc[:, 2]) == [line.replace("\t", ",").split(",")[word] for line in lines]
    assert set(found.iloc[:, 3]) <= set(task.meta["labels"])
    new = tmp_path / "new.txt"
    new.write_text("the cat sat the dog ran\n\nthe zebra\n")
    found = model.predict(new)
    assert list(found["step"]) == [1, 2, 3, 4, 5, 6, 1, 2]
    assert ((found["probability"] > 0) & (found["probability"] <= 1)).all()
    first = model.predictor.read(new, 6)
    assert first.x.shape[:2] == (2, 6)


def test_texts_go_on_from_prompts(exported, tmp_path):
    _, _, out, _ = exported("language")
    prompts = tmp_path / "prompts.csv"
    prompts.write_text('prompt\nthe fox\n"and, then"\n')
    model = ExportedModel.load(out)
    found = model.predict(prompts, Sampling(15, 1.0, 3))
    assert list(found["prompt"]) == ["the fox", "and, then"]
    assert [len(each) for each in found["text"]] == [15, 15]
    assert found.equals(model.predict(prompts, Sampling(15, 1.0, 3)))
    assert list(found["unknown_tokens"]) == [0, 0]
    strange = tmp_path / "strange.txt"
    strange.write_text("the fox ☃ über\n")
    assert list(model.predict(strange, Sampling(5))["unknown_tokens"]) == [2]
    lines = tmp_path / "prompts.txt"
    lines.write_text("the fox\n")
    assert model.predict(lines, Sampling(15, 1.0, 3))["text"][0] == found["text"][0]


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


def test_words_of_an_export_before_unicode_boundaries_are_split_as_they_were(exported):
    file, _, out, _ = exported("text")
    config, meta = (json.loads((out / name).read_text()) for name in ("config.json", "preprocessing.json"))
    assert meta["tokeniser"] == 2
    predictor = plugins.load("tasks", "classification").Predictor
    old = {key: value for key, value in meta.items() if key != "tokeniser"} | {"vocabulary": ["<pad>", "<unk>", "न"]}
    new = file.with_name("hindi.txt")
    new.write_text("हिन्दी")
    arguments = config["run"]["task_arguments"]
    assert predictor(arguments, old).read(new, 9).x.tolist() == [[1, 1, 2, 1, 1, 1]]
    assert predictor(arguments, old | {"tokeniser": 2}).read(new, 9).x.tolist() == [[1]]


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


# The command line, and what is refused


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


@pytest.mark.parametrize(
    ("kind", "name", "content", "rule"),
    [
        ("forecast", "n.csv", "timestamp,load\n2026-01-01,1\n2026-01-02,2\n", "must have at least 12 rows, but has 2"),
        ("forecast", "n.csv", "timestamp,lod\n2026-01-01,1\n", "no column 'load'; did you mean 'lod'"),
        ("numbers", "n.csv", "step0,step1\n1,2\n", "no column 'step2'"),
        ("text", "n.csv", "words\na\n", "no column 'text'"),
        ("text", "n.csv", "text\nfine film\n\" \"\n", "has no text; remove it"),
        ("ts", "n.ts", "@classLabel false\n@data\n1,2:3,4\n", "must have 1 channels, as in training, but has 2"),
        ("language", "n.csv", "text\na\n", "no column 'prompt'"),
        ("words", "n.csv", 'prompt\nthe\n"\t"\n', "prompt 2, '\\t': must have at least one token"),
        ("text", "n.TSV", "words\na\n", "no column 'text'"),
        ("tagged table", "n.csv", "sentence,word\na,b\n", "no column 'token'"),
    ],
)  # fmt: skip
def test_a_new_file_that_does_not_fit_is_refused_in_a_line(exported, tmp_path, kind, name, content, rule):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=".") as refused:
        ExportedModel.load(exported(kind)[2]).predict(path)
    assert rule in str(refused.value)
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_none_or_damaged_is_refused(exported, tmp_path):
    with pytest.raises(StoreError, match=r"has no config\.json"):
        ExportedModel.load(tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in exported("text")[2].iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    (copy / "weights.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(StoreError, match="damaged"):
        ExportedModel.load(copy)
    (copy / "weights.safetensors").unlink()
    with pytest.raises(StoreError, match=r"has no weights\.safetensors"):
        ExportedModel.load(copy)


def test_texts_of_another_kind_of_file_are_answered_alike(exported, tmp_path):
    """Compact JSON holds what would be broken quotes in a CSV file."""
    rows = [("good film", "x"), ('bad, "so" dull', "y")]
    tables = {"a.jsonl": "".join(json.dumps({"l": b, "text": a}, separators=(",", ":")) + "\n" for a, b in rows)}
    tables["a.tsv"] = "l\ttext\n" + "".join(f"{b}\t{a}\n" for a, b in rows)
    pd.DataFrame(rows, columns=["text", "l"]).to_parquet(tmp_path / "a.parquet")
    model, found = ExportedModel.load(exported("text")[2]), []
    for name, content in tables.items():
        (tmp_path / name).write_text(content)
    for name in (*tables, "a.parquet"):
        found.append(model.predict(tmp_path / name).drop(columns="sequence"))
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])


def test_one_new_row_is_enough(exported, tmp_path):
    path = tmp_path / "one.csv"
    path.write_text(",".join(f"step{step}" for step in range(12)) + "\n" + "0.1,0.2," + "," * 9 + "\n")
    found = ExportedModel.load(exported("numbers")[2]).predict(path)
    assert len(found) == 1


@pytest.mark.parametrize(
    "kind", ["regression", "numbers", "long", "ts", "arrays", "wav", "text", "bytes", "tagged table"]
)
def test_labelled_data_are_scored_as_the_prepared_data_are(exported, kind):
    file, task, out, _ = exported(kind)
    found = evaluate(out, file)
    parts = joined([task.take(part, np.arange(task.counts[part])) for part in ("train", "val", "test")])
    expected = task.score(ExportedModel.load(out).outputs(parts.x, parts.length), parts)
    assert found.scores == pytest.approx(expected, rel=1e-4)
    assert found.num_examples == len(parts.x)
    assert found.low <= found.score <= found.high
    assert found.test[task.metric] == pytest.approx(json.loads((out / "config.json").read_text())["test"][task.metric])
    if kind != "regression":
        assert sum(found.classes.correct) / sum(found.classes.support) == pytest.approx(found.score)
    if file.is_file():
        assert "trained on this file" in found.remarks[-1] or "trained on this file" in found.remarks[-2]
    json.dumps(found.as_dict(), allow_nan=False)


def test_recordings_are_transcribed_as_they_are_scored(exported):
    file, task, out, _ = exported("speech")
    table, found = ExportedModel.load(out).predict(file), evaluate(out, file)
    said = pd.read_csv(file / "transcripts.csv").set_index("file")["transcript"]
    references = [said[name] for name in table["recording"]]
    assert found.scores["word_error_rate"] == pytest.approx(jiwer.wer(references, table["transcript"].tolist()))
    assert found.num_examples == len(table) == 40
    val = task.split("val", 9)
    written = task.written(ExportedModel.load(out).outputs(val.x, val.length))
    assert set(zip(val.text, written, strict=True)) <= set(zip(references, table["transcript"], strict=True))
    assert "texts" not in json.loads((out / "preprocessing.json").read_text())


@pytest.mark.parametrize("kind", ["forecast", "forecast by a recipe"])
def test_forecasts_are_scored_on_all_windows_of_a_table(exported, kind):
    file, task, out, _ = exported(kind)
    model, test = ExportedModel.load(out), task.split("test", 1_000_000)
    found, labelled = evaluate(out, file), model.predictor.labelled(file, model.num_steps)
    for ours, expected in zip(labelled.batch[:3], test[:3], strict=True):
        np.testing.assert_allclose(ours[-len(test.x) :], expected, atol=1e-5)
    rows = len(pd.read_csv(file))
    assert found.num_examples == rows - task.length - task.horizon + 1
    expected = task.score(model.outputs(*labelled.batch[:2]), labelled.batch)
    assert {name: found.scores[name] for name in expected} == pytest.approx(expected)
    error = np.abs(task.decode(model.outputs(*labelled.batch[:2])) - task.decode(labelled.batch.y)).mean((0, 1))
    assert [found.scores[f"mae of {name}"] for name in task.target] == pytest.approx(error, rel=1e-4)


def test_windows_do_not_reach_into_another_series_nor_over_a_gap(exported, tmp_path):
    file, task, out, _ = exported("groups")
    table = pd.read_csv(file, dtype=str)
    lengths = table["id"].value_counts()
    assert evaluate(out, file).num_examples == sum(max(0, n - task.length - task.horizon + 1) for n in lengths)
    table.loc[3, "value"] = ""
    table.to_csv(tmp_path / "gap.csv", index=False)
    found = evaluate(out, tmp_path / "gap.csv")
    assert any("skipped because a target is missing" in remark for remark in found.remarks)


@pytest.mark.parametrize("kind", ["language", "words"])
def test_a_language_model_is_scored_by_the_likelihood_of_a_text(exported, tmp_path, kind):
    _, task, out, _ = exported(kind)
    (tmp_path / "new.txt").write_text(TEXT[:500] + "\nunheard zebra\n")
    model, found = ExportedModel.load(out), evaluate(out, tmp_path / "new.txt")
    batch = model.predictor.labelled(tmp_path / "new.txt", model.num_steps).batch
    logits = model.outputs(batch.x, batch.length).astype(np.float64)
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    likely = np.take_along_axis(odds / odds.sum(-1, keepdims=True), batch.y[..., None], -1)[..., 0]
    assert found.scores["nats"] == pytest.approx(-np.log(likely).mean(), rel=1e-4)
    assert found.scores["perplexity"] == pytest.approx(np.exp(found.scores["nats"]))
    assert (kind == "language") or any("are read as <unk>" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("kind", "name", "content", "rule"),
    [
        ("long", "x.csv", "id,value\na,1\na,2\n", "there is no column 'label'"),
        ("long", "x.csv", "id,value,label\na,1,sideways\na,2,sideways\n", "class 'sideways' does not occur in training"),
        ("numbers", "x.csv", "", "empty"),
        ("regression", "x.csv", "id,value,target\na,1,\na,2,\n", "no value in sequence 'a'"),
        ("forecast", "x.csv", "timestamp,load\n2026-01-01 00:00:00,1\n2026-01-01 01:00:00,2\n", "at least 15 rows"),
        ("tagging", "x.txt", "the cat sat\n", "a text has no labels"),
        ("tagged table", "x.csv", "sentence,token,label\na,cat,ADJ\n", "label 'ADJ' of 'cat' does not occur in training"),
        ("language", "x.txt", "a", "at least 2 tokens"),
    ],
)  # fmt: skip
def test_labelled_data_that_do_not_fit_are_refused_in_a_line(exported, tmp_path, kind, name, content, rule):
    _, _, out, _ = exported(kind)
    (tmp_path / name).write_text(content)
    with pytest.raises((DataError, DeclarationError)) as refused:
        evaluate(out, tmp_path / name)
    assert rule in str(refused.value)
    assert "\n" not in str(refused.value)


def test_evaluate_prints_scores_classes_and_confusions(exported):
    file, _, out, _ = exported("long")
    shown = CliRunner().invoke(main, ["evaluate", str(out), str(file)])
    assert shown.exit_code == 0, shown.output
    for text in (
        "gru on l.csv: 60 examples",
        "balanced_accuracy",
        "test split of the sweep",
        "precision",
        "answered as",
    ):
        assert text in shown.stdout
    as_json = json.loads(CliRunner().invoke(main, ["evaluate", str(out), str(file), "--json"]).stdout)
    assert as_json["scores"].keys() == {"accuracy", "balanced_accuracy", "macro_f1"}
    assert as_json["classes"]["names"] == ["down", "flat", "up"]
