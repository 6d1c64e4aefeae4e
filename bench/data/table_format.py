"""How a table is written: its delimiter, encoding, header and decimal sign, found by one sniffer for all readers."""

import contextlib
import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from bench import wording
from bench.data.encodings import find_encoding, opened
from bench.data.json_tables import column_names, is_json, line_of
from bench.data.numbers import NUMBER, decimal_sign, plain
from bench.data.remarks import Remark
from bench.data.table_folders import FILE, series_name, tables_in
from bench.data.timestamps import DATE
from bench.errors import DataError, did_you_mean

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
PARQUET = (".parquet", ".pq")
_SNIFFED_LINES = 50
_NAMES_SHOWN = 30
_NOT_TEXT = {
    b"PK\x03\x04": "an Excel or zip file; save the table as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel file; save the table as CSV",
    b"PAR1": "a Parquet file; rename it to end with .parquet",
}


@dataclass(frozen=True)
class TableFormat:
    """How a table is written, and which of its columns order and group its rows. None: not known, or no such column."""

    delimiter: str | None = None  # of a Parquet file: None
    encoding: str | None = None
    header: bool = True
    decimal: str | None = None
    time: str | None = None
    group: str | int | None = None  # a number, from 1, if there is no header
    time_form: str | None = None  # of strptime, see `timestamps`
    split_by: str | None = None  # the column that names the part of each row, see `splits.named_parts`

    @classmethod
    def of(cls, arguments: Mapping[str, Any], **known: Any) -> "TableFormat":
        """Return the format that the arguments of a task describe; what is `known` overrides them."""
        names = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in arguments.items() if key in names} | known)

    def __str__(self) -> str:
        """Return delimiter, encoding and decimal sign in words."""
        encoding = (self.encoding or "utf-8").removesuffix("-sig")
        if self.delimiter is None:
            return "Parquet" if self.encoding is None else f"JSON, {encoding}"
        return f"delimiter {self.delimiter!r}, {encoding}" + ", decimal commas" * (self.decimal == ",")


class Source(NamedTuple):
    """One table file whose format is known."""

    path: Path
    names: list[str]  # of the columns; "1", "2", … if there is no header
    form: TableFormat
    series: str | None = None  # the value of the group of all its rows, if the file is one series of several

    def check_names(self, columns: list[str]) -> None:
        """Raise DataError unless the table has each of these columns once."""
        shown = wording.first(self.names, _NAMES_SHOWN)
        for name in columns:
            count = self.names.count(name)
            if count == 0:
                holds = (known for known in self.names if name in map(str.strip, known.split(",")))
                whole = next(holds, None)
                quoted = f"""; put a name that holds a comma in double quotes, such as '"{whole}"'"""
                hint = quoted if whole else did_you_mean(name, self.names)
                if sum(bool(DATE.fullmatch(known.strip())) for known in self.names) > 2:
                    hint += "; columns are named after times: transpose the table, so that each row is a time"
                raise DataError(f"{self.path}: there is no column '{name}'{hint} (columns: {shown})")
            if count > 1:
                raise DataError(f"{self.path}: {count} columns are named '{name}'; rename all but one")

    def line(self, row: int) -> str:
        """Return where a row of data (from 0) is in the file: blank lines and quoted line ends count as lines."""
        if is_json(self.path):
            return line_of(self.path, row, self.form.encoding)
        if self.form.delimiter is None:
            return f"row {row + 1}"
        with opened_text(self.path, self.form) as file, long_fields():
            reader = csv.reader(file, delimiter=self.form.delimiter)
            left = row + self.form.header
            for cells in reader:
                if len(cells) < 2 and not "".join(cells).strip():
                    continue
                if left == 0:
                    return f"line {reader.line_num}"
                left -= 1
        return f"row {row + 1}"


@contextlib.contextmanager
def opened_text(path: Path, form: TableFormat) -> Iterator[io.TextIOWrapper]:
    """Open a table file of a known encoding. Raises DataError."""
    with opened(path) as binary, io.TextIOWrapper(binary, form.encoding, newline="") as file:
        yield file


@contextlib.contextmanager
def long_fields() -> Iterator[None]:
    """Let Python's csv module read fields of any length: a text may be longer than its limit of 128 KiB."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def open_table(path: Path, form: TableFormat) -> tuple[Source, list[Remark]]:
    """Return a table of numbers, its format completed and the names of its columns read. Raises DataError."""
    if path.suffix.lower() in PARQUET:
        return Source(path, parquet_names(path), replace(form, delimiter=None, encoding=None)), []
    if is_json(path):
        encoding, remarks = find_encoding(path, form.encoding)
        form = replace(form, delimiter=None, encoding=encoding, header=True)
        return Source(path, column_names(path, encoding), form), remarks
    form, rows, remarks = sniff(path, form)
    if not rows:
        raise DataError(f"{path}: the file is empty; a table needs {'a header and ' * form.header}rows of numbers")
    if form.decimal == ",":
        remarks.append(Remark("decimal", "numbers are read with decimal commas", file=path.name))
    first = [cell.strip() for cell in rows[0]]
    if not form.header:
        return Source(path, [str(number) for number in range(1, len(first) + 1)], form), remarks
    _check_header(path, first, rows[1:], form)
    return Source(path, first, form), remarks


def open_tables(paths: Sequence[Path], form: TableFormat) -> tuple[list[Source], list[Remark]]:
    """Return tables as `open_table` does, those of a folder one by one, and remarks. Raises DataError.

    If the group is `table_folders.FILE`, and no column has this name, each file is one series.
    """
    sources: list[Source] = []
    remarks: list[Remark] = []
    for path in paths:
        tables = tables_in(path) if path.is_dir() else [path]
        for table in tables:
            source, found = open_table(table, form)
            if form.group == FILE and FILE not in source.names:
                source = source._replace(series=series_name(table, path if path.is_dir() else None))
            sources.append(source)
            remarks += found if table == path else [remark._replace(file=None) for remark in found]
    if not sources:
        if not paths:
            raise DataError("no table file is named")
        raise DataError(f"{paths[0]}: no table in this folder; name a file, or a folder that holds tables")
    return sources, list(dict.fromkeys(remarks))


def sniff(path: Path, form: TableFormat) -> tuple[TableFormat, list[list[str]], list[Remark]]:
    """Return the format with all that it leaves open, the first rows as text, and remarks on what was assumed.

    The delimiter is the one that splits all of the first lines into the same number of fields; in a .tsv file, tabs if
    its first line has one. Numbers have decimal commas if `numbers.decimal_sign` is sure of it.
    Raises DataError.
    """
    check_delimiter(path, form.delimiter)
    with opened(path) as file:
        head = file.read(4)
    for magic, what in _NOT_TEXT.items():
        if head.startswith(magic):
            raise DataError(f"{path}: not a text file but {what}")
    encoding, remarks = find_encoding(path, form.encoding)
    form = replace(form, encoding=encoding)
    lines = first_lines(path, form)
    form = replace(form, delimiter=form.delimiter or _delimiter(path, lines))
    rows = rows_of(lines, form)
    return replace(form, decimal=decimal_sign(cell for row in rows for cell in row)), rows, remarks


def first_lines(path: Path, form: TableFormat, count: int = _SNIFFED_LINES) -> list[str]:
    """Return the first lines of a file that are not blank."""
    lines = []
    with opened_text(path, form) as file:
        for line in file:
            if line.strip():
                lines.append(line)
            if len(lines) == count:
                break
    return lines


def rows_of(lines: list[str], form: TableFormat) -> list[list[str]]:
    """Return the fields of lines."""
    with long_fields():
        return list(csv.reader(lines, delimiter=form.delimiter or ","))


def check_delimiter(path: Path, delimiter: str | None) -> None:
    """Raise DataError for a delimiter that cannot separate fields."""
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise DataError(f"{path}: --delimiter must be one character, or \\t for tabs, but is {delimiter!r}")


def parquet_names(path: Path) -> list[str]:
    """Return the names of the columns of a Parquet file. Raises DataError."""
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    with opened(path):
        pass  # what cannot be read at all is refused in the words that all readers share
    try:
        with ParquetFile(path) as file:
            return [str(name) for name in file.schema_arrow.names]
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from None


def _delimiter(path: Path, lines: list[str]) -> str:
    """Return the delimiter that splits all lines into the same number of fields."""
    if path.name.lower().removesuffix(".gz").endswith(".tsv") and lines and "\t" in lines[0]:
        return "\t"
    split = {delimiter: rows_of(lines, TableFormat(delimiter)) for delimiter in DELIMITERS}
    widths = {delimiter: [len(row) for row in rows] for delimiter, rows in split.items()}
    fits = {
        delimiter: counts[0]
        for delimiter, counts in widths.items()
        if counts and counts[0] > 1 and len(set(counts[:-1] or counts)) == 1  # the last may go on below these lines
    }
    if len(fits) == 1:
        return next(iter(fits))
    if len(fits) > 1:
        both = " and ".join(f"{DELIMITERS[delimiter]} ({count} columns)" for delimiter, count in fits.items())
        raise DataError(f"{path}: {both} both split its lines evenly; choose one with --delimiter")
    for delimiter, counts in widths.items():
        _check_first_lines(path, delimiter, counts, lines[:1] != [] and lines[0].lower().startswith("sep="))
    if not any(delimiter in line for line in lines[:1] for delimiter in DELIMITERS):
        words = {len(line.split()) for line in lines}
        if len(lines) > 1 and words != {1} and len(words) == 1 and all(map(NUMBER.fullmatch, lines[1].split())):
            raise DataError(f"{path}: columns are separated by blanks; separate them by commas or tabs")
        return ","  # one column
    # No delimiter splits all lines evenly: take that of the first line, so that an error can name the uneven line.
    return max(DELIMITERS, key=lambda delimiter: widths[delimiter][0])


def _check_first_lines(path: Path, delimiter: str, counts: list[int], has_hint: bool) -> None:
    """Raise DataError if the lines are a table but for some lines above it."""
    usual = max(set(counts), key=counts.count, default=1)
    head = next((number for number, count in enumerate(counts) if count == usual), 0)
    is_other = (
        head > 1 or counts[:1] == [1] or has_hint
    )  # not a header that lacks one name, nor a delimiter at the end of rows
    if usual > 1 and head and is_other and len(counts) > head + 2 and set(counts[head:-1]) == {usual}:
        above = "line" if head == 1 else f"{head} lines"
        rule = f"all lines but the first {above} have {usual} fields separated by {DELIMITERS[delimiter]}"
        raise DataError(f"{path}: {rule}; delete what is above the names of the columns")


def _check_header(path: Path, first: list[str], rows: list[list[str]], form: TableFormat) -> None:
    """Raise DataError if the first line holds data instead of the names of columns."""
    numbers = [bool(NUMBER.fullmatch(plain(cell, form.decimal))) for cell in first]
    dates = [bool(DATE.fullmatch(cell)) for cell in first]
    what = None
    if all(number or date or not cell for cell, number, date in zip(first, numbers, dates, strict=True)):
        what = "numbers" if all(numbers) else "dates and numbers"
    for place, (number, date) in enumerate(zip(numbers, dates, strict=True)):
        below = [row[place] for row in rows if place < len(row)]
        if what is None and date and not number and below and all(map(DATE.fullmatch, below)):
            what = "a date like the lines below"  # beside texts, which could be names
    if what is not None:
        raise DataError(
            f"{path}: line 1 must name the columns, but it holds {what}; insert a line of names, or give --no-header "
            '(on a card, header = false) and name columns "1", "2", …'
        )
