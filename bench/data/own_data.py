"""Your own file as a dataset: a card made of the file and a few options, with what was found out said aloud.

Inferred is only what is safe: the one column of dates is the time, the one column of numbers the target, a file whose
ending says its kind. Anything else ends in one line that says what is there and which option decides.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.config import plugins
from bench.config.datasets import DataFile, Dataset, make_task
from bench.config.sweep_settings import SweepConfig
from bench.data import texts
from bench.data.encodings import read_text
from bench.data.files import checksum
from bench.data.table_format import NUMBER, PARQUET, TableFormat
from bench.data.tables import MISSING, is_named, read_head, read_table
from bench.data.timestamps import DATE
from bench.errors import BenchError, DataError, DeclarationError, UnknownNameError, did_you_mean

OPTIONS = {
    "forecasting": {"target", "features", "time", "group", "horizon", "season", "splits", *("delimiter", "encoding")}
    | {"no_header"},
    "regression": {"target", "features", "time", "group", "splits", "delimiter", "encoding", "no_header"},
    "classification": {"label", "text", "features", "time", "group", "tokens", "splits", "no_header"}
    | {"delimiter", "encoding"},
    "language_modelling": {"tokens", "splits", "encoding"},
    "tagging": {"label", "text", "group", "splits", "delimiter", "encoding"},
}
"""Which options of a file each kind of task has."""

TARGETS = ("target", "y")
LABELS = ("label", "class", "target", "y")
TEXTS = ("text", "sentence")
STEPS = ("token", "word", "form")
"""Names of columns that say what they are for."""

RECORDINGS, TEXT_FILES = ".wav", ".txt"
SAMPLE_ROWS = 50
FIRST_RUNG = 64  # of the ladder of lengths, where none is asked

_WHOLE = 10**9  # a length that no sequence has: all of its steps
_SUFFIXES = {".csv", ".tsv", ".jsonl", ".parquet", ".pq", ".ts", ".npz", ".npy", ".txt", ".conllu", ".gz"}
_SUFFIXES |= {".tar", ".tgz", ".bz2", ".xz"}
_STEPS = {1: "a second", 60: "a minute", 3_600: "hourly", 86_400: "daily", 604_800: "weekly"}


class Own(NamedTuple):
    """A file as a dataset, and what a person should know before anything trains."""

    card: Dataset
    remarks: list[str]
    listing: str | None = None  # of a folder: what a card names as its listing


class _Look(NamedTuple):
    """What the first rows of a table tell."""

    path: Path
    names: list[str]
    dates: list[str]  # columns, each in one of these
    numbers: list[str]
    texts: list[str]
    form: str  # how the file is written

    def __str__(self) -> str:
        kinds = {"dates": self.dates, "numbers": self.numbers, "text": self.texts}
        shown = {what: ", ".join(names[:12]) + ", …" * (len(names) > 12) for what, names in kinds.items() if names}
        return "; ".join(f"{what} in {names}" for what, names in shown.items())


class _Asked(NamedTuple):
    """The arguments of a task and how they read."""

    arguments: dict[str, Any]
    told: list[str]


def make(config: SweepConfig) -> Own | None:
    """Return the dataset that `data` and its options make; None where no `data` is given. Raises BenchError."""
    given = {name for name in set().union(*OPTIONS.values()) | {"task", "save_card"} if getattr(config, name)}
    if not config.data:
        if given:
            raise DeclarationError(f"{_flag(min(given))} needs --data, a file of your own")
        return None
    if config.datasets:
        raise DeclarationError("--data and --dataset: give one of them; --save-card makes a dataset of your file")
    paths = [path.absolute() for path in config.data]
    _check_roles(config, paths[0])
    _check_form(config, paths[0])
    files, listing = _files(paths)
    look = _look(paths[0], config) if _is_table(paths[0], config) else None
    kind = config.task or _kind(config, paths[0], look)
    known = [name for name in OPTIONS if name in plugins.names("tasks")]
    if kind not in known:
        raise UnknownNameError("task of files", kind, known)
    for name in sorted(given - OPTIONS[kind] - {"task", "save_card"}):
        having = [other for other in known if name in OPTIONS[other]]
        raise DeclarationError(f"{paths[0]}: {_flag(name)}: not an option of {kind}, but of {' and '.join(having)}")
    asked = _ASK[kind](config, paths, look)
    arguments = asked.arguments | {"files": [file.model_dump() for file in files]}

    whole = kind in ("regression", "classification", "tagging")
    task = _probe(paths, kind, min(config.lengths or [_WHOLE if whole else 1]), arguments)
    _check(paths, kind, asked.arguments, task)
    lengths = sorted(set(config.lengths)) if config.lengths else _ladder(kind, task)
    for length in config.lengths or []:
        _probe(paths, kind, length, arguments)
    card = Dataset(
        name=_slug(paths[0]) if len(paths) == 1 else re.sub(r"(?i)[._-]train$", "", _slug(paths[0])),
        title=f"{paths[0].name}: {kind.replace('_', ' ')}",
        task=kind,
        kind="real",
        lengths=lengths,
        length_meaning=_MEANING[kind],
        source=", ".join(path.name for path in paths),
        licence="your own",
        split=_split(kind, asked.arguments),
        files=files,
        arguments=arguments,
    )
    return Own(card, _remarks(paths[0], card, task, look, asked, bool(config.lengths)), listing)


def save(own: Own, folder: Path = Path("datasets")) -> str:
    """Write the card into a folder, where it is a dataset like any other, and return what was done.

    Never over another one. Raises DeclarationError.
    """
    from bench.config import datasets

    path = folder / f"{own.card.name}.toml"
    if path.exists():
        if datasets.read(own.card.name, folder).fingerprint == own.card.fingerprint:
            return f"{path}: is there already, with the same data; --dataset {own.card.name}"
        raise DeclarationError(f"{path}: is there already, for other data; rename it, or your file")
    folder.mkdir(parents=True, exist_ok=True)
    if own.listing is not None:
        listing = path.with_suffix(".tsv")
        if listing.exists():
            raise DeclarationError(f"{listing}: is there already; rename it, or your folder")
        listing.write_text(own.listing, encoding="utf-8")
    with path.open("x", encoding="utf-8") as file:
        file.write(to_toml(own.card))
    return f"{path}: written; a dataset like any other: --dataset {own.card.name}"


def to_toml(card: Dataset) -> str:
    """Return a card as its file."""
    keys = ("title", "task", "kind", "lengths", "length_meaning", "source", "licence", "split")
    lines = [f"{key} = {_toml(getattr(card, key))}" for key in keys if getattr(card, key) is not None]
    for file in card.files:
        lines += ["", "[[files]]", *(f"{key} = {_toml(value)}" for key, value in file if value is not None)]
    arguments = {key: value for key, value in card.arguments.items() if key != "files"}
    lines += ["", "[arguments]", *(f"{key} = {_toml(value)}" for key, value in arguments.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # JSON's strings, numbers and booleans are TOML's too, but for the one character that TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


# The files


def _files(paths: Sequence[Path]) -> tuple[list[DataFile], str | None]:
    """Return the files of a card; of a folder also what it lists."""
    files, listing = [], None
    for path in paths:
        try:
            if path.is_dir():
                if len(paths) > 1:
                    raise DeclarationError(f"--data {path}: a folder comes alone")
                return _folder(path)
            if not path.is_file():
                near = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
                told = "no regular file" if path.exists() else f"no such file{did_you_mean(path.name, near)}"
                raise DataError(f"{path}: {told}")
            if not path.stat().st_size:
                raise DataError(f"{path}: empty")
            files.append(DataFile(path=str(path), sha256=checksum(path), size_bytes=path.stat().st_size))
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from None
    return files, listing


def _folder(path: Path) -> tuple[list[DataFile], str]:
    """Return a folder of examples as a file of a card, and what it lists.

    Its hash is of the sorted lines "path sha256", the paths from the folder's own name on: moved, it is the same.
    """
    inside = sorted(each for each in path.rglob("*") if each.is_file())
    if not any(each.suffix.lower() in (RECORDINGS, TEXT_FILES) for each in inside):
        found = ", ".join(sorted({each.suffix or each.name for each in inside})[:8]) or "nothing"
        rule = "a folder holds recordings or texts, in a folder for each class; name a table itself"
        raise DataError(f"{path}: no .wav or .txt file in it, but {found}; {rule}")
    hashes = {each: checksum(each) for each in inside}
    lines = sorted(f"{each.relative_to(path.parent).as_posix()} {found}\n" for each, found in hashes.items())
    sizes = {each: each.stat().st_size for each in inside}
    rows = [f"{each}\t{hashes[each]}\t{sizes[each]}\t\n" for each in inside]
    sha256 = hashlib.sha256("".join(lines).encode()).hexdigest()
    file = DataFile(path=str(path), sha256=sha256, size_bytes=sum(sizes.values()), listing=f"{_slug(path)}.tsv")
    return [file], "path\tsha256\tsize_bytes\turl\n" + "".join(rows)


def _slug(path: Path) -> str:
    """Return the name of a file without its endings as a dataset may be called."""
    name = path.name
    while Path(name).suffix.lower() in _SUFFIXES:
        name = Path(name).stem
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:64].lower() or "data"


def _ending(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _is_table(path: Path, config: SweepConfig) -> bool:
    named = _ending(path) in (".csv", ".tsv", ".xlsx", ".xls", ".ods", *PARQUET)  # told how to be saved
    return named or (path.is_file() and config.task in ("forecasting", "regression"))


def _look(path: Path, config: SweepConfig) -> _Look:
    """Look at a table's first rows. Raises DataError for one that cannot be read, or lacks a column that is named."""
    named = [config.time, config.group, config.label, config.text, *(config.target or []), *(config.features or [])]
    head = read_head(
        path,
        SAMPLE_ROWS,
        TableFormat(config.delimiter, config.encoding, not config.no_header),
        named=[name for name in named if name is not None],
    )
    if not head.rows:
        raise DataError(f"{path}: no rows below the header")
    found: dict[str, list[str]] = {"dates": [], "numbers": [], "texts": []}
    for place, name in enumerate(head.names):
        if not is_named(name):
            continue
        cells = [row[place].strip() for row in head.rows if place < len(row)]
        known = [cell for cell in cells if cell not in MISSING]
        is_number = all(NUMBER.fullmatch(cell) for cell in known)
        is_date = bool(known) and all(DATE.fullmatch(cell) for cell in known)
        found["numbers" if is_number else "dates" if is_date else "texts"].append(name)
    return _Look(path, head.names, **found, form=str(head.form))


def _check_roles(config: SweepConfig, path: Path) -> None:
    """Refuse a column that is asked to be two things."""
    roles: dict[str, str] = {}
    for option in ("target", "features", "time", "group", "label", "text"):
        given = getattr(config, option)
        for name in dict.fromkeys([given] if isinstance(given, str) else given or []):
            if name in roles:
                raise DeclarationError(
                    f"{path}: '{name}' is both {roles[name]} and {_flag(option)}; make it one of them"
                )
            roles[name] = _flag(option)


def _check_form(config: SweepConfig, path: Path) -> None:
    """Refuse what only examples of classes come in, where something else is asked of it."""
    is_of_classes = path.is_dir() or _is_archive(path) or _ending(path) in (".npz", ".npy")
    if is_of_classes and config.task in OPTIONS.keys() - {"classification"}:
        what = "a text file" if config.task == "language_modelling" else "tables (.csv, .tsv, .parquet)"
        raise DataError(f"{path}: {config.task} is asked of {what}; save it as one")


# What is asked


def _kind(config: SweepConfig, path: Path, look: _Look | None) -> str:
    """Return the task that a file and its options stand for, where nothing else can be meant."""
    ending = _ending(path)
    if ending == ".conllu":
        return "tagging"
    if path.is_dir() or _is_archive(path) or ending in (".ts", ".npz", ".npy", ".jsonl"):
        return "classification"
    if ending == TEXT_FILES and not (config.label or config.text):
        return "language_modelling"
    if ending == RECORDINGS:
        raise DataError(f"{path}: one recording; give the folder in which each class has a folder of its recordings")
    if config.horizon or config.season:
        return "forecasting"
    if config.group and config.label and not config.text and look and _called(look.texts, STEPS):
        return "tagging"
    if config.label or config.text:
        return "classification"
    if look is None:
        raise DeclarationError(f"{path}: what is asked of it? --task {', '.join(OPTIONS)}")
    if not config.target and any(name.lower() in ("label", "class") for name in look.names):
        return "classification"
    values = [name for name in look.numbers if name != config.group]
    if not config.group and (config.time or (len(look.dates) == 1 and len(values) == 1)):
        return "forecasting"  # times in a table without sequences: nothing else has a use for them
    raise DeclarationError(f"{path}: {look}; what is asked of it? --task {', '.join(OPTIONS)}")


def _time(config: SweepConfig, look: _Look) -> str | None:
    """Return the column of times: the one that is named, or the only one with dates."""
    free = [name for name in look.dates if name not in (config.group, config.label, config.text)]
    if config.time is None and len(free) > 1:
        raise DeclarationError(f"{look.path}: dates in {', '.join(free)}: which are the times? --time {free[0]}")
    return config.time or (free[0] if free else None)


def _column(look: _Look, option: str, given: str | None, known: Sequence[str], others: Sequence[str]) -> str:
    """Return the column that is given, or called as such columns are, or the only one of `others`."""
    called = _called(look.names, known)
    for candidates in ([given] if given else [], called[:1], others if len(others) == 1 else []):
        if candidates:
            return candidates[0]
    what = "is to be foretold" if option == "--target" else f"is the {option.strip('-')}"
    raise DeclarationError(f"{look.path}: {look}; which column {what}? {option} NAME")


def _called(names: Sequence[str], known: Sequence[str]) -> list[str]:
    return [name for name in names if name.lower() in known]


def _shared(config: SweepConfig) -> dict[str, Any]:
    """Return the arguments of a table that are as they were given: what is left out is found out by the reader."""
    found: dict[str, Any] = {"splits": _splits(config), "header": False if config.no_header else None}
    return _written(config) | {key: value for key, value in found.items() if value is not None}


def _written(config: SweepConfig) -> dict[str, Any]:
    """Return how a file is written, where that is given."""
    found = {"delimiter": config.delimiter, "encoding": config.encoding}
    return {key: value for key, value in found.items() if value is not None}


def _splits(config: SweepConfig) -> list[float] | None:
    """Return shares, or whole numbers as such."""
    return config.splits and [int(part) if part >= 1 else part for part in config.splits]


def _table(path: Path, kind: str, look: _Look | None) -> _Look:
    if look is None:
        raise DataError(f"{path}: {kind} is asked of tables (.csv, .tsv, .parquet); save it as one")
    return look


def _forecasting(config: SweepConfig, paths: list[Path], look: _Look | None) -> _Asked:
    look = _table(paths[0], "forecasting", look)
    time = _time(config, look)
    values = [name for name in look.numbers if name not in (time, config.group)]
    target = config.target or [_column(look, "--target", None, TARGETS, values)]
    arguments: dict[str, Any] = {"target": target, "horizon": config.horizon or 1}
    named = {"features": config.features, "time": time, "group": config.group, "season": config.season}
    arguments |= {key: value for key, value in named.items() if value is not None}
    others = [name for name in values if name not in [*target, *(config.features or [])]]
    more = f" (left out: {', '.join(others[:8])}{', …' * (len(others) > 8)}; --features)" if others else ""
    told = [f"target = {', '.join(target)}", f"features {', '.join(config.features or []) or 'none'}{more}"]
    told.append(f"horizon = {config.horizon or 1}" + ("" if config.horizon else " (--horizon)"))
    told.append(f"season = {config.season}" if config.season else "season none (--season)")
    told += [f"a series a {config.group}"] if config.group else []
    return _Asked(arguments | _shared(config), told)


def _regression(config: SweepConfig, paths: list[Path], look: _Look | None) -> _Asked:
    look = _table(paths[0], "regression", look)
    if config.target and len(config.target) > 1:
        raise DeclarationError(f"{paths[0]}: --target {','.join(config.target)}: regression has one target")
    target = _column(look, "--target", config.target[0] if config.target else None, TARGETS, [])
    time = _time(config, look) if config.group else config.time
    arguments = {"target": target, "columns": config.features, "group": config.group, "time": time}
    what = f"a sequence a {config.group}" if config.group else "a row a sequence, its columns the steps"
    told = [f"target = {target}", what, _inputs(config, look, [target, config.group, time])]
    return _Asked({key: value for key, value in arguments.items() if value is not None} | _shared(config), told)


def _inputs(config: SweepConfig, look: _Look, taken: Sequence[str | None]) -> str:
    names = config.features or [name for name in look.names if is_named(name) and name not in taken]
    return f"inputs {', '.join(names[:8])}" + (f", … ({len(names):,})" if len(names) > 8 else "")


def _classification(config: SweepConfig, paths: list[Path], look: _Look | None) -> _Asked:
    path, ending = paths[0], _ending(paths[0])
    if path.is_dir():
        return _class_folder(config, path)
    if _is_archive(path):
        return _texts(config, paths, "a text a file, of the class its folder is named for")
    if ending == ".ts":
        _only(config, path, {"splits"})
        return _Asked({"reader": "ts"} | _rule(config, paths), [])
    if ending in (".npz", ".npy"):
        _only(config, path, {"splits"})
        return _Asked({"reader": "arrays"} | _rule(config, paths), [])
    if ending == TEXT_FILES and len(paths) > 1:
        return _texts(config, paths, "a text a line, of the class its file is named for")
    if ending == ".jsonl":
        _only(config, path, OPTIONS["classification"] - {"delimiter", "no_header"})
        look = _look_json(path, config.encoding)
    look = _table(path, "classification", look)
    if config.no_header:
        raise DeclarationError(f"{path}: --no-header: write the names of the columns on the first line instead")
    label = _column(look, "--label", config.label, LABELS, [])
    others = [name for name in look.names if name not in (label, config.group, config.time)]
    likely = [name for name in others if name.lower() in TEXTS]
    alone = len(others) == 1 and others[0] in look.texts and not config.features
    text = config.text or (likely[0] if likely and likely[0] in look.texts else others[0] if alone else None)
    if ending == ".jsonl" and text is None:
        raise DeclarationError(f"{path}: {look}; which key is the text? --text NAME")
    if text is not None:
        arguments: dict[str, Any] = {"reader": "text", "text": text, "label": label} | _written(config)
        arguments |= {"tokens": config.tokens} if config.tokens else {}
        arguments |= {"group": config.group} if config.group else {}
        told = [f"text = {text}", f"label = {label}", f"tokens: {config.tokens or 'word'}"]
        return _Asked(arguments | _rule(config, paths, {"by": "group"} if config.group else None), told)
    time = _time(config, look) if config.group else config.time
    named = {"label": label, "columns": config.features, "group": config.group, "time": time}
    arguments = {"reader": "table"} | {key: value for key, value in named.items() if value is not None}
    arguments |= _written(config)
    what = f"a sequence a {config.group}" if config.group else "a row a sequence, its columns the steps"
    told = [f"label = {label}", what, _inputs(config, look, [label, config.group, time])]
    return _Asked(arguments | _rule(config, paths), told)


def _class_folder(config: SweepConfig, path: Path) -> _Asked:
    """Return what is asked of a folder: recordings, or texts, of the class that their folder is named for."""
    wavs = [each for each in path.rglob("*") if each.suffix.lower() == RECORDINGS]
    if not wavs:
        return _texts(config, [path], "a text a file, of the class its folder is named for")
    _only(config, path, {"splits", "label", "group"})
    for option, value in (("--label", config.label), ("--group", config.group)):
        if value is not None and not value.isdecimal():
            rule = "of recordings, the number of a field of their names, parted by _, from 1"
            raise DeclarationError(f"{path}: {option} {value}: {rule}; without --label, the folder's name is the class")
    if config.label is None and all(each.parent == path for each in wavs):
        raise DataError(f"{path}: .wav files in no folder of a class; or --label N, a field of their names from 1")
    arguments = {"reader": "wav"} | ({"label": int(config.label)} if config.label else {})
    by = {"by": "group", "field": int(config.group)} if config.group else None
    what = f"label = field {config.label} of names" if config.label else "label = name of the folder"
    return _Asked(arguments | _rule(config, [path], by), ["40 log-mel bands every 10 ms", what])


def _texts(config: SweepConfig, paths: list[Path], what: str) -> _Asked:
    """Return what is asked of texts whose class is told by where they are."""
    _only(config, paths[0], {"splits", "tokens", "encoding"})
    arguments = {"reader": "text"} | ({"tokens": config.tokens} if config.tokens else {}) | _written(config)
    return _Asked(arguments | _rule(config, paths), [what, f"tokens: {config.tokens or 'word'}"])


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith(texts.ARCHIVES)


def _rule(config: SweepConfig, paths: list[Path], by: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the rule of the split as an argument; nothing for the task's own, stratified."""
    train = [path.name for path in paths if re.search(r"(?i)train", path.stem)]
    test = [path.name for path in paths if re.search(r"(?i)test", path.stem)]
    if by is None and config.splits is None and len(paths) == 2 and len(train) == len(test) == 1 and train != test:
        return {"splits": {"by": "file", "train": train, "test": test}}
    if by is None and config.splits is None:
        return {}
    return {"splits": (by or {"by": "stratified"}) | {"shares": config.splits or [0.8, 0.1, 0.1]}}


def _only(config: SweepConfig, path: Path, allowed: set[str]) -> None:
    """Refuse options of tables for what is none."""
    for name in sorted(OPTIONS["classification"] - allowed):
        if getattr(config, name):
            what = "a folder" if path.is_dir() else "an archive" if _is_archive(path) else f"a {_ending(path)} file"
            raise DeclarationError(f"{path}: {_flag(name)}: {what} has no use for it; leave it out")


def _look_json(path: Path, encoding: str | None) -> _Look:
    """Look at the first line of a .jsonl file."""
    text, _ = read_text(path, encoding=encoding)
    first = next((line for line in text.split("\n") if line.strip()), "")
    try:
        row = json.loads(first)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise DataError(f"{path}: line 1, column 1: no JSON object; one object a line, with a text and a label")
    strings = [key for key, value in row.items() if isinstance(value, str)]
    numbers = [key for key in row if key not in strings]
    return _Look(path, list(row), [], numbers, strings, "JSON")


def _language_modelling(config: SweepConfig, paths: list[Path], look: _Look | None) -> _Asked:
    unit = config.tokens or "character"
    shares = _splits(config)
    arguments = {"unit": unit} | ({"splits": shares} if shares else {}) | _written(config)
    return _Asked(arguments, [f"tokens = {unit}s" + ("" if config.tokens else " (--tokens)")])


def _tagging(config: SweepConfig, paths: list[Path], look: _Look | None) -> _Asked:
    path = paths[0]
    if _ending(path) == ".conllu":
        if config.group:
            raise DeclarationError(f"{path}: --group: sentences of CoNLL-U are parted by empty lines; leave it out")
        if config.delimiter:
            raise DeclarationError(f"{path}: --delimiter: fields of CoNLL-U are parted by tabs; leave it out")
        token, label = config.text or "form", config.label or "upos"
        arguments, what = {"token": token, "label": label} | _written(config), "a sequence a sentence"
    else:
        look = _table(path, "tagging", look)
        if config.group is None:
            raise DeclarationError(f"{path}: {look}; which column tells the sequences apart? --group NAME")
        label = _column(look, "--label", config.label, LABELS, [])
        others = [name for name in look.names if name not in (label, config.group)]
        token = _column(look, "--text", config.text, STEPS, others)
        arguments = {"token": token, "label": label, "group": config.group} | _written(config)
        what = f"a sequence a {config.group}"
    told = [f"token = {token}", f"label = {label}", what]
    by_part = {
        part: [each.name for each in paths if re.search(pattern, each.stem)]
        for part, pattern in (("train", "(?i)train"), ("val", "(?i)dev|val"), ("test", "(?i)test"))
    }
    if len(paths) > 1 and config.splits is None and all(len(names) == 1 for names in by_part.values()):
        return _Asked(arguments | {"splits": {part: names[0] for part, names in by_part.items()}}, told)
    return _Asked(arguments | ({"splits": config.splits} if config.splits else {}), told)


_ASK: dict[str, Callable[[SweepConfig, list[Path], _Look | None], _Asked]] = {
    "forecasting": _forecasting,
    "regression": _regression,
    "classification": _classification,
    "language_modelling": _language_modelling,
    "tagging": _tagging,
}

_MEANING = {
    "forecasting": "look-back in rows",
    "regression": "last steps of a sequence",
    "classification": "first steps of a sequence",
    "language_modelling": "context in tokens",
    "tagging": "first steps of a sequence",
}


# What came of it


def _probe(paths: list[Path], kind: str, length: int, arguments: dict[str, Any]) -> Any:
    """Return the task. Raises what the reader refuses, always with the name of the file."""
    try:
        return make_task(kind, length, arguments)
    except BenchError as error:
        is_named = any(path.name in str(error) for path in paths)
        raise (error if is_named else type(error)(f"{paths[0]}: {error}")) from None


def _check(paths: list[Path], kind: str, arguments: dict[str, Any], task: Any) -> None:
    """Refuse what a task of the bench may hold, but which in a file of one's own is an oversight."""
    path = paths[0]
    if kind == "forecasting":
        target = arguments["target"]
        # Gaps in the inputs are filled; to foretell what is not there cannot be learned.
        gaps = [
            remark.column for remark in task.meta["remarks"] if remark.kind == "missing" and remark.column in target
        ]
        if gaps:
            read_table(paths, gaps, TableFormat.of(arguments), required=gaps)
        constant = {remark.column for remark in task.meta["remarks"] if remark.kind == "constant"}
        if constant >= set(target):
            raise DataError(f"{path}: column '{target[0]}': the same in all rows; nothing is to be foretold")
    if kind == "tagging" and len(task.meta["labels"]) < 2:
        raise DataError(f"{path}: one label only, '{task.meta['labels'][0]}'; two are needed to tell them apart")
    if kind == "classification":
        label = arguments.get("label")
        if arguments["reader"] in ("table", "text") and isinstance(label, str):
            for (cell,), line in texts.read_cells(path, [label], TableFormat.of(arguments))[0]:
                if cell.strip().lower() in ("", "nan"):
                    raise DataError(f"{path}: line {line}, column '{label}': no label; leave the row out")


def _ladder(kind: str, task: Any) -> list[int]:
    """Return lengths to try, doubling, up to the whole sequence or what the rows allow."""
    if kind == "forecasting":
        rows = task.meta["rows"]
        most = max(1, min(256, (min(rows[0], sum(rows)) - task.horizon) // 4))
        return [length for length in (24, 48, 96, 192) if length <= most] or [most]
    if kind == "language_modelling":
        most = min(task.meta["tokens"].values()) // 4
        return [length for length in (32, 64, 128) if length <= most] or [max(1, most)]
    whole: int = task.num_steps
    rungs = [FIRST_RUNG << step for step in range(5) if FIRST_RUNG << step < whole]
    return [*rungs, whole] if whole <= 2 * FIRST_RUNG << 4 else rungs


def _split(kind: str, arguments: dict[str, Any]) -> str:
    rule = arguments.get("splits")
    if kind == "forecasting":
        time = "time" if "time" in arguments else "order of rows, taken as time"
        return f"by {time} {_shares(rule or [0.7, 0.1, 0.2])}"
    if kind == "language_modelling":
        return f"by place {_shares(rule or [0.9, 0.05, 0.05])}"
    if kind == "tagging":
        return "by file" if isinstance(rule, dict) else f"by hash of the tokens {_shares(rule or [0.8, 0.1, 0.1])}"
    if kind == "regression":
        by = arguments.get("group", "sequence")
        return f"by hash of the {by} {_shares(rule or [0.7, 0.1, 0.2])}"
    rule = rule or {"by": "stratified", "shares": [0.8, 0.1, 0.1]}
    shares = f" {_shares(rule['shares'])}" if "shares" in rule else ""
    return ("stratified" if rule["by"] == "stratified" else f"by {rule['by']}") + shares


def _shares(splits: Sequence[float]) -> str:
    return "/".join(f"{part:,}" if part >= 1 else f"{part * 100:g}" for part in splits)


def _remarks(path: Path, card: Dataset, task: Any, look: _Look | None, asked: _Asked, lengths_asked: bool) -> list[str]:
    """Return what was found out, and what the reader has to say."""
    if card.task == "language_modelling":
        rows = f"{sum(task.meta['tokens'].values()):,} tokens, {len(task.meta['vocabulary']):,} different"
    else:
        rows = f"{sum(task.meta['rows']):,} rows" if "rows" in task.meta else f"{sum(task.counts.values()):,} sequences"
    if "labels" in task.meta:
        rows += f" with {len(task.meta['labels']):,} labels"
    if "classes" in task.meta:
        rows += f" of {len(task.meta['classes']):,} classes"
    form = [look.form] if look is not None else []
    time = card.arguments.get("time")
    times = (
        [f"time = {time}{_step(task)}"] if time else ["time none: rows in their order"] * (card.task == "forecasting")
    )
    counts = ", ".join(f"{part} {count:,}" for part, count in task.counts.items())
    told = [", ".join([rows, *form]), *times, *asked.told, f"splits {card.split}"]
    found = [f"{path.name}: {'; '.join(told)}"]
    what = "sequences" if card.task in ("regression", "classification", "tagging") else "windows"
    lengths = f"lengths {', '.join(map(str, card.lengths))}" + (" (--length)" if not lengths_asked else "")
    found.append(f"{path.name}: {what}: {counts}; {lengths}")
    found += [remark.about(path.name) for remark in task.meta["remarks"]]
    if card.task != "forecasting":
        steps = task.split("val", 500).length
        if steps.min() < steps.max():
            found.append(
                f"{path.name}: sequences of unequal length, {steps.min():,} to {steps.max():,} steps in val: padded"
            )
    if card.task == "classification" and task.chance > 1.5 / len(task.meta["classes"]):
        found.append(f"{path.name}: unequal classes: always the most frequent one is right in {task.chance:.0%} of val")
    return found


def _step(task: Any) -> str:
    """Return the usual step of a forecast's times, in words."""
    if not hasattr(task, "times"):
        return ""
    times = task.times("train", np.arange(min(100, task.counts["train"])))[:, 0]
    if len(times) < 2:
        return ""
    steps = np.diff(times.astype("datetime64[ns]").astype(np.int64))
    if not (steps > 0).any():  # each of another group
        return ""
    seconds = float(np.median(steps[steps > 0])) / 1e9
    days = seconds / 86_400
    named = _STEPS.get(int(seconds)) if seconds == int(seconds) else None
    if 28 <= days <= 31:
        named = "monthly"
    elif 365 <= days <= 366:
        named = "yearly"
    elif named is None:
        named = f"every {seconds / 60:g} min" if seconds % 60 == 0 else f"every {seconds:g} s"
    return f" ({named})"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
