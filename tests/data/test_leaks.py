"""Leaks are remarked: columns that tell the target, rows that count, sequences that two splits share."""

import numpy as np
import pandas as pd
import pytest

from bench.config.sweep_settings import SweepConfig
from bench.data import leaks, own_data

PARTS = ("train", "val", "test")


def own(path, **options):
    return own_data.make(SweepConfig(data=[path], results=path.parent / "results", **options))


def leaky(remarks):
    """Return the remarks on leaks, from those of a file or of a task."""
    words = ("one to one", "counts the rows", "overlap", "at random", "others are tested")
    return [str(remark) for remark in remarks if any(word in str(remark) for word in words)]


@pytest.mark.parametrize(
    ("column", "counts"),
    [
        (np.arange(20.0), True),
        (np.random.default_rng(0).permutation(20) + 1.0, True),
        (np.arange(20.0) * 2, False),
        (np.arange(20.0) % 19, False),
        (np.arange(20.0) + 0.5, False),
        (np.r_[np.nan, np.arange(19.0)], False),
        (np.arange(4.0), False),
    ],
)
def test_row_numbers(column, counts):
    assert leaks.counts_rows(column) is counts


def test_a_column_that_determines_the_target_one_to_one():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 60).astype(float)
    assert leaks.tells(np.array([7.0, 2.0, 5.0])[y.astype(int)], y)
    assert not leaks.tells(np.where(np.arange(60) == 0, 7.0, y), y)  # one exception
    assert not leaks.tells(rng.integers(0, 3, 60).astype(float), y)
    assert not leaks.tells(np.zeros(60), y)
    price = rng.normal(size=60)
    assert leaks.tells(1.2 * price + 3, price)  # the same in another unit
    assert leaks.tells(-price, price)
    assert not leaks.tells(price + rng.normal(size=60), price)


def test_sequences_that_are_windows_of_one_recording_overlap():
    recording = np.random.default_rng(0).normal(size=(400, 2))
    windows = [recording[start : start + 24] for start in range(0, 376, 6)]
    part = np.random.default_rng(1).choice(3, len(windows), p=[0.8, 0.1, 0.1])
    lengths = np.full(len(windows), 24)
    (remark,) = leaks.overlapping(np.concatenate(windows), lengths, part, PARTS, "fix it")
    assert "sequences overlap with those of train by 6 steps or more: " in str(remark)
    assert f"of {(part == 2).sum()} in test; scores are too good; fix it" in str(remark)
    apart = [recording[start : start + 24] for start in range(0, 376, 24)]
    assert not leaks.overlapping(np.concatenate(apart), np.full(len(apart), 24), part[: len(apart)], PARTS, "")
    by_time = np.repeat([0, 1, 2], [40, 8, 15])
    (remark,) = leaks.overlapping(np.concatenate(windows), lengths, by_time, PARTS, "")
    assert "3 of 8 in val" in str(remark)  # those that reach back into train
    assert "in test" not in str(remark)


def test_equal_sequences_and_flat_stretches_are_no_overlap():
    rng = np.random.default_rng(0)
    part = np.array([0, 2] * 10)
    equal = np.repeat(rng.normal(size=(10, 24, 1)), 2, axis=0).reshape(-1, 1)
    assert not leaks.overlapping(equal, np.full(20, 24), part, PARTS, "")
    flat = np.zeros((20, 24, 1))
    flat[:, 12] = rng.normal(size=(20, 1))
    assert not leaks.overlapping(flat.reshape(-1, 1), np.full(20, 24), part, PARTS, "")


def test_leaks_of_a_table_of_numbers_are_remarked(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.normal(size=40)
    columns = {"id": range(1, 41), "euro": y * 1.1, "a": rng.normal(size=40), "b": rng.normal(size=40)}
    pd.DataFrame(columns | {"y": y, "day": pd.date_range("2020-01-01", periods=40)}).to_csv(
        tmp_path / "t.csv", index=False
    )
    found = leaky(own(tmp_path / "t.csv", task="regression", target=["y"], features=["id", "euro", "a", "b"]).remarks)
    assert [line.split(": ")[1] for line in found] == ["column 'id'", "column 'euro'", "column 'day'"]
    assert not leaky(own(tmp_path / "t.csv", task="forecasting", target=["y"], features=["a"]).remarks)


def test_leaks_of_a_table_of_classes_are_remarked(tmp_path):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 40)
    columns = {"id": range(40), "code": 3 - label, "a": rng.normal(size=40), "b": rng.normal(size=40)}
    pd.DataFrame(columns | {"label": np.array(["x", "y"])[label]}).to_csv(tmp_path / "t.csv", index=False)
    found = leaky(own(tmp_path / "t.csv").remarks)
    assert "counts the rows" in found[0]
    assert "determines the target one to one" in found[1]
    assert not leaky(own(tmp_path / "t.csv", features=["a", "b"]).remarks)


def test_sequences_that_follow_each_other_in_time_and_are_split_at_random_are_remarked(tmp_path):
    hours = pd.date_range("2020-01-01", periods=240, freq="h").astype(str)
    groups = np.repeat(np.arange(30), 8)
    values = np.random.default_rng(0).normal(size=240)
    frame = pd.DataFrame({"t": hours, "id": groups, "v": values, "y": groups % 5, "part": "train"})
    frame.loc[groups >= 20, "part"] = "test"
    frame.to_csv(tmp_path / "t.csv", index=False)
    options = {"task": "regression", "target": ["y"], "group": "id", "features": ["v"]}
    (line,) = leaky(own(tmp_path / "t.csv", **options).remarks)
    assert line.startswith("t.csv: column 't': sequences follow each other in time, but are split at random; ")
    assert not leaky(own(tmp_path / "t.csv", **options, split_by="part").remarks)
    frame["t"] = np.tile(hours[:8], 30)  # all at the same time
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert not leaky(own(tmp_path / "t.csv", **options).remarks)


def test_series_that_train_while_others_are_tested_are_remarked(tmp_path):
    days = pd.date_range("2020-01-01", periods=60).astype(str)
    frame = pd.DataFrame({"t": [*days, *days], "id": ["a"] * 60 + ["b"] * 60, "v": np.arange(120) % 7, "part": "train"})
    frame.loc[(frame["id"] == "b") | (frame["t"] > "2020-02-20"), "part"] = "test"
    frame.to_csv(tmp_path / "t.csv", index=False)
    (line,) = leaky(own(tmp_path / "t.csv", group="id", split_by="part", task="forecasting", lengths=[4]).remarks)
    assert "series train on times at which others are tested" in line
