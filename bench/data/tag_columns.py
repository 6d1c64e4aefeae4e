"""Sentences as CoNLL-2000 and CoNLL-2003 write them: a token and its labels on each line, an empty line after each.

    EU NNP B-NP B-ORG       blanks or tabs separate the columns; the last one is usually the label
    rejects VBZ B-VP O      Tjong Kim Sang & De Meulder, 2003, https://aclanthology.org/W03-0419

Lines of -DOCSTART- and comments are skipped.
"""

import codecs
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from bench.data.encodings import opened, read_text
from bench.data.remarks import Remark
from bench.errors import DataError, DeclarationError

ENDINGS = (".conll", ".bio", ".iob", ".iob2", ".bioes")

_DOCUMENT = "-DOCSTART-"
_SNIFFED = 1 << 18  # bytes that show whether a text has columns
_SHARE = 0.9  # of all lines have as many columns as most of them
_HEADS = ("token", "tokens", "word", "words", "form")
_BIO = ("B-", "I-", "E-", "S-", "L-", "U-")


class Lines(NamedTuple):
    """The lines of a file that hold tokens, in columns."""

    fields: list[list[str]]
    numbers: list[int]  # of the lines
    starts: list[bool]  # whether a sentence begins
    width: int  # columns of most lines
    remarks: list[Remark]

    @property
    def token(self) -> int:
        """The column of the tokens, from 1: the second if the first one counts the tokens of a sentence."""
        first = [fields[0] for fields, is_start in zip(self.fields, self.starts, strict=True) if is_start]
        counts = self.width > 2 and len(set(first)) == 1 and first[0] in ("0", "1")
        return 2 if counts and all(fields[0].isdecimal() for fields in self.fields) else 1


def read(path: Path, encoding: str | None = None) -> Lines:
    """Return the lines of a file in columns. Raises DataError if there are none."""
    text, remarks = read_text(path, encoding=encoding)
    found = _lines(text, remarks)
    if found is None:
        raise DataError(f"{path}: no words; write one word on each line, and an empty line after each sentence")
    return found


def _lines(text: str, remarks: list[Remark]) -> Lines | None:
    lines = [(line, number) for number, line in enumerate(text.split("\n"), 1)]
    are_tabs = sum("\t" in line for line, _ in lines) > sum(bool(line.strip()) for line, _ in lines) // 2
    split = [(line.split("\t") if are_tabs else line.split(), number) for line, number in lines]
    counts = Counter(len(fields) for fields, _ in split if any(fields))
    if not counts:
        return None
    width = counts.most_common(1)[0][0]
    known = {fields[-1] for fields, _ in split if len(fields) == width and not fields[0].startswith("#")}
    kept: list[list[str]] = []
    numbers: list[int] = []
    starts: list[bool] = []
    is_start = True
    for fields, number in split:
        first = fields[0] if fields else ""
        is_comment = first.startswith("#") and is_start and (len(fields) != width or fields[-1] not in known)
        if not any(fields) or first == _DOCUMENT:
            is_start = True
        elif not is_comment:
            kept.append([field.strip() for field in fields])
            numbers.append(number)
            starts.append(is_start)
            is_start = False
    if len(kept) > 1 and kept[0][0].lower() in _HEADS and kept[0][-1] not in {fields[-1] for fields in kept[1:]}:
        kept, numbers, starts = kept[1:], numbers[1:], [True, *starts[2:]]  # a line of names
    return Lines(kept, numbers, starts, width, remarks) if kept else None


def found_in(path: Path, encoding: str | None = None) -> Lines | None:
    """Return the first lines of a file if it has sentences in columns; None for another text. Raises DataError."""
    with opened(path) as file:
        data = file.read(_SNIFFED)
    if len(data) == _SNIFFED:
        data = data[: data.rfind(b"\n") + 1]
    is_wide = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    text = data.decode(encoding or ("utf-16" if is_wide else "utf-8-sig"), errors="replace")
    lines = None if "\0" in text else _lines(text.replace("\r\n", "\n"), [])
    if lines is None or not 1 < sum(lines.starts) < len(lines.starts):
        return None
    return lines if sum(len(fields) == lines.width for fields in lines.fields) >= _SHARE * len(lines.fields) else None


def are_labelled(path: Path, encoding: str | None = None) -> bool:
    """Return whether a text surely has sentences in columns: its name says so, or labels such as B-PER and O."""
    if path.name.lower().removesuffix(".gz").endswith(ENDINGS):
        return True
    with opened(path) as file:
        if file.read(len(_DOCUMENT)) == _DOCUMENT.encode():
            return True
    lines = found_in(path, encoding)
    if lines is None or lines.width < 2:
        return False
    labels = {fields[-1] for fields in lines.fields if len(fields) == lines.width}
    return "O" in labels and len(labels) > 1 and all(label == "O" or label.startswith(_BIO) for label in labels)


def column(path: Path, name: str, width: int, option: str) -> int:
    """Return the place of a column that is given by its number from 1. Raises DeclarationError."""
    if not name.isdecimal() or not 1 <= int(name) <= width:
        rule = f"must be the number of a column, from 1 to {width}"
        raise DeclarationError(f"{path}: {option} {rule}, but is '{name}'; the columns of these lines have no names")
    return int(name) - 1
