"""Vocabularies: bytes, characters or words as token numbers, made from the training part only."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import regex  # type: ignore[import-untyped]

PAD, UNKNOWN, END = "<pad>", "<unk>", "<eos>"

UNITS = ("byte", "character", "word")

TOKENISER = 2
"""Version of `words`, which an exported model keeps: the tokens of its vocabulary were split by it."""

_WORD_1 = re.compile(r"\w+(?:['’]\w+)*|['’]\w+|[^\w\s]")
# From one word boundary of Unicode to the next; an apostrophe after a blank belongs to its word, as in 's and 'em.
# The separators \x1c to \x1f are blanks to `str.split`, but not to `\s` of this library.
_WORD = regex.compile(r"(?w)(?:(?<![\w\p{M}])['’](?=\w))?[^\s\x1c-\x1f].*?\b", regex.DOTALL)


def tokens(text: str, unit: str) -> list[str]:
    """Return the units of a text. White space separates words, and every line ends with <eos>."""
    if unit == "character":
        return list(text)
    if unit == "byte":
        return [chr(byte) for byte in text.encode("utf-8", "surrogateescape")]
    return [word for line in text.splitlines() for word in (*line.split(), END)]


def words(text: str, version: int = TOKENISER) -> list[str]:
    """Return the words of a text to classify, in lower case, and its punctuation marks, one token each.

    Words end where Unicode has word boundaries (UAX #29, https://www.unicode.org/reports/tr29/), so that combining
    marks stay with their letters, and each character of Chinese is a word. A letter with a mark is one token, however
    it is composed (NFC). Version 1, of earlier exports, splits words at combining marks.
    """
    if version == 1:
        return _WORD_1.findall(text.lower())
    found: list[str] = _WORD.findall(unicodedata.normalize("NFC", text.lower()))
    return found


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
