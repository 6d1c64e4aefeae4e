"""Measurements of trained networks for claims: a run's weights in, named numbers out."""

from collections.abc import Callable
from pathlib import Path

import torch

from bench.config.contracts import Task
from bench.config.datasets import task_of
from bench.config.settings import RunConfig
from bench.training import context, memory, weights
from bench.training.module import SequenceModule

MEASUREMENTS: dict[str, Callable[[Task, SequenceModule], dict[str, float]]] = {
    "context": context.gain,
    "memory": memory.examine,
}
UNTRAINED = "untrained_"  # precedes the names of what is found of the network before training: a control


def examine(measurement: str, config: RunConfig, folder: Path, sha256: str | None) -> dict[str, float]:
    """Return what a measurement finds of the weights in a run's folder, and of those before training.

    `sha256` is the checksum in the record of the run. Raises BenchError.
    """
    torch.manual_seed(config.seed)
    task, measure = task_of(config), MEASUREMENTS[measurement]
    module = SequenceModule(task, config).eval()
    found = {UNTRAINED + name: value for name, value in measure(task, module).items()}
    module.load_state_dict(weights.read(folder, sha256))
    return found | measure(task, module)
