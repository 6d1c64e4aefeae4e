"""The files of a run that another machine executes: what is sent there, what that machine keeps, and what comes back.

A run reads the files of its own folder and of the folders beside it that its configuration names, the files of its
data set, and your own model. The last two are sent once to each machine, which keeps them by their content.
"""

import contextlib
import functools
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from bench.config import own_code, plugins
from bench.config.cache import received
from bench.config.datasets import DataFile
from bench.config.settings import RunConfig
from bench.data.files import checksum, inside, locate
from bench.errors import DataError, DataMissingError

CHUNK = 16 * 2**20
"""Bytes of a file that are sent at once."""

SMALL = 2**16
"""Bytes of a file up to which it travels with the order of its run."""

Chunks = list[Any]
"""The content of a file: bytes, or references that a cluster's `get` turns into bytes."""

Get = Callable[[Any], Any]

Message = tuple[Any, ...]
"""What comes back: ("file", path, offset, bytes, is_last), ("log", path, bytes) or ("gone", path)."""


class Kept(NamedTuple):
    """Data or code that a machine keeps by its content, for all runs that need it."""

    file: DataFile
    members: dict[str, tuple[str, Chunks]]  # SHA-256 and content of each file of a folder, or of the file itself, ""
    is_code: bool = False


class Parcel(NamedTuple):
    """All that a run reads. Paths are those below the folder of its cell, such as t3/config.json."""

    run: str  # the name of its folder
    files: dict[str, Chunks]
    kept: list[Kept]


class Sender:
    """Makes parcels; `put` returns a reference to bytes. Without `sends_data`, data and code must be there already."""

    def __init__(self, put: Callable[[bytes], Any], sends_data: bool = True) -> None:
        self._put, self._sends_data = put, sends_data
        self._kept: dict[str, Kept] = {}

    def parcel(self, folder: Path) -> Parcel:
        """Return what the run in `folder` reads. Raises BenchError for a file that is missing."""
        config = RunConfig.read(folder / "config.json")
        named = [*config.opens_test_of, *([config.takes_over] if config.takes_over else [])]
        files = {
            f"{beside.name}/{path.name}": self._chunks(path)
            for beside in (folder, *(folder.parent / Path(run).name for run in named))
            for path in _files(beside)
        }
        return Parcel(folder.name, files, self._needs(config) if self._sends_data else [])

    def _needs(self, config: RunConfig) -> list[Kept]:
        kept = []
        for fields in config.task_arguments.get("files", []):
            file = DataFile.model_validate(fields)
            if file.sha256 not in self._kept:
                path = locate(file)
                paths = {"": path} if path.is_file() else {_below(p, path): p for p in _concat(inside(path))}
                members = {name: (checksum(p), self._chunks(p)) for name, p in paths.items()}
                self._kept[file.sha256] = Kept(file, members)
            kept.append(self._kept[file.sha256])
        if plugins.is_file("models", config.model):
            if config.source_hash not in self._kept:
                path = Path(config.model)
                file = DataFile(path=config.model, sha256=config.source_hash, size_bytes=path.stat().st_size)
                self._kept[file.sha256] = Kept(file, {"": (file.sha256, [path.read_bytes()])}, is_code=True)
            kept.append(self._kept[config.source_hash])
        return kept

    def _chunks(self, path: Path) -> Chunks:
        if path.stat().st_size <= SMALL:
            return [path.read_bytes()]
        with path.open("rb") as file:
            return [self._put(chunk) for chunk in iter(lambda: file.read(CHUNK), b"")]


def unpack(parcel: Parcel, cell: Path, get: Get) -> Path:
    """Write what a run reads below `cell`, and what this machine lacks of data and code; return the run's folder.

    Raises DataError for content that does not have the hash it was sent under.
    """
    for name, chunks in parcel.files.items():
        (cell / name).parent.mkdir(exist_ok=True)
        _write(cell / name, chunks, get)
    for kept in parcel.kept:
        _receive(kept, get)
    return cell / parcel.run


def _receive(kept: Kept, get: Get) -> None:
    target = received(kept.file.sha256, Path(kept.file.path).name)
    if not target.exists() and (kept.is_code or not _is_here(kept.file)):
        part = target.with_name(f".{uuid.uuid4().hex}")
        for name, (sha256, chunks) in kept.members.items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            _write(part / name, chunks, get)
            if checksum(part / name) != sha256:
                raise DataError(f"{kept.file.path}: damaged on its way to this machine, its SHA-256 differs")
        with contextlib.suppress(OSError):  # another run has received the same
            part.rename(target)
        if part.exists():
            shutil.rmtree(part) if part.is_dir() else part.unlink()
    if kept.is_code:
        _allow(target)


@functools.cache
def _allow(path: Path) -> None:
    """Allow your own model to run here: it was named on the machine of the coordinator, whose code runs here anyway."""
    own_code.allow(path)


@functools.cache
def _is_here(file: DataFile) -> bool:
    """Return whether this machine has a file of the user's or of `bench fetch` already."""
    try:
        path = locate(file)
        return path.is_dir() or checksum(path) == file.sha256
    except (DataMissingError, DataError):
        return False


class Changes:
    """What a run changes in its folder and in those beside it, since this object was made."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._cell = folder, folder.parent
        self._log_bytes = 0
        self._known = self._state()

    def progress(self) -> Iterator[Message]:
        """Yield the new lines of the log and new checkpoints, which are whole as soon as they have their name."""
        yield from self._log()
        yield from self._changed(lambda path: path.suffix == ".ckpt")

    def rest(self) -> Iterator[Message]:
        """Yield everything that has changed; the record comes last, as it says that the others are there."""
        yield from self._log()
        yield from self._changed(lambda path: path.name != "record.json")
        yield from self._changed(lambda path: True)

    def _log(self) -> Iterator[Message]:
        with contextlib.suppress(FileNotFoundError), (self._folder / "log.txt").open("rb") as file:
            file.seek(self._log_bytes)
            while text := file.read(CHUNK):
                self._log_bytes += len(text)
                yield "log", f"{self._folder.name}/log.txt", text

    def _state(self) -> dict[Path, tuple[int, int, int]]:
        files = {path: path.stat() for folder in self._cell.iterdir() for path in _files(folder)}
        return {path: (status.st_ino, status.st_size, status.st_mtime_ns) for path, status in files.items()}

    def _changed(self, is_wanted: Callable[[Path], bool]) -> Iterator[Message]:
        now = self._state()
        for path, state in now.items():
            if is_wanted(path) and self._known.get(path) != state:
                self._known[path] = state
                yield from self._pieces(path)
        for path in [path for path in self._known if path not in now and is_wanted(path)]:
            del self._known[path]
            yield "gone", _below(path, self._cell)

    def _pieces(self, path: Path) -> Iterator[Message]:
        with path.open("rb") as file:
            offset, chunk = 0, file.read(CHUNK)
            while following := file.read(CHUNK):
                yield "file", _below(path, self._cell), offset, chunk, False
                offset, chunk = offset + len(chunk), following
            yield "file", _below(path, self._cell), offset, chunk, True


def batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Yield messages in lists of about CHUNK bytes."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        batch.append(message)
        size += sum(len(part) for part in message if isinstance(part, bytes))
        if size >= CHUNK:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class Receiver:
    """Writes what comes back from a run into the folder that the coordinator has for it, and into those beside it."""

    def __init__(self, folder: Path) -> None:
        self._cell = folder.parent
        (folder / "log.txt").touch()

    def take(self, message: Message) -> None:
        """Carry out a message. Raises DataError for a path outside the cell, and OSError."""
        path = PurePosixPath(message[1])
        if len(path.parts) != 2 or {"..", "/"} & {*path.parts}:
            raise DataError(f"{message[1]}: a run on a cluster may write into the folders of its cell only")
        target = self._cell / path
        match message:
            case ("log", _, text):
                with target.open("ab") as file:
                    file.write(text)
            case ("gone", _):
                target.unlink(missing_ok=True)
            case ("file", _, offset, chunk, is_last):
                part = target.with_name(f".{target.name}.{os.getpid()}")
                with part.open("ab" if offset else "wb") as file:
                    file.write(chunk)
                    if is_last and target.name == "record.json":
                        file.flush()
                        os.fsync(file.fileno())
                if is_last:
                    part.replace(target)


def _files(folder: Path) -> list[Path]:
    """Return the files of a run's folder that belong to the run, without its log, which only grows."""
    if not folder.is_dir():
        return []
    left_out = ("log.txt", "checkpoint.part")
    return [p for p in sorted(folder.iterdir()) if p.name[0] != "." and p.name not in left_out and p.is_file()]


def _write(path: Path, chunks: Chunks, get: Get) -> None:
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk if isinstance(chunk, bytes) else get(chunk))


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _concat(parts: tuple[list[Path], list[Path]]) -> list[Path]:
    return [path for part in parts for path in part]
