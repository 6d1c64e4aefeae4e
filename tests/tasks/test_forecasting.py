"""Forecasting: windows of tables made by hand, no leak from the future, and published numbers."""

import hashlib
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from bench.baselines._linear import ridges
from bench.config import datasets
from bench.config.contracts import Batch, Sampling
from bench.config.datasets import make_task
from bench.data import files
from bench.data.splits import split_borders
from bench.errors import DataError, DataMissingError, DeclarationError
from bench.export.export import PRIVATE
from bench.tasks import forecasting
from bench.tasks.forecasting import Task
from tests.baselines.fitting import fit, reached, score

quick = settings(max_examples=20, deadline=None)
ALL = 10**6
PARTS = ("train", "val", "test")


def declared(path):
    content = path.read_bytes()
    return {"path": str(path), "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def table(folder, name="t.csv", **columns):
    path = folder / name
    pd.DataFrame(columns).to_csv(path, index=False)
    return [declared(path)]


def everything(task, part):
    return task.take(part, np.arange(task.counts[part]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("forecasting")


# Windows


def test_the_worked_example(tmp_path):
    task = Task(4, files=table(tmp_path, v=range(20)), target=["v"], horizon=2, splits=[10, 4, 6])
    train = everything(task, "train")
    np.testing.assert_allclose(train.x[0, :, 0], [-1.57, -1.22, -0.87, -0.52], atol=0.005)
    np.testing.assert_allclose(train.y[0], [-0.17, 0.17], atol=0.005)
    assert "x  -1.57 -1.22 -0.87 -0.52" in Task.__doc__


@quick
@given(
    parts=st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20)),
    unused=st.integers(0, 5),
    length=st.integers(1, 8),
    horizon=st.integers(1, 6),
    features=st.integers(0, 2),
)
def test_windows_are_those_of_a_loop(folder, parts, unused, length, horizon, features):
    count = sum(parts) + unused
    rng = np.random.default_rng(count)
    columns = {name: rng.normal(3, 2, count).astype(np.float32) for name in ("a", "b", "f0", "f1")}
    names = ["a", "b", *["f0", "f1"][:features]]
    arguments = {"target": ["a", "b"], "features": names[2:], "horizon": horizon, "splits": list(parts)}
    borders = np.cumsum([0, *parts])
    expected = {
        part: [
            row
            for row in range(borders[i], borders[i + 1])
            if row >= length and row + horizon <= borders[i + 1]  # inputs may reach back into the part before
        ]
        for i, part in enumerate(PARTS)
    }
    own = table(folder, **columns)
    if not all(expected.values()):
        with pytest.raises(DeclarationError, match=r"^forecasting: length \d+, horizon \d+: no window fits"):
            Task(length, files=own, **arguments)
        return
    task = Task(length, files=own, **arguments)
    assert task.counts == {part: len(rows) for part, rows in expected.items()}
    assert (task.input_size, task.output_size) == (len(names), 2 * horizon)
    values = np.stack([columns[name] for name in names], axis=1).astype(np.float64)
    train = values[: parts[0]]
    deviation = train.std(0)
    scaled = (values - train.mean(0)) / np.where(deviation > 0, deviation, 1)
    for part in PARTS:
        batch = everything(task, part)
        for i, row in enumerate(expected[part]):
            np.testing.assert_allclose(batch.x[i], scaled[row - length : row], rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(batch.y[i], scaled[row : row + horizon, :2].ravel(), rtol=1e-4, atol=1e-4)
        decoded = task.decode(batch.y)
        assert decoded.shape == (len(batch.y), horizon, 2)
        np.testing.assert_allclose(decoded[0], values[expected[part][0] :][:horizon, :2], rtol=1e-4, atol=1e-4)
    val = everything(task, "val")
    assert task.chance == pytest.approx((val.y.astype(np.float64) ** 2).mean(), rel=1e-6)
    assert task.chance == pytest.approx(task.score(np.zeros_like(val.y), val)["mse"], rel=1e-6)


@quick
@given(data=st.data(), length=st.integers(1, 5), look_back=st.integers(2, 4), horizon=st.integers(1, 3))
def test_a_longer_look_back_keeps_the_targets_and_repeats_the_first_row(folder, data, length, look_back, horizon):
    sizes = data.draw(st.lists(st.integers(1, 30), max_size=3)) + [40]
    names = np.repeat([f"g{number}" for number in range(len(sizes))], sizes)
    own = table(folder, id=names, v=np.random.default_rng(0).normal(size=len(names)))
    arguments = {"files": own, "target": ["v"], "group": "id", "horizon": horizon, "splits": [0.5, 0.25, 0.25]}
    task, longer = Task(length, **arguments), Task(length, **arguments, look_back=look_back)
    assert (longer.length, longer.num_steps) == (length, look_back * length)
    assert (task.counts, task.chance) == (longer.counts, longer.chance)
    values, starts = task._values_ND, np.cumsum([0, *sizes])
    for part in PARTS:
        short, long = everything(task, part), everything(longer, part)
        np.testing.assert_array_equal(long.y, short.y)
        np.testing.assert_array_equal(long.x[:, -length:], short.x)
        assert (long.length == look_back * length).all()
        for x, row in zip(long.x, task._rows(part, np.arange(task.counts[part]))[0], strict=True):
            first = starts[np.searchsorted(starts, row, side="right") - 1]
            inside = values[max(first, row - look_back * length) : row]
            np.testing.assert_array_equal(x[len(x) - len(inside) :], inside)
            assert (x[: len(x) - len(inside)] == values[first]).all()


@pytest.mark.parametrize("look_back", [0, -1])
def test_a_look_back_that_cannot_be_is_refused(tmp_path, look_back):
    with pytest.raises(DeclarationError, match=f"^forecasting: look_back: must be at least 1, but found {look_back}$"):
        Task(2, files=table(tmp_path, v=range(30)), target=["v"], look_back=look_back)


@quick
@given(data=st.data(), length=st.integers(1, 4), horizon=st.integers(1, 4))
def test_windows_cross_no_border_of_a_group(folder, data, length, horizon):
    sizes = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=5))
    rows = [(f"g{i}", 100 * i + step) for i, size in enumerate(sizes) for step in range(size)]
    rows.append(("long", 0))
    rows += [("long", 1_000 + step) for step in range(60)]
    order = data.draw(st.permutations(range(len(sizes) + 1)))  # groups need not lie together in the file
    rows = sorted(rows, key=lambda row: (row[1] % 3 == 0, order[0] * row[1] % 7))
    frame = pd.DataFrame(rows, columns=["id", "v"])
    own = table(folder, id=frame["id"], v=frame["v"])
    task = Task(length, files=own, target=["v"], group="id", horizon=horizon, splits=[0.5, 0.25, 0.25])
    series = {name: group["v"].tolist() for name, group in frame.groupby("id")}
    for part in PARTS:
        batch = everything(task, part)
        steps = task.decode(np.repeat(batch.x[:, :1, 0], horizon, axis=1))[:, 0, 0]
        for i in range(len(batch.x)):
            window = np.concatenate([batch.x[i, :, 0], batch.y[i]]) * task.meta["scale"][0] + task.meta["mean"][0]
            window = [round(value) for value in window]
            owners = [name for name, values in series.items() if window[0] in values and round(steps[i]) in values]
            assert any(
                series[name][at : at + length + horizon] == window for name in owners for at in range(len(series[name]))
            )
    whole = {name: len(values) for name, values in series.items()}
    train = sum(max(0, int(size * 0.5) - length - horizon + 1) for size in whole.values())
    assert task.counts["train"] == train


def test_groups_with_times_are_parted_at_the_same_times(tmp_path):
    days = pd.date_range("2020-01-01", periods=40)
    frame = pd.DataFrame({"t": [*days[:30], *days[10:]], "id": ["a"] * 30 + ["b"] * 30, "v": range(60)})
    own = table(tmp_path, t=frame["t"], id=frame["id"], v=frame["v"])
    task = Task(2, files=own, target=["v"], group="id", time="t", horizon=2, splits=[20, 10, 10])
    latest = {part: task.times(part, np.arange(task.counts[part])) for part in PARTS}
    assert latest["train"].max() == days[19].to_datetime64()
    assert latest["val"].min() == days[20].to_datetime64()
    assert latest["val"].max() == days[29].to_datetime64()
    assert latest["test"].min() == days[30].to_datetime64()
    assert task.counts == {"train": 17 + 7, "val": 9 + 9, "test": 9}


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


# Leaks


@quick
@given(place=st.integers(50, 79), column=st.sampled_from("ab"), value=st.none() | st.integers(-1_000, 1_000))
def test_the_future_changes_no_input_and_no_statistics(folder, place, column, value):
    rng = np.random.default_rng(0)
    gaps = rng.random(80) < 0.6
    columns = {"a": rng.normal(size=80), "b": np.where(gaps, np.nan, rng.normal(size=80))}
    arguments = {"target": ["a"], "features": ["b"], "horizon": 3, "time": "t", "splits": [50, 10, 20]}
    times = pd.date_range("2020", periods=80)
    before = Task(5, files=table(folder, "before.csv", t=times, **columns), **arguments)
    columns[column][place] = np.nan if value is None else value
    after = Task(5, files=table(folder, "after.csv", t=times, **columns), **arguments)
    assert before.meta["mean"] == after.meta["mean"]
    assert before.meta["scale"] == after.meta["scale"]
    for part in PARTS:
        first = {time[0]: x for time, x in zip(all_times(before, part), everything(before, part).x, strict=True)}
        for time, x in zip(all_times(after, part), everything(after, part).x, strict=True):
            if time[0] <= times[place].to_datetime64() and time[0] in first:  # the window ends before `place`
                np.testing.assert_array_equal(x, first[time[0]])


def all_times(task, part):
    return task.times(part, np.arange(task.counts[part]))


def test_statistics_are_those_of_the_training_rows(tmp_path):
    v = np.r_[np.arange(50.0), np.full(50, 1e6)]
    task = Task(3, files=table(tmp_path, v=v), target=["v"], splits=[50, 20, 30])
    assert task.meta["mean"] == [24.5]
    assert task.meta["scale"] == [pytest.approx(np.arange(50).std())]


# Missing values


def test_missing_values(tmp_path):
    a = [np.nan, 1, 2, np.nan, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, np.nan, 19]
    b = [np.nan, 5, *[np.nan] * 3, 6, *range(14)]
    task = Task(2, files=table(tmp_path, a=a, b=b), target=["a"], features=["b"], horizon=2, splits=[10, 4, 6])
    mean, scale = task.meta["mean"][1], task.meta["scale"][1]
    assert mean == pytest.approx(np.nanmean(b[:10]))
    seen = task._values_ND[:, 1] * scale + mean
    np.testing.assert_allclose(seen[:7], [mean, 5, 5, 5, 5, 6, 0], atol=1e-6)
    # Training windows begin their targets in rows 2 to 8; those in rows 2 and 3 ask for row 3.
    assert task.counts == {"train": 5, "val": 3, "test": 3}
    assert task.meta["left_out"] == {"train": 2, "val": 0, "test": 2}
    assert list(map(str, task.meta["remarks"])) == [
        "column 'a': 3 missing values filled with the previous value, 1 of them with the training mean",
        "column 'b': 4 missing values filled with the previous value, 1 of them with the training mean",
        "column 'a': the level shifts: the mean of training differs from that of val by +2.4 and that of test by +4.2 "
        "training deviations; scores measure how well a model follows a new level",
        "windows skipped because a target is missing: train 2, val 0, test 2",
    ]
    assert all(np.isfinite(everything(task, part).y).all() for part in PARTS)


def test_a_constant_column_stays_finite(tmp_path):
    own = table(tmp_path, a=np.arange(30.0) % 7, c=np.full(30, 0.1), d=np.r_[np.zeros(20), np.ones(10)])
    task = Task(2, files=own, target=["a", "d"], features=["c"])
    assert str(task.meta["remarks"][0]) == "column 'c': constant (0.1)"
    batch = everything(task, "test")
    assert np.isfinite(batch.x).all()
    assert set(batch.x[..., 2].ravel()) == {0}
    assert math.isfinite(task.score(batch.y, batch)["mase"])  # of `a` alone: `d` is constant in training


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


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_the_ridge_is_that_of_scikit_learn(shape):
    rng = np.random.default_rng(0)
    x, y, other = rng.normal(2, 1, shape), rng.normal(size=(shape[0], 3)), rng.normal(size=(5, shape[1]))
    for alpha, (weights, offset) in zip((1.0, 100.0, 1e5), ridges(x, y, (1.0, 100.0, 1e5)), strict=True):
        expected = Ridge(alpha=alpha, solver="svd").fit(x, y).predict(other)
        np.testing.assert_allclose(other @ weights + offset, expected, atol=1e-8)


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


def persist(path, length, task, **arguments):
    """Return what a model would answer to a file that repeats the last row, as `predict` writes it."""
    exported = {key: value for key, value in task.meta.items() if key not in PRIVATE}
    predictor = forecasting.Predictor(arguments, exported)
    new = predictor.read(path, length)
    model = SimpleNamespace(outputs=lambda x, length: np.tile(x[:, -1, : len(task.target)], (1, task.horizon)))
    return pd.DataFrame(predictor.answer(model, new, Sampling())), new


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


def test_groups_without_a_window_are_told(tmp_path):
    own = table(tmp_path, id=["a"] * 40 + ["b"] * 3 + ["c"] * 40, v=range(83))
    task = Task(4, files=own, target=["v"], group="id", horizon=2)
    told = "1 of 3 groups have too few rows for a window and are skipped ('b')"
    assert list(map(str, task.meta["remarks"])) == [told]


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


def test_a_window_that_only_gaps_leave_is_said_to_be_one(tmp_path):
    v = np.where(np.arange(60) % 2, np.nan, 1.0 * np.arange(60))
    with pytest.raises(
        DeclarationError, match="each of the 38 windows of the train part holds a missing target; fill the"
    ):
        Task(2, files=table(tmp_path, v=v), target=["v"], horizon=2)


# Scales


def of_two_scales(folder):
    wave = 1 + 0.3 * np.sin(np.arange(120))
    return table(folder, id=["small"] * 120 + ["large"] * 120, v=[*(4 * wave), *(3e6 * wave)])


def test_series_of_other_scales_have_a_scale_each(tmp_path):
    own = of_two_scales(tmp_path)
    arguments = {"target": ["v"], "group": "id"}
    shared = Task(8, files=own, horizon=3, **arguments)
    assert shared.meta["spread"] > 1e5
    assert np.abs(np.diff(everything(shared, "train").y[:20])).max() < 1e-5  # the small one is constant
    task = Task(8, files=own, horizon=3, scaling="group", **arguments)
    train = everything(task, "train")
    half = len(train.y) // 2
    np.testing.assert_allclose(train.y[:half], train.y[half:], atol=1e-3)
    places = np.arange(task.counts["test"])
    decoded = task.decode(everything(task, "test").y, "test", places)
    assert decoded[0].max() < 6 < 1e6 < decoded[-1].min()
    scores = task.score(np.zeros_like(train.y), train)
    assert scores["mase"] == pytest.approx(scores["mae"] / task.meta["naive"][0])
    frame = pd.DataFrame({"id": ["small"] * 9 + ["new"] * 9, "v": [4.5] * 9 + [800.0, 900.0, 850.0] * 3})
    frame.to_csv(tmp_path / "n.csv", index=False)
    found, new = persist(tmp_path / "n.csv", 8, task, **arguments)
    np.testing.assert_allclose(found["v"], [4.5] * 3 + [850.0] * 3, rtol=1e-5)
    assert str(new.about["remarks"][-1]) == "series that training did not see are scaled by their own rows (new)"


def test_constant_and_new_groups_have_a_finite_scale(tmp_path):
    days = pd.date_range("2020-01-01", periods=60)
    late = {"t": days[50:], "id": "late", "v": 7.0 + np.arange(10)}
    frame = pd.concat([
        pd.DataFrame({"t": days, "id": "a", "v": np.arange(60) % 7}), pd.DataFrame({"t": days, "id": "c", "v": 5e6}),
        pd.DataFrame({"t": days, "id": "zero", "v": 0.0}), pd.DataFrame(late),
    ])  # fmt: skip
    task = Task(4, files=table(tmp_path, **frame), target=["v"], group="id", time="t", scaling="group")
    assert all(np.isfinite(everything(task, part).x).all() for part in PARTS)
    assert min(scale for scales in task.meta["group_scale"] for scale in scales) > 0
    assert np.abs(everything(task, "test").y).max() < 20


def test_scaling_by_group_needs_a_group(tmp_path):
    with pytest.raises(
        DeclarationError, match="scaling: must be 'table', or 'group' with a group column, but found 'g"
    ):
        Task(4, files=table(tmp_path, v=range(50)), target=["v"], scaling="group")


def test_a_large_level_with_small_steps_is_not_constant(tmp_path):
    task = Task(4, files=table(tmp_path, v=1.7e12 + np.arange(60)), target=["v"])
    np.testing.assert_allclose(np.diff(everything(task, "train").x[0, :, 0]), 1 / np.arange(42).std(), rtol=1e-5)
    np.testing.assert_array_equal(
        np.round(task.decode(everything(task, "train").y)[:, 0, 0]), 1.7e12 + np.arange(4, 42)
    )


def test_a_level_shift_between_the_parts_is_remarked(tmp_path):
    v = np.random.default_rng(0).normal(size=100)
    for shift, count in ((0.0, 0), (0.5, 0), (6.0, 1)):
        task = Task(4, files=table(tmp_path, v=v + shift * (np.arange(100) >= 80)), target=["v"])
        assert sum(remark.kind == "shift" for remark in task.meta["remarks"]) == count


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


def test_a_batch_is_a_copy(tmp_path):
    task = Task(2, files=table(tmp_path, v=range(30)), target=["v"])
    task.take("val", np.arange(1)).x[:] = 99
    assert isinstance(everything(task, "val"), Batch)
    assert everything(task, "val").x.max() < 99
