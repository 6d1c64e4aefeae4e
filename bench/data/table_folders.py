"""Folders of tables: each file is one series or sequence, named after the file."""

from pathlib import Path

from bench.data.files import inside

FILE = "file"
"""The group of a folder's rows: the path of their file in the folder, without its ending."""

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")
_OTHER = (".wav", ".txt")  # a folder of recordings or texts may also hold a table about them


def tables_in(path: Path) -> list[Path]:
    """Return the tables in a folder and below it, sorted; none if it holds recordings or texts. Raises DataError."""
    if not path.is_dir():
        return []
    members, _ = inside(path)
    if any(file.name.lower().endswith(_OTHER) for file in members):
        return []
    return [file for file in members if file.name.lower().removesuffix(".gz").endswith(ENDINGS)]


def series_name(path: Path, folder: Path | None) -> str:
    """Return the name of the series in a file: its path in the folder, without its ending."""
    name = path.name if folder is None else path.relative_to(folder).as_posix()
    for ending in (".gz", *ENDINGS):
        name = name[: -len(ending)] if name.lower().endswith(ending) else name
    return name


def have_classes(path: Path) -> bool:
    """Return whether the tables of a folder lie in folders of it, as in one for each class."""
    parents = {table.parent for table in tables_in(path)}
    return len(parents) > 1 and path not in parents
