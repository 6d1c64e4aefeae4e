"""A table as standardised values, and the stretches of rows in which forecasting windows may lie.

D input columns, N rows, G groups, K stretches.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import wording
from bench.data.remarks import Remark
from bench.data.splits import PARTS, VAL_SHARE, file_parts, split_borders
from bench.data.table_format import TableFormat
from bench.data.tables import Table, carry_forward, group_starts, read_table
from bench.errors import DataError


def make(
    paths: list[Path],
    form: TableFormat,
    names: list[str],
    num_targets: int,
    splits: Sequence[float] | Mapping[str, Any],
    season: int | None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the columns `names`, targets first, as values (N, D), with their stretches, and the training scale.

    Stretches are rows that follow each other in one part of one group: `blocks`, and `runs` that also have no row
    with a missing target. Raises DataError.
    """
    table = read_table(paths, names, form)
    count, remarks = len(table.columns[names[0]]), list(table.remarks)
    starts = group_starts(table.groups)
    part = _part_of_rows(table, starts, count, splits, paths)
    train = part == 0
    incomplete = np.zeros(count, dtype=bool)  # a target is missing
    values = np.empty((count, len(names)), dtype=np.float32)
    scales: dict[str, list[float]] = {"mean": [], "scale": [], "naive": []}
    for place, name in enumerate(names):
        column = table.columns.pop(name)  # frees each column after its copy
        missing = np.isnan(column)
        if place < num_targets:
            incomplete |= missing
            scales["naive"].append(naive_error(column, train, starts, season or 1))
        mean, scale = _training_scale(column[train & ~missing], f"{paths[0]}: column '{name}'")
        scales["mean"].append(mean)
        scales["scale"].append(scale)
        if missing.any():
            column = carry_forward(column, starts)
            filled = _filled(int(missing.sum()), int(np.isnan(column).sum()))
            remarks.append(Remark("missing", filled, name))
        values[:, place] = standardised(column, mean, scale)
    blocks, runs = (_stretches(part, starts, apart) for apart in (np.zeros(count, dtype=bool), incomplete))
    arrays = {"values": values, "blocks": blocks, "runs": runs, "starts": starts}
    if table.times is not None:
        arrays["times"] = table.times
    rows = [int((part == number).sum()) for number in range(len(PARTS))]
    meta = {"names": names, **scales, "rows": rows, "remarks": remarks}
    meta |= {"groups": table.group_names, "time_form": table.time_form and table.time_form.form}
    return arrays, meta


def standardised(column: np.ndarray, mean: float, scale: float) -> np.ndarray:
    """Return a column (N,) on the training scale; gaps that are left become the training mean."""
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
    named = ", ".join(f"'{name}'" for name in short[:5]) + ", …" * (len(short) > 5)
    count = f"{len(short):,} of {len(groups):,} groups"
    return [Remark("groups", f"{count} have too few rows for a window and are skipped ({named})")]


def _training_scale(known: np.ndarray, where: str) -> tuple[float, float]:
    """Return mean and deviation of the known training values of a column; a deviation of 1 if it is constant."""
    if not len(known):
        raise DataError(f"{where} has no value in the training part; leave the column out, or use other splits")
    known = known.astype(np.float64)
    mean, deviation = float(known.mean()), float(known.std())
    return mean, deviation if deviation > 1e-6 * abs(mean) else 1.0  # float32 resolves no more


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


def _between(place: np.ndarray, edges: list[int]) -> np.ndarray:
    part = np.searchsorted(edges, place, side="right") - 1
    return np.where(part < len(PARTS), part, -1).astype(np.int8)


def _checked(edges: list[int], count: int, unit: str) -> list[int]:
    if edges[-1] > count:
        raise DataError(f"forecasting: splits: need {edges[-1]:,} {unit}, but the table has {count:,}; use fewer")
    return edges


def _stretches(part: np.ndarray, starts: np.ndarray, apart: np.ndarray) -> np.ndarray:
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
