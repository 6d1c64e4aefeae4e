"""How well networks do whose weights are random and never trained: a control of tasks that claim to need learning.

Schmidhuber & Hochreiter, 1996, "Guessing can outperform many long time lag algorithms", IDSIA-19-96: several benchmarks
of long lags were solved faster by drawing weights at random than by training.
"""

import math

import numpy as np
import torch

from bench.config.contracts import Batch, Task
from bench.config.datasets import task_of
from bench.config.settings import RunConfig
from bench.errors import DeclarationError
from bench.training.datamodule import to_tensors
from bench.training.module import SequenceModule

NETWORKS = 1_000  # that are drawn for one guess
SCALES = (
    0.1,
    100.0,
)  # of weights: uniform between minus and plus a scale, which is drawn log-uniformly for each network
FIRST, KEPT, SECOND = 64, 20, 1_000  # sequences for all networks; networks that are kept; sequences for these


def best(config: RunConfig) -> float:
    """Return how far the best of NETWORKS random networks comes from chance, 0, to where the task is solved, 1.

    Training sequences choose it, and validation sequences score it, so that luck in the choice does not count. Raises
    DeclarationError for tasks that cannot be solved.
    """
    task = task_of(config)
    if task.solved is None:
        raise DeclarationError(f"guessing: needs a task with a threshold, but found {config.task}")
    torch.manual_seed(config.seed)
    module, scales = SequenceModule(task, config).eval(), np.random.default_rng(config.seed)
    first, second = (task.train_batch(config.seed, number, size) for number, size in ((0, FIRST), (1, SECOND)))
    drawn = []
    for _ in range(NETWORKS):
        scale = math.exp(scales.uniform(*np.log(SCALES)))
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.uniform_(-scale, scale)
        drawn.append((_score(task, module, first), [parameter.detach().clone() for parameter in module.parameters()]))
        drawn = sorted(drawn, key=lambda pair: pair[0], reverse=True)[:KEPT]
    again = [(_score(task, _with(module, weights), second), weights) for _, weights in drawn]
    return _score(task, _with(module, max(again, key=lambda pair: pair[0])[1]), task.split("val", SECOND))


def _with(module: SequenceModule, weights: list[torch.Tensor]) -> SequenceModule:
    with torch.no_grad():
        for parameter, values in zip(module.parameters(), weights, strict=True):
            parameter.copy_(values)
    return module


def _score(task: Task, module: SequenceModule, batch: Batch) -> float:
    """Return the score of a network on the way from chance to the threshold; of outputs that are no numbers, chance."""
    assert task.solved is not None
    x, length, *_ = to_tensors(batch)
    with torch.inference_mode():
        outputs = module(x, length).numpy()
    if not np.isfinite(outputs).all():
        return 0.0
    return (task.score(outputs, batch)[task.metric] - task.chance) / (task.solved - task.chance)
