"""The MLflow runs of one sweep: which of them exist, and how records become runs.

Each dataset has an experiment. In it the sweep is a run, its cells are runs below that, their trials are below the
cells, and the confirm runs below the trial whose configuration they repeat. Each run has a tag `bench.id`, so that
writing twice changes nothing. What is written under which name is decided in bench/tracking/facts.py.
"""

import json
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config.ids import CellId, RunId
from bench.config.strict import fingerprint
from bench.errors import StoreError
from bench.results import leaderboard
from bench.results.cell_runs import CellRuns
from bench.results.leaderboard import COLUMNS
from bench.results.record import Asked, RunRecord, outcome, read_spec, records
from bench.tracking import facts, pages, store, views
from bench.tracking.facts import Texts
from bench.wording import is_known

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as Entity

STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
"""MLflow's name for each state. Its pages show KILLED like a failure, so pruned runs are FINISHED and have a tag."""

BATCH = 800
"""Metrics in one call; MLflow takes at most 1,000 metrics, parameters and tags together."""

COLOURS = (
    *("#137dae", "#c83243", "#308613", "#8a63bf", "#de7921", "#04867d", "#b45091", "#445461", "#a6630c", "#434a93"),
    *("#56b4e9", "#f0807f", "#8fc464", "#c3a5ee", "#e3b341", "#5ec9bf", "#e79bc9", "#9aa7b3", "#6b3d00", "#1b1f6b"),
)
"""Of a dataset's cells in turn; MLflow's own choice gives two models the same colour."""


KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Of an experiment; without it, the page may open in a mode for language models, which has no runs."""


@dataclass
class Run:
    """A run in MLflow, and what was known of it when it was found."""

    id: str
    digest: str = ""  # of the record that was written
    colour: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, run: "Entity") -> "Run":
        """Return a run that MLflow holds; of trials and confirm runs only id and digest, since there may be many."""
        data = run.data
        digest, colour = data.tags.get("bench.digest", ""), data.tags.get("mlflow.runColor", "")
        if data.tags["bench.kind"] in ("trial", "confirm"):
            return cls(run.info.run_id, digest, colour)
        return cls(run.info.run_id, digest, colour, data.tags, data.params, data.metrics)


class RunIndex:
    """The runs of a sweep in one experiment, by their tag `bench.id`.

    Trials and confirm runs of an earlier session are looked up one by one: all of a large sweep would fill the memory.
    """

    def __init__(self, client: "MlflowClient", experiment: str, sweep: str) -> None:
        self._client, self._experiment = client, experiment
        of_sweep = pages.where("bench.sweep", sweep)
        cells = client.search_runs([experiment], f"{of_sweep} and {pages.where('bench.kind', 'cell')}")
        self._runs = {run.data.tags["bench.id"]: Run.of(run) for run in cells}
        self._is_new = not client.search_runs([experiment], of_sweep, max_results=1)
        self.num_cells = len(cells)

    def find(self, key: str) -> Run | None:
        """Return the run with this `bench.id`, or None."""
        if key not in self._runs and not self._is_new:
            for run in self._client.search_runs([self._experiment], pages.where("bench.id", key), max_results=1):
                self._runs[key] = Run.of(run)
        return self._runs.get(key)

    def remake(self, key: str, name: str, start: int, tags: dict[str, str]) -> Run:
        """Make the run with this `bench.id` again, because MLflow changes no parameter; what was below it moves."""
        old = self._runs.pop(key)
        new = self.make(key, name, start, tags | {"mlflow.runColor": old.colour})
        below = pages.where("mlflow.parentRunId", old.id)
        while children := self._client.search_runs([self._experiment], below):
            for child in children:
                self._client.set_tag(child.info.run_id, "mlflow.parentRunId", new.id)
        self._client.delete_run(old.id)
        return new

    def make(self, key: str, name: str, start: int, tags: dict[str, str]) -> Run:
        """Make the run with this `bench.id`; it starts at `start`, in ms since 1970."""
        made = self._client.create_run(self._experiment, start_time=start, run_name=name, tags=tags | {"bench.id": key})
        self._runs[key] = Run.of(made)
        self.num_cells += tags["bench.kind"] == "cell"
        return self._runs[key]


class SweepRuns:
    """Makes and updates the runs of one sweep. Raises what MLflow raises.

    `experiments` gets the id of each dataset's experiment.
    """

    def __init__(self, client: "MlflowClient", results: Path, folder: Path, experiments: dict[str, str]) -> None:
        self._client, self._results, self._folder = client, results, folder
        self._sweep, self._spec = store.sweep_key(folder), read_spec(folder)
        self._experiments = experiments
        self._indexes: dict[str, RunIndex] = {}  # by dataset
        self._knobs: dict[
            CellId, dict[str, set[str]]
        ] = {}  # the values of each setting that the trials of a cell tried
        self._columns: dict[CellId, set[str]] = {}  # that a cell has a number in
        self._shown: dict[str, dict[str, views.View]] = {}  # by dataset: what its pages show first

    def put_sweep(self, datasets: list[str], state: str) -> None:
        """Write the state of the sweep into each dataset's experiment; at its end, also ranks and the bill."""
        for dataset in datasets:
            self._set_state(self._sweep_run(dataset), state)
        if state != "running":
            self._put_board()

    def put_cell(self, cell: CellId, state: str) -> None:
        """Write the state of a cell, and its row of the leaderboard as its records make it now."""
        stored = tuple(records(self._folder, cell))
        run = self._cell_run(cell, _now())
        if stored:
            spec = read_spec(self._folder)
            runs = CellRuns(stored, spec["top_k"])
            metrics, params, tags = facts.of_cell(runs, spec)
            self._knobs[cell], self._columns[cell] = facts.tried(runs.screened), set(metrics)
            self._set_views(cell.dataset, stored[0].asked)
            if state == "interrupted":  # another configuration may be chosen yet
                params = {name: value for name, value in params.items() if name in facts.SETTINGS}
            elif any(run.params.get(name) not in (None, value) for name, value in params.items()):
                run = self._remake_cell(cell)
            known = {name for name in COLUMNS if name not in facts.ELSEWHERE}
            emptied = {
                name for name in run.metrics.keys() & known - metrics.keys() if not math.isnan(run.metrics[name])
            }
            metrics |= dict.fromkeys(emptied, math.nan)  # MLflow removes no metric
            tags |= {tag: "" for tag in run.tags if tag.removeprefix("bench.") in known and tag not in tags}
            self._update(run, metrics, params, tags)
        self._set_state(run, state, tag=not stored)

    def put_record(self, record: RunRecord) -> None:
        """Write a trial or a confirm run, unless exactly this record is there."""
        config = record.config
        start = int(1000 * datetime.fromisoformat(record.started_at).timestamp()) if record.started_at else _now()
        parent = self._cell_run(config.cell, start)
        if config.phase == "confirm":
            parent = self._run(config.id.trial, start, parent)
        self._set_views(config.dataset, record.asked)
        run = self._run(config.id, start, parent)
        if not record.epochs:  # it was read without them
            with_epochs = RunRecord.read(self._folder / "runs" / config.run)
            record = record.model_copy(update={"epochs": with_epochs.epochs if with_epochs else []})
        metrics, params, tags = facts.of_run(record, self._spec)
        digest = fingerprint([record.model_dump(), metrics, tags, parent.id])
        if run.digest == digest:
            return
        tags |= {"mlflow.parentRunId": parent.id, "mlflow.runColor": run.colour, "bench.digest": digest}
        self._write(run, record, metrics, params, tags)
        run.digest = digest

    def _write(self, run: Run, record: RunRecord, metrics: dict[str, float], params: Texts, tags: Texts) -> None:
        """Write all that MLflow shows of a record; times are in ms since 1970."""
        from mlflow.entities import Metric, Param, RunTag

        start = int(1000 * datetime.fromisoformat(record.started_at).timestamp()) if record.started_at else _now()
        end = start + int(1000 * (record.seconds.total - record.seconds.crashed))
        points = []
        for epoch in record.epochs:
            when = start + int(1000 * epoch.train_seconds)
            values = {"train_loss": epoch.train_loss} | {f"val/{name}": value for name, value in epoch.val.items()}
            points += [Metric(name, value, when, epoch.steps) for name, value in values.items()]
        points += [Metric(name, value, end, record.train_steps) for name, value in metrics.items()]
        while len(points) > BATCH:
            self._client.log_batch(run.id, metrics=points[:BATCH])
            points = points[BATCH:]
        self._client.set_terminated(run.id, STATUS[record.state], end)
        tags = tags | {"bench.status": outcome(record)}
        if record.cause:
            tags |= {"bench.cause": record.cause, "mlflow.note.content": record.message or record.cause}
        # The digest says that all of the run is written, so it is written last: MLflow writes tags after metrics.
        self._client.log_batch(
            run.id,
            metrics=points,
            params=[Param(name, value) for name, value in params.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )

    def _update(self, run: Run, metrics: dict[str, float], params: Texts, tags: Texts) -> None:
        """Write what has changed of a run whose metrics have no history."""
        from mlflow.entities import Metric, Param, RunTag

        now = _now()
        # Sorted, which puts the score first: the compare page begins with what was written first.
        ordered = sorted(metrics.items(), key=lambda item: COLUMNS.index(item[0]))
        self._client.log_batch(
            run.id,
            metrics=[Metric(name, value, now, 0) for name, value in ordered if run.metrics.get(name) != value],
            params=[Param(name, value) for name, value in params.items() if name not in run.params],
            tags=[RunTag(name, value) for name, value in tags.items() if run.tags.get(name) != value],
        )
        run.metrics, run.params, run.tags = run.metrics | metrics, run.params | params, run.tags | tags

    def _put_board(self) -> None:
        """Write what only all cells together decide: ranks, and the bill of the sweep for each dataset."""
        try:
            board = leaderboard.build(self._folder)
        except StoreError:  # no run has finished
            return
        for dataset, rows in board.groupby("dataset"):
            models = rows[rows["num_trials"].notna()]
            if models.empty:
                continue
            for place, row in enumerate(models[::-1].itertuples(), start=1):
                cell = CellId(str(dataset), int(row.length), str(row.model))
                run = self._cell_run(cell, _now())
                rank = float(row.rank) if is_known(row.rank) else math.nan
                if not math.isnan(rank) or "rank" in run.metrics:
                    self._update(run, {"rank": rank}, {}, {})
                middle = row.solved_share if is_known(row.solved_share) else row.score
                ends = [row.ci_low, middle, row.ci_high]
                if all(is_known(end) for end in ends):
                    self._put_interval(cell, [float(end) for end in ends], place)
            sums = {name: models[name].astype(float).sum(skipna=False) for name in facts.SUMS}
            known = {name: float(value) for name, value in sums.items() if math.isfinite(value)}
            self._update(self._sweep_run(str(dataset)), known, {}, facts.of_sweep(str(dataset), self._spec))

    def _put_interval(self, cell: CellId, ends: list[float], place: int) -> None:
        """Write the interval of a cell for the chart that draws it."""
        from mlflow.entities import Metric, RunTag

        run, text = self._cell_run(cell, _now()), f"{facts.PLACE}: {ends} at {place}"
        known = run.tags.get("bench.interval")
        if known == text:
            return
        if known is not None:  # MLflow forgets no point
            state = "interrupted" if run.tags.get("bench.status") == "unfinished" else "complete"
            rank, run = run.metrics.get("rank", math.nan), self._remake_cell(cell)
            self.put_cell(cell, state)
            self._update(run, {"rank": rank}, {}, {})
        points = [Metric(facts.INTERVAL, end, step, step) for step, end in enumerate(ends)]
        points += [Metric(facts.PLACE, float(place), step, step) for step in range(len(ends))]
        self._client.log_batch(run.id, metrics=points, tags=[RunTag("bench.interval", text)])
        run.tags["bench.interval"] = text

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
                return self._client.create_experiment(dataset, artifact_location=location, tags=KIND)
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
        tags = {"bench.kind": "sweep", "mlflow.note.content": self._spec["command"]}
        created = self._spec.get("created")
        start = int(1000 * datetime.fromisoformat(created).timestamp()) if created else _now()
        return self._ensure(dataset, f"{self._sweep}/{dataset}", self._folder.name, start, tags)

    def _cell_run(self, cell: CellId, start: int) -> Run:
        tags = self._cell_tags(cell)
        tags["mlflow.runColor"] = COLOURS[self._index(cell.dataset).num_cells % len(COLOURS)]
        return self._ensure(cell.dataset, f"{self._sweep}/{cell}", f"{cell.space} L{cell.length}", start, tags)

    def _remake_cell(self, cell: CellId) -> Run:
        """Make the run of a cell again, whose parameters are those of another configuration."""
        name = f"{cell.space} L{cell.length}"
        return self._index(cell.dataset).remake(f"{self._sweep}/{cell}", name, _now(), self._cell_tags(cell))

    def _cell_tags(self, cell: CellId) -> Texts:
        return {
            "bench.kind": "cell",
            "bench.sweep": self._sweep,
            "bench.dataset": cell.dataset,
            "bench.length": str(cell.length),
            "bench.model": cell.space,
            "mlflow.parentRunId": self._sweep_run(cell.dataset).id,
        }

    def _run(self, run: RunId, start: int, parent: Run) -> Run:
        """Return the run of a trial or a confirm run; make it, empty, if there is none."""
        # t3, or t3-s0: a list holds the seeds of two configurations that were confirmed.
        name = f"{run.name} {run.cell.space} L{run.cell.length}"
        kind = "trial" if run == run.trial else "confirm"
        tags = {"bench.kind": kind, "bench.length": str(run.cell.length), "bench.model": run.cell.space}
        tags |= {"mlflow.parentRunId": parent.id, "mlflow.runColor": self._cell_run(run.cell, start).colour}
        return self._ensure(run.cell.dataset, f"{self._sweep}/{run}", name, start, tags)

    def _set_views(self, dataset: str, asked: Asked) -> None:
        """Set up the pages that `links` leads to, or set them up again when the trials share other settings."""
        knobs = facts.shared([tried for cell, tried in self._knobs.items() if cell.dataset == dataset])
        self._index(dataset)
        columns = {name for cell, names in self._columns.items() if cell.dataset == dataset for name in names}
        wanted = views.views(self._sweep, asked, columns, knobs)
        shown = self._shown.setdefault(dataset, {})
        for name, view in wanted.items():
            if shown.get(name) != view:
                tag = f"mlflow.sharedViewState.{self._sweep}-{name}"
                self._client.set_experiment_tag(self._experiments[dataset], tag, json.dumps(view))
                shown[name] = view

    def _set_state(self, run: Run, state: str, tag: bool = True) -> None:
        if tag:
            self._client.set_tag(run.id, "bench.status", state)
        if state == "running":
            self._client.update_run(run.id, "RUNNING")
        else:
            self._client.set_terminated(run.id, STATUS[state])


def _now() -> int:
    return int(time.time() * 1000)
