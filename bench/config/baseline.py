"""The contract of cheap baselines: what you would use instead of a network.

`tests/contracts/test_baselines.py` checks each file of `bench/baselines/` against it.

B batch, L steps, D channels, C outputs, P prompt, V vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.config import plugins
from bench.config.contracts import Batch, Sampling, Task, spread
from bench.errors import DeclarationError


class Baseline(ABC):
    """A cheap baseline: a class named `Baseline` in a file of its own in `bench/baselines/`.

    A subclass sets `title` and provides `applies`, `fit` and `outputs`. Everything that an answer depends on is stored
    in `arrays`, as numbers or text without Python objects, so that the file of a fitted baseline can be read anywhere.
    Libraries that take long to load, such as scikit-learn, are imported inside `fit`; `outputs` needs numpy, SciPy and
    PyTorch only.

    Example, a complete baseline:

        class Baseline(baseline.Baseline):
            title = "repeat last"

            @staticmethod
            def applies(task):
                return task.kind == "forecasting"

            def fit(self, train, val, task):
                self.arrays = {"targets": np.array(len(task.target)), "horizon": np.array(task.horizon)}

            def outputs(self, x, length):
                return np.tile(x[:, -1, : int(self.arrays["targets"])], (1, int(self.arrays["horizon"])))
    """

    title: ClassVar[str]  # the name in tables and answers
    prior: ClassVar[int] = 0
    """Decides between baselines with equal validation scores: the largest is taken. Set it by published comparisons."""
    libraries: ClassVar[tuple[str, ...]] = ()  # modules that `fit` imports; loading them is not part of its time
    weights: ClassVar[tuple[str, ...]] = ()  # names of the arrays whose numbers count as parameters

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.chosen: dict[str, Any] = {}  # what validation chose: the point of the grid, by name, and a temperature
        self.kept: dict[str, Any] = {}  # the same of an earlier fit, which a refit keeps

    def grid(self, name: str, values: Iterable[Any]) -> list[Any]:
        """Return the values of `name` that `fit` tries: all, or in a refit the one that was chosen before."""
        return [self.kept[name]] if name in self.kept else list(values)

    @staticmethod
    @abstractmethod
    def applies(task: Task) -> bool:
        """Return whether the baseline is for this task."""

    @staticmethod
    def most(task: Task) -> int:
        """Return how many training examples `fit` gets, at most; they are evenly spaced if there are more."""
        return 20_000

    @staticmethod
    def history(task: Task) -> int:
        """Return how many steps `fit` reads of each window, at least 1; more than `num_steps` for forecasts only."""
        return task.num_steps

    @property
    def num_steps(self) -> int | None:
        """The steps that `outputs` reads after `fit`, at most `history`; None: the task's `num_steps`."""
        return int(self.arrays["num_steps"]) if "num_steps" in self.arrays else None

    @abstractmethod
    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Fit `arrays` on `train`, with the point of the `grid` that scores best on `val`, and note it in `chosen`.

        In a refit `val` is a part of `train`, and chooses nothing.
        """

    @abstractmethod
    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return raw outputs as a network does: (B, C), or (B, L, C) for a task with a target at every step.

        Of a translation or a transcript they are the numbers of the tokens that are written, (B, T) int64.
        What only scores anomalies returns the scores of the last step of each window, (B,).

        `x` is padded on the right, (B, L) or (B, L, D), with `length` (B,) valid steps, at least 1. `L` may differ from
        batch to batch. Padding never changes an output.
        """

    def scored(self, batch: Batch, task: Task) -> np.ndarray:
        """Return what `task.score` gets for a batch: outputs, or nats of each step (B, L) where it keeps those."""
        return self.nats(batch) if task.keep == "nll" else self.outputs(batch.x, batch.length)

    def nats(self, batch: Batch) -> np.ndarray:
        """Return the nats of the target at each step, (B, L). Raises DeclarationError if it is no language model."""
        raise DeclarationError(f"'{self.title}' gives no likelihood of tokens; it is no language model")

    def generate(self, prompt: np.ndarray, sampling: Sampling, never: int | None) -> np.ndarray:
        """Return the token numbers that continue a prompt (P,). Raises DeclarationError if it is no language model."""
        raise DeclarationError(f"'{self.title}' generates no text; export a language model with --model")

    @property
    def num_parameters(self) -> int | None:
        """The number of fitted weights; None for a baseline without weights, such as a nearest neighbour."""
        return sum(self.arrays[name].size for name in self.weights) if self.weights else None

    def save(self, path: Path) -> None:
        """Write the fitted baseline as one .npz file."""
        np.savez_compressed(path, **self.arrays)  # type: ignore[arg-type]

    def load(self, path: Path) -> None:
        """Read the file that `save` wrote. Raises OSError and ValueError."""
        with np.load(path, allow_pickle=False) as stored:
            self.arrays = dict(stored)


def make(name: str) -> Baseline:
    """Return a baseline that is not fitted, by the name of its file. Raises UnknownNameError."""
    baseline: Baseline = plugins.load("baselines", name).Baseline()
    return baseline


def applicable(task: Task) -> dict[str, Baseline]:
    """Return the baselines for a task by the names of their files, not fitted."""
    known = {name: make(name) for name in plugins.names("baselines")}
    return {name: baseline for name, baseline in known.items() if baseline.applies(task)}


def windows(task: Any, part: str, size: int, history: int) -> Batch:
    """Return examples of a part, `size` at most and evenly spaced, with up to `history` steps each.

    Only forecasts reach further back than `task.num_steps`; a window that begins a series is shorter.
    """
    if history > task.num_steps:
        batch: Batch = task.reaching_back(part, spread(task.counts[part], size), history)
    else:
        batch = task.spread(part, size)
    return batch


def latest(batch: Batch, steps: int) -> Batch:
    """Return a batch of forecasts with only the last `steps` steps of each window; other batches are short enough."""
    if batch.x.ndim == 2 or batch.x.shape[1] <= steps:
        return batch
    kept = np.minimum(batch.length, steps)
    first = batch.length - kept
    rows = np.arange(len(batch.x))[:, None]
    step = np.arange(int(kept.max()))
    valid = step < kept[:, None]
    x = batch.x[rows, np.minimum(first[:, None] + step, batch.x.shape[1] - 1)]
    return batch._replace(x=np.where(valid[..., None], x, 0), length=kept)


def joined(first: Batch, second: Batch) -> Batch:
    """Return two batches as one; the shorter windows are padded."""
    steps = max(first.x.shape[1], second.x.shape[1])

    def parts(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Pad what has a value for each step, and join both."""
        has_steps = (one.shape[1:2], other.shape[1:2]) == (first.x.shape[1:2], second.x.shape[1:2])
        if has_steps:
            one, other = (
                np.pad(part, [(0, 0), (0, steps - part.shape[1])] + [(0, 0)] * (part.ndim - 2)) for part in (one, other)
            )
        return np.concatenate([one, other])

    mask = None if first.mask is None or second.mask is None else parts(first.mask, second.mask)
    y = parts(first.y, second.y) if first.mask is not None else np.concatenate([first.y, second.y])
    length = np.concatenate([first.length, second.length])
    return Batch(parts(first.x, second.x), length, y, mask)


def standing(task: Task, outputs: np.ndarray, batch: Batch) -> float:
    """Return the score of outputs by the task's metric, with the sign that makes more better."""
    score = task.score(outputs, batch)[task.metric]
    return score if task.goal == "maximize" else -score


def forecast_sizes(task: Any) -> dict[str, int]:
    """Return the number of target columns and the horizon of a forecast."""
    return {"targets": len(task.target), "horizon": task.horizon}
