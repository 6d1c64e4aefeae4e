"""The parts that a column or the names of files give to rows."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.data.splits import file_parts, named_parts
from bench.errors import BenchError, DataError
from bench.tasks import forecasting, regression


def declared(path):
    content = path.read_bytes()
    return {"path": str(path), "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def table(folder, name="t.csv", **columns):
    pd.DataFrame(columns).to_csv(folder / name, index=False)
    return declared(folder / name)


def own(path, *more, **options):
    return own_data.make(SweepConfig(data=[path, *more], results=path.parent / "results", **options))


def test_the_values_of_a_column_name_the_parts():
    labels = ["train", "Training", " VALID ", "dev", "test", "holdout"]
    assert named_parts(labels, "t.csv: column 'part'").tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("labels", "rule"),
    [
        (["train", "tset"], "must name the split of each row, train, val or test, but row 2 of the data has 'tset'; "
         "correct it, or delete the row"),
        (["train", ""], "must name the split of each row, train, val or test, but row 2 of the data has no value; "
         "correct it, or delete the row"),
        (["train", "val"], "no row belongs to test (values: train, val); name the rows of test"),
    ],
)  # fmt: skip
def test_a_column_that_does_not_name_the_parts_ends_in_one_line(labels, rule):
    with pytest.raises(DataError) as caught:
        named_parts(labels, "t.csv: column 'part'")
    assert str(caught.value) == f"t.csv: column 'part': {rule}"


def test_every_file_belongs_to_one_part():
    assert file_parts({"by": "file", "train": ["a"], "test": ["b"]}, ["b", "a"]).tolist() == [2, 0]
    with pytest.raises(DataError, match="must list every file, but 'c' is in none of train, val, test"):
        file_parts({"by": "file", "train": ["a"], "test": ["b"]}, ["a", "b", "c"])
    with pytest.raises(DataError, match=r"'d' is not a file of the data \(a, b\)"):
        file_parts({"by": "file", "train": ["a"], "test": ["d"]}, ["a", "b"])


PARTS = ["train"] * 20 + ["val"] * 8 + ["test"] * 12


def test_a_forecast_is_split_by_the_column_that_names_the_parts(tmp_path):
    file = table(tmp_path, v=range(40), part=PARTS)
    task = forecasting.Task(2, files=[file], target=["v"], horizon=2, splits={"by": "column", "column": "part"})
    assert task.meta["rows"] == [20, 8, 12]
    no_val = [part.replace("val", "train") for part in PARTS]
    file = table(tmp_path, "n.csv", v=range(40), part=no_val)
    task = forecasting.Task(2, files=[file], target=["v"], horizon=2, splits={"by": "column", "column": "part"})
    assert task.meta["rows"] == [23, 5, 12]  # a fifth of train, its end
    mixed = table(tmp_path, "m.csv", v=range(40), part=PARTS[::-1])
    with pytest.raises(
        DataError, match="train must come before val, and val before test, but a row of val follows one of test"
    ):
        forecasting.Task(2, files=[mixed], target=["v"], splits={"by": "column", "column": "part"})


def test_a_training_and_a_test_file_are_the_parts_of_a_forecast(tmp_path):
    days = pd.date_range("2020-01-01", periods=60).astype(str)
    train = table(tmp_path, "load_train.csv", t=days[:40], v=range(40))
    test = table(tmp_path, "load_test.csv", t=days[40:], v=range(20))
    found = own(tmp_path / "load_train.csv", tmp_path / "load_test.csv", task="forecasting")
    assert found.card.arguments["splits"] == {"by": "file", "train": ["load_train.csv"], "test": ["load_test.csv"]}
    assert found.card.split.startswith("by file: test is ")
    task = forecasting.Task(2, **found.card.arguments)
    assert task.meta["rows"] == [32, 8, 20]
    assert train != test
    with pytest.raises(BenchError, match="--splits would mix load_train.csv with load_test.csv"):
        own(tmp_path / "load_train.csv", tmp_path / "load_test.csv", task="forecasting", splits=[0.7, 0.1, 0.2])


@pytest.mark.parametrize("has_val", [True, False])
def test_sequences_with_a_number_are_split_by_column_and_by_file(tmp_path, has_val):
    rng = np.random.default_rng(0)
    y, part = rng.normal(size=10), ["train"] * 6 + ["val" if has_val else "train"] + ["test"] * 3
    steps = {f"s{step}": rng.normal(size=10) for step in range(3)}
    rule = {"by": "column", "column": "part"}
    task = regression.Task(3, files=[table(tmp_path, **steps, y=y, part=part)], target="y", splits=rule)
    assert task.meta["columns"] == ["s0", "s1", "s2"]
    assert task.counts == {"train": 6, "val": 1, "test": 3}
    assert set(task.meta["ids"][7:]) == {"8", "9", "10"}
    frame = pd.DataFrame(steps | {"y": y})
    files = [table(tmp_path, "a.csv", **frame[:7]), table(tmp_path, "b.csv", **frame[7:])]
    task = regression.Task(3, files=files, target="y", splits={"by": "file", "train": ["a.csv"], "test": ["b.csv"]})
    assert task.counts == {"train": 6, "val": 1, "test": 3}


def test_a_sequence_in_two_splits_is_refused(tmp_path):
    file = table(tmp_path, id=[1, 1, 2, 2], s=[1.0, 2, 3, 4], y=[1, 1, 2, 2], part=["train", "test", "test", "test"])
    with pytest.raises(DataError, match="the rows of sequence '1' are in more than one split; keep them in one"):
        regression.Task(2, files=[file], target="y", group="id", splits={"by": "column", "column": "part"})


def test_train_and_test_tables_may_count_their_sequences_anew(tmp_path):
    frame = pd.DataFrame(
        {"id": np.repeat([1, 2, 3, 4], 3), "t": [0, 1, 2] * 4, "s": range(12), "y": np.arange(12) // 3}
    )
    files = [table(tmp_path, "a.csv", **frame), table(tmp_path, "b.csv", **frame[:6])]
    splits = {"by": "file", "train": ["a.csv"], "test": ["b.csv"]}
    task = regression.Task(3, files=files, target="y", group="id", time="t", splits=splits)
    assert task.counts == {"train": 3, "val": 1, "test": 2}
    assert set(task.meta["ids"][4:]) == {"1 of b.csv", "2 of b.csv"}


def test_split_by_is_an_option_of_forecasts_numbers_and_classes(tmp_path):
    rng = np.random.default_rng(0)
    columns = {"a": rng.normal(size=40), "b": rng.normal(size=40), "part": PARTS}
    table(tmp_path, "f.csv", **columns)
    found = own(tmp_path / "f.csv", task="forecasting", target=["a"], split_by="part")
    assert found.card.split == "by column part"
    found = own(tmp_path / "f.csv", task="regression", target=["a"], split_by="part")
    assert found.card.arguments["splits"] == {"by": "column", "column": "part"}
    table(tmp_path, "c.csv", **columns, label=["x", "y"] * 20)
    found = own(tmp_path / "c.csv", split_by="part")
    assert (found.card.task, found.card.arguments["splits"]["by"]) == ("classification", "column")
    assert "train 20, val 8, test 12" in found.remarks[1]
    table(tmp_path, "w.csv", text=["good day", "bad night"] * 20, label=["x", "y"] * 20, part=PARTS)
    assert "train 20, val 8, test 12" in own(tmp_path / "w.csv", split_by="part").remarks[1]
    with pytest.raises(BenchError, match="--split-by and --splits both split the data; give one of them"):
        own(tmp_path / "c.csv", split_by="part", splits=[0.7, 0.1, 0.2])
