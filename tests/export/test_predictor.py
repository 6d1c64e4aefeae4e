"""An exported model answers new files: as training did, from the last row on, or with one line that refuses them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.config import plugins
from bench.config.contracts import Sampling
from bench.errors import DataError, StoreError
from bench.export.predictor import ExportedModel


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
