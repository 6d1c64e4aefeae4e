"""The tables behind the report: each is a pure function of the run records of a sweep.

The leaderboard says which model is best; these tables say at what cost, how certain, and what else was tried.
"""

import collections
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from bench.config.ids import CellId
from bench.config.sweep_settings import INDEPENDENT_SAMPLERS
from bench.results import bill, stats
from bench.results.cell_runs import CellRuns, by_cell
from bench.results.record import RunRecord, outcome
from bench.results.selection import counted_test, counted_val, is_feasible, losses, objective, pareto
from bench.sweeps.estimate import Estimate


def _runs(records: Sequence[RunRecord]) -> Iterator[tuple[dict[str, Any], tuple[RunRecord, ...]]]:
    """Yield the columns dataset, length and model of each cell, and its runs; cheap baselines belong to no cell."""
    for cell, runs in by_cell(records, top_k=1).items():
        yield _names(cell), runs.records


def _names(cell: CellId) -> dict[str, Any]:
    return {"dataset": cell.dataset, "length": cell.length, "model": cell.space}


def outcomes(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return how the trials and confirm runs of each cell ended.

    Columns: dataset, length, model, runs, complete, pruned, then each cause of failure that occurs.
    """
    rows = []
    for names, runs in _runs(records):
        ended = [run for run in runs if run.config.phase in ("screen", "confirm")]
        counts = collections.Counter({"complete": 0, "pruned": 0})
        counts.update(map(outcome, ended))
        rows.append(names | {"runs": len(ended)} | counts)
    frame = pd.DataFrame(rows)
    counted = [name for name in frame.columns if name not in ("dataset", "length", "model")]
    frame[counted] = frame[counted].fillna(0).astype(int)
    return frame


def expected_performance(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return the expected best validation score after n trials of a cell, and the device seconds they cost.

    Only cells without pruning, and only trials that a sampler drew independently of earlier scores; the default and
    warm starts are not draws. A failed trial counts with the chance score. Columns: dataset, length, model, trials (n),
    device_seconds (n times the mean of a trial), score, plug_in (the plug-in estimate of all draws).
    """
    rows = []
    for names, runs in _runs(records):
        drawn = [r for r in runs if r.config.phase == "screen" and r.config.origin in INDEPENDENT_SAMPLERS]
        if not drawn or any(run.config.ask_pruner or run.config.bracket is not None for run in drawn):
            continue
        if any(run.state == "pruned" for run in drawn):
            continue
        sign = drawn[0].asked.sign
        scores = [sign * score for run in drawn if (score := counted_val(run)) is not None]
        seconds = statistics.fmean(run.device_seconds for run in drawn)
        plug_in = sign * stats.plug_in_performance(scores, len(scores)) if scores else math.nan
        for n, value in enumerate(stats.expected_performance(scores), 1):
            row = {"trials": n, "device_seconds": n * seconds, "score": sign * value}
            rows.append(names | row | {"plug_in": plug_in})
    return pd.DataFrame(rows, columns=["dataset", "length", "model", "trials", "device_seconds", "score", "plug_in"])


def default_against_tuned(records: Sequence[RunRecord], top_k: int) -> pd.DataFrame:
    """Return what tuning gained: mean validation scores of the default and of the tuned configuration on fresh seeds.

    The tuned configuration is the one that screening put first. Screening has not seen the seeds that judge it here, so
    gain and drop are free of selection bias. Columns: dataset, length, model, metric, default, tuned, gain (positive is
    better) with its 95 % interval low and high (paired by seed; NaN below two seeds), default_solved, tuned_solved,
    seeds, ensemble (validation score of the average of the chosen configuration's seeds), test and ensemble_test (test
    scores of the chosen configuration: the mean over its seeds, and of their average), screened (score in screening),
    drop (by how much that was better than on fresh seeds), picked (trial that screening put first), chosen (trial that
    the cell chose in the end).
    """
    rows = []
    for cell, runs in by_cell(records, top_k).items():
        default, chosen, picked = runs.default, runs.chosen, next(iter(runs.best), None)
        if default is None or chosen is None or picked is None:
            continue
        before, after = ({run.config.seed: run for run in runs.confirm_runs(trial)} for trial in (default, picked))
        seeds = sorted(before.keys() & after.keys())
        if seeds:
            pairs = [(before[seed], after[seed]) for seed in seeds]
            trials = {"screened": picked.val_score, "picked": picked.config.number, "chosen": chosen.config.number}
            rows.append(_names(cell) | _gain(pairs, picked.val_score) | trials | _average(runs))
    return pd.DataFrame(rows)


def _average(runs: CellRuns) -> dict[str, Any]:
    """Return how the average of the chosen configuration's seeds compares with their mean; NaN where not known."""
    tested = [score for run in runs.confirmed if (score := counted_test(run)) is not None]
    asked = runs.records[0].asked
    parts = runs.ensemble or {}
    return {
        "ensemble": parts["val"][asked.metric] if parts else math.nan,
        "test": statistics.fmean(tested) if tested else math.nan,
        "ensemble_test": parts["test"][asked.ranks_by] if parts else math.nan,
    }


def _gain(pairs: Sequence[tuple[RunRecord, RunRecord]], screened: float | None) -> dict[str, Any]:
    """Return the scores of two configurations that were trained on the same seeds, and their difference."""
    sides = list(zip(*pairs, strict=True))
    scores = [[score for run in side if (score := counted_val(run)) is not None] for side in sides]
    default, tuned = map(statistics.fmean, scores)
    asked = pairs[0][1].asked
    low, high = stats.mean_interval([asked.sign * (after - before) for before, after in zip(*scores, strict=True)])
    solved = [None if asked.solved is None else sum(bool(run.solved) for run in side) for side in sides]
    return {
        "metric": asked.metric,
        "default": default,
        "tuned": tuned,
        "gain": asked.sign * (tuned - default),
        "low": low,
        "high": high,
        "default_solved": solved[0],
        "tuned_solved": solved[1],
        "seeds": len(pairs),
        "drop": math.nan if screened is None else asked.sign * (screened - tuned),
    }


def pareto_front(records: Sequence[RunRecord], objectives: Sequence[str]) -> pd.DataFrame:
    """Return the complete trials within the limits, with their objectives, and whether they are on the Pareto front.

    The trials of all models at a dataset and length are compared, separately for each rule of capacity. Columns:
    dataset, length, model, trial, one for each objective, on_front, and hypervolume: the volume that the front
    dominates, as a share of the box between the worst and the best value of each objective.
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
    """Return what each model cost over the whole study, failed, pruned, confirm and test runs included.

    Columns: model, runs, failed, pruned, device_hours, screening_hours, confirming_hours, cpu_hours, kwh, energy_is,
    usd, train_sequences.
    """
    models: dict[str, list[RunRecord]] = {}
    for names, runs in _runs(records):
        models.setdefault(names["model"], []).extend(runs)
    return pd.DataFrame([{"model": model} | cost(runs, cpu_watts) for model, runs in models.items()])


def halving(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return the trials of successive halving, one row each, in the order in which they were dropped.

    Columns: dataset, length, model, trial, origin, bracket, share (of a full run; 1 of a trial that reached
    its end), state (complete, dropped, or how it failed), metric, goal, score (best validation until then),
    device_seconds.
    """
    rows = []
    for names, runs in _runs(records):
        for run in runs:
            if run.config.bracket is None or run.config.phase != "screen":
                continue
            share = run.share if run.is_paused else 1.0
            row = {"trial": run.config.number, "origin": run.config.origin, "bracket": run.config.bracket}
            row |= {"share": share, "state": outcome(run), "score": run.val_score}
            row |= {"metric": run.asked.metric, "goal": run.asked.goal}
            rows.append(names | row | {"device_seconds": run.device_seconds})
    rows.sort(key=lambda row: (row["dataset"], row["length"], row["bracket"], row["share"]))
    return pd.DataFrame(rows)


def work_of_a_run(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return what a run of each cell is given: the same for every model of a dataset and length.

    Columns: dataset, length, model, steps, batch_size, validations, sequences, passes (over the stored training
    examples; NaN if sequences are drawn at random).
    """
    rows = []
    for names, runs in _runs(records):
        trained = [run for run in runs if run.config.phase in ("screen", "confirm")]
        if not trained:
            continue
        settings, examples = trained[0].config.train, trained[0].asked.num_train
        sequences = settings.max_steps * settings.batch_size
        row = {"steps": settings.max_steps, "batch_size": settings.batch_size, "validations": settings.num_epochs}
        rows.append(names | row | {"sequences": sequences, "passes": sequences / examples if examples else math.nan})
    return pd.DataFrame(rows)


def cost(runs: Sequence[RunRecord], cpu_watts: float | None) -> dict[str, Any]:
    """Return what runs cost, under the columns of study_bill."""
    kwh, energy_is = bill.energy(runs, cpu_watts)
    hours = {phase: sum(r.device_seconds for r in runs if r.config.phase == phase) / 3600 for phase in _PHASES}
    return {
        "runs": len(runs),
        "failed": sum(run.state == "failed" for run in runs),
        "pruned": sum(run.state == "pruned" for run in runs),
        "device_hours": sum(run.device_seconds for run in runs) / 3600,
        "screening_hours": hours["screen"],
        "confirming_hours": hours["confirm"] + hours["test"],
        "cpu_hours": sum(run.cpu_seconds or 0.0 for run in runs) / 3600,
        "kwh": kwh,
        "energy_is": energy_is,
        "usd": bill.usd(runs),
        "train_sequences": sum(run.train_sequences for run in runs),
    }


_PHASES = ("screen", "confirm", "test")


def generated(records: Sequence[RunRecord], top_k: int) -> pd.DataFrame:
    """Return measures of the texts that language models wrote, for one seed each, and of cheap samplers, in brackets.

    Columns: dataset, length, model, temperature, metric, score (on the test split), run (its folder holds the texts),
    and the measures of bench/training/generation.py.
    """
    tested = [(run.config.space, run, run.test or {}) for c in by_cell(records, top_k).values() for run in c.confirmed]
    cheap = [run for run in records if run.config.phase == "baselines"]
    tested += [(f"({name})", run, scores) for run in cheap for name, scores in run.tests.items()]
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for model, run, scores in tested:
        for name, value in scores.items():
            parts = re.fullmatch(r"(\w+)_t(\d\.\d)", name)
            if parts:
                row = _names(run.config.cell) | {"model": model, "temperature": parts[2], "run": run.config.run}
                row |= {"metric": run.asked.metric, "score": scores[run.asked.metric]}
                rows.setdefault((run.config.run, model, parts[2]), row)[parts[1]] = value
    return pd.DataFrame(rows.values())


def cost_to_reach(records: Sequence[RunRecord], quality: float | None = None) -> pd.DataFrame:
    """Return what reaching a validation score costs with tuning, for each cell.

    An independent sampler needs 1 / p trials on average, where p is the share of trials that reach the score, so the
    cost is that of a mean trial divided by p. `quality` is the score; by default the task's threshold, or nine tenths
    of the way from chance to the best trial of any model. Columns: dataset, length, model, quality, reached, trials,
    device_seconds (NaN if no trial reached it), usd.
    """
    drawn = [run for run in records if run.config.phase == "screen"]
    best: dict[tuple[str, int], float] = {}
    for run in drawn:
        if run.state == "complete" and run.val_score is not None:
            question = (run.config.dataset, run.config.length)
            best[question] = max(best.get(question, -math.inf), run.asked.sign * run.val_score)
    rows = []
    for names, runs in _runs([run for run in drawn if not run.config.origin.startswith("warm")]):
        question, asked = (names["dataset"], names["length"]), runs[0].asked
        if question not in best:
            continue
        wanted = quality if quality is not None else asked.solved
        if wanted is None:
            wanted = asked.chance + 0.9 * (asked.sign * best[question] - asked.chance)
        scores = [run.val_score for run in runs if run.state == "complete" and run.val_score is not None]
        reached = sum(asked.sign * (score - wanted) >= 0 for score in scores)
        seconds, usd = sum(run.device_seconds for run in runs), bill.usd(runs)
        row = names | {"quality": wanted, "reached": reached, "trials": len(runs)}
        row["device_seconds"] = seconds / reached if reached else math.nan
        rows.append(row | {"usd": usd / reached if usd is not None and reached else math.nan})
    columns = ["dataset", "length", "model", "quality", "reached", "trials", "device_seconds", "usd"]
    return pd.DataFrame(rows, columns=columns)


def predicted_against_actual(records: Sequence[RunRecord], estimate: Estimate) -> pd.DataFrame:
    """Return the predicted cost of each cell beside the actual one.

    A run that is solved, pruned or fails early does less than was planned: `predicted_for_work_done` is the prediction
    for the steps that were trained. Columns: dataset, length, model, predicted_seconds, actual_seconds (device seconds
    of trials, confirm and test runs), ratio (predicted over actual), work_done (share of the planned steps),
    predicted_for_work_done. The frame's `attrs` are wall_predicted and wall_actual, in seconds.
    """
    cells = by_cell(records, top_k=1)
    rows = []
    for cell in estimate.cells:
        id_ = CellId(cell.dataset, cell.length, cell.model)
        runs = [run for run in (cells[id_].records if id_ in cells else ()) if run.config.phase in _PHASES]
        if not runs or cell.device_seconds is None or cell.run_seconds is None:
            continue
        trained = [run for run in runs if run.config.phase != "test"]
        actual = sum(run.device_seconds for run in runs)
        done = sum(run.train_steps for run in trained) / (cell.runs * trained[0].config.train.max_steps)
        row = _names(id_) | {"predicted_seconds": cell.device_seconds, "actual_seconds": actual}
        row |= {"ratio": cell.device_seconds / actual, "work_done": done}
        rows.append(row | {"predicted_for_work_done": done / cell.share * cell.device_seconds})
    columns = ["dataset", "length", "model", "predicted_seconds", "actual_seconds", "ratio", "work_done"]
    frame = pd.DataFrame(rows, columns=[*columns, "predicted_for_work_done"])
    frame.attrs = {"wall_predicted": estimate.wall_seconds, "wall_actual": bill.wall_seconds(records)}
    return frame
