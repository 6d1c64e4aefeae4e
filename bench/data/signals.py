"""Readers of labelled series and recordings.

Nothing is guessed if a wrong guess would go unseen: invalid input stops with one line that names file, line and column
(or byte) and how to fix it; what is accepted but worth knowing comes back as a remark.

S steps or samples, D channels, F frames, M mel bands.
"""

import functools
import struct
from pathlib import Path

import numpy as np

from bench.data import labels
from bench.data.encodings import read_bytes, read_text
from bench.data.texts import Examples, shown
from bench.errors import DataError

MISSING = ("?", "nan", "")
"""Fields of a .ts file that mean a missing number."""

_KINDS = {1: "PCM", 3: "floating point", 6: "A-law", 7: "mu-law", 17: "ADPCM", 85: "MP3"}
_EXTENSIBLE = 0xFFFE
_UNKNOWN_SIZE = 0x7FFF0000  # bytes, at least: sox writes 0x7FFFF000, arecord 0x80000000, ffmpeg 0xFFFFFFFF


# Series: the .ts format of the UCR and UEA archives


def read_ts(path: Path, labelled: bool = True) -> Examples:
    """Read a .ts file: a header of @ lines, then one case per line. If not `labelled`, it needs no classes.

    Colons separate the dimensions of a case, commas their values; the label comes last; ? or NaN is a missing value.
    Cases may differ in length, the dimensions of one case may not. Format: Löning et al. 2019, sktime,
    https://www.sktime.net/en/stable/api_reference/file_specifications/ts.html. Raises DataError.
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
                raise DataError(f"{where}: {shown(line)} before @data; lines of the header must begin with @")
            word, *values = line[1:].split() or [""]
            header[word.lower()] = values
            in_data = word.lower() == "data"
            if in_data:
                examples = examples._replace(classes=_ts_classes(header, where) if labelled else [])
            continue
        series, label = _ts_case(line, header, where)
        (label,) = labels.matched([label], examples.classes or [])
        if examples.classes and label not in examples.classes:
            known = ", ".join(examples.classes)
            raise DataError(
                f"{where}: label {shown(label)} after the last colon is not one of @classLabel ({known}); correct it, "
                "or get the file again if it was truncated"
            )
        if examples.items and examples.items[0].shape[1] != series.shape[1]:
            dimensions = f"{series.shape[1]} dimensions, but the lines above have {examples.items[0].shape[1]}"
            raise DataError(f"{where}: {dimensions}; each dimension ends with a colon, and the label comes last")
        examples.items.append(series)
        examples.labels.append(label)
        examples.names.append(f"{path.name}:{len(examples.items)}")
    if not in_data:
        raise DataError(f"{path}: no @data line; the header is truncated, or this is not a .ts file")
    if not examples.items:
        raise DataError(f"{path}: no cases below @data; the file is truncated")
    return examples


def _ts_classes(header: dict[str, list[str]], where: str) -> list[str]:
    """Return the declared classes. Raises DataError if the cases are not labelled series with even steps."""
    if header.get("timestamps", ["false"])[:1] == ["true"]:
        raise DataError(
            f"{where}: @timeStamps true: series with time stamps are not supported; write values at even steps"
        )
    if "targetlabel" in header and header["targetlabel"][:1] == ["true"]:
        raise DataError(
            f"{where}: @targetLabel: the targets are numbers, not classes; use a table and --task regression"
        )
    label = header.get("classlabel", ["false"])
    if label[:1] != ["true"]:
        raise DataError(f"{where}: no '@classLabel true' in the header; every case needs a class")
    return label[1:]


def _ts_case(line: str, header: dict[str, list[str]], where: str) -> tuple[np.ndarray, str]:
    """Return the series (S, D) and the label of one line."""
    *parts, label = line.split(":") if header.get("classlabel", ["true"])[:1] != ["false"] else [*line.split(":"), ""]
    if not parts:
        raise DataError(f"{where}: no colon; write the dimensions, a colon after each, and then the label")
    declared = header.get("dimensions") or header.get("dimension")
    if declared is None and header.get("univariate") == ["true"]:
        declared = ["1"]
    if declared is not None and declared != [str(len(parts))]:
        raise DataError(
            f"{where}: {len(parts)} dimensions, but the header says {' '.join(declared)}; each dimension ends with a "
            "colon, and the label comes last"
        )
    series = [_numbers(part.split(","), f"{where}, dimension {number}") for number, part in enumerate(parts, 1)]
    lengths = sorted({len(dimension) for dimension in series})
    if len(lengths) > 1:
        raise DataError(f"{where}: dimensions have {lengths[0]} and {lengths[-1]} values; append ? to the shorter ones")
    expected = header.get("serieslength")
    if header.get("equallength") == ["true"] and expected and expected != [str(lengths[0])]:
        raise DataError(
            f"{where}: {lengths[0]} values, but the header says {' '.join(expected)}; set @equalLength false, or "
            "get the file again if it was truncated"
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
                    f"{where}, value {place + 1}: {shown(fields[place])} is not a number; write ? for a missing value"
                ) from None
    large = known & ~(np.abs(numbers) <= np.finfo(np.float32).max)
    if large.any():
        place = int(large.argmax())
        rule = "is not a finite number of single precision; write ? for a missing value"
        raise DataError(f"{where}, value {place + 1}: {shown(fields[place])} {rule}")
    return numbers.astype(np.float32)


# Recordings


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    """Return the samples of a RIFF wave file, (S,) float32 from -1 to 1, and the samples per second.

    The file holds PCM of 8, 16, 24 or 32 bits, or floating point; several channels are averaged. A file that was
    written through a pipe, whose size is unknown, is read to its end. Written by hand, as
    libsndfile (soundfile) and Python's `wave` read a truncated file without an error, and `wave` does not read the
    extensible format of most 24-bit files before Python 3.12. Raises DataError.
    """
    data = read_bytes(path)
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise DataError(f"{path}: byte 0: not a RIFF wave file; convert it: ffmpeg -i FILE {path.stem}.wav")
    layout: tuple[int, int, int, int] | None = None  # kind, channels, samples a second, bits
    position = 12
    while position + 8 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        body = position + 8
        if name == b"fmt ":
            layout = _wav_layout(path, data[body : body + size], body)
        elif name == b"data":
            if layout is None:
                raise DataError(
                    f"{path}: byte {position}: samples before their format ('fmt '); convert the file again"
                )
            if _is_unknown(size, data, body):
                frame = max(1, layout[1] * layout[3] // 8)
                size = (len(data) - body) // frame * frame
            if body + size > len(data):
                rule = f"{size:,} bytes of samples are announced, but the file holds {len(data) - body:,}"
                raise DataError(f"{path}: byte {body}: {rule}; it is truncated, get it again")
            return _wav_samples(path, data[body : body + size], layout, body), layout[2]
        position = body + size + size % 2
    raise DataError(f"{path}: byte {min(position, len(data))}: the file ends before its samples; get it again")


def _is_unknown(size: int, data: bytes, body: int) -> bool:
    """Return whether the size of the samples is what programs write that cannot know it, as ffmpeg and sox to a pipe.

    They write 0 or the largest number, for the samples and for the file.
    """
    announced = int.from_bytes(data[4:8], "little") + 8
    if size == 0:
        return body < len(data) and announced != len(data)
    return size >= _UNKNOWN_SIZE and body + size > len(data)


def _wav_layout(path: Path, chunk: bytes, body: int) -> tuple[int, int, int, int]:
    if len(chunk) < 16:
        raise DataError(f"{path}: byte {body}: the format must have 16 bytes, but has {len(chunk)}; get the file again")
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
    if kind == _EXTENSIBLE and len(chunk) >= 26:
        kind = int.from_bytes(chunk[24:26], "little")
    if (kind, bits) not in {(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)}:
        what = f"{bits} bits of {_KINDS.get(kind, f'format {kind}')}"
        raise DataError(f"{path}: byte {body}: {what} is not supported; convert it: ffmpeg -c:a pcm_s16le")
    if not channels or not rate:
        raise DataError(f"{path}: byte {body}: {channels} channels at {rate} samples per second; get the file again")
    return kind, channels, rate, bits


def _wav_samples(path: Path, data: bytes, layout: tuple[int, int, int, int], body: int) -> np.ndarray:
    kind, channels, _, bits = layout
    frame = channels * bits // 8
    if not data or len(data) % frame:
        rule = "no samples" if not data else f"{len(data):,} bytes are not a multiple of a frame of {frame}"
        raise DataError(f"{path}: byte {body}: {rule}; get the file again or leave it out")
    if kind == 3:
        samples = np.frombuffer(data, dtype=f"<f{bits // 8}").astype(np.float64)
        if not np.isfinite(samples).all():
            place = int((~np.isfinite(samples)).argmax())
            raise DataError(
                f"{path}: byte {body + place * bits // 8}: a sample is not a finite number; convert the file again"
            )
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
    """Return the logarithm of the energy in mel bands, (F, M) float32, one frame per hop.

    The windows are Hann windows; silence is appended to a recording that is shorter than one. All bands together are
    standardised over the recording: its loudness carries no information, the differences between bands do.
    """
    window, hop = round(rate * window_seconds), round(rate * hop_seconds)
    if window < 2 or hop < 1:
        raise DataError(f"{rate} samples per second are too few for windows of {window_seconds * 1e3:g} ms; resample")
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
    """Return triangles that divide 0 to half the rate evenly in mel, (frequencies, M), and the size of the transform.

    Mel: O'Shaughnessy 1987, 2595 log10(1 + f / 700), f in Hz. The transform is large enough for each triangle to
    contain one of its frequencies.
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
