"""Tables and arrays of a Python program as files, which the readers take and from which a sweep can be resumed.

A file is named after a hash of what it holds, so that the same data are written once: FOLDER/HASH/frame.parquet or
FOLDER/HASH/arrays.npz.

N examples, S steps, D channels.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import DataError, DeclarationError

FRAME, ARRAYS = "frame.parquet", "arrays.npz"
EXAMPLE, TARGET, TIME = "example", "target", "time"
"""Columns that arrays get as a table, and a frame whose index holds times."""


def is_paths(data: Any, y: Any = None) -> bool:
    """Return whether data are named by a path or by a list of paths. A list of texts has labels in `y`."""
    if isinstance(data, str | Path):
        return True
    return isinstance(data, list | tuple) and y is None and bool(data) and all(map(is_paths, data))


def store(data: Any, y: Any, task: str | None, layout: str | None, folder: Path) -> tuple[Path, bool]:
    """Return the file below `folder` that holds a table or arrays, and whether it was written now. Raises DataError."""
    content = as_table(data, y, task, layout)
    if isinstance(content, pd.DataFrame):
        path = folder / _hash_of_frame(content) / FRAME
    else:
        path = folder / _hash(content) / ARRAYS
    if path.exists():
        return path, False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(content, part)
        part.rename(path)
    except BaseException:
        forget(path)
        raise
    return path, True


def forget(path: Path) -> None:
    """Remove a file that `store` has written, and the folders that are empty without it."""
    shutil.rmtree(path.parent, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.parents[1].rmdir()
        path.parents[2].rmdir()


def write(content: "pd.DataFrame | dict[str, np.ndarray]", path: Path) -> None:
    """Write a table as Parquet, or arrays as .npz. Raises DataError for a column that is neither numbers nor text."""
    if not isinstance(content, pd.DataFrame):
        with path.open("wb") as file:  # under a name, numpy would append .npz to it
            np.savez(file, **content)
        return
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    columns = {}
    for name, column in content.items():
        try:
            columns[name] = pa.array(column, from_pandas=True)
            if pa.types.is_nested(columns[name].type):
                raise TypeError("lists and dictionaries are no cells of a table")
        except (pa.ArrowException, TypeError, ValueError) as error:
            kinds = sorted({type(value).__name__ for value in column.dropna().head(1000)})
            rule = f"must hold numbers, times or texts, but holds {' and '.join(kinds)}"
            raise DataError(
                f"DataFrame: column '{name}' {rule}; convert it with astype(float) or astype(str)"
            ) from error
    parquet.write_table(pa.table(columns), path)


def as_table(
    data: Any, y: Any = None, task: str | None = None, layout: str | None = None
) -> "pd.DataFrame | dict[str, np.ndarray]":
    """Return data of a Python program as a table, or as the arrays x, y and length of labelled sequences.

    The reader of arrays decides about their layout; here it decides only for those that become a table.
    Raises DataError and DeclarationError.
    """
    if hasattr(data, "to_pandas"):  # Polars, PyArrow
        data = data.to_pandas()
    if isinstance(data, pd.Series):
        data = data.to_frame("value" if data.name is None else data.name)
    if isinstance(data, pd.DataFrame):
        if y is not None:
            raise DeclarationError("y is for arrays; a DataFrame has its labels in a column, named by label or target")
        return _checked(data)
    if isinstance(data, list | tuple) and data and all(isinstance(text, str) for text in data):
        return pd.DataFrame({"text": list(data)} | ({} if y is None else {"label": _labels(y, len(data))}))
    x, length = _sequences(data)
    if task in ("forecasting", "anomaly"):
        if y is not None or x.ndim > 2:
            rule = "an array of shape (steps,) or (steps, channels), and no y"
            raise DataError(f"array: a series to forecast is {rule}, but x has shape {x.shape}")
        names = ["value"] if x.ndim == 1 else [f"channel_{number}" for number in range(1, x.shape[1] + 1)]
        return pd.DataFrame(x.reshape(len(x), -1), columns=names)
    if x.ndim not in (2, 3):
        raise DataError(f"array: x must have shape (examples, steps) or (examples, steps, channels), but has {x.shape}")
    if task == "regression":
        _check_layout(x, layout)
        return _long(x, length, None if y is None else _labels(y, len(x)))
    arrays = {"x": x} | ({} if length is None else {"length": length})
    return arrays if y is None else arrays | {"y": _labels(y, len(x))}


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with its index as columns, if that has times or names. Raises DataError."""
    index = frame.index
    if isinstance(index, pd.PeriodIndex):
        frame = frame.set_axis(index.to_timestamp())
    if isinstance(index, pd.DatetimeIndex | pd.PeriodIndex) and index.name is None:
        frame = frame.rename_axis(TIME)
    if isinstance(frame.columns, pd.MultiIndex):
        raise DataError(
            "DataFrame: columns have several levels; give each one name, for example with columns.map('_'.join)"
        )
    kept = [str(name) for name in frame.index.names if name is not None]
    columns = [str(name) for name in frame.columns]
    twice = [name for name in dict.fromkeys([*kept, *columns]) if [*kept, *columns].count(name) > 1]
    if twice:
        what = "is also the name of the index" if twice[0] in kept else "occurs twice"
        raise DataError(f"DataFrame: column '{twice[0]}' {what}; rename or drop one of them")
    if not len(frame) or not columns:
        raise DataError(f"DataFrame: must have rows and columns, but has {len(frame)} and {len(columns)}")
    levels = {name: frame.index.get_level_values(place) for place, name in enumerate(frame.index.names)}
    parts = {str(name): pd.Series(level).reset_index(drop=True) for name, level in levels.items() if name is not None}
    parts |= {name: frame.iloc[:, place].reset_index(drop=True) for place, name in enumerate(columns)}
    return pd.DataFrame({name: _plain(column) for name, column in parts.items()})


def _plain(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column with the values of its categories."""
    return column.astype(column.cat.categories.dtype) if isinstance(column.dtype, pd.CategoricalDtype) else column


def _sequences(data: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return an array of numbers; of sequences of unequal length, padded with NaN, also their lengths (N,)."""
    if isinstance(data, list | tuple):
        parts = [np.asarray(part, dtype=float) for part in data]
        if len({part.shape for part in parts}) > 1:
            if {part.ndim for part in parts} not in ({1}, {2}) or len({part.shape[1:] for part in parts}) > 1:
                rule = "of shape (steps,), or all of shape (steps, channels) with the same channels"
                raise DataError(f"array: sequences must all be {rule}; their shapes differ")
            length = np.array([len(part) for part in parts])
            padded = np.full((len(parts), length.max(), *parts[0].shape[1:]), np.nan, dtype=np.float64)
            for row, part in zip(padded, parts, strict=True):
                row[: len(part)] = part
            return padded, length
    try:
        x = np.asarray(data)
    except Exception as error:  # noqa: BLE001 - of any object
        raise DataError(f"data: must be a path, a DataFrame or an array, but is a {type(data).__name__}") from error
    if x.dtype.kind not in "iufb" or x.ndim == 0:
        kind = f"{type(data).__name__} of {x.dtype}" if x.ndim else type(data).__name__
        raise DataError(f"data: must be a path, a DataFrame or an array of numbers, but is a {kind}")
    if not x.size:
        raise DataError(f"array: must not be empty, but has shape {x.shape}")
    return x, None


def _labels(y: Any, count: int) -> np.ndarray:
    """Return labels or targets (N,). Raises DataError."""
    labels = np.asarray(y)
    if labels.dtype.kind == "O":
        labels = labels.astype(str)
    if labels.shape != (count,):
        raise DataError(f"y: must have one value for each of {count:,} examples, but has shape {labels.shape}")
    return labels


def _check_layout(x: np.ndarray, layout: str | None) -> None:
    """Raise DeclarationError if channels may come before steps, and no layout is given."""
    are_few = x.ndim == 3 and x.shape[1] <= x.shape[2]
    if layout == "channels-first" or (layout is None and are_few):
        rule = f"regression reads arrays of shape (examples, steps, channels), and x has shape {x.shape}"
        fix = 'give x.swapaxes(1, 2) if channels come first, or layout="channels-last" if they do not'
        raise DeclarationError(f"array: {rule}; {fix}")


def _long(x: np.ndarray, length: np.ndarray | None, y: np.ndarray | None) -> pd.DataFrame:
    """Return sequences (N, S) or (N, S, D) as a table with a row for each step, and the target in every row."""
    x = x[..., None] if x.ndim == 2 else x
    kept = np.arange(x.shape[1]) < (np.full(len(x), x.shape[1]) if length is None else length)[:, None]
    example = np.broadcast_to(np.arange(len(x))[:, None], kept.shape)[kept]
    columns = {EXAMPLE: example} | {f"channel_{place + 1}": x[..., place][kept] for place in range(x.shape[2])}
    return pd.DataFrame(columns if y is None else columns | {TARGET: y[example]})


def _hash_of_frame(frame: pd.DataFrame) -> str:
    """Return a hash of names, types and values."""
    described = [f"{name}\0{column.dtype}\0" for name, column in frame.items()]
    try:
        values = [pd.util.hash_pandas_object(column, index=False).to_numpy() for _, column in frame.items()]
    except TypeError:  # lists, for example, cannot be hashed; `write` says so in words
        values = [np.frombuffer(repr(frame.to_dict()).encode(), dtype=np.uint8)]
    return _digits([*(part.encode() for part in described), *(value.tobytes() for value in values)])


def _hash(arrays: dict[str, np.ndarray]) -> str:
    described = [f"{name}\0{array.dtype.str}\0{array.shape}\0".encode() for name, array in arrays.items()]
    return _digits([*described, *(np.ascontiguousarray(array).tobytes() for array in arrays.values())])


def _digits(parts: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:12]
