"""The leaderboard of a sweep: a pure function of its run records, one row a model, dataset and length."""

import collections
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import pandas as pd

from bench.config.ids import CellId, RunId
from bench.config.measures import MEASURES
from bench.config.settings import BASELINES, TUNABLE, TrainSettings
from bench.errors import StoreError
from bench.results import bill, disturbance, sampling, scores
from bench.results.cell_runs import CellRuns, best_baseline, by_cell
from bench.results.classes import ClassCounts
from bench.results.metrics import METRICS
from bench.results.record import Asked, FittedBaseline, RunRecord, all_records, outcome, read_spec, trials_of
from bench.results.sampling import LeftOut
from bench.results.selection import counted_test, counted_val
from bench.wording import bare


class Status(StrEnum):
    """The status of a row. Rows without a rank are in this order."""

    COMPLETE = "complete"
    FAILED = "failed"
    DROPPED = "dropped"  # successive halving ended its runs early, and no time was left to train them in full
    UNFINISHED = "unfinished"
    NOT_APPLICABLE = "not_applicable"
    BASELINE = "baseline"  # a cheap baseline, or chance


CONDITIONS = (
    *("device", "num_devices", "accumulate_grad_batches", "threads", "precision", "hardware"),
    *("python", "torch", "pytorch_lightning", "optuna", "mlflow", "numpy", "commit"),
)
"""The columns that say where and with what code runs were made. Times are compared only where all are equal."""

TEST_SCORES = tuple(f"test_{name}" for name in MEASURES)
"""The columns of all measures of the test split, of which the score is one."""

COLUMNS = [
    *(
        "dataset",
        "length",
        "steps",
        "match",
        "model",
        "rank",
        "status",
        "reason",
        "metric",
        "goal",
        "val_metric",
        "score",
        "score_is",
    ),
    *("ci_low", "ci_high", "ci_of", "num_seeds", "solved", "solved_share", "val_screening"),
    *("val_confirmation", "drop", "val_default", "chosen_by_validation"),
    *(
        "val_ensemble",
        "score_ensemble",
        "sampling_low",
        "sampling_high",
        "num_test",
        "tied_by_sampling",
        *TEST_SCORES,
        "never_predicted",
        "score_by_length",
    ),
    *METRICS,
    "timing_disturbed",
    *("size_bytes", "kernels", "device_seconds", "usd", "kwh", "energy_is", "co2_grams", "co2_is"),
    *("num_trials", "num_failed", "num_pruned", "outcomes", "num_disturbed", "num_crashes"),
    *("origin", "configuration", "config_file", "configurations_confirmed"),
    *("configurations_tested", "sampler", "pruner", "max_sequences", "batch_size", *CONDITIONS, "mixed", "sweep"),
]
"""The columns in their order; results/README.md defines them."""

_COUNTS = (
    *("length", "steps", "rank", "num_seeds", "solved", "num_parameters", "state_size", "num_trials", "num_failed"),
    *("num_pruned", "num_crashes", "configurations_confirmed", "configurations_tested", "max_sequences", "batch_size"),
    *("size_bytes", "num_test", "num_disturbed"),
)

TAKEN_OVER = "no time was left to train it again on a fresh seed, so its trial was tested"

Row = dict[str, Any]


def build(folder: Path, records: Sequence[RunRecord] | None = None) -> pd.DataFrame:
    """Return the leaderboard of the sweep in `folder`; `records`, if given, saves reading them.

    The models of a dataset and length come first, best first; then those without a rank; then the cheap baselines, and
    chance if the task can be solved, since only there it is exact. Raises StoreError if no run has finished, or if
    sweep.json or a record is damaged.
    """
    spec = read_spec(folder)
    records = all_records(folder) if records is None else records
    cells = by_cell(records, spec["top_k"])
    baselines: dict[tuple[str, int], list[RunRecord]] = {}
    for record in records:
        if record.config.phase == "baselines":
            baselines.setdefault((record.config.dataset, record.config.length), []).append(record)
    questions: dict[tuple[str, int, str], list[CellId]] = {}
    names = [CellId.parse(name) for name in (*spec["spec"]["cells"], *spec["not_applicable"])]
    for cell in dict.fromkeys([*names, *cells]):
        questions.setdefault((cell.dataset, cell.length, _match(cell)), []).append(cell)
    rows: list[Row] = []
    for (dataset, length, match), asked_cells in questions.items():
        shared = {"sweep": folder.name, "match": match or None, "dataset": dataset, "length": length}
        models = [model_row(cell, cells.get(cell), spec) for cell in asked_cells]
        cheap = baselines.get((dataset, length), [])
        if cheap or any(cell in cells for cell in asked_cells):
            first = cheap[0] if cheap else next(cells[cell].records[0] for cell in asked_cells if cell in cells)
            rows += [shared | row for row in (*in_order(models), *_baseline_rows(cheap, first))]
    if not rows:
        raise StoreError(f"{folder}: no finished run yet")
    board = pd.DataFrame(rows, columns=COLUMNS)
    board = board.astype(dict.fromkeys(_COUNTS, "Int64"))  # whole numbers stay whole beside empty cells
    for column in ("num_devices", "accumulate_grad_batches", "threads"):  # whole numbers, or text where runs differ
        board[column] = board[column].convert_dtypes()
    return board


def model_order(model: str) -> tuple[int, str]:
    """Return the key that sorts models: built-in models in their order, then all others by name."""
    name = bare(model)
    return (BASELINES.index(name) if name in BASELINES else len(BASELINES), model)


def _match(cell: CellId) -> str:
    """Return the rule of capacity in the name of a search space; empty if the space sets the width."""
    return cell.space.partition("@")[2]


def in_order(models: list[tuple[Row, list[RunRecord]]]) -> list[Row]:
    """Return the rows of one dataset and length, with their ranks: best first, those without confirm runs last.

    `models` are the pairs that `model_row` returns.
    """
    ranked = [(row, confirmed) for row, confirmed in models if confirmed]
    for (row, _), rank in zip(ranked, scores.rank([confirmed for _, confirmed in ranked]), strict=True):
        row["rank"] = rank
    for row, confirmed in ranked:
        worse = [
            other for other, runs in ranked if other["rank"] > row["rank"] and scores.within_sampling(confirmed, runs)
        ]
        row["tied_by_sampling"] = ", ".join(sorted((bare(other["model"]) for other in worse), key=model_order)) or None
    statuses = list(Status)
    others = [row for row, confirmed in models if not confirmed]
    others.sort(key=lambda row: (statuses.index(row["status"]), *model_order(row["model"])))
    ranked.sort(key=lambda pair: (*scores.order(pair[0]), *model_order(pair[0]["model"])))
    return [row for row, _ in ranked] + others


def _baseline_rows(cheap: Sequence[RunRecord], first: RunRecord) -> list[Row]:
    """Return the rows of the cheap baselines, best first, those that failed last, and of chance."""
    asked = first.asked
    shared = _measured_by(asked) | {"steps": asked.num_steps, "status": Status.BASELINE}
    rows: list[Row] = []
    for record in cheap:
        best = best_baseline(record)
        in_full = {}
        for name, fitted in record.fitted.items():
            row = _fitted_row(fitted, record) | {"chosen_by_validation": True if name == best else None}
            in_full[row["model"]] = row
        named = {f"({name})": {"score": score} for name, score in (record.baselines or {}).items()}
        rows += [{"model": name} | row for name, row in (named | in_full).items()]
    rows.sort(key=lambda row: math.inf if row.get("score") is None else -asked.test_sign * row["score"])
    if asked.solved is not None:  # exact for drawn sequences; for stored ones computed on the validation part
        rows.append({"model": "(chance)", "score": asked.chance})
    return [shared | row for row in rows]


def _measured_by(asked: Asked) -> Row:
    return {"metric": asked.ranks_by, "goal": asked.test_goal, "val_metric": asked.metric}


def _fitted_row(fitted: FittedBaseline, record: RunRecord) -> Row:
    """Return the row of a cheap baseline that was fitted in full; its one fit needs no fresh seeds."""
    price, memory = record.config.usd_per_hour, fitted.peak_memory_bytes
    score = fitted.test.get(record.asked.ranks_by)
    return {
        "model": f"({fitted.title})",
        "reason": fitted.reason,
        "score": score,
        "score_is": "one fit" if fitted.test else None,
        **_test_scores([fitted.test] if fitted.test else []),
        **_details(record.asked, score, fitted.classes, [fitted.left_out] if fitted.left_out else []),
        "val_screening": fitted.val.get(record.asked.metric),
        "inference_sequences_per_second": fitted.sequences_per_second,
        "latency_p50_milliseconds": fitted.latency_p50_milliseconds,
        "latency_p95_milliseconds": fitted.latency_p95_milliseconds,
        "timing_disturbed": disturbance.of_baseline(fitted),
        "num_parameters": fitted.num_parameters,
        "size_bytes": fitted.size_bytes,
        "peak_memory_mib": memory / 2**20 if memory else None,
        "train_seconds": fitted.fit_seconds,
        "device_seconds": fitted.seconds,
        "usd": None if price is None else price * fitted.seconds / 3600,
        "configuration": json.dumps(fitted.chosen, sort_keys=True) if fitted.state == "complete" else None,
        "config_file": f"runs/{record.config.run}/config.json",
    } | _conditions([record])


def model_row(cell: CellId, runs: CellRuns | None, spec: Mapping[str, Any]) -> tuple[Row, list[RunRecord]]:
    """Return the row of a model, and the confirm runs that it is ranked by; none if it has no rank.

    The row lacks what its neighbours and its sweep decide: rank, dataset, length, match and sweep. `spec` is the
    sweep.json.
    """
    if runs is None:
        reason = spec["not_applicable"].get(str(cell))
        status = Status.NOT_APPLICABLE if reason else Status.UNFINISHED
        return {"model": cell.space, "status": status, "reason": reason}, []
    spec = {**spec, **spec.get("of_cells", {}).get(str(cell), {})}  # a merged sweep has them: its machines differ
    status, reason = _status(runs, spec)
    tested = [record for record in runs.confirmed if counted_test(record) is not None]
    first = runs.records[0]
    row: Row = {
        "model": cell.space,
        "status": status,
        "reason": reason,
        "steps": first.asked.num_steps,
        **_measured_by(first.asked),
        "sampler": spec["spec"].get("sampler"),
        "pruner": spec["spec"].get("pruner"),
        "max_sequences": first.config.train.max_sequences,
        "batch_size": first.config.train.batch_size,
    }
    row |= _bill(runs, spec) | _conditions(runs.records) | _metrics(runs) | _choice(runs, tested)
    row |= scores.score(tested) | _test_scores([run.test for run in tested if run.test])
    row |= _details(first.asked, row.get("score"), runs.classes, runs.left_out)
    is_ranked = row.get("score") is not None or first.asked.solved is not None
    return row, tested if is_ranked else []


def _status(runs: CellRuns, spec: Mapping[str, Any]) -> tuple[Status, str | None]:
    """Return whether a cell is complete, and why if it is not."""
    ended_by = spec.get("ended_by")
    if runs.is_halved and runs.chosen is not None and not runs.confirmed:
        return Status.DROPPED, _dropped(runs.chosen)
    if runs.chosen is None:
        if len(runs.screened) < trials_of(spec, runs.records[0].config.cell) and not (runs.screened and ended_by):
            return Status.UNFINISHED, ended_by
        if any(record.state == "complete" for record in runs.screened):
            return Status.FAILED, "no configuration is within the limits"
        return Status.FAILED, _listed(outcome(record) for record in runs.screened)
    if any(counted_test(record) is None for record in runs.confirmed):
        failed = [record for record in runs.tests if not record.tests]
        if failed:
            return Status.FAILED, f"test run: {_listed(record.cause or 'error' for record in failed)}"
        return Status.UNFINISHED, ended_by
    if len(runs.confirmed) < spec["confirm_seeds"] and not runs.is_halved:  # there, time decides how many there are
        return Status.UNFINISHED, ended_by
    all_failed = runs.confirmed and all(record.state == "failed" for record in runs.confirmed)
    if all_failed and runs.chosen.asked.solved is None:
        return Status.FAILED, _listed(record.cause or record.state for record in runs.confirmed)
    return Status.COMPLETE, TAKEN_OVER if any(run.config.takes_over for run in runs.confirmed) else None


def _dropped(best: RunRecord) -> str:
    """Return how far the best configuration of a cell came before successive halving dropped it, and its score."""
    score = f"at {best.val_score:.3g} {best.asked.metric} on validation"
    if best.state == "complete":
        return f"trained in full {score}; no time was left for fresh seeds"
    return f"dropped after 1/{round(1 / best.share)} of a run {score}"


def _listed(causes: Any) -> str:
    return ", ".join(sorted(set(causes)))


def _bill(runs: CellRuns, spec: Mapping[str, Any]) -> Row:
    kwh, energy_is = bill.energy(runs.records, spec.get("cpu_watts"))
    co2_grams, co2_is = bill.co2(kwh, energy_is, spec.get("grid"))
    ended = [run for run in runs.records if run.config.phase in ("screen", "confirm")]
    outcomes = collections.Counter(map(outcome, ended))
    return {
        "device_seconds": sum(record.device_seconds for record in runs.records),
        "usd": bill.usd(runs.records),
        "kwh": kwh,
        "energy_is": energy_is,
        "co2_grams": co2_grams,
        "co2_is": co2_is,
        "num_trials": len(runs.screened),
        "num_failed": sum(record.state == "failed" for record in runs.records),
        "num_pruned": sum(record.state == "pruned" for record in runs.records),
        "outcomes": ", ".join(f"{name} {count}" for name, count in sorted(outcomes.items())),
        "num_disturbed": sum(map(disturbance.is_left_out, runs.records)),
        "num_crashes": sum(len(record.crashes) for record in runs.records),
        "configurations_confirmed": len({run.config.id.trial for run in ended if run.config.phase == "confirm"}),
        "configurations_tested": len({RunId.parse(run).trial for record in runs.records for run in record.tests}),
    }


def condition(record: RunRecord, name: str) -> Any:
    """Return one of the CONDITIONS of a run; None if the run does not have it."""
    return getattr(record, name, None) or getattr(record.config, name, None) or record.environment.get(name)


def _conditions(records: Sequence[RunRecord]) -> Row:
    """Return CONDITIONS, all values joined where runs differ, and in `mixed` the columns where they do."""
    values: dict[str, list[Any]] = {}
    for name in CONDITIONS:
        seen = (condition(record, name) for record in records)
        values[name] = list(dict.fromkeys(value for value in seen if value))
    row: Row = {name: seen[0] if len(seen) == 1 else "; ".join(map(str, seen)) or None for name, seen in values.items()}
    return row | {"mixed": ", ".join(name for name, seen in values.items() if len(seen) > 1) or None}


def _metrics(runs: CellRuns) -> Row:
    """Return the median of each metric over the confirm runs and the exclusive pass of the chosen configuration.

    Of the durations of confirm runs, those that other processes disturbed do not count if there are others.
    """
    passes = [runs.speed] if runs.speed else []
    measured, durations = [*runs.confirmed, *passes], disturbance.undisturbed(runs.confirmed)
    row: Row = {"kernels": ", ".join(runs.speed.kernels) if runs.speed else None}
    for name, metric in METRICS.items():
        is_duration = disturbance.MEASUREMENTS.get(name) == "training"
        records = durations if is_duration else measured
        values = [value for record in records if (value := metric.compute(record)) is not None]
        row[name] = statistics.median(values) if values else None
    return row | {"timing_disturbed": _disturbed(runs, durations)}


def _disturbed(runs: CellRuns, durations: Sequence[RunRecord]) -> str | None:
    """Return the column `timing_disturbed` of a model."""
    names = disturbance.of_speed(runs.speed.speed if runs.speed else None)
    if any(map(disturbance.is_run_disturbed, durations)):
        names = ["training", *(names or [])]
    return disturbance.words(names)


def _test_scores(tests: Sequence[Mapping[str, float]]) -> Row:
    """Return the mean of each measure over runs that were tested; one that not all of them have is left out."""
    known = [name for name in MEASURES if tests and all(name in test for test in tests)]
    return {f"test_{name}": statistics.fmean(test[name] for test in tests) for name in known}


def _details(asked: Asked, score: float | None, classes: ClassCounts | None, left_out: Sequence[LeftOut]) -> Row:
    """Return the interval of the test score from the sampling of its examples, and the classes never predicted."""
    row: Row = {"never_predicted": ", ".join(classes.never_predicted) or None if classes else None}
    if score is None or not left_out:
        return row
    measure = MEASURES[asked.ranks_by]
    low, high = sampling.interval(score, left_out, measure.least, measure.most)
    return row | {"sampling_low": low, "sampling_high": high, "num_test": left_out[0].examples}


def _choice(runs: CellRuns, tested: Sequence[RunRecord]) -> Row:
    """Return which configuration was chosen, and its scores on validation."""
    chosen = runs.chosen
    if chosen is None:
        return {}
    train = chosen.config.train.model_dump(include=TUNABLE)
    unused = {name for name, value in train.items() if value == TrainSettings.model_fields[name].default}
    configuration = chosen.config.model_arguments | {name: train[name] for name in train.keys() - unused}
    tests = [run for run in runs.tests if run.tests and run.config.id.trial == chosen.config.id]
    confirmed = _mean_val(tested)
    row: Row = {
        "num_seeds": len(tested),
        "val_screening": chosen.val_score,
        "val_confirmation": confirmed,
        "val_default": _mean_val(runs.confirmations(runs.default)) if runs.default else None,
        "origin": chosen.config.origin,
        "configuration": json.dumps(configuration, sort_keys=True),
        "config_file": "; ".join(f"runs/{run.config.run}/config.json" for run in tests) or None,
    }
    if runs.by_length:
        row["score_by_length"] = json.dumps({n: statistics.fmean(values) for n, values in runs.by_length.items()})
    if runs.ensemble is not None:
        val, test = runs.ensemble["val"][chosen.asked.metric], runs.ensemble["test"][chosen.asked.ranks_by]
        row |= {"val_ensemble": val, "score_ensemble": test}
    if confirmed is not None and chosen.val_score is not None:
        row["drop"] = chosen.asked.sign * (chosen.val_score - confirmed)
    return row


def _mean_val(runs: Sequence[RunRecord]) -> float | None:
    values = [value for run in runs if (value := counted_val(run)) is not None]
    return statistics.fmean(values) if values else None
