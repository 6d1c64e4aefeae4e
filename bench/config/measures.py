"""The scores that tasks give to answers: their direction, their range, and the one by which a sweep selects.

B batch, L steps, C outputs.
"""

import math
from typing import NamedTuple

import numpy as np

from bench.config.contracts import Batch, Goal, StoredTask, Task
from bench.errors import DeclarationError, did_you_mean

MOST_EXAMPLES = 2_000
"""Examples on which the score of a constant answer is computed, at most: every run computes it at its start."""


class Measure(NamedTuple):
    """A score of the answers for one split."""

    unit: str
    goal: Goal
    least: float
    most: float
    title: str
    selects: bool = True  # False: it needs anomalies, which validation does not have in general


MEASURES = {
    "accuracy": Measure("share", "maximize", 0.0, 1.0, "Share of correct answers."),
    "balanced_accuracy": Measure(
        "share", "maximize", 0.0, 1.0, "Recall, averaged over the classes that occur in the split."
    ),
    "macro_f1": Measure(
        "share", "maximize", 0.0, 1.0, "F1, averaged over the classes that occur in the split or in the answers."
    ),
    "recall": Measure("share", "maximize", 0.0, 1.0, "Share of symbols that are recalled correctly."),
    "sequence_accuracy": Measure("share", "maximize", 0.0, 1.0, "Share of sequences without a wrong answer."),
    "mse": Measure("variances", "minimize", 0.0, math.inf, "Mean squared error of standardised targets."),
    "mae": Measure("see the task", "minimize", 0.0, math.inf, "Mean absolute error: of forecasts, standardised."),
    "mase": Measure(
        "errors", "minimize", 0.0, math.inf, "Mean absolute error over that of the seasonal naive forecast in training."
    ),
    "r2": Measure("share", "maximize", -math.inf, 1.0, "Explained share of the target's variance."),
    "nats": Measure("nats/token", "minimize", 0.0, math.inf, "Mean negative log likelihood of a token."),
    "bits": Measure("bits/token", "minimize", 0.0, math.inf, "Mean negative log likelihood of a token."),
    "bleu": Measure("BLEU", "maximize", 0.0, 100.0, "Shared runs of one to four words with the reference (sacrebleu)."),
    "chrf": Measure("chrF", "maximize", 0.0, 100.0, "Shared runs of one to six characters with it (sacrebleu)."),
    "word_error_rate": Measure(
        "errors/word", "minimize", 0.0, math.inf, "Wrong, missing and additional words per word spoken (jiwer)."
    ),
    "character_error_rate": Measure(
        "errors/character", "minimize", 0.0, math.inf, "Wrong, missing and additional characters per one (jiwer)."
    ),
    "frame_nats": Measure(
        "nats/frame", "minimize", 0.0, math.inf, "Mean negative log likelihood of a frame, summed over its keys."
    ),
    "perplexity": Measure("tokens", "minimize", 1.0, math.inf, "Exponential of the mean nats of a token."),
    "average_precision": Measure(
        *("share", "maximize", 0.0, 1.0),
        "Average precision over the rows of the test split; a constant score has their share of anomalies.",
        selects=False,
    ),
    "vus_pr": Measure(
        *("share", "maximize", 0.0, 1.0),
        "Average precision in which rows up to 50 from an anomaly count in part (volume under the surface).",
        selects=False,
    ),
    "event_f1": Measure(
        *("share", "maximize", 0.0, 1.0),
        "Harmonic mean of the precision of flagged rows and the recall of anomalies.",
        selects=False,
    ),
    "peak_accuracy": Measure(
        *("share", "maximize", 0.0, 1.0),
        "Share of series whose highest score lies at an anomaly, as in the UCR anomaly archive.",
        selects=False,
    ),
    "nab": Measure(
        *("points", "maximize", -math.inf, 100.0),
        "Score of the Numenta Anomaly Benchmark, standard profile, at the threshold that validation sets.",
        selects=False,
    ),
}
"""The measures by name. A task declares its primary one; `--metric` selects another that the task computes."""


def chances(task: Task) -> dict[str, float]:
    """Return the measures by which a sweep on a task may select, each with the score of a constant answer.

    The constant answer is the most frequent class of training, the training mean, or the frequencies of tokens. A task
    that can be solved has a threshold for its primary measure, and therefore no other.
    """
    if task.solved is not None or not isinstance(task, StoredTask):
        return {task.metric: task.chance}
    val = task.spread("val", MOST_EXAMPLES)
    scores = task.score(_constant(task, val), val)
    return {task.metric: task.chance} | {
        name: scores[name] for name in MEASURES if name in scores and name != task.metric
    }


def select(task: Task, name: str) -> None:
    """Make a measure the one that decides on a task. Raises DeclarationError if the task does not compute it."""
    known = chances(task)
    if name not in known:
        kind = type(task).__module__.rpartition(".")[2]
        rule = f"must be one of {', '.join(known)} for {kind}, but found {name!r}"
        raise DeclarationError(f"--metric: {rule}{did_you_mean(name, known)}")
    if name != task.metric:
        task.metric, task.goal, task.chance = name, MEASURES[name].goal, known[name]


def log_odds(answers: np.ndarray) -> np.ndarray:
    """Return the log odds of a one in each column of zeros and ones (N, C), with half of each counted besides, (C,)."""
    ones = answers.sum(0, dtype=np.float64) + 0.5
    return np.asarray(np.log(ones / (len(answers) + 1 - ones)))


def _constant(task: StoredTask, val: Batch) -> np.ndarray:
    """Return the outputs of the constant answer for a split, as `Task.score` gets them."""
    asked: Task = task  # type: ignore[assignment]
    if asked.keep == "nll":
        return np.full(val.y.shape, asked.chance)
    if asked.keep == "tokens":
        answer: np.ndarray = task.constant(len(val.x))  # type: ignore[attr-defined]
        return answer
    shape = (*val.y.shape, asked.output_size) if asked.per_step else (len(val.x), asked.output_size)
    if asked.loss == "mse":
        return np.zeros(shape, dtype=np.float32)
    train = task.spread("train", MOST_EXAMPLES)
    answers = train.y if train.mask is None else train.y[train.mask]
    if asked.loss == "bernoulli":
        return np.broadcast_to(log_odds(answers), shape)
    most_frequent = int(np.bincount(answers).argmax())
    return np.broadcast_to(np.eye(asked.output_size, dtype=np.float32)[most_frequent], shape)
