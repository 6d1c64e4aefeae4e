"""The contracts that every model, every task and every predictor fulfils.

Read `Model` to write your own model and `Task` to write your own task. `tests/contracts/` checks each file of
`bench/models/` and `bench/tasks/` against them, and `bench check FILE.py` checks your own model.

B batch size, L steps, D input channels, H output channels of a model, C outputs of a task, N examples.
"""

from __future__ import annotations

import functools
import zlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

SplitName = Literal["val", "test"]
Goal = Literal["maximize", "minimize"]
Kind = Literal[
    "synthetic", "forecasting", "series", "text", "tagging", "language", "translation", "music", "transcription"
]
Loss = Literal["cross_entropy", "mse", "bernoulli", "ctc"]
Keep = Literal["outputs", "nll", "tokens"]
_STREAMS = {"train": 0, "val": 1, "test": 2, "length": 3}


class Batch(NamedTuple):
    """The sequences of one batch or of one split, padded on the right with zeros."""

    x: np.ndarray  # tokens (B, L) int64, or values (B, L, D) float32; with features of tokens (B, L, 1 + F) int64
    length: np.ndarray  # (B,) int64: number of valid steps, at least 1
    y: np.ndarray  # (B,) or (B, L): classes int64, or targets float32; (B, C) or (B, L, C) for several
    mask: np.ndarray | None = None  # (B, L) bool: steps that are scored; None if a sequence has one target
    text: np.ndarray | None = None  # (B,) str: translations or transcripts of val and test as they were written
    marks: np.ndarray | None = None  # (B, K) int64: what only scores read of an example, see DetectionTask


class Model(Protocol):
    """An encoder of sequences: a `torch.nn.Module` named `Model` in a file of its own.

    `__init__(self, input_size: int, length: int, *, ...)` gets the number of input channels D (at least 1) and the
    number of steps of the longest training sequence (at least 1). The keyword-only arguments after them are what a
    search space may tune. Raise ValueError for a combination that cannot be built: the trial fails with that message.

    Embedding, dropout, readout, loss and optimiser are the same for all models and are added around the encoder.

    Three rules hold for every input. Sequences are padded on the right, and padding never changes a valid output.
    `forward` accepts any number of steps from 1 on, also more than `length`. Outputs have the device and the dtype of
    the input: operations are counted on the meta device, and these rules are checked in float64
    (bench/training/model_checks.py).

    Example, a complete model:

        import torch
        from torch import nn

        class Model(nn.Module):
            causal = True

            def __init__(self, input_size, length, *, hidden_size=64):
                super().__init__()
                self.rnn = nn.GRU(input_size, hidden_size, batch_first=True)
                self.output_size = self.summary_size = hidden_size

            def forward(self, x_BLD, length_B, state=None):
                return self.rnn(x_BLD, state)

            def summary(self, h_BLH, length_B):
                return h_BLH[torch.arange(len(h_BLH), device=h_BLH.device), length_B - 1]

            def state_size(self, length):
                return self.rnn.hidden_size
    """

    output_size: int  # H, at least 1: channels of the outputs of forward
    summary_size: int  # at least 1: channels of summary()
    causal: bool  # True if the output at step t depends on no later step; a class that never is sets False in its body

    def forward(self, x_BLD: Tensor, length_B: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs (B, L, H) and the state after the last step.

        Args:
            x_BLD: Values or embedded tokens, (B, L, D), floating point.
            length_B: Number of valid steps of each sequence, (B,) int64, from 1 to L.
            state: None at the start of a sequence, or the state that an earlier call returned.

        A causal model resumes from `state`: feeding the steps in pieces gives the outputs of feeding them at once. The
        state may have any type. It is meaningful only if no sequence of the batch is padded.
        """

    def summary(self, h_BLH: Tensor, length_B: Tensor) -> Tensor:
        """Return one vector for each sequence, (B, summary_size), from the outputs of `forward`.

        Tasks with one target for each sequence read it; tasks with a target at every step read the outputs.
        """

    def state_size(self, length: int) -> int:
        """Return how many numbers the state of one sequence holds after `length` steps, at least 0.

        It is reported beside speed. Generation restarts its context if the size grows with `length`, as for attention.
        """


class Task(Protocol):
    """A question to models at one length: a class named `Task` in a file of its own in `bench/tasks/`.

    `__init__(self, length: int, *, ...)` gets the length, at least 1, whose meaning the task defines. Its keyword-only
    arguments all have defaults and are what the `[arguments]` of a dataset card may set. Raise DeclarationError for a
    value that is not supported, with the rule and the value found. Tasks do not import torch, because the coordinator
    reads their declarations.

    Inherit from `SyntheticTask` if sequences are drawn at random and from `StoredTask` if they come from files; both
    provide `train_batch` and `split`. The docstring of a task ends with a worked example, which the tests check. A task
    that reads files also has a class `Predictor`.

    Example, a complete task, "is the sum of the values positive?":

        import numpy as np
        from bench.config.contracts import Batch, SyntheticTask

        class Task(SyntheticTask):
            tokens, input_size, output_size, per_step, loss = False, 1, 2, False, "cross_entropy"
            metric, goal, chance, solved, causal = "accuracy", "maximize", 0.5, 0.99, False

            def __init__(self, length):
                self.length = self.num_steps = length
                self.arguments = {}

            def sample(self, rng, size, stream):
                x = rng.normal(size=(size, self.length, 1)).astype(np.float32)
                return Batch(x, np.full(size, self.length), (x.sum((1, 2)) > 0).astype(np.int64))

            def oracle(self, batch):
                return np.eye(2)[(batch.x.sum((1, 2)) > 0).astype(int)]

            def score(self, outputs, batch):
                return {"accuracy": float((outputs.argmax(-1) == batch.y).mean())}

            def baselines(self, size):
                return {"constant answer": float((self.split("test", size).y == 0).mean())}
    """

    tokens: bool  # True if x holds token numbers from 0 to input_size - 1, False if it holds values
    input_size: int  # size of the vocabulary, or number of channels D
    output_size: int  # C: number of classes, or of targets
    per_step: bool  # True if there is a target at each masked step, False if there is one for each sequence
    loss: Loss  # of raw outputs: logits, predicted values, C log odds; or, for ctc, logits of tokens and a blank, 0
    metric: str  # name of the score that decides, a key of what score() returns
    goal: Goal  # whether a larger or a smaller value of the metric is better
    chance: float  # the metric of the best answer that ignores the input
    solved: float | None  # the task counts as solved from this value of the metric on; None: it never does
    causal: bool  # True if an answer at step t must not depend on later steps: bidirectional models do not apply
    kind: Kind  # whose training recipe applies, search_spaces/recipes/KIND.toml; "series": classes or numbers of values
    num_steps: int  # steps of the longest training sequence
    keep: Keep  # what score() gets: raw outputs, the negative log likelihood of each step, or the tokens written
    feature_sizes: tuple[int, ...]  # vocabularies of the features that follow a token in x; () if x is (B, L)

    def train_batch(self, seed: int, number: int, size: int) -> Batch:
        """Return training batch `number`, from 0 on, with `size` sequences: a pure function of the arguments."""

    def split(self, name: SplitName, size: int) -> Batch:
        """Return at most `size` sequences of a split: the same for every model and every seed."""

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the metrics of a whole split by name.

        Args:
            outputs: Raw outputs (B, C), or (B, L, C) with `per_step`, float32. If `keep` is "nll": the negative log
                likelihood of the target in nats, (B, L), because the outputs of a large vocabulary would fill memory.
                If `keep` is "tokens": the numbers of the tokens that were written, (B, T) int64; `report` has more
                scores, and `constant(size)` is the best answer that ignores the input.
            batch: The split that the outputs belong to.
        """

    def baselines(self, size: int) -> dict[str, float]:
        """Return the metric of answers that need no training examples by name, scored on `split("test", size)`.

        Tasks that are drawn at random know the best constant answer and the best one without regard to order. What is
        fitted to stored examples is in bench/baselines/.
        """


STRETCHES = 16
"""Stretches of val or test that are read side by side where a state is carried over from window to window.

Only the first window of each begins without a state; the usual protocol reads about ten (Merity et al., 2018,
https://arxiv.org/abs/1708.02182).
"""


@runtime_checkable
class TextTask(Protocol):
    """What a task adds if its trained models can generate texts; see bench/training/generation.py."""

    meta: dict[str, Any]  # `vocabulary`, the tokens by their numbers, and `unit`: byte, character or word
    parts: Mapping[str, np.ndarray]  # token numbers of train, val and test, (N,) int64

    def split(self, name: SplitName, size: int) -> Batch:
        """Return at most `size` sequences of a split, as every task does; STRETCHES stretches if not all."""

    def stream_batch(self, seed: int, number: int, size: int) -> Batch:
        """Return training batch `number`, from 0 on, whose sequences continue those of the batch before."""

    def decode(self, numbers: Sequence[int]) -> str:
        """Return the text of token numbers."""

    def n_gram_model(self, order: int) -> Any:
        """Return an n-gram model of the training part, with `nats(numbers)` and `probabilities(before)`."""


@runtime_checkable
class ForecastTask(Protocol):
    """What a task adds if its windows and answers are rows of the same series.

    The first `num_targets` channels of x are the targets and the others are features. An answer holds the rows of the
    horizon one after the other, each with all targets: C = horizon * num_targets. Windows are not padded.
    """

    num_targets: int  # T, at least 1
    horizon: int  # H, at least 1: rows after the window
    num_steps: int  # rows of a window
    input_size: int  # D: targets and features


@runtime_checkable
class TranslationTask(Protocol):
    """What a task adds if an answer is a sequence of tokens of its own; see bench/training/translation.py.

    x holds the source, and y the numbers of the target's tokens, (B, L) int64, in the steps that the mask selects: they
    are no answers to the steps of x beside them. Token 0 of both vocabularies is <unk>, and token 1 of the target's is
    <eos>, which ends every target and is what the first word follows.
    """

    input_size: int  # size of the vocabulary of the source
    output_size: int  # size of the vocabulary of the target
    num_steps: int  # of the longest source in training
    target_steps: int  # of the longest target in training, with <eos>; no longer one is written


@runtime_checkable
class DetectionTask(Protocol):
    """What a task adds if models learn what is normal and are scored on how well they find anomalies.

    Validation has no anomalies in general, so `metric` measures how well its rows are forecast: it stops training and
    chooses models. `test_metric` measures detection on the test split: it is the score and ranks models. Other tasks
    have one metric for both.

    A cheap baseline may forecast nothing: its outputs are scores (B,), for which `score` returns no measure. Then no
    choice of validation can name it.
    """

    test_metric: str | None  # None: there are no labels, and `metric` ranks on the test split too

    def calibration(self, outputs: np.ndarray, val: Batch) -> dict[str, Any]:
        """Return what the outputs for the validation part decide: the scale of scores and the threshold of flags."""

    def detection(self, outputs: np.ndarray, test: Batch, calibration: dict[str, Any]) -> dict[str, float]:
        """Return the measures of detection on all of the test part; none without labels."""


def scores_on_test(
    task: Task, outputs: np.ndarray, test: Batch, val_outputs: np.ndarray, val: Batch
) -> dict[str, float]:
    """Return the metrics of the test split; the outputs for validation decide where anomalies begin."""
    scores = task.score(outputs, test)
    if isinstance(task, DetectionTask):
        scores |= task.detection(outputs, test, task.calibration(val_outputs, val))
    return scores


def ranking_metric(task: Task) -> str:
    """Return the name of the metric that ranks models on the test split."""
    return getattr(task, "test_metric", None) or task.metric


# Prediction


class New(NamedTuple):
    """The sequences of a new file, as a trained model reads them."""

    x: np.ndarray  # as in Batch
    length: np.ndarray  # as in Batch
    about: dict[str, Any]  # `remarks` to print, and what the predictor needs to name its answers


class Labelled(NamedTuple):
    """The sequences of a new file with their targets, as `Task.split` would return them."""

    batch: Batch
    about: dict[str, Any]  # `remarks` to print, and what the predictor needs for scores in the units of the file


class Sampling(NamedTuple):
    """How a language model continues a prompt. Other tasks ignore it."""

    num_tokens: int = 200  # tokens to generate
    temperature: float = 0.8  # divides the logits; 0 takes the likeliest token
    seed: int = 0  # of the draws; prompt number i, from 0 on, is continued with seed + i


class Trained(Protocol):
    """A trained model, as a predictor uses it."""

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the raw outputs of sequences: (B, C), or (B, L, C) if the task has a target at every step."""

    def generate(self, prompt: np.ndarray, sampling: Sampling, never: int | None) -> np.ndarray:
        """Return the token numbers that continue a prompt (P,), without token `never`. Raises DeclarationError."""


class Predictor(Protocol):
    """How a trained model answers a new file: a class named `Predictor` in the module of every task that reads files.

    `arguments` are the task's arguments and `meta` is what the training data decided: vocabulary, classes, scale.
    Both are read from an exported folder, which may have been written by an earlier version.
    """

    arguments: dict[str, Any]
    meta: dict[str, Any]
    folders: bool = False  # whether `read` also accepts a folder
    fills: bool = True  # whether windows of too few rows repeat their first, as networks learned; else they are shorter

    @property
    def needs(self) -> dict[str, type]:
        """The keys of `meta` that answers depend on, and the types of their values."""
        return {"columns": list}

    def __init__(self, arguments: dict[str, Any], meta: dict[str, Any]) -> None:
        self.arguments, self.meta = arguments, meta

    @property
    def columns(self) -> dict[str, str]:
        """The columns of a table of new sequences, each "number" or "text"; {"path": "text"} if files are no tables."""
        keys = [self.arguments[key] for key in ("group", "time") if self.arguments.get(key) is not None]
        return dict.fromkeys(keys, "text") | dict.fromkeys(self.meta["columns"], "number")

    def read(self, path: Path, num_steps: int) -> New:
        """Return the sequences of a file, at most `num_steps` long as in training. Raises DataError."""

    def answer(self, model: Trained, new: New, sampling: Sampling) -> dict[str, Any]:
        """Return the columns of the table of predictions by name, all of one length. Raises BenchError."""

    def labelled(self, path: Path, num_steps: int) -> Labelled:
        """Return the sequences of a file with their targets, which `read` does not read. Raises DataError."""

    def scores(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the metrics of outputs for labelled sequences, as `Task.score` does."""

    def example(self, num_steps: int, rows: int = 1) -> dict[str, Any] | None:
        """Return a table of new sequences that shows the form, by columns; None if files are no tables."""
        times = np.datetime64("2026-01-01T00:00:00") + np.arange(rows) * np.timedelta64(1, "h")
        values = {"number": np.arange(rows) % 7.0, "text": ["a"] * rows}
        table = {name: values[kind] for name, kind in self.columns.items()}
        return table | {name: times.astype(str) for name in table if name == self.arguments.get("time")}


# What tasks inherit


class StoredTask:
    """Batches and splits of a task whose examples are stored.

    A subclass sets `self.counts`, the number of examples of train, val and test, and provides `take(part, places)` and
    the declarations of `Task`, `kind` among them.
    """

    keep: Keep = "outputs"
    feature_sizes: tuple[int, ...] = ()
    kind: Kind
    counts: dict[str, int]

    @property
    def num_train(self) -> int:
        """The number of training examples: one pass over them takes so many sequences."""
        return self.counts["train"]

    def baselines(self, size: int) -> dict[str, float]:
        """Return no answers: cheap baselines are fitted to stored examples."""
        return {}

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the examples of `part` at `places`, (B,) int64 from 0 to counts[part] - 1."""
        raise NotImplementedError

    def train_batch(self, seed: int, number: int, size: int) -> Batch:
        """Return the next examples in an order that is drawn anew for every pass over the training part."""
        return self._next(("train",), seed, number, size)

    def refit_batch(self, seed: int, number: int, size: int) -> Batch:
        """Return the next examples of the training and validation part together, as `train_batch` does."""
        return self._next(("train", "val"), seed, number, size)

    def _next(self, parts: tuple[str, ...], seed: int, number: int, size: int) -> Batch:
        counts = [self.counts[part] for part in parts]
        places = np.arange(number * size, (number + 1) * size)
        passes = np.unique(places // sum(counts))
        order = np.concatenate([_order(seed, int(each), sum(counts)) for each in passes])
        drawn, batches = order[places - passes[0] * sum(counts)], []
        for part, count in zip(parts, counts, strict=True):
            of_part = drawn[(drawn >= 0) & (drawn < count)]
            if len(of_part):
                batches.append(self.take(part, of_part))
            drawn = drawn - count
        return batches[0] if len(batches) == 1 else joined(batches)

    def split(self, name: SplitName, size: int) -> Batch:
        """Return a split, or `size` of its examples, evenly spaced."""
        return self.spread(name, size)

    def spread(self, part: str, size: int) -> Batch:
        """Return a part, also train, or `size` of its examples, evenly spaced."""
        return self.take(part, spread(self.counts[part], size))


def joined(batches: Sequence[Batch]) -> Batch:
    """Return several batches as one, padded to the longest of their sequences."""
    steps = max(batch.x.shape[1] for batch in batches)

    def padded(values: np.ndarray, per_step: bool) -> np.ndarray:
        fill = ((0, 0), (0, steps - values.shape[1])) if per_step else ()
        return np.pad(values, (*fill, *(((0, 0),) * (values.ndim - len(fill))))) if fill else values

    masks = [batch.mask for batch in batches if batch.mask is not None]
    x = np.concatenate([padded(batch.x, True) for batch in batches])
    y = np.concatenate([padded(batch.y, bool(masks)) for batch in batches])
    mask = np.concatenate([padded(part, True) for part in masks]) if masks else None
    return Batch(x, np.concatenate([batch.length for batch in batches]), y, mask)


def spread(count: int, size: int) -> np.ndarray:
    """Return the places of `count` examples, or of `size` of them, evenly spaced; (N,) int64."""
    return np.arange(count) if count <= size else np.arange(size) * count // size


@functools.lru_cache(maxsize=4)
def _order(seed: int, number: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, number]).permutation(count)


class SyntheticTask:
    """Batches and splits of a task whose sequences are drawn at random.

    A subclass sets `self.length` and `self.arguments`, what distinguishes its data from those of other cards, and
    provides `sample(rng, size, stream)`, `oracle(batch)`, which returns outputs that score perfectly, and the
    declarations of `Task`.
    """

    keep: Keep = "outputs"
    feature_sizes: tuple[int, ...] = ()
    kind: Kind = "synthetic"
    length: int
    arguments: dict[str, Any]

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw `size` sequences for the stream train, val, test or length; see `of_length`."""
        raise NotImplementedError

    def train_batch(self, seed: int, number: int, size: int) -> Batch:
        """Return fresh sequences: batch `number` of the endless stream of `seed`."""
        return self.sample(self._rng("train", seed, number), size, "train")

    def split(self, name: SplitName, size: int) -> Batch:
        """Return the fixed set `name`; it does not depend on the training seed."""
        return self.sample(self._rng(name, 0, 0), size, name)

    def of_length(self, size: int) -> Batch:
        """Return fixed sequences on which models trained at another length are tested.

        They are like those of training at this length, or, if these are of mixed lengths, all of this one.
        """
        return self.sample(self._rng("length", 0, 0), size, "length")

    def _rng(self, stream: str, seed: int, number: int) -> np.random.Generator:
        # The key always has five words: SeedSequence reads a shorter list as padded with zeros.
        data = zlib.crc32(repr((type(self).__module__, sorted(self.arguments.items()))).encode())
        return np.random.default_rng([data, self.length, _STREAMS[stream], seed, number])
