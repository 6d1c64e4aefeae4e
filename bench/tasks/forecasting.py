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
from bench.config.contracts import Batch, Labelled, New, Sampling, StoredTask, Trained
from bench.data import sequences
from bench.data.files import prepare
from bench.data.remarks import Remark, some
from bench.data.splits import PARTS, check_table_splits, split_column
from bench.data.table_format import TableFormat
from bench.data.tables import Table, carry_forward, group_starts, read_table
from bench.data.timestamps import Calendar, following
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
        scaling: Literal["table", "group"] = "table",
    ) -> None:
        data_files = checked_files("forecasting", length, files, "row to look back on")
        if not target or isinstance(target, str):
            raise DeclarationError(f"forecasting: target: must be a list of at least one column, but found {target!r}")
        for name, value in (("horizon", horizon), ("season", season), ("look_back", look_back)):
            if value is not None and value < 1:
                unit = "" if name == "look_back" else " row"
                raise DeclarationError(f"forecasting: {name}: must be at least 1{unit}, but found {value}")
        if scaling not in ("table", "group") or (scaling == "group" and group is None):
            known = "must be 'table', or 'group' with a group column"
            raise DeclarationError(f"forecasting: scaling: {known}, but found {scaling!r}")
        check_table_splits("forecasting", splits, "rows")
        rule = dict(splits) if isinstance(splits, Mapping) else list(splits)
        self.length, self.num_steps = length, look_back * length
        self.horizon, self.season, self.target = horizon, season, list(dict.fromkeys(target))
        self.num_targets = num_targets = len(self.target)
        names = list(dict.fromkeys([*self.target, *features]))
        self.input_size, self.output_size = len(names), horizon * num_targets
        form = TableFormat(delimiter, encoding, header, time=time, group=group, split_by=split_column(splits))
        how = [vars(form), names, num_targets, rule, season, scaling]
        by_group = scaling == "group"
        prepared = prepare(
            "forecasting", data_files, how, lambda p: _windows.make(p, form, names, num_targets, rule, season, by_group)
        )
        self._values_ND, self._times = prepared.arrays["values"], prepared.arrays.get("times")
        self._starts = prepared.arrays["starts"]
        # The seasonal naive error is on the scale of the values.
        self._scale = np.ones(num_targets) if by_group else np.array(prepared.meta["scale"][:num_targets])
        self._naive = np.array(prepared.meta["naive"][:num_targets])
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
            if not count and skipped[part]:
                rule = f"each of the {skipped[part]:,} windows of the {part} part holds a missing target"
                raise DeclarationError(
                    f"forecasting: length {self.length}, horizon {self.horizon}: {rule}; fill the gaps, or use a "
                    "smaller length or horizon, or other splits"
                )
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

    def decode(self, outputs: np.ndarray, part: str | None = None, places: np.ndarray | None = None) -> np.ndarray:
        """Return answers to the windows of a part at these places in the units of the table, (B, H, T).

        Without `scaling` by group, all windows have the same units and need not be named.
        """
        groups = None
        if "group_scale" in self.meta:
            if part is None or places is None:
                raise ValueError("each group has its own scale: name the part and the places of the windows")
            groups = np.searchsorted(self._starts, self._rows(part, places)[1])
        return decode(outputs, self.meta, len(self.target), groups)

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


def decode(outputs: np.ndarray, meta: dict[str, Any], num_targets: int, groups: Any = None) -> np.ndarray:
    """Return answers (B, H T) in the units of the table, (B, H, T); `groups` are the numbers of their groups, (B,)."""
    if groups is None:
        mean, scale = (np.array(meta[key][:num_targets]) for key in ("mean", "scale"))
    else:
        mean, scale = (np.array(meta[key])[groups, None, :num_targets] for key in ("group_mean", "group_scale"))
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
