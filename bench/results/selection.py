"""What decides between runs: their validation scores, objectives and limits, never the test split."""

import math
from collections.abc import Iterable, Sequence

from bench.config.measures import MEASURES
from bench.results.disturbance import is_run_disturbed
from bench.results.record import RunRecord

CLEARLY_FEWER = 2
"""Between seeds, one configuration needs up to twice as many sequences (adding at 25 steps: 14,400 to 30,400)."""


def objective(record: RunRecord, name: str) -> float | None:
    """Return the value of an objective in its own unit and direction, or None if it is unknown.

    A time that other processes disturbed is unknown.
    """
    if name == "quality":
        return record.val_score
    if name == "latency":
        return None if record.inference_disturbed else record.inference_milliseconds
    if name == "memory":
        return None if record.peak_memory_bytes is None else record.peak_memory_bytes / 2**30
    if name == "parameters":
        return record.num_parameters or None
    if is_run_disturbed(record):
        return None
    return record.seconds.total if record.cost_usd is None else record.cost_usd


def counted_val(record: RunRecord) -> float | None:
    """Return the validation score of a run. A failed run counts with the chance score."""
    return record.asked.chance if record.state == "failed" else record.val_score


def counted_test(record: RunRecord) -> float | None:
    """Return the test score of a confirm run, None while the test split is closed.

    A failed run counts with the chance score; where another metric ranks on the test split, with the worst value.
    """
    if record.state == "failed":
        asked = record.asked
        return asked.chance if asked.test_metric is None else MEASURES[asked.test_metric].least
    return record.test_score


def violations(record: RunRecord) -> dict[str, float]:
    """Return the relative excess over each limit: 0.5 is 50 % above the limit, a negative number is below it.

    A disturbed time is an upper bound and is compared as it was measured; see disturbance.is_left_out.
    """
    limits = record.config.limits
    found = {
        "inference_ms": (record.inference_milliseconds, limits.inference_ms),
        "parameters": (objective(record, "parameters"), limits.parameters),
        "memory_gb": (objective(record, "memory"), limits.memory_gb),
        "cost_usd": (record.cost_usd, limits.cost_usd),
    }
    return {name: value / limit - 1 for name, (value, limit) in found.items() if value is not None and limit}


def is_feasible(record: RunRecord) -> bool:
    """Return whether a run is within all limits."""
    return all(excess <= 0 for excess in violations(record).values())


def best_trials(records: Iterable[RunRecord], top_k: int) -> list[RunRecord]:
    """Return the screening runs to confirm, best first. The list is empty if none is complete and within the limits.

    Solved trials come first. Their scores differ only by noise, so the earliest is preferred, unless a later one needed
    at most half as many sequences; a smaller difference may be a lucky seed. Unsolved trials are ordered by validation
    score, then by number. With several objectives, only trials that no other dominates are considered.
    """
    screened = [
        record
        for record in records
        if record.config.phase == "screen" and record.state == "complete" and is_feasible(record)
    ]
    screened.sort(key=lambda record: record.config.number)
    if screened and len(screened[0].config.objectives) > 1:
        screened = pareto(screened, screened[0].config.objectives)
    chosen: list[RunRecord] = []
    while screened and len(chosen) < top_k:
        best = _best(screened)
        chosen.append(best)
        screened.remove(best)
    return chosen


def _best(screened: Sequence[RunRecord]) -> RunRecord:
    best: RunRecord | None = None
    for record in screened:
        if record.sequences_to_solve is None:
            continue
        if best is None or CLEARLY_FEWER * record.sequences_to_solve <= (best.sequences_to_solve or 0):
            best = record
    return best or max(screened, key=quality)


def quality(record: RunRecord) -> tuple[float, float]:
    """Return what orders runs with a validation score: the score, and among equals a smaller loss; more is better."""
    return signed_val(record), -math.inf if record.val_loss is None else -record.val_loss


def signed_val(record: RunRecord) -> float:
    """Return the validation score of a complete run with the sign that makes more better."""
    assert record.val_score is not None  # a complete run has one: the sweep sees to it
    return record.asked.sign * record.val_score


def pareto(records: Sequence[RunRecord], objectives: Sequence[str]) -> list[RunRecord]:
    """Return the runs that no other one matches in every objective and beats in one, in their order."""
    points = [losses(record, objectives) for record in records]

    def dominated(point: tuple[float, ...]) -> bool:
        return any(other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in points)

    return [record for record, point in zip(records, points, strict=True) if not dominated(point)]


def losses(record: RunRecord, objectives: Sequence[str]) -> tuple[float, ...]:
    """Return the objectives of a run as numbers of which less is better; infinite where not known."""
    values = ((name, objective(record, name)) for name in objectives)
    sign = -record.asked.sign
    return tuple(float("inf") if v is None else sign * v if name == "quality" else v for name, v in values)
