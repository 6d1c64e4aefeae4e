"""The MLflow runs of one sweep: which of them exist, and how records become runs.

Each dataset has an experiment. In it the sweep is a run, its cells are runs below that, and their trials and confirm
runs are below the cells. Each run has a tag `bench.id`, so that writing twice changes nothing.
"""

import json
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.ids import CellId
from bench.config.strict import fingerprint
from bench.errors import StoreError
from bench.results.record import RunRecord, read_spec
from bench.tracking import pages, store

if TYPE_CHECKING:
    from mlflow import MlflowClient

STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
"""MLflow's name for each state. Its pages show KILLED like a failure, so pruned runs are FINISHED and have a tag."""

BATCH = 800
"""Metrics in one call; MLflow takes at most 1,000 metrics, parameters and tags together."""

COLOURS = ("#137dae", "#c83243", "#308613", "#8a63bf", "#de7921", "#04867d", "#b45091", "#445461", "#a6630c", "#434a93")
"""Of a dataset's cells in turn; MLflow's own choice gives two models the same colour."""


@dataclass
class Run:
    """A run in MLflow."""

    id: str
    digest: str = ""  # of the record that was written


class RunIndex:
    """The runs of a sweep in one experiment, by their tag `bench.id`.

    Trials and confirm runs of an earlier session are looked up one by one: all of a large sweep would fill the memory.
    """

    def __init__(self, client: "MlflowClient", experiment: str, sweep: str) -> None:
        self._client, self._experiment = client, experiment
        of_sweep = pages.where("bench.sweep", sweep)
        cells = client.search_runs([experiment], f"{of_sweep} and {pages.where('bench.kind', 'cell')}")
        self._runs = {run.data.tags["bench.id"]: Run(run.info.run_id) for run in cells}
        self._is_new = not client.search_runs([experiment], of_sweep, max_results=1)
        self.num_cells = len(cells)

    def find(self, key: str) -> Run | None:
        """Return the run with this `bench.id`, or None."""
        if key not in self._runs and not self._is_new:
            for run in self._client.search_runs([self._experiment], pages.where("bench.id", key), max_results=1):
                self._runs[key] = Run(run.info.run_id, run.data.tags.get("bench.digest", ""))
        return self._runs.get(key)

    def make(self, key: str, name: str, start: int, tags: dict[str, str]) -> Run:
        """Make the run with this `bench.id`; it starts at `start`, in ms since 1970."""
        made = self._client.create_run(self._experiment, start_time=start, run_name=name, tags=tags | {"bench.id": key})
        self._runs[key] = Run(made.info.run_id)
        self.num_cells += tags["bench.kind"] == "cell"
        return self._runs[key]


class SweepRuns:
    """Makes and updates the runs of one sweep. Raises what MLflow raises.

    `experiments` gets the id of each dataset's experiment.
    """

    def __init__(self, client: "MlflowClient", results: Path, folder: Path, experiments: dict[str, str]) -> None:
        self._client, self._results, self._folder = client, results, folder
        self._sweep, self._command = store.sweep_key(folder), read_spec(folder)["command"]
        self._experiments = experiments
        self._indexes: dict[str, RunIndex] = {}  # by dataset
        self._viewed: set[str] = set()  # datasets whose pages are set up

    def put_sweep(self, datasets: list[str], state: str) -> None:
        """Write the state of the sweep into each dataset's experiment."""
        for dataset in datasets:
            self._set_state(self._sweep_run(dataset), state)

    def put_cell(self, cell: CellId, state: str, metrics: dict[str, float]) -> None:
        """Write the state of a cell and its metrics; those that are not finite are skipped."""
        from mlflow.entities import Metric, Param

        now = _now()
        run = self._cell_run(cell, now)
        # Sorted, which puts the score first: the compare page begins with what was written first.
        points = [Metric(name, value, now, 0) for name, value in sorted(metrics.items()) if math.isfinite(value)]
        self._client.log_batch(
            run.id, metrics=points, params=[Param("model", cell.space), Param("length", str(cell.length))]
        )
        self._set_state(run, state)

    def put_record(self, record: RunRecord) -> None:
        """Write a trial or a confirm run, unless exactly this record is there."""
        from mlflow.entities import Param, RunTag

        config = record.config
        start = int(1000 * datetime.fromisoformat(record.started_at).timestamp()) if record.started_at else _now()
        cell = self._cell_run(config.cell, start)
        self._set_views(record)
        # t3, or t3-s0: a cell's list holds the seeds of two configurations that were confirmed.
        name = f"{config.id.name} {config.space} L{config.length}"
        tags = _tags(record)
        run = self._ensure(
            config.dataset, f"{self._sweep}/{config.run}", name, start, tags | {"mlflow.parentRunId": cell.id}
        )
        if not record.epochs:  # it was read without them
            with_epochs = RunRecord.read(self._folder / "runs" / config.run)
            record = record.model_copy(update={"epochs": with_epochs.epochs if with_epochs else []})
        digest = fingerprint(record.model_dump())
        if run.digest == digest:
            return
        end = start + int(1000 * (record.seconds.total - record.seconds.crashed))
        points = _points(record, start, end)
        while len(points) > BATCH:
            self._client.log_batch(run.id, metrics=points[:BATCH])
            points = points[BATCH:]
        self._client.set_terminated(run.id, STATUS[record.state], end)
        tags |= {"bench.state": record.state, "bench.digest": digest}
        if record.cause:
            tags |= {"bench.cause": record.cause, "mlflow.note.content": record.message or record.cause}
        # The digest says that all of the run is written, so it is written last: MLflow writes tags after metrics.
        self._client.log_batch(
            run.id,
            metrics=points,
            params=[Param(name, str(value)) for name, value in _parameters(record).items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        run.digest = digest

    def _index(self, dataset: str) -> RunIndex:
        if dataset not in self._indexes:
            self._experiments[dataset] = self._experiment(dataset)
            self._indexes[dataset] = RunIndex(self._client, self._experiments[dataset], self._sweep)
        return self._indexes[dataset]

    def _experiment(self, dataset: str) -> str:
        from mlflow.exceptions import MlflowException

        location = None if store.server_url() else (self._results / "mlartifacts" / dataset).resolve().as_uri()
        experiment = self._client.get_experiment_by_name(dataset)
        if experiment is None:
            with suppress(MlflowException):  # another sweep may make it at the same moment
                return self._client.create_experiment(dataset, artifact_location=location)
            experiment = self._client.get_experiment_by_name(dataset)
        if experiment is None or experiment.lifecycle_stage != "active":
            raise StoreError(
                f"MLflow: experiment '{dataset}' is deleted or cannot be made; restore it on MLflow's page"
            )
        return experiment.experiment_id

    def _ensure(self, dataset: str, key: str, name: str, start: int, tags: dict[str, str]) -> Run:
        """Return the run with this `bench.id`; make it if there is none."""
        index = self._index(dataset)
        return index.find(key) or index.make(
            key, name, start, {"bench.sweep": self._sweep, "bench.dataset": dataset} | tags
        )

    def _sweep_run(self, dataset: str) -> Run:
        tags = {"bench.kind": "sweep", "mlflow.note.content": self._command}
        return self._ensure(dataset, f"{self._sweep}/{dataset}", self._folder.name, _now(), tags)

    def _cell_run(self, cell: CellId, start: int) -> Run:
        tags = {
            "bench.kind": "cell",
            "bench.length": str(cell.length),
            "bench.model": cell.space,
            "mlflow.parentRunId": self._sweep_run(cell.dataset).id,
            "mlflow.runColor": COLOURS[self._index(cell.dataset).num_cells % len(COLOURS)],
        }
        return self._ensure(cell.dataset, f"{self._sweep}/{cell}", f"{cell.space} L{cell.length}", start, tags)

    def _set_views(self, record: RunRecord) -> None:
        """Set up the pages that `links` leads to."""
        dataset = record.config.dataset
        if dataset in self._viewed:
            return
        for name, view in pages.views(self._sweep, record.asked).items():
            tag = f"mlflow.sharedViewState.{self._sweep}-{name}"
            self._client.set_experiment_tag(self._experiments[dataset], tag, json.dumps(view))
        self._viewed.add(dataset)

    def _set_state(self, run: Run, state: str) -> None:
        self._client.set_tag(run.id, "bench.state", state)
        if state == "running":
            self._client.update_run(run.id, "RUNNING")
        else:
            self._client.set_terminated(run.id, STATUS[state])


def _tags(record: RunRecord) -> dict[str, str]:
    config = record.config
    return {
        "bench.kind": "trial" if config.phase == "screen" else config.phase,
        "bench.length": str(config.length),
        "bench.model": config.space,
        "bench.task": config.task,
        "bench.hardware": str(record.environment.get("hardware", "")),
        "bench.commit": config.commit,
        "bench.space_hash": config.space_hash,
        "bench.data_fingerprint": config.data_fingerprint,
        "bench.test_opened": str(record.test is not None).lower(),
    }


def _parameters(record: RunRecord) -> dict[str, Any]:
    """Return the flat parameters of a run, for the columns and axes of MLflow's pages."""
    config = record.config
    return {
        "model": config.space,
        "length": config.length,
        "seed": config.seed,
        **config.train.model_dump(),
        "log10_learning_rate": round(math.log10(config.train.learning_rate), 4),  # MLflow's axes are linear
        **config.model_arguments,
    }


def _points(record: RunRecord, start: int, end: int) -> list[Any]:
    """Return the metrics of a run: of each epoch, and of the whole run at its end; times are in ms since 1970."""
    from mlflow.entities import Metric

    points = []
    for epoch in record.epochs:
        when = start + int(1000 * epoch.train_seconds)
        values = {"train_loss": epoch.train_loss} | {f"val/{name}": value for name, value in epoch.val.items()}
        points += [Metric(name, value, when, epoch.steps) for name, value in values.items()]
    totals: dict[str, float | None] = {f"best_val/{name}": value for name, value in record.val.items()}
    totals |= {f"test/{name}": value for name, value in (record.test or {}).items()}
    totals |= {
        "sequences_to_solve": record.sequences_to_solve,
        "seconds_to_solve": record.seconds_to_solve,
        "train_sequences": record.train_sequences,
        "train_seconds": record.seconds.train,
        "total_seconds": record.seconds.total,
        "parameters": record.num_parameters or None,
        "peak_memory_mib": None if record.peak_memory_bytes is None else record.peak_memory_bytes / 2**20,
    }
    known = {name: float(value) for name, value in totals.items() if value is not None and math.isfinite(value)}
    return points + [Metric(name, value, end, record.train_steps) for name, value in known.items()]


def _now() -> int:
    return int(time.time() * 1000)
