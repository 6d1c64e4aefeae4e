"""Readers of the files that examples of a class come in: series, arrays, recordings and texts.

Nothing is guessed where a wrong guess would go unseen: what breaks a rule ends in one line that names file, line and
column (or byte) and how to mend it; what is allowed but worth knowing comes back as a remark.

S steps or samples, D channels, F frames, M mel bands.
"""

import codecs
import collections
import csv
import functools
import gzip
import io
import itertools
import json
import re
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from bench.errors import DataError, did_you_mean
from bench.tables import PARQUET, check_delimiter, parquet_cells, parquet_names

MISSING = ("?", "nan", "")
"""What stands for a number that is missing in a .ts file; an empty field only where others of the series are not."""

PAD, UNKNOWN = "<pad>", "<unk>"
"""Tokens 0 and 1 of every vocabulary."""

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz")
TABLES = (".tsv", ".csv", ".jsonl", *PARQUET)
MEMBER_BYTES = 64 << 20  # of a text in an archive, at most: a small archive can unpack to any size

_WORD = re.compile(r"\w+(?:['’]\w+)*|['’]\w+|[^\w\s]")
_KINDS = {1: "PCM", 3: "floating point", 6: "A-law", 7: "mu-law", 17: "ADPCM", 85: "MP3"}
_EXTENSIBLE = 0xFFFE


class Examples(NamedTuple):
    """Examples in the order of the files."""

    items: list[Any]  # series: (S, D) float32, NaN where a value is missing; or texts
    labels: list[str]
    names: list[str]  # of the examples: file, and line or place in it
    groups: list[str] | None = None  # of the examples, where a column names them
    classes: list[str] | None = None  # in the order in which the file declares them
    remarks: list[str] = []  # noqa: RUF012
    rate: int = 0  # of recordings: samples a second


# Series: the .ts format of the UCR and UEA archives


def read_ts(path: Path, labelled: bool = True) -> Examples:
    """Read a .ts file: a header of @ lines, then a case a line. If not `labelled`, it needs no classes.

    Its dimensions are parted by colons, values by commas, the label comes last; ? or NaN is a missing value. Lengths
    may differ between cases, not between the dimensions of one. Format: Löning et al. 2019, sktime,
    https://www.sktime.net/en/stable/api_reference/file_specifications/ts.html
    """
    text, remarks = read_text(path)
    header: dict[str, list[str]] = {}
    examples = Examples([], [], [], classes=[], remarks=remarks)
    in_data = False
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line[0] in "#%":
            continue
        where = f"{path}: line {number}"
        if not in_data:
            if not line.startswith("@"):
                raise DataError(f"{where}: {_shown(line)} before @data; the header consists of lines that begin with @")
            word, *values = line[1:].split() or [""]
            header[word.lower()] = values
            in_data = word.lower() == "data"
            if in_data:
                examples = examples._replace(classes=_ts_classes(header, where) if labelled else [])
            continue
        series, label = _ts_case(line, header, where)
        if examples.classes and label not in examples.classes:
            known = ", ".join(examples.classes)
            raise DataError(
                f"{where}: label {_shown(label)} after the last colon is none of @classLabel ({known}); correct it, or "
                "get the file again if it was cut off"
            )
        if examples.items and examples.items[0].shape[1] != series.shape[1]:
            dimensions = f"{series.shape[1]} dimensions where the lines before have {examples.items[0].shape[1]}"
            raise DataError(f"{where}: {dimensions}; each dimension ends with a colon, the label comes last")
        examples.items.append(series)
        examples.labels.append(label)
        examples.names.append(f"{path.name}:{len(examples.items)}")
    if not in_data:
        raise DataError(f"{path}: no @data line; the header is cut off, or this is no .ts file")
    if not examples.items:
        raise DataError(f"{path}: no cases below @data; the file is cut off")
    return examples


def _ts_classes(header: dict[str, list[str]], where: str) -> list[str]:
    """Return the declared classes. Raises DataError for what cannot be read as series of classes."""
    if header.get("timestamps", ["false"])[:1] == ["true"]:
        raise DataError(f"{where}: @timeStamps true: series with time stamps are not read; write values at even steps")
    if "targetlabel" in header and header["targetlabel"][:1] == ["true"]:
        raise DataError(f"{where}: @targetLabel: the cases have numbers as targets, not classes; a regression")
    label = header.get("classlabel", ["false"])
    if label[:1] != ["true"]:
        raise DataError(f"{where}: no '@classLabel true' in the header; cases without a class cannot be learned from")
    return label[1:]


def _ts_case(line: str, header: dict[str, list[str]], where: str) -> tuple[np.ndarray, str]:
    """Return the series (S, D) and the label of one line."""
    *parts, label = line.split(":") if header.get("classlabel", ["true"])[:1] != ["false"] else [*line.split(":"), ""]
    if not parts:
        raise DataError(f"{where}: no colon; a case is its dimensions, each ended by a colon, and then its label")
    declared = header.get("dimensions") or header.get("dimension")
    if declared is None and header.get("univariate") == ["true"]:
        declared = ["1"]
    if declared is not None and declared != [str(len(parts))]:
        raise DataError(
            f"{where}: {len(parts)} dimensions, but the header says {' '.join(declared)}; each dimension ends with a "
            "colon, the label comes last"
        )
    series = [_numbers(part.split(","), f"{where}, dimension {place}") for place, part in enumerate(parts, 1)]
    lengths = sorted({len(each) for each in series})
    if len(lengths) > 1:
        raise DataError(f"{where}: dimensions of {lengths[0]} and of {lengths[-1]} values; fill up with ? at the end")
    expected = header.get("serieslength")
    if header.get("equallength") == ["true"] and expected and expected != [str(lengths[0])]:
        raise DataError(
            f"{where}: {lengths[0]} values, but the header says {' '.join(expected)}; set @equalLength false, or "
            "get the file again if it was cut off"
        )
    stacked = np.stack(series, axis=1)
    if np.isnan(stacked).all():
        raise DataError(f"{where}: no value in any dimension; leave the case out")
    return stacked, label.strip()


def _numbers(fields: list[str], where: str) -> np.ndarray:
    """Return one dimension as float32, NaN where a value is missing."""
    try:
        numbers = np.array(fields, dtype=np.float64)
        known = ~np.isnan(numbers)
    except ValueError:
        known = np.array([field.strip().lower() not in MISSING for field in fields])
        numbers = np.full(len(fields), np.nan)
        for place in map(int, np.flatnonzero(known)):
            try:
                numbers[place] = float(fields[place])
            except ValueError:
                raise DataError(
                    f"{where}, value {place + 1}: {_shown(fields[place])} where a number is expected; write ? for a "
                    "missing value"
                ) from None
    large = known & ~(np.abs(numbers) <= np.finfo(np.float32).max)
    if large.any():
        place = int(large.argmax())
        rule = "is not a finite number of single precision; write ? for a missing value"
        raise DataError(f"{where}, value {place + 1}: {_shown(fields[place])} {rule}")
    return numbers.astype(np.float32)


# Series: NumPy's arrays


def read_arrays(path: Path, labels: Path | None = None, labelled: bool = True) -> Examples:
    """Read x (N, S) or (N, S, D) and y (N,): from one .npz file, or from two .npy files.

    A sequence that is shorter than the others ends with steps of NaN, or `length` (N,) of the .npz file says so. If
    not `labelled`, y is not asked for.
    """
    if path.suffix == ".npz":
        found = _load(path)
        lacking = [name for name in ("x", "y")[: 1 + labelled] if name not in found]
        if lacking:
            known = ", ".join(found) or "none"
            raise DataError(f"{path}: no array named '{lacking[0]}' (there are: {known}); np.savez(file, x=…, y=…)")
        x, y, length = found["x"], found.get("y"), found.get("length")
    elif not labelled:
        (x,), y, length = _load(path).values(), None, None
    elif labels is None:
        raise DataError(f"{path}: an .npy file holds one array; name the file with the labels after it, or write .npz")
    else:
        (x,), (y,), length = _load(path).values(), _load(labels).values(), None
    x = _checked_values(path, x)
    y = y if labelled and y is not None else np.full(len(x), "")
    if y.shape != (len(x),):
        raise DataError(f"{labels or path}: y: one label for each of {len(x):,} sequences, but found shape {y.shape}")
    past = np.isnan(x).all(2)[:, ::-1]
    ends = np.where(past.all(1), 0, x.shape[1] - past.argmin(1)) if length is None else length
    if ends.shape != (len(x),) or ends.dtype.kind not in "iu" or not ((ends >= 1) & (ends <= x.shape[1])).all():
        what = "every sequence needs a value" if length is None else f"length: 1 to {x.shape[1]} for each sequence"
        raise DataError(f"{path}: {what}; leave empty ones out")
    items = [np.ascontiguousarray(each[:stop]) for each, stop in zip(x, ends, strict=True)]
    names = [f"{path.name}:{number}" for number in range(1, len(x) + 1)]
    return Examples(items, [_label(path, value, place) for place, value in enumerate(y)], names)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        found = np.load(path, allow_pickle=False)
        return {"array": found} if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except Exception as error:  # noqa: BLE001  # what a damaged archive raises is written down nowhere
        told = (str(error).splitlines() or [type(error).__name__])[0]
        if "pickle" in told:
            rule = "no file of NumPy's, or one of Python objects; save arrays of numbers of one shape"
            raise DataError(f"{path}: {rule}") from None
        raise DataError(f"{path}: not readable as NumPy's arrays: {told}; get it again") from None


def _checked_values(path: Path, x: np.ndarray) -> np.ndarray:
    if x.dtype.kind not in "iufb" or x.ndim not in (2, 3) or 0 in x.shape:
        rule = "numbers of shape (sequences, steps) or (sequences, steps, channels)"
        raise DataError(f"{path}: x: {rule}, but found {x.dtype} of shape {x.shape}")
    x = x[..., None] if x.ndim == 2 else x
    large = np.abs(x) > np.finfo(np.float32).max
    if large.any():
        place = tuple(int(each) for each in np.argwhere(large)[0])
        raise DataError(f"{path}: x{list(place)}: {x[place]} is not a finite number of single precision; use NaN")
    return x.astype(np.float32)


def _label(path: Path, value: Any, place: int) -> str:
    value = value.decode() if isinstance(value, bytes) else value
    if isinstance(value, float | np.floating):
        if value != np.floor(value) or not np.isfinite(value):
            raise DataError(f"{path}: y[{place}]: {value} is no class; give whole numbers or names")
        value = int(value)
    return str(value)


# Recordings


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    """Return the samples of a RIFF wave file, (S,) float32 of -1 to 1, and how many a second.

    PCM of 8, 16, 24 or 32 bits or floating point; several channels are averaged. Python's `wave` does not read what is
    written as extensible, as 24 bits mostly are, before 3.12, and does not tell of samples that are not there.
    """
    data = path.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise DataError(f"{path}: byte 0: no RIFF wave file; convert it: ffmpeg -i FILE {path.stem}.wav")
    layout: tuple[int, int, int, int] | None = None  # kind, channels, samples a second, bits
    position = 12
    while position + 8 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        body = position + 8
        if name == b"fmt ":
            layout = _wav_layout(path, data[body : body + size], body)
        elif name == b"data":
            if layout is None:
                raise DataError(f"{path}: byte {position}: samples before their format ('fmt '); convert it anew")
            if body + size > len(data):
                rule = f"{size:,} bytes of samples are announced, {len(data) - body:,} are there"
                raise DataError(f"{path}: byte {body}: {rule}; the file is cut off, get it again")
            return _wav_samples(path, data[body : body + size], layout, body), layout[2]
        position = body + size + size % 2
    raise DataError(f"{path}: byte {min(position, len(data))}: the file ends before its samples; get it again")


def _wav_layout(path: Path, chunk: bytes, body: int) -> tuple[int, int, int, int]:
    if len(chunk) < 16:
        raise DataError(f"{path}: byte {body}: a format of 16 bytes expected, {len(chunk)} found; get the file again")
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
    if kind == _EXTENSIBLE and len(chunk) >= 26:
        kind = int.from_bytes(chunk[24:26], "little")
    if (kind, bits) not in {(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)}:
        what = f"{bits} bits of {_KINDS.get(kind, f'format {kind}')}"
        raise DataError(f"{path}: byte {body}: {what}; PCM of 8, 16, 24 or 32 bits is read: ffmpeg -c:a pcm_s16le")
    if not channels or not rate:
        raise DataError(f"{path}: byte {body}: {channels} channels at {rate} samples a second; get the file again")
    return kind, channels, rate, bits


def _wav_samples(path: Path, data: bytes, layout: tuple[int, int, int, int], body: int) -> np.ndarray:
    kind, channels, _, bits = layout
    frame = channels * bits // 8
    if not data or len(data) % frame:
        rule = "no samples" if not data else f"{len(data):,} bytes are no whole number of frames of {frame}"
        raise DataError(f"{path}: byte {body}: {rule}; get the file again or leave it out")
    if kind == 3:
        samples = np.frombuffer(data, dtype=f"<f{bits // 8}").astype(np.float64)
        if not np.isfinite(samples).all():
            place = int((~np.isfinite(samples)).argmax())
            raise DataError(f"{path}: byte {body + place * bits // 8}: a sample that is no finite number; mend it")
    elif bits == 8:  # the only width without a sign
        samples = (np.frombuffer(data, dtype=np.uint8).astype(np.float64) - 128) / 128
    elif bits == 24:
        padded = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        padded[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        samples = padded.view("<i4")[:, 0] / 2.0**31
    else:
        samples = np.frombuffer(data, dtype=f"<i{bits // 8}") / 2.0 ** (bits - 1)
    return np.asarray(samples.reshape(-1, channels).mean(1), dtype=np.float32)


def log_mel(
    samples: np.ndarray, rate: int, *, num_bands: int = 40, window_seconds: float = 0.025, hop_seconds: float = 0.01
) -> np.ndarray:
    """Return the logarithm of the energy in mel bands, (F, M) float32, a frame every hop.

    Hann windows; a recording shorter than one is filled up with silence. The utterance as a whole, all bands together,
    is brought to mean 0 and deviation 1: how loud it was recorded says nothing, how the bands differ does.
    """
    window, hop = round(rate * window_seconds), round(rate * hop_seconds)
    if window < 2 or hop < 1:
        raise DataError(f"{rate} samples a second are too few for windows of {window_seconds * 1e3:g} ms; resample")
    filters, size = mel_filters(rate, window, num_bands)
    if len(samples) < window:
        samples = np.pad(samples, (0, window - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    power = np.abs(np.fft.rfft(frames * shape, size)) ** 2
    energy = np.log(np.maximum(power @ filters, 1e-10))
    deviation = energy.std()
    energy = (energy - energy.mean()) / (deviation if deviation > 1e-6 else 1.0)
    return np.asarray(energy, dtype=np.float32)


@functools.lru_cache(maxsize=8)
def mel_filters(rate: int, window: int, num_bands: int) -> tuple[np.ndarray, int]:
    """Return triangles that part 0 to half the rate evenly in mel, (frequencies, M), and the size of the transform.

    Mel: O'Shaughnessy 1987, 2595 log10(1 + f / 700), f in Hz. The transform is made large enough for each triangle to
    hold a frequency of it.
    """
    mel = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), num_bands + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    size = 1 << (window - 1).bit_length()
    while True:
        frequency = np.arange(size // 2 + 1) * rate / size
        rise = (frequency[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
        fall = (edges[2:] - frequency[:, None]) / (edges[2:] - edges[1:-1])
        filters: np.ndarray = np.maximum(0, np.minimum(rise, fall))
        if (filters.sum(0) > 0.5).all():
            return filters, size
        size *= 2


# Texts


def read_bytes(path: Path) -> bytes:
    """Return what a file holds, unpacked where it is a .gz."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged or cut off: {error}; get it again") from None


def read_text(path: Path, data: bytes | None = None, encoding: str | None = None) -> tuple[str, list[str]]:
    r"""Return a file as text with \n at the ends of lines, and remarks.

    In the encoding that is given, or that a mark at the start tells; or UTF-8, or else Windows-1252.
    """
    data = read_bytes(path) if data is None else data
    if encoding is None and data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    remarks = []
    try:
        text = data.decode(encoding or "utf-8").removeprefix("\ufeff")
    except LookupError:
        raise DataError(f"{path}: encoding '{encoding}' is not known; utf-8 or cp1252, say") from None
    except UnicodeDecodeError as first:
        if encoding is not None:
            line = data[: first.start].count(b"\n") + 1
            rule = f"byte {first.start}: not {encoding}; give the encoding it was written in"
            raise DataError(f"{path}: line {line}, {rule}") from None
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            rule = f"byte {error.start}: neither utf-8 nor cp1252; save it as utf-8 (or --encoding, with --data)"
            raise DataError(f"{path}: line {line}, {rule}") from None
        remarks.append(f"{path.name} is not utf-8 (byte {first.start}): read as cp1252")
    if "\0" in text:
        before = text[: text.index("\0")]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise DataError(
            f"{path}: line {line}, column {column}: a NUL byte; no text, or one in UTF-16: save it as utf-8"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n"), remarks


def is_table(path: Path) -> bool:
    """Whether the name of a file says that it is a table."""
    return path.name.lower().removesuffix(".gz").endswith(TABLES)


def read_cells(
    path: Path, wanted: Sequence[str | int], delimiter: str | None = None, encoding: str | None = None
) -> tuple[list[tuple[list[str], int]], list[str]]:
    """Return the wanted fields of every row with the row's line (of Parquet, its number), and remarks.

    Of a .tsv file (tabs, without quotes), a .jsonl file (an object a line), Parquet, or else a .csv file, parted by
    `delimiter`, or by commas, semicolons, tabs or bars, whichever its first line has most of. Columns are wanted by
    name; by number, from 1, where there is no header.
    """
    kind = _table_kind(path)
    if kind in PARQUET:
        found = list(zip(parquet_cells(path, wanted), itertools.count(1), strict=False))
        if not found:
            raise DataError(f"{path}: no rows")
        return found, []
    text, remarks = read_text(path, encoding=encoding)
    if kind == ".jsonl":
        return list(_json_rows(path, text, wanted)), remarks
    by_tabs = kind == ".tsv" and delimiter in (None, "\t")
    rows = _tab_rows(text) if by_tabs else _comma_rows(path, text, delimiter)
    by_name = any(isinstance(column, str) for column in wanted)
    places: list[int] = []
    fields_expected, cells = 0, []
    for fields, line in rows:
        if not fields_expected:
            fields_expected = len(fields)
            places = [_place(path, column, fields) for column in wanted]
            if by_name:
                continue
        if len(fields) != fields_expected:
            mend = "tabs part fields" if by_tabs else "put a field that holds the delimiter in quotes"
            rule = f"{len(fields)} fields where the first line has {fields_expected}"
            raise DataError(f"{path}: line {line}, column {min(len(fields), fields_expected)}: {rule}; {mend}")
        cells.append(([fields[place] for place in places], line))
    if not cells:
        raise DataError(f"{path}: no rows{' below the header' if by_name and fields_expected else ''}")
    return cells, remarks


def column_names(path: Path, delimiter: str | None = None, encoding: str | None = None) -> list[str]:
    """Return the header of a table."""
    kind = _table_kind(path)
    if kind in PARQUET:
        return parquet_names(path)
    text, _ = read_text(path, encoding=encoding)
    by_tabs = kind == ".tsv" and delimiter in (None, "\t")
    rows = _tab_rows(text) if by_tabs else _comma_rows(path, text, delimiter)
    return [field.strip() for field in next(rows, ([], 0))[0]]


def _table_kind(path: Path) -> str:
    return next((suffix.lower() for suffix in path.suffixes if suffix.lower() in TABLES), ".csv")


def _tab_rows(text: str) -> Iterator[tuple[list[str], int]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield line.split("\t"), number


def _comma_rows(path: Path, text: str, delimiter: str | None) -> Iterator[tuple[list[str], int]]:
    first = text.lstrip("\n").split("\n", 1)[0]
    check_delimiter(path, delimiter)
    delimiter = delimiter or max(",;\t|", key=first.count)  # the first of equals
    limit = csv.field_size_limit(max(1 << 17, len(text)))  # a text may be longer than 128 KiB
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        line = 1
        for fields in reader:
            if fields:
                yield fields, line
            line = reader.line_num + 1
    except csv.Error as error:
        mend = "close quotes, and double those inside quotes"
        raise DataError(f"{path}: line {reader.line_num}, begun in line {line}: {error}; {mend}") from None
    finally:
        csv.field_size_limit(limit)


def _json_rows(path: Path, text: str, wanted: Sequence[str | int]) -> Iterator[tuple[list[str], int]]:
    found = False
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            column = getattr(error, "colno", 1)
            told = getattr(error, "msg", "nested too deeply")
            raise DataError(f"{path}: line {number}, column {column}: no JSON: {told}; one object a line") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number}, column 1: {_shown(line)} is no JSON object; one object a line")
        fields = []
        for key in wanted:
            where = f"{path}: line {number}, '{key}'"
            if key not in row:
                raise DataError(f"{where}: not there{did_you_mean(str(key), row)}; every object needs it")
            if not isinstance(row[key], str | int | bool):
                raise DataError(f"{where}: {_shown(str(row[key]))} is no text; write it in quotes")
            fields.append(str(row[key]))
        found = True
        yield fields, number
    if not found:
        raise DataError(f"{path}: no rows")


def _place(path: Path, column: str | int, fields: list[str]) -> int:
    names = [field.strip() for field in fields]
    if isinstance(column, int):
        if not 1 <= column <= len(fields):
            raise DataError(f"{path}: line 1: no column {column}; there are {len(fields)}, counted from 1")
        return column - 1
    if names.count(column) != 1:
        shown = ", ".join(name[:40] for name in names[:30])
        if column in names:
            raise DataError(f"{path}: line 1: {names.count(column)} columns '{column}'; rename all but one")
        mend = "; without a header, give columns as numbers from 1"
        hint = did_you_mean(column, names)
        raise DataError(f"{path}: line 1: no column '{column}'{hint} (there are: {shown}){mend}")
    return names.index(column)


def read_text_table(
    path: Path,
    text: str | int,
    label: str | int,
    group: str | int | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Examples:
    """Read a text and a label a row (and the group it belongs to)."""
    cells, remarks = read_cells(path, [text, label, *([] if group is None else [group])], delimiter, encoding)
    examples = Examples([], [], [], None if group is None else [], remarks=remarks)
    for fields, line in cells:
        for field, column in zip(fields, (text, label, group), strict=False):
            if not field.strip():
                raise DataError(f"{path}: line {line}, column '{column}': empty; leave the row out")
        examples.items.append(fields[0])
        examples.labels.append(fields[1].strip())
        examples.names.append(f"{path.name}:{line}")
        if examples.groups is not None:
            examples.groups.append(fields[2].strip())
    return examples


def read_text_lines(path: Path, label: str, encoding: str | None = None) -> Examples:
    """Read a file whose lines are texts of one class."""
    text, remarks = read_text(path, encoding=encoding)
    lines = [(line, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path}: no line with a text; leave the file out")
    names = [f"{path.name}:{number}" for _, number in lines]
    return Examples([line for line, _ in lines], [label] * len(lines), names, remarks=remarks)


def read_text_folder(path: Path, encoding: str | None = None) -> Examples:
    """Read the files in the folders of a folder: a text each, of the class that its folder is named for."""
    files = sorted(
        (each for each in path.rglob("*") if each.is_file() and len(each.relative_to(path).parts) > 1),
        key=lambda each: each.relative_to(path).parts,
    )
    return _texts(path, ((str(each.relative_to(path)), each.read_bytes()) for each in files), encoding)


def read_text_archive(path: Path, encoding: str | None = None) -> Examples:
    """Read the files of a .tar.gz as `read_text_folder` would, without unpacking it to the disk."""
    return _texts(path, _members(path), encoding)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Return the files of an archive that lie in a folder. What no honest archive holds is refused all the same."""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                where = f"{path}: byte {member.offset} of the unpacked archive: '{member.name[:80]}'"
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts or "\\" in member.name:
                    raise DataError(f"{where} leads out of the archive; pack it anew, from inside its folder")
                if not member.isfile() and not member.isdir():
                    raise DataError(f"{where} is a link or a device; pack files and folders only (tar --dereference)")
                if member.size > MEMBER_BYTES:
                    raise DataError(f"{where} is of {member.size:,} bytes; a text has at most {MEMBER_BYTES:,}")
                if member.isfile() and len(name.parts) > 1:
                    content = archive.extractfile(member)
                    yield member.name, b"" if content is None else content.read()
            # To the end, where a compressed file has its checksum; a plain one consists of blocks.
            while archive.fileobj is not None and archive.fileobj.read(1 << 20):
                pass
        if path.suffix == ".tar" and path.stat().st_size % tarfile.BLOCKSIZE:
            raise EOFError("no whole number of blocks")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: no archive, damaged or cut off: {told}; get it again") from None


def _texts(path: Path, files: Iterable[tuple[str, bytes]], encoding: str | None) -> Examples:
    examples = Examples([], [], [], remarks=[])
    for name, data in files:
        if PurePosixPath(name).name.startswith("."):
            continue
        text, remarks = read_text(path / name, data, encoding)
        if not text.strip():
            raise DataError(f"{path / name}: line 1, column 1: no text; leave the file out")
        examples.items.append(text)
        examples.labels.append(PurePosixPath(name).parent.name)
        examples.names.append(name)
        examples.remarks.extend(remarks)
    if not examples.items:
        raise DataError(f"{path}: no files in folders; a folder for each class is expected, with a file for each text")
    return examples


# Tokens


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, and its punctuation, a token each."""
    return _WORD.findall(text.lower())


def vocabulary(texts: Iterable[Iterable[str]], min_frequency: int) -> list[str]:
    """Return the tokens that occur often enough, the most frequent first; before them <pad> and <unk>."""
    counts: collections.Counter[str] = collections.Counter()
    for tokens in texts:
        counts.update(tokens)
    kept = [token for token, count in counts.items() if count >= min_frequency]
    return [PAD, UNKNOWN, *sorted(kept, key=lambda token: (-counts[token], token))]


def byte_vocabulary() -> list[str]:
    """Return the vocabulary of bytes, the same for all texts: byte b is token b + 2."""
    return [PAD, UNKNOWN, *(f"<{byte:02x}>" for byte in range(256))]


def encode(tokens: Iterable[str], places: dict[str, int]) -> np.ndarray:
    """Return the numbers of tokens, (S,) int32, that of <unk> for unknown ones."""
    return np.fromiter((places.get(token, 1) for token in tokens), dtype=np.int32)


def encode_bytes(text: bytes) -> np.ndarray:
    """Return the bytes of a text as tokens, (S,) int32."""
    return np.frombuffer(text, dtype=np.uint8).astype(np.int32) + 2


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
