"""Errors that you can fix, each shown in one line.

BenchError
├── UnknownNameError    a name that does not exist; the message lists those that do
├── DeclarationError    a search space, dataset card, sweep file or option that is not valid
├── HardwareError       a requested device that this machine lacks
├── SweepLockedError    another process works on the sweep
├── NoRunSucceededError a sweep in which every run failed
├── SealedSplitError    code that selects models tried to open the test split
├── DataMissingError    a file of a dataset that is missing
├── DataError           a file of a dataset that is not valid; the message names line and column
└── StoreError          a damaged or missing file of a sweep
"""

import difflib
import re
from collections.abc import Iterable

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class BenchError(Exception):
    """Base of all errors that are shown as one line, without a traceback."""

    exit_code = 2

    def __str__(self) -> str:
        """Return one line that is safe to print, even if a quoted file or error has several or commands a terminal."""
        return printable(" ".join(super().__str__().splitlines()))


MOST_NAMES = 20  # that an error lists; `bench list` shows all


class UnknownNameError(BenchError):
    """A name that does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        shown = known[:MOST_NAMES] + ([f"and {len(known) - MOST_NAMES} more"] if len(known) > MOST_NAMES else [])
        quoted = repr(name if len(name) <= 80 else f"{name[:79]}…")  # as repr: the name may hold any character
        super().__init__(f"unknown {kind} {quoted}{did_you_mean(name, known)} (there are: {', '.join(shown)})")


class DeclarationError(BenchError):
    """A search space, dataset card, sweep file or option that is not valid."""


class HardwareError(BenchError):
    """A requested device that this machine lacks."""


class SweepLockedError(BenchError):
    """Another process works on the sweep."""

    exit_code = 75


class NoRunSucceededError(BenchError):
    """A sweep in which every run failed."""

    exit_code = 3


class SealedSplitError(BenchError):
    """Code that selects models tried to open the test split."""


class DataMissingError(BenchError):
    """A file of a dataset that is missing."""


class DataError(BenchError):
    """A file of a dataset that is not valid; the message names line and column."""


class StoreError(BenchError):
    """A damaged or missing file of a sweep."""


def printable(text: str) -> str:
    """Return a text with its control characters as escapes: those of a file could command the terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known name closest to `name`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
