"""Vocabularies: bytes, characters or words as token numbers, made from the training part only."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

PAD, UNKNOWN, END = "<pad>", "<unk>", "<eos>"

UNITS = ("byte", "character", "word")

_WORD = re.compile(r"\w+(?:['’]\w+)*|['’]\w+|[^\w\s]")


def tokens(text: str, unit: str) -> list[str]:
    """Return the units of a text. White space separates words, and every line ends with <eos>."""
    if unit == "character":
        return list(text)
    if unit == "byte":
        return [chr(byte) for byte in text.encode("utf-8", "surrogateescape")]
    return [word for line in text.splitlines() for word in (*line.split(), END)]


def words(text: str) -> list[str]:
    """Return the words of a text to classify, in lower case, and its punctuation marks, one token each."""
    return _WORD.findall(text.lower())


def make(train: Iterable[str], unit: str, max_size: int | None = None, min_count: int = 1) -> list[str]:
    """Return the vocabulary of the training part, most frequent first, after <unk>, which replaces all other tokens.

    It holds at most `max_size` tokens, those that occur at least `min_count` times. Bytes are always all 256, and need
    no <unk>.
    """
    if unit == "byte":
        return [chr(byte) for byte in range(256)]
    counts = Counter(train)
    counts.pop(UNKNOWN, None)
    kept = [token for token, count in counts.items() if count >= min_count]
    ordered = sorted(kept, key=lambda token: (-counts[token], token))
    return [UNKNOWN, *ordered][:max_size]


def encode(units: Iterable[str] | bytes, vocabulary: Sequence[str]) -> np.ndarray:
    """Return token numbers, (N,) int64, <unk> for unknown tokens. Bytes are the last 256 tokens of their vocabulary."""
    if isinstance(units, bytes):
        return np.frombuffer(units, dtype=np.uint8).astype(np.int64) + len(vocabulary) - 256
    number = {token: place for place, token in enumerate(vocabulary)}
    unknown = number.get(UNKNOWN, 0)
    return np.fromiter((number.get(token, unknown) for token in units), dtype=np.int64)


def decode(numbers: Iterable[int], vocabulary: Sequence[str], unit: str) -> str:
    """Return the text of token numbers."""
    units = [vocabulary[number] for number in numbers]
    if unit == "byte":
        return bytes(map(ord, units)).decode("utf-8", "replace")
    if unit == "character":
        return "".join(units)
    lines = " ".join(units).split(END)
    return "\n".join(line.strip() for line in lines)
