"""Capacity matching: the width at which an architecture has a given number of parameters, FLOPs or state numbers.

Comparing a Transformer of 300,000 parameters with an LSTM of 20,000 says little about either. The matching width is
found on the meta device, without memory or arithmetic.
"""

from collections.abc import Callable

import torch

from bench.config import knobs, plugins
from bench.config.datasets import task_of
from bench.config.search_spaces import SearchSpace
from bench.config.settings import RunConfig
from bench.errors import BenchError, DeclarationError
from bench.training import timing
from bench.training.module import SequenceModule

LARGEST_WIDTH = 1 << 16
TOLERANCE = 0.1  # relative; a width further from the target does not match it


def solve(config: RunConfig, knob: str, rule: str, target: float) -> tuple[int | None, float]:
    """Return the value of `knob` whose module has the size nearest to `target`, and that size.

    `rule` is parameters (encoder and head; embeddings are the same for all), flops (of a forward pass on one sequence)
    or state (numbers carried from step to step). The value is None if no width comes within a tenth of the target.
    Raises DeclarationError if the model fails.
    """
    try:
        width, actual = nearest(lambda width: size(config, knob, rule, width), target)
    except BenchError:
        raise
    except Exception as error:  # noqa: BLE001 - model code may raise anything
        path = plugins.source("models", config.model)
        raise DeclarationError(f"--match {rule}: {path}: {plugins.told(path, error)}") from None
    return (width if width is not None and abs(actual - target) <= TOLERANCE * target else None), actual


def nearest(size: Callable[[int], float | None], target: float) -> tuple[int | None, float]:
    """Return the width whose size is nearest to `target`, and that size; the size must grow with the width.

    `size` returns None for a width that a model refuses (an odd head size with rotary positions).
    """

    def reaches(width: int) -> bool:
        sizes = (size(candidate) for candidate in range(width, width + 4))
        return next((value >= target for value in sizes if value is not None), True)

    low, high = 0, 1
    while high < LARGEST_WIDTH and not reaches(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    # The nearest width may lie above, and the model may refuse some.
    sizes = {width: size(width) for width in range(max(1, low - 3), high + 4)}
    known = {width: value for width, value in sizes.items() if value is not None}
    if not known:
        return None, 0.0
    best = min(known, key=lambda width: abs(known[width] - target))
    return best, known[best]


def size(config: RunConfig, knob: str, rule: str, width: int) -> float | None:
    """Return the size of a module of this width by a rule; None if the model refuses the width."""
    return _size(config.model_copy(update={"model_arguments": config.model_arguments | {knob: width}}), rule)


def resizing(config: RunConfig, space: SearchSpace, rule: str, target: float) -> list[str]:
    """Return the knobs of a space of fixed width with a value that moves the size further from `target` than a tenth.

    Each knob is changed alone. `config` is a run of the space's default configuration.
    """
    names = []
    for name, entry in space.tuned.items():
        for value in knobs.ends(entry):
            arguments, train = space.split(space.default | {name: value})
            settings = config.train.model_copy(update=train)
            actual = _size(config.model_copy(update={"model_arguments": arguments, "train": settings}), rule)
            if actual is not None and abs(actual - target) > TOLERANCE * target:
                names.append(name)
                break
    return names


def _size(config: RunConfig, rule: str) -> float | None:
    """Return the size of a module by a rule; None if the model refuses its arguments."""
    task = task_of(config)
    try:
        with torch.device("meta"):
            module = SequenceModule(task, config)
    except ValueError:
        return None
    if rule == "state":
        return float(module.state_size)
    if rule == "flops":
        return float(timing.flops(module, task)["inference_flops_per_sequence"])
    counts = module.parameter_counts()
    return float(counts["encoder"] + counts["head"])
