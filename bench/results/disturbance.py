"""Which times other processes disturbed: they are shown with a mark, and nothing is decided by them."""

from collections.abc import Iterable, Mapping
from typing import Any

from bench.results.record import FittedBaseline, RunRecord
from bench.wording import is_known

MOST_LOST = 0.2
"""Share of a run's time without a processor above which its duration is disturbed; on quiet machines .01 to .05."""

MARK = "*"

MEASUREMENTS = {
    "train_step_milliseconds": "train_step",
    "train_sequences_per_second": "train_step",
    "train_tokens_per_second": "train_step",
    "inference_step_milliseconds": "inference",
    "inference_sequences_per_second": "inference",
    "latency_p50_milliseconds": "latency",
    "latency_p95_milliseconds": "latency",
    "streaming_p50_milliseconds": "streaming",
    "streaming_p95_milliseconds": "streaming",
    "train_seconds": "training",
    "seconds_to_solve": "training",
}
"""The measurement that a column comes from: the word in `timing_disturbed` that marks its value."""

_OF_KEY = {"train": "train_step"}


def is_run_disturbed(record: RunRecord) -> bool:
    """Return whether other processes took so much of the processor that the duration of a run is too long.

    This is known of runs on one thread without a GPU, which compute all the time; other runs count as undisturbed.
    """
    config, seconds = record.config, record.seconds
    if config.takes_over is not None:  # it has computed nothing
        return False
    if record.cpu_seconds is None or config.device != "cpu" or config.threads * config.num_devices > 1:
        return False
    worked = seconds.total - seconds.waiting - seconds.logging - seconds.crashed
    return record.cpu_seconds < (1 - MOST_LOST) * worked


def of_speed(speed: Mapping[str, float] | None) -> list[str] | None:
    """Return the measurements of an exclusive pass that were disturbed; None if the pass does not say."""
    known = {
        key.removesuffix("_disturbed"): value for key, value in (speed or {}).items() if key.endswith("_disturbed")
    }
    return [_OF_KEY.get(key, key) for key, value in known.items() if value] if known else None


def of_baseline(fitted: FittedBaseline) -> str | None:
    """Return the column `timing_disturbed` of a cheap baseline, whose latency alone is checked."""
    if fitted.latency_disturbed is None:
        return None
    return words(["latency"] if fitted.latency_disturbed else [])


def undisturbed(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Return the runs whose duration is undisturbed, or all runs if there is none."""
    records = list(records)
    return [record for record in records if not is_run_disturbed(record)] or records


def words(names: Iterable[str] | None) -> str | None:
    """Return the text of the column `timing_disturbed`: the measurements, `no`, or None if nothing is known."""
    return None if names is None else ", ".join(names) or "no"


def any_marked(noted: Iterable[Any]) -> bool:
    """Return whether any of the values of the column `timing_disturbed` names a measurement."""
    return any(is_known(value) and value != "no" for value in noted)


def is_marked(row: Mapping[str, Any], column: str) -> bool:
    """Return whether the value of a column in a row of a leaderboard, or of `bench speed`, is disturbed."""
    noted = row.get("timing_disturbed")
    name = MEASUREMENTS.get(column, column.removesuffix("_milliseconds"))
    return is_known(noted) and name in str(noted).split(", ")


def mark(row: Mapping[str, Any], column: str) -> str:
    """Return what follows the value of a column in a table: an asterisk if it is disturbed, else nothing."""
    return MARK if is_marked(row, column) else ""


def is_left_out(record: RunRecord) -> bool:
    """Return whether a disturbed time kept a complete trial from being chosen, or from standing on a Pareto front.

    A disturbed time is an upper bound. Below a limit it shows that the trial is within it; above, it shows nothing, and
    the trial is not chosen.
    """
    if record.config.phase != "screen" or record.state != "complete":
        return False
    limits, asked = record.config.limits, record.config.objectives
    latency, usd = record.inference_milliseconds, record.cost_usd
    if record.inference_disturbed and latency is not None:
        over = limits.inference_ms is not None and latency > limits.inference_ms
        if over or "latency" in asked:
            return True
    over = limits.cost_usd is not None and usd is not None and usd > limits.cost_usd
    return is_run_disturbed(record) and (over or "cost" in asked)
