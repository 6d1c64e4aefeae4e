"""What tasks share: their files, stored sequences of unequal length, and scores of classes.

B batch, L steps, D channels, C classes, N sequences, S steps of all sequences.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.config.contracts import Batch, StoredTask
from bench.config.datasets import DataFile
from bench.data import sequences
from bench.data.files import Prepared
from bench.data.splits import PARTS
from bench.errors import DeclarationError


def checked_files(task: str, length: int, files: Sequence[Any], unit: str = "step") -> list[DataFile]:
    """Return the files of a card, after a check of the length. Raises DeclarationError."""
    if length < 1:
        raise DeclarationError(f"{task}: length: must be at least 1 {unit}, but found {length}")
    if not files:
        raise DeclarationError(f"{task}: files: none given; name them under [[files]] in the dataset card")
    return [DataFile.model_validate(file) for file in files]


class StoredSequences(StoredTask):
    """Sequences with one target each, stored one after the other in the order train, val, test."""

    def __init__(self, prepared: Prepared, length: int, keep: str) -> None:
        """Keep arrays `values` (S, D) or (S,), `stop` (N,) and `y` (N,), and the `edges` of the parts.

        Sequences are cut to the `keep` ("first" or "last") `length` steps, and to the longest of training: a model
        never meets a step number that it has not seen in training.
        """
        self.meta: dict[str, Any] = prepared.meta
        self._values, self._stop, self._y = (prepared.arrays[name] for name in ("values", "stop", "y"))
        edges = self.meta["edges"]
        self.edge = dict(zip(PARTS, edges[:-1], strict=True))
        self.counts = {part: edges[i + 1] - edges[i] for i, part in enumerate(PARTS)}
        self.length = length
        self._all_steps = steps = np.diff(np.r_[0, self._stop])
        self.num_steps = min(length, int(steps[: edges[1]].max()))
        self._steps = np.minimum(steps, self.num_steps)
        self._first = self._stop - (steps if keep == "first" else self._steps)

    def steps_of(self, part: str) -> np.ndarray:
        """Return the number of steps of each sequence of a part, also of those that are not read, (N,) int64."""
        return np.asarray(self._all_steps[self.edge[part] : self.edge[part] + self.counts[part]])

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the sequences of a part at these places."""
        rows = places + self.edge[part]
        length = self._steps[rows].astype(np.int64)
        return Batch(sequences.padded(self._values, self._first[rows], length), length, self._y[rows])


def class_scores(answers: np.ndarray, y: np.ndarray, num_classes: int) -> dict[str, float]:
    """Return accuracy, balanced accuracy and macro F1 of answers (N,) for targets (N,).

    Balanced accuracy is the recall, averaged over the classes that occur in the targets; macro F1 is averaged over
    those that occur in targets or answers.
    """
    correct, support = np.bincount(y[answers == y], minlength=num_classes), np.bincount(y, minlength=num_classes)
    both = support + np.bincount(answers, minlength=num_classes)
    recall, f1 = (float((part[of > 0] / of[of > 0]).mean()) for part, of in ((correct, support), (2 * correct, both)))
    return {"accuracy": float((answers == y).mean()), "balanced_accuracy": recall, "macro_f1": f1}
