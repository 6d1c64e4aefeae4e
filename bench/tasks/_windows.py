"""A table as standardised values, and the stretches of rows in which forecasting windows may lie.

D input columns, N rows, G groups, K stretches.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import wording
from bench.data import leaks
from bench.data.remarks import Remark, some
from bench.data.sequences import resolution
from bench.data.splits import PARTS, VAL_SHARE, digest, file_parts, split_borders
from bench.data.table_format import TableFormat
from bench.data.tables import Table, carry_forward, group_starts, read_table
from bench.data.timestamps import calendar_of, step_name, usual_step
from bench.errors import DataError

_EARLY_ROWS = 32  # of a group without training rows, which decide its scale
_SHIFT = 2.0  # training deviations, from which on a level shift is remarked


def make(
    paths: list[Path],
    form: TableFormat,
    names: list[str],
    num_targets: int,
    splits: Sequence[float] | Mapping[str, Any],
    season: int | None,
    by_group: bool = False,
    each_series: bool = False,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the columns `names`, targets first, as values (N, D), with their stretches, and the training scale.

    Stretches are rows that follow each other in one part of one group: `blocks`, and `runs` that also have no row
    with a missing target. With `by_group`, each group has a scale of its own; with `each_series`, it is split by its
    own rows also if there are times. Raises DataError.
    """
    table = read_table(paths, names, form)
    remarks = list(table.remarks)
    if isinstance(splits, Mapping) or sum(splits) < 1.5:  # numbers of rows count all of them
        table, future = without_future(table, names[:num_targets])
        if future:
            rows = f"{wording.count(future, 'row')} after the last value of the target"
            remarks.append(Remark("future", f"{rows} are what is to be forecast: no part of the history"))
    count = len(table.columns[names[0]])
    starts = group_starts(table.groups)
    part = _part_of_rows(table._replace(times=None) if each_series else table, starts, count, splits, paths)
    remarks += _mixed_times(table, part) if isinstance(splits, Mapping) and not each_series else []
    remarks += leaks.in_columns({name: table.columns[name] for name in names[num_targets:]})
    rows_of = _Rows(starts, part, np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, count])))
    scaled = _scaled(table, names, num_targets, rows_of, season, by_group, paths[0])
    remarks += scaled.remarks
    blocks, runs = (stretches(part, starts, apart) for apart in (np.zeros(count, dtype=bool), scaled.incomplete))
    arrays = {"values": scaled.values, "blocks": blocks, "runs": runs, "starts": starts}
    meta = {"names": names, **scaled.scales, "remarks": remarks, "spread": scaled.spread, "groups": table.group_names}
    if by_group:  # exports hold no names of training data
        meta["group_keys"] = [group_key(name) for name in table.group_names]
    meta["rows"] = [int((part == number).sum()) for number in range(len(PARTS))]
    in_train = np.bincount(rows_of.group[part == 0], minlength=len(starts))
    meta["rows_of_group"] = int(np.median(in_train[in_train > 0]))
    meta["time_form"] = table.time_form and table.time_form.form
    if table.times is not None:
        arrays["times"] = table.times
        borders = None if table.groups is None else np.isin(np.arange(1, count), starts)
        step = meta["step"] = usual_step(table.times, borders)
        meta["step_name"] = step_name(step, table.time_form)
        meta["calendar"] = calendar_of(np.unique(table.times), step)._asdict()
    return arrays, meta


class _Rows(NamedTuple):
    """Where the rows of a table belong."""

    starts: np.ndarray  # (G,): the first row of each group
    part: np.ndarray  # (N,): 0 for the training part
    group: np.ndarray  # (N,): the number of the group


class _Scaled(NamedTuple):
    """The columns of a table in units of their training deviation."""

    values: np.ndarray  # (N, D) float32
    incomplete: np.ndarray  # (N,) bool: rows with a missing target
    scales: dict[str, Any]  # mean, scale and naive error of each column, and of each group if it has its own
    spread: float  # the largest ratio between the scales of two groups
    remarks: list[Remark]


def _scaled(
    table: Table, names: list[str], num_targets: int, rows: _Rows, season: int | None, by_group: bool, path: Path
) -> _Scaled:
    """Return the columns with missing values carried forward, by the scale of the training rows. Raises DataError."""
    train, count = rows.part == 0, len(rows.part)
    remarks: list[Remark] = []
    incomplete = np.zeros(count, dtype=bool)
    values = np.empty((count, len(names)), dtype=np.float32)
    scales: dict[str, Any] = {"mean": [], "scale": [], "naive": []}
    of_groups: dict[str, list[np.ndarray]] = {"group_mean": [], "group_scale": []}
    spread, shifts = 1.0, dict[str, dict[str, float]]()
    for place, name in enumerate(names):
        column = table.columns.pop(name)  # frees each column after its copy
        missing = np.isnan(column)
        mean, scale = _training_scale(column[train & ~missing], f"{path}: column '{name}'")
        group_mean, group_scale = _group_scales(column, train & ~missing, rows.group, rows.starts, scale)
        if place < num_targets and len(rows.starts) > 1:
            spread = max(spread, _spread(group_scale, scale))
        scales["mean"].append(mean)
        scales["scale"].append(scale)
        if by_group:
            of_groups["group_mean"].append(group_mean)
            of_groups["group_scale"].append(group_scale)
            column = (column - group_mean[rows.group]) / group_scale[rows.group]
            mean, scale = 0.0, 1.0
        if place < num_targets:
            incomplete |= missing
            scales["naive"].append(naive_error(column, train, rows.starts, season or 1))
            shifts[name] = _shift((column - mean) / scale, rows.part)
        if missing.any():
            column = carry_forward(column, rows.starts)
            filled = _filled(int(missing.sum()), int(np.isnan(column).sum()))
            remarks.append(Remark("missing", filled, name))
        values[:, place] = standardised(column, mean, scale)
    remarks += _level_shifts({name: means for name, means in shifts.items() if means}, num_targets)
    scales |= {key: np.stack(columns, axis=1).tolist() for key, columns in of_groups.items() if columns}
    return _Scaled(values, incomplete, scales, spread, remarks)


def group_key(name: str) -> str:
    """Return what identifies a group in an export, which must not name it."""
    return digest(name).hex()[:16]


def without_future(table: Table, targets: Sequence[str]) -> tuple[Table, int]:
    """Return the table without the rows after the last known target of each group, and how many they are.

    Such rows are to be forecast: an input that ends with them would not hold the history. A group without any known
    target stays as it is.
    """
    count = len(table.columns[targets[0]])
    starts = group_starts(table.groups)
    keep = np.arange(count) < np.repeat(history_stops(table, targets, starts), np.diff(np.r_[starts, count]))
    if keep.all():
        return table, 0
    rows = (table.times, table.groups, table.files, table.parts)
    times, groups, files, parts = (values if values is None else values[keep] for values in rows)
    columns = {name: column[keep] for name, column in table.columns.items()}
    table = table._replace(columns=columns, times=times, groups=groups, files=files, parts=parts)
    return table, int((~keep).sum())


def history_stops(table: Table, targets: Sequence[str], starts: np.ndarray) -> np.ndarray:
    """Return the row beyond the last one with a known target of each group, (G,); of a group without one, its end."""
    count = len(table.columns[targets[0]])
    known = ~np.all([np.isnan(table.columns[name]) for name in targets], axis=0)
    last = np.maximum.reduceat(np.where(known, np.arange(1, count + 1), 0), starts)
    return np.where(last > 0, last, np.r_[starts[1:], count])


def standardised(column: np.ndarray, mean: float | np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """Return a column on the training scale; gaps that are left become the training mean."""
    return np.nan_to_num((column.astype(np.float64) - mean) / scale)


def naive_error(column: np.ndarray, train: np.ndarray, starts: np.ndarray, season: int) -> float:
    """Return the mean absolute difference of training rows `season` apart in a group, 0 if there are none."""
    group = np.zeros(len(column), dtype=np.int32)
    group[starts[1:]] = 1
    group = np.cumsum(group, dtype=np.int32)
    pairs = train[season:] & (group[season:] == group[:-season])
    differences = np.abs(column[season:] - column[:-season].astype(np.float64))[pairs]
    differences = differences[~np.isnan(differences)]
    return float(differences.mean()) if len(differences) else 0.0


def ranges(stretches: np.ndarray, part: str, length: int, horizon: int) -> np.ndarray:
    """Return rows that can be the first target row of a window, as ranges; (K, 3): first, beyond the last, group."""
    _, group, start, stop = stretches[stretches[:, 0] == PARTS.index(part)].T
    first = np.maximum(start, group + length)
    beyond = stop - horizon + 1
    return np.stack([first, beyond, group], axis=1)[beyond > first]


def groups_without_window(groups: list[str], starts: np.ndarray, with_window: np.ndarray) -> list[Remark]:
    """Return a remark if some groups, which begin at `starts`, are not among the group starts `with_window`."""
    lacking = ~np.isin(starts, with_window)
    short = [name for name, lacks in zip(groups, lacking, strict=False) if lacks]
    if not short:
        return []
    named = some([f"'{name}'" for name in short])
    count = f"{len(short):,} of {len(groups):,} groups"
    return [Remark("groups", f"{count} have too few rows for a window and are skipped ({named})")]


def _training_scale(known: np.ndarray, where: str) -> tuple[float, float]:
    """Return mean and deviation of the known training values of a column; a deviation of 1 if it is constant."""
    if not len(known):
        raise DataError(f"{where} has no value in the training part; leave the column out, or use other splits")
    finest = resolution(known)
    known = known.astype(np.float64)
    mean, deviation = float(known.mean()), float(known.std())
    return (mean, deviation) if deviation > finest * abs(mean) else (float(known[0]), 1.0)


def group_scale_of(column: np.ndarray) -> tuple[float, float]:
    """Return mean and deviation of the known values of a series that training did not see."""
    known = column[~np.isnan(column)].astype(np.float64)
    if not len(known):
        return 0.0, 1.0
    mean, scale = float(known.mean()), float(known.std())
    return mean, scale if scale > resolution(column) * abs(mean) else max(abs(mean), 1.0)


def _group_scales(
    column: np.ndarray, train: np.ndarray, of_group: np.ndarray, starts: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of the training values of each group, (G,) each.

    A group with fewer than two of them has those of its first known rows. The deviation of a constant group is its
    level times the usual ratio of deviation and level, or else the deviation of the table.
    """
    groups = len(starts)
    known = ~np.isnan(column)
    has_few = np.bincount(of_group[train], minlength=groups) < 2
    early = known & (np.arange(len(column)) - starts[of_group] < _EARLY_ROWS)
    used = np.where(has_few[of_group], early, train)
    group, values = of_group[used], column[used].astype(np.float64)
    count = np.maximum(np.bincount(group, minlength=groups), 1)
    mean = np.bincount(group, values, minlength=groups) / count
    deviation = np.sqrt(np.bincount(group, (values - mean[group]) ** 2, minlength=groups) / count)
    varies = deviation > resolution(column) * np.abs(mean)
    if varies.any():
        ratio = float(np.median(deviation[varies] / np.maximum(np.abs(mean[varies]), deviation[varies])))
        usual = np.where(mean == 0, np.median(deviation[varies]), np.abs(mean) * ratio)
        return mean, np.where(varies, deviation, usual)
    return mean, np.full(groups, scale)


def _spread(of_groups: np.ndarray, scale: float) -> float:
    """Return by how many times the scales of groups, and that of all rows, differ, but for the smallest 5 %."""
    return float(max(of_groups.max(), scale) / np.quantile(of_groups, 0.05, method="lower"))


def _shift(values: np.ndarray, part: np.ndarray) -> dict[str, float]:
    """Return the mean of val and of test, standardised, of a target whose values (N,) lie elsewhere there; else {}."""
    train = values[(part == 0) & ~np.isnan(values)]
    low, high = train.min(), train.max()
    means, is_shifted = {}, False
    for number in (1, 2):
        of_part = values[(part == number) & ~np.isnan(values)]
        if len(of_part):
            means[PARTS[number]] = float(of_part.mean())
            is_outside = ((of_part < low) | (of_part > high)).mean() > 0.5
            is_shifted |= bool(is_outside) or abs(means[PARTS[number]]) > _SHIFT
    return means if is_shifted else {}


def _level_shifts(shifts: dict[str, dict[str, float]], count: int) -> list[Remark]:
    """Return a remark if some of `count` targets have another level in val or test than in training."""
    if not shifts:
        return []
    name = max(shifts, key=lambda target: max(map(abs, shifts[target].values())))
    means = " and ".join(f"that of {part} by {mean:+.1f}" for part, mean in shifts[name].items())
    others = f", and so do {len(shifts)} of {count} targets" if len(shifts) > 1 else ""
    rule = f"the level shifts: the mean of training differs from {means} training deviations{others}"
    return [Remark("shift", f"{rule}; scores measure how well a model follows a new level", name)]


def _filled(missing: int, early: int) -> str:
    remark = f"{wording.count(missing, 'missing value')} filled with the previous value"
    return remark + f", {early:,} of them with the training mean" * bool(early)


def _part_of_rows(
    table: Table, starts: np.ndarray, count: int, splits: Sequence[float] | Mapping[str, Any], paths: list[Path]
) -> np.ndarray:
    """Return the part of each row as an index into PARTS, -1 for unused rows; (N,) int8. Raises DataError."""
    if isinstance(splits, Mapping):
        return _named_part_of_rows(table, starts, count, splits, paths)
    if table.times is not None and table.groups is not None:
        times, place = np.unique(table.times, return_inverse=True)
        return _between(place, _checked(split_borders(len(times), splits), len(times), "different times"))
    parts = []
    lengths = np.diff(np.r_[starts, count])
    for length in lengths:
        edges = split_borders(int(length), splits)
        if len(lengths) == 1:
            _checked(edges, int(length), "rows")
        parts.append(_between(np.arange(length), edges))
    return np.concatenate(parts)


def _named_part_of_rows(
    table: Table, starts: np.ndarray, count: int, rule: Mapping[str, Any], paths: list[Path]
) -> np.ndarray:
    """Return the part of each row that a column or the file of the row names, (N,) int8. Raises DataError.

    Without val, it is the last `val_share` of the training rows: of their times if there are groups with times, else of
    the rows of each group.
    """
    if table.parts is not None:
        part, where = table.parts.copy(), f"{paths[0]}: column '{rule['column']}'"
    else:
        of_file, where = file_parts(rule, [path.name for path in paths]), ", ".join(path.name for path in paths)
        part = of_file[np.zeros(count, dtype=np.int32) if table.files is None else table.files]
    back = np.diff(part.astype(np.int64)) < 0
    back[starts[1:] - 1] = False
    if back.any():
        row = int(back.argmax()) + 1
        group = "" if table.groups is None else f" of group '{table.group_names[table.groups[row]]}'"
        order = f"a row of {PARTS[part[row]]} follows one of {PARTS[part[row - 1]]}{group}"
        raise DataError(f"{where}: train must come before val, and val before test, but {order}; change the splits")
    if not (part == 1).any():
        share = rule.get("val_share", VAL_SHARE)
        if table.times is not None and table.groups is not None:
            border = np.quantile(np.unique(table.times[part == 0]), 1 - share, method="higher")
            part[(part == 0) & (table.times >= border)] = 1
        else:
            for first, beyond in zip(starts, np.r_[starts[1:], count], strict=True):
                train = int((part[first:beyond] == 0).sum())
                part[first + train - int(train * share) : first + train] = 1
    return part


def _mixed_times(table: Table, part: np.ndarray) -> list[Remark]:
    """Return a remark if a series trains on times at which another one is tested."""
    if table.times is None or table.groups is None or not (part == 2).any() or not (part == 0).any():
        return []
    if table.times[part == 0].max() < table.times[part == 2].min():
        return []
    rule = "series train on times at which others are tested: what they share, such as a holiday, is then known"
    return [Remark("leak", f"{rule}; split all series at the same time unless new series are to be forecast")]


def _between(place: np.ndarray, edges: list[int]) -> np.ndarray:
    part = np.searchsorted(edges, place, side="right") - 1
    return np.where(part < len(PARTS), part, -1).astype(np.int8)


def _checked(edges: list[int], count: int, unit: str) -> list[int]:
    if edges[-1] > count:
        raise DataError(f"forecasting: splits: need {edges[-1]:,} {unit}, but the table has {count:,}; use fewer")
    return edges


def stretches(part: np.ndarray, starts: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Return rows that follow each other in one part of one group, without the rows `apart`.

    The columns are part, first row of the group, first row, and row beyond the last; (K, 4) int64.
    """
    change = np.zeros(len(part) + 1, dtype=bool)
    change[[*starts, len(part)]] = True
    change[1:-1] |= (np.diff(part) != 0) | (np.diff(apart) != 0)
    edges = np.flatnonzero(change)
    first, beyond = edges[:-1], edges[1:]
    keep = (part[first] >= 0) & ~apart[first]
    group = starts[np.searchsorted(starts, first, side="right") - 1]
    return np.stack([part[first], group, first, beyond], axis=1).astype(np.int64)[keep]


def unfilled(x: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return windows (B, L, D) with their last `length` (B,) steps first, and zeros after them."""
    steps = np.arange(int(length.max()))
    places = x.shape[1] - length[:, None] + steps
    kept = x[np.arange(len(x))[:, None], np.minimum(places, x.shape[1] - 1)]
    return np.where((steps < length[:, None])[..., None], kept, 0).astype(x.dtype)


def short_of(rows: np.ndarray, steps: int) -> list[Remark]:
    """Return a remark if some forecasts are made from fewer `rows` (B,) than the model reads."""
    short = int((rows < steps).sum())
    if not short:
        return []
    made = f"{wording.count(short, 'forecast')} of {len(rows):,} {wording.is_or_are(short)} made from fewer rows"
    text = f"{made} than the {steps:,} that the model reads, at least {int(rows.min()):,}; earlier rows improve them"
    return [Remark("short", text)]
