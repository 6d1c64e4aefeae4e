"""Forecasts of the columns of a table from a window of its past.

The protocol of Zhou et al., 2021 (Informer), https://arxiv.org/abs/2012.07436, and Zeng et al., 2023 (LTSF-Linear),
https://arxiv.org/abs/2205.13504; MASE: Hyndman & Koehler, 2006, https://doi.org/10.1016/j.ijforecast.2006.03.001

B batch, L look-back, H horizon, D input columns, T target columns, N rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import wording
from bench.config import contracts
from bench.config.contracts import Batch, Labelled, New, Sampling, StoredTask, Trained
from bench.data import sequences
from bench.data.files import prepare
from bench.data.remarks import Remark
from bench.data.splits import PARTS, check_table_splits, split_column
from bench.data.table_format import TableFormat
from bench.data.tables import Table, carry_forward, group_starts, read_table
from bench.data.timestamps import months_of
from bench.errors import DataError, DeclarationError
from bench.tasks import _windows
from bench.tasks._labelled_windows import forecast_scores, labelled_windows
from bench.tasks._sequences import checked_files


class Task(StoredTask):
    """Predict the next `horizon` rows of the target columns from the last `length` rows of all input columns.

    Args:
        length: Number of rows that a model looks back on, at least 1.
        files: The files of the dataset card: one or more tables with the same columns.
        target: Columns to forecast.
        horizon: Number of rows to forecast, at least 1.
        features: Other input columns.
        time: Column of times. Rows must be in their order within a group.
        group: Column that identifies series which are forecast one by one.
        delimiter: Of the files; detected by default.
        encoding: Of the files; detected by default.
        header: Whether the first line holds the names of the columns; else they are named "1", "2", ...
        splits: Shares of train, val and test, of which train and test are rounded down; or numbers of rows; or a rule:
            `by = "column"` with the `column` that names the part of each row, or `by = "file"` with lists of files
            for `train` and `test`. A rule without `val` takes it from the end of train, `val_share` of it.
        season: Number of rows in a season, at least 1, for the seasonal naive baseline and MASE.
        look_back: A model looks back on `look_back` times `length` rows, at least 1 time. The targets of all parts stay
            those of `look_back` 1; rows before the first one of a group repeat it.

    Inputs are the targets and then the features; y holds the rows of the horizon one after the other, each with all
    targets. Both are standardised with mean and deviation of the training rows; `decode` undoes it.

    Rows are split in the order of time: train, then val, then test. Rows beyond the numbers in `splits` are not used.
    With a time and a group, the borders are times, the same for all groups, and `splits` counts different times; with
    only a group, every group is split separately. A window belongs to the part in which all of its targets lie. Its
    inputs may reach back into the part before, whose targets are known by then, but never into another group.

    A missing input becomes the last value before it, or the training mean if there is none: an interpolation would
    leak what comes after. Windows with a missing target are skipped, and so are groups with too few rows.

    Below, a table with a column v of 0, 1, … 19; its first 10 rows are for training: mean 4.5, deviation 2.87.

    Task(4, files=["v.csv"], target=["v"], horizon=2, splits=[10, 4, 6])
    x  -1.57 -1.22 -0.87 -0.52
    y                    -0.17 0.17
    """

    tokens, per_step, loss = False, False, "mse"
    metric, goal, solved, causal, kind = "mse", "minimize", None, False, "forecasting"

    def __init__(
        self,
        length: int,
        *,
        files: Sequence[Any] = (),
        target: Sequence[str] = (),
        horizon: int = 1,
        features: Sequence[str] = (),
        time: str | None = None,
        group: str | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        header: bool = True,
        splits: Sequence[float] | Mapping[str, Any] = (0.7, 0.1, 0.2),
        season: int | None = None,
        look_back: int = 1,
    ) -> None:
        data_files = checked_files("forecasting", length, files, "row to look back on")
        if not target or isinstance(target, str):
            raise DeclarationError(f"forecasting: target: must be a list of at least one column, but found {target!r}")
        for name, value in (("horizon", horizon), ("season", season), ("look_back", look_back)):
            if value is not None and value < 1:
                unit = "" if name == "look_back" else " row"
                raise DeclarationError(f"forecasting: {name}: must be at least 1{unit}, but found {value}")
        check_table_splits("forecasting", splits, "rows")
        rule = dict(splits) if isinstance(splits, Mapping) else list(splits)
        self.length, self.num_steps = length, look_back * length
        self.horizon, self.season, self.target = horizon, season, list(dict.fromkeys(target))
        self.num_targets = num_targets = len(self.target)
        names = list(dict.fromkeys([*self.target, *features]))
        self.input_size, self.output_size = len(names), horizon * num_targets
        form = TableFormat(delimiter, encoding, header, time=time, group=group, split_by=split_column(splits))
        how = [vars(form), names, num_targets, rule, season]
        prepared = prepare(
            "forecasting", data_files, how, lambda p: _windows.make(p, form, names, num_targets, rule, season)
        )
        self._values_ND, self._times = prepared.arrays["values"], prepared.arrays.get("times")
        self._scale, self._naive = (np.array(prepared.meta[key][:num_targets]) for key in ("scale", "naive"))
        self._set_windows(prepared.arrays, prepared.meta)

    def _set_windows(self, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
        """Find the windows of each part, and what is remarked about them. Raises DeclarationError for an empty part."""
        self._ranges: dict[str, np.ndarray] = {}
        skipped, group_starts = {}, []
        for part in PARTS:
            self._ranges[part] = _windows.ranges(arrays["runs"], part, self.length, self.horizon)
            blocks = _windows.ranges(arrays["blocks"], part, self.length, self.horizon)
            skipped[part] = int((blocks[:, 1] - blocks[:, 0]).sum())
            group_starts.append(blocks[:, 2])
        # Of each part: the number of windows before each range, and of all.
        self._before = {part: np.cumsum(np.r_[0, found[:, 1] - found[:, 0]]) for part, found in self._ranges.items()}
        self.counts = {part: int(before[-1]) for part, before in self._before.items()}
        for part, count in self.counts.items():
            if not count:
                raise DeclarationError(
                    f"forecasting: length {self.length}, horizon {self.horizon}: no window fits into the {part} part "
                    f"(rows of train, val and test: {meta['rows']}); use a smaller length or horizon, or other splits"
                )
            skipped[part] -= count
        remarks = list(meta["remarks"])
        if any(skipped.values()):
            counts = ", ".join(f"{part} {count:,}" for part, count in skipped.items())
            remarks.append(Remark("windows", f"windows skipped because a target is missing: {counts}"))
        remarks += _windows.groups_without_window(meta["groups"], arrays["starts"], np.concatenate(group_starts))
        self.meta = meta | {"remarks": remarks, "left_out": skipped, "length": self.length}
        self.chance = self._mean_error("val")

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the windows of a part at these places, in the order of rows."""
        start, group = self._rows(part, places)
        x = self._values_ND[np.maximum(start[:, None] + np.arange(-self.num_steps, 0), group[:, None])]
        y = self._values_ND[start[:, None] + np.arange(self.horizon), : len(self.target)]
        return Batch(x, np.full(len(x), self.num_steps), y.reshape(len(y), -1))

    def reaching_back(self, part: str, places: np.ndarray, steps: int) -> Batch:
        """Return the same windows with their last `steps` rows, or with all rows of the group where those are fewer."""
        start, group = self._rows(part, places)
        length = np.minimum(start - group, steps)
        x = sequences.padded(self._values_ND, start - length, length)
        y = self._values_ND[start[:, None] + np.arange(self.horizon), : len(self.target)]
        return Batch(x, length, y.reshape(len(y), -1))

    def rows_of_train(self, most: int) -> np.ndarray:
        """Return the targets of the first training rows, `most` at most and of one group, (N, T), standardised."""
        first, beyond, group = self._ranges["train"][0]
        return self._values_ND[group : min(beyond + self.horizon - 1, group + most), : len(self.target)]

    def times(self, part: str, places: np.ndarray) -> np.ndarray | None:
        """Return the times of the targets, (B, H) datetime64[ns] in UTC; None for a table without times."""
        if self._times is None:
            return None
        rows = self._rows(part, places)[0][:, None] + np.arange(self.horizon)
        return self._times[rows].view("datetime64[ns]")

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return answers in the units of the table, (B, H, T)."""
        return decode(outputs, self.meta, len(self.target))

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return mean squared and mean absolute error, standardised, and the MASE.

        MASE is the mean absolute error in the units of the table, divided by that of the seasonal naive forecast
        (without a season: the value before) on the training rows; the mean over the targets that vary there.
        """
        return forecast_scores(outputs, batch.y, self._scale, self._naive)

    def _rows(self, part: str, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first target row of each window, and the first row of its group; both (B,)."""
        number = np.searchsorted(self._before[part], places, side="right") - 1
        first, _, group = self._ranges[part][number].T
        return first + places - self._before[part][number], group

    def _mean_error(self, part: str) -> float:
        """Return the mse of the training mean over all windows of a part, without gathering them."""
        total = 0.0
        for first, beyond, _ in self._ranges[part]:
            rows = self._values_ND[first : beyond + self.horizon - 1, : len(self.target)].astype(np.float64)
            sums = np.cumsum(np.r_[0.0, (rows**2).sum(1)])
            total += float((sums[self.horizon :] - sums[: -self.horizon]).sum())
        return total / (self.counts[part] * self.output_size)


def decode(outputs: np.ndarray, meta: dict[str, Any], num_targets: int) -> np.ndarray:
    """Return answers (B, H T) in the units of the table, (B, H, T)."""
    scale, mean = (np.array(meta[key][:num_targets]) for key in ("scale", "mean"))
    return np.asarray(outputs.reshape(len(outputs), -1, num_targets) * scale + mean)


# Prediction


class Predictor(contracts.Predictor):
    """Forecast the rows after the last one of a table, or of each group in it."""

    @property
    def needs(self) -> dict[str, type]:
        """The keys of `meta` that answers depend on, and the types of their values."""
        return {"names": list, "mean": list, "scale": list}

    @property
    def columns(self) -> dict[str, str]:
        """The columns of a table of past rows."""
        keys = [self.arguments[key] for key in ("group", "time") if self.arguments.get(key) is not None]
        return dict.fromkeys(keys, "text") | dict.fromkeys(self.meta["names"], "number")

    def read(self, path: Path, num_steps: int) -> New:
        """Return the last `num_steps` rows of each group of a table. Raises DataError.

        Each group must have the rows of a window with `look_back` 1; earlier ones repeat its first row, as in training.
        """
        form = TableFormat.of(self.arguments, time_form=self.meta.get("time_form"))
        table = read_table([path], self.meta["names"], form)
        starts = group_starts(table.groups)
        count = len(table.columns[self.meta["names"][0]])
        stops = np.r_[starts[1:], count]
        _check_rows(path, table, stops - starts, self.meta.get("length", num_steps))
        values = np.empty((count, len(self.meta["names"])), dtype=np.float32)
        seen = np.maximum(stops[:, None] + np.arange(-num_steps, 0), starts[:, None])
        remarks = list(table.remarks)
        for place, name in enumerate(self.meta["names"]):
            missing = int(np.isnan(table.columns[name][np.unique(seen)]).sum())
            if missing:
                filled = f"{wording.count(missing, 'missing value')} in the last rows filled with the previous value"
                remarks.append(Remark("missing", filled, name))
            column = carry_forward(table.columns[name], starts)
            values[:, place] = _windows.standardised(column, self.meta["mean"][place], self.meta["scale"][place])
        x = values[seen]
        return New(
            x, np.full(len(x), num_steps), {"remarks": remarks, "table": table, "starts": starts, "stops": stops}
        )

    def answer(self, model: Trained, new: New, sampling: Sampling) -> dict[str, Any]:
        """Return a row for each group and step of the horizon: its time, and the targets in the units of the table."""
        target, table = list(dict.fromkeys(self.arguments["target"])), new.about["table"]
        forecasts = decode(model.outputs(new.x, new.length), self.meta, len(target))
        horizon = forecasts.shape[1]
        answers: dict[str, Any] = {}
        if table.groups is not None:
            answers[self.arguments["group"]] = np.repeat(table.group_names, horizon)
        if table.times is not None:
            bounds = zip(new.about["starts"], new.about["stops"], strict=True)
            times = np.concatenate([_times_after(table.times[start:stop], horizon) for start, stop in bounds])
            answers[self.arguments["time"]] = table.time_form.show(times)
        else:
            answers["step"] = np.tile(np.arange(1, horizon + 1), len(forecasts))
        return answers | {name: forecasts[..., place].ravel() for place, name in enumerate(target)}

    def labelled(self, path: Path, num_steps: int) -> Labelled:
        """Return all windows of a table whose targets are known. Raises DataError."""
        return labelled_windows(path, self.arguments, self.meta, num_steps)

    def scores(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return mean squared and mean absolute error, standardised, and the MASE; see Task.score."""
        count = len(dict.fromkeys(self.arguments["target"]))
        scale = np.ones(count) if "group_scale" in self.meta else np.array(self.meta["scale"][:count])
        return forecast_scores(outputs, batch.y, scale, np.array(self.meta.get("naive", [0.0] * count)[:count]))

    def example(self, num_steps: int, rows: int = 1) -> dict[str, Any] | None:
        """Return a table with enough rows for one forecast."""
        return super().example(num_steps, max(2, num_steps))


def _check_rows(path: Path, table: Table, counts: np.ndarray, length: int) -> None:
    """Check that each group has as many rows as the model reads. Raises DataError."""
    short = counts < length
    if short.any():
        place = int(short.argmax())
        group = f" in group '{table.group_names[place]}'" if table.groups is not None else ""
        raise DataError(
            f"{path}: must have at least {length} rows{group}, but has {int(counts[place]):,}; add earlier rows"
        )


def _times_after(times: np.ndarray, horizon: int) -> np.ndarray:
    """Return the times that follow, at the usual step, in int64 nanoseconds; calendar months count as even steps."""
    steps = np.arange(1, horizon + 1)
    months = months_of(times)
    differences = np.diff(months[0].astype(np.int64)) if months is not None else np.zeros(0)
    if months is not None and len(differences) and differences[0] > 0 and (differences == differences[0]).all():
        following = (months[0][-1] + steps * differences[0]).astype("datetime64[ns]") + months[1]
        return np.asarray(following.astype(np.int64))
    sizes, counts = np.unique(np.diff(times), return_counts=True)
    if not len(sizes):
        raise DataError("one row has no step in time; give at least two rows")
    return np.asarray(times[-1] + steps * sizes[counts.argmax()])
