"""What is stored of the answers for a test split beside their scores."""

from typing import Any

import numpy as np

from bench.config.contracts import Batch, Task, ranking_metric
from bench.results.classes import counts_of
from bench.results.sampling import LeftOut


def details(task: Task, outputs: np.ndarray, test: Batch) -> dict[str, Any]:
    """Return what is stored of the answers for the test split beside their scores: `classes` and `left_out`.

    What a task does not have is left out. Tasks with a threshold are ranked by the seeds that solve them.
    """
    classes = counts_of(task, outputs, test)
    # Anomalies are few: without the stretch that holds one, a score says nothing about sampling.
    has_none = task.solved is not None or ranking_metric(task) != task.metric
    left_out = None if has_none else LeftOut.of(task, outputs, test, task.score)
    found = {"classes": classes, "left_out": left_out}
    return {name: detail for name, detail in found.items() if detail is not None}
