"""Tables of JSON: one object per line (.jsonl, .ndjson), or one list of objects (.json), also inside an object.

The keys of an object are columns; a key that an object lacks, or whose value is null, is missing there.
"""

import itertools
import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.data.encodings import read_text
from bench.data.remarks import Remark
from bench.errors import DataError, did_you_mean

ENDINGS = (".jsonl", ".ndjson", ".json")

_SNIFFED = 50  # objects that name the columns


def is_json(path: Path) -> bool:
    """Return whether the name of a file says that it holds JSON."""
    return path.name.lower().removesuffix(".gz").endswith(ENDINGS)


def column_names(path: Path, encoding: str | None) -> list[str]:
    """Return the keys of the first objects in the order in which they appear. Raises DataError."""
    first = itertools.islice(_objects(path, read_text(path, encoding=encoding)[0]), _SNIFFED)
    return list(dict.fromkeys(key for row, _ in first for key in row))


def cells(
    path: Path, wanted: Sequence[str], encoding: str | None = None, *, required: bool = False
) -> tuple[Iterator[tuple[list[str], int]], list[Remark]]:
    """Return the wanted fields of every object as text with its line, empty if missing, and remarks.

    If `required`, every object needs the keys. Raises DataError.
    """
    text, remarks = read_text(path, encoding=encoding)

    def rows() -> Iterator[tuple[list[str], int]]:
        for row, number in _objects(path, text):
            for key in wanted:
                if required and key not in row:
                    where = f"{path}: line {number}, '{key}'"
                    raise DataError(f"{where}: missing{did_you_mean(key, row)}; every object needs this key")
            yield [_cell(row.get(key), f"{path}: line {number}, '{key}'") for key in wanted], number

    return rows(), remarks


def frames(
    path: Path,
    columns: Sequence[str],
    texts: Collection[str],
    missing: Collection[str],
    encoding: str | None,
    rows: int,
) -> Iterator[Any]:
    """Return the columns as data frames of at most `rows` rows; those in `texts` as text. Raises DataError.

    A column is of numbers if all its values are; strings among `missing` mean a missing number.
    """
    import pandas as pd

    objects = _objects(path, read_text(path, encoding=encoding)[0])
    while batch := list(itertools.islice(objects, rows)):
        frame = {}
        for name in columns:
            values = [row.get(name) for row, _ in batch]
            if name not in texts and all(value is None or isinstance(value, int | float) for value in values):
                frame[name] = pd.Series([float("nan") if value is None else float(value) for value in values])
                continue
            fields = [_cell(row.get(name), f"{path}: line {number}, '{name}'") for row, number in batch]
            ignored = ("",) if name in texts else missing
            frame[name] = pd.Series([None if field in ignored else field for field in fields], dtype="str")
        yield pd.DataFrame(frame)


def line_of(path: Path, row: int, encoding: str | None) -> str:
    """Return where a row, counted from 0, is in the file."""
    _, number = next(itertools.islice(_objects(path, read_text(path, encoding=encoding)[0]), row, None))
    return f"line {number}"


def _objects(path: Path, text: str) -> Iterator[tuple[dict[str, Any], int]]:
    """Return each object with its line; of a list of objects, with its number. Raises DataError."""
    inside = _list_inside(text)
    if inside is not None:
        yield from ((row, place) for place, row in enumerate(inside, 1))
        return
    is_list = re.match(r"\s*\[\s*(\{|\]|$)", text) is not None
    rule, is_empty = "write a list of objects" if is_list else "write one object per line", True
    lines = [(text, 1)] if is_list else [(line, number) for number, line in enumerate(text.split("\n"), 1)]
    for line, number in lines:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            where = f"line {getattr(error, 'lineno', 1) if is_list else number}, column {getattr(error, 'colno', 1)}"
            cause = getattr(error, "msg", "nested too deeply")
            raise DataError(f"{path}: {where}: not JSON: {cause}; {rule}") from None
        for place, row in enumerate(value, 1) if is_list else [(number, value)]:
            if not isinstance(row, dict):
                shown = str(row) if is_list else line
                shown = repr(shown if len(shown) <= 40 else shown[:37] + "...")
                raise DataError(f"{path}: line {place}: {shown} is not a JSON object; {rule}")
            is_empty = False
            yield row, place
    if is_empty:
        raise DataError(f"{path}: no rows")


def _list_inside(text: str) -> list[dict[str, Any]] | None:
    """Return the only list of objects in a text that is one object, such as {"data": [{…}, …]}; None otherwise."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # of many objects, or wrong: read line by line
        return None
    lists = [part for part in value.values() if isinstance(part, list) and part]
    return lists[0] if len(lists) == 1 and all(isinstance(row, dict) for row in lists[0]) else None


def _cell(value: Any, where: str) -> str:
    if isinstance(value, list | dict):
        kind = "a list" if isinstance(value, list) else "an object"
        rule = "must be a number or a text; write one object for each row, such as a time step"
        raise DataError(f"{where}: {rule}, but found {kind}")
    return "" if value is None else str(value)
