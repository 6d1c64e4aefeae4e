"""Scores of transcripts: error rates of words and characters as jiwer computes them.

The fewest words that are substituted, deleted and inserted, as a share of the words of the references (Morris, Maier &
Green, 2004, https://doi.org/10.21437/Interspeech.2004-668). jiwer is loaded where something is scored.
"""

import functools
from collections import Counter
from collections.abc import Sequence

import numpy as np

BANDS = ((1, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 15), (16, None))
"""Numbers of words of a reference, for scores by length: from, and up to and including."""
SAMPLE = 100  # texts in the search for the best constant answer
KINDS = ("substitutions", "deletions", "insertions")


def word_error_rate(written: Sequence[str], references: Sequence[str]) -> float:
    """Return the errors of whole transcripts as a share of the words of the references; more than 1 is possible."""
    counts = np.array([_words(*pair) for pair in zip(written, references, strict=True)])
    return float(counts[:, :3].sum() / counts[:, 3].sum())


def character_error_rate(written: Sequence[str], references: Sequence[str]) -> float:
    """Return the same of characters, among which are the blanks between words."""
    counts = np.array([_characters(*pair) for pair in zip(written, references, strict=True)])
    return float(counts[:, 0].sum() / counts[:, 1].sum())


def report(written: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Return the error rate of words, its three kinds of errors, the share of transcripts without an error, and bands.

    The bands hold the error rate of words by the number of words of the reference.
    """
    counts = np.array([_words(*pair) for pair in zip(written, references, strict=True)])
    words = counts[:, 3]
    scores = {"word_error_rate": word_error_rate(written, references)}
    scores |= {kind: float(counts[:, place].sum() / words.sum()) for place, kind in enumerate(KINDS)}
    scores["exact"] = float((counts[:, :3].sum(1) == 0).mean())
    for low, high in BANDS:
        rows = (words >= low) & (words <= (high or words.max()))
        if rows.any():
            name = f"from_{low}" if high is None else f"{low}_to_{high}" if high > low else f"of_{low}"
            scores[f"word_error_rate_{name}"] = float(counts[rows, :3].sum() / words[rows].sum())
    return scores


def constant(texts: Sequence[str]) -> str:
    """Return the one answer, of nothing and 100 texts, that makes the fewest errors in 100 other texts."""
    import jiwer

    def error_rate(text: str) -> float:
        found = jiwer.process_words(sample, [text] * len(sample))
        itself = len(text.split()) if text in sample else 0
        words = sum(len(other.split()) for other in sample) - itself
        return (found.substitutions + found.deletions + found.insertions) / max(1, words)

    count = min(len(texts), SAMPLE)
    sample = [texts[number * len(texts) // count] for number in range(count)]
    candidates = ["", *dict.fromkeys([*(text for text, _ in Counter(texts).most_common(SAMPLE // 2)), *sample])]
    return min(candidates[: SAMPLE + 1], key=error_rate)


@functools.lru_cache(maxsize=1 << 16)
def _words(written: str, reference: str) -> tuple[int, int, int, int]:
    """Return the words that are substituted, deleted and inserted, and those of the reference."""
    import jiwer

    found = jiwer.process_words(reference, written)
    return found.substitutions, found.deletions, found.insertions, len(reference.split())


@functools.lru_cache(maxsize=1 << 16)
def _characters(written: str, reference: str) -> tuple[int, int]:
    """Return the characters that are wrong, and those of the reference."""
    import jiwer

    found = jiwer.process_characters(reference, written)
    return found.substitutions + found.deletions + found.insertions, found.hits + found.substitutions + found.deletions
