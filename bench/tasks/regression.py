"""One number a sequence, from a table: a row a step, or a row a sequence.

B batch, L steps, D input columns, N sequences.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.config.contracts import Batch, New, StoredTask
from bench.config.datasets import DataFile
from bench.data import sequences
from bench.data.files import prepare
from bench.data.remarks import Remark
from bench.data.splits import PARTS, check_splits, split_borders
from bench.data.table_format import TableFormat
from bench.data.tables import Table, group_starts, read_table
from bench.errors import DataError, DeclarationError

ALPHAS = (0.1, 1.0, 10.0, 100.0, 1e3)  # of the ridge; the best on val is taken


class Task(StoredTask):
    """Tell the `target` of a sequence from the last `length` steps of its `columns`.

    With `group`, a row is a step and the group column names the sequence it belongs to; the target stands in at least
    one of its rows, and is the same in all. Without, a row is a sequence and the columns are its steps from first to
    last; empty ones at the end mean that it is shorter. `columns` None: all that are neither target, group nor time.

    Sequences are put in the order of the SHA-256 of their name (without group: of their row number, from 1), and the
    first ones are for training, the next for val, the others for test: shares as `splits`, train and test rounded down,
    or numbers of sequences. Inputs and target are standardised with mean and deviation of the training sequences;
    `decode` turns answers back. A missing input is filled with the last value before it in its sequence, or with the
    training mean.

    Below, a table with two steps of s and one target y in each row: 1,2,10; 3,4,20; 5,6,30; 7,8,40. Two
    sequences are for training, by their hashes those of rows 4 and 3: means 6.5 and 35, deviations 1.12 and 5.

    Task(2, files=["s.csv"], target="y", splits=[2, 1, 1])
    x  0.45 1.34
    y       1.00
    """

    tokens, output_size, per_step, loss = False, 1, False, "mse"
    metric, goal, chance, solved, causal = "r2", "maximize", 0.0, None, False

    def __init__(
        self,
        length: int,
        *,
        files: Sequence[Any] = (),
        target: str = "",
        columns: Sequence[str] | None = None,
        group: str | None = None,
        time: str | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        header: bool = True,
        splits: Sequence[float] = (0.7, 0.1, 0.2),
    ) -> None:
        if length < 1:
            raise DeclarationError(f"regression: length: at least 1 step, but found {length}")
        if not files:
            raise DeclarationError("regression: files: none; name the table under [[files]] of the card")
        if not target or (columns is not None and (not columns or target in columns)):
            raise DeclarationError(f"regression: target {target!r}: one column, not among the columns {columns}")
        if time is not None and group is None:
            raise DeclarationError("regression: time: of the steps of a sequence; name the group column too")
        check_splits("regression", splits, "sequences")
        form = TableFormat(delimiter, encoding, header, time=time, group=group)
        prepared = prepare(
            "regression",
            [DataFile.model_validate(file) for file in files],
            [vars(form), target, columns, list(splits)],
            lambda paths: _make(paths, form, target, columns, splits),
        )
        self.meta = prepared.meta
        self._values, self._y = prepared.arrays["values"], prepared.arrays["y"]
        self._stop = prepared.arrays["stop"]
        edges = self.meta["edges"]  # sequences are stored in the order of the parts
        self._edge = dict(zip(PARTS, edges[:-1], strict=True))
        self.counts = {part: edges[i + 1] - edges[i] for i, part in enumerate(PARTS)}
        steps = np.diff(np.r_[0, self._stop])
        self.length, self.input_size = length, self._values.shape[1]
        self.num_steps = min(length, int(steps[: edges[1]].max()))
        # No longer than the longest of training: positions a model has never seen are not asked.
        self._steps = np.minimum(steps, self.num_steps)

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the sequences of a part at these places."""
        which = places + self._edge[part]
        length = self._steps[which].astype(np.int64)
        return Batch(sequences.padded(self._values, self._stop[which] - length, length), length, self._y[which])

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return answers in the target's own unit, (B,)."""
        return decode(outputs, self.meta)

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of the target's variance that is explained, and the mean absolute error in its unit."""
        error = outputs[:, 0].astype(np.float64) - batch.y
        variance = float(batch.y.var(dtype=np.float64))
        r2 = 1 - float((error**2).mean()) / variance if variance > 0 else 0.0
        return {"r2": r2, "mae": float(np.abs(error).mean()) * self.meta["scale"]}

    def baselines(self, size: int) -> dict[str, float]:
        """Return the r2 of the training mean, and of a ridge on what sums a sequence up."""
        from sklearn.linear_model import Ridge

        train, val, test = self._summary("train"), self._summary("val", size), self._summary("test", size)
        best, outputs = -np.inf, np.zeros((len(test[1].y), 1))
        for alpha in ALPHAS:
            model = Ridge(alpha=alpha).fit(train[0], train[1].y)
            r2 = self.score(model.predict(val[0])[:, None], val[1])["r2"]
            if r2 > best:
                best, outputs = r2, model.predict(test[0])[:, None]
        return {
            "mean": self.score(np.zeros((len(test[1].y), 1)), test[1])["r2"],
            "ridge on summary features": self.score(outputs, test[1])["r2"],
        }

    def _summary(self, part: str, size: int = 20_000) -> tuple[np.ndarray, Batch]:
        """Return of each sequence the mean, deviation, least, most, first and last of every channel, and its length."""
        count = self.counts[part]
        batch = self.take(part, np.arange(count) if count <= size else np.arange(size) * count // size)
        return sequences.summary_features(batch, self.num_steps), batch


def _edges(count: int, splits: Sequence[float]) -> list[int]:
    """Return where train, val and test begin and test ends, of `count` sequences."""
    edges = split_borders(count, splits)
    if edges[-1] > count or min(np.diff(edges)) < 1:
        parts = ", ".join(str(part) for part in np.diff(edges))
        raise DataError(f"regression: splits: {count:,} sequences cannot be parted into {parts}; give other splits")
    return edges


def _make(
    paths: list[Path], form: TableFormat, target: str, columns: Sequence[str] | None, splits: Sequence[float]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the steps of all sequences, part after part, and where each sequence ends."""
    wanted = None if columns is None else [*columns, target]
    grouped = form.group is not None
    table = read_table(paths, wanted, form, required=() if grouped else [target])
    if target not in table.columns:
        read_table(paths, [target], form)  # says which columns there are
    y = table.columns.pop(target)
    names = list(table.columns)
    if grouped:
        starts, ids = group_starts(table.groups), table.group_names
        y = _one_a_group(y, starts, ids, target, paths[0])
        steps = np.stack([table.columns.pop(name) for name in names], axis=1)
        lengths = np.diff(np.r_[starts, len(steps)])
    else:
        ids = [str(number) for number in range(1, len(y) + 1)]
        steps, lengths = _rows_as_steps(table, names, paths[0])
        starts = np.cumsum(np.r_[0, lengths[:-1]])
    order = np.array(sorted(range(len(ids)), key=lambda i: hashlib.sha256(ids[i].encode()).digest()))
    edges = _edges(len(order), splits)
    order = order[: edges[-1]]

    contents = [hashlib.sha256(steps[starts[i] : starts[i] + lengths[i]].tobytes()).digest() for i in order]
    remarks = list(table.remarks)
    remarks += sequences.repeated(contents, np.repeat(np.arange(len(PARTS)), np.diff(edges)), PARTS)
    num_missing = int(np.isnan(steps).sum())
    rows = np.concatenate([np.arange(starts[i], starts[i] + lengths[i]) for i in order])
    stop = np.cumsum(lengths[order])
    steps, y = steps[rows], y[order]
    train = steps[: stop[edges[1] - 1]]
    seen = ~np.isnan(train)
    if not seen.any(0).all():
        name = names[int((~seen.any(0)).argmax())]
        raise DataError(f"{paths[0]}: column '{name}': no value in the training sequences; leave the column out")
    mean, scale = sequences.training_scale(train)
    y_mean, y_scale = float(y[: edges[1]].mean(dtype=np.float64)), float(y[: edges[1]].std(dtype=np.float64))
    if not y_scale > 1e-6 * abs(y_mean):
        raise DataError(f"{paths[0]}: column '{target}': the same in all training sequences; nothing is to be learned")
    if num_missing:
        filled = f"{num_missing:,} missing values filled with the previous value, or the training mean"
        remarks.append(Remark("missing", filled))
    arrays = {
        "values": sequences.standardised(steps, np.r_[0, stop[:-1]], mean, scale),
        "stop": stop.astype(np.int64),
        "y": ((y - y_mean) / y_scale).astype(np.float32),
    }
    meta = {"columns": names, "mean": y_mean, "scale": y_scale, "edges": edges}
    meta |= {"input_mean": mean.tolist(), "input_scale": scale.tolist()}
    meta["ids"] = [ids[i] for i in order]
    return arrays, meta | {"remarks": remarks}


def _one_a_group(y: np.ndarray, starts: np.ndarray, ids: list[str], target: str, path: Path) -> np.ndarray:
    """Return the target of each sequence."""
    least = np.fmin.reduceat(y, starts)
    for rule, bad in (("no value", np.isnan(least)), ("more than one value", least != np.fmax.reduceat(y, starts))):
        if bad.any():
            name = ids[int(bad.argmax())]
            raise DataError(f"{path}: column '{target}': {rule} in sequence '{name}'; give each sequence exactly one")
    return least


def _rows_as_steps(table: Table, names: list[str], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of all rows one after the other, (steps, 1), without the empty ends; and their numbers."""
    rows = np.stack([table.columns.pop(name) for name in names], axis=1)
    known = ~np.isnan(rows)
    lengths = np.where(known.any(1), rows.shape[1] - known[:, ::-1].argmax(1), 0)
    if not lengths.all():
        raise DataError(f"{path}: row {int((lengths == 0).argmax()) + 1} of the data: no value in any step")
    return rows[np.arange(rows.shape[1]) < lengths[:, None]][:, None], lengths


# New files


def columns(arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, str]:
    """Return the columns of a table of new sequences."""
    keys = [arguments[key] for key in ("group", "time") if arguments.get(key) is not None]
    return dict.fromkeys(keys, "text") | dict.fromkeys(meta["columns"], "number")


def read_new(path: Path, length: int, arguments: dict[str, Any], meta: dict[str, Any]) -> New:
    """Return the sequences of a table, which needs no target. Raises DataError."""
    table = read_table([path], meta["columns"], TableFormat.of(arguments), partial=True)
    if table.groups is not None:
        starts, names = group_starts(table.groups), table.group_names
        steps = np.stack([table.columns[name] for name in meta["columns"]], axis=1)
        lengths = np.diff(np.r_[starts, len(steps)])
    else:
        steps, lengths = _rows_as_steps(table, meta["columns"], path)
        starts = np.cumsum(np.r_[0, lengths[:-1]])
        names = [str(number) for number in range(1, len(lengths) + 1)]
    mean, scale = np.array(meta["input_mean"]), np.array(meta["input_scale"])
    values = sequences.standardised(steps, starts, mean, scale)
    kept = np.minimum(lengths, length)
    about = {"names": names, "remarks": [*table.remarks, *sequences.cut(lengths, length, "last")]}
    return New(sequences.padded(values, starts + lengths - kept, kept), kept, about)


def answers(outputs: np.ndarray, new: New, arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """Return a row for each sequence: its name, or the number of its row from 1, and the target in its own unit."""
    return {arguments.get("group") or "row": new.about["names"], arguments["target"]: decode(outputs, meta)}


def decode(outputs: np.ndarray, meta: dict[str, Any]) -> np.ndarray:
    """Return answers in the target's own unit, (B,)."""
    return np.asarray(outputs.reshape(-1) * meta["scale"] + meta["mean"])
