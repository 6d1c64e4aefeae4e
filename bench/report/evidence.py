"""What a report shows, as tables: each a pure function of the run records of a sweep, a row a baseline and length.

The leaderboard says who is best; these say at what price, how sure, and what else was tried.
"""

import math
import re
import statistics
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.config.sweep_settings import INDEPENDENT_SAMPLERS
from bench.results import bill, stats
from bench.results.cell_runs import by_cell
from bench.results.record import RunRecord, outcome
from bench.results.selection import counted_val, is_feasible, losses, objective, pareto
from bench.sweep.estimate import Estimate

Cells = dict[tuple[str, int, str], list[RunRecord]]
"""Runs by dataset, length and model (search space)."""


def cells(records: Sequence[RunRecord]) -> Cells:
    """Return the runs of each cell, in the order in which the cells first appear; cheap baselines are of none."""
    found: Cells = {}
    for record in records:
        config = record.config
        if config.phase != "baselines":
            found.setdefault((config.dataset, config.length, config.space), []).append(record)
    return found


def outcomes(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return how the trials and confirm runs of each cell ended: a column `complete`, `pruned` and each cause.

    Columns: dataset, length, model, runs, complete, pruned, then every cause of failure that occurs.
    """
    rows = []
    for (dataset, length, model), runs in cells(records).items():
        ended = [run for run in runs if run.config.phase in ("screen", "confirm")]
        row: dict[str, Any] = {"dataset": dataset, "length": length, "model": model, "runs": len(ended)}
        row |= {"complete": 0, "pruned": 0}
        for run in ended:
            name = outcome(run)
            row[name] = row.get(name, 0) + 1
        rows.append(row)
    frame = pd.DataFrame(rows)
    counts = [name for name in frame.columns if name not in ("dataset", "length", "model")]
    frame[counts] = frame[counts].fillna(0).astype(int)
    return frame


def expected_performance(records: Sequence[RunRecord], unbiased: bool = True) -> pd.DataFrame:
    """Return the expected best validation score after n trials of a cell, and the device seconds they cost.

    Only where it is valid: trials that a sampler drew without regard to earlier scores (the default and warm starts
    are no draws), in cells without pruning. A failed trial is on the bill with the chance score. Columns: dataset,
    length, model, trials (n), device_seconds (n times the mean of a trial), score.
    """
    rows = []
    for (dataset, length, model), runs in cells(records).items():
        drawn = [r for r in runs if r.config.phase == "screen" and r.config.origin in INDEPENDENT_SAMPLERS]
        if not drawn or any(run.config.ask_pruner or run.state == "pruned" for run in drawn):
            continue
        asked = drawn[0].asked
        scores = [asked.sign * score for run in drawn if (score := counted_val(run)) is not None]
        curve = stats.expected_performance(scores, unbiased)
        seconds = statistics.fmean(run.device_seconds for run in drawn)
        for n, value in enumerate(curve, 1):
            row = {"dataset": dataset, "length": length, "model": model, "trials": n}
            rows.append(row | {"device_seconds": n * seconds, "score": asked.sign * value})
    return pd.DataFrame(rows, columns=["dataset", "length", "model", "trials", "device_seconds", "score"])


def default_against_tuned(records: Sequence[RunRecord], top_k: int) -> pd.DataFrame:
    """Return what tuning brought: mean validation scores of the default and of the tuned configuration on fresh seeds.

    The tuned one is what screening put first. The seeds that judge it here had no part in that, so gain and drop are
    without the luck of a choice; which of the confirmed ones is chosen in the end is told beside it. Columns: dataset,
    length, model, metric, default, tuned, gain (positive is better) with its 95 % interval, low and high (paired by
    seed; NaN below two seeds), default_solved, tuned_solved, seeds, screened (score with which the tuned one was
    picked), drop (by how much it was better then than on fresh seeds), picked (its trial), chosen (the cell's).
    """
    rows = []
    for (dataset, length, model), runs in by_cell(records, top_k).items():
        default, chosen, picked = runs.default, runs.chosen, next(iter(runs.best), None)
        if default is None or chosen is None or picked is None:
            continue
        both = [{run.config.seed: run for run in runs.confirm_runs(trial)} for trial in (default, picked)]
        seeds = sorted(both[0].keys() & both[1].keys())
        if not seeds:
            continue
        pair = [[found[seed] for seed in seeds] for found in both]
        scores = [[score for run in found if (score := counted_val(run)) is not None] for found in pair]
        means = [statistics.fmean(found) for found in scores]
        sign = picked.asked.sign
        low, high = stats.mean_interval([sign * (after - before) for before, after in zip(*scores, strict=True)])
        solved = [sum(bool(r.solved) for r in found) if picked.asked.solved is not None else None for found in pair]
        rows.append(
            {
                "dataset": dataset,
                "length": length,
                "model": model,
                "metric": picked.asked.metric,
                "default": means[0],
                "tuned": means[1],
                "gain": sign * (means[1] - means[0]),
                "low": low,
                "high": high,
                "default_solved": solved[0],
                "tuned_solved": solved[1],
                "seeds": len(seeds),
                "screened": picked.val_score,
                "drop": math.nan if picked.val_score is None else sign * (picked.val_score - means[1]),
                "picked": picked.config.number,
                "chosen": chosen.config.number,
            }
        )
    return pd.DataFrame(rows)


def pareto_front(records: Sequence[RunRecord], objectives: Sequence[str]) -> pd.DataFrame:
    """Return every complete trial that keeps to the limits, with its objectives, marked if nothing dominates it.

    Compared are the models of a dataset and length, under each rule of capacity. Columns: dataset, length, model,
    trial, one an objective, on_front, and hypervolume: of the front, between it and the worst value of each objective
    there, as a share of the box from the best to the worst.
    """
    groups: dict[tuple[str, int, str], list[RunRecord]] = {}
    for record in records:
        known = is_feasible(record) and all(objective(record, name) is not None for name in objectives)
        if record.config.phase == "screen" and record.state == "complete" and known:
            match = record.config.space.partition("@")[2]
            groups.setdefault((record.config.dataset, record.config.length, match), []).append(record)
    rows = []
    for (dataset, length, _), runs in groups.items():
        front = pareto(runs, objectives)
        on_front = {run.config.run for run in front}
        volume = _share_of_box([losses(run, objectives) for run in runs], [losses(run, objectives) for run in front])
        for run in runs:
            row: dict[str, Any] = {"dataset": dataset, "length": length, "model": run.config.space}
            row |= {"trial": run.config.number} | {name: objective(run, name) for name in objectives}
            rows.append(row | {"on_front": run.config.run in on_front, "hypervolume": volume})
    columns = ["dataset", "length", "model", "trial", *objectives, "on_front", "hypervolume"]
    return pd.DataFrame(rows, columns=columns)


def _share_of_box(points: list[tuple[float, ...]], front: list[tuple[float, ...]]) -> float:
    worst = [max(axis) for axis in zip(*points, strict=True)]
    best = [min(axis) for axis in zip(*points, strict=True)]
    box = math.prod(w - b for w, b in zip(worst, best, strict=True))
    return stats.hypervolume(front, worst) / box if box > 0 else math.nan


def study_bill(records: Sequence[RunRecord], cpu_watts: float | None) -> pd.DataFrame:
    """Return what each baseline cost over the whole study, with all that failed, was pruned, confirmed or tested.

    Columns: model, runs, failed, pruned, device_hours, screening_hours, confirming_hours, cpu_hours, kwh, energy_is,
    usd, train_sequences.
    """
    models: dict[str, list[RunRecord]] = {}
    for (_, _, model), runs in cells(records).items():
        models.setdefault(model, []).extend(runs)
    rows = []
    for model, runs in models.items():
        kwh, energy_is = bill.energy(runs, cpu_watts)
        hours = {phase: sum(r.device_seconds for r in runs if r.config.phase == phase) / 3600 for phase in _PHASES}
        cpu = [run.cpu_seconds for run in runs if run.cpu_seconds is not None]
        rows.append(
            {
                "model": model,
                "runs": len(runs),
                "failed": sum(run.state == "failed" for run in runs),
                "pruned": sum(run.state == "pruned" for run in runs),
                "device_hours": sum(run.device_seconds for run in runs) / 3600,
                "screening_hours": hours["screen"],
                "confirming_hours": hours["confirm"] + hours["test"],
                "cpu_hours": sum(cpu) / 3600,
                "kwh": kwh,
                "energy_is": energy_is,
                "usd": bill.usd(runs),
                "train_sequences": sum(run.train_sequences for run in runs),
            }
        )
    return pd.DataFrame(rows)


_PHASES = ("screen", "confirm", "test")


def generated(records: Sequence[RunRecord], top_k: int) -> pd.DataFrame:
    """Return what the texts of language models are like, of one seed each, and those of cheap samplers, in brackets.

    Columns: dataset, length, model, temperature, metric, score (on the test split), run (in its folder are the texts),
    and the measures of bench/generation.py.
    """
    tested = []
    for runs in by_cell(records, top_k).values():
        tested += [(run.config.space, run, run.test or {}) for run in runs.confirmed]
    for run in records:
        if run.config.phase == "baselines":
            tested += [(f"({name})", run, scores) for name, scores in run.tests.items()]
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for model, run, scores in tested:
        for name, value in scores.items():
            found = re.fullmatch(r"(\w+)_t(\d\.\d)", name)
            if found:
                row = {"dataset": run.config.dataset, "length": run.config.length, "model": model}
                row |= {"temperature": found[2], "metric": run.asked.metric, "score": scores[run.asked.metric]}
                row |= {"run": run.config.run}
                rows.setdefault((run.config.run, model, found[2]), row)[found[1]] = value
    return pd.DataFrame(rows.values())


def cost_to_reach(records: Sequence[RunRecord], quality: float | None = None) -> pd.DataFrame:
    """Return what reaching a validation score costs with tuning, per cell.

    A sampler that draws independently needs 1 / p trials on average, where p is the share of trials that reach it; so
    the cost is the mean cost of a trial over p. `quality` is the score; None: the threshold of a task that is solved,
    else nine tenths of the way from chance to the best trial of any model. Columns: dataset, length, model, quality,
    reached, trials, device_seconds (NaN: not reached within the trials made), usd.
    """
    runs_of = cells(records)
    best: dict[tuple[str, int], float] = {}
    for (dataset, length, _), runs in runs_of.items():
        for run in runs:
            if run.config.phase == "screen" and run.state == "complete" and run.val_score is not None:
                value = run.asked.sign * run.val_score
                best[dataset, length] = max(best.get((dataset, length), -math.inf), value)
    rows = []
    for (dataset, length, model), runs in runs_of.items():
        drawn = [run for run in runs if run.config.phase == "screen" and not run.config.origin.startswith("warm")]
        if not drawn or (dataset, length) not in best:
            continue
        asked = drawn[0].asked
        wanted = quality if quality is not None else asked.solved
        if wanted is None:
            wanted = asked.chance + 0.9 * (asked.sign * best[dataset, length] - asked.chance)
        scores = [run.val_score for run in drawn if run.state == "complete" and run.val_score is not None]
        reached = [score for score in scores if asked.sign * (score - wanted) >= 0]
        seconds = sum(run.device_seconds for run in drawn) / len(reached) if reached else math.nan
        money = bill.usd(drawn)
        row = {"dataset": dataset, "length": length, "model": model, "quality": wanted, "reached": len(reached)}
        usd = money / len(reached) if money is not None and reached else math.nan
        rows.append(row | {"trials": len(drawn), "device_seconds": seconds, "usd": usd})
    columns = ["dataset", "length", "model", "quality", "reached", "trials", "device_seconds", "usd"]
    return pd.DataFrame(rows, columns=columns)


def predicted_against_actual(records: Sequence[RunRecord], estimate: Estimate) -> pd.DataFrame:
    """Return what was predicted for each cell beside what it took.

    A run that is solved, pruned or fails early does less than was planned: `predicted_for_work_done` is the prediction
    for the steps that were made. Columns: dataset, length, model, predicted_seconds, actual_seconds (device seconds of
    trials, confirm and test runs), ratio (predicted over actual), work_done (share of the steps planned),
    predicted_for_work_done. `attrs` of the frame: wall_predicted, wall_actual, in seconds.
    """
    runs_of = cells(records)
    rows = []
    for cell in estimate.cells:
        runs = [run for run in runs_of.get((cell.dataset, cell.length, cell.model), []) if run.config.phase in _PHASES]
        if not runs or cell.device_seconds is None or cell.run_seconds is None:
            continue
        trained = [run for run in runs if run.config.phase != "test"]
        actual = sum(run.device_seconds for run in runs)
        done = sum(run.train_steps for run in trained) / (cell.runs * trained[0].config.train.max_steps)
        row: dict[str, Any] = {"dataset": cell.dataset, "length": cell.length, "model": cell.model}
        row |= {"predicted_seconds": cell.device_seconds, "actual_seconds": actual}
        row |= {"ratio": cell.device_seconds / actual, "work_done": done}
        rows.append(row | {"predicted_for_work_done": done / cell.share * cell.device_seconds})
    columns = ["dataset", "length", "model", "predicted_seconds", "actual_seconds", "ratio", "work_done"]
    frame = pd.DataFrame(rows, columns=[*columns, "predicted_for_work_done"])
    frame.attrs = {"wall_predicted": estimate.wall_seconds, "wall_actual": bill.wall_seconds(records)}
    return frame
