"""The windows of a new table whose targets are known, and the scores of forecasts for them.

B windows, L look-back, H horizon, D input columns, T target columns, N rows, G groups.
"""

from pathlib import Path
from typing import Any

import numpy as np

from bench.config.contracts import Batch, Labelled
from bench.data.remarks import Remark
from bench.data.table_format import TableFormat
from bench.data.tables import Table, carry_forward, group_starts, read_table
from bench.errors import DataError
from bench.tasks import _windows
from bench.tasks._windows import group_key
from bench.wording import count

MOST_WINDOWS = 20_000
"""Windows that are scored, at most; evenly spaced if there are more."""


def labelled_windows(
    path: Path,
    arguments: dict[str, Any],
    meta: dict[str, Any],
    num_steps: int,
    fills: bool = True,
    most: int | None = MOST_WINDOWS,
) -> Labelled:
    """Return all windows of a table whose targets are known, `most` at most, standardised as in training.

    Windows with fewer than `num_steps` rows before them repeat the first if `fills`, and are shorter otherwise.
    `about` holds `remarks`, the `targets` and their `scale`, which is the deviation of each target, (B, T); the
    `table`, the first row of each of its groups, `starts`, and of each window the first target row and its group,
    `rows` and `group`, (B,). Raises DataError.
    """
    names, targets = meta["names"], list(dict.fromkeys(arguments["target"]))
    length, horizon = meta.get("length", num_steps), arguments.get("horizon", 1)
    table = read_table([path], names, TableFormat.of(arguments, time_form=meta.get("time_form")))
    starts = group_starts(table.groups)
    mean, scale = _scales(table, starts, names, meta)
    total = len(table.columns[names[0]])
    group = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, total]))
    incomplete = np.any([np.isnan(table.columns[name]) for name in targets], axis=0)
    columns = [carry_forward(table.columns[name], starts).astype(np.float64) for name in names]
    values = np.nan_to_num((np.stack(columns, axis=1) - mean[group]) / scale[group]).astype(np.float32)
    first, gaps = _first_rows(starts, total, incomplete, length, horizon)
    if not len(first):
        rule = (
            f"must have at least {length + horizon:,} rows of one series with known targets: {length:,} to look back "
        )
        raise DataError(f"{path}: {rule}on and {horizon:,} to forecast; give more rows")
    remarks = [*table.remarks, *([Remark("windows", gaps)] if gaps else [])]
    if most is not None and len(first) > most:
        remarks.append(Remark("windows", f"{most:,} of {count(len(first), 'window')} scored, evenly spaced"))
        first = first[np.arange(most) * len(first) // most]
    x = values[np.maximum(first[:, None] + np.arange(-num_steps, 0), starts[group[first]][:, None])]
    y = values[first[:, None] + np.arange(horizon), : len(targets)].reshape(len(first), -1)
    rows = np.minimum(first - starts[group[first]], num_steps)
    remarks += _windows.short_of(rows, num_steps)
    batch = Batch(x, np.full(len(x), num_steps), y) if fills else Batch(_windows.unfilled(x, rows), rows, y)
    about = {"remarks": remarks, "scale": scale[group[first], : len(targets)], "targets": targets}
    return Labelled(batch, about | {"table": table, "starts": starts, "rows": first, "group": group[first]})


def _first_rows(
    starts: np.ndarray, total: int, incomplete: np.ndarray, length: int, horizon: int
) -> tuple[np.ndarray, str]:
    """Return the first target row of each window, (B,), and how many windows a missing target takes, in words."""
    stops = np.r_[starts[1:], total]
    ranges = [np.arange(start + length, stop - horizon + 1) for start, stop in zip(starts, stops, strict=True)]
    first = np.concatenate(ranges) if ranges else np.zeros(0, dtype=int)
    missing = np.cumsum(np.r_[0, incomplete])
    known = missing[first + horizon] == missing[first]
    skipped = int((~known).sum())
    return first[known], f"{count(skipped, 'window')} skipped because a target is missing" if skipped else ""


def _scales(table: Table, starts: np.ndarray, names: list[str], meta: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of training for each group and column, (G, D) both.

    With a scale for each group, a group that training did not see has that of its own rows.
    """
    shape = (len(starts), len(names))
    mean, scale = (np.broadcast_to(np.array(meta[key], dtype=np.float64), shape).copy() for key in ("mean", "scale"))
    if "group_scale" in meta:
        number = {key: place for place, key in enumerate(meta["group_keys"])}
        stops = np.r_[starts[1:], len(table.columns[names[0]])]
        for row, name in enumerate(table.group_names):
            if group_key(name) in number:
                place = number[group_key(name)]
                mean[row], scale[row] = (meta[key][place] for key in ("group_mean", "group_scale"))
                continue
            for place, column in enumerate(names):
                known = table.columns[column][starts[row] : stops[row]].astype(np.float64)
                known = known[~np.isnan(known)]
                if len(known):
                    mean[row, place], scale[row, place] = known.mean(), known.std() or max(abs(known.mean()), 1.0)
    return mean, scale


def forecast_scores(outputs: np.ndarray, y: np.ndarray, scale: np.ndarray, naive: np.ndarray) -> dict[str, float]:
    """Return mean squared and mean absolute error of forecasts (B, H T), standardised, and the MASE.

    `naive` is the mean absolute error of the seasonal naive forecast on the training rows, and `scale` the deviation
    in its unit; (T,) both. MASE is the mean over the targets that vary in training.
    """
    error = (outputs.astype(np.float64) - y).reshape(len(outputs), -1, len(scale))
    scores = {"mse": float((error**2).mean()), "mae": float(np.abs(error).mean())}
    varies = naive > 0
    if varies.any():
        scaled = np.abs(error).mean((0, 1)) * scale
        scores["mase"] = float((scaled[varies] / naive[varies]).mean())
    return scores
