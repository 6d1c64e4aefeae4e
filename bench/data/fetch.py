"""Getting the files of a dataset: only when asked, resumed where a download was cut off, and checked by their hash."""

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.config import plugins
from bench.config.datasets import DataFile, Dataset
from bench.data.files import cache, checksum, locate
from bench.errors import DataMissingError, DeclarationError

CHUNK = 1 << 16
TIMEOUT_SECONDS = 60

OnBytes = Callable[[int], None]
"""Told how many bytes came since it was last told."""


def wanted(card: Dataset, folder: Path | None = None) -> list[DataFile]:
    """Return the single files of a card, those of a folder from its listing. Raises DeclarationError."""
    found = []
    for file in card.files:
        if file.listing is None:
            found.append(file)
        else:
            path = plugins.declaration("datasets", card.name, folder).with_name(file.listing)
            found += _listed(path, file)
    return found


def _listed(path: Path, folder: DataFile) -> Iterator[DataFile]:
    """Yield the files of a listing: tab-separated path, sha256, size in bytes and URL, under a header."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise DeclarationError(f"{path}: {error.strerror}") from None
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        if len(cells) != 4 or not cells[2].isdecimal():
            raise DeclarationError(f"{path}: line {number}: path, sha256, size_bytes, url expected, but found {line!r}")
        yield DataFile(path=cells[0], sha256=cells[1], size_bytes=int(cells[2]), url=cells[3])


def is_here(card: Dataset) -> bool:
    """Whether all files of a card are to be found; their sizes are looked at, not their hashes."""
    try:
        for file in card.files:
            locate(file)
    except DataMissingError:
        return False
    return True


def fetch(file: DataFile, on_bytes: OnBytes = lambda count: None) -> Path:
    """Get one file into the cache and return its path. Raises DataMissingError; what came is kept for the next try.

    A file that is there with the right hash, there or in BENCH_DATA_DIR, is not fetched again.
    """
    target = cache() / "data" / file.path
    _check_inside(target, cache() / "data", file)
    for path in (target, *([locate(file)] if _found(file) else [])):
        if path.is_file() and checksum(path) == file.sha256:
            on_bytes(file.size_bytes)
            return path
    if file.url is None:
        raise DataMissingError(f"{file.path}: its card names no url; put the file into {cache() / 'data'} yourself")
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(file, part, on_bytes)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        kept = f"; {part.stat().st_size:,} bytes are kept, the same command goes on" if part.is_file() else ""
        reason = getattr(error, "reason", error) or type(error).__name__
        raise DataMissingError(f"{file.path}: {file.url}: {reason}{kept}") from None
    found = checksum(part)
    if found != file.sha256:
        part.unlink()
        raise DataMissingError(
            f"{file.path}: sha256 {file.sha256[:12]}… expected, but {file.url} gave {found[:12]}…; nothing was kept"
        )
    os.replace(part, target)
    return target


def _found(file: DataFile) -> bool:
    try:
        locate(file)
    except DataMissingError:
        return False
    return True


def _check_inside(target: Path, folder: Path, file: DataFile) -> None:
    """A card may come from anybody: it writes nothing outside the cache."""
    if not target.resolve().is_relative_to(folder.resolve()):
        raise DeclarationError(f"{file.path}: a path below the data folder expected")


def _download(file: DataFile, part: Path, on_bytes: OnBytes) -> None:
    assert file.url is not None
    if not file.url.startswith(("https://", "http://")):
        raise ValueError("an address that begins with https:// expected")
    have = part.stat().st_size if part.exists() else 0
    if have >= file.size_bytes:
        part.unlink()
        have = 0
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        resumed = have > 0 and answer.status == 206
        on_bytes(have if resumed else 0)
        with part.open("ab" if resumed else "wb") as out:
            size = have if resumed else 0
            while chunk := answer.read(CHUNK):
                size += len(chunk)
                if size > file.size_bytes:
                    raise ValueError(f"more than the {file.size_bytes:,} bytes expected")
                out.write(chunk)
                on_bytes(len(chunk))
    if size < file.size_bytes:
        raise ValueError(f"cut off after {size:,} of {file.size_bytes:,} bytes")
