"""Errors a user can mend, each told in one line.

BenchError
├── UnknownNameError    a name that no file answers to; says which names there are
├── DeclarationError    a search space, dataset card, sweep file or option that breaks a rule
├── HardwareError       a device that was asked for and is not there
├── SweepLockedError    another coordinator is at work on the sweep
├── SealedSplitError    code that selects tried to open the test split
├── DataMissingError    a file of a dataset that is not here
├── DataError           a file of a dataset that breaks a rule; says which line and column
└── StoreError          a damaged or missing file of a sweep
"""

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """Base of all errors that are shown as one line, without a traceback."""

    exit_code = 2

    def __str__(self) -> str:
        """One line, whatever of a file or of another error is quoted in it."""
        return " ".join(super().__str__().splitlines())


class UnknownNameError(BenchError):
    """A name that no file answers to."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        super().__init__(f"unknown {kind} '{name}'{did_you_mean(name, known)} (there are: {', '.join(known)})")


class DeclarationError(BenchError):
    """A search space, dataset card, sweep file or option that breaks a rule."""


class HardwareError(BenchError):
    """A device that was asked for and is not there."""


class SweepLockedError(BenchError):
    """Another coordinator is at work on the sweep."""

    exit_code = 75


class SealedSplitError(BenchError):
    """Code that selects tried to open the test split."""


class DataMissingError(BenchError):
    """A file of a dataset that is not here."""


class DataError(BenchError):
    """A file of a dataset that breaks a rule; says which line and column."""


class StoreError(BenchError):
    """A damaged or missing file of a sweep."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known name closest to `name`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
