"""Labelled examples from the files of a classification data set, in any of the supported formats.

S steps, D channels.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.data import arrays, labels, recordings, series_tables, signals, splits, texts
from bench.data.files import ignored_remark, inside
from bench.data.table_format import TableFormat
from bench.data.table_pieces import is_named
from bench.data.tables import read_table
from bench.data.texts import Examples
from bench.errors import DataError, DeclarationError

READERS = ("ts", "arrays", "wav", "text", "table")


class Reading(NamedTuple):
    """How the files of a data set are read."""

    reader: str  # one of READERS
    label: str | int | None = None  # column; for recordings, field of the name from 1
    text: str | int | None = None  # column of texts
    columns: Sequence[str] | None = None  # of a table: steps, or channels of steps; None: all that have no other role
    form: TableFormat = TableFormat()  # with the columns that identify sequences and order their steps
    split_column: str | None = None  # column whose groups the split keeps together
    by_file: bool = False  # whether the split is by file: sequences of one group are then those of one file
    layout: str | None = None  # of arrays, one of `arrays.LAYOUTS`; None: channels last

    def value_columns(self, path: Path) -> list[str]:
        """Return the columns of a table that hold steps, or channels of steps."""
        if self.columns:
            return list(self.columns)
        others = (self.label, self.form.group, self.form.time, self.split_column)
        names = texts.column_names(path, self.form)
        return [name for name in names if is_named(name) and name not in others]


def read(paths: list[Path], reading: Reading) -> Examples:
    """Return the labelled examples of all files, one after the other. Raises DataError."""
    if reading.reader == "table" and reading.by_file:
        columns = reading.value_columns(paths[0])
        return _unified(_joined([_read_table([path], reading._replace(columns=columns)) for path in paths], paths))
    if reading.reader == "table":
        return _read_table(paths, reading)
    if reading.reader == "arrays" and paths[0].suffix == ".npy":
        if len(paths) % 2:
            raise DataError(f"{paths[-1]}: .npy files must come in pairs, x and then y, but there are {len(paths)}")
        pairs = zip(paths[::2], paths[1::2], strict=True)
        return _unified(_joined([arrays.read_arrays(x, y, layout=reading.layout) for x, y in pairs], paths[::2]))
    readers: dict[str, Callable[[Path], Examples]] = {
        "ts": signals.read_ts,
        "arrays": lambda path: arrays.read_arrays(path, layout=reading.layout),
        "wav": lambda path: _read_recordings(path, reading.label),
        "text": lambda path: _read_texts(path, paths, reading),
    }
    return _unified(_joined([readers[reading.reader](path) for path in paths], paths))


def _unified(found: Examples) -> Examples:
    """Return the examples with one spelling for each class, and remarks on that.

    Remarks on ignored files are dropped: they would be kept with the prepared arrays, but the files come and go.
    """
    found = found._replace(remarks=[remark for remark in found.remarks if remark.kind != "ignored"])
    if found.classes:
        return found
    remarks = [*found.remarks, *labels.remarked(found.labels)]
    return found._replace(labels=labels.unified(found.labels), remarks=remarks)


def read_new(path: Path, reading: Reading) -> Examples:
    """Return the examples of one new file or folder, whose labels are not read. Raises DataError."""
    if reading.reader == "table":
        return _read_series([path], reading, partial=True)
    if reading.reader == "text" and path.is_file() and texts.is_table(path):
        column = _new_text_column(path, reading)
        rows, remarks = texts.read_cells(path, [column], reading.form)
        return Examples([row[0] for row, _ in rows], [], [f"{path.name}:{line}" for _, line in rows], remarks=remarks)
    readers: dict[str, Callable[[], Examples]] = {
        "ts": lambda: signals.read_ts(path, labelled=False),
        "arrays": lambda: arrays.read_arrays(path, labelled=False, layout=reading.layout),
        "wav": lambda: _read_recordings(path, None),
        "text": lambda: _read_texts(path, [path], Reading("text", form=TableFormat(encoding=reading.form.encoding))),
    }
    return readers[reading.reader]()


def _new_text_column(path: Path, reading: Reading) -> str | int:
    """Return the column of texts: training files without a header have a number, but a new table may name it."""
    if isinstance(reading.text, int):
        return "text" if "text" in texts.column_names(path, reading.form) else reading.text
    return reading.text or "text"


def _joined(parts: list[Examples], paths: list[Path]) -> Examples:
    """Return the examples of all files, which must agree in their channels and declared classes."""
    first = parts[0]
    for part, path in zip(parts[1:], paths[1:], strict=True):
        if not isinstance(part.items[0], str) and part.items[0].shape[1] != first.items[0].shape[1]:
            channels = f"{part.items[0].shape[1]} channels, but {paths[0].name} has {first.items[0].shape[1]}"
            raise DataError(f"{path}: {channels}; all files need the same")
        if part.classes != first.classes:
            classes = f"classes {part.classes}, but {paths[0].name} has {first.classes}"
            raise DataError(f"{path}: {classes}; all files need the same")
    return first._replace(
        items=[item for part in parts for item in part.items],
        labels=[label for part in parts for label in part.labels],
        names=[name for part in parts for name in part.names],
        groups=None if first.groups is None else [group for part in parts for group in part.groups or []],
        remarks=[remark for part in parts for remark in part.remarks],
    )


def _read_recordings(path: Path, label: str | int | None) -> Examples:
    """Return the log-mel bands of a recording or of all in a folder, labelled by a field of the name or the folder."""
    if label is not None and not isinstance(label, int):
        rule = "must be the number of a field of the recording's name, from 1"
        raise DeclarationError(f"classification: label: {rule}, but found {label!r}")
    names = recordings.names_in(path)
    examples, rate = Examples([], [], [], remarks=ignored_remark(inside(path)[1] if path.is_dir() else [])), 0
    for name, (samples, rate) in zip(names, recordings.read(path, names), strict=True):
        recording = path / name if path.is_dir() else path
        examples.items.append(signals.log_mel(samples, rate))
        examples.labels.append(recording.parent.name if label is None else splits.name_field(name, label))
        examples.names.append(name)
    return examples._replace(rate=rate)


def _read_texts(path: Path, paths: list[Path], reading: Reading) -> Examples:
    if path.is_dir():
        return texts.read_text_folder(path, reading.form.encoding)
    if path.name.lower().endswith(texts.ARCHIVES):
        return texts.read_text_archive(path, reading.form.encoding)
    if texts.is_table(path):
        text = "text" if reading.text is None else reading.text
        label = "label" if reading.label is None else reading.label
        return texts.read_text_table(path, text, label, reading.form)
    stems = [other.stem for other in paths]
    label = path.stem if len(set(stems)) == len(stems) else path.name
    return texts.read_text_lines(path, label, reading.form.encoding)


def _read_table(paths: list[Path], reading: Reading) -> Examples:
    """Return sequences of numbers with their labels, which are read as text."""
    examples = _read_series(paths, reading)
    if reading.label is None:  # a folder of tables, in a folder for each class
        return _unified(examples._replace(labels=[Path(name).parent.name for name in examples.names]))
    columns = (reading.label, reading.split_column, reading.form.group)
    roles = [str(column) for column in columns if column is not None]
    rows = []
    for path in paths:
        for row, line in texts.read_cells(path, roles, reading.form)[0]:
            if not all(cell.strip() for cell in row):
                column = next(name for name, cell in zip(roles, row, strict=True) if not cell.strip())
                raise DataError(f"{path}: line {line}, column '{column}': empty; fill it in, or remove the row")
            rows.append([row[0].strip(), *row[1:]])
    given = [row[0] for row in rows]
    rows = [[label, *row[1:]] for label, row in zip(labels.unified(given), rows, strict=True)]
    names = examples.names
    if reading.form.group is not None:
        rows = _one_row_per_group(rows, names, roles, paths[0])
        if reading.by_file:
            names = [f"{paths[0].name}:{name.replace(':', '_')}" for name in names]
    groups = [row[1] for row in rows] if reading.split_column else None
    remarks = [*examples.remarks, *labels.remarked(given)]
    return examples._replace(labels=[row[0] for row in rows], names=names, groups=groups, remarks=remarks)


def _read_series(paths: list[Path], reading: Reading, partial: bool = False) -> Examples:
    columns = reading.value_columns(paths[0])
    table = read_table(paths, columns, reading.form, partial=partial)
    series = series_tables.from_table(table, columns, paths[0])
    names = series.names if reading.form.group is not None else [f"{paths[0].name}:{number}" for number in series.names]
    return Examples(np.split(series.steps, series.starts[1:]), [], names, remarks=table.remarks)


def _one_row_per_group(rows: list[list[str]], names: list[str], roles: list[str], path: Path) -> list[list[str]]:
    """Return label (and split group) of each sequence, which all rows of its group must share."""
    first: dict[str, list[str]] = {}
    for *row, name in rows:
        if first.setdefault(name, row) != row:
            column = next(c for c, a, b in zip(roles, first[name], row, strict=False) if a != b)
            raise DataError(
                f"{path}: column '{column}': more than one value in sequence '{name}'; it needs exactly one"
            )
    return [first[name] for name in names]
