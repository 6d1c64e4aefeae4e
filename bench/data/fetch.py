"""Download the files of a dataset: only when you ask for it, resumed after an interruption, and checked by hash."""

import contextlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPMessage
from pathlib import Path
from typing import IO

from bench.config import plugins
from bench.config.cache import cache
from bench.config.datasets import DataFile, Dataset
from bench.data.files import checksum, locate, reason, shown
from bench.errors import DataError, DataMissingError, DeclarationError, StoreError

CHUNK = 1 << 16
TIMEOUT_SECONDS = 60  # without a byte
LEAST_RATE = 10_000  # bytes a second of a whole download: a server that sends a byte a minute would never end

SCHEMES = ("https://", "http://")

OnBytes = Callable[[int], None]
"""Called with the number of bytes that arrived since the last call."""


def wanted(card: Dataset, folder: Path | None = None) -> list[DataFile]:
    """Return the single files of a card, those of a folder from its listing. Raises DeclarationError."""
    files: list[DataFile] = []
    for file in card.files:
        if file.listing is None:
            files.append(file)
        else:
            files += _listed(plugins.declaration("datasets", card.name, folder).with_name(file.listing))
    return files


def _listed(path: Path) -> Iterator[DataFile]:
    """Yield the files of a listing: tab-separated path, sha256, size in bytes and URL, under a header."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DeclarationError(f"{path}: {reason(error)}") from None
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        try:
            name, sha256, size, url = cells
            yield DataFile(path=name, sha256=sha256, size_bytes=int(size), url=url or None)
        except ValueError:  # also of pydantic
            rule = "must be path, sha256, size in bytes and URL, separated by tabs"
            raise DeclarationError(f"{path}: line {number} {rule}, but is {line[:120]!r}") from None


def is_here(card: Dataset) -> bool:
    """Return whether all files of a card exist with the right sizes; their hashes are not checked."""
    return all(map(_exists, card.files))


def fetch(file: DataFile, on_bytes: OnBytes = lambda count: None) -> Path:
    """Download one file into the cache and return its path.

    A file that already has the right hash, in the cache or in BENCH_DATA_DIR, is not downloaded. What arrived before an
    interruption is kept, and the next call resumes. Raises DataMissingError, and StoreError if the cache cannot be
    written.
    """
    target = cache() / "data" / file.path
    _check_inside(target, cache() / "data", file)
    for path in (target, *([locate(file)] if _exists(file) else [])):
        with contextlib.suppress(DataError):  # unreadable: downloaded again
            if checksum(path) == file.sha256:
                on_bytes(file.size_bytes)
                return path
    if file.url is None:
        raise DataMissingError(f"{file.path}: its card has no URL; copy the file into {cache() / 'data'}")
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(file, part, on_bytes)
        sha256 = checksum(part)
        if sha256 != file.sha256:
            part.unlink()
            rule = f"{file.url} has sha256 {sha256[:12]}…, but the card says {file.sha256[:12]}…"
            raise DataMissingError(f"{file.path}: {rule}; nothing was kept")
        os.replace(part, target)
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        ssl.SSLError,
        ValueError,
        TimeoutError,
        ConnectionError,
    ) as error:
        cause = getattr(error, "reason", error) or type(error).__name__
        raise DataMissingError(f"{file.path}: {file.url}: {cause}{_kept(part)}") from None
    except OSError as error:
        fix = "free some space, or name another folder in BENCH_CACHE_DIR"
        raise StoreError(f"{shown(target.parent)}: {reason(error)}; {fix}{_kept(part)}") from None
    return target


def _kept(part: Path) -> str:
    """Return what an error says of a download that can be resumed."""
    size = part.stat().st_size if part.is_file() else 0
    return f"; {size:,} bytes are kept, run the same command to resume" if size else ""


def _exists(file: DataFile) -> bool:
    try:
        locate(file)
    except DataMissingError:
        return False
    return True


def _check_inside(target: Path, folder: Path, file: DataFile) -> None:
    """Raise DeclarationError for a card, which anybody may have written, that would write outside the cache."""
    if not target.resolve().is_relative_to(folder.resolve()):
        raise DeclarationError(f"{file.path}: the path must be below the data folder")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the web only; Python's own would follow them to FTP as well."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith(SCHEMES):
            raise ValueError(f"it redirects to {newurl[:80]!r}, which is not https:// or http://")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(file: DataFile, part: Path, on_bytes: OnBytes) -> None:
    assert file.url is not None
    if not file.url.startswith(SCHEMES):
        raise ValueError("the URL must begin with https://")
    have = part.stat().st_size if part.exists() else 0
    if have >= file.size_bytes:
        part.unlink()
        have = 0
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    end = time.monotonic() + TIMEOUT_SECONDS + file.size_bytes / LEAST_RATE
    with urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT_SECONDS) as answer:
        resumed = have > 0 and answer.status == 206
        on_bytes(have if resumed else 0)
        with part.open("ab" if resumed else "wb") as out:
            size = have if resumed else 0
            while chunk := answer.read1(CHUNK):
                if time.monotonic() > end:
                    raise TimeoutError(f"slower than {LEAST_RATE:,} bytes a second")
                size += len(chunk)
                if size > file.size_bytes:
                    raise ValueError(f"more than the {file.size_bytes:,} bytes that its card says")
                out.write(chunk)
                on_bytes(len(chunk))
    if size < file.size_bytes:
        raise ValueError(f"interrupted after {size:,} of {file.size_bytes:,} bytes")
