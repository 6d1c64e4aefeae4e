"""Labelled sequences in NumPy's arrays: .npz files, and pairs of .npy files.

N sequences, S steps, D channels.
"""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.data.encodings import check_expansion
from bench.data.files import check_readable, reason
from bench.data.texts import Examples
from bench.errors import DataError, DeclarationError

LAYOUTS = ("channels-last", "channels-first")
"""The last two axes of x: steps and channels, or channels and steps."""

_PARTS = ("train", "val", "test")


class _Arrays(NamedTuple):
    """The arrays of one file as they are stored."""

    x: np.ndarray
    y: np.ndarray | None
    length: np.ndarray | None
    name: str  # of the examples: the file, and the part if the file holds several


def read_arrays(
    path: Path, label_file: Path | None = None, labelled: bool = True, layout: str | None = None
) -> Examples:
    """Read x (N, S) or (N, S, D), or (N, D, S) if channels come first, and y (N,) from one .npz or two .npy files.

    A sequence that is shorter than the others ends with steps of NaN, or has its length in `length` (N,) of the .npz
    file. X and Y are accepted for x and y. An .npz file may hold x_train, y_train, x_test and y_test, and x_val and
    y_val: the names of the examples then begin with FILE/train and so on. If not `labelled`, y is not needed.
    Raises DataError.
    """
    parts = [_examples(path, label_file, arrays, labelled, layout) for arrays in _stored(path, label_file, labelled)]
    return parts[0]._replace(
        items=[item for part in parts for item in part.items],
        labels=[label for part in parts for label in part.labels],
        names=[name for part in parts for name in part.names],
    )


def parts_in(path: Path) -> dict[str, list[str]]:
    """Return the parts that an .npz file names, as the rule of a split by file has them; empty if it has none."""
    if path.suffix != ".npz":
        return {}
    known = {name.lower() for name in _load(path)}
    parts = [part for part in _PARTS if f"x_{part}" in known]
    return {part: [f"{path.name}/{part}"] for part in parts} if {"train", "test"} <= set(parts) else {}


def layout_of(path: Path, label_file: Path | None, given: str | None) -> tuple[str | None, list[str]]:
    """Return the layout of x if it is not the usual, steps before channels; and a note on what was decided.

    The shape decides if one axis is 1 or the last one is shorter, and so do lengths and steps of NaN.
    Raises DeclarationError if nothing decides and no layout is `given`.
    """
    (stored, *_) = _stored(path, label_file, labelled=False)
    x = stored.x
    if x.ndim != 3 or 0 in x.shape:
        if given is not None and x.ndim == 2:
            rule = f"--layout is not applicable: x has shape {x.shape}, which has no axis of channels"
            raise DeclarationError(f"{path}: {rule}; leave it out")
        return None, []
    count, middle, last = x.shape
    first = given == "channels-first" if given is not None else _are_channels_first(x, stored.length)
    if first is None:
        sktime = f"{last:,} steps of {middle:,} channels, as sktime and aeon write them"
        rule = f"x has shape {x.shape}: sequences of {sktime}, or of {middle:,} steps of {last:,} channels"
        raise DeclarationError(f"{path}: {rule}; choose with --layout channels-first or --layout channels-last")
    steps, channels = (last, middle) if first else (middle, last)
    note = f"{count:,} sequences of {steps:,} steps of {channels:,} channels" + " (--layout)" * (given is None)
    return ("channels-first" if first else None), [note]


def _are_channels_first(x: np.ndarray, length: np.ndarray | None) -> bool | None:
    """Return whether the last axis holds the steps; None if nothing decides."""
    _, middle, last = x.shape
    if 1 in (middle, last):
        return middle == 1
    longest = 0 if length is None or length.dtype.kind not in "iu" or not length.size else int(length.max())
    if middle != last and (longest > min(middle, last) or longest in (middle, last)):
        return longest > middle or longest == last
    missing: np.ndarray = np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, dtype=bool)
    ends_last, ends_middle = bool(missing[:, :, -1].all(1).any()), bool(missing[:, -1].all(1).any())
    if ends_last != ends_middle:
        return ends_last
    return None if last >= middle else False


def _stored(path: Path, label_file: Path | None, labelled: bool) -> list[_Arrays]:
    """Return the arrays of a file, one entry for each part that it names. Raises DataError."""
    if path.suffix != ".npz":
        (x,) = _load(path).values()
        if labelled and label_file is None:
            rule = "an .npy file holds one array; give the file of labels with another --data, or save an .npz file"
            raise DataError(f"{path}: {rule}")
        (y,) = _load(label_file).values() if label_file is not None else (None,)
        return [_Arrays(x, y, None, path.name)]
    arrays = _load(path)
    by_name = {name.lower(): array for name, array in arrays.items()} | arrays
    parts = [part for part in _PARTS if f"x_{part}" in by_name and "x" not in by_name]
    found = []
    for part in parts or [""]:
        keys = [f"{key}_{part}" if part else key for key in ("x", "y", "length")]
        missing = [key for key in keys[: 1 + labelled] if key not in by_name]
        if missing:
            known = ", ".join(arrays) or "none"
            rule = f"there is no array '{missing[0]}' (arrays: {known})"
            raise DataError(f"{path}: {rule}; save them with np.savez(file, x=…, y=…)")
        name = f"{path.name}/{part}" if part else path.name
        found.append(_Arrays(by_name[keys[0]], by_name.get(keys[1]), by_name.get(keys[2]), name))
    return found


def _examples(path: Path, label_file: Path | None, arrays: _Arrays, labelled: bool, layout: str | None) -> Examples:
    x, length = _checked_values(path, arrays.x, layout), arrays.length
    y = arrays.y if labelled and arrays.y is not None else np.full(len(x), "")
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.shape != (len(x),):
        rule = f"y must have one label for each of {len(x):,} sequences, but has shape {y.shape}"
        raise DataError(f"{label_file or path}: {rule}")
    is_past = np.isnan(x).all(2)[:, ::-1]
    ends = np.where(is_past.all(1), 0, x.shape[1] - is_past.argmin(1)) if length is None else length
    if ends.shape != (len(x),) or ends.dtype.kind not in "iu" or not ((ends >= 1) & (ends <= x.shape[1])).all():
        every = f"length must be 1 to {x.shape[1]} for every sequence"
        rule = "every sequence needs a value" if length is None else every
        raise DataError(f"{path}: {rule}; leave empty sequences out")
    items = [np.ascontiguousarray(sequence[:stop]) for sequence, stop in zip(x, ends, strict=True)]
    names = [f"{arrays.name}:{number}" for number in range(1, len(x) + 1)]
    return Examples(items, [_label(path, value, place) for place, value in enumerate(y)], names)


def _load(path: Path) -> dict[str, np.ndarray]:
    check_readable(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                check_expansion(path, sum(member.file_size for member in archive.infolist()))
        loaded = np.load(path, allow_pickle=False)
        return {"array": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001  # the exceptions of a damaged archive are not documented
        cause = reason(error)
        if "pickle" in cause:
            rule = "not a NumPy file, or one of Python objects; save arrays of numbers of one shape"
            raise DataError(f"{path}: {rule}") from None
        raise DataError(f"{path}: not readable as a NumPy file ({cause}); get it again") from None


def _checked_values(path: Path, x: np.ndarray, layout: str | None) -> np.ndarray:
    """Return x as (N, S, D) float32."""
    if x.dtype.kind not in "iufb" or x.ndim not in (2, 3) or 0 in x.shape:
        rule = "numbers of shape (sequences, steps) or (sequences, steps, channels)"
        raise DataError(f"{path}: x must be {rule}, but is {x.dtype} of shape {x.shape}")
    had_channels, x = x.ndim == 3, x if x.ndim == 3 else x[..., None]
    large = np.abs(x) > np.finfo(np.float32).max
    if large.any():
        place = tuple(int(axis) for axis in np.argwhere(large)[0])
        raise DataError(f"{path}: x{list(place)}: {x[place]} is not a finite number of single precision; use NaN")
    are_first = layout == "channels-first" and had_channels
    return np.asarray(x.swapaxes(1, 2) if are_first else x, dtype=np.float32)


def _label(path: Path, value: Any, place: int) -> str:
    value = value.decode() if isinstance(value, bytes) else value
    if isinstance(value, float | np.floating):
        if value != np.floor(value) or not np.isfinite(value):
            raise DataError(f"{path}: y[{place}]: {value} is not a class; use whole numbers or names")
        value = int(value)
    return str(value)
