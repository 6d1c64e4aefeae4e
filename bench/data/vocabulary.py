"""Vocabularies: bytes, characters or words as token numbers, made from the training part only."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

PAD, UNKNOWN, END = "<pad>", "<unk>", "<eos>"

UNITS = ("byte", "character", "word")

_WORD = re.compile(r"\w+(?:['’]\w+)*|['’]\w+|[^\w\s]")


def tokens(text: str, unit: str) -> list[str]:
    """Return the units of a text. Words are parted by white space, and every line ends with <eos>."""
    if unit == "character":
        return list(text)
    if unit == "byte":
        return [chr(byte) for byte in text.encode("utf-8", "surrogateescape")]
    return [word for line in text.splitlines() for word in (*line.split(), END)]


def words(text: str) -> list[str]:
    """Return the words of a text whose class is asked: in lower case, and its punctuation, a token each."""
    return _WORD.findall(text.lower())


def make(train: Iterable[str], unit: str, max_size: int | None = None, min_count: int = 1) -> list[str]:
    """Return the vocabulary of the training part, most frequent first; <unk> stands for what is not in it.

    That is what occurs fewer than `min_count` times there, or goes beyond `max_size`. Bytes are always all 256, and
    need no <unk>.
    """
    if unit == "byte":
        return [chr(byte) for byte in range(256)]
    counts = Counter(train)
    counts.pop(UNKNOWN, None)
    kept = [token for token, count in counts.items() if count >= min_count]
    ordered = sorted(kept, key=lambda token: (-counts[token], token))
    return [UNKNOWN, *ordered][:max_size]


def encode(found: Iterable[str] | bytes, vocabulary: Sequence[str]) -> np.ndarray:
    """Return token numbers, (N,) int64; what is not in the vocabulary is <unk>. Bytes are the last 256 of theirs."""
    if isinstance(found, bytes):
        return np.frombuffer(found, dtype=np.uint8).astype(np.int64) + len(vocabulary) - 256
    number = {token: place for place, token in enumerate(vocabulary)}
    unknown = number.get(UNKNOWN, 0)
    return np.fromiter((number.get(token, unknown) for token in found), dtype=np.int64)


def decode(numbers: Iterable[int], vocabulary: Sequence[str], unit: str) -> str:
    """Return the text of token numbers."""
    found = [vocabulary[number] for number in numbers]
    if unit == "byte":
        return bytes(map(ord, found)).decode("utf-8", "replace")
    if unit == "character":
        return "".join(found)
    lines = " ".join(found).split(END)
    return "\n".join(line.strip() for line in lines)
