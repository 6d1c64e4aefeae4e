"""The metrics that are derived from a stored run record: one entry of `METRICS` is one column of the leaderboard."""

from collections.abc import Callable
from typing import NamedTuple

from bench.config.contracts import Goal
from bench.results.record import RunRecord


class Metric(NamedTuple):
    """A number that can be computed from the record of one run."""

    unit: str
    goal: Goal
    title: str
    compute: Callable[[RunRecord], float | None]  # None: the record does not hold the number


def _speed(key: str) -> Callable[[RunRecord], float | None]:
    """Return a function that reads one measurement of the exclusive pass."""
    return lambda record: (record.speed or {}).get(key)


def _spread(key: str, what: str) -> Metric:
    title = f"Spread of the repeats of {what} in the exclusive pass: interquartile range divided by the median."
    return Metric("ratio", "minimize", title, _speed(f"{key}_spread"))


def _tokens_per_second(record: RunRecord) -> float | None:
    return record.speed["train_sequences_per_second"] * record.asked.num_steps if record.speed else None


def _peak_memory_mib(record: RunRecord) -> float | None:
    return record.peak_memory_bytes / 2**20 if record.config.phase == "speed" and record.peak_memory_bytes else None


METRICS = {
    "inference_flops_per_sequence": Metric(
        "FLOPs",
        "minimize",
        "Floating-point operations of inference on one sequence of training length, counted on the meta device.",
        _speed("inference_flops_per_sequence"),
    ),
    "inference_sequences_per_second": Metric(
        "sequences/s",
        "maximize",
        "Inference throughput in the exclusive pass: batch size divided by the median time of a forward pass.",
        _speed("inference_sequences_per_second"),
    ),
    "inference_spread": _spread("inference", "a forward pass"),
    "latency_p50_milliseconds": Metric(
        "ms",
        "minimize",
        "Median time of inference on a single sequence, in the exclusive pass.",
        _speed("latency_p50_milliseconds"),
    ),
    "latency_p95_milliseconds": Metric(
        "ms",
        "minimize",
        "The 95th percentile of the time of inference on a single sequence, in the exclusive pass.",
        _speed("latency_p95_milliseconds"),
    ),
    "latency_spread": _spread("latency", "inference on a single sequence"),
    "num_parameters": Metric(
        "parameters",
        "minimize",
        "Trainable parameters of encoder, embedding and head.",
        lambda record: record.num_parameters or None,
    ),
    "peak_memory_mib": Metric(
        "MiB",
        "minimize",
        "Peak memory that training steps added to their process, or that the GPU's allocator held, in the exclusive "
        "pass.",
        _peak_memory_mib,
    ),
    "seconds_to_solve": Metric(
        "s",
        "minimize",
        "Training time until the task was solved, without validations, while other runs shared the machine.",
        lambda record: record.seconds_to_solve,
    ),
    "sequences_to_solve": Metric(
        "sequences",
        "minimize",
        "Training sequences until the second of two consecutive validations that reached the task's threshold.",
        lambda record: record.sequences_to_solve,
    ),
    "state_size": Metric(
        "numbers",
        "minimize",
        "Numbers that the model carries from one step to the next at the end of a training sequence.",
        lambda record: record.state_size,
    ),
    "streaming_p50_milliseconds": Metric(
        "ms",
        "minimize",
        "Median time of the last step of a sequence, in the exclusive pass; causal models only.",
        _speed("streaming_p50_milliseconds"),
    ),
    "streaming_p95_milliseconds": Metric(
        "ms",
        "minimize",
        "The 95th percentile of the time of the last step of a sequence, in the exclusive pass; causal models only.",
        _speed("streaming_p95_milliseconds"),
    ),
    "streaming_spread": _spread("streaming", "the last step of a sequence"),
    "train_flops_per_sequence": Metric(
        "FLOPs",
        "minimize",
        "Floating-point operations of training on one sequence, backward pass included, counted on the meta device.",
        _speed("train_flops_per_sequence"),
    ),
    "train_seconds": Metric(
        "s",
        "minimize",
        "Training time of a confirm run, without validations, while other runs shared the machine.",
        lambda record: record.seconds.train if record.config.phase == "confirm" else None,
    ),
    "train_sequences_per_second": Metric(
        "sequences/s",
        "maximize",
        "Training throughput in the exclusive pass: batch size divided by the median time of a step.",
        _speed("train_sequences_per_second"),
    ),
    "train_spread": _spread("train", "an optimiser step"),
    "train_step_milliseconds": Metric(
        "ms",
        "minimize",
        "Median time of one optimiser step on a batch, in the exclusive pass.",
        _speed("train_step_milliseconds"),
    ),
    "train_tokens_per_second": Metric(
        "tokens/s",
        "maximize",
        "Training throughput in steps (tokens, where the task has tokens), in the exclusive pass.",
        _tokens_per_second,
    ),
}
"""The metrics by name, in the order of the leaderboard's columns."""
