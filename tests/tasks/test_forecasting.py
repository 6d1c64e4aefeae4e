"""Forecasting: scores by hand, new files that go on in their own units and times, and published numbers."""

import numpy as np
import pandas as pd
import pytest

from bench.config import datasets
from bench.config.datasets import make_task
from bench.data import files
from bench.errors import DataError, DataMissingError, DeclarationError
from bench.tasks.forecasting import Task
from tests.baselines.fitting import fit, reached, score
from tests.makers import declared
from tests.tasks.tables import everything, persist, table

ALL = 10**6


def test_the_worked_example(tmp_path):
    task = Task(4, files=table(tmp_path, v=range(20)), target=["v"], horizon=2, splits=[10, 4, 6])
    train = everything(task, "train")
    np.testing.assert_allclose(train.x[0, :, 0], [-1.57, -1.22, -0.87, -0.52], atol=0.005)
    np.testing.assert_allclose(train.y[0], [-0.17, 0.17], atol=0.005)
    assert "x  -1.57 -1.22 -0.87 -0.52" in Task.__doc__


# Scores and baselines


def test_scores_by_hand(tmp_path):
    v = np.array([0, 10, 0, 10, 2, 12, 2, 12, 4, 14, 4, 14, 6, 16, 6, 16], dtype=float)
    task = Task(2, files=table(tmp_path, v=v), target=["v"], horizon=2, season=2, splits=[8, 4, 4])
    test = everything(task, "test")
    np.testing.assert_allclose(task.decode(test.y)[:, :, 0], [[6, 16], [16, 6], [6, 16]], atol=1e-5)
    scale = np.std(v[:8])
    naive = np.mean([0, 0, 2, 2, 0, 0])  # of the training rows, two apart
    answers = (np.array([[6, 16], [16, 6], [7, 16]]) - v[:8].mean()) / scale
    found = task.score(answers.astype(np.float32), test)
    assert found["mse"] == pytest.approx((1 / scale) ** 2 / 6, rel=1e-4)
    assert found["mae"] == pytest.approx(1 / scale / 6, rel=1e-4)
    assert found["mase"] == pytest.approx(1 / 6 / naive, rel=1e-4)
    assert reached("seasonal_naive", task) == pytest.approx(np.mean([4, 4, 0, 4, 0, 0]) / scale**2, rel=1e-4)
    assert reached("repeat_last", task) == pytest.approx(np.mean([64, 4, 100, 0, 100, 0]) / scale**2, rel=1e-4)
    assert reached("constant", task) == pytest.approx(task.score(np.zeros_like(test.y), test)["mse"])


def test_the_seasonal_naive_forecast_goes_round_and_may_look_further_back_than_the_window(tmp_path):
    v = np.arange(60.0) % 5
    own = table(tmp_path, v=v)
    for length, horizon in ((2, 4), (7, 12)):
        task = Task(length, files=own, target=["v"], horizon=horizon, season=5, splits=[30, 15, 15])
        assert reached("seasonal_naive", task) == pytest.approx(0, abs=1e-12)
    assert task.score(everything(task, "test").y, everything(task, "test")).keys() == {"mse", "mae"}  # nothing to scale


def test_the_ridge_finds_a_linear_rule(tmp_path):
    v = [1.0, 0.5]
    for _ in range(400):
        v.append(1.9 * v[-1] - v[-2])  # a sine
    task = Task(4, files=table(tmp_path, v=v), target=["v"], horizon=3)
    assert reached("ridge_on_window", task) < 1e-3 < 0.1 < reached("repeat_last", task)


def test_a_split_of_fewer_windows_has_its_baselines_on_the_same(tmp_path):
    task = Task(3, files=table(tmp_path, v=np.random.default_rng(0).normal(size=200)), target=["v"], horizon=2)
    few = task.split("test", 10)
    last = np.repeat(few.x[:, -1:, 0], 2, axis=1)
    assert score(fit("repeat_last", task), task, size=10) == pytest.approx(task.score(last, few)["mse"])


# New files


def test_a_forecast_is_in_the_units_of_the_file_and_follows_each_group(tmp_path):
    days = pd.date_range("2020-01-01", periods=30)
    frame = pd.DataFrame(
        {"t": [*days, *days[4:]], "id": ["a"] * 30 + ["b"] * 26, "v": range(56), "w": 1e4 + np.arange(56)}
    )
    arguments = {"target": ["v", "w"], "group": "id", "time": "t"}
    task = Task(3, files=table(tmp_path, **frame), horizon=2, **arguments)
    frame.iloc[[*range(20, 28), *range(50)]].drop_duplicates().sort_values(["id", "t"]).to_csv(
        tmp_path / "n.csv", index=False
    )
    found, _ = persist(tmp_path / "n.csv", 3, task, **arguments)
    assert list(found.columns) == ["id", "t", "v", "w"]
    assert list(found["id"]) == ["a", "a", "b", "b"]
    assert [str(time)[:10] for time in found["t"]] == ["2020-01-31", "2020-02-01", "2020-01-25", "2020-01-26"]
    np.testing.assert_allclose(found["v"], [29, 29, 49, 49], atol=1e-4)
    np.testing.assert_allclose(found["w"], [10029, 10029, 10049, 10049], rtol=1e-6)


@pytest.mark.parametrize(
    ("times", "following"),
    [
        (["2020-01-31", "2020-02-29", "2020-03-31"], ["2020-04-30 00:00:00", "2020-05-31 00:00:00"]),
        (["2019-12-31", "2020-03-31", "2020-06-30"], ["2020-09-30 00:00:00", "2020-12-31 00:00:00"]),
        (["2020-01", "2020-02", "2020-03"], ["2020-04-01 00:00:00", "2020-05-01 00:00:00"]),
        (["2020-02-28 22:00", "2020-02-28 23:00", "2020-02-29 00:00"], ["2020-02-29 01:00:00", "2020-02-29 02:00:00"]),
        (["2020-01-01T22:00+01:00", "2020-01-01T23:00+01:00", "2020-01-02T00:00+01:00"],
         ["2020-01-02 00:00:00+00:00", "2020-01-02 01:00:00+00:00"]),
        (["2020-01-03", "2020-01-06", "2020-01-07", "2020-01-08"], ["2020-01-09 00:00:00", "2020-01-10 00:00:00"]),
        ([1577836800, 1577836860, 1577836920], ["1577836980", "1577837040"]),
        ([7, 8, 9], ["10", "11"]),
        ([0.5, 1.0, 1.5], ["2.0", "2.5"]),
    ],
)  # fmt: skip
def test_times_go_on_as_they_were_written(tmp_path, times, following):
    task = Task(2, files=table(tmp_path, t=range(20), v=range(20)), target=["v"], time="t", horizon=2)
    pd.DataFrame({"t": times, "v": range(len(times))}).to_csv(tmp_path / "n.csv", index=False)
    found, _ = persist(tmp_path / "n.csv", 2, task, target=["v"], time="t")
    assert [str(time) for time in found["t"]] == following


def test_a_new_file_has_its_days_where_the_training_file_had_them(tmp_path):
    days = pd.date_range("2020-01-01", periods=60).strftime("%d/%m/%Y")
    task = Task(2, files=table(tmp_path, t=days, v=range(60)), target=["v"], time="t", horizon=2)
    pd.DataFrame({"t": ["01/03/2020", "02/03/2020", "03/03/2020"], "v": range(3)}).to_csv(
        tmp_path / "n.csv", index=False
    )
    found, new = persist(tmp_path / "n.csv", 2, task, target=["v"], time="t")
    assert [str(time)[:10] for time in found["t"]] == ["2020-03-04", "2020-03-05"]
    assert list(map(str, new.about["remarks"])) == ["times are read as %d/%m/%Y, not as %m/%d/%Y"]


def test_a_group_that_is_too_short_is_named_and_the_others_are_forecast(tmp_path):
    frame = pd.DataFrame({"id": ["a"] * 40 + ["b"] * 40, "v": range(80)})
    task = Task(4, files=table(tmp_path, **frame), target=["v"], group="id", horizon=2)
    frame[[*[True] * 10, *[False] * 50, *[True] * 2, *[False] * 18]].to_csv(tmp_path / "n.csv", index=False)
    found, new = persist(tmp_path / "n.csv", 4, task, target=["v"], group="id")
    assert list(found["id"]) == ["a", "a"]
    assert str(new.about["remarks"][-1]) == "1 of 2 series have no forecast: fewer than 4 rows (b with 2)"
    frame[:3].to_csv(tmp_path / "n.csv", index=False)
    with pytest.raises(DataError, match="must have at least 4 rows in a group, but the longest, 'a', has 3; add"):
        persist(tmp_path / "n.csv", 4, task, target=["v"], group="id")


@pytest.mark.parametrize("group", [None, "id"])
def test_rows_with_an_empty_target_after_the_history_are_what_is_to_be_forecast(tmp_path, group):
    days = pd.date_range("2020-01-01", periods=50)
    v = [*range(20), np.nan, *range(21, 44), *[np.nan] * 6]
    frame = pd.DataFrame({"t": days, "id": "a", "v": v, "w": range(50)})
    other = frame.assign(id="b", v=100 + frame["v"])
    frame = pd.concat([frame, other]) if group else frame
    arguments = {"target": ["v"], "features": ["w"], "time": "t", **({"group": "id"} if group else {})}
    task = Task(4, files=table(tmp_path, **frame), horizon=2, **arguments)
    assert sum(task.meta["rows"]) == 44 * (1 + bool(group))
    future = f"{6 * (1 + bool(group))} rows after the last value of the target are what is to be forecast"
    assert any(future in str(remark) for remark in task.meta["remarks"])
    given = frame.assign(t=frame["t"].where(frame["v"].notna() | (frame["w"] < 40), frame["t"] + pd.Timedelta(1, "h")))
    given.to_csv(tmp_path / "n.csv", index=False)
    found, _ = persist(tmp_path / "n.csv", 4, task, **arguments)
    np.testing.assert_allclose(found["v"][:2], [43, 43], atol=1e-4)
    assert [str(time) for time in found["t"][:2]] == ["2020-02-14 01:00:00", "2020-02-15 01:00:00"]  # of these rows
    assert len(found) == 2 * (1 + bool(group))


# What is refused


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"target": []}, "forecasting: target: must be a list of at least one column, but found []"),
        ({"target": "v"}, "forecasting: target: must be a list of at least one column, but found 'v'"),
        ({"horizon": 0}, "forecasting: horizon: must be at least 1 row, but found 0"),
        ({"season": 0}, "forecasting: season: must be at least 1 row, but found 0"),
        ({"files": []}, "forecasting: files: none given; name them under [[files]] in the dataset card"),
        ({"splits": [0.7, 0.3]}, "forecasting: splits must be three shares that sum to 1, or three numbers of rows, for train, "
         "val and test, but are [0.7, 0.3]"),
        ({"splits": [0.7, 0.2, 0.2]}, "forecasting: splits must be three shares that sum to 1, or three numbers of rows, for "
         "train, val and test, but are [0.7, 0.2, 0.2]"),
        ({"splits": [10, 4, 0]}, "forecasting: splits must be three shares that sum to 1, or three numbers of rows, for train, "
         "val and test, but are [10, 4, 0]"),
        ({"splits": [14, 3, 3], "horizon": 4}, "forecasting: length 3, horizon 4: no window fits into the val part (rows "
         "of train, val and test: [14, 3, 3]); use a smaller length or horizon, or other splits"),
        ({"splits": [14, 4, 3]}, "forecasting: splits: need 21 rows, but the table has 20; use fewer"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, arguments, told):
    own = {"files": table(tmp_path, v=range(20)), "target": ["v"]}
    with pytest.raises((DataError, DeclarationError)) as caught:
        Task(3, **(own | arguments))
    assert str(caught.value) == told


def test_a_target_without_a_value_in_training_is_refused(tmp_path):
    with pytest.raises(
        DataError, match="column 'v' has no value in the training part; leave the column out, or use other splits$"
    ):
        Task(3, files=table(tmp_path, v=[np.nan] * 14 + [1.0, 2, 3, 4, 5, 6]), target=["v"])


# Real data


def real(name, length, **changes):
    card = datasets.read(name)
    try:
        for file in card.files:
            files.locate(file)
    except DataMissingError as error:
        pytest.skip(str(error))
    return make_task(card.task, length, card.arguments | changes)


def repeated(task):
    """Scores of the last row repeated, over the whole test split."""
    test = everything(task, "test")
    last = np.tile(test.x[:, -1, : len(task.target)], (1, task.horizon))
    return task.score(last, test)


@pytest.mark.parametrize(
    ("name", "length", "horizon", "mse", "mae"),
    [
        # Zeng et al. 2023, Table 2, "Repeat"; and recomputed from the same files apart from this code.
        ("exchange_rate", 96, 96, 0.081, 0.196),
        ("exchange_rate", 336, 96, 0.081, 0.196),
        ("etth1", 96, 96, 1.294, 0.713),
    ],
)
def test_the_last_value_repeated_scores_as_published(name, length, horizon, mse, mae):
    found = repeated(real(name, length, horizon=horizon))
    assert found["mse"] == pytest.approx(mse, abs=0.0015)  # three places; 1 window of 1,422 more or less
    assert found["mae"] == pytest.approx(mae, abs=0.0015)


def test_the_last_value_repeated_on_the_second_transformer():
    card = datasets.read("etth1")
    first = card.files[0].model_copy(update={"path": "ett/ETTh2.csv", "size_bytes": 2_417_960})
    try:
        path = files.locate(first)
    except DataMissingError as error:
        pytest.skip(str(error))
    found = repeated(make_task(card.task, 96, card.arguments | {"files": [declared(path)], "horizon": 96}))
    assert found["mse"] == pytest.approx(0.432, abs=0.0015)  # recomputed from the file apart from this code
    assert found["mae"] == pytest.approx(0.422, abs=0.0015)


def test_the_linear_map_of_each_series_scores_as_published_ones(monkeypatch):
    # LTSF-Linear, ETTh1, horizon 96 from 336: DLinear 0.375 / 0.399, trained by gradient descent; ours is solved.
    monkeypatch.setattr("bench.baselines.linear_map.LOOK_BACKS", (1,))  # the published ones see 336 rows
    task = real("etth1", 336, horizon=96)
    test = everything(task, "test")
    found = task.score(fit("linear_map", task).outputs(test.x, test.length), test)
    assert found["mse"] == pytest.approx(0.375, abs=0.01)
    assert found["mae"] == pytest.approx(0.399, abs=0.01)


@pytest.mark.parametrize(
    ("name", "rows", "remarks"),
    [
        ("etth1", [8640, 2880, 2880], []),
        ("exchange_rate", [5311, 760, 1517], [
            "column '6': the level shifts: the mean of training differs from that of val by +3.1 and that of test by +0.5 "
            "training deviations, and so do 5 of 8 targets; scores measure how well a model follows a new level",
        ]),
        ("beijing_pm25", [30676, 4384, 8764], [
            "column 'pm2.5': 2,067 missing values filled with the previous value, 24 of them with the training mean",
            "windows skipped because a target is missing: train 4,856, val 398, test 785",
        ]),
        ("sunspots", [1974, 282, 564], []),
    ],
)  # fmt: skip
def test_rows_and_splits_of_the_cards(name, rows, remarks):
    card = datasets.read(name)
    task = real(name, card.lengths[0])
    assert task.meta["rows"] == rows
    assert list(map(str, task.meta["remarks"])) == remarks
    left_out = task.meta["left_out"]
    assert task.counts["train"] + left_out["train"] == rows[0] - task.length - task.horizon + 1
    assert task.counts["test"] + left_out["test"] == rows[2] - task.horizon + 1
    assert all(f"{count:,}" in card.split for count in rows)


def test_times_of_the_forecasts():
    task = real("etth1", 96)
    times = task.times("test", np.array([0, task.counts["test"] - 1]))
    assert times.shape == (2, 24)
    assert times[0, 0] == np.datetime64("2017-10-24T00:00")
    assert times[1, -1] == np.datetime64("2018-02-20T23:00")
    assert real("exchange_rate", 96).times("test", np.arange(2)) is None
