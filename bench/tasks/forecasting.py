"""Forecasts of the columns of a table from a window of its past.

The protocol of Zhou et al., 2021 (Informer), https://arxiv.org/abs/2012.07436, and Zeng et al., 2023 (LTSF-Linear),
https://arxiv.org/abs/2205.13504; MASE: Hyndman & Koehler, 2006, https://doi.org/10.1016/j.ijforecast.2006.03.001

B batch, L look-back, H horizon, D input columns, T target columns, N rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench import wording
from bench.config import contracts
from bench.config.contracts import Batch, Labelled, New, Sampling, Trained
from bench.data.remarks import Remark, some
from bench.data.table_format import TableFormat
from bench.data.tables import Table, carry_forward, group_starts, read_table
from bench.data.timestamps import Calendar, following
from bench.errors import DataError
from bench.tasks import _windows
from bench.tasks._labelled_windows import forecast_scores, labelled_windows
from bench.tasks._window_task import WindowTask


class Task(WindowTask):
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
        scaling: `table` standardises with mean and deviation of all training rows, `group` with those of each group.
        look_back: A model looks back on `look_back` times `length` rows, at least 1 time. The targets of all parts stay
            those of `look_back` 1; rows before the first one of a group repeat it.

    Inputs are the targets and then the features; y holds the rows of the horizon one after the other, each with all
    targets. Both are standardised with mean and deviation of the training rows; `decode` undoes it. With `scaling` by
    group, scores are means over values that each group has standardised, so that every group counts alike.

    Rows after the last known target of a group are to be forecast. They are left out, unless `splits` are numbers.

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
        scaling: Literal["table", "group"] = "table",
    ) -> None:
        form = TableFormat(delimiter, encoding, header, time=time, group=group)
        how: dict[str, Any] = {"horizon": horizon, "season": season, "look_back": look_back, "scaling": scaling}
        self._read("forecasting", length, files, target, features, form, splits, **how)

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return mean squared and mean absolute error, standardised, and the MASE.

        MASE is the mean absolute error in the units of the table, divided by that of the seasonal naive forecast
        (without a season: the value before) on the training rows; the mean over the targets that vary there.
        """
        return forecast_scores(outputs, batch.y, self._scale, self._naive)


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
        Groups with fewer rows are left out, and so are rows after the last known target: they are to be forecast.
        """
        names, target = self.meta["names"], list(dict.fromkeys(self.arguments["target"]))
        form = TableFormat.of(self.arguments, time_form=self.meta.get("time_form"))
        table = read_table([path], names, form)
        starts = group_starts(table.groups)
        count = len(table.columns[names[0]])
        stops = _windows.history_stops(table, target, starts)
        remarks = list(table.remarks)
        kept, short = _long_enough(path, table, stops - starts, self.meta.get("length", num_steps))
        seen = np.maximum(stops[:, None] + np.arange(-num_steps, 0), starts[:, None])
        mean, scale, unknown = self._scales(table, starts, stops, kept)
        values = np.empty((len(seen), num_steps, len(names)), dtype=np.float32)
        for place, name in enumerate(names):
            missing = int(np.isnan(table.columns[name][np.unique(seen[kept])]).sum())
            if missing:
                filled = f"{wording.count(missing, 'missing value')} in the last rows filled with the previous value"
                remarks.append(Remark("missing", filled, name))
            column = carry_forward(table.columns[name], starts)[seen]
            values[..., place] = _windows.standardised(column, mean[:, None, place], scale[:, None, place])
        about = {"remarks": [*remarks, *short, *unknown], "table": table, "groups": kept}
        about |= {"starts": starts[kept], "stops": stops[kept], "ends": np.r_[starts[1:], count][kept]}
        about |= {"mean": mean[kept, : len(target)], "scale": scale[kept, : len(target)]}
        known = np.minimum(stops - starts, num_steps)[kept]
        about["remarks"] = [*remarks, *short, *unknown, *_windows.short_of(known, num_steps)]
        if self.fills:
            return New(values[kept], np.full(len(kept), num_steps), about)
        return New(_windows.unfilled(values[kept], known), known, about)

    def _scales(
        self, table: Table, starts: np.ndarray, stops: np.ndarray, kept: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, list[Remark]]:
        """Return mean and deviation of each group and column, (G, D) each, and remarks on groups of unknown scale."""
        names = self.meta["names"]
        if "group_scale" not in self.meta:
            shape = (len(starts), len(names))
            mean, scale = (np.broadcast_to(np.array(self.meta[key]), shape) for key in ("mean", "scale"))
            return mean, scale, []
        number = {key: place for place, key in enumerate(self.meta["group_keys"])}
        mean, scale = np.empty((2, len(starts), len(names)))
        unknown = []
        for row, group in enumerate(table.group_names):
            place = number.get(_windows.group_key(group))
            if place is not None:
                mean[row], scale[row] = (self.meta[key][place] for key in ("group_mean", "group_scale"))
                continue
            if row in kept:
                unknown.append(group)
            history = slice(starts[row], stops[row])
            scales = [_windows.group_scale_of(table.columns[name][history]) for name in names]
            mean[row], scale[row] = np.array(scales).T
        text = f"series that training did not see are scaled by their own rows ({some(unknown)})"
        return mean, scale, [Remark("scale", text)] if unknown else []

    def answer(self, model: Trained, new: New, sampling: Sampling) -> dict[str, Any]:
        """Return a row for each group and step of the horizon: its time, and the targets in the units of the table."""
        target, table = list(dict.fromkeys(self.arguments["target"])), new.about["table"]
        outputs = model.outputs(new.x, new.length)
        forecasts = outputs.reshape(len(outputs), -1, len(target)) * new.about["scale"][:, None]
        forecasts = forecasts + new.about["mean"][:, None]
        horizon = forecasts.shape[1]
        answers: dict[str, Any] = {}
        if table.groups is not None:
            answers[self.arguments["group"]] = np.repeat(np.array(table.group_names)[new.about["groups"]], horizon)
        if table.times is not None:
            rows = zip(*(new.about[key] for key in ("starts", "stops", "ends")), strict=True)
            known = self.meta.get("calendar")
            calendar = None if known is None else Calendar(**known)
            times = np.concatenate([_times_after(table.times, bounds, horizon, calendar) for bounds in rows])
            answers[self.arguments["time"]] = table.time_form.show(times)
        else:
            answers["step"] = np.tile(np.arange(1, horizon + 1), len(forecasts))
        return answers | {name: forecasts[..., place].ravel() for place, name in enumerate(target)}

    def labelled(self, path: Path, num_steps: int) -> Labelled:
        """Return all windows of a table whose targets are known. Raises DataError."""
        return labelled_windows(path, self.arguments, self.meta, num_steps, self.fills)

    def scores(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return mean squared and mean absolute error, standardised, and the MASE; see Task.score."""
        count = len(dict.fromkeys(self.arguments["target"]))
        scale = np.ones(count) if "group_scale" in self.meta else np.array(self.meta["scale"][:count])
        return forecast_scores(outputs, batch.y, scale, np.array(self.meta.get("naive", [0.0] * count)[:count]))

    def example(self, num_steps: int, rows: int = 1) -> dict[str, Any] | None:
        """Return a table with enough rows for one forecast."""
        return super().example(num_steps, max(2, num_steps))


def _long_enough(path: Path, table: Table, counts: np.ndarray, length: int) -> tuple[np.ndarray, list[Remark]]:
    """Return the numbers of the groups with as many rows as the model reads, and a remark on the others.

    Raises DataError if all groups are too short.
    """
    is_short = counts < length
    if not is_short.any():
        return np.arange(len(counts)), []
    if is_short.all():
        place = int(counts.argmax())
        longest = (
            f" in a group, but the longest, '{table.group_names[place]}'," if table.groups is not None else ", but"
        )
        rule = f"must have at least {length} rows{longest} has {int(counts[place]):,}"
        raise DataError(f"{path}: {rule}; add earlier rows")
    short = [f"{table.group_names[place]} with {counts[place]:,}" for place in np.flatnonzero(is_short)]
    text = f"{len(short):,} of {len(counts):,} series have no forecast: fewer than {length} rows"
    return np.flatnonzero(~is_short), [Remark("short", f"{text} ({some(short)})")]


def _times_after(
    times: np.ndarray, bounds: tuple[int, int, int], horizon: int, calendar: Calendar | None
) -> np.ndarray:
    """Return the times of the forecast of some rows, in int64 nanoseconds.

    `bounds` are the first row of the history, the row beyond its last one, and the row beyond those to be forecast. The
    times of the latter come first, and then those that follow.
    """
    start, stop, end = bounds
    given = times[stop : min(end, stop + horizon)]
    if len(given) == horizon:
        return given
    try:
        return np.r_[given, following(times[start : stop + len(given)], horizon - len(given), calendar)]
    except ValueError:
        raise DataError("one row has no step in time; give at least two rows") from None
