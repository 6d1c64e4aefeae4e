"""Folders of recordings, and the table that says what is spoken in them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.data import signals, texts
from bench.data.files import inside
from bench.data.remarks import Remark
from bench.data.table_format import TableFormat
from bench.data.table_pieces import is_named
from bench.errors import DataError

ENDING = ".wav"


class Transcribed(NamedTuple):
    """What is spoken in the recordings of a folder, in the order of its table."""

    names: list[str]  # of the recordings: paths in the folder
    texts: list[str]
    groups: list[str] | None  # what a further column says of each recording
    remarks: list[Remark]


def names_in(path: Path) -> list[str]:
    """Return the recordings of a folder by their paths in it, sorted; the name of a file that is one.

    Raises DataError if the folder holds none.
    """
    if not path.is_dir():
        return [path.name]
    names = [file.relative_to(path).as_posix() for file in inside(path)[0] if file.suffix.lower() == ENDING]
    if not names:
        raise DataError(f"{path}: no .wav file in this folder")
    return names


def read(path: Path, names: Sequence[str]) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the samples (S,) of the named recordings of a folder, or of a file, and their samples per second.

    Raises DataError, also if they do not all have the same number of samples per second.
    """
    rate = 0
    for name in names:
        recording = path / name if path.is_dir() else path
        samples, its_rate = signals.read_wav(recording)
        if rate not in (0, its_rate):
            rates = f"{its_rate:,} samples per second, but {Path(names[0]).name} has {rate:,}"
            raise DataError(f"{recording}: {rates}; resample it: ffmpeg -ar {rate}")
        rate = its_rate
        yield samples, rate


def table_in(folder: Path) -> Path:
    """Return the only table of a folder of recordings. Raises DataError."""
    tables = [file for file in inside(folder)[0] if texts.is_table(file)]
    if len(tables) != 1:
        rule = "must hold one table (.csv, .tsv, .jsonl, .parquet) with a column of recordings and one of transcripts"
        names = f": {', '.join(file.name for file in tables[:3])}" if tables else ""
        raise DataError(f"{folder}: {rule}, but has {len(tables)}{names}")
    return tables[0]


def transcripts(folder: Path, text: str, form: TableFormat, group: str | None = None) -> Transcribed:
    """Return what the column `text` of the folder's table says of its recordings, and the column `group`, if named.

    The column of the recordings is the one whose cells all name a file of the folder: by its path in it or, if that is
    unique, by its name, with or without .wav. Raises DataError.
    """
    table, recordings = table_in(folder), names_in(folder)
    wanted = [text, *([group] if group else [])]
    columns = list(dict.fromkeys([*wanted, *filter(is_named, texts.column_names(table, form))]))
    rows, remarks = texts.read_cells(table, columns, form)
    known = _spellings(recordings)
    cells = {name: [row[place].strip() for row, _ in rows] for place, name in enumerate(columns)}
    named = _recordings(table, {name: part for name, part in cells.items() if name not in wanted}, known)
    lines = [line for _, line in rows]
    seen: dict[str, int] = {}
    for name, spoken, line in zip(named, cells[text], lines, strict=True):
        if not spoken:
            raise DataError(f"{table}: line {line}, column '{text}': no transcript; write it, or delete the row")
        if seen.setdefault(name, line) != line:
            raise DataError(f"{table}: line {line}: '{name}' is also in line {seen[name]}; delete one of the rows")
    missing = len(recordings) - len(named)
    if missing:
        remarks = [*remarks, Remark("missing", f"{missing:,} recordings without a transcript are left out")]
    return Transcribed(
        named, [" ".join(part.split()) for part in cells[text]], cells[group] if group else None, remarks
    )


def _spellings(recordings: Sequence[str]) -> dict[str, str | None]:
    """Return the recording that each spelling of a name means; None if it means several."""
    known: dict[str, str | None] = {}
    for recording in recordings:
        path = Path(recording)
        whole = {recording, path.with_suffix("").as_posix()}
        for spelling in {*whole, path.name, path.stem}:
            known[spelling] = recording if spelling in whole or spelling not in known else None
    return known


def _recordings(table: Path, cells: dict[str, list[str]], known: dict[str, str | None]) -> list[str]:
    """Return the recording of each row, from the column that names them. Raises DataError."""
    found = {column: [known.get(name) for name in names] for column, names in cells.items()}
    if not found:
        raise DataError(f"{table}: no column but that of the transcripts; add one that names the recordings")
    column = max(found, key=lambda name: sum(recording is not None for recording in found[name]))
    names = [recording for recording in found[column] if recording is not None]
    if not names:
        raise DataError(f"{table}: no column names the recordings of the folder; add one, as in {next(iter(known))}")
    if len(names) < len(found[column]):
        row = found[column].index(None)
        rule = f"row {row + 1:,} names '{cells[column][row][:80]}', which is not one recording of the folder"
        raise DataError(f"{table}: column '{column}': {rule}; correct it, or delete the row")
    return names
