"""Labels of examples and steps as classes: one class for 1 and 1.0, and for true and True."""

import re
from collections.abc import Iterable, Sequence

from bench import wording
from bench.data.remarks import Remark

_WHOLE = re.compile(r"[-+]?\d{1,15}")
_WRITTEN_AS_DECIMAL = re.compile(r"[-+]?\d{1,15}(\.\d*)?([eE][-+]?\d{1,2})?")
_TRUTHS = {"true": "True", "false": "False"}


def unified(labels: Sequence[str]) -> list[str]:
    """Return labels in which a whole number has one spelling, and so has a truth value.

    A column of whole numbers that some program read as decimals, often because one of its cells was empty, holds 1.0
    for 1. Labels such as 1.0 stay as they are beside other decimals, such as 1.5, unless 1 is a label too.
    """
    spellings = _spellings(set(labels))
    return [spellings.get(label, label) for label in labels] if spellings else list(labels)


def matched(labels: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Return labels as the known classes are spelled, 1 as 1.0 if that is a class; unknown labels stay as they are."""
    by_key = {_key(name): name for name in classes}
    return [label if label in classes else by_key.get(_key(label), label) for label in labels]


def remarked(labels: Iterable[str]) -> list[Remark]:
    """Return remarks on labels that were written in several ways, and on those that differ only in case or spaces."""
    names, spellings = sorted(set(labels)), _spellings(set(labels))
    merged = [f"'{old}' is read as '{new}'" for old, new in sorted(spellings.items()) if new in names]
    remarks = [Remark("labels", f"labels: {wording.first(merged, 5)}")] if merged else []
    by_folded: dict[str, list[str]] = {}
    for name in sorted({spellings.get(name, name) for name in names}):
        by_folded.setdefault(" ".join(name.casefold().split()), []).append(name)
    alike = next((group for group in by_folded.values() if len(group) > 1), None)
    if alike:
        both = " and ".join(f"'{name}'" for name in alike)
        remarks.append(Remark("labels", f"labels {both} are different classes, but differ only in case or spaces"))
    return remarks


def _spellings(names: set[str]) -> dict[str, str]:
    """Return the labels that are spelled anew, and how."""
    if len({name.lower() for name in names}) < len(names) and all(name.lower() in _TRUTHS for name in names):
        return {name: _TRUTHS[name.lower()] for name in names}
    keys = {name: _key(name) for name in names}
    are_whole = all(_WHOLE.fullmatch(key) for key in keys.values())
    return {name: key for name, key in keys.items() if name != key and (are_whole or key in names)}


def _key(label: str) -> str:
    """Return a whole number without a point and an exponent, and any other label as it is."""
    if _WHOLE.fullmatch(label) or not _WRITTEN_AS_DECIMAL.fullmatch(label):
        return label
    value = float(label)
    return str(int(value)) if value == int(value) and abs(value) < 10**15 else label
