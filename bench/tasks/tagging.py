"""A label for every word of a sentence, or for every step of a sequence of symbols.

B batch, L steps, C labels.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import contracts
from bench.config.contracts import Batch, Labelled, New, Sampling, StoredTask, Trained
from bench.data import labels, morphology, sequences, tag_columns, tagged, texts, vocabulary
from bench.data.files import prepare
from bench.data.remarks import Remark
from bench.data.splits import (
    PARTS,
    VAL_SHARE,
    by_content,
    check_rule,
    check_splits,
    digest,
    file_parts,
    named_parts,
    part_files,
    split_column,
)
from bench.data.table_format import TableFormat
from bench.data.tagged import Tagged
from bench.errors import DataError, DeclarationError
from bench.tasks._sequences import checked_files, class_scores
from bench.wording import first, shortened

SHARES = (0.8, 0.1, 0.1)


class Task(StoredTask):
    """Predict the label of every step from the whole sequence; models may read it in both directions.

    Args:
        length: Number of steps that a model reads, at least 1. Longer sequences are cut, shorter ones are padded.
        files: The files of the dataset card: CoNLL-U (.conllu), or tables (.csv, .tsv, .jsonl) with one row a step.
            Without a `group`, lines as in CoNLL-2003: a token and its labels, an empty line after each sentence.
        token: Column of the tokens; one of the ten names of CoNLL-U, a column of the table, or a number from 1.
        label: Column of the labels, in the same way.
        group: Column of a table that names the sequence a row belongs to.
        splits: The name of the file of each part; or shares of train, val and test. With shares, the SHA-256 of its
            tokens decides the part of a sequence, so equal ones share a part. Or a rule: `by = "file"` with lists of
            files, or `by = "column"` with the `column` of a table that names the part of each row; without val, it is
            `val_share` of train.
        min_count: Tokens that occur less often in training are read as <unk>, in training too.
        delimiter: Of tables; detected by default.
        encoding: Of the files; detected by default.
        word_features: Whether the suffixes and the shape of each token follow it in x, which is then (B, L, 1 + F).
            A token that is read as <unk> has them too.

    Task(4, files=[...], splits={"train": ...}), a sentence "the cat sat" with labels DET (0), NOUN (1), VERB (2)
    x  the cat sat <pad>
    y  0   1   2
    """

    tokens, per_step, loss = True, True, "cross_entropy"
    metric, goal, solved, causal, kind = "accuracy", "maximize", None, False, "tagging"

    def __init__(
        self,
        length: int,
        *,
        files: Sequence[Any] = (),
        token: str = "form",
        label: str = "upos",
        group: str | None = None,
        splits: Mapping[str, Any] | Sequence[float] = SHARES,
        min_count: int = 2,
        delimiter: str | None = None,
        encoding: str | None = None,
        word_features: bool = False,
    ) -> None:
        data_files = checked_files("tagging", length, files)
        if min_count < 1:
            raise DeclarationError(f"tagging: min_count: must be at least 1, but found {min_count}")
        rule = _checked(splits, [Path(file.path).name for file in data_files])
        form = TableFormat(delimiter, encoding, group=group, split_by=split_column(splits))
        how = [token, label, rule, min_count, vars(form), list(morphology.SUFFIXES)]
        prepared = prepare("tagging", data_files, how, lambda p: _make(p, rule, token, label, min_count, form))
        self.meta: dict[str, Any] = prepared.meta if word_features else prepared.meta | {"features": []}
        arrays = prepared.arrays
        self._parts = {part: [arrays[f"{part}_{name}"] for name in ("x", "y", "stop")] for part in PARTS}
        self._features = {part: arrays[f"{part}_features"] for part in PARTS} if word_features else {}
        self.feature_sizes = tuple(len(names) for names in self.meta["features"])
        self.length = length
        self.counts = {part: len(stop) for part, (_, _, stop) in self._parts.items()}
        self.input_size, self.output_size = len(self.meta["vocabulary"]), len(self.meta["labels"])
        longest = int(np.diff(self._parts["train"][2], prepend=0).max())
        self.num_steps = min(length, longest)
        train, val = (self.take(part, np.arange(self.counts[part])) for part in ("train", "val"))
        self._most_frequent = int(np.bincount(train.y[train.mask]).argmax())
        self.chance = float((val.y[val.mask] == self._most_frequent).mean())

    def steps_of(self, part: str) -> np.ndarray:
        """Return the number of steps of each sequence of a part, also of those that are not read, (N,) int64."""
        return np.diff(self._parts[part][2], prepend=0)

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the sequences of a part at these places."""
        x, y, stop = self._parts[part]
        start = np.where(places > 0, stop[places - 1], 0)
        length = np.minimum(stop[places] - start, self.num_steps)
        mask = np.arange(int(length.max())) < length[:, None]
        tokens = _with_features(x, self._features.get(part), start, length)
        return Batch(tokens, length, sequences.padded(y, start, length), mask)

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return accuracy, balanced accuracy and macro F1; see class_scores."""
        return self._scores(outputs.argmax(-1), batch)

    def _scores(self, answers: np.ndarray, batch: Batch) -> dict[str, float]:
        assert batch.mask is not None
        return class_scores(answers[batch.mask], batch.y[batch.mask], self.output_size)


def _with_features(x: np.ndarray, features: np.ndarray | None, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return tokens (B, L), or tokens and their features (B, L, 1 + F)."""
    tokens = sequences.padded(x, start, length)
    if features is None:
        return tokens
    return np.stack([tokens, *(sequences.padded(column, start, length) for column in features.T)], axis=-1)


def _checked(splits: Mapping[str, Any] | Sequence[float], names: list[str]) -> dict[str, Any] | list[float]:
    """Return a rule by file or column, or shares. Raises DeclarationError."""
    if not isinstance(splits, Mapping):
        check_splits("tagging", splits)
        return list(splits)
    if split_column(splits) is not None:
        check_rule("tagging", dict(splits))
        return dict(splits)
    return {"by": "file", "val_share": splits.get("val_share", VAL_SHARE)} | part_files("tagging", splits, names)


# Preparation


def _make(
    paths: list[Path],
    rule: dict[str, Any] | list[float],
    token: str,
    label: str,
    min_count: int,
    form: TableFormat,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return tokens, labels and ends of the sequences of each part, and the names of the numbers in them."""
    read = {path.name: tagged.read(path, token, label, form) for path in paths}
    read, label_remarks = _unified(read)
    parts = _split(read, rule, paths[0])
    words = vocabulary.make(parts["train"].tokens, "word", min_count=min_count)
    features = morphology.vocabularies(parts["train"].tokens, min_count)
    untrained = _untrained(parts, rule, paths[0], label)
    trained = set(parts["train"].labels)  # first: their numbers do not depend on the other parts
    names = sorted(trained) + sorted(set().union(*(each.labels for each in parts.values())) - trained)
    number = {name: place for place, name in enumerate(names)}
    arrays, unknown = {}, []
    for part, each in parts.items():
        arrays[f"{part}_x"] = vocabulary.encode(each.tokens, words)
        arrays[f"{part}_features"] = morphology.encode(each.tokens, features)
        arrays[f"{part}_y"] = np.array([number[mark] for mark in each.labels], dtype=np.int64)
        arrays[f"{part}_stop"] = np.array(each.stop, dtype=np.int64)
        unknown.append(f"{part} {int((arrays[f'{part}_x'] == 0).sum()) / len(each.tokens):.1%}")
    remarks = [remark for each in read.values() for remark in each.remarks] + label_remarks + untrained
    remarks += _repeated(parts)
    rule_of_unknown = f"tokens that occur fewer than {min_count} times in training are read as <unk>"
    remarks.append(Remark("unknown", f"{rule_of_unknown}: {', '.join(unknown)}"))
    meta: dict[str, Any] = {"vocabulary": words, "features": features, "labels": names, "remarks": remarks}
    meta["sequences"] = {part: len(each.stop) for part, each in parts.items()}
    meta["tokens"] = {part: len(each.tokens) for part, each in parts.items()}
    return arrays, meta


def _unified(files: dict[str, Tagged]) -> tuple[dict[str, Tagged], list[Remark]]:
    """Return the files with one spelling for each label, and remarks on that."""
    names = list(dict.fromkeys(mark for file in files.values() for mark in file.labels))
    spelled = dict(zip(names, labels.unified(names), strict=True))
    unified = {name: file._replace(labels=[spelled[mark] for mark in file.labels]) for name, file in files.items()}
    return unified, labels.remarked(names)


def _split(files: dict[str, Tagged], rule: dict[str, Any] | list[float], path: Path) -> dict[str, Tagged]:
    """Return the sequences of each part. Raises DataError for an empty part.

    Shares go by the hash of the tokens, so that equal sequences are in one part; so does val that is taken from train.
    """
    sequences_of = [(file, start, stop) for file in files.values() for start, stop in file.bounds()]
    digests = [digest(" ".join(file.tokens[start:stop])) for file, start, stop in sequences_of]
    if isinstance(rule, list):
        numbers = by_content(digests, rule)
    elif rule["by"] == "column":
        named = [part for file in files.values() for part in file.parts]
        numbers = named_parts(named, f"{path}: column '{rule['column']}'")
    else:
        of_file = file_parts(rule, list(files))
        numbers = np.repeat(of_file, [len(file.stop) for file in files.values()])
    if isinstance(rule, dict) and not (numbers == 1).any():
        share = rule.get("val_share", VAL_SHARE)
        train = np.flatnonzero(numbers == 0)
        numbers[train] = by_content([digests[place] for place in train], [1 - share, share, 0.0])
    parts = {part: Tagged([], [], []) for part in PARTS}
    for (file, start, stop), number in zip(sequences_of, numbers, strict=True):
        part = parts[PARTS[number]]
        part.tokens.extend(file.tokens[start:stop])
        part.labels.extend(file.labels[start:stop])
        part.close()
    for name, part in parts.items():
        if not part.stop:
            counts = ", ".join(f"{other} {len(parts[other].stop)}" for other in PARTS)
            raise DataError(f"{path}: splits leave {name} without a sequence ({counts}); use other shares")
    return parts


def _untrained(parts: dict[str, Tagged], rule: dict[str, Any] | list[float], path: Path, column: str) -> list[Remark]:
    """Return remarks on labels that training does not have. Raises DataError if most labels of a part are such."""
    trained, remarks = set(parts["train"].labels), []
    for part, each in parts.items():
        counts = Counter(mark for mark in each.labels if mark not in trained)
        if not counts:
            continue
        if counts.total() > len(each.labels) / 2:
            fix = "or use other shares (--splits)" if isinstance(rule, list) else "or name the column of the labels"
            mark = next(iter(counts))
            raise DataError(
                f"{path}: column '{column}': most labels of {part} do not occur in train, such as '{mark}'; give files "
                f"with the same labels, {fix}"
            )
        listed = first([f"{mark} ({number})" for mark, number in counts.most_common()], 10)
        rule_of = f"labels of {part} that no training sequence has, so that every answer to them counts as wrong"
        remarks.append(Remark("unseen", f"{rule_of}: {listed}"))
    return remarks


def _repeated(parts: dict[str, Tagged]) -> list[Remark]:
    """Return remarks on sequences whose tokens equal those of one in an earlier part."""
    contents = [tuple(each.tokens[a:b]) for each in parts.values() for a, b in each.bounds()]
    part = np.repeat(np.arange(len(PARTS)), [len(each.stop) for each in parts.values()])
    return sequences.repeated(contents, part, PARTS)


# Prediction


class Predictor(contracts.Predictor):
    """Label the steps of sequences in a CoNLL-U file, in a table with one row a step, or in a text with one a line.

    Labels, if there are any, are not read. Sequences longer than the model was trained on are read in pieces.
    """

    @property
    def needs(self) -> dict[str, type]:
        """The keys of `meta` that answers depend on, and the types of their values."""
        return {"vocabulary": list, "labels": list}

    def __init__(self, arguments: dict[str, Any], meta: dict[str, Any]) -> None:
        super().__init__(arguments, meta)
        self.group = arguments.get("group") or "sequence"
        self.token, self.label = arguments.get("token", "form"), arguments.get("label", "upos")
        self.numbers: tuple[str, str] | None = None
        if self.token.isdecimal() and not arguments.get("group"):  # columns without names
            self.numbers = self.token, self.label
            self.token, self.label = "token", "label"

    @property
    def columns(self) -> dict[str, str]:
        """The columns of a table of new sequences: the sequence and the token of each row."""
        return {self.group: "text", self.token: "text"}

    def read(self, path: Path, num_steps: int) -> New:
        """Return the sequences of a file, in pieces of at most `num_steps`. Raises DataError."""
        form = TableFormat.of(self.arguments, group=self.group)
        if self.numbers is not None and self._has_columns(path):
            found = tagged.read_columns(path, self.numbers[0], None, form.encoding)
        elif tagged.is_conllu(path) or texts.is_table(path):
            found = tagged.read(path, self.token, None, form)
        else:
            found = tagged.read_lines(path, form.encoding)
        bounds = list(found.bounds())
        pieces = [(first, min(first + num_steps, b)) for a, b in bounds for first in range(a, b, num_steps)]
        starts, stops = np.array(pieces).T
        names = found.names or [str(number) for number in range(1, len(bounds) + 1)]
        about = {
            "remarks": found.remarks,
            "tokens": found.tokens,
            "names": np.repeat(names, [b - a for a, b in bounds]),
            "steps": np.concatenate([np.arange(1, b - a + 1) for a, b in bounds]),
        }
        numbers = vocabulary.encode(found.tokens, self.meta["vocabulary"])
        features = self.meta.get("features")  # exports of earlier versions have none
        encoded = morphology.encode(found.tokens, features) if features else None
        return New(_with_features(numbers, encoded, starts, stops - starts), stops - starts, about)

    def answer(self, model: Trained, new: New, sampling: Sampling) -> dict[str, Any]:
        """Return a row for each step: sequence, step from 1, token, likeliest label and its probability."""
        outputs = model.outputs(new.x, new.length)
        probabilities = sequences.softmax(outputs[np.arange(outputs.shape[1]) < new.length[:, None]])
        return {
            self.group: new.about["names"],
            "step": new.about["steps"],
            self.token: new.about["tokens"],
            self.label: [self.meta["labels"][number] for number in probabilities.argmax(-1)],
            "probability": probabilities.max(-1),
        }

    def _has_columns(self, path: Path) -> bool:
        """Return whether a file has sentences in columns without names. Raises DataError."""
        found = None if tagged.is_conllu(path) else tag_columns.found_in(path, self.arguments.get("encoding"))
        return found is not None

    def labelled(self, path: Path, num_steps: int) -> Labelled:
        """Return the sequences of a file with their labels, in pieces of at most `num_steps`. Raises DataError."""
        are_columns = self.numbers is not None and self._has_columns(path)
        if not are_columns and not (tagged.is_conllu(path) or texts.is_table(path)):
            raise DataError(f"{path}: a text has no labels; give a CoNLL-U file or a table with column '{self.label}'")
        new, form = self.read(path, num_steps), TableFormat.of(self.arguments, group=self.group)
        number = {name: place for place, name in enumerate(self.meta["labels"])}
        if are_columns and self.numbers is not None:
            found = tagged.read_columns(path, *self.numbers, form.encoding)
        else:
            found = tagged.read(path, self.token, self.label, form)
        given = labels.matched(found.labels, self.meta["labels"])
        for token, label in zip(new.about["tokens"], given, strict=True):
            if label not in number:
                known = shortened(", ".join(number), 60)
                rule = f"label '{label}' of '{token}' does not occur in training, which has {known}"
                raise DataError(f"{path}: {rule}; remove its sequence, or correct the label")
        y = np.array([number[label] for label in given], dtype=np.int64)
        mask = np.arange(new.x.shape[1]) < new.length[:, None]
        padded = sequences.padded(y, np.cumsum(new.length) - new.length, new.length)
        return Labelled(Batch(new.x, new.length, padded, mask), new.about)

    def scores(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return accuracy, balanced accuracy and macro F1; see class_scores."""
        return class_scores(outputs.argmax(-1)[batch.mask], batch.y[batch.mask], len(self.meta["labels"]))
