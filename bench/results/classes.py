"""Which classes were answered for which: counts of one split, and the scores of each class.

C classes, N answers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from bench.config.contracts import Batch

MOST_PAIRS = 400
"""Pairs of confused classes that a record keeps; all of them for up to 20 classes."""


class ClassCounts(BaseModel):
    """Counts of targets and answers by class. Lists are by class, (C,)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: list[str]
    support: list[int]  # targets of the class
    predicted: list[int]  # answers of the class
    correct: list[int]  # answers of the class that are right
    confused: list[tuple[int, int, int]]  # target, other answer, count: the most frequent ones first

    @classmethod
    def of(cls, answers: np.ndarray, y: np.ndarray, names: Sequence[str]) -> "ClassCounts":
        """Return the counts of answers (N,) for targets (N,), both class numbers."""
        size = len(names)
        pairs, counts = np.unique(y.astype(np.int64) * size + answers, return_counts=True)
        target, answer = np.divmod(pairs, size)
        wrong = np.flatnonzero(target != answer)
        wrong = wrong[np.argsort(-counts[wrong], kind="stable")][:MOST_PAIRS]
        return cls(
            names=list(names),
            support=np.bincount(y, minlength=size).tolist(),
            predicted=np.bincount(answers, minlength=size).tolist(),
            correct=np.bincount(y[answers == y], minlength=size).tolist(),
            confused=[(int(target[i]), int(answer[i]), int(counts[i])) for i in wrong],
        )

    @classmethod
    def sum(cls, counts: Sequence["ClassCounts"]) -> "ClassCounts":
        """Return the counts of several runs on the same split together."""
        pairs: dict[tuple[int, int], int] = {}
        for part in counts:
            for target, answer, count in part.confused:
                pairs[target, answer] = pairs.get((target, answer), 0) + count
        confused = sorted(((*pair, count) for pair, count in pairs.items()), key=lambda item: -item[2])
        lists = {
            name: np.sum([getattr(part, name) for part in counts], axis=0).tolist()
            for name in ("support", "predicted", "correct")
        }
        return cls(names=counts[0].names, confused=confused[:MOST_PAIRS], **lists)

    @property
    def never_predicted(self) -> list[str]:
        """The names of the classes that occur in the split and were never answered."""
        rows = zip(self.names, self.support, self.predicted, strict=True)
        return [name for name, support, predicted in rows if support and not predicted]

    @property
    def recall(self) -> list[float | None]:
        """The share of the targets of each class that were answered correctly; None for a class without targets."""
        return [_ratio(hit, support) for hit, support in zip(self.correct, self.support, strict=True)]

    @property
    def precision(self) -> list[float | None]:
        """The share of the answers of each class that are correct; None for a class that was never answered."""
        return [_ratio(hit, predicted) for hit, predicted in zip(self.correct, self.predicted, strict=True)]

    @property
    def f1(self) -> list[float | None]:
        """The harmonic mean of precision and recall of each class; None for a class that does not occur at all."""
        rows = zip(self.correct, self.support, self.predicted, strict=True)
        return [_ratio(2 * hit, support + predicted) for hit, support, predicted in rows]

    def matrix(self) -> np.ndarray | None:
        """Return the confusion matrix (C, C) with targets as rows; None if not all pairs were kept."""
        matrix = np.diag(np.array(self.correct))
        for target, answer, count in self.confused:
            matrix[target, answer] = count
        return matrix if (matrix.sum(1) == self.support).all() else None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def counts_of(task: Any, outputs: np.ndarray, batch: Batch) -> ClassCounts | None:
    """Return the counts of raw outputs (B, C) or (B, L, C) for a split; None if the task has no classes.

    Drawn tasks have none: their symbols are interchangeable.
    """
    names = class_names(task)
    if names is None:
        return None
    answers = outputs.argmax(-1)
    if batch.mask is not None:
        return ClassCounts.of(answers[batch.mask], batch.y[batch.mask], names)
    return ClassCounts.of(answers, batch.y, names)


def class_names(task: Any) -> list[str] | None:
    """Return the names of a task's classes; None if it has none."""
    if task.loss != "cross_entropy" or task.keep != "outputs" or task.kind == "synthetic":
        return None
    meta = getattr(task, "meta", {})
    names = meta.get("classes") or meta.get("labels") or range(task.output_size)
    return [str(name) for name in names]
