"""Diagnoses of the chosen networks of a sweep, from their own weights."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from bench.config.datasets import task_of
from bench.config.ids import CellId
from bench.errors import StoreError
from bench.export import network
from bench.results import diagnoses
from bench.results.cell_runs import by_cell, winner
from bench.results.record import RunRecord, read_spec, records
from bench.training.diagnosis import diagnose


def diagnose_sweep(
    sweep: Path, dataset: str | None, length: int | None, model: str | None
) -> Iterator[tuple[CellId, Path, pd.DataFrame]]:
    """Diagnose the networks asked for, and yield each cell with its file and its table.

    Without a model, the best one of each dataset and length is diagnosed. Raises StoreError if nothing is confirmed.
    """
    chosen = _chosen(sweep, dataset, length, model)
    if not chosen:
        names = [str(name) for name in (model, dataset, length) if name is not None]
        raise StoreError(f"{sweep}: has no confirmed run of {' '.join(names) or 'any model'} yet; resume the sweep")
    for run in chosen:
        path = diagnoses.path_of(sweep, run.config.cell)
        rows = diagnose(task_of(run.config), run.config, network.weights_of(sweep, run))
        yield run.config.cell, path, diagnoses.write(rows, path)


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
