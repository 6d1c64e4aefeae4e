"""Logistic regression on loud stretches: what an engineer without a network would do with words between pauses.

B batch, L steps, D bands, T tokens, W words.
"""

import itertools
from collections import Counter
from typing import Any

import numpy as np

from bench.baselines._linear import STRENGTHS, classifier, scaled
from bench.baselines._spoken import features, most, stretches
from bench.config import baseline
from bench.config.contracts import Batch, Task

SHARES, GAPS = (0.2, 0.3, 0.4, 0.5, 0.6), (2, 4, 8, 12)
LONGEST = (35, 50, 70, 10_000)  # steps
LOOKED_AT = 300  # recordings of training, for the choice of what is loud
FITTED = 8_000  # stretches, at most
WORDS = 1_000  # most frequent ones that can be written


class Baseline(baseline.Baseline):
    """Divides a recording at its pauses and names the word of each stretch."""

    title = "logistic regression on loud stretches"
    libraries = ("sklearn.linear_model", "sklearn.svm")
    weights = ("weights", "offset")

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether recordings are to be transcribed."""
        return task.kind == "transcription"

    @staticmethod
    def most(task: Task) -> int:
        """Return how many training recordings are divided, at most."""
        return most(task)

    def fit(self, train: Batch, val: Batch, task: Any) -> None:
        """Choose what is loud by the numbers of words, and a classifier of the stretches by the errors on validation.

        The classifier learns from the recordings that have as many stretches as words. Raises ValueError if there are
        none.
        """
        texts = [text.split() for text in task.written(train.y)]
        looked_at = range(0, len(texts), max(1, len(texts) // LOOKED_AT))

        def agreement(point: tuple[float, int, float]) -> int:
            return sum(len(stretches(_steps(train, i), *point)) == len(texts[i]) for i in looked_at)

        grid = [self.grid(name, values) for name, values in (("share", SHARES), ("gap", GAPS), ("longest", LONGEST))]
        share, gap, longest = max(itertools.product(*grid), key=agreement)
        self.chosen.update({"share": share, "gap": gap, "longest": longest})
        self.arrays = {"how": np.array([share, gap, longest])} | _spellings(texts, task)
        number = {word: place for place, word in enumerate(self.arrays["words"].tolist())}
        x, y = [], []
        for row, words in enumerate(texts):
            steps = _steps(train, row)
            found = stretches(steps, share, gap, longest)
            if len(found) == len(words) and all(word in number for word in words):
                x.append(features(steps, found))
                y += [number[word] for word in words]
        if not x:
            raise ValueError("no recording of training has as many loud stretches as words")
        known, classes = np.concatenate(x), np.array(y)
        rows = np.arange(min(FITTED, len(known))) * len(known) // min(FITTED, len(known))
        mean, scale = scaled(known)
        self.arrays |= {"mean": mean, "scale": scale}

        def score(weights: np.ndarray, offset: np.ndarray) -> tuple[float]:
            self.arrays |= {"weights": weights, "offset": offset}
            return (baseline.standing(task, self.outputs(val.x, val.length), val),)

        of_val = self.grid("strength", STRENGTHS["logistic"])
        weights, offset, point = classifier(
            "logistic", of_val, ((known - mean) / scale)[rows], classes[rows], len(number), score
        )
        self.chosen.update(point)
        self.arrays |= {"weights": weights, "offset": offset}

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the tokens of the words of all stretches, (B, T)."""
        share, gap, longest = self.arrays["how"].tolist()
        rows = []
        for steps, stop in zip(x, length, strict=True):
            steps = steps[:stop]
            known = features(steps, stretches(steps, share, int(gap), longest))
            known = (known - self.arrays["mean"]) / self.arrays["scale"]
            words = (known @ self.arrays["weights"] + self.arrays["offset"]).argmax(1)
            rows.append(self.arrays["spellings"][words].ravel())
        tokens = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        for place, row in enumerate(rows):
            tokens[place, : len(row)] = row
        return tokens


def _steps(batch: Batch, row: int) -> np.ndarray:
    return np.asarray(batch.x[row, : batch.length[row]])


def _spellings(texts: list[list[str]], task: Any) -> dict[str, np.ndarray]:
    """Return the most frequent words, (W,), and the numbers of their tokens with a blank after them, (W, T)."""
    words = [word for word, _ in Counter(word for text in texts for word in text).most_common(WORDS)]
    number = {token: place for place, token in enumerate(task.meta["vocabulary"])}
    is_spelled = task.meta["tokens"] == "character"
    rows = [[number.get(letter, 0) for letter in f"{word} "] if is_spelled else [number[word]] for word in words]
    spellings = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for place, row in enumerate(rows):
        spellings[place, : len(row)] = row
    return {"words": np.array(words), "spellings": spellings}
