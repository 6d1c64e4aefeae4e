"""The bench's own data as files for peers, and the scores of their answers.

Peers get the windows, the parts and the scaling of the bench's tasks, and answer the test part; their answers are
scored by the task itself.
"""

from pathlib import Path
from typing import Any

import numpy as np

from bench.config import datasets
from bench.config.contracts import Batch
from bench.config.datasets import make_task

CARDS = Path(__file__).resolve().parent / "cards"
PARTS = ("train", "val", "test")


def task_of(dataset: str, length: int) -> Any:
    return datasets.read(dataset, CARDS).at(length)


def write(kind: str, dataset: str, length: int, path: Path) -> None:
    """Write the examples of a dataset as the peers of a kind read them."""
    card = datasets.read(dataset, CARDS)
    if kind == "texts":  # words that occur once are of use to counts of n-grams
        arguments = card.arguments | {"min_frequency": 1}
        arrays = _texts(make_task(card.task, length, arguments))
    else:
        arrays = {"forecasts": _rows, "series": _series}[kind](card.at(length))
    np.savez_compressed(path, **arrays)


def scores(dataset: str, length: int, answers: Path) -> list[float]:
    """Return the metric of a peer's answers on the test part, one for each seed. Raises ValueError if they are wrong."""
    task = task_of(dataset, length)
    test = whole(task, "test")
    found = np.load(answers)
    values = []
    for name in sorted(name for name in found.files if name.startswith("test_")):
        outputs = found[name]
        if task.kind == "forecasting":
            if not np.allclose(found["targets"], test.y, atol=1e-4):
                raise ValueError(f"{dataset}: the peer forecast other windows than the bench")
        else:
            outputs = np.eye(task.output_size)[outputs]
        if len(outputs) != len(test.y):
            raise ValueError(f"{dataset}: {len(outputs)} answers to {len(test.y)} test examples")
        values.append(float(task.score(outputs, test)[task.metric]))
    return values


def whole(task: Any, part: str) -> Batch:
    return task.spread(part, task.counts[part])


def rows(task: Any) -> dict[str, np.ndarray]:
    """Return the target rows of each part of a table without groups and gaps, (N, T), from the windows of the task."""
    targets = {part: whole(task, part).y.reshape(-1, task.horizon, task.num_targets) for part in PARTS}
    found = {part: np.concatenate([y[:, 0], y[-1, 1:]]) for part, y in targets.items()}
    first = task.take("train", np.zeros(1, dtype=np.int64)).x[0, :, : task.num_targets]
    return found | {"train": np.concatenate([first, found["train"]])}


def _rows(task: Any) -> dict[str, Any]:
    return rows(task) | {"horizon": task.horizon, "length": task.length}


def _series(task: Any) -> dict[str, np.ndarray]:
    batches = {part: whole(task, part) for part in PARTS}
    steps, arrays = max(batch.x.shape[1] for batch in batches.values()), {}
    for part, batch in batches.items():
        missing = ((0, 0), (0, steps - batch.x.shape[1]), (0, 0))
        arrays |= {f"x_{part}": np.pad(batch.x, missing), f"y_{part}": batch.y}
    return arrays


def _texts(task: Any) -> dict[str, Any]:
    are_words = task.meta["tokens"] == "word"
    known = ["\ufffd" if token == "<unk>" else token for token in task.meta["vocabulary"]]
    between, arrays = " " if are_words else "", {}
    for part in PARTS:
        batch = whole(task, part)
        pairs = zip(batch.x, batch.length, strict=True)
        texts = [between.join(known[number] for number in numbers[:length]) for numbers, length in pairs]
        arrays |= {f"x_{part}": np.array(texts), f"y_{part}": batch.y}
    return arrays | {"are_words": are_words}
