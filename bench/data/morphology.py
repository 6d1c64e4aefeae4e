"""What a word shows apart from its meaning: its suffixes and its shape, which unknown words have too.

Suffixes and shapes as inputs of taggers: Ratnaparkhi, 1996, https://aclanthology.org/W96-0213; shapes collapsed as in
Collins, 2002, https://doi.org/10.3115/1118693.1118694

N words, F features of a word.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from bench.data import vocabulary

SUFFIXES = (1, 2, 3)
"""Lengths of the suffixes, in characters."""


def of_word(word: str) -> tuple[str, ...]:
    """Return the suffixes of a word in lower case, and its shape; a shorter word is its own suffix."""
    return (*(word.lower()[-length:] for length in SUFFIXES), shape(word))


def shape(word: str) -> str:
    """Return the kinds of characters in the order of the word, each run once: X, x, d for a digit, others as they are.

    McDonald is XxXx, 1,000 is d,d and well-known is x-x.
    """
    kinds = ["X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in word]
    return "".join(kind for place, kind in enumerate(kinds) if place == 0 or kind != kinds[place - 1])


def vocabularies(train: Iterable[str], min_count: int) -> list[list[str]]:
    """Return the vocabulary of each feature, of the words of the training part."""
    return [vocabulary.make(values, "word", min_count=min_count) for values in zip(*map(of_word, train), strict=True)]


def encode(words: Iterable[str], known: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the numbers of the features of words, (N, F) int64."""
    columns = zip(*map(of_word, words), strict=True)
    return np.stack([vocabulary.encode(values, names) for values, names in zip(columns, known, strict=True)], axis=1)
