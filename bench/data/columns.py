"""The columns of your table: what their first rows hold, and which column serves which purpose."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench import wording
from bench.config.sweep_settings import SweepConfig, flag
from bench.data.numbers import NUMBER
from bench.data.table_format import TableFormat
from bench.data.table_pieces import MISSING, is_named, read_head
from bench.data.timestamps import DATE, digit_form
from bench.errors import DataError, DeclarationError

TARGETS = ("target", "y")
LABELS = ("label", "class", "target", "y")
TIMES = ("time", "date", "datetime", "timestamp", "ds", "year", "month", "week", "period", "epoch")
TEXTS = ("text", "sentence")
TRANSCRIPTS = (*TEXTS, "transcript", "transcription")
TOKENS = ("token", "word", "form")
"""Names of columns that say what they are for."""

SAMPLE_ROWS = 50


class Look(NamedTuple):
    """What the first rows of a table hold."""

    path: Path
    names: list[str]
    dates: list[str]  # each column with a name is in one of these three
    numbers: list[str]
    texts: list[str]
    sentences: list[str]  # those of the texts in which most cells hold several words
    form: str  # how the file is written, in words

    def __str__(self) -> str:
        """Return the columns by what they hold."""
        kinds = {"dates": self.dates, "numbers": self.numbers, "text": self.texts}
        shown = {kind: wording.first(names, 12) for kind, names in kinds.items() if names}
        return "; ".join(f"{kind} in {names}" for kind, names in shown.items())


def look_at(path: Path, config: SweepConfig) -> Look:
    """Look at a table's first rows. Raises DataError, also if the table lacks a column that an option names."""
    named = [
        config.time,
        config.group,
        config.label,
        config.text,
        config.split_by,
        *(config.target or []),
        *(config.features or []),
    ]
    form = TableFormat(config.delimiter, config.encoding, not config.no_header, group=config.group)
    head = read_head(path, SAMPLE_ROWS, form, [name for name in named if name is not None])
    if not head.rows:
        raise DataError(f"{path}: no rows below the header")
    kinds: dict[str, list[str]] = {"dates": [], "numbers": [], "texts": [], "sentences": []}
    for place, name in enumerate(head.names):
        if not is_named(name):
            continue
        cells = [row[place].strip() for row in head.rows if place < len(row)]
        known = [cell for cell in cells if cell not in MISSING]
        are_numbers = all(map(NUMBER.fullmatch, known))
        are_dates = bool(known) and all(map(DATE.fullmatch, known))
        if are_numbers and name.lower() in TIMES and _are_times(known):
            are_numbers, are_dates = False, True
        kinds["numbers" if are_numbers else "dates" if are_dates else "texts"].append(name)
        if name in kinds["texts"] and sum(" " in cell for cell in known) > len(known) / 2:
            kinds["sentences"].append(name)
    return Look(path, head.names, **kinds, form=str(head.form))


def _are_times(cells: list[str]) -> bool:
    """Return whether numbers are dates such as 2015 or 201512, or seconds since 1970, and change in every row."""
    import pandas as pd

    if not cells or any(cell == after for cell, after in zip(cells, cells[1:], strict=False)):
        return False
    column = pd.Series([cell.removesuffix(".0") for cell in cells])
    return digit_form(column) is not None or all(float(cell) > 1e8 for cell in cells if "," not in cell)


def time_column(config: SweepConfig, look: Look) -> str | None:
    """Return the column of times: the one that is named, or the only one with dates. Raises DeclarationError."""
    free = [name for name in look.dates if name not in (config.group, config.label, config.text)]
    if config.time is None and len(free) > 1:
        raise DeclarationError(f"{look.path}: columns {', '.join(free)} hold dates; choose one: --time {free[0]}")
    return config.time or (free[0] if free else None)


def choose(look: Look, option: str, given: str | None, usual: Sequence[str], others: Sequence[str]) -> str:
    """Return the column that is given, or the first with a usual name, or the only one of `others`.

    Raises DeclarationError if there is none.
    """
    for candidates in ([given] if given else [], with_names(look.names, usual)[:1], others if len(others) == 1 else []):
        if candidates:
            return candidates[0]
    purpose = {
        "--target": "to forecast or predict",
        "--label": "of labels",
        "--text": "of texts, tokens or sources",
    }[option]
    raise DeclarationError(f"{look.path}: {look}; name the column {purpose} with {option} NAME")


def with_names(names: Sequence[str], usual: Sequence[str]) -> list[str]:
    """Return the names that are among the usual ones, in upper or lower case."""
    return [name for name in names if name.lower() in usual]


def check_roles(config: SweepConfig, path: Path) -> None:
    """Raise DeclarationError for a column that two options name."""
    roles: dict[str, str] = {}
    for option in ("target", "features", "time", "group", "label", "text", "split_by"):
        given = getattr(config, option)
        for name in dict.fromkeys([given] if isinstance(given, str) else given or []):
            if name in roles:
                rule = f"column '{name}' is both {flag(roles[name])} and {flag(option)}; remove one of them"
                raise DeclarationError(f"{path}: {rule}")
            roles[name] = option
