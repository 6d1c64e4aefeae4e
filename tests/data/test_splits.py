"""Which part an example belongs to: by shares, by a column, by the names of files, and by rules on names and classes."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.data.splits import file_parts, named_parts, split_borders, split_parts
from bench.errors import BenchError, DataError
from bench.tasks import forecasting, regression
from tests.makers import declared


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


@pytest.mark.parametrize(
    ("count", "splits", "rows"),
    [
        (7588, [0.7, 0.1, 0.2], [5311, 760, 1517]),
        (10, [0.7, 0.1, 0.2], [7, 1, 2]),
        (100, [0.6, 0.2, 0.2], [60, 20, 20]),
        (30, [10, 4, 6], [10, 4, 6]),
    ],
)
def test_how_rows_are_parted(count, splits, rows):
    assert np.diff(split_borders(count, splits)).tolist() == rows


def parts(rule, y, names, groups=None, contents=None):
    contents = contents or [hashlib.sha256(name.encode()).digest() for name in names]
    return split_parts(rule, np.array(y), names, groups, contents)


@given(
    counts=st.lists(st.integers(3, 60), min_size=1, max_size=5),
    shares=st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.2, 0.3)]),
)
def test_stratified_parts_hold_their_share_of_every_class(counts, shares):
    y = np.repeat(np.arange(len(counts)), counts)
    names = [f"n{i}" for i in range(len(y))]
    part = parts({"by": "stratified", "shares": list(shares)}, y, names)
    for each, count in enumerate(counts):
        found = np.bincount(part[y == each], minlength=3)
        assert (found >= 1).all()
        assert (np.abs(found - count * np.array(shares)) <= 1.5).all()
    order = np.random.default_rng(0).permutation(len(y))  # the order of the files changes nothing
    np.testing.assert_array_equal(
        parts({"by": "stratified", "shares": list(shares)}, y[order], [names[i] for i in order]), part[order]
    )


def test_val_is_a_stratified_share_of_train():
    names = [f"{y}_eva_{i}.wav" for y in "01" for i in range(25)]
    y = np.repeat([0, 1], 25)
    part = parts({"by": "index", "test": [0, 1, 2, 3, 4]}, y, names)
    assert [np.bincount(part[y == each]).tolist() for each in (0, 1)] == [[16, 4, 5]] * 2
    assert {int(name.split("_")[2][:-4]) for name, each in zip(names, part, strict=True) if each == 2} == {
        0,
        1,
        2,
        3,
        4,
    }
    expected = sorted(range(5, 25), key=lambda i: hashlib.sha256(names[i].encode()).digest())[:4]
    assert np.flatnonzero(part[:25] == 1).tolist() == sorted(expected)


def test_folds_by_number_and_by_hash():
    names = [f"set/neg/cv{i:03}_{i * 7}.txt" for i in range(1000)]
    part = parts({"by": "fold", "size": 100, "test": [9], "val": 8}, [0] * 1000, names)
    np.testing.assert_array_equal(part, np.repeat([0, 1, 2], [800, 100, 100]))
    hashed = parts({"by": "fold", "folds": 5, "test": [0], "val": [1]}, [0] * 1000, names)
    assert np.bincount(hashed).tolist() == pytest.approx([600, 200, 200], abs=50)
    with pytest.raises(DataError, match="has no number in its name"):
        parts({"by": "fold", "size": 100, "test": [9]}, [0], ["cv.txt"])


def test_equal_content_and_groups_stay_together():
    rng = np.random.default_rng(0)
    groups = [f"g{i}" for i in rng.integers(0, 40, 600)]
    names = [f"n{i}" for i in range(600)]
    contents = [hashlib.sha256(group.encode()).digest() for group in groups]
    for rule in ({"by": "content", "shares": [0.6, 0.2, 0.2]}, {"by": "group", "shares": [0.6, 0.2, 0.2]}):
        part = parts(rule, rng.integers(0, 2, 600), names, groups, contents)
        assert all(len({p for p, g in zip(part, groups, strict=True) if g == group}) == 1 for group in set(groups))
        assert set(part) == {0, 1, 2}
    with pytest.raises(DataError, match="no groups"):
        parts({"by": "group", "shares": [0.6, 0.2, 0.2]}, [0], ["a"])


def test_what_no_list_names_is_left_out():
    rule = {"by": "file", "train": ["a.tsv"], "test": ["b.tsv"], "val": ["c.tsv"]}
    assert parts(rule, [0] * 4, ["a.tsv:1", "b.tsv:1", "c.tsv:1", "a.tsv:2"]).tolist() == [0, 2, 1, 0]
    with pytest.raises(DataError, match="no example of 'c.tsv'"):
        parts(rule, [0] * 2, ["a.tsv:1", "b.tsv:1"])
    assert parts(rule, [0] * 4, ["a.tsv:1", "b.tsv:1", "c.tsv:1", "d.tsv:2"]).tolist() == [0, 2, 1, -1]
