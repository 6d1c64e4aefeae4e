"""What MLflow shows of a record or a cell: metrics, parameters and tags, under the names of the leaderboard's columns.

A name means the same in MLflow as in leaderboard.csv, of which results/README.md defines the columns. What the CSV has
no column for has a name of its own: the curves of a run, and the peak of its memory beside other runs.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.results import bill
from bench.results.cell_runs import CellRuns
from bench.results.leaderboard import COLUMNS, CONDITIONS, condition, model_row
from bench.results.record import RunRecord

Numbers = dict[str, float]
Texts = dict[str, str]

SETTINGS = ("model", "length", "steps", "max_sequences", "batch_size")
"""Columns that a sweep sets and no run changes: parameters in MLflow."""

ELSEWHERE = ("dataset", "sweep", "rank")
"""Columns that the row of one cell lacks: the experiment, a tag of every run, and what all cells together decide."""

INTERVAL, PLACE = "low end - value - high end", "95 percent interval"
"""Metrics of a cell whose three points are the low end of its interval, its value and its high end; and, of each of
the three, how far up the cell stands on the chart. No other chart of MLflow draws an interval, and its page takes their
names for the titles of axis and chart."""

MOST_SHOWN = 8
"""Settings on one page: more columns cannot be read."""

SUMS = ("device_seconds", "usd", "kwh", "co2_grams", "num_trials", "num_failed", "num_pruned", "num_crashes")
"""Columns that the run of a sweep has as the sum of its cells."""


def of_cell(cell: CellRuns, spec: Mapping[str, Any]) -> tuple[Numbers, Texts, Texts]:
    """Return the metrics, parameters and tags of a cell: its row of the leaderboard without what is not known.

    Numbers are metrics, settings are parameters beside the chosen configuration, and texts are tags `bench.COLUMN`.
    """
    first = cell.records[0]
    row, _ = model_row(first.config.cell, cell, spec)
    known = {name: row[name] for name in COLUMNS if row.get(name) is not None} | {"length": first.config.length}
    texts = {name for name, value in known.items() if name in CONDITIONS or isinstance(value, str | bool)}
    metrics = {name: float(known[name]) for name in known.keys() - texts - {*SETTINGS, *ELSEWHERE}}
    params = {name: str(known[name]) for name in SETTINGS if name in known}
    if cell.chosen is not None:
        params = _configuration(cell.chosen) | params
    tags = {f"bench.{name}": str(known[name]) for name in texts - {*SETTINGS, *ELSEWHERE}}
    tags |= _origin(first) | {"bench.seed_of_sweep": str(spec["spec"].get("seed", ""))}
    return _finite(metrics), params, tags


def of_run(record: RunRecord, spec: Mapping[str, Any]) -> tuple[Numbers, Texts, Texts]:
    """Return the metrics, parameters and tags of a trial or a confirm run.

    Its validation score is what the column val_screening takes of a trial, and val_confirmation of a confirm run.
    """
    config, asked = record.config, record.asked
    kwh, energy_is = bill.energy([record], spec.get("cpu_watts"))
    co2_grams, _ = bill.co2(kwh, energy_is, spec.get("grid"))
    metrics: dict[str, float | None] = {
        "val_screening" if config.phase == "screen" else "val_confirmation": record.val_score,
        "score": record.test_score,
        "solved": record.solved if config.phase == "confirm" else None,
        "sequences_to_solve": record.sequences_to_solve,
        "seconds_to_solve": record.seconds_to_solve,
        "train_seconds": record.seconds.train,
        "train_sequences": record.train_sequences,
        "num_parameters": record.num_parameters or None,
        "state_size": record.state_size,
        "run_peak_memory_mib": None if record.peak_memory_bytes is None else record.peak_memory_bytes / 2**20,
        "device_seconds": record.device_seconds,
        "usd": record.cost_usd,
        "kwh": kwh,
        "co2_grams": co2_grams,
    }
    metrics |= {f"best_val/{name}": value for name, value in record.val.items() if name != asked.metric}
    metrics |= {f"test_{name}": value for name, value in (record.test or {}).items()}
    params = _configuration(record) | {"model": config.space, "length": str(config.length), "seed": str(config.seed)}
    conditions = {name: condition(record, name) for name in CONDITIONS}
    tags = {f"bench.{name}": str(value) for name, value in conditions.items() if value}
    tags |= _origin(record) | {
        "bench.kind": "trial" if config.phase == "screen" else config.phase,
        "bench.metric": asked.metric,
        "bench.test_opened": str(record.test is not None).lower(),
    }
    return _finite({name: value for name, value in metrics.items() if value is not None}), params, tags


def of_sweep(dataset: str, spec: Mapping[str, Any]) -> Texts:
    """Return the tags of a sweep in the experiment of a dataset: versions, machine, data and seed."""
    environment = (spec.get("environments") or [{}])[-1]
    tags = {f"bench.{name.replace('-', '_').replace(' ', '_')}": str(value) for name, value in environment.items()}
    if "bench.bench" in tags:
        tags["bench.commit"] = tags.pop("bench.bench")
    terms = {"bench.data_fingerprint": f"dataset {dataset}", "bench.seed_of_sweep": "seed"}
    return tags | {tag: str(spec["spec"][term]) for tag, term in terms.items() if term in spec["spec"]}


def tried(trials: Sequence[RunRecord]) -> dict[str, set[str]]:
    """Return the values of each setting that trials were run with; of the learning rate, the logarithm."""
    values: dict[str, set[str]] = {}
    for trial in trials:
        for name, value in _configuration(trial).items():
            values.setdefault(name, set()).add(value)
    values.pop("learning_rate", None)
    return values


def shared(cells: Sequence[Mapping[str, set[str]]]) -> list[str]:
    """Return the settings that the trials of all cells have and in which any two of them differ, at most MOST_SHOWN."""
    if not cells:
        return []
    names = set.intersection(*(set(cell) for cell in cells))
    differing = {name: set.union(*(cell[name] for cell in cells)) for name in names}
    found = sorted(name for name, values in differing.items() if len(values) > 1)
    # Settings that vary within most cells say more than those that only differ between cells.
    found.sort(key=lambda name: -sum(len(cell[name]) > 1 for cell in cells))
    return found[:MOST_SHOWN]


def _origin(record: RunRecord) -> Texts:
    """Return the tags that say of what a run was made."""
    config = record.config
    tags = {
        "bench.length": str(config.length),
        "bench.model": config.space,
        "bench.task": config.task,
        "bench.space_hash": config.space_hash,
        "bench.data_fingerprint": config.data_fingerprint,
        "bench.version": str(record.environment.get("bench", "")),
    }
    return {name: value for name, value in tags.items() if value}


def _configuration(record: RunRecord) -> Texts:
    """Return the configuration of a run, flat, for the columns and axes of MLflow's pages."""
    train = record.config.train
    logarithm = {"log10_learning_rate": round(math.log10(train.learning_rate), 4)}  # MLflow's axes are linear
    settings = train.model_dump() | logarithm | record.config.model_arguments
    return {name: str(value) for name, value in settings.items()}


def _finite(numbers: Mapping[str, float]) -> Numbers:
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
