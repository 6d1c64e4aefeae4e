"""Bytes and characters of text files: opening and unpacking them, and finding their encoding."""

import codecs
import gzip
import itertools
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from bench.data.files import check_readable, reason
from bench.data.remarks import Remark
from bench.errors import DataError

BLOCK = 1 << 20  # bytes that are decoded at once
FREE_BYTES, MOST_EXPANSION = 1 << 28, 200
"""A packed file may unpack to this many bytes, or to this many times its size if that is more. Real text and numbers
shrink less than a hundredfold; a file made to fill a memory shrinks a thousandfold."""


def most_bytes(path: Path) -> int:
    """Return to how many bytes a packed file may unpack."""
    return max(FREE_BYTES, MOST_EXPANSION * path.stat().st_size)


def check_expansion(path: Path, unpacked: int) -> None:
    """Raise DataError for a packed file that unpacks to more bytes than real data would."""
    if unpacked > most_bytes(path):
        sizes = f"{path.stat().st_size:,} bytes unpack to {unpacked:,} or more"
        rule = f"at most {MOST_EXPANSION} times the size is read; unpack the file yourself if you trust it"
        raise DataError(f"{path}: {sizes}, but {rule}")


class _Unpacked(gzip.GzipFile):
    """A .gz file that is read up to the expansion that real data have."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path, self._left = path, most_bytes(path)

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(BLOCK), b""))
        return self._counted(super().read(size))

    def read1(self, size: int = -1) -> bytes:
        return self._counted(super().read1(size))

    def readline(self, size: int | None = -1) -> bytes:
        most = self._left + 1  # a file may be one line
        return self._counted(super().readline(most if size is None or size < 0 else min(size, most)))

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            check_expansion(self._path, most_bytes(self._path) - self._left)
        return data


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read its bytes, unpacked if it is a .gz. Raises DataError, also for what the block reads."""
    check_readable(path)
    try:
        with cast(BinaryIO, _Unpacked(path) if path.suffix.lower() == ".gz" else path.open("rb")) as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the .gz file is damaged or truncated ({error}); get it again") from None
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from None


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file, unpacked if it is a .gz. Raises DataError."""
    with opened(path) as file:
        return file.read()


def read_text(path: Path, data: bytes | None = None, encoding: str | None = None) -> tuple[str, list[Remark]]:
    r"""Return a file, or its `data`, as text whose lines end with \n, and remarks. Raises DataError."""
    data = read_bytes(path) if data is None else data
    encoding, remarks = find_encoding(path, encoding, [data])
    return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n"), remarks


def find_encoding(path: Path, encoding: str | None, data: Iterable[bytes] | None = None) -> tuple[str, list[Remark]]:
    """Return an encoding that decodes the whole file, and a remark if it is assumed.

    The encoding is the given one, or the one that a byte order mark names, or UTF-8, or else Windows-1252. `data` are
    the bytes of a file that lies inside an archive. Raises DataError.
    """
    if encoding is None and next(_blocks(path, data), b"")[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    if encoding is not None:
        try:
            "".encode(encoding)
            name = codecs.lookup(encoding).name
        except (LookupError, ValueError):
            raise DataError(f"{path}: encoding {encoding!r} is not known; use a name such as utf-8 or cp1252") from None
        bad = _undecodable(path, encoding, data)
        if bad is not None:
            raise DataError(f"{path}: {bad} is not {encoding}; give the encoding of the file with --encoding")
        return "utf-8-sig" if name == "utf-8" else encoding, []
    bad = _undecodable(path, "utf-8-sig", data)  # with or without a byte order mark
    if bad is None:
        return "utf-8-sig", []
    worse = _undecodable(path, "cp1252", data)
    if worse is not None:
        rule = "give the encoding of the file with --encoding, or save it as UTF-8"
        raise DataError(f"{path}: {worse} is neither UTF-8 nor Windows-1252; {rule}")
    return "cp1252", [Remark("encoding", f"{bad} is not UTF-8; read as Windows-1252 (--encoding)", file=path.name)]


def _blocks(path: Path, data: Iterable[bytes] | None) -> Iterator[bytes]:
    if data is not None:
        yield from data
    else:
        with opened(path) as file:
            while block := file.read(BLOCK):
                yield block


def _undecodable(path: Path, encoding: str, data: Iterable[bytes] | None) -> str | None:
    """Return the place of the first byte that an encoding cannot decode. Raises DataError for a NUL character."""
    decoder, line, count = codecs.getincrementaldecoder(encoding)(), 1, 0
    for block in itertools.chain(_blocks(path, data), [b""]):
        count += len(block)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line += bytes(error.object[: error.start]).count(b"\n")
            return f"line {line}, byte {count - len(error.object) + error.start},"
        except UnicodeError:  # UTF-16 without its mark
            return f"line {line}"
        if "\0" in text:
            line += text[: text.index("\0")].count("\n")
            rule = "text files have none; if the file is in UTF-16, give --encoding utf-16"
            raise DataError(f"{path}: line {line} holds a NUL character; {rule}")
        line += text.count("\n")
    return None
