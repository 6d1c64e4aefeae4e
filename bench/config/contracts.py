"""The contracts: what every model and every task promises.

`tests/contracts/` holds each file of `bench/models/` and `bench/tasks/` to them.

B batch, L length, D input width, H hidden width, C outputs.
"""

from __future__ import annotations

import functools
import zlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

SplitName = Literal["val", "test"]
Goal = Literal["maximize", "minimize"]
_STREAMS = {"train": 0, "val": 1, "test": 2}


class Batch(NamedTuple):
    """Sequences of one batch or of one whole split, padded on the right with zeros."""

    x: np.ndarray  # tokens (B, L) int64, or values (B, L, D) float32
    length: np.ndarray  # (B,) int64: number of valid steps
    y: np.ndarray  # (B,) or (B, L): classes int64, or targets float32
    mask: np.ndarray | None = None  # (B, L) bool: the steps that are asked; None when one answer is asked at the end


class New(NamedTuple):
    """What a new file asks of a trained model.

    A task whose data come from files has in its module, `arguments` and `meta` being those it was trained with:
    `read_new(path, length, arguments, meta) -> New`;
    `answers(outputs, new, arguments, meta) -> dict`, columns of the table of predictions, from raw outputs;
    `columns(arguments, meta) -> dict`, columns of the table that `read_new` reads, each "number" or "text"; or "path"
    alone, where it is no table. Of language models prompts are read: `read_prompts(path) -> list[str]`.
    """

    x: np.ndarray  # as in Batch
    length: np.ndarray
    about: dict[str, Any]  # which sequence an answer belongs to, what else `answers` needs, and `remarks` to be shown


class Model(Protocol):
    """An encoder of sequences. The keyword-only arguments of `__init__` are what a search space may tune.

    `__init__(self, input_size: int, length: int, *, ...)`: `input_size` is D, `length` the longest training length.
    Padding is on the right and never changes a valid output. What `forward` makes has the device and the precision of
    its input: on the meta device operations are counted, and in double precision these promises are checked
    (bench/model_contract.py).
    """

    output_size: int  # H of h_BLH
    summary_size: int  # width of summary()
    causal: bool  # h at step t depends on no later step; where never, False stands in the body of the class

    def forward(self, x_BLD: Tensor, length_B: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return h_BLH and the state after the last step.

        A causal model goes on from `state`: feeding the steps one at a time gives the outputs of feeding them at once.
        The state is meaningful only where no sequence is padded.
        """

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return what stands for the whole sequence, (B, summary_size)."""

    def state_size(self, length: int) -> int:
        """Return how many numbers a sequence carries from one step to the next after `length` steps."""


class Task(Protocol):
    """What is asked of a model, at one length. Keyword-only arguments of `__init__` are what a card may set.

    `__init__(self, length: int, *, ...)`. Torch-free: the coordinator reads the declarations.
    """

    tokens: bool  # x holds token numbers below input_size, else input_size channels of values
    input_size: int
    output_size: int
    per_step: bool  # asks at the masked steps, else once at the end
    loss: Literal["cross_entropy", "mse"]
    metric: str  # the primary one of score()
    goal: Goal
    chance: float  # the primary metric of the best answer that does not look at the input
    solved: float | None  # the primary metric from which the task counts as solved; None: a matter of degree
    causal: bool  # an answer at step t may use no later step
    num_steps: int  # steps of the longest training sequence
    keep: Literal["outputs", "nll"]  # what score() gets: raw outputs, or of every step its negative log likelihood

    def train_batch(self, seed: int, number: int, size: int) -> Batch:
        """Return training batch `number` (from 0): a pure function of the arguments."""

    def split(self, name: SplitName, size: int) -> Batch:
        """Return a fixed set of at most `size` sequences, the same for every model and seed."""

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return metrics of raw outputs (B, C), or (B, L, C) where asked per step, over a whole split.

        With `keep` nll: of (B, L) negative log likelihoods in nats. A large vocabulary's outputs would fill the memory.
        """

    def baselines(self, size: int) -> dict[str, float]:
        """Return the primary metric of cheap baselines on `split("test", size)`."""


@runtime_checkable
class TextTask(Protocol):
    """What else a task has whose trained models can write texts: see bench/generation.py."""

    meta: dict[str, Any]  # `vocabulary`, the tokens by their numbers, and their `unit`
    parts: Mapping[str, np.ndarray]  # token numbers of train, val and test, (N,)

    def split(self, name: SplitName, size: int) -> Batch:
        """As of a Task."""

    def decode(self, numbers: Sequence[int]) -> str:
        """Return the text of token numbers."""

    def n_gram_model(self, order: int) -> Any:
        """Return an n-gram model of the training part, with `nats(numbers)` and `probabilities(before)`."""


class StoredTask:
    """Batches and splits of a task whose examples are stored.

    A subclass sets `self.counts` (examples of train, val and test) and gives `take(part, places)`: a Batch of the
    examples at these places of a part, and the declarations of `Task`.
    """

    keep: Literal["outputs", "nll"] = "outputs"
    counts: dict[str, int]

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the examples of `part` at `places`."""
        raise NotImplementedError

    def train_batch(self, seed: int, number: int, size: int) -> Batch:
        """Return the next examples in an order drawn anew for every pass over the training part."""
        count = self.counts["train"]
        places = np.arange(number * size, (number + 1) * size)
        passes = np.unique(places // count)
        order = np.concatenate([_order(seed, int(each), count) for each in passes])
        return self.take("train", order[places - passes[0] * count])

    def split(self, name: SplitName, size: int) -> Batch:
        """Return a part, or `size` of its examples, evenly spaced."""
        count = self.counts[name]
        return self.take(name, np.arange(count) if count <= size else np.arange(size) * count // size)


@functools.lru_cache(maxsize=4)
def _order(seed: int, number: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, number]).permutation(count)


class SyntheticTask:
    """Splits and batches of a task whose sequences are drawn at random.

    A subclass sets `self.arguments` (what distinguishes its data) and gives
    `sample(rng, size, stream)`, `oracle(batch)` (outputs that score perfectly) and the declarations of `Task`.
    """

    keep: Literal["outputs", "nll"] = "outputs"
    length: int
    arguments: dict[str, Any]

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw `size` sequences for the stream train, val or test."""
        raise NotImplementedError

    def train_batch(self, seed: int, number: int, size: int) -> Batch:
        """Return fresh sequences: batch `number` of the endless stream of `seed`."""
        return self.sample(self._rng("train", seed, number), size, "train")

    def split(self, name: SplitName, size: int) -> Batch:
        """Return the fixed set `name`; no training seed changes it."""
        return self.sample(self._rng(name, 0, 0), size, name)

    def _rng(self, stream: str, seed: int, number: int) -> np.random.Generator:
        # The key always has five words: SeedSequence reads a shorter list as padded with zeros.
        data = zlib.crc32(repr((type(self).__module__, sorted(self.arguments.items()))).encode())
        return np.random.default_rng([data, self.length, _STREAMS[stream], seed, number])
