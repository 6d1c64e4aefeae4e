"""Remarks: what a reader accepts in a file but you should know, as data that other code can select by kind."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from bench.errors import printable

Kind = Literal[
    "constant", "cut", "decimal", "encoding", "equal", "future", "groups", "ignored", "labels", "leak",
    "missing", "rounded", "scale", "shift", "short", "sorted", "steps", "thousands", "time", "unit",
    "unknown", "unnamed", "unseen", "windows"
]  # fmt: skip


class Remark(NamedTuple):
    """One remark. As a tuple of plain values it can be stored as JSON; `stored` reads it back."""

    kind: Kind
    text: str
    column: str | None = None
    file: str | None = None  # name of the file, if the remark is about one of several

    def __str__(self) -> str:
        """Return the remark as a line, with the file and the column that it is about."""
        column = "" if self.column is None else f"column '{self.column}': "
        return printable(("" if self.file is None else f"{self.file}: ") + column + self.text)

    def about(self, file: str) -> str:
        """Return the remark as a line that names a file: its own, or else `file`."""
        return str(self._replace(file=self.file or file))


def some(names: Sequence[str], most: int = 5) -> str:
    """Return the first names of many."""
    return ", ".join(names[:most]) + ", …" * (len(names) > most)


def stored(remarks: Iterable[Any]) -> list[Remark]:
    """Return remarks that were read from JSON."""
    return [Remark(*remark) for remark in remarks]
