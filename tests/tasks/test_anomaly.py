"""Anomaly detection: what is trained on and scored, the measures by hand and by published examples, and new files."""

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from bench.config.contracts import DetectionTask, Sampling, ranking_metric, scores_on_test
from bench.config.datasets import make_task
from bench.errors import DataError, DeclarationError
from bench.tasks import _detection
from bench.tasks.anomaly import Predictor, Task

ROWS = 300
SPIKES = (40, 250, 251, 280)  # rows with an anomaly: one in the training part, two stretches in the test part


def files(*paths: Path) -> list[dict]:
    contents = [(path, path.read_bytes()) for path in paths]
    return [{"path": str(p), "sha256": hashlib.sha256(c).hexdigest(), "size_bytes": len(c)} for p, c in contents]


def wave(path: Path, spikes=SPIKES, label: str = "bad", rows: int = ROWS, phase: float = 0.0) -> Path:
    """Write a sine of period 12 with spikes, and a column that labels them."""
    values = np.sin(np.arange(rows) / 6 * np.pi + phase) * 3 + 10
    values[list(spikes)] += 8
    marked = np.isin(np.arange(rows), spikes).astype(int)
    times = np.datetime64("2026-01-01T00:00") + np.arange(rows) * np.timedelta64(1, "h")
    lines = [f"{t},{v:.4f},{m}" for t, v, m in zip(times, values, marked, strict=True)]
    path.write_text(f"time,v,{label}\n" + "\n".join(lines) + "\n")
    return path


def make(*paths: Path, length: int = 24, **arguments) -> Task:
    known = {"target": ["v"], "time": "time", "label": "bad", "splits": [0.4, 0.2, 0.4], "files": files(*paths)}
    return make_task("anomaly", length, known | arguments)


def last_period(batch) -> np.ndarray:
    """The forecast that is exact without anomalies: the value of one period before."""
    return batch.x[:, -12, :1]


@pytest.fixture
def task(tmp_path) -> Task:
    return make(wave(tmp_path / "w.csv"))


# The task


def test_the_worked_example(tmp_path):
    (tmp_path / "v.csv").write_text("v\n" + "\n".join(map(str, range(20))) + "\n")
    task = make_task("anomaly", 3, {"files": files(tmp_path / "v.csv"), "target": ["v"], "splits": [8, 4, 8]})
    first = task.take("train", np.array([0]))
    np.testing.assert_allclose(first.x[0, :, 0], [-1.53, -1.09, -0.65], atol=0.0051)
    np.testing.assert_allclose(first.y[0], [-0.22], atol=0.0051)
    assert task.counts == {"train": 5, "val": 4, "test": 8}


def test_no_model_learns_to_forecast_a_labelled_row(task):
    assert task.counts == {"train": 120 - 24 - 1, "val": 60, "test": 120}
    train = task.spread("train", 1000)
    assert (train.marks[:, _detection.EVENT] == 0).all()
    assert 40 not in train.marks[:, _detection.ROW]
    assert 41 in train.marks[:, _detection.ROW]
    text = " ".join(remark.text for remark in task.meta["remarks"])
    assert "3 of 120 rows in the test part are labelled as anomalous, in 2 stretches" in text
    assert "1 row of train and val are labelled" in text
    assert "missing" not in text


def test_validation_chooses_by_errors_and_detection_ranks(task):
    assert isinstance(task, DetectionTask)
    assert (task.metric, ranking_metric(task)) == ("mse", "average_precision")
    val, test = task.split("val", 60), task.split("test", 120)
    assert set(task.score(last_period(val), val)) == {"mse", "mae", "mase"}
    scores = scores_on_test(task, last_period(test), test, last_period(val), val)
    assert set(scores) == {"mse", "mae", "mase", "average_precision", "vus_pr", "event_f1", "peak_accuracy", "nab"}
    assert scores["peak_accuracy"] == 1
    assert 0.3 < scores["average_precision"] < 1  # the forecast one period later is wrong as well
    perfect = test.y + np.isin(test.marks[:, _detection.ROW], SPIKES)[:, None]
    assert scores_on_test(task, perfect, test, val.y, val)["average_precision"] == 1


def test_the_test_mse_is_that_of_normal_rows(task):
    test = task.split("test", 120)
    outputs = test.y + 9.0 * (test.marks[:, _detection.EVENT, None] > 0)
    assert task.score(outputs, test)["mse"] == 0


def test_without_labels_errors_of_forecasts_rank(tmp_path):
    task = make(wave(tmp_path / "w.csv"), label=None)
    assert ranking_metric(task) == "mse"
    val, test = task.split("val", 60), task.split("test", 120)
    assert set(scores_on_test(task, last_period(test), test, last_period(val), val)) == {"mse", "mae", "mase"}


def test_each_series_is_split_and_scaled_by_its_own_rows(tmp_path):
    paths = [wave(tmp_path / "a.csv", spikes=(150,)), wave(tmp_path / "b.csv", spikes=(90,), rows=100, phase=1.0)]
    task = make(*paths, group="file")
    assert task.counts["test"] == 120 + 40
    test = task.split("test", 1000)
    assert np.bincount(test.marks[:, _detection.SERIES]).tolist() == [120, 40]
    assert test.marks[:, _detection.ROW].max() == 299
    assert np.unique(test.marks[:, _detection.EVENT]).tolist() == [0, 2]  # row 150 is in the validation part of a


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"splits": [250, 10, 30], "label": "bad"}, None),
        ({"splits": [120, 60, 60]}, "none of the 60 rows of the test part is labelled as anomalous"),
        ({"windows": "w.json"}, "label and windows both name anomalies"),
        ({"target": []}, "target: must be a list"),
    ],
)
def test_labels_that_cannot_be_scored_are_refused_in_one_line(tmp_path, arguments, rule):
    path = wave(tmp_path / "w.csv")
    if rule is None:
        assert make(path, **arguments).counts["test"] == 30
        return
    with pytest.raises(DeclarationError, match=f"^anomaly: [^\n]*{rule}[^\n]*$"):
        make(path, **arguments)


def test_a_label_that_is_neither_0_nor_1_is_refused_with_its_row(tmp_path):
    path = wave(tmp_path / "w.csv")
    path.write_text(path.read_text().replace("8.5000,0\n", "8.5000,2\n", 1))
    with pytest.raises(DataError, match="column 'bad': must hold 0 for normal and 1 for anomalous rows, but row .* 2;"):
        make(path)


def test_windows_of_the_numenta_benchmark_are_labels(tmp_path):
    path = wave(tmp_path / "w.csv")
    spans = {"folder/w.csv": [["2026-01-11 10:00:00.000000", "2026-01-11 12:00:00.000000"]], "folder/other.csv": []}
    (tmp_path / "windows.json").write_text(json.dumps(spans))
    task = make(path, tmp_path / "windows.json", label=None, windows="windows.json", group="file")
    test = task.split("test", 1000)
    assert test.marks[test.marks[:, _detection.EVENT] > 0, _detection.ROW].tolist() == [250, 251, 252]


# The measures


def marks_of(*stretches: tuple[int, int], rows: int = 100) -> np.ndarray:
    """Marks of one series in which the rows from the first to the last of each stretch are anomalous."""
    event = np.zeros(rows, dtype=int)
    for number, (first, last) in enumerate(stretches, 1):
        event[first : last + 1] = number
    return np.stack([np.zeros(rows, dtype=int), np.arange(rows), event], axis=1)


def flags(*places: int, rows: int = 100) -> np.ndarray:
    return np.isin(np.arange(rows), places)


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    score, anomalous = rng.integers(0, 30, 200) / 7, rng.random(200) < 0.1
    expected = average_precision_score(anomalous, score)
    assert _detection.average_precision(score, anomalous) == pytest.approx(expected)


EXAMPLE = marks_of((3, 3), (20, 26), (31, 33), (58, 59), rows=60)
SCORES = {
    "few": np.arange(60) * 37 % 11,
    "all": np.arange(60) * 37 % 61,
    "near": (np.arange(60) * 37 % 61) * (1 + (EXAMPLE[:, 2] > 0)) + 30 * np.roll(EXAMPLE[:, 2] > 0, 2),
}


@pytest.mark.parametrize(
    ("scores", "buffer", "expected"),
    [
        ("few", 0, 0.18423858465359383),
        ("few", 9, 0.368641725571735),
        ("few", 30, 0.6854139627090617),
        ("all", 1, 0.2607878403096321),
        ("all", 9, 0.45122724056187896),
        ("all", 30, 0.7264791575853548),
        ("near", 9, 0.8650442334755946),
        ("near", 30, 0.9442022507861093),
    ],
)
def test_the_volume_under_the_surface_is_that_of_its_authors(scores, buffer, expected):
    # RangeAUC_volume_opt of TSB-AD 1.5, with as many thresholds as rows
    assert _detection.vus_pr(SCORES[scores], EXAMPLE, buffer) == pytest.approx(expected, rel=1e-12)


@st.composite
def scored_rows(draw):
    """Scores and marks of one or two series in which rows may be missing, at least one of them anomalous."""
    numbers = draw(st.lists(st.sampled_from([0, 0, 1]), min_size=2, max_size=60))
    anomalous = np.array(draw(st.lists(st.booleans(), min_size=len(numbers), max_size=len(numbers))))
    anomalous[draw(st.integers(0, len(numbers) - 1))] = True
    series = np.sort(np.array(numbers))
    gaps = np.array(draw(st.lists(st.sampled_from([1, 1, 2, 9]), min_size=len(numbers), max_size=len(numbers))))
    rows = np.concatenate([np.cumsum(gaps[series == number]) for number in np.unique(series)])
    begins = anomalous & ~(np.r_[False, anomalous[:-1]] & (np.diff(series, prepend=-1) == 0))
    marks = np.stack([series, rows, np.where(anomalous, np.cumsum(begins), 0)], axis=1)
    score = np.array(draw(st.lists(st.integers(-5, 5), min_size=len(numbers), max_size=len(numbers))))
    return score.astype(float), marks


@given(scored_rows(), st.integers(0, 25))
def test_the_volume_is_a_share_that_only_the_order_of_scores_decides(rows, buffer):
    score, marks = rows
    found = _detection.vus_pr(score, marks, buffer)
    assert 0 <= found <= 1 + 1e-12
    assert _detection.vus_pr(np.exp(score), marks, buffer) == found
    shuffled = np.random.default_rng(0).permutation(len(score))
    assert _detection.vus_pr(score[shuffled], marks[shuffled], buffer) == pytest.approx(found, rel=1e-12)


@given(scored_rows(), st.integers(0, 25))
def test_the_volume_is_1_if_and_only_if_anomalous_rows_have_the_highest_scores(rows, buffer):
    score, marks = rows
    anomalous = marks[:, _detection.EVENT] > 0
    assert _detection.vus_pr(score + 100 * anomalous, marks, buffer) == pytest.approx(1, rel=1e-12)
    if not anomalous.all():
        assert _detection.vus_pr(score - 100 * anomalous, marks, buffer) < 1 - 1e-9


@given(scored_rows())
def test_without_a_buffer_the_volume_is_the_average_precision_of_one_anomaly(rows):
    score, marks = rows
    one = marks[:, _detection.EVENT] == marks[:, _detection.EVENT].max()
    marks = np.where([False, False, True], one[:, None], marks)
    precision = _detection.average_precision(score, one)
    assert _detection.vus_pr(score, marks, 0) == pytest.approx(precision, rel=1e-12)
    assert _detection.vus_pr(score, marks, 1) == pytest.approx(precision, rel=1e-12)


def test_a_buffer_ends_with_its_series_and_counts_missing_rows():
    marks = marks_of((98, 99))
    late, other = (
        np.r_[np.zeros(98), 1, 1, np.full(20, 2)],
        np.stack([np.ones(20), np.arange(20), np.zeros(20)], axis=1),
    )
    both = np.concatenate([marks, other.astype(int)])
    alone = _detection.vus_pr(late, both)
    assert alone == pytest.approx(2 / 22, abs=0.1)  # the 20 rows of the other series are false alarms
    near = both.copy()
    near[100:, :2] = np.stack([np.zeros(20), np.arange(100, 120)], axis=1)
    assert _detection.vus_pr(late, near) > 3 * alone  # in the same series they would be near the anomaly
    near[100:, 1] += 1_000
    assert _detection.vus_pr(late, near) == pytest.approx(alone)


def test_a_constant_score_has_the_share_of_rows_at_anomalies():
    marks = marks_of((3000, 3099), (7000, 7099), rows=10_000)
    weight = 200 + np.array([4 * np.sqrt(1 - np.arange(1, b // 2 + 1) / max(b, 1)).sum() for b in range(101)])
    assert _detection.vus_pr(np.ones(10_000), marks) == pytest.approx(weight.mean() / 10_000)


def test_the_volume_of_100_000_rows_takes_about_a_second():
    rng, rows = np.random.default_rng(0), 100_000
    marks = np.stack([np.zeros(rows), np.arange(rows), np.arange(rows) % 2 * np.arange(rows)], axis=1).astype(int)
    start = time.process_time()
    assert _detection.vus_pr(rng.random(rows), marks) > 0.9
    assert time.process_time() - start < 5


def test_an_example_of_the_numenta_benchmark_has_its_published_score():
    # tests/integration/scorer_test.py, testScoringAllMetrics: two windows of five rows; flags on the first two rows of
    # the first window, and three rows behind it: -0.9540, where -2 is the least and 2 the most.
    marks, flagged = marks_of((30, 34), (70, 74)), flags(30, 31, 37)
    score = _detection.nab(flagged, marks, false_alarm=1.0)
    assert 4 * score / 100 - 2 == pytest.approx(-0.9540, abs=5e-5)


@pytest.mark.parametrize(
    ("flagged", "expected"),
    [(flags(), 0.0), (flags(30, 70), 100.0), (flags(30), 50.0), (flags(30, 70, 5), 100 * (4 - 0.11) / 4)],
)
def test_the_score_of_the_numenta_benchmark_by_hand(flagged, expected):
    assert _detection.nab(flagged, marks_of((30, 34), (70, 74))) == pytest.approx(expected)


def test_a_later_flag_counts_less_in_the_numenta_benchmark():
    scores = [_detection.nab(flags(row), marks_of((30, 34))) for row in range(30, 36)]
    assert scores == sorted(scores, reverse=True)
    # The middle of a window has 0.84828 of the 0.98661 of its beginning, as the benchmark's documentation says.
    middle = _detection.nab(flags(45), marks_of((40, 49)))
    assert 2 * middle / 100 - 1 == pytest.approx(0.84828 / 0.98661, abs=1e-4)


def test_the_f1_of_events_by_hand():
    marks = marks_of((10, 19), (50, 50))[:, _detection.EVENT]
    assert _detection.event_f1(flags(12, 50), marks) == 1  # one row is enough to find an anomaly
    assert _detection.event_f1(flags(12, 13, 60), marks) == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))
    assert _detection.event_f1(flags(60), marks) == 0
    assert _detection.event_f1(flags(), marks) == 0


@pytest.mark.parametrize(("peak", "is_hit"), [(399, 0), (401, 1), (505, 1), (610, 1), (612, 0)])
def test_the_peak_may_be_a_hundred_rows_from_the_anomaly(peak, is_hit):
    score = np.zeros(1000)
    score[peak] = 1
    assert _detection.peak_accuracy(score, marks_of((500, 511), rows=1000)) == is_hit


def test_flagging_all_or_at_random_scores_little():
    rng = np.random.default_rng(0)
    marks = marks_of((3000, 3099), (7000, 7099), rows=10_000)
    event = marks[:, _detection.EVENT]
    every = np.ones(10_000, dtype=bool)
    assert _detection.event_f1(every, event) < 0.05
    assert _detection.nab(every, marks) < -1000
    assert _detection.average_precision(np.ones(10_000), event > 0) == pytest.approx(0.02)
    for share in (0.001, 0.01, 0.1):
        flagged = rng.random(10_000) < share
        assert _detection.event_f1(flagged, event) < 0.1
        assert _detection.nab(flagged, marks) < 50
    assert _detection.average_precision(rng.random(10_000), event > 0) < 0.04


def test_a_series_that_validation_lacks_has_the_scale_of_all():
    y = np.zeros((6, 1))
    found = _detection.calibrate(
        np.array([[1.0], [-1.0], [1.0], [3.0], [-3.0], [3.0]]), y, np.array([0, 0, 0, 2, 2, 2])
    )
    assert np.ravel(found["scale"]).tolist() == pytest.approx([1, 5**0.5, 3, 5**0.5])
    assert found["threshold"] == pytest.approx(1)
    scores = _detection.scores(np.array([[2.0], [6.0], [10.0]]), y[:3], np.array([0, 2, -1]), found)
    assert scores.tolist() == pytest.approx([2, 2, 10 / 5**0.5])


# New files


class LastPeriod:
    """A model whose forecast is exact without anomalies."""

    def outputs(self, x, length):
        return x[:, -12, :1]


def predictor(task: Task, **arguments) -> Predictor:
    val = task.split("val", 1000)
    meta = task.meta | {"calibration": task.calibration(last_period(val), val)}
    return Predictor(
        {"target": ["v"], "time": "time", "label": "bad"} | arguments, json.loads(json.dumps(meta, default=str))
    )


def test_a_new_file_is_scored_and_flagged_by_time(task, tmp_path):
    new = wave(tmp_path / "new.csv", spikes=(100,), rows=150)
    found = predictor(task)
    table = found.answer(LastPeriod(), found.read(new, task.num_steps), Sampling())
    assert list(table) == ["time", "score", "is_anomaly"]
    assert len(table["score"]) == 150 - 24
    flagged = np.array(table["time"])[np.array(table["is_anomaly"]) == 1]
    assert [str(time)[:16] for time in flagged] == ["2026-01-05T04:00", "2026-01-05T16:00"]  # rows 100 and 112
    labelled = found.labelled(new, task.num_steps)
    outputs = LastPeriod().outputs(labelled.batch.x, labelled.batch.length)
    scores = found.scores(outputs, labelled.batch)
    assert scores["peak_accuracy"] == 1
    assert "mse" in scores


def test_a_labelled_file_without_an_anomaly_has_errors_of_forecasts_only(task, tmp_path):
    found = predictor(task)
    labelled = found.labelled(wave(tmp_path / "new.csv", spikes=(), rows=150), task.num_steps)
    outputs = LastPeriod().outputs(labelled.batch.x, labelled.batch.length)
    assert set(found.scores(outputs, labelled.batch)) == {"mse", "mae", "mase"}


def test_a_file_without_labels_is_scored_by_row_and_group(tmp_path):
    paths = [wave(tmp_path / "a.csv", spikes=(250,)), wave(tmp_path / "b.csv", spikes=(250,), phase=1.0)]
    task = make(*paths, group="file", time=None)
    found = predictor(task, group="file", time=None)
    folder = tmp_path / "new"
    folder.mkdir()
    for name in ("b", "c"):
        wave(folder / f"{name}.csv", spikes=(60,), label="other", rows=80)
    table = found.answer(LastPeriod(), found.read(folder, task.num_steps), Sampling())
    assert list(table) == ["file", "row", "score", "is_anomaly"]
    rows = [(g, r) for g, r, f in zip(*(table[key] for key in ("file", "row", "is_anomaly")), strict=True) if f]
    assert rows == [("b", 61), ("b", 73), ("c", 61), ("c", 73)]


def test_series_that_training_did_not_see_are_series_of_their_own(tmp_path):
    paths = [wave(tmp_path / "a.csv", spikes=(250,)), wave(tmp_path / "b.csv", spikes=(250,), phase=1.0)]
    task = make(*paths, group="file", time=None)
    folder = tmp_path / "new"
    folder.mkdir()
    for name in ("c", "b", "d"):
        wave(folder / f"{name}.csv", spikes=(60,), rows=80)
    found = predictor(task, group="file", time=None)
    labelled = found.labelled(folder, task.num_steps)
    assert np.unique(labelled.batch.marks[:, _detection.SERIES]).tolist() == [1, 2, 3]
    scores = found.scores(LastPeriod().outputs(labelled.batch.x, labelled.batch.length), labelled.batch)
    assert scores["peak_accuracy"] == 1
    assert 0 < scores["vus_pr"] < 1
