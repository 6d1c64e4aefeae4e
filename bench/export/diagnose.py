"""Diagnoses of the chosen networks of a sweep, from their own weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.config.datasets import task_of
from bench.config.ids import CellId
from bench.errors import StoreError
from bench.export import network
from bench.report import diagnosis_charts, report
from bench.results import diagnoses
from bench.results.cell_runs import by_cell, winner
from bench.results.record import RunRecord, read_spec, records
from bench.tracking import models
from bench.training.diagnosis import diagnose


class Diagnosis(NamedTuple):
    """What was found of one network, and the files that hold it: a table and, if there is something to draw, charts."""

    cell: CellId
    table: pd.DataFrame
    files: tuple[Path, ...]

    @property
    def lines(self) -> list[str]:
        """What it says, as sentences."""
        network = f"{self.cell.space} on {self.cell.dataset} at {self.cell.length}"
        return [f"{network}: {line}" for line in diagnoses.lines(self.table)]


def diagnose_sweep(
    sweep: Path, dataset: str | None = None, length: int | None = None, model: str | None = None
) -> Iterator[Diagnosis]:
    """Diagnose the networks asked for, and yield what was found of each.

    Without a model, the best one of each dataset and length is diagnosed. Raises StoreError if nothing is confirmed.
    """
    chosen = _chosen(sweep, dataset, length, model)
    if not chosen:
        names = [str(name) for name in (model, dataset, length) if name is not None]
        raise StoreError(f"{sweep}: has no confirmed run of {' '.join(names) or 'any model'} yet; resume the sweep")
    for run in chosen:
        path = diagnoses.path_of(sweep, run.config.cell)
        weights, middle = network.weights_of(sweep, run), network.middle_of(sweep, run)
        table = diagnoses.write(diagnose(task_of(run.config), run.config, weights, middle), path)
        chart = diagnosis_charts.write(table, path)
        yield Diagnosis(run.config.cell, table, (path,) if chart is None else (path, chart))


def show(results: Path, sweep: Path, made: list[Diagnosis]) -> str | None:
    """Write the report of a sweep with its diagnoses, and log all to MLflow; return why it is not logged, or None."""
    return models.log_report(results, sweep, report.write(sweep), [file for each in made for file in each.files])


def of_winners(results: Path, sweep: Path) -> list[str]:
    """Diagnose the winners of a sweep that has ended; return what was found, in lines, or why nothing was."""
    try:
        made = list(diagnose_sweep(sweep))
    except StoreError as error:
        return [f"no diagnosis: {error}"]
    problem = show(results, sweep, made)
    lines = [line for each in made for line in each.lines]
    return lines if problem is None else [*lines, f"the diagnosis is not logged to MLflow: {problem}"]


def _chosen(sweep: Path, dataset: str | None, length: int | None, model: str | None) -> list[RunRecord]:
    """Return the best confirm run of each question asked for."""
    questions: dict[tuple[str, int], list[RunRecord]] = {}
    for record in records(sweep):
        config = record.config
        if dataset in (None, config.dataset) and length in (None, config.length) and model in (None, config.space):
            questions.setdefault((config.dataset, config.length), []).append(record)
    top_k = read_spec(sweep)["top_k"]
    best = [winner(by_cell(of_question, top_k).values()) for of_question in questions.values()]
    return [run for run in best if run is not None]
