"""Windows of tables made by hand: which rows they have, no leak from the future, missing values and scales."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config.contracts import Batch
from bench.errors import DeclarationError
from bench.tasks.forecasting import Task
from tests.tasks.tables import PARTS, everything, persist, table

quick = settings(max_examples=20, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("forecasting")


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


def test_groups_without_a_window_are_told(tmp_path):
    own = table(tmp_path, id=["a"] * 40 + ["b"] * 3 + ["c"] * 40, v=range(83))
    task = Task(4, files=own, target=["v"], group="id", horizon=2)
    told = "1 of 3 groups have too few rows for a window and are skipped ('b')"
    assert list(map(str, task.meta["remarks"])) == [told]


def test_a_window_that_only_gaps_leave_is_said_to_be_one(tmp_path):
    v = np.where(np.arange(60) % 2, np.nan, 1.0 * np.arange(60))
    with pytest.raises(
        DeclarationError, match="each of the 38 windows of the train part holds a missing target; fill the"
    ):
        Task(2, files=table(tmp_path, v=v), target=["v"], horizon=2)


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


def test_a_batch_is_a_copy(tmp_path):
    task = Task(2, files=table(tmp_path, v=range(30)), target=["v"])
    task.take("val", np.arange(1)).x[:] = 99
    assert isinstance(everything(task, "val"), Batch)
    assert everything(task, "val").x.max() < 99
