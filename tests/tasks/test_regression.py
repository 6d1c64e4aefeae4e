"""Regression: one number a sequence, from tables made by hand."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DataError, DeclarationError
from bench.tasks.regression import Predictor, Task
from tests.baselines.fitting import reached
from tests.makers import declared
from tests.tasks.tables import PARTS, everything

quick = settings(max_examples=20, deadline=None)
ALL = 10**6


def table(folder, frame, name="t.csv"):
    path = folder / name
    pd.DataFrame(frame).to_csv(path, index=False)
    return [declared(path)]


def shuffled(ids):
    return sorted(ids, key=lambda each: hashlib.sha256(str(each).encode()).digest())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("regression")


def long(sizes, rng, interleaved=False):
    """Rows of sequences of these sizes, in which y is the last value of a plus the mean of b."""
    parts = []
    for number, size in enumerate(sizes):
        part = pd.DataFrame(
            {"id": f"s{number}", "step": range(size), "a": rng.normal(5, 3, size), "b": rng.random(size)}
        )
        part["y"] = part["a"].iloc[-1] + part["b"].mean()
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    return frame.sort_values("step", kind="stable") if interleaved else frame


def test_the_worked_example(tmp_path):
    own = table(tmp_path, {"s1": [1, 3, 5, 7], "s2": [2, 4, 6, 8], "y": [10, 20, 30, 40]})
    task = Task(2, files=own, target="y", splits=[2, 1, 1])
    train = everything(task, "train")
    np.testing.assert_allclose(train.x[0, :, 0], [0.45, 1.34], atol=0.005)
    assert train.y[0] == 1
    assert task.decode(train.y).tolist() == [40, 30]
    assert "x  0.45 1.34" in Task.__doc__


@quick
@given(
    sizes=st.lists(st.integers(1, 9), min_size=6, max_size=20),
    length=st.integers(1, 10),
    interleaved=st.booleans(),
)
def test_sequences_are_those_of_a_loop(folder, sizes, length, interleaved):
    frame = long(sizes, np.random.default_rng(len(sizes)), interleaved)
    own = table(folder, frame)
    task = Task(length, files=own, target="y", columns=["b", "a"], group="id", splits=[0.5, 0.25, 0.25])
    count = len(sizes)
    train, test = count // 2, count // 4
    order = shuffled(frame["id"].unique())
    expected = {"train": order[:train], "val": order[train : count - test], "test": order[count - test :]}
    assert task.counts == {part: len(ids) for part, ids in expected.items()}
    series = {name: group[["b", "a"]].to_numpy() for name, group in frame.groupby("id")}
    targets = frame.groupby("id")["y"].first()
    steps = np.concatenate([series[name] for name in expected["train"]])
    deviation = np.where(len(steps) > 1, steps.std(0), 1)
    num_steps = min(length, max(len(series[name]) for name in expected["train"]))
    assert (task.num_steps, task.input_size) == (num_steps, 2)
    for part in PARTS:
        batch = everything(task, part)
        assert batch.x.dtype == batch.y.dtype == np.float32
        assert batch.length.dtype == np.int64
        np.testing.assert_allclose(task.decode(batch.y), targets[expected[part]], rtol=1e-4)
        for i, name in enumerate(expected[part]):
            last = series[name][-num_steps:]
            assert batch.length[i] == len(last)
            np.testing.assert_allclose(batch.x[i, : len(last)] * deviation + steps.mean(0), last, rtol=1e-3, atol=1e-3)
            assert not batch.x[i, len(last) :].any()


def test_a_row_a_sequence_and_a_row_a_step_are_the_same(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 6)).round(3)
    lengths = rng.integers(1, 7, 30)
    lengths[0] = 6
    wide = pd.DataFrame(np.where(np.arange(6) < lengths[:, None], rows, np.nan)).add_prefix("s")
    wide["y"] = rng.normal(size=30).round(3)
    narrow = pd.DataFrame(
        [(i + 1, rows[i, step], wide["y"][i]) for i in range(30) for step in range(lengths[i])],
        columns=["id", "v", "y"],
    )
    a = Task(6, files=table(tmp_path, wide, "wide.csv"), target="y")
    b = Task(6, files=table(tmp_path, narrow, "narrow.csv"), target="y", group="id")
    for part in PARTS:
        for one, other in zip(everything(a, part)[:3], everything(b, part)[:3], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_another_sequence_moves_none_from_its_place_in_the_order(tmp_path):
    frame = long([3] * 40, np.random.default_rng(0))
    before = Task(3, files=table(tmp_path, frame, "a.csv"), target="y", group="id", splits=[20, 10, 9])
    after = Task(
        3, files=table(tmp_path, frame[frame["id"] != "s7"], "b.csv"), target="y", group="id", splits=[20, 10, 9]
    )
    assert [each for each in before.meta["ids"] if each != "s7"][:38] == after.meta["ids"][:38]


def test_what_lies_outside_training_changes_no_statistics(tmp_path):
    frame = long([4] * 30, np.random.default_rng(0))
    first = Task(4, files=table(tmp_path, frame, "a.csv"), target="y", group="id")
    outside = frame["id"].isin(first.meta["ids"][21:])
    frame.loc[outside, ["a", "y"]] += 1_000
    second = Task(4, files=table(tmp_path, frame, "b.csv"), target="y", group="id")
    assert (first.meta["mean"], first.meta["scale"]) == (second.meta["mean"], second.meta["scale"])
    np.testing.assert_array_equal(everything(first, "train").x, everything(second, "train").x)


def test_equal_sequences_in_several_parts_are_counted(tmp_path):
    frame = pd.DataFrame({"a": [1, 2] * 10, "b": [3, 4] * 10, "y": range(20)})
    task = Task(2, files=table(tmp_path, frame), target="y", splits=[10, 5, 5])
    assert list(map(str, task.meta["remarks"])) == [
        "equal examples: of 5 in val, 5 also in train",
        "equal examples: of 5 in test, 5 also in train and 5 also in val",
    ]


def test_missing_inputs_are_filled_from_before(tmp_path):
    frame = long([4] * 20, np.random.default_rng(0))
    frame.loc[2, "a"] = np.nan  # the third step of s0
    frame.loc[4, "a"] = np.nan  # the first step of s1
    task = Task(4, files=table(tmp_path, frame), target="y", columns=["a"], group="id", time="step")
    assert "2 missing values filled with the previous value, or the training mean" in map(str, task.meta["remarks"])
    found = {task.meta["ids"][task.edge[part] + i]: x for part in PARTS for i, x in enumerate(everything(task, part).x)}
    assert found["s0"][2, 0] == found["s0"][1, 0]
    assert found["s1"][0, 0] == 0


def test_scores_and_baselines(tmp_path):
    task = Task(8, files=table(tmp_path, long([5, 8, 6] * 60, np.random.default_rng(0))), target="y",
                columns=["a", "b"], group="id")  # fmt: skip
    test = everything(task, "test")
    assert task.score(test.y[:, None], test) == {"r2": 1, "mae": 0}
    off = task.score(test.y[:, None] + 1, test)
    assert off["mae"] == pytest.approx(task.meta["scale"])
    assert off["r2"] == pytest.approx(1 - 1 / test.y.var(), rel=1e-4)
    assert reached("constant", task) == pytest.approx(0, abs=0.2)
    assert reached("ridge_on_summary", task) > 0.99  # the last value and the mean are among them


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"files": []}, "^regression: files: none given; name them"),
        ({"target": ""}, "^regression: target: must be one column, not one of None, but found ''$"),
        ({"columns": ["a", "y"]}, r"^regression: target: must be one column, not one of \['a', 'y'\], but found 'y'$"),
        (
            {"group": None, "time": "step"},
            "^regression: time: orders the steps of a sequence; name the group column as well$",
        ),
        (
            {"splits": [1, 2]},
            r"^regression: splits must be three shares that sum to 1, or three numbers of sequences, .* are",
        ),
        ({"splits": [9, 9, 9]}, "^regression: splits: 10 sequences cannot be split into 9, 9, 9; use other splits$"),
        ({"target": "z"}, r"no column 'z' \(columns: id, step, a, b, y\)$"),
        ({"columns": ["A"]}, r"no column 'A'"),
        ({"columns": ["id"], "group": None}, "line 2, column 'id': 's0' is not a number"),
    ],
)
def test_what_is_refused(tmp_path, arguments, told):
    own = {"files": table(tmp_path, long([3] * 10, np.random.default_rng(0))), "target": "y", "group": "id"}
    with pytest.raises((DataError, DeclarationError), match=told) as caught:
        Task(3, **(own | arguments))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda frame: frame.assign(y=frame["y"].where(frame["id"] != "s3")), "'y': no value in sequence 's3'; each needs"),
        (lambda frame: frame.assign(y=frame["y"] + frame["step"] * (frame["id"] == "s3")), "'y': more than one value in "
         "sequence 's3'; each needs"),
        (lambda frame: frame.assign(y=1), "'y': must vary, but it is the same in all training sequences; choose another"),
        (lambda frame: frame.assign(step=0), "line 3, column 'step': 0 occurs twice within its group of 'id'; keep one row per time$"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_table_is_told(tmp_path, change, told):
    frame = change(long([3] * 10, np.random.default_rng(0)))
    with pytest.raises(DataError, match=told):
        Task(3, files=table(tmp_path, frame), target="y", columns=["a", "b"], group="id", time="step")


def test_a_missing_target_or_an_empty_row_is_told_where_a_row_is_a_sequence(tmp_path):
    frame = pd.DataFrame({"s1": range(10), "s2": range(10), "y": range(10)}, dtype=float)
    frame.loc[4, "y"] = np.nan
    with pytest.raises(
        DataError,
        match="line 6, column 'y': no value, and this column needs one in every row; fill it in, or delete the row$",
    ):
        Task(2, files=table(tmp_path, frame), target="y")
    frame.loc[4] = [np.nan, np.nan, 1]
    with pytest.raises(DataError, match="row 5 of the data has no value in any step; remove the row$"):
        Task(2, files=table(tmp_path, frame, "other.csv"), target="y")


# Windows of one series


def one_series(days, rng, gaps=()):
    """Four rows a day, whose target is ten times the mean of a, and of which two rows a day have none."""
    a = rng.normal(size=4 * days)
    y = np.repeat(10 * a.reshape(days, 4).mean(1), 4) + np.tile([-1.0, np.nan, 1.0, np.nan], days)
    y[np.isin(np.arange(4 * days) // 4, gaps)] = np.nan
    return {"a": a, "y": y}


def test_windows_are_split_in_the_order_of_their_rows_and_have_the_mean_of_their_known_targets(folder):
    frame = one_series(10, np.random.default_rng(0), gaps=[1, 7])
    own = table(folder, {"a": [*frame["a"], 0.5], "y": [*frame["y"], 3.0]}, "windows.csv")
    task = Task(4, files=own, target="y", window=4, splits=[5, 1, 2])
    assert task.meta["ids"] == ["1", "9", "13", "17", "21", "25", "33", "37"]  # days 0, 2, 3, 4, 5 | 6 | 8, 9
    means = np.nanmean(np.array(frame["y"]).reshape(10, 4)[[0, 2, 3, 4, 5, 6, 8, 9]], axis=1)
    decoded = np.concatenate([task.decode(everything(task, part).y) for part in PARTS])
    np.testing.assert_allclose(decoded, means, rtol=1e-5)
    train = np.array(frame["a"]).reshape(10, 4)[[0, 2, 3, 4, 5]]
    np.testing.assert_allclose(everything(task, "train").x[..., 0], (train - train.mean()) / train.std(), rtol=1e-4)
    remarks = " ".join(str(remark) for remark in task.meta["remarks"])
    assert "2 of 10 windows have no value of the target and are skipped" in remarks
    assert "the last 1 row fill" in remarks


def test_a_shorter_length_reads_the_last_rows_of_each_window(folder):
    own = table(folder, one_series(10, np.random.default_rng(1)), "short.csv")
    whole, short = (Task(length, files=own, target="y", window=4, splits=[6, 2, 2]) for length in (4, 2))
    np.testing.assert_array_equal(everything(short, "test").x, everything(whole, "test").x[:, 2:])


def test_new_windows_are_answered_and_scored_as_in_training(folder):
    frame = one_series(10, np.random.default_rng(2), gaps=[9])
    own = table(folder, frame, "own.csv")
    arguments = {"target": "y", "window": 4, "splits": [5, 2, 2]}
    task = Task(4, files=own, **arguments)
    predictor = Predictor(arguments, task.meta)
    path = folder / "new.csv"
    pd.DataFrame({"a": frame["a"]}).to_csv(path, index=False)
    new = predictor.read(path, 4)
    assert new.about["names"] == [str(row) for row in range(1, 41, 4)]  # also the day without a target
    np.testing.assert_allclose(new.x[:5], everything(task, "train").x, rtol=1e-5)
    labelled = predictor.labelled(folder / "own.csv", 4).batch
    assert len(labelled.x) == len(labelled.y) == 9
    np.testing.assert_allclose(labelled.y[7:], everything(task, "test").y, rtol=1e-5)
    assert len(predictor.example(4)["a"]) == 4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"window": 0}, "window: must be at least 1 row, but found 0"),
        ({"window": 4, "group": "g"}, "leave out group = 'g'"),
        ({"window": 4, "splits": {"by": "column", "column": "part"}}, "leave out a rule for the splits"),
    ],
)
def test_windows_that_cannot_be_are_refused(folder, more, message):
    own = table(folder, one_series(4, np.random.default_rng(3)), "refused.csv")
    with pytest.raises(DeclarationError, match=message):
        Task(4, files=own, target="y", **more)


def test_a_table_that_is_shorter_than_a_window_is_refused(folder):
    own = table(folder, one_series(4, np.random.default_rng(3)), "few.csv")
    with pytest.raises(DataError, match="at least 24 rows, one window, but has 16"):
        Task(4, files=own, target="y", window=24)
