"""Which rows of a table are anomalous: a column of labels, or the windows of the Numenta Anomaly Benchmark.

N rows.
"""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from bench.data.tables import Table, group_starts
from bench.errors import DataError


def of_column(table: Table, label: str, path: Path) -> np.ndarray:
    """Return the number of the anomaly of each row by a column of 0 and 1, (N,). Raises DataError.

    An empty cell is 0.
    """
    column = np.nan_to_num(table.columns[label])
    bad = (column != 0) & (column != 1)
    if bad.any():
        rule = f"must hold 0 for normal and 1 for anomalous rows, but row {int(bad.argmax()) + 1:,} holds"
        raise DataError(f"{path}: column '{label}': {rule} {column[bad.argmax()]:g}; correct it")
    return _numbered(column == 1, group_starts(table.groups))


def of_windows(table: Table, windows: Path) -> np.ndarray:
    """Return the number of the anomaly of each row by NAB's file of windows, (N,). Raises DataError.

    The file holds a list of first and last times under "FOLDER/FILE.csv" for each series FILE.
    """
    try:
        stored = json.loads(windows.read_text())
        known = {PurePosixPath(name).stem: spans for name, spans in stored.items()}
        spans = {series: _times(known[series]) for series in table.group_names}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{windows}: no windows of the series: {error!r}; give the file of the benchmark") from None
    if table.times is None or table.groups is None:
        raise DataError(f"{windows}: windows need series with times; name both columns")
    anomalous = np.zeros(len(table.times), dtype=bool)
    for number, series in enumerate(table.group_names):
        for first, last in spans[series]:
            anomalous |= (table.groups == number) & (table.times >= first) & (table.times <= last)
    return _numbered(anomalous, group_starts(table.groups))


def _times(spans: Sequence[Sequence[str]]) -> np.ndarray:
    """Return first and last times, (K, 2) int64 nanoseconds."""
    return np.array(spans, dtype="datetime64[ns]").astype(np.int64).reshape(-1, 2)


def _numbered(anomalous: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return for each anomalous row (N,) the number of its stretch of such rows in one series, from 1 on; else 0."""
    first = anomalous.copy()
    first[1:] &= ~anomalous[:-1]
    first[starts] = anomalous[starts]
    return np.where(anomalous, np.cumsum(first), 0)
