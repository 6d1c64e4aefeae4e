"""One number for each sequence, from a table with one row for each step, or one row for each sequence.

B batch, L steps, D input columns, N sequences, S steps of all sequences.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import wording
from bench.config import contracts
from bench.config.contracts import Batch, Labelled, New, Sampling, Trained
from bench.data import leaks, sequences, series_tables
from bench.data.files import prepare
from bench.data.remarks import Remark
from bench.data.series_tables import Series
from bench.data.splits import PARTS, VAL_SHARE, check_table_splits, file_parts, split_borders, split_column
from bench.data.table_format import TableFormat
from bench.data.tables import Table, group_starts, read_table
from bench.errors import DataError, DeclarationError
from bench.tasks._sequences import StoredSequences, checked_files

SPLIT_BY = "name the splits in a column (--split-by), earlier sequences for training"


class Task(StoredSequences):
    """Predict the `target` of a sequence from the last `length` steps of its `columns`.

    Args:
        length: Number of steps that a model reads, at least 1. Shorter sequences are padded.
        files: The files of the dataset card: one or more tables with the same columns.
        target: Column to predict. With `group` it needs a value in at least one row of each sequence, always the same.
        columns: Input columns; by default all that are neither target, group nor time. Without `group` they are the
            steps from first to last; empty ones at the end mean that the sequence is shorter.
        group: Column that names the sequence a row belongs to, if a row is a step; None if a row is a sequence.
        time: Column of times, which orders the steps of a sequence; needs `group`.
        window: Rows of a sequence, if the table is one series. It is cut into windows that do not overlap; the target
            of a window is the mean of its known values, and windows without one are skipped. None: no windows.
        delimiter: Of the files; detected by default.
        encoding: Of the files; detected by default.
        header: Whether the first line holds the names of the columns; else they are named "1", "2", ...
        splits: Shares of train, val and test, of which train and test are rounded down; or numbers of sequences.
            Sequences are split in the order of the SHA-256 of their name (without `group`: row number, from 1), and
            windows in the order of the rows. Or a rule, but not for windows: `by = "column"` with the `column` that
            names the part of each row, or `by = "file"` with lists of files for `train` and `test`. A rule without
            `val` takes it from train, `val_share` of its sequences.

    Inputs and target are standardised with mean and deviation of the training sequences; `decode` undoes it. A missing
    input becomes the last value before it in its sequence, or the training mean.

    Below, a table with two steps of s and one target y in each row: 1,2,10; 3,4,20; 5,6,30; 7,8,40. Two
    sequences are for training, by their hashes those of rows 4 and 3: means 6.5 and 35, deviations 1.12 and 5.

    Task(2, files=["s.csv"], target="y", splits=[2, 1, 1])
    x  0.45 1.34
    y       1.00
    """

    tokens, output_size, per_step, loss = False, 1, False, "mse"
    metric, goal, chance, solved, causal = "r2", "maximize", 0.0, None, False
    kind = "series"

    def __init__(
        self,
        length: int,
        *,
        files: Sequence[Any] = (),
        target: str = "",
        columns: Sequence[str] | None = None,
        group: str | None = None,
        time: str | None = None,
        window: int | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        header: bool = True,
        splits: Sequence[float] | Mapping[str, Any] = (0.7, 0.1, 0.2),
    ) -> None:
        data_files = checked_files("regression", length, files)
        if not target or (columns is not None and (not columns or target in columns)):
            raise DeclarationError(
                f"regression: target: must be one column, not one of {columns}, but found {target!r}"
            )
        if time is not None and group is None:
            raise DeclarationError("regression: time: orders the steps of a sequence; name the group column as well")
        check_table_splits("regression", splits, "sequences")
        if window is not None:
            _check_window(window, group, splits)
        rule = dict(splits) if isinstance(splits, Mapping) else list(splits)
        form = TableFormat(delimiter, encoding, header, time=time, group=group, split_by=split_column(splits))
        how = [vars(form), target, columns, rule, window]
        prepared = prepare("regression", data_files, how, lambda p: _make(p, form, target, columns, rule, window))
        super().__init__(prepared, length, keep="last")
        self.input_size = self._values.shape[1]

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return answers in the unit of the target, (B,)."""
        return decode(outputs, self.meta)

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the explained share of the target's variance (at most 1), and the mean absolute error in its unit."""
        return _scores(outputs, batch.y, self.meta["scale"])


def _scores(outputs: np.ndarray, y: np.ndarray, scale: float) -> dict[str, float]:
    error = outputs[:, 0].astype(np.float64) - y
    variance = float(y.var(dtype=np.float64))
    r2 = 1 - float((error**2).mean()) / variance if variance > 0 else 0.0
    return {"r2": r2, "mae": float(np.abs(error).mean()) * scale}


def decode(outputs: np.ndarray, meta: dict[str, Any]) -> np.ndarray:
    """Return answers in the unit of the target, (B,)."""
    return np.asarray(outputs.reshape(-1) * meta["scale"] + meta["mean"])


# Preparation


def _check_window(window: int, group: str | None, splits: Sequence[float] | Mapping[str, Any]) -> None:
    """Raise DeclarationError unless a table can be cut into windows."""
    if window < 1:
        raise DeclarationError(f"regression: window: must be at least 1 row, but found {window}")
    if group is not None or isinstance(splits, Mapping):
        wrong = f"group = '{group}'" if group is not None else "a rule for the splits"
        raise DeclarationError(f"regression: window: cuts one series in the order of its rows; leave out {wrong}")


def _windows(table: Table, window: int, path: Path, target: str | None = None) -> Table:
    """Return a table whose groups are windows of rows, named by their first row, from 1; rows at the end are left out.

    Each row has the mean `target` of its window, and windows without a value are left out. Raises DataError.
    """
    rows = len(next(iter(table.columns.values())))
    count = rows // window
    if not count:
        raise DataError(f"{path}: must have at least {window} rows, one window, but has {rows}; give more rows")
    columns = {name: column[: count * window].reshape(count, window) for name, column in table.columns.items()}
    kept = np.ones(count, dtype=bool)
    if target is not None:
        known = (~np.isnan(columns[target])).sum(1)
        kept = known > 0
        sums = np.nan_to_num(columns[target]).sum(1, dtype=np.float64)
        columns[target] = np.repeat((sums / np.maximum(known, 1))[:, None], window, axis=1)
    return table._replace(
        columns={name: column[kept].ravel() for name, column in columns.items()},
        groups=np.repeat(np.arange(int(kept.sum()), dtype=np.int32), window),
        group_names=[str(number * window + 1) for number in np.flatnonzero(kept)],
        remarks=table.remarks + _left_out(rows, window, int((~kept).sum())),
    )


def _left_out(rows: int, window: int, without_target: int) -> list[Remark]:
    """Return remarks on rows that fill no window, and on windows without a target."""
    remarks = []
    if rows % window:
        remarks.append(Remark("windows", f"the last {wording.count(rows % window, 'row')} fill no window of {window}"))
    if without_target:
        windows = f"{without_target:,} of {rows // window:,} windows"
        remarks.append(Remark("windows", f"{windows} have no value of the target and are skipped"))
    return remarks


def _make(
    paths: list[Path],
    form: TableFormat,
    target: str,
    columns: Sequence[str] | None,
    splits: Sequence[float] | Mapping[str, Any],
    window: int | None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the steps of all sequences in the order of the parts, where each sequence ends, and its target."""
    wanted = None if columns is None else [*columns, target]
    required = () if form.group is not None or window is not None else (target,)
    is_by_file = isinstance(splits, Mapping) and splits["by"] == "file"
    table = read_table(paths, wanted, form, required=required, apart=is_by_file)
    if target not in table.columns:
        read_table(paths, [target], form)  # raises an error that names the columns
    if window is not None:
        table = _windows(table, window, paths[0], target)
    y = table.columns.pop(target)
    names = list(table.columns)
    if table.groups is not None:
        y = _one_per_group(y, table, target, paths[0])
    series = series_tables.from_table(table, names, paths[0])
    order = _order(series.names, window is not None)
    if isinstance(splits, Mapping):
        order, edges = _by_rule(order, _named_parts(table, splits, paths), splits.get("val_share", VAL_SHARE))
    else:
        edges = _edges(len(y), splits)
        order = order[: edges[-1]]
    part = np.repeat(np.arange(len(PARTS)), np.diff(edges))
    remarks = table.remarks + sequences.repeated(_contents(series, order), part, PARTS)
    remarks += _leaks(table, series, y, None if isinstance(splits, Mapping) else form.time)

    first, lengths, y = series.starts[order], series.lengths[order], y[order]
    rows = np.concatenate([np.arange(start, start + length) for start, length in zip(first, lengths, strict=True)])
    remarks += leaks.overlapping(series.steps[rows], lengths, part, PARTS, SPLIT_BY)
    channels = [f"column '{name}'" for name in names]
    scaled = series_tables.scaled(series.steps[rows], lengths, edges[1], paths[0], channels)
    mean, scale = (float(f(y[: edges[1]], dtype=np.float64)) for f in (np.mean, np.std))
    if not scale > sequences.resolution(y) * abs(mean):
        rule = "must vary, but it is the same in all training sequences"
        raise DataError(f"{paths[0]}: column '{target}': {rule}; choose another target")
    arrays = {
        "values": scaled.values,
        "stop": np.cumsum(lengths).astype(np.int64),
        "y": ((y - mean) / scale).astype(np.float32),
    }
    meta = {"columns": names, "mean": mean, "scale": scale, "edges": edges}
    meta |= {"input_mean": scaled.mean.tolist(), "input_scale": scaled.scale.tolist()}
    return arrays, meta | {"ids": [series.names[i] for i in order], "remarks": remarks + scaled.remarks}


def _leaks(table: Table, series: Series, y: np.ndarray, time: str | None) -> list[Remark]:
    """Return remarks on columns that tell the target, and on sequences that a split mixes in time."""
    if table.groups is None:
        return leaks.in_columns(table.columns, y)
    starts = series.starts
    remarks = leaks.in_columns(table.columns)
    constant = {
        name: column[starts]
        for name, column in table.columns.items()
        if (np.fmin.reduceat(column, starts) == np.fmax.reduceat(column, starts)).all()
    }
    remarks += leaks.in_columns(constant, y)
    if table.times is not None and time is not None:
        remarks += leaks.in_turn(table.times, starts, time, SPLIT_BY)
    return remarks


def _order(names: list[str], in_turn: bool) -> np.ndarray:
    """Return the order in which sequences are split: that of the table, or of the SHA-256 of their names."""
    if in_turn:
        return np.arange(len(names))
    return np.array(sorted(range(len(names)), key=lambda i: hashlib.sha256(names[i].encode()).digest()))


def _edges(count: int, splits: Sequence[float]) -> list[int]:
    """Return where train, val and test begin and test ends, of `count` sequences. Raises DataError."""
    edges = split_borders(count, splits)
    if edges[-1] > count or min(np.diff(edges)) < 1:
        sizes = ", ".join(str(size) for size in np.diff(edges))
        raise DataError(f"regression: splits: {count:,} sequences cannot be split into {sizes}; use other splits")
    return edges


def _named_parts(table: Table, rule: Mapping[str, Any], paths: list[Path]) -> np.ndarray:
    """Return the part of each sequence that a column or its file names, (N,) int8. Raises DataError."""
    if table.parts is not None:
        part, where = table.parts, f"{paths[0]}: column '{rule['column']}'"
    else:
        where = ", ".join(path.name for path in paths)
        rows = np.zeros(len(next(iter(table.columns.values()))), dtype=np.int32) if table.files is None else table.files
        part = file_parts(rule, [path.name for path in paths])[rows]
    if table.groups is None:
        return part
    starts = group_starts(table.groups)
    mixed = np.minimum.reduceat(part, starts) != np.maximum.reduceat(part, starts)
    if mixed.any():
        name = table.group_names[int(mixed.argmax())]
        raise DataError(f"{where}: the rows of sequence '{name}' are in more than one split; keep them in one")
    return part[starts]


def _by_rule(order: np.ndarray, part: np.ndarray, val_share: float) -> tuple[np.ndarray, list[int]]:
    """Return the sequences in the order of their parts, and their edges. An empty val is taken from train."""
    train, val, test = (order[part[order] == number] for number in range(len(PARTS)))
    if not len(val):
        count = max(1, round(len(train) * val_share))
        train, val = train[count:], train[:count]
    if not len(train):
        raise DataError("regression: splits leave train without a sequence; name more sequences of train")
    return np.concatenate([train, val, test]), [0, *np.cumsum([len(train), len(val), len(test)]).tolist()]


def _contents(series: Series, order: np.ndarray) -> list[bytes]:
    """Return the SHA-256 of the steps of each sequence."""
    stops = series.starts + series.lengths
    return [hashlib.sha256(series.steps[series.starts[i] : stops[i]].tobytes()).digest() for i in order]


def _one_per_group(y: np.ndarray, table: Table, target: str, path: Path) -> np.ndarray:
    """Return the target of each sequence, (N,). Raises DataError for a sequence without one or with several."""
    starts = group_starts(table.groups)
    least = np.fmin.reduceat(y, starts)
    for problem, bad in (("no value", np.isnan(least)), ("more than one value", least != np.fmax.reduceat(y, starts))):
        if bad.any():
            name = table.group_names[int(bad.argmax())]
            raise DataError(f"{path}: column '{target}': {problem} in sequence '{name}'; each needs exactly one")
    return least


# Prediction


class Predictor(contracts.Predictor):
    """Predict the target of the sequences in a table, which needs no target column."""

    @property
    def needs(self) -> dict[str, type]:
        """The keys of `meta` that answers depend on, and the types of their values."""
        return {"columns": list, "mean": float, "scale": float, "input_mean": list, "input_scale": list}

    def read(self, path: Path, num_steps: int) -> New:
        """Return the sequences of a table. Raises DataError."""
        table = self._table(path, self.meta["columns"])
        series = series_tables.from_table(table, self.meta["columns"], path)
        mean, scale = np.array(self.meta["input_mean"]), np.array(self.meta["input_scale"])
        values = sequences.standardised(series.steps, series.starts, mean, scale)
        kept = np.minimum(series.lengths, num_steps)
        remarks = [*table.remarks, *sequences.cut(series.lengths, num_steps, "last")]
        x = sequences.padded(values, series.starts + series.lengths - kept, kept)
        return New(x, kept, {"names": series.names, "remarks": remarks})

    @property
    def window(self) -> int | None:
        """Rows of a sequence, if the table is one series."""
        return self.arguments.get("window")

    def _table(self, path: Path, columns: list[str]) -> Table:
        """Return columns of a file, in windows if there are any."""
        table = read_table([path], columns, TableFormat.of(self.arguments), partial=True)
        return table if self.window is None else _windows(table, self.window, path)

    def answer(self, model: Trained, new: New, sampling: Sampling) -> dict[str, Any]:
        """Return a row for each sequence: its name, or (first) row number from 1, and the target in its own unit."""
        name = self.arguments.get("group") or "row"
        answers = decode(model.outputs(new.x, new.length), self.meta)
        return {name: new.about["names"], self.arguments["target"]: answers}

    def labelled(self, path: Path, num_steps: int) -> Labelled:
        """Return the sequences of a table with their targets. Raises DataError."""
        new, target = self.read(path, num_steps), self.arguments["target"]
        table = self._table(path, [target])
        y = table.columns[target]
        if self.window is not None:
            table = _windows(table, self.window, path, target)
            known = np.isin(new.about["names"], table.group_names)
            new = new._replace(x=new.x[known], length=new.length[known])
            y = table.columns[target][:: self.window]
        elif table.groups is not None:
            y = _one_per_group(y, table, target, path)
        elif np.isnan(y).any():
            rule = f"row {int(np.isnan(y).argmax()) + 1} has no value"
            raise DataError(f"{path}: column '{target}': {rule}; fill it in, or remove the row")
        y = ((y - self.meta["mean"]) / self.meta["scale"]).astype(np.float32)
        return Labelled(Batch(new.x, new.length, y), new.about)

    def example(self, num_steps: int, rows: int = 1) -> dict[str, Any] | None:
        """Return a table of new sequences that shows the form: one window, if there are windows."""
        return super().example(num_steps, max(rows, self.window or 1))

    def scores(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the explained share of the target's variance, and the mean absolute error in its unit."""
        return _scores(outputs, batch.y, self.meta["scale"])
