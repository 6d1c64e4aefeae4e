"""Tables of numbers: CSV, TSV, JSON and Parquet files, read in pieces into columns of float32, or float64 if need be.

Nothing is guessed if a wrong guess would go unseen: invalid input stops with one line that names file, line and column
and how to fix it; what is accepted but worth knowing comes back as a remark.

In memory are 4 bytes a number (8 if single precision is too coarse), 8 a time, and the piece being read.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from bench import wording
from bench.data.numbers import (
    NUMBER,
    ONE_GROUP,
    as_texts,
    has_sure_points,
    parsed,
    plain,
    ungrouped,
    without_unit,
)
from bench.data.remarks import Remark
from bench.data.splits import named_parts
from bench.data.table_format import (
    Source,
    TableFormat,
    first_lines,
    open_tables,
    rows_of,
)
from bench.data.table_pieces import is_named, pieces, read_head, refuse, refuse_text, shown
from bench.data.timestamps import TimeForm, TimeReader, regularity, set_back_clocks
from bench.errors import DataError

_UNSORTED = 0.1  # of the steps that go back: from there on, rows are in no order
_ROUNDED = 1e-3  # of a column's range: numbers may be rounded by so much without a remark
_FINE = 1e-5  # of the range of a column's first piece: from there on, it is read in double precision


class Table(NamedTuple):
    """Columns of numbers. Rows of one group lie together, in the order of the file."""

    columns: dict[str, np.ndarray]  # by name: float32, or float64 where that is too coarse; NaN: missing
    times: np.ndarray | None  # int64: nanoseconds since 1970, UTC
    groups: np.ndarray | None  # int32: index into group_names
    group_names: list[str]  # in order of appearance
    remarks: list[Remark]
    time_form: TimeForm | None = None
    files: np.ndarray | None = None  # int32: index of the file of each row, if there are several
    parts: np.ndarray | None = None  # int8: index into PARTS, if a column names the part of each row


def read_table(
    paths: Sequence[Path],
    columns: Sequence[str] | None = None,
    form: TableFormat | None = None,
    *,
    required: Sequence[str] = (),
    partial: bool = False,
    apart: bool = False,
) -> Table:
    """Read the named columns of files with the same columns, one after the other.

    `columns` None: all that have a name, except the time and the group of `form`. Without a header, columns are named
    "1", "2", … from the left. What `form` leaves open is found by `table_format.sniff`. Times are ISO 8601, or all in
    the form of the first, or numbers (seconds since 1970; milli-, micro- or nanoseconds if so large); they increase
    within a group. If the first can be read in two ways, `time_form` decides, or else which way makes the steps even.
    `required` columns have no missing values. A `partial` table may have a single row, and columns without a value.
    Groups of the same name in two files are one, unless files are `apart`: they may count their groups anew.

    Raises DataError.
    """
    form = form or TableFormat()
    time, group = form.time, None if form.group is None else str(form.group)
    sources, remarks = open_tables([Path(path) for path in paths], form)
    if columns is None:
        columns = [name for name in sources[0].names if name not in (time, group, form.split_by) and is_named(name)]
        if not all(map(is_named, sources[0].names)):
            remarks.append(Remark("unnamed", "a column without a name is ignored"))
    for source in sources:
        group_column = group if source.series is None else None
        source.check_names([*columns, *(name for name in (time, group_column, form.split_by) if name is not None)])
    reader = _Reader(list(columns), form, set(required), partial, apart)
    for source in sources:
        reader.read(source)
    return reader.finish(remarks)


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

    def __init__(self, wanted: list[str], form: TableFormat, required: set[str], partial: bool, apart: bool) -> None:
        self.wanted, self.required, self.partial = wanted, required, partial
        self.owners: dict[str, int] | None = {} if apart else None  # of each group, the number of its file
        self.time, self.group = form.time, None if form.group is None else str(form.group)
        self.split_by, self.labels = form.split_by, list[str]()
        self.columns: dict[str, _Growing] = {}
        self.times, self.codes = _Growing(np.int64), _Growing(np.int32)
        self.known: dict[str, int] = {}
        self.time_reader = TimeReader(form.time_form)
        self.grouped: dict[str, str] = {}  # columns with separators of thousands, and what is remarked about them
        self.units: dict[str, str] = {}  # of columns whose numbers all have the same unit
        self.kinds: dict[str, Any] = {}  # of numbers in finished columns
        self.rounded = dict.fromkeys(wanted, 0.0)  # at most, by the precision of the column
        self.range = {name: (np.inf, -np.inf) for name in wanted}
        self.first_rows: list[tuple[Source, int]] = []  # of each file, counted over all files
        self.count = 0

    def read(self, source: Source) -> None:
        """Read one file."""
        start = self.count
        self.first_rows.append((source, start))
        group = self.group if source.series is None else None
        for piece in pieces(source, self.wanted, self.time, group, self.split_by):
            for name in self.wanted:
                numbers = self._numbers(source, name, piece[name], self.count - start)
                if name not in self.columns:
                    self.columns[name] = _Growing(_precision(numbers))
                self._note_range(name, numbers)
                self.columns[name].add(numbers)
            if self.time is not None:
                self.times.add(self._times(source, piece[self.time], self.count - start))
            if source.series is not None:
                code = self.known.setdefault(source.series, len(self.known))
                self.codes.add(np.full(len(piece), code, dtype=np.int32))
            elif self.group is not None:
                self.codes.add(self._codes(source, piece[self.group], self.count - start))
            if self.split_by is not None:
                codes, names = piece[self.split_by].fillna("").astype(str).factorize()
                self.labels += [names[code] for code in codes]
            self.count += len(piece)
        if self.count == start:
            raise DataError(f"{source.path}: no rows{' below the header' if source.form.header else ''}")

    def finish(self, remarks: list[Remark]) -> Table:
        """Return the pieces put together. Raises DataError for what only the whole table shows."""
        path = self.first_rows[0][0].path
        if self.count == 1 and not self.partial:
            raise DataError(f"{path}: only one row; a table needs at least two")
        groups = self.codes.finish() if self.group is not None else None
        order = None if groups is None or (groups[1:] >= groups[:-1]).all() else np.argsort(groups, kind="stable")
        if groups is not None and order is not None:
            groups = groups[order]
        times = None
        if self.time is not None:
            times, order = self._in_order(self.times.finish(), groups, order, remarks)
            borders = None if groups is None else groups[1:] != groups[:-1]
            remarks += self.time_reader.remarks + regularity(self.time, times, borders)
        columns = {}
        remarks += [Remark("thousands", text, name) for name, text in self.grouped.items()]
        units = ((name, f"numbers are read without their unit ({unit})") for name, unit in self.units.items())
        remarks += [Remark("unit", text, name) for name, text in units]
        for name in self.wanted:
            column = self.columns.pop(name).finish()
            self.kinds[name] = column.dtype
            columns[name] = column if order is None else column[order]
            remarks += self._check_range(path, name) + _nines(column, name, self.range[name])
        table = Table(columns, times, groups, list(self.known), remarks, self.time_reader.found)
        files = parts = None
        if len(self.first_rows) > 1:
            first = np.array([row for _, row in self.first_rows])
            files = (np.searchsorted(first, np.arange(self.count), side="right") - 1).astype(np.int32)
        if self.split_by is not None:
            parts = named_parts(self.labels, f"{path}: column '{self.split_by}'")
        if order is not None:
            files, parts = (None if rows is None else rows[order] for rows in (files, parts))
        return table._replace(files=files, parts=parts)

    def _check_range(self, path: Path, name: str) -> list[Remark]:
        low, high = self.range[name]
        if low > high and not self.partial:
            raise DataError(f"{path}: column '{name}' has no value in {self.count:,} rows; leave the column out")
        if low == high:
            return [Remark("constant", f"constant ({low:g})", name)]
        if self.rounded[name] <= _ROUNDED * (high - low):
            return []
        precision = "single" if self.kinds[name] == np.float32 else "double"
        values = f"values from {low:.12g} to {high:.12g} are rounded by up to {self.rounded[name]:g}"
        values += f" in {precision} precision"
        return [Remark("rounded", f"{values}; subtract a constant from the column", name)]

    def _numbers_of_texts(self, source: Source, name: str, column: Any, row: int) -> np.ndarray:
        """Return texts as numbers, those with separators of thousands as well if it is sure that they are such."""
        if column.dtype == object:
            column = as_texts(column)
        column = self._without_unit(name, column)
        numbers = parsed(column, source.form.decimal)
        unread = np.isnan(numbers) & column.notna().to_numpy()
        if not unread.any():
            return numbers
        numbers[unread] = ungrouped(column[unread], source.form.decimal)
        bad = np.isnan(numbers) & unread
        place = int((bad if bad.any() else unread).argmax())
        cell = str(column.iloc[place])
        if bad.any():
            refuse_text(source, row + place, name, cell)
        self._check_thousands(source, name, column, row + place, cell)
        if name not in self.grouped:
            self.grouped[name] = f"thousands are read without their separators ({shown(cell)} as {numbers[place]:.12g})"
        return numbers

    def _without_unit(self, name: str, column: Any) -> Any:
        """Return texts without their unit if it is the same in all of them, and in all pieces of the column."""
        if name in self.columns and name not in self.units:
            return column
        found = without_unit(column, self.units.get(name))
        if found is None:
            return column
        column, self.units[name] = found
        return column

    def _check_thousands(self, source: Source, name: str, column: Any, row: int, cell: str) -> None:
        """Raise DataError if 1,500 may be 1.5: if no number of the file decides which sign is the decimal one."""
        if source.form.decimal == "," or name in self.grouped or not all(map(ONE_GROUP.fullmatch, column.dropna())):
            return
        rows = [] if source.form.delimiter is None else rows_of(first_lines(source.path, source.form), source.form)
        if not has_sure_points(other for cells in rows for other in cells):
            either = f"{plain(cell, '.')} or {cell.strip().replace(',', '.').rstrip('0')}"
            rule = f"{shown(cell)} may be {either}; write it without the comma, or with a decimal point"
            refuse(source, row, name, rule)

    def _numbers(self, source: Source, name: str, column: Any, row: int) -> np.ndarray:
        if column.dtype.kind in "iufb":
            numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            numbers = self._numbers_of_texts(source, name, column, row)
        missing = np.isnan(numbers)
        large = np.abs(numbers) > np.finfo(np.float32).max  # an inf as well
        if large.any():
            place = int(large.argmax())
            rule = "is not a finite number of single precision; correct it, or leave it empty"
            refuse(source, row + place, name, f"{numbers[place]:g} {rule}")
        if name in self.required and missing.any():
            rule = "no value, and this column needs one in every row; fill it in, or delete the row"
            refuse(source, row + int(missing.argmax()), name, rule)
        return numbers

    def _note_range(self, name: str, numbers: np.ndarray) -> None:
        known = numbers[~np.isnan(numbers)]
        if len(known):
            low, high = self.range[name]
            self.range[name] = (min(low, float(known.min())), max(high, float(known.max())))
            kept = known.astype(self.columns[name].array.dtype)
            rounding = np.abs(kept - known) if kept.dtype == np.float32 else np.spacing(np.abs(known)) / 2
            self.rounded[name] = max(self.rounded[name], float(rounding.max()))

    def _times(self, source: Source, column: Any, row: int) -> np.ndarray:
        missing = column.isna().to_numpy()
        if missing.any():
            refuse(source, row + int(missing.argmax()), self.time, "no time, and every row needs one; fill it in")
        times = self.time_reader.read(column)
        bad = times == np.iinfo(np.int64).min
        if bad.any():
            place = int(bad.argmax())
            rule = f"{shown(column.iloc[place])} is not a time{self.time_reader.expected}"
            refuse(source, row + place, self.time, f"{rule}; write times as 2016-07-01 13:00:00")
        return times

    def _codes(self, source: Source, column: Any, row: int) -> np.ndarray:
        missing = column.isna().to_numpy()
        if missing.any():
            refuse(source, row + int(missing.argmax()), self.group, "no value, and every row needs a group; fill it in")
        codes, names = column.factorize()
        names = [self._group_name(source, str(name)) for name in names]
        known = np.array([self.known.setdefault(name, len(self.known)) for name in names], dtype=np.int32)
        return known[codes]

    def _group_name(self, source: Source, name: str) -> str:
        """Return the name of a group; if files are apart, with its file where an earlier file has one of that name."""
        number = len(self.first_rows)
        if self.owners is None or self.owners.setdefault(name, number) == number:
            return name
        return f"{name} of {source.path.name}"

    def _in_order(
        self, times: np.ndarray, groups: np.ndarray | None, order: np.ndarray | None, remarks: list[Remark]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the times so that they increase within groups, and the order of the rows that does it.

        Rows are sorted if their order is that of time reversed, or none at all. A few steps back are rather two series
        in one, and so are equal times. Raises DataError.
        """
        rows = times if order is None else times[order]
        inside = np.ones(len(rows) - 1, dtype=bool) if groups is None else groups[1:] == groups[:-1]
        back = (rows[1:] <= rows[:-1]) & inside
        if not back.any():
            return rows, order
        count, steps = int(back.sum()), int(inside.sum())
        set_back = set_back_clocks(rows, back) if self.time_reader.is_local else None
        if set_back is not None:
            rule = f"the clock was set back {wording.count(set_back, 'time')}: rows are taken in their order"
            remarks.append(Remark("time", rule, self.time))
            return rows, order
        is_reversed = count == steps
        if steps > 2 and (is_reversed or (count >= _UNSORTED * steps and not self.time_reader.is_ambiguous)):
            sort = np.lexsort((rows,) if groups is None else (rows, groups))
            order = sort if order is None else order[sort]
            rows = rows[sort]
            back = (rows[1:] <= rows[:-1]) & inside
            if not back.any():
                remarks.append(Remark("sorted", f"rows are sorted by time: {count:,} of {steps:,} steps went back"))
                return rows, order
        return self._refuse_order(rows, int(back.argmax()) + 1, order)

    def _refuse_order(self, times: np.ndarray, row: int, order: np.ndarray | None) -> NoReturn:
        time_form = self.time_reader.found
        assert time_form is not None
        before, here = map(str, time_form.show(times[row - 1 : row + 1]))
        within = "" if self.group is None else f" within its group of '{self.group}'"
        if times[row] == times[row - 1]:
            rule = f"{here} occurs twice{within}; keep one row per time"
        else:
            rule = f"{here} comes after {before}{within}; sort the rows by time"
        if self.group is None:
            rule += (
                f", or name the column that distinguishes several series with --group{self._likely_group(row, order)}"
            )
        if not time_form.is_number:
            rule += ", or write times in UTC if the clock was set back"
        row = row if order is None else int(order[row])
        source, first = self._source_of(row)
        refuse(source, row - first, self.time, rule)

    def _likely_group(self, row: int, order: np.ndarray | None) -> str:
        """Return the only column of texts that repeat, as an example; nothing if there is none or several."""
        source = self._source_of(row if order is None else int(order[row]))[0]
        head = read_head(source.path, 50, source.form)
        columns = {
            name: [cells[place] for cells in head.rows if place < len(cells)] for place, name in enumerate(head.names)
        }
        repeated = [
            name
            for name, cells in columns.items()
            if name != self.time and len(set(cells)) < len(cells) and not any(map(NUMBER.fullmatch, cells))
        ]
        return f" (such as {repeated[0]})" if len(repeated) == 1 else ""

    def _source_of(self, row: int) -> tuple[Source, int]:
        """Return the file that holds a row of the whole table, and the place of its first row in the table."""
        return [entry for entry in self.first_rows if entry[1] <= row][-1]


def _nines(column: np.ndarray, name: str, ends: tuple[float, float]) -> list[Remark]:
    """Return a remark on values such as -999 that lie far from all others: many tables write them for missing ones."""
    for value in ends:
        if not re.fullmatch(r"-?99+\.0", str(value)):
            continue
        known = column[~np.isnan(column)]
        others = known[known != value]
        if len(others) and np.abs(others - value).min() > np.ptp(others):
            times = wording.count(len(known) - len(others), "value")
            rule = "lie far from all others; leave them empty if they mean missing"
            return [Remark("missing", f"{times} of {value:g} {rule}", name)]
    return []


def _precision(numbers: np.ndarray) -> type:
    """Return the type in which numbers keep their differences: float32 if it is fine enough."""
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return np.float32
    rounding = float(np.abs(known.astype(np.float32) - known).max())
    return np.float32 if rounding <= _FINE * float(known.max() - known.min()) else np.float64


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
