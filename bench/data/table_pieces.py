"""The rows of CSV, TSV, JSON and Parquet files, read in pieces, and the errors that name their place.

In memory is one piece.
"""

import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from bench.data.json_tables import cells, frames, is_json
from bench.data.numbers import DECIMAL_COMMA, NUMBER, ONE_GROUP, plain
from bench.data.table_format import Source, TableFormat, first_lines, open_tables, opened_text, parquet_names, rows_of
from bench.errors import DataError

CELLS = 1 << 20  # of a piece: rows times columns of the file
MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "NULL", "null", "None", "<NA>", "#N/A"]
MISSING += ["?", "-", "--", "—", "."]
"""Cells that mean a missing number. A group may be called NA."""

_SEPARATED = re.compile(r"\s*[-+]?\d{1,3}([., '’\u00a0\u202f]\d{3})+([.,]\d+)?\s*")


def is_named(name: str) -> bool:
    """Return whether a column has a name: not if a delimiter ends all lines, nor for the row numbers of pandas."""
    return bool(name) and not name.startswith("__index_level_")


class Head(NamedTuple):
    """The first rows of a table, as text; numbers with decimal points."""

    names: list[str]
    rows: list[list[str]]
    form: TableFormat


def read_head(path: Path, count: int, form: TableFormat, named: Sequence[str] = ()) -> Head:
    """Return at most `count` rows of a file, whatever they hold. Raises DataError, also if a `named` column lacks."""
    source = open_tables([path], form)[0][0]
    source.check_names([name for name in named if source.series is None or name != form.group])
    path, form = source.path, source.form
    if is_json(path):
        json_rows, _ = cells(path, source.names, form.encoding)
        return Head(source.names, [row for row, _ in itertools.islice(json_rows, count)], form)
    if form.delimiter is None:
        first = next(_parquet_pieces(source, source.names), None)
        rows = [] if first is None else [[str(cell) for cell in row] for row in first.head(count).to_numpy()]
    else:
        lines = rows_of(first_lines(path, form, count + form.header), form)[form.header :]
        rows = [[plain(cell, form.decimal) for cell in row] for row in lines]
    return Head(source.names, rows, form)


def pieces(
    source: Source, wanted: list[str], time: str | None, group: str | None, split_by: str | None
) -> Iterator[Any]:
    """Return the wanted columns as data frames of some rows each; times, groups and parts as text."""
    keys = [name for name in (time, group, split_by) if name is not None]
    if is_json(source.path):
        rows = max(256, CELLS // len(source.names))
        yield from frames(source.path, [*wanted, *keys], keys, MISSING, source.form.encoding, rows)
        return
    if source.form.delimiter is None:
        yield from _parquet_pieces(source, [*wanted, *keys])
        return
    import pandas as pd

    # Read all columns: if some were skipped, pandas would silently cut or shift a line with too many fields.
    columns = {source.names.index(name): name for name in (*wanted, *keys)}
    numbers = {place for place, name in columns.items() if name not in keys}
    places = range(len(source.names))
    with opened_text(source.path, source.form) as file, warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            for piece in pd.read_csv(
                file,
                sep=source.form.delimiter,
                header=0 if source.form.header else None,
                names=list(places),
                index_col=False,
                dtype={place: str for place in places if place not in numbers},
                keep_default_na=False,
                na_values={place: MISSING if name != group else [""] for place, name in columns.items()},
                chunksize=max(256, CELLS // len(places)),
                low_memory=False,
                decimal=source.form.decimal,
            ):
                yield piece[list(columns)].rename(columns=columns)
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            _refuse_lines(source, str(error))


def parquet_cells(path: Path, wanted: Sequence[str | int]) -> Iterator[list[str]]:
    """Return the wanted fields of every row as text, empty if a value is missing. Raises DataError."""
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    names = [str(name) for name in wanted]
    Source(path, parquet_names(path), TableFormat()).check_names(names)
    with ParquetFile(path) as file:
        for batch in file.iter_batches(columns=list(dict.fromkeys(names))):
            for row in batch.to_pylist():
                yield ["" if row[name] is None else str(row[name]) for name in names]


def _parquet_pieces(source: Source, columns: list[str]) -> Iterator[Any]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(source.path) as file:
        for batch in file.iter_batches(batch_size=max(256, CELLS // len(columns)), columns=columns):
            if len(batch):
                yield batch.to_pandas(ignore_metadata=True)  # keep what was an index as a column


def refuse(source: Source, row: int, column: str | None, rule: str) -> NoReturn:
    raise DataError(f"{source.path}: {source.line(row)}, column '{column}': {rule}")


def refuse_text(source: Source, row: int, column: str, text: str) -> NoReturn:
    fix = "correct it, leave it empty if it is missing, or leave the column out (--features)"
    if _SEPARATED.fullmatch(text) and not ONE_GROUP.fullmatch(text):
        other = "," if source.form.decimal == "," else "."
        fix = f"other numbers of the file have {other!r} before their decimals; write this one without separators"
    elif source.form.decimal == "," and NUMBER.fullmatch(text):
        fix = "write decimal commas or points, not both"
    elif DECIMAL_COMMA.fullmatch(text):
        fix = "write decimal points, not commas"
    elif not source.form.header and row == 0:
        fix = "if it is a header, leave --no-header out (on a card, header = true)"
    elif source.form.header and row == 0 and source.form.delimiter:
        fix = f"if line 2 holds units or a second header, delete it; if not, {fix}"
    refuse(source, row, column, f"{shown(text)} is not a number; {fix}")


def _refuse_lines(source: Source, message: str) -> NoReturn:
    fix = "put a field that holds the delimiter in quotes, or give another --delimiter"
    uneven = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message)
    if uneven:
        rule = f"line {uneven[2]} has {uneven[3]} fields, but the lines above have {uneven[1]}; {fix}"
    elif "names does not match" in message:
        rule = f"line {1 + source.form.header} has more fields than the {len(source.names)} of the first line; {fix}"
    else:
        cause = message.strip().splitlines()[-1].removeprefix("Error tokenizing data. C error: ")
        rule = f"not a table with delimiter {source.form.delimiter!r}: {cause}; is a quote not closed?"
    raise DataError(f"{source.path}: {rule}")


def shown(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
