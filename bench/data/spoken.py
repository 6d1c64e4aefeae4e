"""What is spoken in recordings: those of a folder with their transcripts, or strings of its words drawn at random.

N utterances, F frames, M mel bands, S samples.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.data import recordings, sequences
from bench.data.remarks import Remark
from bench.data.signals import log_mel
from bench.data.splits import PARTS, digest, name_field, split_parts
from bench.data.table_format import TableFormat

STRINGS = {"label": 1, "speaker": 2, "words": (3, 7), "silence": (0.0, 0.3), "counts": (3_000, 500, 500), "seed": 0}
"""How strings are drawn, unless a card says otherwise; see `draw`."""
LEAST_NOISE = 1e-4  # of a sample: three steps of 16 bits


class Spoken(NamedTuple):
    """Utterances with their transcripts, and the part of each."""

    items: list[np.ndarray]  # log-mel bands, (F, M) float32
    texts: list[str]
    names: list[str]
    part: np.ndarray  # (N,) index into PARTS
    rate: int  # samples per second
    remarks: list[Remark]


def read(path: Path, text: str, form: TableFormat, rule: dict[str, Any]) -> Spoken:
    """Return the recordings of a folder with what the column `text` of its table says of them. Raises DataError."""
    found = recordings.transcripts(path, text, form, rule.get("column"))
    items, contents, rate = [], [], 0
    for samples, rate in recordings.read(path, found.names):
        items.append(log_mel(samples, rate))
        contents.append(digest(samples.tobytes()))
    part = split_parts(rule, np.zeros(len(items), dtype=np.int64), found.names, found.groups, contents)
    remarks = [*found.remarks, *sequences.repeated(contents, part, PARTS), *_known(found.texts, part)]
    return Spoken(items, found.texts, found.names, part, rate, remarks)


def _known(texts: Sequence[str], part: np.ndarray) -> list[Remark]:
    """Return a remark if all transcripts of val and test occur in train too: a model need not read words then."""
    train, others = (
        {text for text, is_in in zip(texts, chosen, strict=True) if is_in} for chosen in (part == 0, part > 0)
    )
    rule = "each transcript of val and test also occurs in train: scores say nothing about other sentences"
    return [Remark("equal", rule)] if others and others <= train else []


def draw(path: Path, how: Mapping[str, Any], rule: dict[str, Any]) -> Spoken:
    """Return strings of the recordings of single words in a folder, each string by one speaker.

    The rule divides the recordings, so that no two parts share one. A string has `words` words, from and up to and
    including; before, between and after them are pauses of `silence` seconds, also drawn. Pauses hold white noise as
    strong as the quietest 25 ms of the recordings of the string. The fields of a file's name, which _ separates, say
    its word (`label`) and its `speaker`. `counts` are the numbers of strings of train, val and test. Raises DataError.
    """
    names = recordings.names_in(path)
    read = list(recordings.read(path, names))
    samples, rate = [part for part, _ in read], read[0][1]
    labels, speakers = ([name_field(name, how[key]) for name in names] for key in ("label", "speaker"))
    y = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    of_recording = split_parts(rule, y, names, None, [digest(part.tobytes()) for part in samples])
    items, texts = [], []
    for number, count in enumerate(how["counts"]):
        rng = np.random.default_rng([how["seed"], number])
        of_part = np.flatnonzero(of_recording == number)
        known = sorted({speakers[i] for i in of_part})
        pools = {speaker: [int(i) for i in of_part if speakers[i] == speaker] for speaker in known}
        for _ in range(count):
            pool = pools[known[rng.integers(len(known))]]
            chosen = rng.choice(pool, size=rng.integers(how["words"][0], how["words"][1] + 1))
            items.append(log_mel(_joined([samples[i] for i in chosen], rate, how["silence"], rng), rate))
            texts.append(" ".join(labels[i] for i in chosen))
    part = np.repeat(np.arange(len(PARTS), dtype=np.int8), how["counts"])
    return Spoken(items, texts, [f"{PARTS[p]} {i + 1}" for i, p in enumerate(part)], part, rate, [])


def _joined(words: Sequence[np.ndarray], rate: int, silence: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Return the samples of words with pauses before, between and after them, (S,)."""
    noise = max(LEAST_NOISE, min(_quietest(word, round(rate * 0.025)) for word in words))
    pauses = [
        rng.normal(0, noise, round(rate * seconds)) for seconds in rng.uniform(silence[0], silence[1], len(words) + 1)
    ]
    pieces = [piece for pair in zip(pauses, words, strict=False) for piece in pair]
    return np.concatenate([*pieces, pauses[-1]]).astype(np.float32)


def _quietest(samples: np.ndarray, window: int) -> float:
    """Return the least root mean square of the windows of a recording, one after the other."""
    whole = samples[: max(1, len(samples) // window) * window]
    return float(np.sqrt((whole.reshape(-1, min(window, len(whole))) ** 2).mean(1).min()))
