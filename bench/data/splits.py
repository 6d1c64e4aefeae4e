"""Which example belongs to train, val and test: shares, counts, named files, and rules by name, class and column.

All rules are deterministic. Those that order examples order them by the SHA-256 of their names.

N examples.
"""

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from bench import wording
from bench.config.bounds import are_counts, are_shares
from bench.errors import DataError, DeclarationError

PARTS = ("train", "val", "test")
VAL_SHARE = 0.2  # of train, unless a rule sets val_share
RULES: dict[str, tuple[set[str], set[str]]] = {  # the keys that a rule needs, and the keys that it allows
    "file": ({"train", "test"}, {"val", "val_share"}),
    "index": ({"test"}, {"val", "val_share"}),
    "speaker": ({"test"}, {"field", "val", "val_share"}),
    "fold": ({"test"}, {"size", "folds", "val", "val_share"}),
    "stratified": ({"shares"}, set()),
    "content": ({"shares"}, set()),
    "group": ({"shares"}, {"field", "column"}),
    "column": ({"column"}, {"val_share"}),
}
SPELLINGS = (
    ("train", "training", "fit"),
    ("val", "valid", "validation", "dev", "development"),
    ("test", "testing", "holdout", "hold-out"),
)
"""What the values of a column that names the parts may be, for each of PARTS, in upper or lower case."""


def digest(content: str | bytes) -> bytes:
    """Return the SHA-256 of a text or of bytes."""
    return hashlib.sha256(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")).digest()


def by_content(contents: Sequence[bytes], shares: Sequence[float]) -> np.ndarray:
    """Return the part of each digest as an index into PARTS, (N,) int8: equal contents share a part."""
    fractions = [int.from_bytes(content[:8], "big") / 2**64 for content in contents]
    return np.searchsorted(np.cumsum(shares)[:2], fractions, side="right").astype(np.int8)


# Shares, counts and files


def check_splits(task: str, splits: Sequence[float], counted: str | None = None) -> None:
    """Raise DeclarationError unless `splits` are three shares that sum to 1, or three numbers of what is `counted`."""
    if not are_shares(splits) and not (counted is not None and are_counts(splits)):
        rule = "three shares that sum to 1" + ("" if counted is None else f", or three numbers of {counted}")
        raise DeclarationError(f"{task}: splits must be {rule}, for train, val and test, but are {list(splits)}")


def split_borders(count: int, splits: Sequence[float]) -> list[int]:
    """Return where train, val and test begin and test ends, of `count` examples.

    Of shares, train and test are rounded down and val is the rest. Numbers of examples may end after or before `count`.
    """
    if sum(splits) > 1.5:
        return [0, *map(int, itertools.accumulate(splits))]
    # Rounded down, but not because 0.7 is a little less than seven tenths.
    train, test = (int(count * share + 1e-9) for share in (splits[0], splits[2]))
    return [0, train, count - test, count]


def named_files(task: str, splits: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return the name of the file of each part. Raises DeclarationError."""
    for part in PARTS:
        if splits.get(part) not in names:
            known = ", ".join(names)
            raise DeclarationError(f"{task}: splits: {part}: must be one of {known}, but found {splits.get(part)!r}")
    unknown = sorted(set(splits) - set(PARTS))
    if unknown:
        raise DeclarationError(f"{task}: splits: must name train, val and test, but found '{unknown[0]}'")
    if len(set(splits.values())) < len(PARTS):
        raise DeclarationError(f"{task}: splits: each part needs its own file, but one file is named twice")
    return dict(splits)


def part_files(task: str, splits: Mapping[str, Any], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the files of each part, from a rule `by = "file"` or a file for each part; val may be left out of a rule.

    Raises DeclarationError and DataError.
    """
    if "by" not in splits:
        return {part: [name] for part, name in named_files(task, splits, names).items()}
    check_rule(task, dict(splits))
    if splits["by"] != "file":
        raise DeclarationError(
            f"{task}: splits: must be shares, or a rule by = 'file', but found by = '{splits['by']}'"
        )
    of_file = file_parts(splits, names)
    return {
        part: [name for name, number in zip(names, of_file, strict=True) if number == place]
        for place, part in enumerate(PARTS)
        if place in of_file
    }


# Parts that a column of the data names


def named_parts(labels: Sequence[str], where: str) -> np.ndarray:
    """Return the part that each value of a column names as an index into PARTS, (N,) int8.

    The values are those of SPELLINGS. There may be no val: the caller then takes it from train, see VAL_SHARE.
    `where` begins the message, such as "my.csv: column 'part'". Raises DataError.
    """
    part_of = {word: number for number, words in enumerate(SPELLINGS) for word in words}
    values = sorted(set(labels))
    unknown = next((value for value in values if value.strip().lower() not in part_of), None)
    if unknown is not None:
        row = list(labels).index(unknown) + 1
        rule = "must name the split of each row, train, val or test"
        shown = f"'{unknown[:40]}'" if unknown.strip() else "no value"
        raise DataError(f"{where}: {rule}, but row {row:,} of the data has {shown}; correct it, or delete the row")
    numbers = {value: part_of[value.strip().lower()] for value in values}
    for needed in (0, 2):
        if needed not in numbers.values():
            rule = f"no row belongs to {PARTS[needed]}"
            raise DataError(f"{where}: {rule} (values: {', '.join(values)}); name the rows of {PARTS[needed]}")
    return np.array([numbers[label] for label in labels], dtype=np.int8)


def check_table_splits(task: str, splits: Sequence[float] | Mapping[str, Any], counted: str) -> None:
    """Check the splits of a table of numbers: shares, counts, or a rule by column or file. Raises DeclarationError."""
    if not isinstance(splits, Mapping):
        check_splits(task, splits, counted)
    elif splits.get("by") not in ("column", "file"):
        rule = "must be shares, numbers, or a rule by = 'column' or by = 'file'"
        raise DeclarationError(f"{task}: splits: {rule}, but found by = {splits.get('by')!r}")
    else:
        check_rule(task, dict(splits))


def split_column(splits: Any) -> str | None:
    """Return the column of a rule `by = "column"`; None for other splits."""
    return splits["column"] if isinstance(splits, Mapping) and splits.get("by") == "column" else None


def file_parts(rule: Mapping[str, Any], names: Sequence[str]) -> np.ndarray:
    """Return the part of each file by a rule `by = "file"` as an index into PARTS, (F,) int8. Raises DataError."""
    listed = {name: number for number, part in enumerate(PARTS) for name in _as_set(rule.get(part, ()))}
    for name in sorted(listed.keys() - set(names)):
        raise DataError(f"splits: by = 'file': '{name}' is not a file of the data ({', '.join(names)})")
    for name in names:
        if name not in listed:
            raise DataError(f"splits: by = 'file': must list every file, but '{name}' is in none of {', '.join(PARTS)}")
    return np.array([listed[name] for name in names], dtype=np.int8)


# Rules


def check_rule(task: str, rule: dict[str, Any]) -> None:
    """Check the keys and values of a rule. Raises DeclarationError."""

    def refuse(problem: str) -> None:
        raise DeclarationError(f"{task}: splits: {problem}")

    by = rule.get("by")
    if by not in RULES:
        refuse(f"by: must be one of {', '.join(RULES)}, but found {by!r}")
    needed, allowed = RULES[str(by)]
    for key in sorted(needed - set(rule)):
        refuse(f"by = '{by}' needs '{key}'")
    for key in sorted(set(rule) - needed - allowed - {"by"}):
        refuse(f"by = '{by}' has no '{key}' (there are: {', '.join(sorted(needed | allowed))})")
    if "shares" in rule:
        check_splits(task, rule["shares"])
    if not 0 < rule.get("val_share", VAL_SHARE) < 1:
        refuse(f"val_share: must lie between 0 and 1, but found {rule['val_share']}")
    if by == "fold" and ("size" in rule) == ("folds" in rule):
        refuse("by = 'fold' needs either 'size' or 'folds'")


def split_parts(
    rule: dict[str, Any], y: np.ndarray, names: list[str], groups: list[str] | None, contents: list[bytes]
) -> np.ndarray:
    """Return the part of each example as an index into PARTS, (N,) int8; -1 for an example that no list names.

    Args:
        rule: A rule that `check_rule` accepts.
        y: Class numbers, (N,) int64.
        names: Names of the examples: file, and line or number in it.
        groups: Groups of the examples if a column names them; for `by = "column"`, the values of that column.
        contents: SHA-256 of what each example holds.

    Raises:
        DataError: A name has no such field or number, a listed key does not occur, or groups are missing.
    """
    if rule["by"] == "stratified":
        return _stratified(y, names, rule["shares"])
    if rule["by"] == "content":
        return by_content(contents, rule["shares"])
    if rule["by"] == "group":
        groups = [name_field(name, rule["field"]) for name in names] if "field" in rule else groups
        if groups is None:
            raise DataError("splits: by = 'group' finds no groups; name their column, or a field of the names")
        known = sorted(set(groups))
        part_of = dict(zip(known, _stratified(np.zeros(len(known)), known, rule["shares"]), strict=True))
        return np.array([part_of[group] for group in groups], dtype=np.int8)
    if rule["by"] == "column":
        part = named_parts(groups or [], f"column '{rule['column']}'")
        return part if (part == 1).any() else _val_of_train(rule, part, y, names)
    return _listed(rule, y, names)


def _val_of_train(rule: dict[str, Any], part: np.ndarray, y: np.ndarray, names: list[str]) -> np.ndarray:
    """Return the parts with `val_share` of each class in train as val."""
    train = np.flatnonzero(part == 0)
    share = rule.get("val_share", VAL_SHARE)
    part[train[_stratified(y[train], [names[i] for i in train], [1 - share, share, 0.0]) == 1]] = 1
    return part


def _listed(rule: dict[str, Any], y: np.ndarray, names: list[str]) -> np.ndarray:
    """Return the part of each example by the lists of files, numbers, speakers or folds in a rule."""
    keys = _keys(rule, names)
    listed = {part: _as_set(rule[part]) for part in PARTS if part in rule}
    missing = sorted(set().union(*listed.values()) - set(keys))
    if missing:
        known = wording.first(sorted(set(keys)), 30)
        raise DataError(f"splits: by = '{rule['by']}': no example of '{missing[0]}' (there are: {known})")
    part = np.full(len(keys), -1 if "train" in listed else 0, dtype=np.int8)
    for number, name in enumerate(PARTS):
        if name in listed:
            part[[key in listed[name] for key in keys]] = number
    return part if "val" in listed else _val_of_train(rule, part, y, names)


def _keys(rule: dict[str, Any], names: list[str]) -> list[str]:
    """Return the key of each example that a rule's lists refer to, as text."""
    by = rule["by"]
    if by == "file":
        return [name.rsplit(":", 1)[0] for name in names]
    if by == "speaker":
        return [name_field(name, rule.get("field", 2)) for name in names]
    if by == "fold" and "folds" in rule:
        return [str(int.from_bytes(digest(name), "big") % rule["folds"]) for name in names]
    pattern = re.compile(r"\d+" if by == "fold" else r"\d+$")
    keys = []
    for name in names:
        number = pattern.search(PurePosixPath(name).stem)
        if number is None:
            raise DataError(f"splits: by = '{by}': '{name}' has no number in its name; use another rule")
        keys.append(str(int(number[0]) // rule.get("size", 1)))
    return keys


def name_field(name: str, number: int) -> str:
    """Return a field of a file name; fields are separated by _ and counted from 1. Raises DataError."""
    fields = PurePosixPath(name).stem.split("_")
    if not 1 <= number <= len(fields):
        raise DataError(f"'{name}' has no field {number}; the fields of a name are separated by _ and counted from 1")
    return fields[number - 1]


def _as_set(keys: Any) -> set[str]:
    return {str(key) for key in (keys if isinstance(keys, list | tuple) else [keys])}


def _stratified(y: np.ndarray, names: list[str], shares: Sequence[float]) -> np.ndarray:
    """Split each class in the order of hashes: val and test are rounded, and get 1 if the class allows it."""
    part = np.zeros(len(y), dtype=np.int8)
    for label in np.unique(y):
        places = sorted(np.flatnonzero(y == label), key=lambda i: digest(names[i]))
        start = 0
        for number in (2, 1):
            left = len(places) - start
            least = 1 if shares[number] > 0 and left > 1 else 0
            count = min(max(least, round(len(places) * shares[number])), max(0, left - 1))
            part[places[start : start + count]] = number
            start += count
    return part
