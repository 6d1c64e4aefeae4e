"""Your own file as a dataset: its files, its name, its card, and what was found out about it.

Only what is safe is inferred: the one column of dates is the time, the one column of numbers the target, and the name
of a file says of which kind it is. Everything else ends in one line that says what the file holds and which option
decides.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import wording
from bench.config import datasets, plugins
from bench.config.datasets import DataFile, Dataset, make_task
from bench.config.sweep_settings import SweepConfig, flag
from bench.data import cards
from bench.data.columns import Look, check_roles, look_at
from bench.data.files import check_readable, checksum, ignored_remark, inside, shown
from bench.data.questions import question
from bench.data.summary import summary
from bench.data.table_folders import tables_in
from bench.data.table_format import TableFormat
from bench.data.task_of_file import OPTIONS, RECORDINGS, TEXT_FILES, check_kind, implied, is_table, task_of
from bench.data.texts import read_cells
from bench.errors import BenchError, DataError, DeclarationError, UnknownNameError

MOST_SPREAD = 10  # times, by which the scales of series differ at most to share one
_WHOLE = 10**9  # a length that no sequence has: all of its steps
_SUFFIXES = {".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq", ".ts", ".npz", ".npy", ".txt", ".gz"}
_SUFFIXES |= {".conllu", ".conll", ".tar", ".tgz", ".bz2", ".xz"}


class Own(NamedTuple):
    """A file as a dataset, and what you should know before anything trains."""

    card: Dataset
    remarks: list[str]
    listing: str | None = None  # of a folder: the text of the file that its card names as listing


def make(config: SweepConfig) -> Own | None:
    """Return the dataset that `data` and its options make; None without `data`. Raises BenchError."""
    given = {name for name in set().union(*OPTIONS.values()) | {"task", "save_card"} if getattr(config, name)}
    if not config.data:
        if given:
            raise DeclarationError(f"{flag(min(given))} needs --data: it describes a file of yours")
        return None
    if config.datasets:
        raise DeclarationError("give --data or --dataset, not both; --save-card makes a dataset of your file")
    paths = [path.absolute() for path in config.data]
    for path in paths:
        check_readable(path, folder=True)
    path = paths[0]
    config = implied(config, paths)
    check_roles(config, path)
    check_kind(config, path)
    files, listing = _files(paths)
    look = look_at(path, config) if is_table(path, config) else None
    task_name = config.task or task_of(config, path, look)
    _check_options(task_name, given, path)
    asked = question(task_name, config, paths, look)
    arguments = asked.arguments | {"files": [file.model_dump() for file in files]}
    task = _task(paths, task_name, config, arguments)
    notes = list(asked.notes)
    if _needs_scales(task_name, config, task):
        arguments["scaling"] = "group"
        notes.append(f"one scale per {config.group}, since they differ by {task.meta['spread']:,.0f} times (--scaling)")
        task = _task(paths, task_name, config, arguments)
    lengths = sorted(set(config.lengths)) if config.lengths else cards.ladder(task_name, task, config.budget)
    card = Dataset(
        name=_free_name(paths, files, config.results),
        title=f"{path.name}: {task_name.replace('_', ' ')}",
        task=task_name,
        kind="real",
        lengths=lengths,
        length_meaning=cards.MEANING[task_name],
        source=", ".join(file.name for file in paths),
        licence="your own",
        split=cards.split_rule(task_name, asked.arguments),
        files=files,
        arguments=arguments,
    )
    ignored = ignored_remark(inside(path)[1]) if path.is_dir() else []
    lines = summary(path, card, task, look, notes, bool(config.lengths)) + _random_in_time(config, card, look)
    return Own(card, lines + [remark.about(path.name) for remark in ignored], listing)


def _random_in_time(config: SweepConfig, card: Dataset, look: Look | None) -> list[str]:
    """Return a remark if rows with times, each an example, are split at random."""
    rule = card.arguments.get("splits")
    is_random = not isinstance(rule, dict) or rule.get("by") in ("stratified", "content")
    if look is None or not look.dates or config.group or not is_random:
        return []
    if card.task not in ("classification", "regression") or "text" in card.arguments:
        return []
    fix = "if neighbours in time are alike, name the splits in a column with --split-by, later rows for the test"
    return [f"{look.path.name}: column '{look.dates[0]}': rows have times, but are split at random; {fix}"]


def _needs_scales(task_name: str, config: SweepConfig, task: Any) -> bool:
    """Return whether the series of a forecast differ so much that one scale would make the small ones constant."""
    return task_name == "forecasting" and config.scaling is None and task.meta["spread"] > MOST_SPREAD


def save(own: Own, folder: Path = Path("datasets")) -> str:
    """Write the card into a folder of cards, and return a sentence about what was done. Raises BenchError."""
    return cards.save(own.card, own.listing, folder)


# The files and the name


def _files(paths: Sequence[Path]) -> tuple[list[DataFile], str | None]:
    """Return the files of a card; of a folder also the text of its listing."""
    files = []
    for path in paths:
        _check_name(path)
        if path.is_dir():
            if len(paths) > 1:
                raise DeclarationError(f"{path}: a folder must be the only --data, but {len(paths)} are given")
            return _folder(path)
        size = check_readable(path)
        if not size:
            raise DataError(f"{path}: the file is empty")
        files.append(DataFile(path=str(path), sha256=checksum(path), size_bytes=size))
    return files, None


def _folder(path: Path) -> tuple[list[DataFile], str]:
    """Return a folder of examples as a file of a card, and the text of its listing.

    Its hash is that of the sorted lines "path sha256", with paths that begin at the folder's own name: a folder that
    was moved keeps its hash.
    """
    members, _ = inside(path)
    if not any(file.suffix.lower() in (RECORDINGS, TEXT_FILES) for file in members) and not tables_in(path):
        kinds = wording.first(sorted({file.suffix or file.name for file in members}), 8) or "nothing"
        rule = "a folder holds recordings or texts in a folder for each class, or tables with a series each"
        raise DataError(f"{path}: no .wav, .txt or .csv file in it, but {kinds}; {rule}")
    sizes = {file: file.stat().st_size for file in members}
    for file in members:
        _check_name(file)
    hashes = {file: checksum(file) for file in members}
    lines = sorted(f"{file.relative_to(path.parent).as_posix()} {digest}\n" for file, digest in hashes.items())
    rows = [f"{file}\t{hashes[file]}\t{sizes[file]}\t\n" for file in members]
    sha256 = hashlib.sha256("".join(lines).encode()).hexdigest()
    whole = DataFile(path=str(path), sha256=sha256, size_bytes=sum(sizes.values()), listing=f"{slug(path)}.tsv")
    return [whole], "path\tsha256\tsize_bytes\turl\n" + "".join(rows)


def _check_name(path: Path) -> None:
    """Raise DataError for a path that cannot be written into a card, a listing or a command."""
    try:
        bad = next((repr(char) for char in str(path) if char < " " or char == "\x7f"), None)
        str(path).encode()
    except UnicodeEncodeError:
        bad = "bytes that are not UTF-8"
    if bad is not None:
        raise DataError(f"{shown(path)}: the name holds {bad}; rename the file or its folder")


def slug(path: Path) -> str:
    """Return the name of a file without its endings, as a name that `datasets.check_name` accepts."""
    name = path.name
    while Path(name).suffix.lower() in _SUFFIXES:
        name = Path(name).stem
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:64].lower() or "data"


def _free_name(paths: list[Path], files: list[DataFile], results: Path) -> str:
    """Return the name of the dataset: that of the file, with some digits of its path if other data have that name.

    Two files that are both called my.csv would share experiments and curves of expected performance. Which data have a
    name is read from the cards that sweeps of this results folder froze: a file that was swept before keeps its name,
    and so its sweeps can be resumed, those of older versions too. Dataset cards have their names for themselves.
    """
    name = slug(paths[0]) if len(paths) == 1 else re.sub(r"(?i)[._-]train$", "", slug(paths[0]))
    own_paths, own_hashes = ({getattr(file, key) for file in files} for key in ("path", "sha256"))
    is_taken = False
    if name in plugins.declarations("datasets"):
        with contextlib.suppress(BenchError):
            is_taken = {file.sha256 for file in datasets.read(name).files} != own_hashes
    for spec in sorted((results / "sweeps").glob("*/sweep.json")):
        try:
            card = json.loads(spec.read_text()).get("card") or {}
            known = [(file["path"], file["sha256"]) for file in card.get("files", [])]
        except (OSError, ValueError, AttributeError, TypeError, KeyError):
            continue  # a damaged sweep is reported when it is resumed
        if {path for path, _ in known} == own_paths:
            return str(card["name"])
        is_taken |= card.get("name") == name and {sha256 for _, sha256 in known} != own_hashes
    digits = hashlib.sha256(str(paths[0]).encode()).hexdigest()[:6]
    return f"{name[:57]}-{digits}" if is_taken else name


# What cannot be trained on


def _check_options(task_name: str, given: set[str], path: Path) -> None:
    known = [name for name in OPTIONS if name in plugins.names("tasks")]
    if task_name not in known:
        raise UnknownNameError("task of files", task_name, known)
    for name in sorted(given - OPTIONS[task_name] - {"task", "save_card"}):
        others = [other for other in known if name in OPTIONS[other]]
        rule = f"{flag(name)} is not an option of {task_name}, but of {' and '.join(others)}"
        raise DeclarationError(f"{path}: {rule}; leave it out, or choose another --task")


def _task(paths: list[Path], task_name: str, config: SweepConfig, arguments: dict[str, Any]) -> Any:
    """Return the task at its shortest length, or at the whole of a sequence, if the data and all lengths are valid."""
    is_of_sequences = task_name in ("regression", "classification", "tagging", "translation", "transcription")
    task = _probe(paths, task_name, _WHOLE if is_of_sequences else min(config.lengths or [1]), arguments)
    if task_name in _CHECKS:
        _CHECKS[task_name](paths, arguments, task)
    for length in config.lengths or []:
        if is_of_sequences and length > task.num_steps:
            rule = f"--length must be at most {task.num_steps:,}, the longest training sequence, but is {length:,}"
            if arguments.get("reader") == "table" and "group" not in arguments:
                rule += "; each row is read as a sequence: if a sequence has several rows, name its id with --group"
            raise DeclarationError(f"{paths[0]}: {rule}")
        _probe(paths, task_name, length, arguments)
    return task


def _probe(paths: list[Path], task_name: str, length: int, arguments: dict[str, Any]) -> Any:
    """Return the task at one length. Raises the error of the reader, always with the name of the file."""
    try:
        return make_task(task_name, length, arguments)
    except BenchError as error:
        is_named = any(path.name in str(error) for path in paths)
        raise (error if is_named else type(error)(f"{paths[0]}: {error}")) from None


def _check_windows(paths: list[Path], arguments: dict[str, Any], task: Any) -> None:
    target, remarks = arguments["target"], task.meta["remarks"]
    if {remark.column for remark in remarks if remark.kind == "constant"} >= set(target):
        raise DataError(
            f"{paths[0]}: column '{target[0]}' has the same value in all rows; there is nothing to forecast"
        )
    rows = task.meta["rows"][0]
    if arguments.get("season", 1) >= rows:
        rule = f"--season must be less than {rows:,}, the rows of the training part, but is {arguments['season']:,}"
        raise DeclarationError(f"{paths[0]}: {rule}")


def _check_classification(paths: list[Path], arguments: dict[str, Any], task: Any) -> None:
    label = arguments.get("label")
    if arguments["reader"] in ("table", "text") and label is not None:
        for (cell,), line in read_cells(paths[0], [label], TableFormat.of(arguments))[0]:
            if cell.strip().lower() in ("", "nan"):
                raise DataError(f"{paths[0]}: line {line}, column '{label}': no label; fill it in, or delete the row")


def _check_tagging(paths: list[Path], arguments: dict[str, Any], task: Any) -> None:
    labels = task.meta["labels"]
    if len(labels) < 2:
        raise DataError(f"{paths[0]}: column '{arguments['label']}' has one label only, '{labels[0]}'; two are needed")


_CHECKS = {
    "forecasting": _check_windows,
    "anomaly": _check_windows,
    "classification": _check_classification,
    "tagging": _check_tagging,
}
