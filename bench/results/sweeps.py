"""Where the sweeps of a results folder are, and their records as one table."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DeclarationError, UnknownNameError
from bench.results.record import records

if TYPE_CHECKING:
    import pandas as pd


def find(results: Path, names: Sequence[str], say: Callable[[str], None] = lambda line: None) -> list[Path]:
    """Return the folders of the sweeps named; without names, of the newest sweep that has results.

    If a newer sweep has no finished run yet, `say` gets a line about it. Raises DeclarationError if there is no sweep,
    and UnknownNameError.
    """
    folder = results / "sweeps"
    known = {path.name: path for path in sorted(folder.glob("*")) if (path / "sweep.json").exists()}
    if not known:
        raise DeclarationError(f"{folder}: no sweep here yet; run: python -m bench sweep")
    for name in names:
        if name not in known:
            raise UnknownNameError("sweep", name, known)
    if names:
        return [known[name] for name in names]
    newest_first = sorted(known.values(), key=lambda path: (path / "sweep.json").stat().st_mtime, reverse=True)
    newest = newest_first[0]
    chosen = next((path for path in newest_first if _has_results(path)), newest)
    if chosen != newest:
        say(f"sweep {newest.name} has no finished run yet; this is sweep {chosen.name}, the newest that has one")
    return [chosen]


def every(results: Path) -> list[Path]:
    """Return the folders of all sweeps. Raises DeclarationError if there is none."""
    find(results, ())
    return sorted(path.parent for path in (results / "sweeps").glob("*/sweep.json"))


def _has_results(sweep: Path) -> bool:
    return any((sweep / "runs").rglob("record.json"))


ROWS_AT_ONCE = 1_000
"""Runs of equal fields that `load` adds to its columns at once."""


def load(results: str | Path = "results", *sweeps: str) -> "pd.DataFrame":
    """Return the records of a results folder, one row a run, with nested fields flattened by dots, for notebooks.

    Without names, those of all sweeps. Raises StoreError if a record is damaged.
    """
    import pandas as pd  # here: `find` answers before anything slow is imported

    folders = find(Path(results), sweeps) if sweeps else sorted((Path(results) / "sweeps").glob("*/"))
    # Column by column, because the rows of 100,000 runs as dictionaries take gigabytes.
    columns: dict[str, list[Any]] = {}
    names: list[str] = []
    rows: list[tuple[Any, ...]] = []
    count = 0
    for folder in folders:
        for record in records(folder):
            found = _flat(record.model_dump(exclude={"epochs"}))
            if list(found) != names or len(rows) == ROWS_AT_ONCE:
                count += _put(columns, count, names, rows)
                names, rows = list(found), []
            rows.append(tuple(found.values()))
    count += _put(columns, count, names, rows)
    for column in columns.values():
        column += [math.nan] * (count - len(column))
    return pd.DataFrame(columns, index=range(count))


def _put(columns: dict[str, list[Any]], count: int, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> int:
    """Add rows to columns of up to `count` values; return how many rows. What a run has no value for is NaN."""
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        column = columns.setdefault(name, [])
        column += [math.nan] * (count - len(column))
        column += values
    return len(rows)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a run by name, those of nested fields last, as pandas.json_normalize orders them."""
    found = {name: value for name, value in row.items() if not isinstance(value, dict)}
    for name, value in row.items():
        if isinstance(value, dict):
            _add_leaves(found, f"{name}.", value)
    return found


def _add_leaves(found: dict[str, Any], prefix: str, values: Mapping[Any, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _add_leaves(found, f"{prefix}{key}.", value)
        else:
            found[f"{prefix}{key}"] = value
