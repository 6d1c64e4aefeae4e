"""Texts in tables, lines, folders and archives; and `Examples`, which every reader of labelled files returns.

Nothing is guessed if a wrong guess would go unseen: invalid input stops with one line that names file, line and column
(or byte) and how to fix it; what is accepted but worth knowing comes back as a remark.

S steps, D channels.
"""

import csv
import io
import itertools
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from bench import wording
from bench.data import json_tables
from bench.data.encodings import check_expansion, read_bytes, read_text
from bench.data.files import check_readable, ignored_remark, inside, is_left_behind, reason
from bench.data.json_tables import is_json
from bench.data.remarks import Remark
from bench.data.table_folders import FILE, series_name, tables_in
from bench.data.table_format import PARQUET, TableFormat, long_fields, parquet_names, sniff
from bench.data.table_pieces import parquet_cells
from bench.errors import DataError, did_you_mean

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz")
TABLES = (".tsv", ".csv", *json_tables.ENDINGS, *PARQUET)
MEMBER_BYTES = 64 << 20  # of a text in an archive, at most: a small archive can unpack to any size
MOST_MEMBERS = 1_000_000  # files and folders of an archive; even empty ones take memory


class Examples(NamedTuple):
    """Examples in the order of the files."""

    items: list[Any]  # series: (S, D) float32, NaN where a value is missing; or texts
    labels: list[str]
    names: list[str]  # of the examples: the file, and the line or number in it
    groups: list[str] | None = None  # of the examples, if a column names them
    classes: list[str] | None = None  # in the order in which the file declares them
    remarks: list[Remark] = []  # noqa: RUF012
    rate: int = 0  # of recordings: samples a second


# Tables


def is_table(path: Path) -> bool:
    """Return whether the name of a file says that it is a table."""
    return path.name.lower().removesuffix(".gz").endswith(TABLES)


def read_cells(
    path: Path, wanted: Sequence[str | int], form: TableFormat | None = None
) -> tuple[list[tuple[list[str], int]], list[Remark]]:
    """Return the wanted fields of every row with the row's line (of Parquet, its number), and remarks.

    The file is a .jsonl file (one object per line), Parquet, or a text table, whose format is found by
    `table_format.sniff`. Columns are wanted by name; or by number, from 1, if there is no header. Raises DataError.
    """
    if path.is_dir():
        return _folder_cells(path, wanted, form)
    kind = _table_kind(path)
    if kind in PARQUET:
        records = list(zip(parquet_cells(path, wanted), itertools.count(1), strict=False))
        if not records:
            raise DataError(f"{path}: no rows")
        return records, []
    if is_json(path):
        names, encoding = [str(column) for column in wanted], None if form is None else form.encoding
        json_rows, remarks = json_tables.cells(path, names, encoding, required=True)
        return list(json_rows), remarks
    rows, remarks = _rows(path, form)
    if form is not None and not form.header:
        wanted = [int(column) if str(column).isdecimal() else column for column in wanted]
    by_name = any(isinstance(column, str) for column in wanted)
    places: list[int] = []
    width, records = 0, []
    for fields, line in rows:
        if not width:
            width = len(fields)
            places = [_place(path, column, fields) for column in wanted]
            if by_name:
                continue
        if len(fields) != width:
            fix = "put a field that holds the delimiter in quotes (of a .tsv file: no field may hold a tab)"
            rule = f"has {len(fields)} fields, but the first line has {width}"
            raise DataError(f"{path}: line {line} {rule}; {fix}")
        # Spreadsheets write rows of delimiters below a table; the blank cell of a single column is a text.
        if len(fields) == 1 or any(field.strip() for field in fields):
            records.append(([fields[place] for place in places], line))
    if not records:
        raise DataError(f"{path}: no rows{' below the header' if by_name and width else ''}")
    return records, remarks


def _folder_cells(
    path: Path, wanted: Sequence[str | int], form: TableFormat | None
) -> tuple[list[tuple[list[str], int]], list[Remark]]:
    """Return the wanted fields of the rows of all tables in a folder. FILE is the name of the table."""
    is_file = [column == FILE for column in wanted]
    records: list[tuple[list[str], int]] = []
    remarks: list[Remark] = []
    for table in tables_in(path):
        name = series_name(table, path)
        rows, found = read_cells(table, [column for column in wanted if column != FILE], form)
        for fields, line in rows:
            rest = iter(fields)
            records.append(([name if file else next(rest) for file in is_file], line))
        remarks += [remark._replace(file=None) for remark in found]
    return records, list(dict.fromkeys(remarks))


def column_names(path: Path, form: TableFormat | None = None) -> list[str]:
    """Return the header of a table, or of the first table in a folder. Raises DataError."""
    path = tables_in(path)[0] if path.is_dir() else path
    if _table_kind(path) in PARQUET:
        return parquet_names(path)
    if is_json(path):
        return json_tables.column_names(path, None if form is None else form.encoding)
    first, _ = next(_rows(path, form)[0], ([], 0))
    if form is not None and not form.header:
        return [str(number) for number in range(1, len(first) + 1)]
    return [field.strip() for field in first]


def _table_kind(path: Path) -> str:
    return next((suffix.lower() for suffix in path.suffixes if suffix.lower() in TABLES), ".csv")


def _rows(path: Path, form: TableFormat | None) -> tuple[Iterator[tuple[list[str], int]], list[Remark]]:
    """Return the fields of every row of a text table with their line. In a .tsv file, quotes are part of the text."""
    form, _, remarks = sniff(path, form or TableFormat())
    text, _ = read_text(path, encoding=form.encoding)
    if _table_kind(path) == ".tsv" and form.delimiter == "\t":
        lines = ((line.split("\t"), number) for number, line in enumerate(text.split("\n"), 1) if line.strip())
        return lines, remarks
    return _quoted_rows(path, text, form.delimiter or ","), remarks


def _quoted_rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[list[str], int]]:
    line = 1
    with long_fields():
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                if fields:
                    yield fields, line
                line = reader.line_num + 1
        except csv.Error as error:
            fix = "close quotes, and double those inside quotes"
            raise DataError(f"{path}: line {reader.line_num}, in a row from line {line} on: {error}; {fix}") from None


def _place(path: Path, column: str | int, fields: list[str]) -> int:
    names = [field.strip() for field in fields]
    if isinstance(column, int):
        if not 1 <= column <= len(fields):
            raise DataError(f"{path}: line 1 has no column {column}; it has {len(fields)}, counted from 1")
        return column - 1
    if names.count(column) != 1:
        known = wording.first((name[:40] for name in names), 30)
        if column in names:
            raise DataError(f"{path}: line 1 names {names.count(column)} columns '{column}'; rename all but one")
        fix = "without a header, name columns by their numbers, from 1"
        hint = did_you_mean(column, names)
        raise DataError(f"{path}: there is no column '{column}'{hint} (columns: {known}); {fix}")
    return names.index(column)


# Texts of a class


def read_text_table(
    path: Path,
    text: str | int,
    label: str | int,
    form: TableFormat | None = None,
) -> Examples:
    """Read a text and a label per row, and its group if `form` has one."""
    group = form.group if form is not None else None
    cells, remarks = read_cells(path, [text, label, *([] if group is None else [group])], form)
    examples = Examples([], [], [], None if group is None else [], remarks=remarks)
    for fields, line in cells:
        for field, column in zip(fields, (text, label, group), strict=False):
            if not field.strip():
                raise DataError(f"{path}: line {line}, column '{column}': empty; fill it in, or delete the row")
        examples.items.append(fields[0])
        examples.labels.append(fields[1].strip())
        examples.names.append(f"{path.name}:{line}")
        if examples.groups is not None:
            examples.groups.append(fields[2].strip())
    return examples


def read_text_lines(path: Path, label: str, encoding: str | None = None) -> Examples:
    """Read a file whose lines are texts of one class. Raises DataError."""
    text, remarks = read_text(path, encoding=encoding)
    lines = [(line, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path}: no line holds a text; leave the file out")
    names = [f"{path.name}:{number}" for _, number in lines]
    return Examples([line for line, _ in lines], [label] * len(lines), names, remarks=remarks)


def read_text_folder(path: Path, encoding: str | None = None) -> Examples:
    """Read the files in the folders of a folder: one text per file, of the class that its folder is named after."""
    members, ignored = inside(path)
    files = [file for file in members if len(file.relative_to(path).parts) > 1]
    found = _texts(path, ((str(file.relative_to(path)), read_bytes(file)) for file in files), encoding)
    return found._replace(remarks=[*found.remarks, *ignored_remark(ignored)])


def read_text_archive(path: Path, encoding: str | None = None) -> Examples:
    """Read the files of an archive as `read_text_folder` would, without unpacking it to the disk."""
    check_readable(path)
    return _texts(path, _members(path), encoding)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of an archive that are in a folder. Raises DataError, also for an unsafe archive."""
    try:
        with tarfile.open(path) as archive:
            unpacked = 0
            for number, member in enumerate(archive, 1):
                if number > MOST_MEMBERS:
                    raise DataError(f"{path}: more than {MOST_MEMBERS:,} files and folders; give a smaller archive")
                unpacked += member.size
                check_expansion(path, unpacked)
                where = f"{path}: byte {member.offset} of the unpacked archive: '{member.name[:80]}'"
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts or "\\" in member.name:
                    raise DataError(f"{where} leads out of the archive; pack it again from inside its folder")
                if not member.isfile() and not member.isdir():
                    raise DataError(f"{where} is a link or a device; pack files and folders only (tar --dereference)")
                if member.size > MEMBER_BYTES:
                    raise DataError(f"{where} has {member.size:,} bytes, but a text may have at most {MEMBER_BYTES:,}")
                if member.isfile() and len(name.parts) > 1:
                    content = archive.extractfile(member)
                    yield member.name, b"" if content is None else content.read()
            # Read to the end: a compressed file has its checksum there. A plain one consists of blocks.
            while archive.fileobj is not None and archive.fileobj.read(1 << 20):
                pass
        if path.suffix == ".tar" and path.stat().st_size % tarfile.BLOCKSIZE:
            raise EOFError("its size is not a multiple of 512 bytes")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not an archive, or damaged or truncated ({reason(error)}); get it again") from None


def _texts(path: Path, files: Iterable[tuple[str, bytes]], encoding: str | None) -> Examples:
    examples = Examples([], [], [], remarks=[])
    for name, data in files:
        if is_left_behind(PurePosixPath(name)):
            continue
        text, remarks = read_text(path / name, data, encoding)
        if not text.strip():
            raise DataError(f"{path / name}: the file holds no text; leave it out")
        examples.items.append(text)
        examples.labels.append(PurePosixPath(name).parent.name)
        examples.names.append(name)
        examples.remarks.extend(remarks)
    if not examples.items:
        raise DataError(f"{path}: no files in folders; make a folder for each class, with a file for each text")
    return examples


def shown(text: str) -> str:
    """Return a text in quotes, shortened to what an error can show."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
