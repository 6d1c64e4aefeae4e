"""Forecasts of a table's columns from a window of its past.

The protocol of Zhou et al., 2021 (Informer), https://arxiv.org/abs/2012.07436, and Zeng et al., 2023 (LTSF-Linear),
https://arxiv.org/abs/2205.13504; MASE: Hyndman & Koehler, 2006, https://doi.org/10.1016/j.ijforecast.2006.03.001

B batch, L look-back, H horizon, D input columns, T target columns, N rows.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.config.contracts import Batch, New, StoredTask
from bench.config.datasets import DataFile
from bench.data.files import prepare
from bench.data.remarks import Remark
from bench.data.splits import PARTS, check_splits, split_borders
from bench.data.table_format import TableFormat
from bench.data.tables import Table, carry_forward, group_starts, read_table
from bench.data.timestamps import TimeForm, months_of
from bench.errors import DataError, DeclarationError

ALPHAS = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)  # of the ridge; the best on val is taken
RIDGE_CELLS = 1 << 24  # numbers the ridge is fitted on, at most: 128 MiB


class Task(StoredTask):
    """Tell the next `horizon` rows of the target columns from the last `length` rows of all input columns.

    Inputs are the targets and then the features, y the rows of the horizon one after the other, each with all targets.
    Both are standardised with mean and deviation of the training rows; `decode` turns answers back.

    The rows are parted by time, strictly forward: train, then val, then test. Shares as `splits`: train and test are
    rounded down, val is the rest; or numbers of rows, and what lies after them is not used. With a time and a group,
    the borders are times, the same for all groups, and `splits` counts different times; with a group alone, every group
    is parted for itself. A window belongs to the part in which all of its targets lie. Its inputs may reach back into
    the part before, whose targets are then long known, but never into another group.

    A missing input is filled with the last value before it, and with the training mean before the first one: a line
    drawn across the gap would tell what comes after it. A window with a missing target is left out. So is a group with
    too few rows for a window.

    Below, a table with a column v of 0, 1, … 19; its first 10 rows are for training: mean 4.5, deviation 2.87.

    Task(4, files=["v.csv"], target=["v"], horizon=2, splits=[10, 4, 6])
    x  -1.57 -1.22 -0.87 -0.52
    y                    -0.17 0.17
    """

    tokens, per_step, loss = False, False, "mse"
    metric, goal, solved, causal = "mse", "minimize", None, False

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
        splits: Sequence[float] = (0.7, 0.1, 0.2),
        season: int | None = None,
    ) -> None:
        if length < 1:
            raise DeclarationError(f"forecasting: length: at least 1 row to look back on, but found {length}")
        if not files:
            raise DeclarationError("forecasting: files: none; name the table under [[files]] of the card")
        if not target or isinstance(target, str):
            raise DeclarationError(f"forecasting: target: a list of at least one column, but found {target!r}")
        if horizon < 1:
            raise DeclarationError(f"forecasting: horizon: at least 1 row to foretell, but found {horizon}")
        if season is not None and season < 1:
            raise DeclarationError(f"forecasting: season: at least 1 row, but found {season}")
        check_splits("forecasting", splits, "rows")
        self.length = self.num_steps = length
        self.horizon, self.season, self.target = horizon, season, list(dict.fromkeys(target))
        names = list(dict.fromkeys([*self.target, *features]))
        self.input_size, self.output_size = len(names), horizon * len(self.target)
        form = TableFormat(delimiter, encoding, header, time=time, group=group)
        prepared = prepare(
            "forecasting",
            [DataFile.model_validate(file) for file in files],
            [vars(form), names, len(self.target), list(splits), season],
            lambda paths: _make(paths, form, names, len(self.target), splits, season),
        )
        self._values_ND, self._times = prepared.arrays["values"], prepared.arrays.get("times")
        meta = prepared.meta
        self._mean, self._scale, self._naive = (
            np.array(meta[key][: len(self.target)]) for key in ("mean", "scale", "naive")
        )
        # Of each part: ranges [first, beyond) of rows that are the first target row of a window.
        ranges = {part: _ranges(prepared.arrays["runs"], part, length, horizon) for part in PARTS}
        whole = {part: _ranges(prepared.arrays["blocks"], part, length, horizon) for part in PARTS}
        self._first = {part: each[:, 0] for part, each in ranges.items()}
        self._group = {part: each[:, 2] for part, each in ranges.items()}  # first row of the group
        self._before = {part: np.cumsum(np.r_[0, each[:, 1] - each[:, 0]]) for part, each in ranges.items()}
        self.counts = {part: int(self._before[part][-1]) for part in PARTS}
        for part in PARTS:
            if not self.counts[part]:
                raise DeclarationError(
                    f"forecasting: length {length}, horizon {horizon}: no window fits into the {part} part (rows of "
                    f"train, val and test: {meta['rows']}); a smaller length or horizon, or other splits"
                )
        left_out = {part: int((whole[part][:, 1] - whole[part][:, 0]).sum()) - self.counts[part] for part in PARTS}
        remarks = list(meta["remarks"])
        if any(left_out.values()):
            told = ", ".join(f"{part} {left_out[part]:,}" for part in PARTS)
            remarks.append(Remark("windows", f"windows left out because a target is missing: {told}"))
        seen = np.concatenate([each[:, 2] for each in whole.values()])
        remarks += _too_short(meta["groups"], prepared.arrays["starts"], seen)
        self.meta = meta | {"remarks": remarks, "left_out": left_out}
        self.chance = self._zero_error(ranges["val"])

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the windows of a part at these places, in the order of rows."""
        start = self._rows(part, places)
        x = self._values_ND[start[:, None] + np.arange(-self.length, 0)]
        y = self._values_ND[start[:, None] + np.arange(self.horizon), : len(self.target)]
        return Batch(x, np.full(len(x), self.length), y.reshape(len(y), -1))

    def times(self, part: str, places: np.ndarray) -> np.ndarray | None:
        """Return the times of the targets, (B, H) datetime64[ns] in UTC; None for a table without."""
        if self._times is None:
            return None
        rows = self._rows(part, places)[:, None] + np.arange(self.horizon)
        return self._times[rows].view("datetime64[ns]")

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return answers in the table's own units, (B, H, T)."""
        return decode(outputs, self.meta, len(self.target))

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return mean squared and mean absolute error, standardised, and the MASE.

        MASE: mean absolute error in the table's units over that of the seasonal naive forecast (without a season: of
        the value before) on the training rows; the mean over the targets that are not constant there.
        """
        error = (outputs.astype(np.float64) - batch.y).reshape(len(outputs), self.horizon, len(self.target))
        scores = {"mse": float((error**2).mean()), "mae": float(np.abs(error).mean())}
        varies = self._naive > 0
        if varies.any():
            scaled = np.abs(error).mean((0, 1)) * self._scale
            scores["mase"] = float((scaled[varies] / self._naive[varies]).mean())
        return scores

    def baselines(self, size: int) -> dict[str, float]:
        """Return the mse of the training mean, the last row, the row a season before, and two linear maps.

        The ridge sees all columns of the window; the map of each series is the same for all targets and sees one at a
        time, less its last value, as NLinear of Zeng et al. does.
        """
        test = self.split("test", size)
        places = _thinned(self.counts["test"], size)
        found = {"train mean": np.zeros_like(test.y), "repeat last": self._repeat(places, 1)}
        if self.season is not None:
            found["seasonal naive"] = self._repeat(places, self.season)
        found["ridge on the window"] = self._ridge(test, size, _whole, lambda answers, batch: answers)
        found["linear map of each series"] = self._ridge(test, size, self._each_series, self._from_each_series)
        return {name: self.score(outputs, test)["mse"] for name, outputs in found.items()}

    def _rows(self, part: str, places: np.ndarray) -> np.ndarray:
        """Return the first target row of each window."""
        which = self._range(part, places)
        rows: np.ndarray = self._first[part][which] + places - self._before[part][which]
        return rows

    def _range(self, part: str, places: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._before[part], places, side="right") - 1

    def _repeat(self, places: np.ndarray, season: int) -> np.ndarray:
        """Return the last `season` rows over and over, also from before the window; where none are, the last row."""
        start, group_start = self._rows("test", places), self._group["test"][self._range("test", places)]
        seasons = np.where(start - season >= group_start, season, 1)[:, None]
        rows = start[:, None] - seasons + np.arange(self.horizon) % seasons
        return self._values_ND[rows, : len(self.target)].reshape(len(rows), -1)

    def _ridge(
        self,
        test: Batch,
        size: int,
        pairs: Callable[[Batch], tuple[np.ndarray, np.ndarray]],
        back: Callable[[np.ndarray, Batch], np.ndarray],
    ) -> np.ndarray:
        """Return answers on `test` of the ridge from inputs to outputs as `pairs` makes them of a batch."""
        most = max(64, RIDGE_CELLS // max(self.length * self.input_size, self.output_size))
        train, val = self.take("train", _thinned(self.counts["train"], most)), self.split("val", size)
        (val_x, _), (test_x, _) = pairs(val), pairs(test)
        best, outputs = np.inf, np.zeros_like(test.y)
        for weights, offset in _ridges(*pairs(train)):
            error = float(((back(val_x @ weights + offset, val) - val.y) ** 2).mean())
            if error < best:
                best, outputs = error, back(test_x @ weights + offset, test)
        return outputs

    def _each_series(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Return (B T, L) and (B T, H): each target for itself, both as differences from its last value."""
        x_BTL = batch.x[..., : len(self.target)].astype(np.float64).transpose(0, 2, 1)
        last_BT1 = x_BTL[..., -1:]
        y_BTH = batch.y.reshape(len(batch.y), self.horizon, -1).transpose(0, 2, 1) - last_BT1
        return (x_BTL - last_BT1).reshape(-1, self.length), y_BTH.reshape(-1, self.horizon)

    def _from_each_series(self, answers: np.ndarray, batch: Batch) -> np.ndarray:
        last_BT1 = batch.x[:, -1, : len(self.target), None]
        answers_BTH = answers.reshape(len(batch.x), -1, self.horizon) + last_BT1
        return answers_BTH.transpose(0, 2, 1).reshape(len(batch.x), -1)

    def _zero_error(self, ranges: np.ndarray) -> float:
        """Return the mse of the training mean over all windows of these ranges, without gathering them."""
        total = 0.0
        for first, beyond, _ in ranges:
            rows = self._values_ND[first : beyond + self.horizon - 1, : len(self.target)].astype(np.float64)
            climb = np.cumsum(np.r_[0.0, (rows**2).sum(1)])
            total += float((climb[self.horizon :] - climb[: -self.horizon]).sum())
        return total / (self.counts["val"] * self.output_size)


def _whole(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Return (B, L D) and (B, H T): all columns and steps at once."""
    return batch.x.reshape(len(batch.x), -1).astype(np.float64), batch.y.astype(np.float64)


def _ridges(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return weights and offset for each of ALPHAS, as scikit-learn's Ridge finds them.

    Its products of all inputs are made once, not once an alpha, and in double precision: windows of a slow series are
    nearly collinear.
    """
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    wide = x.shape[1] > len(x)
    products = x @ x.T if wide else x.T @ x
    right = y if wide else x.T @ y
    for alpha in ALPHAS:
        products[np.diag_indices_from(products)] += alpha
        solved = np.linalg.solve(products, right)
        products[np.diag_indices_from(products)] -= alpha
        weights = x.T @ solved if wide else solved
        yield weights, y_mean - x_mean @ weights


def _thinned(count: int, size: int) -> np.ndarray:
    """Return the places that `StoredTask.split` takes."""
    return np.arange(count) if count <= size else np.arange(size) * count // size


def _part_of_rows(table: Table, starts: np.ndarray, count: int, splits: Sequence[float]) -> np.ndarray:
    """Return the part of each row as an index into PARTS, -1 for none."""
    if table.times is not None and table.groups is not None:
        axis, place = np.unique(table.times, return_inverse=True)
        borders = np.array(split_borders(len(axis), splits))
        _check_rows(borders, len(axis), "different times")
        return _between(place, borders)
    lengths = np.diff(np.r_[starts, count])
    parts = []
    for length in lengths:
        borders = np.array(split_borders(int(length), splits))
        if len(lengths) == 1:
            _check_rows(borders, int(length), "rows")
        parts.append(_between(np.arange(length), borders))
    return np.concatenate(parts)


def _between(place: np.ndarray, borders: np.ndarray) -> np.ndarray:
    part = np.searchsorted(borders, place, side="right") - 1
    return np.where(part < len(PARTS), part, -1).astype(np.int8)


def _check_rows(borders: np.ndarray, count: int, what: str) -> None:
    if borders[-1] > count:
        raise DataError(f"forecasting: splits: {borders[-1]:,} {what} are asked for, but the table has {count:,}")


def _make(
    paths: list[Path],
    form: TableFormat,
    names: list[str],
    num_targets: int,
    splits: Sequence[float],
    season: int | None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the table as standardised values, and where its windows may lie."""
    table = read_table(paths, names, form)
    count, remarks = len(table.columns[names[0]]), list(table.remarks)
    starts = group_starts(table.groups)
    part = _part_of_rows(table, starts, count, splits)
    train = part == 0
    lacks = np.zeros(count, dtype=bool)  # a target is missing
    values, mean, scale, naive = np.empty((count, len(names)), dtype=np.float32), [], [], []
    for place, name in enumerate(names):
        column = table.columns.pop(name)  # what was copied is let go
        missing = np.isnan(column)
        if place < num_targets:
            lacks |= missing
            naive.append(_naive_error(column, train, starts, season or 1))
        known = column[train & ~missing].astype(np.float64)
        if not len(known):
            raise DataError(f"{paths[0]}: column '{name}': no value in the training part of {int(train.sum()):,} rows")
        mean.append(float(known.mean()))
        deviation = float(known.std())
        scale.append(deviation if deviation > 1e-6 * abs(mean[-1]) else 1.0)  # float32 is no finer
        if missing.any():
            column = carry_forward(column, starts)
            early = int(np.isnan(column).sum())
            filled = f"{int(missing.sum()):,} missing values filled with the previous value"
            filled += f", {early:,} of them with the training mean" * bool(early)
            remarks.append(Remark("missing", filled, name))
        values[:, place] = _standardised(column, mean[-1], scale[-1])
    blocks, runs = (_stretches(part, starts, apart) for apart in (np.zeros(count, dtype=bool), lacks))
    arrays = {"values": values, "blocks": blocks, "runs": runs, "starts": starts}
    if table.times is not None:
        arrays["times"] = table.times
    rows = [int((part == place).sum()) for place in range(len(PARTS))]
    meta = {"names": names, "mean": mean, "scale": scale, "naive": naive, "rows": rows, "remarks": remarks}
    meta |= {"groups": table.group_names, "time_form": table.time_form and table.time_form.form}
    return arrays, meta


def _too_short(groups: list[str], starts: np.ndarray, with_window: np.ndarray) -> list[Remark]:
    """Return a remark if there are groups without a window."""
    lacking = ~np.isin(starts, with_window)
    short = [name for name, lacks in zip(groups, lacking, strict=False) if lacks]
    if not short:
        return []
    named = ", ".join(f"'{name}'" for name in short[:5]) + ", …" * (len(short) > 5)
    count = f"{len(short):,} of {len(groups):,} groups"
    return [Remark("groups", f"left out, as they have too few rows for a window: {count} ({named})")]


def _naive_error(column: np.ndarray, train: np.ndarray, starts: np.ndarray, season: int) -> float:
    """Return the mean absolute difference of training rows `season` apart, 0 where there are none."""
    of_group = np.zeros(len(column), dtype=np.int32)
    of_group[starts[1:]] = 1
    of_group = np.cumsum(of_group, dtype=np.int32)
    pairs = train[season:] & (of_group[season:] == of_group[:-season])
    differences = np.abs(column[season:] - column[:-season].astype(np.float64))[pairs]
    differences = differences[~np.isnan(differences)]
    return float(differences.mean()) if len(differences) else 0.0


def _stretches(part: np.ndarray, starts: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Return rows that follow each other in one part of one group, without those `apart`.

    A row each: part, first row of the group, first row, row beyond the last; (K, 4) int64.
    """
    change = np.zeros(len(part) + 1, dtype=bool)
    change[[*starts, len(part)]] = True
    change[1:-1] |= (np.diff(part) != 0) | (np.diff(apart) != 0)
    edges = np.flatnonzero(change)
    first, beyond = edges[:-1], edges[1:]
    keep = (part[first] >= 0) & ~apart[first]
    group = starts[np.searchsorted(starts, first, side="right") - 1]
    return np.stack([part[first], group, first, beyond], axis=1).astype(np.int64)[keep]


def _ranges(stretches: np.ndarray, part: str, length: int, horizon: int) -> np.ndarray:
    """Return [first, beyond) of the rows that can be the first target row of a window, and the group's; (K, 3)."""
    mine = stretches[stretches[:, 0] == PARTS.index(part)]
    first = np.maximum(mine[:, 2], mine[:, 1] + length)
    beyond = mine[:, 3] - horizon + 1
    return np.stack([first, beyond, mine[:, 1]], axis=1)[beyond > first]


# New files


def columns(arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, str]:
    """Return the columns of a table to go on from."""
    keys = [arguments[key] for key in ("group", "time") if arguments.get(key) is not None]
    return dict.fromkeys(keys, "text") | dict.fromkeys(meta["names"], "number")


def read_new(path: Path, length: int, arguments: dict[str, Any], meta: dict[str, Any]) -> New:
    """Return the last `length` rows of each group of a table: what comes after them is asked. Raises DataError."""
    table = read_table([path], meta["names"], TableFormat.of(arguments, time_form=meta.get("time_form")))
    starts = group_starts(table.groups)
    count = len(table.columns[meta["names"][0]])
    stops = np.r_[starts[1:], count]
    short = stops - starts < length
    if short.any():
        place = int(short.argmax())
        of_group = f" of group '{table.group_names[place]}'" if table.groups is not None else ""
        rows = f"{int((stops - starts)[place]):,} rows{of_group}"
        raise DataError(f"{path}: {rows}, and the model looks back on {length}; give it at least as many")
    values = np.empty((count, len(meta["names"])), dtype=np.float32)
    seen, remarks = stops[:, None] + np.arange(-length, 0), list(table.remarks)
    for place, name in enumerate(meta["names"]):
        missing = int(np.isnan(table.columns[name][seen]).sum())
        if missing:
            filled = f"{missing:,} missing values in the last rows filled with the previous value"
            remarks.append(Remark("missing", filled, name))
        column = carry_forward(table.columns[name], starts)
        values[:, place] = _standardised(column, meta["mean"][place], meta["scale"][place])
    x = values[seen]
    about: dict[str, Any] = {"remarks": remarks, "time_form": table.time_form}
    if table.groups is not None:
        about["groups"] = table.group_names
    if table.times is not None:
        about["times"] = [table.times[start:stop] for start, stop in zip(starts, stops, strict=True)]
    return New(x, np.full(len(x), length), about)


def answers(outputs: np.ndarray, new: New, arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """Return a row for each group and step of the horizon: its time, and the targets in the table's own units."""
    target = list(dict.fromkeys(arguments["target"]))
    decoded = decode(outputs, meta, len(target))
    horizon = decoded.shape[1]
    found: dict[str, Any] = {}
    if "groups" in new.about:
        found[arguments["group"]] = np.repeat(new.about["groups"], horizon)
    if "times" in new.about:
        form: TimeForm = new.about["time_form"]
        found[arguments["time"]] = form.show(
            np.concatenate([_times_after(each, horizon) for each in new.about["times"]])
        )
    else:
        found["step"] = np.tile(np.arange(1, horizon + 1), len(decoded))
    return found | {name: decoded[..., place].ravel() for place, name in enumerate(target)}


def decode(outputs: np.ndarray, meta: dict[str, Any], num_targets: int) -> np.ndarray:
    """Return answers (B, H T) in the table's own units, (B, H, T)."""
    scale, mean = (np.array(meta[key][:num_targets]) for key in ("scale", "mean"))
    return np.asarray(outputs.reshape(len(outputs), -1, num_targets) * scale + mean)


def _standardised(column: np.ndarray, mean: float, scale: float) -> np.ndarray:
    """Return a column with its gaps, filled from before as far as that goes, at the training mean."""
    return np.nan_to_num((column.astype(np.float64) - mean) / scale)


def _times_after(times: np.ndarray, horizon: int) -> np.ndarray:
    """Return the times that follow, at the usual step; months of the calendar count as even. int64 nanoseconds."""
    steps = np.arange(1, horizon + 1)
    months = months_of(times)
    climbs = np.diff(months[0].astype(np.int64)) if months is not None else np.zeros(0)
    if months is not None and len(climbs) and climbs[0] > 0 and (climbs == climbs[0]).all():
        following = (months[0][-1] + steps * climbs[0]).astype("datetime64[ns]") + months[1]
        return np.asarray(following.astype(np.int64))
    found, counts = np.unique(np.diff(times), return_counts=True)
    if not len(found):
        raise DataError("one row only: the step in time cannot be told; give at least two rows")
    return np.asarray(times[-1] + steps * found[counts.argmax()])
