"""Which run of a cell is chosen: by validation alone, and within the limits given."""

import statistics
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
    return best or max(screened, key=_signed)


def _signed(record: RunRecord) -> float:
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


def to_confirm(records: Sequence[RunRecord], top_k: int) -> list[RunRecord]:
    """Return the trials whose configurations are trained again on fresh seeds: the best ones and the default."""
    best = best_trials(records, top_k)
    default = [r for r in records if r.config.phase == "screen" and r.config.number == 0 and r.state == "complete"]
    return best + [record for record in default if best and record not in best]


def confirmations(records: Iterable[RunRecord], trial: RunRecord) -> list[RunRecord]:
    """Return the runs that confirm a trial, by the number of their seed, with their test scores where there are any.

    A solved run whose test score misses the threshold was solved on validation by luck: it counts as not solved.
    """
    prefix = trial.config.run + "-s"
    tests: dict[str, dict[str, float]] = {}
    found: list[RunRecord] = []
    for record in records:
        if record.config.phase == "confirm" and record.config.run.startswith(prefix):
            found.append(record)
        elif record.config.phase == "test":  # there is another where seeds were added, or the choice changed
            tests |= record.tests
    found.sort(key=lambda record: record.config.number)
    return [_tested(record, tests[record.config.run]) if record.config.run in tests else record for record in found]


def _tested(record: RunRecord, test: dict[str, float]) -> RunRecord:
    update: dict[str, object] = {"test": test}
    threshold, sign = record.asked.solved, record.asked.sign
    if record.solved and threshold is not None and sign * test[record.asked.metric] < sign * threshold:
        update |= {"solved": False, "sequences_to_solve": None, "seconds_to_solve": None}
    return record.model_copy(update=update)


def choose(records: Sequence[RunRecord], top_k: int) -> RunRecord | None:
    """Return the trial whose configuration is the cell's: the best of the confirmed ones by validation on fresh seeds.

    Before any confirmation, the best of the screening. Solve-type: most seeds solved, then the fewest sequences; else
    the mean score. A seed that failed counts before either. Of equals the one that screening put first.
    """
    candidates = [record for record in to_confirm(records, top_k) if is_feasible(record)]
    return max(candidates or best_trials(records, top_k), key=lambda trial: _standing(records, trial), default=None)


def winner(cells: Iterable[Sequence[RunRecord]], top_k: int) -> RunRecord | None:
    """Return the confirm run that stands for a dataset at a length: the best seed of the best of the cells' choices.

    By validation alone, as within a cell; None where nothing was confirmed.
    """
    best: tuple[tuple[float, ...], RunRecord] | None = None
    for records in cells:
        chosen = choose(records, top_k)
        runs = [run for run in confirmations(records, chosen) if run.state == "complete"] if chosen else []
        if chosen is None or not runs:
            continue
        standing = _standing(records, chosen)
        if best is None or standing > best[0]:
            best = standing, max(runs, key=_signed)
    return best[1] if best else None


def _standing(records: Sequence[RunRecord], trial: RunRecord) -> tuple[float, ...]:
    """Return what configurations are ordered by: the confirm runs' validation, never their test."""
    runs = confirmations([record for record in records if record.config.phase != "test"], trial)
    scores = [run.asked.sign * score for run in runs if (score := counted_val(run)) is not None]
    worst = float("-inf")
    if trial.asked.solved is None:
        return (-sum(run.state == "failed" for run in runs), statistics.fmean(scores) if scores else worst)
    sequences = [run.sequences_to_solve for run in runs if run.sequences_to_solve is not None]
    fewest = -statistics.median(sequences) if sequences else worst
    return (sum(bool(run.solved) for run in runs), fewest, statistics.fmean(scores) if scores else worst)
