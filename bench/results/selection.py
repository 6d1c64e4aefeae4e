"""What decides between runs: their validation scores, objectives and limits, never the test split."""

from collections.abc import Iterable, Sequence

from bench.results.record import RunRecord

CLEARLY_FEWER = 2
"""One configuration needs, from seed to seed, up to twice the sequences (adding at 25 steps: 14,400 to 30,400)."""


def objective(record: RunRecord, name: str) -> float | None:
    """Return what a run achieved of an objective, in its own unit and direction; None where it is not known."""
    if name == "quality":
        return record.val_score
    if name == "latency":
        return record.inference_milliseconds
    if name == "memory":
        return None if record.peak_memory_bytes is None else record.peak_memory_bytes / 2**30
    if name == "parameters":
        return record.num_parameters or None
    return record.seconds.total if record.cost_usd is None else record.cost_usd


def counted_val(record: RunRecord) -> float | None:
    """Return the validation score that a run counts with: a failed one is never dropped, but has learned nothing."""
    return record.asked.chance if record.state == "failed" else record.val_score


def counted_test(record: RunRecord) -> float | None:
    """Return the test score that a confirm run counts with, likewise; None where the test split is still closed."""
    return record.asked.chance if record.state == "failed" else record.test_score


def violations(record: RunRecord) -> dict[str, float]:
    """Return by how much of each limit a run exceeds it: 0.5 is half as much again, negative is room left."""
    limits = record.config.limits
    found = {
        "inference_ms": (objective(record, "latency"), limits.inference_ms),
        "parameters": (objective(record, "parameters"), limits.parameters),
        "memory_gb": (objective(record, "memory"), limits.memory_gb),
        "cost_usd": (record.cost_usd, limits.cost_usd),
    }
    return {name: value / limit - 1 for name, (value, limit) in found.items() if value is not None and limit}


def is_feasible(record: RunRecord) -> bool:
    """Whether a run keeps to all limits it was measured against."""
    return all(excess <= 0 for excess in violations(record).values())


def best_trials(records: Iterable[RunRecord], top_k: int) -> list[RunRecord]:
    """Return the screening runs that are worth confirming, best first; empty where none is complete and feasible.

    A solved one goes before an unsolved one. Of the solved, whose scores differ by noise, the first trial, unless a
    later one needed at most half its sequences: less would be chosen for a lucky seed. Of the unsolved, the better
    validation score; of equals the earlier trial. With several objectives only what nothing else dominates.
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
    return best or max(screened, key=signed_val)


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
