"""An exported model is scored on new labelled data as the training code scores it."""

import json

import jiwer
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bench.cli.commands import main
from bench.config.contracts import joined
from bench.errors import DataError, DeclarationError
from bench.export.evaluate import evaluate
from bench.export.predictor import ExportedModel
from tests.export.kinds import TEXT


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
