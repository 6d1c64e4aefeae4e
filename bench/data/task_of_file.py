"""Which task your file poses, by its name, its options and its first rows."""

import re
from pathlib import Path

from bench.config.sweep_settings import SweepConfig
from bench.data import json_tables, tag_columns, texts
from bench.data.columns import TOKENS, Look, with_names
from bench.data.encodings import opened
from bench.data.numbers import NUMBER
from bench.data.table_folders import FILE, have_classes, tables_in
from bench.data.table_format import PARQUET, TableFormat
from bench.data.table_pieces import MISSING, read_head
from bench.errors import DataError, DeclarationError

OPTIONS = {
    "forecasting": {"target", "features", "time", "group", "horizon", "season", "splits", "split_by"}
    | {"scaling", "delimiter", "encoding", "no_header"},
    "anomaly": {"target", "features", "time", "group", "label", "season", "splits", "split_by"}
    | {"delimiter", "encoding", "no_header"},
    "regression": {"target", "features", "time", "group", "splits", "split_by"}
    | {"delimiter", "encoding", "no_header"},
    "classification": {"label", "text", "features", "time", "group", "tokens", "splits", "split_by", "no_header"}
    | {"layout", "delimiter", "encoding"},
    "language_modelling": {"tokens", "splits", "encoding"},
    "tagging": {"label", "text", "group", "splits", "split_by", "delimiter", "encoding"},
    "translation": {"text", "target", "splits", "split_by", "delimiter", "encoding"},
    "transcription": {"text", "group", "tokens", "splits", "split_by", "delimiter", "encoding"},
}
"""Which options of a file each task has."""

RECORDINGS, TEXT_FILES = ".wav", ".txt"
_BINARY = (RECORDINGS, ".ts", ".npz", ".npy")


def ending(path: Path) -> str:
    """Return what the name of a file ends with, in lower case and without .gz."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def is_archive(path: Path) -> bool:
    """Return whether the name of a file is that of an archive of texts."""
    return path.name.lower().endswith(texts.ARCHIVES)


def is_table(path: Path, config: SweepConfig) -> bool:
    """Return whether a file, or a folder of them, is read as a table.

    Spreadsheets are included: the reader tells how to save them.
    """
    if path.is_dir():
        return bool(tables_in(path))
    if config.task == "tagging" and config.group is None and tag_columns.found_in(path, config.encoding):
        return False
    named = ending(path) in (".csv", ".tsv", ".xlsx", ".xls", ".ods", *PARQUET, *json_tables.ENDINGS)
    has_columns = bool(config.target or config.features or config.time or config.horizon)
    return named or config.no_header or has_columns or config.task in ("forecasting", "anomaly", "regression")


def check_kind(config: SweepConfig, path: Path) -> None:
    """Raise DataError if the file can only hold examples of classes, and --task is another one."""
    if json_tables.is_json(path) and (config.delimiter or config.no_header):
        option = "delimiter" if config.delimiter else "no-header"
        raise DeclarationError(f"{path}: --{option} is not applicable to a {ending(path)} file; leave it out")
    is_of_classes = (path.is_dir() and not tables_in(path)) or is_archive(path) or ending(path) in (".npz", ".npy")
    is_spoken = path.is_dir() and config.task == "transcription"
    if is_of_classes and config.task in OPTIONS.keys() - {"classification"} and not is_spoken:
        others = {"language_modelling": "a text file", "transcription": "a folder of recordings"}
        needed = others.get(config.task or "", "a table (.csv, .tsv, .parquet)")
        raise DataError(f"{path}: --task {config.task} needs {needed}; save the data as one")


def task_of(config: SweepConfig, path: Path, look: Look | None) -> str:
    """Return the task that a file and its options imply, if no other is possible. Raises BenchError."""
    end = ending(path)
    if end == ".conllu" or (end not in _BINARY and _is_tagged(path, config, look)):
        return "tagging"
    if (path.is_dir() and look is None) or is_archive(path) or end in (".ts", ".npz", ".npy"):
        return "classification"
    if end == TEXT_FILES and look is None and not (config.label or config.text):
        if _holds_numbers(path):
            rule = "every line holds numbers that blanks separate, which is no text; separate them by commas or tabs"
            raise DeclarationError(f"{path}: {rule}, or give --task language_modelling")
        return "language_modelling"
    if end == RECORDINGS:
        raise DataError(f"{path}: one recording; give the folder that holds a folder of recordings for each class")
    if config.horizon or config.season:
        return "forecasting"
    if config.group and config.label and not config.text and look and with_names(look.texts, TOKENS):
        return "tagging"
    if config.label or config.text:
        return "classification"
    if look is not None:
        if not config.target and with_names(look.names, ("label", "class")):
            return "classification"
        if path.is_dir() and have_classes(path) and not config.target:
            return "classification"
        values = [name for name in look.numbers if name not in (config.group, config.split_by)]
        has_time = config.time or len(look.dates) == 1
        if has_time and (len(values) == 1 or (config.group in (None, FILE) and (config.time or config.target))):
            return "forecasting"  # no other task has a use for times without sequences, or has inputs
    columns = f"{look}; " if look is not None else ""
    raise DeclarationError(f"{path}: {columns}choose the task: --task {', '.join(OPTIONS)}")


def implied(config: SweepConfig, paths: list[Path]) -> SweepConfig:
    """Return the settings with what the form of the files says: the series of a folder, and a UCR table.

    A table of the UCR archive has no header, and the class of a series stands before its values. Raises DataError.
    """
    path = paths[0]
    if config.group is None and tables_in(path) and config.task != "tagging":
        return config.model_copy(update={"group": FILE})
    is_open = config.task in (None, "classification") and not (config.no_header or config.label or config.text)
    if is_open and path.is_file() and ending(path) in (".tsv", ".csv", TEXT_FILES) and is_ucr(path, config):
        return config.model_copy(update={"no_header": True, "label": "1", "task": "classification"})
    return config


def is_ucr(path: Path, config: SweepConfig) -> bool:
    """Return whether a table without a header has a class in its first column and the steps of a series in the others.

    The first column then holds few whole numbers, and the others hold decimals. A .csv or .txt file must be called
    NAME_TRAIN or NAME_TEST as well. Raises DataError.
    """
    if not path.is_file():
        return False
    is_named = re.search(r"(?i)_(train|test)$", path.name.removesuffix(".gz").rpartition(".")[0])
    if ending(path) != ".tsv" and not is_named:
        return False
    try:
        rows = read_head(path, 50, TableFormat(config.delimiter, config.encoding, header=False)).rows
    except DataError:
        return False
    cells = [[cell.strip() for cell in row] for row in rows]
    known = [cell for row in cells for cell in row if cell not in MISSING]
    if len(cells) < 2 or min(map(len, cells)) < 4 or not all(map(NUMBER.fullmatch, known)):
        return False
    labels = [float(row[0]) if row[0] not in MISSING else 0.5 for row in cells]
    are_classes = all(label == int(label) for label in labels) and len(set(labels)) <= max(2, len(labels) // 2)
    return are_classes and any("." in cell for row in cells for cell in row[1:])


def _holds_numbers(path: Path) -> bool:
    """Return whether the first lines of a text hold equally many numbers, as the UCR archive's .txt files do."""
    with opened(path) as file:
        rows = [line.decode("utf-8", "replace").split() for line in file.read(1 << 16).split(b"\n")[:-1]]
    widths = {len(row) for row in rows if row}
    return len(rows) > 1 and len(widths) == 1 and widths.pop() > 2 and all(map(NUMBER.fullmatch, sum(rows[:9], [])))


def _is_tagged(path: Path, config: SweepConfig, look: Look | None) -> bool:
    """Return whether a text file holds sentences in columns, as CoNLL-2003 does. Raises DataError."""
    is_text = path.is_file() and look is None and not is_archive(path)
    return is_text and config.group is None and tag_columns.are_labelled(path, config.encoding)
