"""Anomalies in series: a model learns to forecast the next row of what is normal, and its errors are the scores.

Malhotra et al., 2015, https://www.esann.org/sites/default/files/proceedings/legacy/es2015-56.pdf

B batch, L look-back, D input columns, T target columns, N rows.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from bench.config import contracts
from bench.config.contracts import Batch, Labelled, New, Sampling, Trained
from bench.config.datasets import DataFile
from bench.data import anomalies
from bench.data.files import prepare
from bench.data.remarks import Remark
from bench.data.sequences import with_next
from bench.data.splits import split_column
from bench.data.table_format import TableFormat
from bench.data.tables import read_table
from bench.errors import DeclarationError
from bench.tasks import _detection, _windows
from bench.tasks._detection import EVENT
from bench.tasks._labelled_windows import forecast_scores, labelled_windows
from bench.tasks._sequences import checked_files
from bench.tasks._window_task import WindowTask
from bench.wording import count

SPLITS = (0.4, 0.1, 0.5)


class Task(WindowTask):
    """Find anomalous rows by the error of a forecast of each row from the `length` rows before it.

    Args:
        length: Number of rows that a model looks back on, at least 1.
        files: The files of the dataset card: one or more tables with the same columns; see `windows`.
        target: Columns that are forecast, and in which anomalies show.
        features: Other input columns.
        time: Column of times. Rows must be in their order within a group.
        group: Column that identifies series, or "file" if each file is one. Each has a scale of its own.
        label: Column that is 1 in anomalous rows and 0 or empty in others.
        windows: Name of the file in `files` that holds the labels as windows of time, as NAB has them.
        delimiter: Of the files; detected by default.
        encoding: Of the files; detected by default.
        header: Whether the first line holds the names of the columns; else they are named "1", "2", ...
        splits: Shares of train, val and test, or numbers of rows, of each series; or a rule as for forecasts.
        season: Number of rows in a season, at least 1, for the seasonal naive baseline.
        look_back: A model looks back on `look_back` times `length` rows, at least 1 time.

    The first rows of each series are the training part and taken as normal; rows that are labelled as anomalous are
    left out of the targets of train and val. Labels are used for nothing else before the test split is opened.

    The score of a row is its residual in units of the residuals of validation, over all targets. A row is flagged if
    its score is larger than all those of validation.

    Models are chosen by the mean squared error on validation, and ranked by the average precision on the test split.
    The `mse` there is that of the normal rows. Without labels, `mse` ranks: it says which model forecasts best, and
    nothing about anomalies.

    Below, a table with a column v of 0, 1, … 19; its first 8 rows are for training: mean 3.5, deviation 2.29.

    Task(3, files=["v.csv"], target=["v"], splits=[8, 4, 8])
    x  -1.53 -1.09 -0.65
    y              -0.22
    """

    splits_each_series = True

    def __init__(
        self,
        length: int,
        *,
        files: Sequence[Any] = (),
        target: Sequence[str] = (),
        features: Sequence[str] = (),
        time: str | None = None,
        group: str | None = None,
        label: str | None = None,
        windows: str | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        header: bool = True,
        splits: Sequence[float] | Mapping[str, Any] = SPLITS,
        season: int | None = None,
        look_back: int = 1,
    ) -> None:
        if label is not None and windows is not None:
            raise DeclarationError("anomaly: label and windows both name anomalies; give one of them")
        data_files = checked_files("anomaly", length, files, "row to look back on")
        tables = [file for file in data_files if PurePath(file.path).name != windows]
        form = TableFormat(delimiter, encoding, header, time=time, group=group, split_by=split_column(splits))
        self.test_metric = None if label is None and windows is None else "average_precision"
        names = [*target, *([] if label is None else [label])]
        self._events_N: np.ndarray | None = None
        self._read_events = functools.partial(_prepared_events, data_files, form, names, label, windows, splits)
        options: dict[str, Any] = {"season": season, "look_back": look_back}
        options["scaling"] = "table" if group is None else "group"
        self._read("anomaly", length, tables, target, features, form, splits, **options)
        self._check_anomalies()

    def _usable(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the stretches of rows without the anomalous rows of train and val."""
        if self.test_metric is None:
            return arrays
        self._events_N = self._read_events()
        part = np.full(len(self._events_N), -1, dtype=np.int8)
        complete = np.zeros(len(part), dtype=bool)
        for number, _, first, beyond in arrays["blocks"]:
            part[first:beyond] = number
        for _, _, first, beyond in arrays["runs"]:
            complete[first:beyond] = True
        apart = (self._events_N > 0) & (part < 2)
        self._left_out = int((apart & (part >= 0)).sum())
        starts = arrays["starts"]
        blocks, runs = (_windows.stretches(part, starts, rows) for rows in (apart, apart | ~complete))
        return arrays | {"blocks": blocks, "runs": runs}

    def _check_anomalies(self) -> None:
        """Remark what labels leave out. Raises DeclarationError if the test part has no anomaly."""
        if self._events_N is None:
            return
        rows, _ = self._rows("test", np.arange(self.counts["test"]))
        found = self._events_N[rows]
        if not found.any():
            rule = f"none of the {len(rows):,} rows of the test part is labelled as anomalous"
            raise DeclarationError(f"anomaly: {rule}; use other splits, or leave the labels out")
        anomalous, known = int((found > 0).sum()), len(np.unique(found[found > 0]))
        text = f"{anomalous:,} of {count(len(rows), 'row')} in the test part are labelled as anomalous"
        remarks = [Remark("labels", f"{text}, in {count(known, 'stretch', 'stretches')}")]
        if self._left_out:
            left_out = f"{count(self._left_out, 'row')} of train and val are labelled as anomalous"
            remarks.append(Remark("labels", f"{left_out}; no model learns to forecast them"))
        self.meta = self.meta | {"remarks": [*self.meta["remarks"], *remarks]}

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the windows of a part at these places, in the order of rows."""
        return self._marked(super().take(part, places), part, places)

    def reaching_back(self, part: str, places: np.ndarray, steps: int) -> Batch:
        """Return the same windows with their last `steps` rows, or with all rows of the group where those are fewer."""
        return self._marked(super().reaching_back(part, places, steps), part, places)

    def baselines(self, size: int) -> dict[str, float]:
        """Return the average precision of a constant score: the share of anomalous rows of the test part."""
        if self._events_N is None:
            return {}
        rows, _ = self._rows("test", np.arange(self.counts["test"]))
        return {"constant score": float((self._events_N[rows] > 0).mean())}

    def _marked(self, batch: Batch, part: str, places: np.ndarray) -> Batch:
        rows, start = self._rows(part, places)
        event = np.zeros(len(rows), dtype=np.int64) if self._events_N is None else self._events_N[rows]
        return batch._replace(marks=np.stack([np.searchsorted(self._starts, start), rows - start, event], axis=1))

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the errors of the forecasts of normal rows, as the task `forecasting` does; none of a detector."""
        if outputs.ndim == 1:
            return {}
        normal = np.ones(len(outputs), dtype=bool) if batch.marks is None else batch.marks[:, EVENT] == 0
        normal = normal if normal.any() else ~normal
        return forecast_scores(outputs[normal], batch.y[normal], self._scale, self._naive)

    def calibration(self, outputs: np.ndarray, val: Batch) -> dict[str, Any]:
        """Return the scale of residuals and the threshold of flags, from the validation part."""
        return _detection.calibrate(outputs, val.y, _series(val))

    def detection(self, outputs: np.ndarray, test: Batch, calibration: dict[str, Any]) -> dict[str, float]:
        """Return the measures of detection on the test part; none without labels."""
        return _measures(outputs, test, calibration) if self.test_metric is not None else {}


def _prepared_events(
    data_files: list[DataFile], form: TableFormat, names: list[str], label: str | None, windows: str | None, splits: Any
) -> np.ndarray:
    """Return the number of the anomaly of each row that the windows are made of, 0 for none, (N,)."""
    is_open = isinstance(splits, Mapping) or sum(splits) < 1.5  # as in _windows.make
    how = [vars(form), names, label, windows, is_open]
    made = prepare("anomaly", data_files, how, lambda paths: _events(paths, form, names, label, windows, is_open))
    return made.arrays["events"]


def _events(
    paths: list[Path], form: TableFormat, names: list[str], label: str | None, windows: str | None, is_open: bool
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the table, and number its anomalies. Raises DataError."""
    tables = [path for path in paths if path.name != windows]
    table = read_table(tables, names, form)
    if is_open:  # the same rows as in _windows.make
        table, _ = _windows.without_future(table, [name for name in names if name != label])
    if label is not None:
        return {"events": anomalies.of_column(table, label, tables[0])}, {}
    return {"events": anomalies.of_windows(table, next(path for path in paths if path.name == windows))}, {}


def _series(batch: Batch) -> np.ndarray:
    assert batch.marks is not None
    return np.asarray(batch.marks[:, _detection.SERIES])


def _measures(outputs: np.ndarray, batch: Batch, calibration: dict[str, Any]) -> dict[str, float]:
    assert batch.marks is not None
    score = _detection.scores(outputs, batch.y, _series(batch), calibration)
    return _detection.measures(score, calibration["threshold"], batch.marks)


# Prediction


class Predictor(contracts.Predictor):
    """Score and flag the rows of a table, or of each group in it."""

    @property
    def needs(self) -> dict[str, type]:
        """The keys of `meta` that answers depend on, and the types of their values."""
        return {"names": list, "mean": list, "scale": list, "calibration": dict}

    @property
    def columns(self) -> dict[str, str]:
        """The columns of a table of rows."""
        keys = [self.arguments[key] for key in ("group", "time") if self.arguments.get(key) is not None]
        return dict.fromkeys(keys, "text") | dict.fromkeys(self.meta["names"], "number")

    def read(self, path: Path, num_steps: int) -> New:
        """Return a window for each row that has enough rows before it. Raises DataError."""
        batch, about = labelled_windows(path, self.arguments, self.meta, num_steps, self.fills, most=None)
        return New(batch.x, batch.length, about | {"y": batch.y})

    def answer(self, model: Trained, new: New, sampling: Sampling) -> dict[str, Any]:
        """Return a row for each row of the table: its time or number, its score, and 1 if it is flagged."""
        table, rows, calibration = new.about["table"], new.about["rows"], self.meta["calibration"]
        outputs = model.outputs(new.x, new.length)
        if outputs.ndim == 1:  # a detector scores the last row that it reads
            outputs = model.outputs(with_next(new.x, new.length, new.about["y"]), new.length)
        score = _detection.scores(outputs, new.about["y"], self._known(new.about), calibration)
        answers: dict[str, Any] = {}
        if table.groups is not None:
            answers[self.arguments["group"]] = np.array(table.group_names)[new.about["group"]]
        if table.times is not None:
            answers[self.arguments["time"]] = table.time_form.show(table.times[rows])
        else:
            answers["row"] = rows - new.about["starts"][new.about["group"]] + 1
        return answers | {"score": score, "is_anomaly": (score > calibration["threshold"]).astype(np.int64)}

    def _known(self, about: dict[str, Any]) -> np.ndarray:
        """Return the number of the series of each row as in training, (B,); new series have higher ones."""
        if "group_keys" not in self.meta:
            return np.zeros(len(about["rows"]), dtype=np.int64)
        number = {key: place for place, key in enumerate(self.meta["group_keys"])}
        known = [number.setdefault(_windows.group_key(name), len(number)) for name in about["table"].group_names]
        return np.array(known)[about["group"]]

    def labelled(self, path: Path, num_steps: int) -> Labelled:
        """Return all windows of a table, marked where its labels say that a row is anomalous. Raises DataError."""
        batch, about = labelled_windows(path, self.arguments, self.meta, num_steps, self.fills, most=None)
        event = np.zeros(len(batch.x), dtype=np.int64)
        label = self.arguments.get("label")
        if label is not None:
            form = TableFormat.of(self.arguments, time_form=self.meta.get("time_form"))
            event = anomalies.of_column(read_table([path], [label], form), label, path)[about["rows"]]
        row = about["rows"] - about["starts"][about["group"]]
        return Labelled(batch._replace(marks=np.stack([self._known(about), row, event], axis=1)), about)

    def scores(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the errors of forecasts, and the measures of detection if the file has labels; see Task.score."""
        targets = list(dict.fromkeys(self.arguments["target"]))
        assert batch.marks is not None
        normal = batch.marks[:, EVENT] == 0
        found: dict[str, float] = {}
        if outputs.ndim > 1 and normal.any():
            scale, naive = (np.array(self.meta[key][: len(targets)]) for key in ("scale", "naive"))
            scale = np.ones(len(targets)) if "group_scale" in self.meta else scale
            found = forecast_scores(outputs[normal], batch.y[normal], scale, naive)
        return found | (_measures(outputs, batch, self.meta["calibration"]) if not normal.all() else {})

    def example(self, num_steps: int, rows: int = 1) -> dict[str, Any] | None:
        """Return a table with enough rows for two scores."""
        return super().example(num_steps, num_steps + 2)
