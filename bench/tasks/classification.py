"""One class for each sequence: series, recordings, texts or rows of a table.

B batch, L steps, D channels, C classes, N sequences, S steps of all sequences.
"""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from bench import wording
from bench.config import contracts
from bench.config.contracts import Batch, Labelled, New, Sampling, Trained
from bench.data import examples, labels, leaks, sequences, series_tables, splits, vocabulary
from bench.data.arrays import LAYOUTS
from bench.data.examples import READERS, Reading
from bench.data.files import prepare
from bench.data.remarks import Remark
from bench.data.splits import PARTS
from bench.data.table_folders import FILE
from bench.data.table_format import TableFormat
from bench.data.texts import Examples
from bench.errors import DataError, DeclarationError
from bench.tasks._sequences import StoredSequences, checked_files, class_scores
from bench.wording import shortened

TOKENS = ("word", "character", "byte")


class Task(StoredSequences):
    """Predict the class of a sequence from its first or last `length` steps (`keep`).

    Args:
        length: Number of steps that a model reads, at least 1. Shorter sequences are padded.
        files: The files of the dataset card.
        reader: `ts` (UCR and UEA archives), `arrays` (.npz with x and y; .npy in pairs, x and then y), `wav` (a folder
            of recordings, read as 40 log-mel bands every 10 ms), `table` (CSV or Parquet) or `text`. A table has one
            row for each step if `group` names the column that identifies sequences; else one row for each sequence,
            whose `columns` are the steps. Texts are a table or .jsonl with columns `text` and `label`, a folder or
            .tar.gz with one folder of files for each class, or one file for each class with one text on each line.
        tokens: What texts are split into: `word`, `character` or `byte`.
        min_frequency: Tokens that occur less often in training are read as <unk>.
        label: Column of the class, by name, or by number from 1 if the file has no header. For recordings, the field
            of their name, separated by _ and counted from 1; by default the class is the name of their folder.
        text: Column of the text, by name or number.
        columns: Columns of a table that are steps, or channels of steps; by default all that have no other role.
        group: Column that identifies sequences; for texts, the column that `splits` by group keeps together.
        time: Column of times, which orders the steps of a sequence.
        delimiter: Of tables; detected by default.
        encoding: Of texts and tables; detected by default.
        header: Whether the first line of a table of numbers names its columns; else they are named "1", "2", ...
        splits: A rule, see below; by default `stratified` with shares 0.8, 0.1 and 0.1.
        keep: Which steps of a longer sequence are read: the `first` or the `last`.
        layout: Of arrays with three axes: `channels-last` for (sequences, steps, channels), `channels-first` for
            (sequences, channels, steps).

    Numbers are standardised for each channel with mean and deviation of the training steps. A missing number becomes
    the last one before it, or the training mean.

    All split rules are deterministic:

        by = "file": train, test, val list file names
        by = "index": test, val list the numbers that names end with
        by = "speaker": test, val list speakers; the second field of the name, or `field`
        by = "fold": test, val list folds; the first number of a name divided by `size`, or its hash modulo `folds`
        by = "stratified": shares of train, val, test of each class, in the order of the SHA-256 of names
        by = "content": shares, by the SHA-256 of the content: equal examples share a part
        by = "group": shares of groups (the `group` of texts, a `field` of names, a `column` of tables)

    Without a list for val, it is `val_share` of each class in train, in the order of the SHA-256 of names.

    Below, the training part of a .ts file with two series, 1,2,3 and 3,4,5: mean 3, deviation 1.29.

    Task(2, files=[...], reader="ts", splits={"by": "file", ...}), first series, class 0
    x  -1.55 -0.77
    y         0
    """

    per_step, loss = False, "cross_entropy"
    metric, goal, solved, causal = "accuracy", "maximize", None, False

    def __init__(
        self,
        length: int,
        *,
        files: Sequence[Any] = (),
        reader: Literal["ts", "arrays", "wav", "text", "table"] = "ts",
        tokens: Literal["word", "character", "byte"] = "word",
        min_frequency: int = 2,
        label: str | int | None = None,
        text: str | int | None = None,
        columns: list[str] | None = None,
        group: str | int | None = None,
        time: str | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        header: bool = True,
        splits: dict[str, Any] | None = None,
        keep: Literal["first", "last"] = "first",
        layout: Literal["channels-last", "channels-first"] = "channels-last",
    ) -> None:
        data_files = checked_files("classification", length, files)
        rule = splits or {"by": "stratified", "shares": [0.8, 0.1, 0.1]}
        form = TableFormat(delimiter, encoding, header, time=time, group=group)
        reading = Reading(reader, label, text, columns, form, rule.get("column"), rule.get("by") == "file", layout)
        _check(reading, tokens, keep, rule)
        units = TokenForm(tokens, min_frequency) if reader == "text" else None
        how = [reading._asdict() | {"form": vars(form)}, units, rule]
        prepared = prepare("classification", data_files, how, lambda p: _make(p, reading, units, rule))
        super().__init__(prepared, length, keep)
        self.reader, self.tokens = reader, units is not None
        self.kind = "text" if self.tokens else "series"
        self.input_size = len(self.meta["vocabulary"]) if self.tokens else self._values.shape[1]
        self.output_size = len(self.meta["classes"])
        self.longest_n_gram = 2 if tokens == "word" else 4  # of a linear map; see bench/training/skips.py
        edges = self.meta["edges"]
        train, val = self._y[: edges[1]], self._y[edges[1] : edges[2]]
        self.chance = float((val == np.bincount(train).argmax()).mean())

    def decode(self, outputs: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Return the likeliest class of each sequence by name, and the probabilities of all classes (B, C)."""
        return decode(outputs, self.meta["classes"])

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return accuracy, balanced accuracy and macro F1; see class_scores."""
        return class_scores(outputs.argmax(-1), batch.y, self.output_size)


def decode(outputs: np.ndarray, classes: list[str]) -> tuple[list[str], np.ndarray]:
    """Return the likeliest class of each sequence by name, and the probabilities of all classes (B, C)."""
    return [classes[number] for number in outputs.argmax(-1)], sequences.softmax(outputs)


def _check(reading: Reading, tokens: str, keep: str, rule: dict[str, Any]) -> None:
    """Check the arguments of a card. Raises DeclarationError."""
    for key, value, known in (
        ("reader", reading.reader, READERS),
        ("tokens", tokens, TOKENS),
        ("keep", keep, ("first", "last")),
        ("layout", reading.layout, LAYOUTS),
    ):
        if value not in known:
            raise DeclarationError(f"classification: {key}: must be one of {', '.join(known)}, but found {value!r}")
    if reading.reader == "table" and not isinstance(reading.label, str) and reading.form.group != FILE:
        rule_text = "must be the name of a column of the table"
        raise DeclarationError(f"classification: label: {rule_text}, but found {reading.label!r}")
    splits.check_rule("classification", rule)


# Preparation


class TokenForm(NamedTuple):
    """What texts are split into, and which tokens the vocabulary holds."""

    unit: str  # one of TOKENS
    min_frequency: int  # in the training part
    version: int = vocabulary.TOKENISER  # of the rule that splits words

    def split(self, text: str) -> list[str] | bytes:
        """Return the words, characters or bytes of a text."""
        if self.unit == "word":
            return vocabulary.words(text, self.version)
        return list(text.strip()) if self.unit == "character" else text.strip().encode("utf-8", "surrogatepass")


def _encode(tokens: list[Any], known: list[str]) -> np.ndarray:
    """Return the token numbers of texts, one after the other, (S,) int64."""
    are_bytes = isinstance(tokens[0], bytes)
    return vocabulary.encode(b"".join(tokens) if are_bytes else itertools.chain.from_iterable(tokens), known)


def _make(
    paths: list[Path], reading: Reading, form: TokenForm | None, rule: dict[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the steps of all sequences in the order of the parts, where each sequence ends, and its class."""
    found = examples.read(paths, reading)
    classes = found.classes or _sorted(set(found.labels))
    number = {name: place for place, name in enumerate(classes)}
    y = np.array([number[label] for label in found.labels], dtype=np.int64)
    if len(np.unique(y)) < 2:
        where = f"column '{reading.label}': " if isinstance(reading.label, str) else ""
        raise DataError(f"{paths[0]}: {where}only one class, '{found.labels[0]}'; classification needs at least two")
    contents = [
        splits.digest(" ".join(item.split()) if isinstance(item, str) else item.tobytes()) for item in found.items
    ]
    part = splits.split_parts(rule, y, found.names, found.groups, contents)
    counts = _counts(part, rule, paths[0])
    order = np.argsort(np.where(part < 0, len(PARTS), part), kind="stable")[: sum(counts)]
    items, edges = [found.items[i] for i in order], [0, *np.cumsum(counts).tolist()]
    remarks = [*found.remarks, *sequences.repeated(contents, part, PARTS), *_unseen(y, part, classes)]
    if form is not None:
        values, lengths, meta = _token_arrays(items, edges[1], form)
    else:
        remarks += _leaks(found, y, part, reading, paths[0])
        values, lengths, meta = _value_arrays(items, edges[1], paths[0])
        meta |= {"columns": reading.value_columns(paths[0])} if reading.reader == "table" else {"rate": found.rate}
    remarks += meta.pop("remarks", [])
    meta |= {"classes": classes, "edges": edges, "ids": [found.names[i] for i in order], "remarks": remarks}
    return {"values": values, "stop": np.cumsum(lengths, dtype=np.int64), "y": y[order]}, meta


def _leaks(found: Examples, y: np.ndarray, part: np.ndarray, reading: Reading, path: Path) -> list[Remark]:
    """Return remarks on columns that tell the class, and on sequences that two parts share."""
    lengths = np.array([len(item) for item in found.items])
    fix = "name the splits in a column (--split-by), or split by recordings"
    remarks = leaks.overlapping(np.concatenate(found.items), lengths, part, PARTS, fix)
    if reading.reader == "table" and reading.form.group is None and len(set(lengths)) == 1:
        values = np.stack([item[:, 0] for item in found.items])
        remarks += leaks.in_columns(dict(zip(reading.value_columns(path), values.T, strict=False)), y)
    return remarks


def _counts(part: np.ndarray, rule: dict[str, Any], path: Path) -> list[int]:
    """Return the number of examples in each part. Raises DataError if there are none."""
    counts = [int((part == number).sum()) for number in range(len(PARTS))]
    for name, count in zip(PARTS, counts, strict=True):
        if not count:
            sizes = ", ".join(f"{part} {size}" for part, size in zip(PARTS, counts, strict=True))
            fix = (
                "a class needs three examples to be in all parts" if rule["by"] == "stratified" else "use another rule"
            )
            raise DataError(f"{path}: splits leave {name} without an example ({sizes}); {fix}")
    return counts


def _token_arrays(items: list[str], num_train: int, form: TokenForm) -> tuple[np.ndarray, list[int], dict[str, Any]]:
    """Return token numbers (S,), the lengths of texts, and the vocabulary of the training part."""
    tokens: list[Any] = [form.split(text) for text in items]
    train = itertools.chain.from_iterable(tokens[:num_train])
    seen = vocabulary.make(train, form.unit, min_count=form.min_frequency)
    known = list(dict.fromkeys([vocabulary.PAD, vocabulary.UNKNOWN, *seen]))  # bytes have no <unk> of their own
    meta = {"tokens": form.unit, "vocabulary": known, "tokeniser": form.version}
    return _encode(tokens, known).astype(np.int32), [len(text) for text in tokens], meta


def _value_arrays(items: list[np.ndarray], num_train: int, path: Path) -> tuple[np.ndarray, list[int], dict[str, Any]]:
    """Return standardised steps (S, D), the lengths of sequences, and the scale of the training part."""
    lengths = [len(item) for item in items]
    channels = [f"channel {number}" for number in range(1, items[0].shape[1] + 1)]
    scaled = series_tables.scaled(np.concatenate(items), np.array(lengths), num_train, path, channels)
    meta = {"mean": scaled.mean.tolist(), "scale": scaled.scale.tolist(), "remarks": scaled.remarks}
    return scaled.values, lengths, meta


def _sorted(labels: set[str]) -> list[str]:
    """Return labels in the order of numbers if all are whole numbers, else of text."""
    numeric = all(re.fullmatch(r"-?\d+", label) for label in labels)
    return sorted(labels, key=lambda label: (int(label), label) if numeric else (0, label))


def _unseen(y: np.ndarray, part: np.ndarray, classes: list[str]) -> list[Remark]:
    """Return remarks on parts without an example of some class."""
    remarks = []
    for number, name in enumerate(PARTS):
        unseen = [label for place, label in enumerate(classes) if not (y[part == number] == place).any()]
        if unseen:
            remarks.append(Remark("unseen", f"no example in {name} of: {wording.first(unseen, 10)}"))
    return remarks


# Prediction


class Predictor(contracts.Predictor):
    """Classify the sequences of a file or folder in the format of the training files. Labels are not read.

    Texts may be a table with the column of texts, a folder or archive with folders, or a file with one text on each
    line.
    """

    def __init__(self, arguments: dict[str, Any], meta: dict[str, Any]) -> None:
        super().__init__(arguments, meta)
        self.reader = arguments.get("reader", "ts")
        self.folders = self.reader in ("wav", "text") or arguments.get("group") == FILE

    @property
    def needs(self) -> dict[str, type]:
        """The keys of `meta` that answers depend on, and the types of their values."""
        return {"classes": list} | (
            {"vocabulary": list, "tokens": str} if self.reader == "text" else {"mean": list, "scale": list}
        )

    @property
    def columns(self) -> dict[str, str]:
        """The columns of a table of new sequences; {"path": "text"} for series, arrays and recordings."""
        if "columns" in self.meta:
            return super().columns
        text = self.arguments.get("text")
        column = text if isinstance(text, str) else "text"  # a file without header has none by name
        return {column if self.reader == "text" else "path": "text"}

    def read(self, path: Path, num_steps: int) -> New:
        """Return the sequences of a file or folder. Raises DataError."""
        columns, form = self.meta.get("columns"), TableFormat.of(self.arguments)
        layout = self.arguments.get("layout")
        reading = Reading(self.reader, None, self.arguments.get("text"), columns, form, layout=layout)
        found = examples.read_new(path, reading)
        rate, keep = self.meta.get("rate", 0), self.arguments.get("keep", "first")
        if found.rate != rate:
            rule = f"must have {rate:,} samples per second, as in training, but has {found.rate:,}"
            raise DataError(f"{path}: {rule}; resample it: ffmpeg -ar {rate}")
        values, lengths = self._token_values(path, found) if "vocabulary" in self.meta else self._values(path, found)
        stop, kept = np.cumsum(lengths), np.minimum(lengths, num_steps)
        first = stop - (kept if keep == "last" else lengths)
        remarks = [*found.remarks, *sequences.cut(lengths, num_steps, keep)]
        return New(sequences.padded(values, first, kept), kept, {"names": found.names, "remarks": remarks})

    def labelled(self, path: Path, num_steps: int) -> Labelled:
        """Return the sequences of a file or folder with their classes. Raises DataError."""
        new, arguments = self.read(path, num_steps), self.arguments
        columns, form, layout = self.meta.get("columns"), TableFormat.of(arguments), arguments.get("layout")
        reading = Reading(self.reader, arguments.get("label"), arguments.get("text"), columns, form, layout=layout)
        given = labels.matched(examples.read([path], reading).labels, self.meta["classes"])
        number = {name: place for place, name in enumerate(self.meta["classes"])}
        for name, label in zip(new.about["names"], given, strict=True):
            if label not in number:
                rule = (
                    f"{name}: class '{label}' does not occur in training, which has {shortened(', '.join(number), 60)}"
                )
                raise DataError(f"{path}: {rule}; remove it, or correct the label")
        y = np.array([number[label] for label in given], dtype=np.int64)
        return Labelled(Batch(new.x, new.length, y), new.about)

    def scores(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return accuracy, balanced accuracy and macro F1; see class_scores."""
        return class_scores(outputs.argmax(-1), batch.y, len(self.meta["classes"]))

    def example(self, num_steps: int, rows: int = 1) -> dict[str, Any] | None:
        """Return a table of texts or numbers; None for series, arrays and recordings."""
        return super().example(num_steps, rows) if self.reader in ("text", "table") else None

    def _token_values(self, path: Path, found: Examples) -> tuple[np.ndarray, np.ndarray]:
        """Return token numbers (S,) and the lengths of texts (N,)."""
        form = TokenForm(self.meta["tokens"], 1, self.meta.get("tokeniser", 1))  # earlier exports have no version
        tokens = [form.split(text) for text in found.items]
        lengths = np.array([len(text) for text in tokens])
        if not lengths.all():
            raise DataError(f"{path}: '{found.names[int((lengths == 0).argmax())]}' has no text; remove it")
        return _encode(tokens, self.meta["vocabulary"]), lengths

    def _values(self, path: Path, found: Examples) -> tuple[np.ndarray, np.ndarray]:
        """Return standardised steps (S, D) and the lengths of sequences (N,)."""
        mean, scale = np.array(self.meta["mean"]), np.array(self.meta["scale"])
        if found.items[0].shape[1] != len(mean):
            rule = f"must have {len(mean)} channels, as in training, but has {found.items[0].shape[1]}"
            raise DataError(f"{path}: {rule}")
        lengths = np.array([len(item) for item in found.items])
        starts = np.cumsum(np.r_[0, lengths[:-1]])
        return sequences.standardised(np.concatenate(found.items), starts, mean, scale), lengths

    def answer(self, model: Trained, new: New, sampling: Sampling) -> dict[str, Any]:
        """Return a row for each sequence: its name, likeliest class, probability of it, and of each class."""
        labels, probabilities = decode(model.outputs(new.x, new.length), self.meta["classes"])
        table = {"sequence": new.about["names"], "label": labels, "probability": probabilities.max(-1)}
        return table | {f"p({name})": probabilities[:, place] for place, name in enumerate(self.meta["classes"])}
