"""The files of a dataset: where they are, and the arrays that were prepared from them.

Files are searched among those that a cluster's coordinator has sent, then in the folders of BENCH_DATA_DIR, then in the
cache that `bench fetch` fills; they are never downloaded unless you ask for it. What is read, decoded or tokenised is
kept in the cache as memory-mapped arrays, which all runs of a machine share.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from bench import wording
from bench.config.cache import cache, received
from bench.config.datasets import DataFile
from bench.config.strict import fingerprint
from bench.data import remarks
from bench.data.remarks import Remark
from bench.errors import DataError, DataMissingError, StoreError, did_you_mean

VERSION = 6
"""Version of the prepared arrays: raised whenever a reader changes what it prepares from a file."""


class Prepared(NamedTuple):
    """What a reader prepared from files."""

    arrays: dict[str, np.ndarray]  # memory-mapped, read-only
    meta: dict[str, Any]  # plain data: names of classes, vocabulary, scale


def folders() -> list[Path]:
    """Return the folders that hold data files, in the order in which they are searched."""
    named = os.environ.get("BENCH_DATA_DIR", "")
    return [Path(part) for part in named.split(os.pathsep) if part] + [cache() / "data"]


def locate(file: DataFile) -> Path:
    """Return where a file is. Raises DataMissingError."""
    sent = received(file.sha256, PurePath(file.path).name)
    for path in (sent, *(folder / file.path for folder in folders())):  # an absolute path replaces the folder
        try:
            mode = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataMissingError(f"{shown(path)}: {reason(error)}") from None
        if file.listing is not None and stat.S_ISDIR(mode.st_mode):
            return path
        if stat.S_ISREG(mode.st_mode):
            if mode.st_size != file.size_bytes:
                sizes = f"the file has {mode.st_size:,} bytes, but its card says {file.size_bytes:,}"
                raise DataMissingError(f"{path}: {sizes}; it is another version, or its download was interrupted")
            return path
    if Path(file.path).is_absolute():
        raise DataMissingError(f"{file.path}: no such file")
    raise DataMissingError(f"{file.path}: not in {' nor in '.join(map(str, folders()))}")


def prepare(
    name: str, files: Sequence[DataFile], how: Any, make: Callable[[list[Path]], tuple[dict[str, np.ndarray], Any]]
) -> Prepared:
    """Return what `make(paths)` prepares from the files, arrays by name and plain data: made once, then memory-mapped.

    `how` is all else that the result depends on. Of two processes that prepare the same at once, one result is kept;
    a damaged or incomplete result is replaced. Raises DataMissingError, DataError for a file of another hash, and
    StoreError if the cache cannot be written.
    """
    # With their names, which stand in the names of rows and in remarks.
    key = fingerprint([VERSION, [(file.sha256, PurePath(file.path).name) for file in files], how])
    folder = cache() / "prepared" / f"{name}-{key}"
    found = _whole(folder)
    if found is None:
        arrays, meta = make([_checked(file) for file in files])
        part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        try:
            part.mkdir(parents=True)
            for array_name, array in arrays.items():
                np.save(part / f"{array_name}.npy", array)
            (part / "meta.json").write_text(json.dumps({"arrays": sorted(arrays), "meta": meta}))
            _put(part, folder)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            fix = "prepared data are kept there; free some space, or name another folder in BENCH_CACHE_DIR"
            raise StoreError(f"{folder.parent}: {reason(error)}; {fix}") from None
    return found or _load(folder)


def _put(part: Path, folder: Path) -> None:
    """Rename a finished folder to its name; keep what a faster process put there, but replace what is incomplete."""
    try:
        part.rename(folder)
    except OSError:
        if _whole(folder) is not None:
            shutil.rmtree(part)
            return
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)


def _whole(folder: Path) -> Prepared | None:
    """Return what a folder keeps; None if it is missing, or damaged, as a full disk or a power failure leaves it."""
    try:
        return _load(folder)
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError):
        return None


def inside(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files in a folder and below it, sorted, and those among them that a file manager left there.

    The second are hidden files, such as .DS_Store and the ._NAME that macOS adds for a file NAME, and Thumbs.db and
    desktop.ini of Windows. Readers ignore them. Raises DataError.
    """
    kept: list[Path] = []
    ignored: list[Path] = []
    try:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                (ignored if is_left_behind(path.relative_to(folder)) else kept).append(path)
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {reason(error)}") from None
    return kept, ignored


def is_left_behind(path: PurePath) -> bool:
    """Return whether a path in a folder or an archive is hidden, or a file that Windows or macOS puts beside others."""
    return any(part.startswith((".", "~$")) or part.lower() in _LEFT_BEHIND for part in path.parts)


_LEFT_BEHIND = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx")


def ignored_remark(ignored: Sequence[Path]) -> list[Remark]:
    """Return a remark that names the files of a folder that are ignored."""
    names = sorted({path.name for path in ignored})
    rule = "hidden files and those of file managers are ignored"
    return [Remark("ignored", f"{rule}: {wording.first(names, 3)}")] if names else []


def _check_folder(file: DataFile, path: Path) -> None:
    kept, ignored = inside(path)
    size, ignored_size = (sum(member.stat().st_size for member in members) for members in (kept, ignored))
    if file.size_bytes not in (size, size + ignored_size):  # cards of earlier versions count all files
        rule = f"must hold files of {file.size_bytes:,} bytes in total, but they have {size:,}"
        raise DataMissingError(f"{path}: {rule}; it is another version, or its download was cut off")


def _checked(file: DataFile) -> Path:
    """Return where a file is, if it has the hash of its card: results name that hash. Of a folder, its size."""
    path = locate(file)
    if file.listing is not None:
        _check_folder(file, path)
    if file.listing is None and (sha256 := checksum(path)) != file.sha256:
        rule = f"the file has sha256 {sha256[:12]}…, but its card says {file.sha256[:12]}…"
        # Not DataMissingError: code that skips missing files must not skip this one.
        raise DataError(f"{path}: {rule}; it was changed, or is another version: get it again, or correct its card")
    return path


@functools.lru_cache(maxsize=16)
def _load(folder: Path) -> Prepared:
    stored = json.loads((folder / "meta.json").read_text())
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in stored["arrays"]}
    meta = stored["meta"]
    if "remarks" in meta:
        meta["remarks"] = remarks.stored(meta["remarks"])
    return Prepared(arrays, meta)


def check_readable(path: Path, folder: bool = False) -> int:
    """Return the size in bytes of a regular file (or, if `folder`, of any folder). Raises DataError for all else.

    What is neither could never end (a device) or wait forever (a named pipe).
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise DataError(f"{path}: a symbolic link to {os.readlink(path)}, which does not exist") from None
        near = []
        with contextlib.suppress(OSError):
            near = os.listdir(path.parent)
        raise DataError(f"{shown(path)}: no such file{did_you_mean(path.name, near)}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{shown(path)}: {reason(error)}") from None
    if stat.S_ISREG(status.st_mode) or (folder and stat.S_ISDIR(status.st_mode)):
        return status.st_size
    if stat.S_ISDIR(status.st_mode):
        raise DataError(f"{path}: a folder where a file is expected; name the file in it")
    kind = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}.get(stat.S_IFMT(status.st_mode), "a device")
    raise DataError(f"{path}: {kind}, not a regular file; write the data to a file first")


def reason(error: BaseException) -> str:
    """Return what the operating system says of an error, without the name of the file."""
    return getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]


def shown(path: Path, most: int = 120) -> str:
    """Return a path as an error shows it: in one line, printable, and not longer than `most` characters."""
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(path))
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 :]}"


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits. Raises DataError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{shown(path)}: {reason(error)}") from None
