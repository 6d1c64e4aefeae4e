"""A label for every word of a sentence, or for every step of a sequence of symbols.

CoNLL-U: Nivre et al., 2020, Universal Dependencies v2, https://arxiv.org/abs/2004.10643, format at
https://universaldependencies.org/format.html

B batch, L steps, C labels.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.config.contracts import Batch, New, StoredTask
from bench.config.datasets import DataFile
from bench.data import sequences, texts, vocabulary
from bench.data.encodings import read_text
from bench.data.files import prepare
from bench.data.remarks import Remark
from bench.data.splits import PARTS, check_splits
from bench.data.table_format import TableFormat
from bench.errors import DataError, DeclarationError, did_you_mean

COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")  # of CoNLL-U
SHARES = (0.8, 0.1, 0.1)
UNMARKED = "_"  # of CoNLL-U: a field that holds nothing

_WORD = re.compile(r"[1-9][0-9]*")
_NO_WORD = re.compile(r"[0-9]+[-.][0-9]+")  # 3-4: how words 3 and 4 are written together; 3.1: an empty node


class Task(StoredTask):
    """Tell the label of every step, from the whole sequence: a model may read it in both directions.

    `files` are CoNLL-U (.conllu; columns `token` and `label` are two of its ten) or tables in long format (.csv, .tsv,
    .jsonl), a row a step, in which column `group` tells the sequences apart. `splits` names the file of each part; or
    gives shares of train, val and test, and the SHA-256 of its tokens decides where a sequence goes: equal ones stay
    together.

    Sequences longer than `length` are cut off there; short ones are padded. The vocabulary holds the tokens that occur
    `min_count` times in the training part; any other is <unk>, which training meets for that reason too.

    Task(4, files=[...], splits={"train": ...}), a sentence "the cat sat" with labels DET (0), NOUN (1), VERB (2)
    x  the cat sat <pad>
    y  0   1   2
    """

    tokens, per_step, loss = True, True, "cross_entropy"
    metric, goal, solved, causal = "accuracy", "maximize", None, False

    def __init__(
        self,
        length: int,
        *,
        files: Sequence[Any] = (),
        token: str = "form",
        label: str = "upos",
        group: str | None = None,
        splits: Mapping[str, str] | Sequence[float] = SHARES,
        min_count: int = 2,
        delimiter: str | None = None,
        encoding: str | None = None,
    ) -> None:
        if length < 1:
            raise DeclarationError(f"tagging: length: at least 1 step, but found {length}")
        if not files:
            raise DeclarationError("tagging: files: none; name them under [[files]] of the card")
        if min_count < 1:
            raise DeclarationError(f"tagging: min_count: at least 1, but found {min_count}")
        known = [DataFile.model_validate(file) for file in files]
        names = [Path(file.path).name for file in known]
        if not isinstance(splits, Mapping):
            check_splits("tagging", splits)
        rule = _named_files(dict(splits), names) if isinstance(splits, Mapping) else list(splits)
        form = TableFormat(delimiter, encoding, group=group)
        how = [token, label, rule, min_count, vars(form)]
        prepared = prepare("tagging", known, how, lambda paths: _make(paths, rule, token, label, min_count, form))
        self.meta: dict[str, Any] = prepared.meta
        self._parts = {
            part: (prepared.arrays[f"{part}_x"], prepared.arrays[f"{part}_y"], prepared.arrays[f"{part}_stop"])
            for part in PARTS
        }
        self.length = length
        self.counts = {part: len(stop) for part, (_, _, stop) in self._parts.items()}
        self.input_size, self.output_size = len(self.meta["vocabulary"]), len(self.meta["labels"])
        longest = int(np.diff(self._parts["train"][2], prepend=0).max())
        self.num_steps = min(length, longest)
        train, val = (self.take(part, np.arange(self.counts[part])) for part in ("train", "val"))
        self._commonest = int(np.bincount(train.y[train.mask]).argmax())
        self.chance = float((val.y[val.mask] == self._commonest).mean())

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the sequences of a part at these places."""
        x, y, stop = self._parts[part]
        start = np.where(places > 0, stop[places - 1], 0)
        length = np.minimum(stop[places] - start, self.num_steps)
        mask = np.arange(int(length.max())) < length[:, None]
        return Batch(sequences.padded(x, start, length), length, sequences.padded(y, start, length), mask)

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of right labels, and the F1 averaged over the labels that are there or answered."""
        return self._scores(outputs.argmax(-1), batch)

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of the label most frequent in training, and of that of each token."""
        train, test = self.take("train", np.arange(self.counts["train"])), self.split("test", size)
        assert train.mask is not None
        counts = np.zeros((self.input_size, self.output_size), dtype=np.int64)
        np.add.at(counts, (train.x[train.mask], train.y[train.mask]), 1)
        of_token = np.where(counts.any(1), counts.argmax(1), self._commonest)
        answers = {
            "most frequent label": np.full_like(test.y, self._commonest),
            "most frequent label of each token": of_token[test.x],
        }
        return {name: self._scores(answer, test)["accuracy"] for name, answer in answers.items()}

    def _scores(self, answers: np.ndarray, batch: Batch) -> dict[str, float]:
        assert batch.mask is not None
        answers, y = answers[batch.mask], batch.y[batch.mask]
        right = np.bincount(y[answers == y], minlength=self.output_size)
        both = np.bincount(y, minlength=self.output_size) + np.bincount(answers, minlength=self.output_size)
        there = both > 0
        return {"accuracy": float((answers == y).mean()), "macro_f1": float((2 * right[there] / both[there]).mean())}


def is_conllu(path: Path) -> bool:
    """Whether the name of a file says that it is CoNLL-U."""
    return path.name.lower().removesuffix(".gz").endswith(".conllu")


class Sequences(NamedTuple):
    """Tokens and labels of sequences, one after the other, and where each sequence stops."""

    tokens: list[str]
    labels: list[str]
    stop: list[int]
    names: list[str] = []  # noqa: RUF012 - where the file has names for them
    remarks: list[Remark] = []  # noqa: RUF012


def read_conllu(path: Path, token: str, label: str | None, encoding: str | None = None) -> Sequences:
    """Read two columns of a CoNLL-U file, or tokens only: words, neither the spans of contractions nor empty nodes."""
    places = [_place(path, column) for column in (token, label or token)]
    text, remarks = read_text(path, encoding=encoding)
    found = Sequences([], [], [], remarks=remarks)
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            _end(found)
            continue
        where = f"{path}: line {number}"
        fields = line.split("\t")
        if len(fields) != len(COLUMNS):
            raise DataError(f"{where}: {len(COLUMNS)} fields parted by tabs expected, but found {len(fields)}")
        if _NO_WORD.fullmatch(fields[0]):
            continue
        if not _WORD.fullmatch(fields[0]):
            raise DataError(f"{where}, column 'id': 1, 1-2 or 1.1 expected, but found {fields[0]!r}")
        word, mark = (fields[place] for place in places)
        if label is not None and mark in ("", UNMARKED):
            raise DataError(f"{where}, column '{label}': no label; every word needs one, or choose another column")
        found.tokens.append(word)
        found.labels.append(mark)
    _end(found)
    if not found.stop:
        raise DataError(f"{path}: no word in it; a word a line, an empty line after each sentence")
    return found


def read_long_table(
    path: Path,
    token: str,
    label: str | None,
    form: TableFormat,
) -> Sequences:
    """Read a table in long format: a row a step, and the rows of a group one sequence; without a label, tokens only."""
    group = form.group
    if group is None:
        raise DeclarationError(f"tagging: group: name the column that tells the sequences of {path.name} apart")
    cells, remarks = texts.read_cells(path, [group, token, label or group], form)
    found = Sequences([], [], [], [], remarks)
    seen: set[str] = set()
    last: str | None = None
    for row, line in cells:
        name, word, mark = (cell.strip() for cell in row)
        for column, cell in ((group, name), (label or group, mark)):
            if not cell:
                raise DataError(f"{path}: line {line}, column '{column}': empty; fill it in, or leave the row out")
        if name != last:
            if name in seen:
                raise DataError(f"{path}: line {line}, column '{group}': '{name}' begins again; sort rows by sequence")
            seen.add(name)
            _end(found)
            last = name
            found.names.append(name)
        found.tokens.append(word)
        found.labels.append(mark)
    _end(found)
    return found


def _end(found: Sequences) -> None:
    """Close the sequence that is open, if any."""
    if len(found.tokens) > (found.stop[-1] if found.stop else 0):
        found.stop.append(len(found.tokens))


def _place(path: Path, column: str) -> int:
    if column not in COLUMNS:
        known = ", ".join(COLUMNS)
        raise DataError(f"{path}: no column '{column}'{did_you_mean(column, COLUMNS)} (there are: {known})")
    return COLUMNS.index(column)


def _named_files(splits: dict[str, str], names: list[str]) -> dict[str, str]:
    """Return the name of the file of each part. Raises DeclarationError."""
    for part in PARTS:
        if splits.get(part) not in names:
            there = ", ".join(names)
            raise DeclarationError(f"tagging: splits: {part}: one of {there}, but found {splits.get(part)!r}")
    if set(splits) != set(PARTS):
        extra = sorted(set(splits) - set(PARTS))[0]
        raise DeclarationError(f"tagging: splits: train, val and test, but found '{extra}'")
    if len(set(splits.values())) < len(PARTS):
        raise DeclarationError("tagging: splits: a file of its own for each part, but one is named twice")
    return splits


def _parted(whole: list[Sequences], shares: list[float], path: Path) -> dict[str, Sequences]:
    """Return the sequences of each part, by the hash of their tokens."""
    found = {part: Sequences([], [], []) for part in PARTS}
    borders = np.cumsum(shares)[:2]
    for each in whole:
        for start, stop in zip([0, *each.stop[:-1]], each.stop, strict=True):
            tokens = each.tokens[start:stop]
            digest = hashlib.sha256(" ".join(tokens).encode("utf-8", "surrogatepass")).digest()
            place = int(np.searchsorted(borders, int.from_bytes(digest[:8], "big") / 2**64, side="right"))
            part = found[PARTS[place]]
            part.tokens.extend(tokens)
            part.labels.extend(each.labels[start:stop])
            _end(part)
    for name, part in found.items():
        if not part.stop:
            counts = ", ".join(f"{each} {len(found[each].stop)}" for each in PARTS)
            raise DataError(f"{path}: splits leave {name} without a sequence ({counts}); give other shares")
    return found


def _make(
    paths: list[Path],
    rule: dict[str, str] | list[float],
    token: str,
    label: str,
    min_count: int,
    form: TableFormat,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return tokens, labels and ends of each part, and what they are numbers of."""
    read = {
        path.name: read_conllu(path, token, label, form.encoding)
        if is_conllu(path)
        else read_long_table(path, token, label, form)
        for path in paths
    }
    if isinstance(rule, dict):
        found = {part: read[rule[part]] for part in PARTS}
    else:
        found = _parted(list(read.values()), rule, paths[0])
    words = vocabulary.make(found["train"].tokens, "word", min_count=min_count)
    labels = sorted(set(found["train"].labels))
    number = {name: place for place, name in enumerate(labels)}
    arrays, unknown = {}, {}
    for part, (tokens, marks, stop, *_) in found.items():
        new = sorted(set(marks) - set(labels))
        if new:
            where = rule["train"] if isinstance(rule, dict) else "the training part"
            path = next(path for path in paths if not isinstance(rule, dict) or path.name == rule[part])
            mend = "no model can learn it: leave its sequences out, or give it another label" + (
                "" if isinstance(rule, dict) else "; or other shares (--splits)"
            )
            raise DataError(
                f"{path}: label '{new[0]}' of column '{label}', {marks.count(new[0]):,} in {part}, does not occur in "
                f"{where}; {mend}"
            )
        arrays[f"{part}_x"] = vocabulary.encode(tokens, words)
        arrays[f"{part}_y"] = np.array([number[mark] for mark in marks], dtype=np.int64)
        arrays[f"{part}_stop"] = np.array(stop, dtype=np.int64)
        unknown[part] = int((arrays[f"{part}_x"] == 0).sum())
    shares = ", ".join(f"{part} {unknown[part] / len(found[part].tokens):.1%}" for part in PARTS)
    meta = {
        "vocabulary": words,
        "labels": labels,
        "sequences": {part: len(found[part].stop) for part in PARTS},
        "tokens": {part: len(found[part].tokens) for part in PARTS},
        "remarks": [
            *(remark for each in read.values() for remark in each.remarks),
            *_repeated(found),
            Remark("unknown", f"tokens seen fewer than {min_count} times in training, read as <unk>: {shares}"),
        ],
    }
    return arrays, meta


def _repeated(found: dict[str, Sequences]) -> list[Remark]:
    """Return remarks of sequences whose tokens are those of one in an earlier part."""
    contents: list[tuple[str, ...]] = []
    for each in (found[part] for part in PARTS):
        contents += [tuple(each.tokens[a:b]) for a, b in zip([0, *each.stop[:-1]], each.stop, strict=True)]
    part = np.repeat(np.arange(len(PARTS)), [len(found[name].stop) for name in PARTS])
    return sequences.repeated(contents, part, PARTS)


# New files


def columns(arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, str]:
    """Return the columns of a table of new sequences."""
    return {arguments.get("group") or "sequence": "text", arguments.get("token", "form"): "text"}


def read_new(path: Path, length: int, arguments: dict[str, Any], meta: dict[str, Any]) -> New:
    """Return the sequences of a CoNLL-U file, of a table with a row a step, or of a text with one a line.

    Labels, if there are any, are not read. Longer sequences than the model was trained on come in pieces of `length`.
    Raises DataError.
    """
    token, encoding = arguments.get("token", "form"), arguments.get("encoding")
    if is_conllu(path):
        found = read_conllu(path, token, None, encoding)
    elif texts.is_table(path):
        found = read_long_table(
            path, token, None, TableFormat.of(arguments, group=arguments.get("group") or "sequence")
        )
    else:
        found = _read_lines(path, encoding)
    stop = np.array(found.stop)
    start = np.r_[0, stop[:-1]]
    pieces = [
        (first, min(first + length, beyond))
        for a, beyond in zip(start, stop, strict=True)
        for first in range(a, beyond, length)
    ]
    starts, stops = np.array(pieces).T
    names = found.names or [str(number) for number in range(1, len(stop) + 1)]
    about = {
        "remarks": found.remarks,
        "tokens": found.tokens,
        "names": np.repeat(names, stop - start),
        "steps": _steps(start, stop),
    }
    numbers = vocabulary.encode(found.tokens, meta["vocabulary"])
    return New(sequences.padded(numbers, starts, stops - starts), stops - starts, about)


def _steps(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    return np.concatenate([np.arange(1, length + 1) for length in stop - start])


def _read_lines(path: Path, encoding: str | None) -> Sequences:
    text, remarks = read_text(path, encoding=encoding)
    found = Sequences([], [], [], remarks=remarks)
    for line in text.split("\n"):
        found.tokens.extend(line.split())
        _end(found)
    if not found.stop:
        raise DataError(f"{path}: no word in it; a sequence a line, its tokens parted by spaces")
    return found


def answers(outputs: np.ndarray, new: New, arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """Return a row for each step: sequence, place in it from 1, token, likeliest label and its probability."""
    probabilities = sequences.softmax(outputs[np.arange(outputs.shape[1]) < new.length[:, None]])
    return {
        arguments.get("group") or "sequence": new.about["names"],
        "step": new.about["steps"],
        arguments.get("token", "form"): new.about["tokens"],
        arguments.get("label", "upos"): [meta["labels"][place] for place in probabilities.argmax(-1)],
        "probability": probabilities.max(-1),
    }
