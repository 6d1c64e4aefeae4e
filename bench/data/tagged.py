"""Sequences with a label at every step: CoNLL-U, the columns of CoNLL-2003, and tables with one row for each step.

CoNLL-U: Nivre et al., 2020, Universal Dependencies v2, https://arxiv.org/abs/2004.10643, format at
https://universaldependencies.org/format.html
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.data import tag_columns, texts
from bench.data.encodings import read_text
from bench.data.remarks import Remark
from bench.data.table_format import TableFormat
from bench.errors import DataError, DeclarationError, did_you_mean

COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")  # of CoNLL-U
UNMARKED = "_"  # of CoNLL-U: an empty field

_WORD = re.compile(r"[1-9][0-9]*")
_NO_WORD = re.compile(r"[0-9]+[-.][0-9]+")  # 3-4: how words 3 and 4 are written together; 3.1: an empty node


class Tagged(NamedTuple):
    """Tokens and labels of sequences, one after the other, and where each sequence stops."""

    tokens: list[str]
    labels: list[str]  # as many as tokens
    stop: list[int]  # of each sequence: number of tokens up to its end
    names: list[str] = []  # noqa: RUF012 - of the sequences if the file has names for them
    parts: list[str] = []  # noqa: RUF012 - of the sequences: the split that a column names, if it is asked for
    remarks: list[Remark] = []  # noqa: RUF012

    def close(self) -> None:
        """End the current sequence if it has tokens."""
        if len(self.tokens) > (self.stop[-1] if self.stop else 0):
            self.stop.append(len(self.tokens))

    def bounds(self) -> Iterator[tuple[int, int]]:
        """Return the first token of each sequence, and the one beyond its last."""
        return zip([0, *self.stop[:-1]], self.stop, strict=True)


def read(path: Path, token: str, label: str | None, form: TableFormat) -> Tagged:
    """Read tokens and labels from a .conllu file, a table, or lines in columns if there is no group.

    Without `label`, tokens only. Raises DataError.
    """
    if is_conllu(path):
        return read_conllu(path, token, label, form.encoding)
    if form.group is None:
        if not token.isdecimal():
            rule = f"name the column that identifies the sequences of {path.name}"
            raise DeclarationError(f"tagging: group: {rule}, or give token and label by the numbers of their columns")
        return read_columns(path, token, label, form.encoding)
    return read_table(path, token, label, form)


def is_conllu(path: Path) -> bool:
    """Whether a file is named as CoNLL-U."""
    return path.name.lower().removesuffix(".gz").endswith(".conllu")


def read_conllu(path: Path, token: str, label: str | None, encoding: str | None = None) -> Tagged:
    """Read two columns of the words in a CoNLL-U file; contractions and empty nodes are skipped. Raises DataError."""
    places = [_column(path, column) for column in (token, label or token)]
    text, remarks = read_text(path, encoding=encoding)
    tagged = Tagged([], [], [], remarks=remarks)
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            tagged.close()
            continue
        where = f"{path}: line {number}"
        fields = line.split("\t")
        if len(fields) != len(COLUMNS):
            raise DataError(f"{where}: must have {len(COLUMNS)} fields separated by tabs, but has {len(fields)}")
        if _NO_WORD.fullmatch(fields[0]):
            continue
        if not _WORD.fullmatch(fields[0]):
            raise DataError(f"{where}, column 'id': must be like 1, 1-2 or 1.1, but found {fields[0]!r}")
        word, mark = (fields[place] for place in places)
        if label is not None and mark in ("", UNMARKED):
            raise DataError(f"{where}, column '{label}': no label; every word needs one, or choose another column")
        tagged.tokens.append(word)
        tagged.labels.append(mark)
    tagged.close()
    if not tagged.stop:
        raise DataError(f"{path}: no words; write one word on each line, and an empty line after each sentence")
    return tagged


def read_columns(path: Path, token: str, label: str | None, encoding: str | None = None) -> Tagged:
    """Read two columns, given by their numbers from 1, of lines as CoNLL-2003 has them. Raises DataError."""
    lines = tag_columns.read(path, encoding)
    word, mark = (tag_columns.column(path, name, lines.width, "--text" if name is token else "--label")
                  for name in (token, label or token))  # fmt: skip
    tagged = Tagged([], [], [], remarks=lines.remarks)
    for fields, number, is_start in zip(lines.fields, lines.numbers, lines.starts, strict=True):
        if len(fields) != lines.width and (label is not None or len(fields) <= word):
            rule = f"has {len(fields)} columns, but most lines have {lines.width}; separate them by blanks or tabs"
            raise DataError(f"{path}: line {number} {rule}")
        if is_start:
            tagged.close()
        tagged.tokens.append(fields[word])
        tagged.labels.append(fields[mark] if label is not None else "")
    tagged.close()
    return tagged


def read_table(path: Path, token: str, label: str | None, form: TableFormat) -> Tagged:
    """Read a table with one row for each step; the rows of a group are one sequence. Raises DataError."""
    group = form.group
    if group is None:
        raise DeclarationError(f"tagging: group: name the column that identifies the sequences of {path.name}")
    rows, remarks = texts.read_cells(path, [group, token, label or group, form.split_by or group], form)
    tagged = Tagged([], [], [], [], [], remarks)
    seen: set[str] = set()
    for row, line in rows:
        name, word, mark, part = (cell.strip() for cell in row)
        for column, cell in ((group, name), (label or group, mark)):
            if not cell:
                raise DataError(f"{path}: line {line}, column '{column}': empty; fill it in, or remove the row")
        if not tagged.names or name != tagged.names[-1]:
            if name in seen:
                rule = "rows of one sequence must follow each other"
                raise DataError(f"{path}: line {line}, column '{group}': {rule}, but '{name}' begins again; sort them")
            seen.add(name)
            tagged.close()
            tagged.names.append(name)
            tagged.parts.append(part)
        if part != tagged.parts[-1]:
            rule = f"the rows of sequence '{name}' are in more than one split; keep them in one"
            raise DataError(f"{path}: line {line}, column '{form.split_by}': {rule}")
        tagged.tokens.append(word)
        tagged.labels.append(mark)
    tagged.close()
    return tagged


def read_lines(path: Path, encoding: str | None) -> Tagged:
    """Read a text with one sequence on each line, its tokens separated by spaces; no labels. Raises DataError."""
    text, remarks = read_text(path, encoding=encoding)
    tagged = Tagged([], [], [], remarks=remarks)
    for line in text.split("\n"):
        tagged.tokens.extend(line.split())
        tagged.close()
    if not tagged.stop:
        raise DataError(f"{path}: no words; write one sequence on each line, its tokens separated by spaces")
    return tagged


def _column(path: Path, column: str) -> int:
    if column not in COLUMNS:
        known = ", ".join(COLUMNS)
        raise DataError(f"{path}: no column '{column}'{did_you_mean(column, COLUMNS)} (there are: {known})")
    return COLUMNS.index(column)
