"""Capacity matching: the width at which an architecture has as many parameters, FLOPs or state numbers as another.

Comparing a Transformer of 300,000 parameters with an LSTM of 20,000 says little about either. The width that fits is
found on the meta device, without memory or arithmetic.
"""

from typing import Any

import torch

from bench import timing
from bench.config import RunConfig
from bench.datasets import make_task
from bench.module import SequenceModule

LARGEST_WIDTH = 1 << 16
TOLERANCE = 0.1  # a nearest width further from the target than this does not match it


def solve(config: RunConfig, knob: str, rule: str, target: float) -> tuple[int | None, float]:
    """Return the value of `knob` at which a module comes nearest to `target`, and how much it then has.

    `rule` is parameters (encoder and head; embeddings are the same for all), flops (of a forward pass on one sequence)
    or state (numbers carried from step to step). None where no width comes within a tenth of the target.
    """
    low, high = 1, 2
    while high < LARGEST_WIDTH and _size(config, knob, rule, high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _size(config, knob, rule, middle) < target else (low, middle)
    # Nearest, not below: and a width that the model refuses (an odd head under rotary positions) leaves its neighbours.
    sizes = {width: measured(config, knob, rule, width) for width in range(max(1, low - 1), high + 2)}
    found = {width: size for width, size in sizes.items() if size is not None}
    if not found:
        return None, 0.0
    best = min(found, key=lambda width: abs(found[width] - target))
    return (best if abs(found[best] - target) <= TOLERANCE * target else None), found[best]


def _size(config: RunConfig, knob: str, rule: str, width: int) -> float:
    for candidate in (width, width + 1, width + 2):
        size = measured(config, knob, rule, candidate)
        if size is not None:
            return size
    return float("inf")


def measured(config: RunConfig, knob: str, rule: str, width: int) -> float | None:
    """Return what a module of this width has by a rule; None where the model refuses the width."""
    arguments: dict[str, Any] = config.model_arguments | {knob: width}
    task = make_task(config.task, config.length, config.task_arguments)
    wide = config.model_copy(update={"model_arguments": arguments})
    try:
        with torch.device("meta"):
            module = SequenceModule(task, wide)
    except ValueError:
        return None
    if rule == "state":
        return float(module.encoder.state_size(task.num_steps))
    if rule == "flops":
        return float(timing.flops(module, task)["inference_flops_per_sequence"])
    counts = module.parameter_counts()
    return float(counts["encoder"] + counts["head"])
