"""The score of a model, its interval and its rank, from the confirm runs of its configuration."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.results import sampling, stats
from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord
from bench.results.selection import counted_test
from bench.wording import count


def score(confirmed: Sequence[RunRecord]) -> dict[str, Any]:
    """Return the columns score, score_is, ci_low, ci_high, ci_of and, if the task can be solved, solved, solved_share.

    A task that can be solved: k of n seeds with the exact interval, and the median score, since a mean of solved and
    unsolved runs says nothing. All others: the mean score and its interval. A run that failed has not solved the task
    and counts with the chance score. If all runs failed there is no score.
    """
    if not confirmed:
        return {}
    scores = [value for record in confirmed if (value := counted_test(record)) is not None]
    if all(record.state == "failed" for record in confirmed):
        scores = []
    if confirmed[0].asked.solved is None:
        low, high = stats.score_interval(scores, confirmed[0].asked.ranks_by)
        value = statistics.fmean(scores) if scores else None
        return {"score": value, "score_is": "mean", "ci_low": low, "ci_high": high, "ci_of": "mean score"}
    solved = sum(bool(record.solved) for record in confirmed)
    low, high = stats.clopper_pearson(solved, len(confirmed))
    value = statistics.median(scores) if scores else None
    interval = {"ci_low": low, "ci_high": high, "ci_of": "share of seeds that solve"}
    return {"score": value, "score_is": "median", "solved": solved, "solved_share": solved / len(confirmed)} | interval


def of_test_run(test: RunRecord, folder: Path) -> str:
    """Return the score in the leaderboard's row from a test run that was just repeated, as text.

    The confirm runs, and the test runs of other seeds, are read from beside the test run's `folder`. Raises StoreError
    if a record is damaged.
    """
    trial = test.config.id.trial
    stored = [RunRecord.read(path.parent) for path in sorted(folder.parent.glob(f"{trial.name}-*/record.json"))]
    records = [record for record in stored if record is not None and record.config.run != test.config.run]
    as_trial = test.model_copy(update={"config": test.config.model_copy(update={"run": str(trial)})})
    confirmed = CellRuns((*records, test), top_k=1).confirmations(as_trial)
    tested = [record for record in confirmed if counted_test(record) is not None]
    if not tested:
        return "not known: the records of the confirm runs are missing"
    row = score(tested)
    seeds = f"{row['score_is']} of {count(len(tested), 'seed')}"
    solved = f", solved on {row['solved']}" if "solved" in row else ""
    return f"{row['score']:.4g} {test.asked.ranks_by}, {seeds}{solved}"


def rank(models: Sequence[Sequence[RunRecord]]) -> list[int]:
    """Return the rank of each model from its confirm runs: one more than the number of models shown to be better."""
    return stats.ranks([[a is not b and is_better(a, b) for b in models] for a in models])


def is_better(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> bool:
    """Return whether the confirm runs show that a is better than b."""
    if a[0].asked.solved is not None:
        return stats.solves_more([bool(record.solved) for record in a], [bool(record.solved) for record in b])
    # Paired by seed: runs with equal seeds see the same data in the same order.
    by_seed = {record.config.seed: record for record in b}
    pairs = [(record, by_seed[record.config.seed]) for record in a if record.config.seed in by_seed]
    scores = [[value for run in side if (value := counted_test(run)) is not None] for side in zip(*pairs, strict=True)]
    sign = a[0].asked.test_sign
    return len(pairs) > 1 and stats.scores_higher(*([sign * value for value in side] for side in scores))


def within_sampling(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> bool:
    """Return whether other test examples could reverse the difference of two mean scores on the same test split.

    False if it is not known, and for tasks that can be solved, whose ranks rest on seeds alone.
    """
    left_out, means = [], []
    for runs in (a, b):
        left_out.append([part for run in runs for part in run.left_out.values()])
        tested = [value for run in runs if (value := counted_test(run)) is not None]
        if len(left_out[-1]) != len(tested) or not tested:
            return False
        means.append(statistics.fmean(tested))
    return abs(means[0] - means[1]) <= sampling.difference_half_width(*left_out)


def order(row: dict[str, Any]) -> tuple[float, ...]:
    """Return the key that sorts ranked rows: rank, seeds solved, sequences to solve, score."""
    value, sign = row.get("score"), 1 if row["goal"] == "maximize" else -1
    solved, sequences = row.get("solved") or 0, row.get("sequences_to_solve") or math.inf
    return row["rank"], -solved, sequences, math.inf if value is None else -sign * value
