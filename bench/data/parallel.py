"""Pairs of sentences that translate each other, and how a sentence is divided into pieces.

Pieces are words and punctuation marks, each with the blank before it if there is one, so that a sentence can be put
together again exactly as it was written: scores then are of text and not of tokens.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bench.data.encodings import read_text
from bench.data.remarks import Remark
from bench.data.table_format import TableFormat
from bench.data.texts import read_cells
from bench.errors import DataError

_PIECE = re.compile(r" ?\w+| ?[^\w\s]")


class Pairs(NamedTuple):
    """Sentences and their translations, in the order of the files."""

    source: list[str]
    target: list[str]
    parts: list[str]  # what the column of the splits says of each pair; empty without such a column
    remarks: list[Remark]


def normal(sentence: str) -> str:
    """Return a sentence with single blanks between its words."""
    return " ".join(sentence.split())


def pieces(sentence: str) -> list[str]:
    """Return the words and the punctuation marks of a sentence, each with the blank before it; the first has one."""
    return _PIECE.findall(f" {normal(sentence)}")


def sentence(parts: Iterable[str]) -> str:
    """Return the sentence that consists of pieces, as it was written but for its blanks at either end."""
    return "".join(parts).strip()


def read_lines(source: Path, target: Path, encoding: str | None) -> Pairs:
    """Return the lines of two texts: line n of one translates line n of the other. Raises DataError."""
    sides, remarks = [], []
    for path in (source, target):
        text, found = read_text(path, encoding=encoding)
        sides.append(text.split("\n")[: -1 if text.endswith("\n") else None])
        remarks += found
    if len(sides[0]) != len(sides[1]):
        counts = f"{source.name} has {len(sides[0]):,} lines, but {target.name} has {len(sides[1]):,}"
        raise DataError(f"{source}: line n must be translated by line n of the other file, but {counts}; align them")
    return _filled(source, Pairs(sides[0], sides[1], [], remarks))


def read_table(path: Path, source: str, target: str, form: TableFormat) -> Pairs:
    """Return two columns of a table, and the column of the splits if the form names one. Raises DataError."""
    columns = [source, target, *([form.split_by] if form.split_by else [])]
    rows, remarks = read_cells(path, columns, form)
    cells = [list(column) for column in zip(*(row for row, _ in rows), strict=True)]
    return _filled(path, Pairs(cells[0], cells[1], cells[2] if form.split_by else [], remarks))


def _filled(path: Path, pairs: Pairs) -> Pairs:
    """Return the pairs of two sentences, and a remark on the others. Raises DataError if all are left out."""
    kept = [i for i, both in enumerate(zip(pairs.source, pairs.target, strict=True)) if all(map(str.strip, both))]
    missing = len(pairs.source) - len(kept)
    if not kept:
        raise DataError(f"{path}: holds no pair of sentences; give a sentence and its translation in each line")
    remarks = list(pairs.remarks)
    if missing:
        text = f"{missing:,} pairs without a sentence or without its translation are left out"
        remarks.append(Remark("missing", text, file=path.name))
    sources, targets, parts = (
        [column[i] for i in kept] if column else [] for column in (pairs.source, pairs.target, pairs.parts)
    )
    return Pairs(sources, targets, parts, remarks)
