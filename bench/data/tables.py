"""Tables of users: CSV, TSV and Parquet files, read in pieces into columns of float32.

Nothing is guessed where a wrong guess would go unseen: what breaks a rule ends in one line that names file, line and
column and how to mend it; what is allowed but worth knowing comes back as a remark.

Held in memory are 4 bytes a number, 8 a time, and the piece being read.
"""

import codecs
import csv
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

import numpy as np

from bench.data.timestamps import DATE, TimeForm, TimeReader, regularity
from bench.errors import DataError, did_you_mean

CELLS = 1 << 20  # of a piece: rows times columns of the file
DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
PARQUET = (".parquet", ".pq")
MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "NULL", "null", "None", "<NA>", "#N/A", "?"]
"""What stands for a number that is missing. A group may be called NA."""

_NOT_TEXT = {
    b"PK\x03\x04": "an Excel or zip file; save the table as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel file; save the table as CSV",
    b"PAR1": "Parquet; name it .parquet",
}
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_COMMA = re.compile(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*")
_THOUSANDS = re.compile(r"\s*[-+]?[1-9]\d{0,2}(,\d{3})+\s*")  # or a decimal comma: not to be told apart
_GROUPED = re.compile(r"\s*[-+]?\d{1,3}([., '\u00a0\u202f]\d{3})+([.,]\d+)?\s*")
_SWAPPED = str.maketrans(",.", ".,")
_NAMES_SHOWN = 30
_ROUNDED = 1e-3  # of a column's range: what single precision may take off it without a remark


class Table(NamedTuple):
    """Columns of numbers. Rows of one group lie together, in the order of the file."""

    columns: dict[str, np.ndarray]  # by name: float32, NaN where a value is missing
    times: np.ndarray | None  # int64: nanoseconds since 1970, UTC
    groups: np.ndarray | None  # int32: index into group_names
    group_names: list[str]  # in order of appearance
    remarks: list[str]
    time_form: TimeForm | None = None


class _Source(NamedTuple):
    """One file, and how it is written."""

    path: Path
    names: list[str]
    delimiter: str | None = None  # None: Parquet
    encoding: str = "utf-8"
    header: bool = True
    decimal: str = "."


def read_table(
    paths: Sequence[Path],
    *,
    columns: Sequence[str] | None = None,
    time: str | None = None,
    group: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool = True,
    required: Sequence[str] = (),
    partial: bool = False,
    time_form: str | None = None,
) -> Table:
    """Read the named columns of files with the same columns, one after the other.

    `columns` None: all that have a name, but `time` and `group`. Without a header, columns are named "1", "2", … from
    the left. Delimiter and encoding are found out unless given: the one delimiter that parts all of the first lines
    alike; UTF-8, or else Windows-1252. Where no comma parts fields, numbers may have decimal commas, all of them.
    Times are ISO 8601, or all in the form of the first, or numbers (seconds since 1970; milli-, micro- or nanoseconds
    if so large); they climb within a group. Where the first may be read in two ways, `time_form` decides, else which
    makes the steps even. `required` columns have no missing values. A `partial` table may have a single row, and
    columns without a value.

    Raises DataError.
    """
    sources, remarks = [], []
    for path in paths:
        source, found = _open(Path(path), delimiter, encoding, header)
        sources.append(source)
        remarks += found
    if not sources:
        raise DataError("no file of a table is named")
    if columns is None:
        wanted = [name for name in sources[0].names if name not in (time, group) and is_named(name)]
        if not all(map(is_named, sources[0].names)):
            remarks.append("a column without a name is left out")
    else:
        wanted = list(columns)
    for source in sources:
        _check_names(source, [*wanted, *(name for name in (time, group) if name is not None)])

    reader = _Reader(wanted, time, group, set(required), partial, time_form)
    for source in sources:
        reader.read(source)
    return reader.finish(remarks)


def is_named(name: str) -> bool:
    """Return whether a column has a name: not after a delimiter that ends all lines, nor the row numbers of pandas."""
    return bool(name) and not name.startswith("__index_level_")


class Head(NamedTuple):
    """The first rows of a table, as text; numbers with decimal points."""

    names: list[str]
    rows: list[list[str]]
    form: str  # how the file is written


def read_head(
    path: Path, count: int, *, delimiter: str | None, encoding: str | None, header: bool, named: Sequence[str] = ()
) -> Head:
    """Read at most `count` rows of a file, whatever they hold. Raises DataError, also where a `named` column lacks."""
    source, _ = _open(path, delimiter, encoding, header)
    _check_names(source, list(named))
    if source.delimiter is None:
        first = next(_parquet_pieces(source, source.names), None)
        rows = [] if first is None else [[str(cell) for cell in row] for row in first.head(count).to_numpy()]
        form = "Parquet"
    else:
        lines = _first_lines(path, source.encoding, count + header)
        rows = [
            [_pointed(cell, source.decimal) for cell in row] for row in csv.reader(lines, delimiter=source.delimiter)
        ]
        rows = rows[header:]
        form = f"delimiter {source.delimiter!r}, {source.encoding.removesuffix('-sig')}"
        form += ", decimal commas" * (source.decimal == ",")
    return Head(source.names, rows, form)


def read_first_line(path: Path) -> str:
    """Return the first line of a file that is not blank, whatever its encoding. Raises DataError."""
    with _unzipping(path), _binary(path) as file:
        return next((line for line in file if line.strip()), b"").decode("latin-1")


class _Growing:
    """An array that pieces are added to. Kept apart and joined at the end, they would be in memory twice."""

    def __init__(self, kind: type) -> None:
        self.array: np.ndarray = np.empty(0, dtype=kind)
        self.count = 0

    def add(self, piece: np.ndarray) -> None:
        """Put a piece at the end."""
        more = self.count + len(piece)
        if more > len(self.array):
            self.array.resize(max(more, len(self.array) * 3 // 2), refcheck=False)
        self.array[self.count : more] = piece
        self.count = more

    def finish(self) -> np.ndarray:
        """Return the whole, without what was kept free."""
        self.array.resize(self.count, refcheck=False)
        return self.array


class _Reader:
    """Gathers the pieces of all files."""

    def __init__(
        self,
        wanted: list[str],
        time: str | None,
        group: str | None,
        required: set[str],
        partial: bool,
        time_form: str | None,
    ) -> None:
        self.wanted, self.time, self.group, self.required, self.partial = wanted, time, group, required, partial
        self.columns = {name: _Growing(np.float32) for name in wanted}
        self.times, self.codes = _Growing(np.int64), _Growing(np.int32)
        self.known: dict[str, int] = {}
        self.form = TimeReader(time_form)
        self.rounded = dict.fromkeys(wanted, 0.0)  # at most, by single precision
        self.range = {name: (np.inf, -np.inf) for name in wanted}
        self.first_rows: list[tuple[_Source, int]] = []  # of each file, counted over all files
        self.count = 0

    def read(self, source: _Source) -> None:
        """Take in one file."""
        start = self.count
        self.first_rows.append((source, start))
        for piece in _pieces(source, self.wanted, self.time, self.group):
            for name in self.wanted:
                self.columns[name].add(self._numbers(source, name, piece[name], self.count - start))
            if self.time is not None:
                self.times.add(self._times(source, piece[self.time], self.count - start))
            if self.group is not None:
                self.codes.add(self._codes(source, piece[self.group], self.count - start))
            self.count += len(piece)
        if self.count == start:
            raise DataError(f"{source.path}: no rows{' below the header' if source.header else ''}")

    def finish(self, remarks: list[str]) -> Table:
        """Put the pieces together and check what only the whole shows."""
        path = self.first_rows[0][0].path
        if self.count == 1 and not self.partial:
            raise DataError(f"{path}: one row only; a table needs at least two")
        groups = self.codes.finish() if self.group is not None else None
        order = None if groups is None or (groups[1:] >= groups[:-1]).all() else np.argsort(groups, kind="stable")
        if groups is not None and order is not None:
            groups = groups[order]
        times = None
        if self.time is not None:
            times = self.times.finish()
            times = times if order is None else times[order]
            borders = None if groups is None else groups[1:] != groups[:-1]
            self._check_order(times, borders, order)
            remarks += self.form.remarks + regularity(self.time, times, borders)
        columns = {}
        for name in self.wanted:
            column = self.columns.pop(name).finish()
            columns[name] = column if order is None else column[order]
            low, high = self.range[name]
            if low > high and not self.partial:
                raise DataError(f"{path}: column '{name}': no value in {self.count:,} rows; leave the column out")
            if low == high:
                remarks.append(f"column '{name}' is constant ({low:g})")
            elif self.rounded[name] > _ROUNDED * (high - low):
                remarks.append(
                    f"column '{name}': from {low:.12g} to {high:.12g}, rounded by up to {self.rounded[name]:g}, as "
                    "numbers are kept in single precision; take a constant off it"
                )
        return Table(columns, times, groups, list(self.known), remarks, self.form.found)

    def _numbers(self, source: _Source, name: str, column: Any, row: int) -> np.ndarray:
        import pandas as pd

        values = column
        if column.dtype.kind not in "iufb":
            text = column.str.translate(_SWAPPED) if source.decimal == "," else column
            values = pd.to_numeric(text, errors="coerce")
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        lacking = np.isnan(numbers)
        if values is not column:
            bad = lacking & column.notna().to_numpy()
            if bad.any():
                place = int(bad.argmax())
                _refuse_text(source, row + place, name, str(column.iloc[place]))
        large = np.abs(numbers) > np.finfo(np.float32).max  # an inf as well
        if large.any():
            place = int(large.argmax())
            rule = f"{numbers[place]:g} is not a finite number of single precision; correct it, or leave it empty"
            _refuse(source, row + place, name, rule)
        if name in self.required and lacking.any():
            _refuse(
                source,
                row + int(lacking.argmax()),
                name,
                "no value, and this column needs one in every row; fill it in",
            )
        kept = numbers.astype(np.float32)
        if not lacking.all():
            low, high = self.range[name]
            self.range[name] = (min(low, float(np.nanmin(numbers))), max(high, float(np.nanmax(numbers))))
            self.rounded[name] = max(self.rounded[name], float(np.nanmax(np.abs(kept - numbers))))
        return kept

    def _times(self, source: _Source, column: Any, row: int) -> np.ndarray:
        lacking = column.isna().to_numpy()
        if lacking.any():
            _refuse(source, row + int(lacking.argmax()), self.time, "no time; every row needs one")
        times = self.form.read(column)
        bad = times == np.iinfo(np.int64).min
        if bad.any():
            place = int(bad.argmax())
            mend = f"{_shown(column.iloc[place])} is not a time{self.form.expected}; write times as 2016-07-01 13:00:00"
            _refuse(source, row + place, self.time, mend)
        return times

    def _codes(self, source: _Source, column: Any, row: int) -> np.ndarray:
        lacking = column.isna().to_numpy()
        if lacking.any():
            _refuse(source, row + int(lacking.argmax()), self.group, "no value; every row needs the name of its group")
        codes, names = column.factorize()
        known = np.array([self.known.setdefault(str(name), len(self.known)) for name in names], dtype=np.int32)
        return known[codes]

    def _check_order(self, times: np.ndarray, borders: np.ndarray | None, order: np.ndarray | None) -> None:
        wrong = times[1:] <= times[:-1]
        if borders is not None:
            wrong &= ~borders
        if not wrong.any():
            return
        row = int(wrong.argmax()) + 1
        assert self.form.found is not None
        before, here = map(str, self.form.found.show(times[row - 1 : row + 1]))
        within = "" if self.group is None else f" within its group of '{self.group}'"
        again = times[row] == times[row - 1]
        rule = f"{here} {'a second time' if again else f'after {before}'}{within}"
        rule += "; keep one row a time" if again else "; sort the rows by time"
        rule += "" if self.group else ", name the column that tells series apart as group"
        if self.form.found.form != "numbers":
            rule += ", or write times in UTC if these are of clocks that were put back"
        row = row if order is None else int(order[row])
        source, first = [each for each in self.first_rows if each[1] <= row][-1]
        _refuse(source, row - first, self.time, rule)


def carry_forward(column: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the column with each missing value replaced by the last one before it in its group.

    `starts` are the first rows of the groups. What is missing before a group's first value stays missing. A line drawn
    to the next value would tell what comes later.
    """
    place = np.where(np.isnan(column), 0, np.arange(len(column)))
    place[starts] = starts
    filled: np.ndarray = column[np.maximum.accumulate(place)]
    return filled


def group_starts(groups: np.ndarray | None) -> np.ndarray:
    """Return the first row of each group; of a table without groups, 0."""
    return np.zeros(1, dtype=np.int64) if groups is None else np.r_[0, np.flatnonzero(np.diff(groups)) + 1]


# Files


def _open(path: Path, delimiter: str | None, encoding: str | None, header: bool) -> tuple[_Source, list[str]]:
    """Find out how a file is written."""
    if not path.is_file():
        raise DataError(f"{path}: {'a folder; a table is one file' if path.is_dir() else 'no such file'}")
    try:
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    if path.suffix.lower() in PARQUET:
        return _Source(path, parquet_names(path)), []
    check_delimiter(path, delimiter)
    encoding, remarks = _encoding(path, encoding)
    lines = _first_lines(path, encoding)
    if not lines:
        raise DataError(f"{path}: empty; a table needs {'a header and ' if header else ''}rows of numbers")
    delimiter = delimiter or _delimiter(path, lines)
    rows = list(csv.reader(lines, delimiter=delimiter))
    decimal = _decimal(rows) if delimiter != "," else "."
    if decimal == ",":
        remarks.append("numbers are read with decimal commas")
    first = [field.strip() for field in rows[0]]
    if not header:
        names = [str(number) for number in range(1, len(first) + 1)]
        return _Source(path, names, delimiter, encoding, False, decimal), remarks
    are_numbers, are_dates = ([form.fullmatch(_pointed(field, decimal)) for field in first] for form in (NUMBER, DATE))
    what = None
    if all(number or date or not field for field, number, date in zip(first, are_numbers, are_dates, strict=True)):
        what = "numbers" if all(map(bool, are_numbers)) else "dates and numbers"
    elif any(
        date and not number and _all_dates([row[place] for row in rows[1:] if place < len(row)])
        for place, (number, date) in enumerate(zip(are_numbers, are_dates, strict=True))
    ):
        what = "a date as in the lines below"  # beside texts, which could be names
    if what is not None:
        raise DataError(
            f"{path}: line 1: {what} where the header is expected; write the names of the columns there, or give "
            '--no-header (on a card, header = false) and name columns "1", "2", …'
        )
    return _Source(path, first, delimiter, encoding, True, decimal), remarks


def _all_dates(cells: list[str]) -> bool:
    return bool(cells) and all(DATE.fullmatch(cell) for cell in cells)


def _decimal(rows: list[list[str]]) -> str:
    """Return a comma if numbers have one for sure: not where some have points, or where it may part thousands."""
    cells = [cell for row in rows for cell in row]
    commas = [cell for cell in cells if _COMMA.fullmatch(cell)]
    has_points = any("." in cell and NUMBER.fullmatch(cell) for cell in cells)
    return "," if commas and not has_points and not all(map(_THOUSANDS.fullmatch, commas)) else "."


def _pointed(cell: str, decimal: str) -> str:
    return cell.replace(",", ".") if decimal == "," and _COMMA.fullmatch(cell) else cell


def check_delimiter(path: Path, delimiter: str | None) -> None:
    """Refuse what can part no fields. Raises DataError."""
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise DataError(f"{path}: delimiter {delimiter!r}: one character, or \\t for tabs")


def _binary(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb"))


def _encoding(path: Path, encoding: str | None) -> tuple[str, list[str]]:
    """Return an encoding in which the whole file can be read, and a remark if it is not UTF-8."""
    with _unzipping(path), _binary(path) as file:
        head = file.read(4)
    for magic, what in _NOT_TEXT.items():
        if head.startswith(magic):
            raise DataError(f"{path}: not a text table but {what}")
    if encoding is None and head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    if encoding is not None:
        try:
            "".encode(encoding)
        except LookupError:
            raise DataError(f"{path}: encoding '{encoding}' is not known; utf-8 or cp1252, say") from None
        line = _undecodable(path, encoding)
        if line is not None:
            raise DataError(f"{path}: line {line}: not {encoding}; give the encoding it was written in")
        return encoding, []
    bad = _undecodable(path, "utf-8-sig")  # with or without a byte order mark
    if bad is None:
        return "utf-8-sig", []
    worse = _undecodable(path, "cp1252")
    if worse is not None:
        raise DataError(f"{path}: line {max(bad, worse)}: neither utf-8 nor cp1252; give the encoding it is written in")
    return "cp1252", [f"{path.name} is not utf-8 (line {bad}): read as cp1252"]


def _undecodable(path: Path, encoding: str) -> int | None:
    """Return the first line that cannot be read in an encoding."""
    decoder, line = codecs.getincrementaldecoder(encoding)(), 1
    with _unzipping(path), _binary(path) as file:
        while True:
            block = file.read(1 << 20)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return line + bytes(error.object[: error.start]).count(b"\n")
            except UnicodeError:  # UTF-16 without its mark
                return line
            if "\0" in text:
                row = line + text[: text.index("\0")].count("\n")
                raise DataError(f"{path}: line {row}: a NUL byte; no text table, or one in UTF-16: give the encoding")
            if not block:
                return None
            line += text.count("\n")


class _unzipping:  # noqa: N801
    """Tells of a damaged .gz in one line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, gzip.BadGzipFile | EOFError | zlib.error):
            raise DataError(f"{self.path}: damaged or cut off: {error}; get it again") from None


def _first_lines(path: Path, encoding: str, count: int = 50) -> list[str]:
    """Return the first lines that are not blank."""
    with _binary(path) as binary, io.TextIOWrapper(binary, encoding, newline="") as file:
        found = []
        for line in file:
            if line.strip():
                found.append(line)
            if len(found) == count:
                break
        return found


def _delimiter(path: Path, lines: list[str]) -> str:
    """Return the delimiter that parts all lines into the same number of fields."""
    fits = {}
    for delimiter in DELIMITERS:
        rows = list(csv.reader(lines, delimiter=delimiter))
        rows = rows[:-1] or rows  # the last may go on beyond what was looked at
        if len(rows[0]) > 1 and all(len(row) == len(rows[0]) for row in rows):
            fits[delimiter] = len(rows[0])
    if len(fits) == 1:
        return next(iter(fits))
    if len(fits) > 1:
        found = " and ".join(f"{DELIMITERS[each]} ({count} columns)" for each, count in fits.items())
        raise DataError(f"{path}: {found} both part its lines evenly; give the delimiter")
    if path.name.lower().removesuffix(".gz").endswith(".tsv"):
        return "\t"
    for delimiter in DELIMITERS:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        usual = max(set(widths), key=widths.count)
        head = next(place for place, count in enumerate(widths) if count == usual)
        is_other = head > 1 or widths[0] == 1  # and no line of names that lacks one, or a delimiter at the end
        if usual > 1 and head and is_other and len(widths) > head + 2 and set(widths[head:-1]) == {usual}:
            above = "line" if head == 1 else f"{head} lines"
            rule = f"{usual} fields parted by {DELIMITERS[delimiter]} in all lines but the first {above}"
            raise DataError(f"{path}: {rule}; delete what stands above the names of the columns")
    if not any(delimiter in lines[0] for delimiter in DELIMITERS):
        words = {len(line.split()) for line in lines}
        if len(lines) > 1 and words != {1} and len(words) == 1 and all(NUMBER.fullmatch(w) for w in lines[1].split()):
            raise DataError(f"{path}: columns are parted by blanks, it seems; part them by commas or tabs")
        return ","  # one column
    # Uneven: the first line's own, so that the line which breaks the rule can be named.
    counts = {each: len(next(csv.reader(lines[:1], delimiter=each))) for each in DELIMITERS}
    return max(counts, key=lambda each: counts[each])


def _check_names(source: _Source, wanted: list[str]) -> None:
    shown = ", ".join(source.names[:_NAMES_SHOWN]) + (", …" if len(source.names) > _NAMES_SHOWN else "")
    for name in wanted:
        found = source.names.count(name)
        if found == 0:
            raise DataError(f"{source.path}: no column '{name}'{did_you_mean(name, source.names)} (there are: {shown})")
        if found > 1:
            raise DataError(f"{source.path}: {found} columns are named '{name}'; rename all but one")


def _pieces(source: _Source, wanted: list[str], time: str | None, group: str | None) -> Iterator[Any]:
    """Return the wanted columns as data frames of some rows each; times and groups as text."""
    if source.delimiter is None:
        yield from _parquet_pieces(source, [*wanted, *(name for name in (time, group) if name is not None)])
        return
    import pandas as pd

    # All columns are read: were some left out, pandas would cut or shift a line with too many fields without a word.
    columns = {source.names.index(name): name for name in (*wanted, time, group) if name is not None}
    numbers = {place for place, name in columns.items() if name not in (time, group)}
    places = range(len(source.names))
    with (
        _binary(source.path) as binary,
        io.TextIOWrapper(binary, source.encoding, newline="") as file,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            for piece in pd.read_csv(
                file,
                sep=source.delimiter,
                header=0 if source.header else None,
                names=list(places),
                index_col=False,
                dtype={place: str for place in places if place not in numbers},
                keep_default_na=False,
                na_values={place: MISSING if name != group else [""] for place, name in columns.items()},
                chunksize=max(256, CELLS // len(places)),
                low_memory=False,
                decimal=source.decimal,
            ):
                yield piece[list(columns)].rename(columns=columns)
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            _refuse_lines(source, str(error))


def parquet_cells(path: Path, wanted: Sequence[str | int]) -> Iterator[list[str]]:
    """Return the wanted fields of every row as text, empty where there is no value. Raises DataError."""
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    names = [str(name) for name in wanted]
    _check_names(_Source(path, parquet_names(path)), names)
    with ParquetFile(path) as file:
        for batch in file.iter_batches(columns=list(dict.fromkeys(names))):
            for row in batch.to_pylist():
                yield ["" if row[name] is None else str(row[name]) for name in names]


def parquet_names(path: Path) -> list[str]:
    """Return the names of the columns. Raises DataError."""
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            return [str(name) for name in file.schema_arrow.names]
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from None


def _parquet_pieces(source: _Source, columns: list[str]) -> Iterator[Any]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(source.path) as file:
        for batch in file.iter_batches(batch_size=max(256, CELLS // len(columns)), columns=columns):
            if len(batch):
                yield batch.to_pandas(ignore_metadata=True)  # or what was an index would be none of the columns


# Errors


def _refuse(source: _Source, row: int, column: str | None, rule: str) -> NoReturn:
    raise DataError(f"{source.path}: {_line(source, row)}, column '{column}': {rule}")


def _refuse_text(source: _Source, row: int, column: str, text: str) -> NoReturn:
    mend = "correct it, leave it empty if it is missing, or leave the column out (--features)"
    if _GROUPED.fullmatch(text) and not _THOUSANDS.fullmatch(text):
        mend = "write thousands without signs between them"
    elif source.decimal == "," and NUMBER.fullmatch(text):
        mend = "write decimal commas or points, not both"
    elif _COMMA.fullmatch(text):
        mend = "write decimal points, not commas"
    elif not source.header and row == 0:
        mend = "if it is a header, set header = true"
    _refuse(source, row, column, f"{_shown(text)} where a number is expected; {mend}")


def _refuse_lines(source: _Source, told: str) -> NoReturn:
    mend = "put a field that holds the delimiter in quotes, or give the delimiter"
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", told)
    if found:
        rule = f"line {found[2]}: {found[3]} fields where the lines before have {found[1]}; {mend}"
    elif "names does not match" in told:
        rule = f"line {1 + source.header}: more fields than the {len(source.names)} of the first line; {mend}"
    else:
        rule = told.strip().splitlines()[-1].removeprefix("Error tokenizing data. C error: ")
        rule = f"not a table parted by {source.delimiter!r}: {rule}; a quote that is not closed?"
    raise DataError(f"{source.path}: {rule}")


def _shown(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _line(source: _Source, row: int) -> str:
    """Return where a row of data (from 0) stands in its file: blank lines and quoted line ends are counted too."""
    if source.delimiter is None:
        return f"row {row + 1}"
    with _binary(source.path) as binary, io.TextIOWrapper(binary, source.encoding, newline="") as file:
        reader = csv.reader(file, delimiter=source.delimiter)
        left = row + source.header
        for fields in reader:
            if len(fields) < 2 and not "".join(fields).strip():
                continue
            if left == 0:
                return f"line {reader.line_num}"
            left -= 1
    return f"row {row + 1}"
