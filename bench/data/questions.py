"""The arguments that your options, and the columns of your file, give its task."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import wording
from bench.config.sweep_settings import SweepConfig, flag
from bench.data import arrays, recordings, tag_columns, texts
from bench.data.columns import LABELS, TARGETS, TEXTS, TOKENS, TRANSCRIPTS, Look, choose, time_column, with_names
from bench.data.files import inside
from bench.data.splits import PARTS
from bench.data.table_folders import FILE, have_classes
from bench.data.table_format import TableFormat
from bench.data.table_pieces import is_named
from bench.data.task_of_file import OPTIONS, RECORDINGS, TEXT_FILES, ending, is_archive, is_ucr
from bench.errors import DataError, DeclarationError


class Question(NamedTuple):
    """The arguments of a task, and sentences for the reader about them."""

    arguments: dict[str, Any]
    notes: list[str]


def question(task: str, config: SweepConfig, paths: list[Path], look: Look | None) -> Question:
    """Return what the task is asked about these files. Raises BenchError for options that do not fit them."""
    return _QUESTIONS[task](config, paths, look)


def _forecasting(config: SweepConfig, paths: list[Path], look: Look | None) -> Question:
    look = _table(paths[0], "forecasting", look)
    time = time_column(config, look)
    values = [name for name in look.numbers if name not in (time, config.group)]
    values = [name for name in values if name != config.split_by]
    target = config.target or [choose(look, "--target", None, TARGETS, values)]
    features = config.features or []
    arguments: dict[str, Any] = {"target": target, "horizon": config.horizon or 1}
    arguments |= _given(features=config.features, time=time, group=config.group, season=config.season)
    arguments |= _given(scaling=config.scaling)
    others = [name for name in values if name not in [*target, *features]]
    unused = f" (not used: {wording.first(others, 8)}; --features)" if others else ""
    notes = [f"target = {', '.join(target)}", f"features {', '.join(features) or 'none'}{unused}"]
    notes.append(f"horizon = {config.horizon or 1}" + " (--horizon)" * (not config.horizon))
    notes.append(f"season = {config.season}" if config.season else "season none (--season)")
    notes += [f"one series per {config.group}"] if config.group else []  # a file, if a folder is given
    return Question(arguments | _table_arguments(config, paths), notes)


def _anomaly(config: SweepConfig, paths: list[Path], look: Look | None) -> Question:
    look = _table(paths[0], "anomaly", look)
    time = time_column(config, look)
    values = [name for name in look.numbers if name not in (time, config.group, config.split_by, config.label)]
    target = config.target or [choose(look, "--target", None, TARGETS, values)]
    arguments: dict[str, Any] = {"target": target}
    arguments |= _given(features=config.features, time=time, group=config.group, season=config.season)
    arguments |= _given(label=config.label)
    others = [name for name in values if name not in [*target, *(config.features or [])]]
    unused = f" (not used: {wording.first(others, 8)}; --features)" if others else ""
    notes = [f"target = {', '.join(target)}", f"features {', '.join(config.features or []) or 'none'}{unused}"]
    if config.label:
        notes.append(f"label = {config.label}, used for scores, and to leave anomalous rows out of training")
    else:
        rule = "models are compared by the error of their forecasts, which says nothing about anomalies"
        notes.append(f"label none: {rule} (--label)")
    notes += [f"one series per {config.group}"] if config.group else []
    return Question(arguments | _table_arguments(config, paths), notes)


def _regression(config: SweepConfig, paths: list[Path], look: Look | None) -> Question:
    look = _table(paths[0], "regression", look)
    if config.target and len(config.target) > 1:
        rule = f"regression has one target, but --target names {len(config.target)}: {', '.join(config.target)}"
        raise DeclarationError(f"{paths[0]}: {rule}")
    target = choose(look, "--target", config.target[0] if config.target else None, TARGETS, [])
    _check_rows(config, look, target, "")
    time = time_column(config, look) if config.group else config.time
    arguments = _given(target=target, columns=config.features, group=config.group, time=time)
    notes = [f"target = {target}", _sequence(config), _inputs(config, look, [target, config.group, time])]
    return Question(arguments | _table_arguments(config, paths), notes)


def _classification(config: SweepConfig, paths: list[Path], look: Look | None) -> Question:
    path, end = paths[0], ending(paths[0])
    if path.is_dir() and look is None:
        return _class_folder(config, path)
    if is_archive(path):
        return _texts(config, paths, "one text per file, of the class that its folder is named after")
    if end in (".ts", ".npz", ".npy"):
        return _series(config, paths, end)
    if end == TEXT_FILES and len(paths) > 1 and look is None:
        return _texts(config, paths, "one text per line, of the class that its file is named after")
    look = _table(path, "classification", look)
    _allow_only(config, path, OPTIONS["classification"] - {"layout"})
    is_named_by_folder = config.label is None and path.is_dir() and not with_names(look.names, LABELS)
    if is_named_by_folder and not have_classes(path):
        rule = "name the column of labels with --label NAME, or make a folder for each class"
        raise DeclarationError(f"{path}: {look}; {rule}")
    label = None if is_named_by_folder else choose(look, "--label", config.label, LABELS, [])
    text = None if label is None else _text_column(config, look, label)
    if label is not None and text is not None:
        return _text_table(config, paths, look, text, label)
    _check_rows(config, look, label, "name the text to classify with --text, ")
    time = time_column(config, look) if config.group else config.time
    arguments = {"reader": "table"} | _given(label=label, columns=config.features, group=config.group, time=time)
    named = "label = name of the folder" if label is None else f"label = {label}"
    notes = [named, _sequence(config), _inputs(config, look, [label, config.group, time])]
    notes[:0] = ["no header, the class in column 1, as in the UCR archive"] if is_ucr(path, config) else []
    header = _given(header=False if config.no_header else None)
    return Question(arguments | _written(config) | header | _rule(config, paths), notes)


def _text_table(config: SweepConfig, paths: list[Path], look: Look, text: str, label: str) -> Question:
    """Return the question about a table of texts, whose columns have numbers if there is no header."""
    if config.group and config.split_by:
        raise DeclarationError(f"{paths[0]}: texts need --group or --split-by, not both; remove one of them")
    columns: dict[str, str | int] = _given(text=text, label=label, group=config.group or config.split_by)
    if config.no_header:
        columns = {key: int(name) for key, name in columns.items()}
    arguments = {"reader": "text"} | columns | _written(config) | _given(tokens=config.tokens)
    others = [name for name in look.names if is_named(name) and name not in (*columns.values(), config.split_by)]
    unused = f" (not used: {wording.first(others, 8)})" if others else ""
    notes = [f"text = {text}{unused}", f"label = {label}", f"tokens: {config.tokens or 'word'}"]
    return Question(arguments | _rule(config, paths, {"by": "group"} if config.group else None), notes)


def _series(config: SweepConfig, paths: list[Path], end: str) -> Question:
    """Return the question about a .ts file, or about NumPy's arrays."""
    _allow_only(config, paths[0], {"splits", "layout"} if end != ".ts" else {"splits"})
    if end == ".ts":
        return Question({"reader": "ts"} | _rule(config, paths), [])
    label_file = paths[1] if end == ".npy" and len(paths) > 1 else None
    layout, notes = arrays.layout_of(paths[0], label_file, config.layout)
    named = arrays.parts_in(paths[0]) if len(paths) == 1 and config.splits is None else {}
    rule = {"splits": {"by": "file"} | named} if named else _rule(config, paths)
    return Question({"reader": "arrays"} | _given(layout=layout) | rule, notes)


def _text_column(config: SweepConfig, look: Look, label: str) -> str | None:
    """Return the column of texts to classify; None if the columns are numbers.

    Without --text it is the one with a usual name, the only other column, or the only one of several words, unless
    --features names numbers. Raises DeclarationError if several hold as many words.
    """
    taken = (label, config.group, config.time, config.split_by)
    others = [name for name in config.features or look.names if name not in taken and name in look.texts]
    likely = with_names(others, TEXTS)
    if config.text or likely:
        return config.text or likely[0]
    is_alone = [name for name in look.names if name not in taken] == others and len(others) == 1
    sentences = others if is_alone else [name for name in others if name in look.sentences]
    if len(sentences) > 1:
        rule = f"texts in {', '.join(sentences)}; name the one to classify with --text, or numbers with --features"
        raise DeclarationError(f"{look.path}: {rule}")
    return sentences[0] if sentences else None


def _class_folder(config: SweepConfig, path: Path) -> Question:
    """Return the question about a folder of recordings, or of texts, in a folder for each class."""
    spoken = [file for file in inside(path)[0] if file.suffix.lower() == RECORDINGS]
    if not spoken:
        return _texts(config, [path], "one text per file, of the class that its folder is named after")
    _allow_only(config, path, {"splits", "label", "group"})
    for option, value in (("--label", config.label), ("--group", config.group)):
        if value is not None and (not value.isdecimal() or len(value) > 3):
            rule = f"{option} must be the number of a field of the recordings' names, which _ separates, from 1"
            raise DeclarationError(f"{path}: {rule}, but is '{value}'; without --label, folders name the classes")
    if config.label is None and all(file.parent == path for file in spoken):
        rule = "no recording is in a folder of its class; make a folder for each class, or give --label N"
        rule += ", a field of their names, which _ separates, from 1"
        has_table = any(texts.is_table(file) for file in inside(path)[0])
        raise DataError(f"{path}: {rule}" + "; for a table of transcripts, give --task transcription" * has_table)
    arguments = {"reader": "wav"} | _given(label=config.label and int(config.label))
    by = {"by": "group", "field": int(config.group)} if config.group else None
    label = f"label = field {config.label} of names" if config.label else "label = name of the folder"
    return Question(arguments | _rule(config, [path], by), ["40 log-mel bands every 10 ms", label])


def _texts(config: SweepConfig, paths: list[Path], note: str) -> Question:
    """Return the question about texts whose files or folders name their class."""
    _allow_only(config, paths[0], {"splits", "tokens", "encoding"})
    arguments = {"reader": "text"} | _given(tokens=config.tokens) | _written(config)
    return Question(arguments | _rule(config, paths), [note, f"tokens: {config.tokens or 'word'}"])


def _language_modelling(config: SweepConfig, paths: list[Path], look: Look | None) -> Question:
    unit = config.tokens or "character"
    arguments = {"unit": unit} | _splits_of_text(config, paths) | _written(config)
    return Question(arguments, [f"tokens = {unit}s" + " (--tokens)" * (not config.tokens)])


def _tagging(config: SweepConfig, paths: list[Path], look: Look | None) -> Question:
    path = paths[0]
    if ending(path) == ".conllu":
        for option, separator in (("group", "sentences by empty lines"), ("delimiter", "fields by tabs")):
            if getattr(config, option):
                raise DeclarationError(f"{path}: CoNLL-U separates {separator}; leave --{option} out")
        token, label = config.text or "form", config.label or "upos"
        arguments, sequence = {"token": token, "label": label} | _written(config), "one sequence per sentence"
    elif config.group is None and path.is_file() and (lines := tag_columns.found_in(path, config.encoding)):
        return _tag_columns(config, paths, lines)
    else:
        if look is None:
            rule = "a CoNLL-U file (.conllu), lines of a token and its labels with an empty line after each sentence"
            raise DataError(f"{path}: --task tagging needs a table (.csv, .tsv, .jsonl, .parquet), {rule}")
        if config.group is None:
            raise DeclarationError(f"{path}: {look}; name the column that distinguishes sequences with --group NAME")
        label = choose(look, "--label", config.label, LABELS, [])
        others = [name for name in look.names if name not in (label, config.group, config.split_by)]
        token = choose(look, "--text", config.text, TOKENS, others)
        arguments = {"token": token, "label": label, "group": config.group} | _written(config)
        sequence = f"one sequence per {config.group}"
    return Question(arguments | _splits_of_text(config, paths), [f"token = {token}", f"label = {label}", sequence])


def _tag_columns(config: SweepConfig, paths: list[Path], lines: tag_columns.Lines) -> Question:
    """Return the question about lines in columns, as CoNLL-2003 has them."""
    path = paths[0]
    for option in ("delimiter", "split_by"):
        if getattr(config, option):
            rule = f"{flag(option)} is not applicable to lines of a token and its labels; leave it out"
            raise DeclarationError(f"{path}: {rule}")
    token, label = config.text or str(lines.token), config.label or str(lines.width)
    word, mark = (
        tag_columns.column(path, name, lines.width, option) for name, option in ((token, "--text"), (label, "--label"))
    )
    if word == mark:
        rule = f"column {token} of {lines.width} would be both token and label"
        raise DeclarationError(f"{path}: {rule}; name two columns with --text N and --label N")
    example = " ".join(lines.fields[0])[:40]
    notes = [f"{lines.width} columns ({example})", f"token = column {token} (--text)"]
    notes += [f"label = column {label} (--label)", "one sequence per sentence"]
    arguments = {"token": token, "label": label} | _given(encoding=config.encoding)
    return Question(arguments | _splits_of_text(config, paths), notes)


def _translation(config: SweepConfig, paths: list[Path], look: Look | None) -> Question:
    if look is None:
        return _aligned(config, paths)
    if config.target and len(config.target) > 1:
        rule = f"a translation has one target, but --target names {len(config.target)}: {', '.join(config.target)}"
        raise DeclarationError(f"{paths[0]}: {rule}")
    given = config.target[0] if config.target else None
    free = [name for name in look.texts if name not in (given, config.text, config.split_by)]
    source = choose(look, "--text", config.text, ("source",), free if given else [])
    target = choose(look, "--target", given, ("target",), [name for name in free if name != source])
    splits = _by_column(config, paths[0]) or _by_file(config, paths) or config.splits
    arguments = {"source": source, "target": target} | _written(config) | _given(splits=splits)
    return Question(arguments, [f"source = {source}", f"target = {target}"])


def _aligned(config: SweepConfig, paths: list[Path]) -> Question:
    """Return the question about two texts, or two of each part, whose lines translate each other."""
    for option in ("delimiter", "split_by"):
        if getattr(config, option):
            rule = f"{flag(option)} is not applicable to two texts; leave it out"
            raise DeclarationError(f"{paths[0]}: {rule}")
    named = _by_file(config, paths)
    splits: Any = config.splits
    if named and len(paths) == 2 * len(PARTS) and all(len(named.get(part, ())) == 2 for part in PARTS):
        splits = {part: named[part] for part in PARTS}
    elif len(paths) != 2:
        rule = "needs two texts, the source first, whose lines translate each other (--data a.de --data a.en)"
        found = f"found {len(paths)} file" + "s" * (len(paths) > 1)
        raise DeclarationError(f"{paths[0]}: --task translation {rule}, or a table; {found}")
    note = f"each line of {paths[0].name} is translated by that of {paths[1].name}"
    return Question(_given(splits=splits, encoding=config.encoding), [note])


def _transcription(config: SweepConfig, paths: list[Path], look: Look | None) -> Question:
    path = paths[0]
    if not path.is_dir():
        raise DataError(f"{path}: --task transcription needs a folder of recordings with a table of their transcripts")
    table = recordings.table_in(path)
    names = texts.column_names(table, TableFormat(config.delimiter, config.encoding))
    usual = with_names(names, TRANSCRIPTS)
    if config.text is None and not usual:
        rule = "name the column of transcripts with --text NAME"
        raise DeclarationError(f"{table}: columns {wording.first(names, 12)}; {rule}")
    if config.group and config.split_by:
        raise DeclarationError(f"{path}: --group and --split-by both split the recordings; give one of them")
    text, splits = config.text or usual[0], _by_column(config, table) or config.splits
    if config.group:
        splits = {"by": "group", "column": config.group, "shares": config.splits or [0.8, 0.1, 0.1]}
    arguments = {"text": text} | _written(config) | _given(tokens=config.tokens, splits=splits)
    unit = config.tokens or "character"
    return Question(
        arguments, [f"transcript = {text} in {table.name}", f"tokens: {unit}", "40 log-mel bands every 10 ms"]
    )


def _splits_of_text(config: SweepConfig, paths: list[Path]) -> dict[str, Any]:
    named = _by_column(config, paths[0]) or _by_file(config, paths)
    if named and "val" in named and named["by"] == "file" and all(len(named[part]) == 1 for part in PARTS):
        named = {part: named[part][0] for part in PARTS}  # as the cards of earlier versions have it
    return _given(splits=named or config.splits)


_QUESTIONS: dict[str, Callable[[SweepConfig, list[Path], Look | None], Question]] = {
    "forecasting": _forecasting,
    "anomaly": _anomaly,
    "regression": _regression,
    "classification": _classification,
    "language_modelling": _language_modelling,
    "tagging": _tagging,
    "translation": _translation,
    "transcription": _transcription,
}


def _given(**arguments: Any) -> dict[str, Any]:
    """Return the arguments that have a value: the task finds or chooses the others."""
    return {key: value for key, value in arguments.items() if value is not None}


def _written(config: SweepConfig) -> dict[str, Any]:
    return _given(delimiter=config.delimiter, encoding=config.encoding)


def _table_arguments(config: SweepConfig, paths: list[Path]) -> dict[str, Any]:
    splits = _by_column(config, paths[0]) or _by_file(config, paths) or config.splits
    return _written(config) | _given(splits=splits, header=False if config.no_header else None)


def _table(path: Path, task: str, look: Look | None) -> Look:
    if look is None:
        raise DataError(f"{path}: --task {task} needs a table (.csv, .tsv, .jsonl, .parquet); save the data as one")
    return look


def _sequence(config: SweepConfig) -> str:
    if config.group == FILE:
        return "one sequence per file"
    return f"one sequence per {config.group}" if config.group else "one sequence per row, whose columns are its steps"


def _check_rows(config: SweepConfig, look: Look, answer: str | None, others: str) -> None:
    """Raise DeclarationError if a row would be a sequence, but some of its columns hold texts."""
    unread = [name for name in look.texts if name not in (answer, config.time, config.split_by)]
    if unread and not (config.group or config.features):
        rule = f"name the id of sequences of several rows with --group, {others}or numbers to read with --features"
        raise DeclarationError(f"{look.path}: texts in {wording.first(unread, 8)}; {rule}")


def _inputs(config: SweepConfig, look: Look, taken: Sequence[str | None]) -> str:
    others = (*taken, config.split_by)
    names = config.features or [name for name in look.names if is_named(name) and name not in others]
    return f"inputs {wording.first(names, 8)}"


def _rule(config: SweepConfig, paths: list[Path], by: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the rule of the split as an argument; nothing for the task's default, stratified."""
    named = _by_column(config, paths[0]) or (_by_file(config, paths) if by is None else None)
    if named:
        return {"splits": named}
    if by is None and config.splits is None:
        return {}
    return {"splits": (by or {"by": "stratified"}) | {"shares": config.splits or [0.8, 0.1, 0.1]}}


def _by_column(config: SweepConfig, path: Path) -> dict[str, Any] | None:
    """Return the rule of --split-by. Raises DeclarationError beside --splits."""
    if config.split_by is None:
        return None
    if config.splits is not None:
        raise DeclarationError(f"{path}: --split-by and --splits both split the data; give one of them")
    return {"by": "column", "column": config.split_by}


def _by_file(config: SweepConfig, paths: list[Path]) -> dict[str, Any] | None:
    """Return the rule of files whose names say train, test and perhaps val. Raises DeclarationError beside --splits."""
    named = {
        part: [path.name for path in paths if re.search(pattern, _without_ending(path))]
        for part, pattern in (("train", "(?i)train"), ("val", "(?i)val|dev|testa$"), ("test", "(?i)test(?!a$)"))
    }
    of_parts = [name for names in named.values() for name in names]
    if len(paths) < 2 or not named["train"] or not named["test"] or sorted(of_parts) != sorted(p.name for p in paths):
        return None
    if config.splits is not None:
        rule = f"--splits would mix {named['train'][0]} with {named['test'][0]}, whose names say which split they are"
        raise DeclarationError(f"{paths[0]}: {rule}; leave --splits out, or rename the files")
    return {"by": "file"} | {part: names for part, names in named.items() if names}


def _without_ending(path: Path) -> str:
    """Return the name of a file without its ending, unless that names the part, as in eng.train and eng.testa."""
    end = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    return path.name if re.search("train|dev|val|test", end) else path.stem


def _allow_only(config: SweepConfig, path: Path, allowed: set[str]) -> None:
    """Raise DeclarationError for an option that only tables have."""
    for name in sorted(OPTIONS["classification"] - allowed):
        if getattr(config, name):
            what = "a folder" if path.is_dir() else "an archive" if is_archive(path) else f"a {ending(path)} file"
            raise DeclarationError(f"{path}: --{name.replace('_', '-')} is not applicable to {what}; leave it out")
