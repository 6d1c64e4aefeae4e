"""MLflow: a projection of the run records, written beside the training and rebuilt by `bench sync`.

Experiment per dataset; in it one run per sweep -> cell -> trial and confirm runs, nested by parent.
Nothing that happens here stops a sweep.
"""

import fcntl
import json
import logging
import math
import os
import queue
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bench.config.ids import CellId
from bench.config.strict import fingerprint
from bench.results.record import Asked, RunRecord, write_atomically

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a server of pages has no business running jobs
}
os.environ.update(ENVIRONMENT)  # MLflow reads them when it is imported

STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
"""The name of every ending in MLflow. Its page shows KILLED like a failure, so pruned runs are FINISHED with a tag."""

MARK_SECONDS = 30.0
"""Between two notes of how far MLflow has come, so that a killed sweep does not look up all of its runs again."""

COLOURS = ("#137dae", "#c83243", "#308613", "#8a63bf", "#de7921", "#04867d", "#b45091", "#445461", "#a6630c", "#434a93")
"""Of the cells of a dataset in turn; left alone, the page gives two models the same one."""


def store_uri(results: Path) -> str:
    """Return the address of the store below a results folder."""
    return f"sqlite:///{(results / 'mlflow.db').resolve()}"


class Tracker:
    """Writes one sweep into MLflow from a thread of its own.

    `write_*` return at once; `close` waits. Everything is found again by the tag `bench.id`, so that writing twice
    changes nothing.
    """

    def __init__(self, results: Path, sweep: str, folder: Path, note: str) -> None:
        self.errors = 0
        self.experiments: dict[str, str] = {}  # by dataset
        self._results, self._sweep, self._note = results, sweep, note
        self._folder, self._log = folder, folder / "mlflow.log"
        self._known: dict[str, tuple[str, str]] = {}  # bench.id -> (run id, digest of what was written)
        self._fresh: set[str] = set()  # experiments in which this sweep began with this tracker
        self._marked = time.monotonic()
        self._viewed: set[str] = set()  # datasets whose pages are set up
        self._client: MlflowClient | None = None
        self._queue: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def write_record(self, record: RunRecord) -> None:
        """Write a trial or a confirm run."""
        self._queue.put((self._put_record, record))

    def write_cell(self, dataset: str, length: int, space: str, state: str, metrics: dict[str, float]) -> None:
        """Write the aggregate of a cell: mean, interval, bill."""
        self._queue.put((self._put_cell, dataset, length, space, state, metrics))

    def write_sweep(self, datasets: list[str], state: str) -> None:
        """Write the state of the sweep, one run in each dataset's experiment."""
        self._queue.put((self._put_sweep, datasets, state))

    def written_until(self) -> int:
        """Return up to which moment (ns since 1970) what was recorded is known to be in MLflow; 0: nothing is."""
        path = self._folder / "mlflow.json"
        if not path.exists() or not (self._results / "mlflow.db").exists():
            return 0
        try:
            return int(json.loads(path.read_text())["until_ns"])
        except (ValueError, KeyError, TypeError):
            return 0

    def close(self, timeout: float) -> bool:
        """Wait for all that was handed over; return whether it was written in time."""
        self._queue.put(None)
        self._thread.join(timeout)
        written = not self._thread.is_alive() and not self.errors
        if written:
            self._mark()
        return written

    def _mark(self) -> None:
        """Note that all is written that ended a while ago: a run that has just ended may not have been handed over."""
        self._marked = time.monotonic()
        until_ns = time.time_ns() - int(2e9 * MARK_SECONDS)
        with suppress(OSError):
            write_atomically(self._folder / "mlflow.json", json.dumps({"until_ns": until_ns}))

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            act, *arguments = item
            try:
                if self._client is None:
                    self._client = self._connect()
                act(*arguments)
                if self._queue.empty() and not self.errors and time.monotonic() - self._marked > MARK_SECONDS:
                    self._mark()
            except Exception as error:  # noqa: BLE001 - tracking never stops training, whatever it raises
                self.errors += 1
                text = " ".join(str(error).split())
                with suppress(OSError), self._log.open("a") as file:
                    file.write(f"{datetime.now().isoformat()} {act.__name__}: {type(error).__name__}: {text}\n")

    def _connect(self) -> "MlflowClient":
        from mlflow import MlflowClient

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.ERROR)  # MLflow sets its own when it is imported
        # Two processes that make the tables of a new store at once break each other's migration.
        with _locked(self._results / "mlflow.lock"):
            with closing(sqlite3.connect(self._results / "mlflow.db")) as store:
                store.execute("PRAGMA schema_version")  # raises at once where MLflow would try for minutes
            client = MlflowClient(tracking_uri=store_uri(self._results))
            client.search_experiments(max_results=1)
        return client

    @property
    def client(self) -> "MlflowClient":
        """The client, once the thread has connected."""
        assert self._client is not None
        return self._client

    def _experiment(self, dataset: str) -> str:
        if dataset not in self.experiments:
            with _locked(self._results / "mlflow.lock"):
                found = self.client.get_experiment_by_name(dataset)
                location = (self._results / "mlartifacts" / dataset).resolve().as_uri()
                self.experiments[dataset] = (
                    found.experiment_id if found else self.client.create_experiment(dataset, artifact_location=location)
                )
        return self.experiments[dataset]

    def _find(self, experiment: str, key: str) -> tuple[str, str] | None:
        """Return the run with this `bench.id` and its digest; one at a time: all of a large sweep's fill the memory."""
        if key not in self._known and experiment not in self._fresh:
            found = self.client.search_runs([experiment], f"tags.`bench.id` = '{key}'", max_results=1)
            if found:
                self._known[key] = (found[0].info.run_id, found[0].data.tags.get("bench.digest", ""))
        return self._known.get(key)

    def _ensure(self, dataset: str, key: str, name: str, parent: str | None, tags: dict[str, str], start: int) -> str:
        """Return the run with this `bench.id`, made if there is none."""
        experiment = self._experiment(dataset)
        if self._find(experiment, key) is None:
            nested = {"mlflow.parentRunId": parent} if parent else {}
            tags = {"bench.sweep": self._sweep, "bench.id": key, "bench.dataset": dataset} | nested | tags
            run = self.client.create_run(experiment, start_time=start, run_name=name, tags=tags)
            self._known[key] = (run.info.run_id, "")
            if parent is None:
                self._fresh.add(experiment)  # the sweep was not here, so nothing of it was
        return self._known[key][0]

    def _sweep_run(self, dataset: str) -> str:
        tags = {"bench.kind": "sweep", "mlflow.note.content": self._note}
        return self._ensure(dataset, f"{self._sweep}/{dataset}", self._sweep, None, tags, _now())

    def _cell_run(self, dataset: str, length: int, space: str, start: int) -> str:
        parent = self._sweep_run(dataset)
        cells = [key for key in self._known if key.startswith(f"{self._sweep}/{dataset}/") and key.count("/") == 3]
        colour = COLOURS[len(cells) % len(COLOURS)]
        tags = {"bench.kind": "cell", "bench.length": str(length), "bench.model": space, "mlflow.runColor": colour}
        key = f"{self._sweep}/{CellId(dataset, length, space)}"
        return self._ensure(dataset, key, f"{space} L{length}", parent, tags, start)

    def _put_sweep(self, datasets: list[str], state: str) -> None:
        for dataset in datasets:
            self._close(self._sweep_run(dataset), state)

    def _put_cell(self, dataset: str, length: int, space: str, state: str, metrics: dict[str, float]) -> None:
        from mlflow.entities import Metric, Param

        now = _now()
        run = self._cell_run(dataset, length, space, now)
        # Sorted, which puts the score first: the compare page begins with what was written first.
        points = [Metric(name, value, now, 0) for name, value in sorted(metrics.items()) if math.isfinite(value)]
        self.client.log_batch(run, metrics=points, params=[Param("model", space), Param("length", str(length))])
        self._close(run, state)

    def _put_record(self, record: RunRecord) -> None:
        from mlflow.entities import Metric, Param, RunTag

        config = record.config
        key = f"{config.sweep}/{config.run}"
        start = int(1000 * datetime.fromisoformat(record.started_at).timestamp()) if record.started_at else _now()
        tags = {
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
        parent = self._cell_run(config.dataset, config.length, config.space, start)
        self._set_views(record)
        # t3, or t3-s0: the seeds of two configurations that were confirmed stand in one list.
        name = f"{config.id.name} {config.space} L{config.length}"
        if not record.epochs:  # it was read without them
            whole = RunRecord.read(self._folder / "runs" / config.run)
            record = record.model_copy(update={"epochs": whole.epochs if whole else []})
        run = self._ensure(config.dataset, key, name, parent, tags, start)
        digest = fingerprint(record.model_dump())
        if self._known[key][1] == digest:
            return
        metrics = []
        for epoch in record.epochs:
            when = start + int(1000 * epoch.train_seconds)
            values = {"train_loss": epoch.train_loss} | {f"val/{name}": value for name, value in epoch.val.items()}
            metrics += [Metric(name, value, when, epoch.steps) for name, value in values.items()]
        end = start + int(1000 * (record.seconds.total - record.seconds.crashed))
        metrics += [Metric(name, value, end, record.train_steps) for name, value in _summary(record).items()]
        state = {"bench.state": record.state, "bench.digest": digest}
        if record.cause:
            state |= {"bench.cause": record.cause, "mlflow.note.content": record.message or record.cause}
        self.client.log_batch(
            run,
            metrics=metrics,
            params=[Param(name, str(value)) for name, value in _parameters(record).items()],
            tags=[RunTag(name, value) for name, value in state.items()],
        )
        self.client.set_terminated(run, STATUS[record.state], end)
        self._known[key] = (run, digest)

    def _set_views(self, record: RunRecord) -> None:
        """Set up the pages that `links` leads to."""
        dataset = record.config.dataset
        if dataset in self._viewed:
            return
        for name, view in _views(self._sweep, record.asked).items():
            tag = f"mlflow.sharedViewState.{self._sweep}-{name}"
            self.client.set_experiment_tag(self.experiments[dataset], tag, json.dumps(view))
        self._viewed.add(dataset)

    def _close(self, run: str, state: str) -> None:
        self.client.set_tag(run, "bench.state", state)
        if state == "running":
            self.client.update_run(run, "RUNNING")
        else:
            self.client.set_terminated(run, STATUS[state])


def log_report(results: Path, sweep: str, report: Path) -> bool:
    """Put a sweep's report beside its runs in MLflow, one in each dataset's experiment; return whether that worked."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if not (results / "mlflow.db").exists():
        return False
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    client = MlflowClient(tracking_uri=store_uri(results))
    try:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        where = f"tags.`bench.sweep` = '{sweep}' and tags.`bench.kind` = 'sweep'"
        runs = client.search_runs(experiments, where)
        for run in runs:
            client.log_artifact(run.info.run_id, str(report))
    except (MlflowException, OSError):
        return False
    return bool(runs)


def save_model(
    path: Path,
    *,
    loader: str,
    data: Path,
    code: Path,
    inputs: dict[str, str],
    outputs: "pd.DataFrame",
    example: "pd.DataFrame | None",
    requirements: list[str],
) -> None:
    """Write a folder that `mlflow.pyfunc.load_model` loads, with its signature: a table in, a table out.

    `loader` is the module with `_load_pyfunc`, which gets the folder `data`; `code` the package it belongs to. The
    columns of `inputs` are each "number" or "text".
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own classes, and of whole numbers that may be missing elsewhere
        from mlflow.models import ModelSignature, infer_signature
        from mlflow.pyfunc import save_model
        from mlflow.types import ColSpec, Schema

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        kinds = {"number": "double", "text": "string"}
        schema = Schema([ColSpec(kinds[kind], name) for name, kind in inputs.items()])
        save_model(
            path,
            loader_module=loader,
            data_path=str(data),
            code_paths=[str(code)],
            signature=ModelSignature(schema, infer_signature(outputs).inputs),
            input_example=example,
            pip_requirements=requirements,
        )


def load_model(path: Path) -> Any:
    """Return what `loader` made of a folder that `save_model` wrote."""
    from mlflow.pyfunc import load_model

    return load_model(str(path)).get_raw_model()  # type: ignore[no-untyped-call]


def register_model(results: Path, sweep: str, run: str, path: Path, name: str) -> int | None:
    """Put a saved model beside the run it came from, as a version of the registered model `name`; return its number.

    None where MLflow does not know of the run, or cannot be written to.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if not (results / "mlflow.db").exists():
        return None
    client = MlflowClient(tracking_uri=store_uri(results), registry_uri=store_uri(results))
    try:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        found = client.search_runs(experiments, f"tags.`bench.id` = '{sweep}/{run}'", max_results=1)
        if not found:
            return None
        client.log_artifacts(found[0].info.run_id, str(path), "model")
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        source = f"{found[0].info.artifact_uri}/model"
        made = client.create_model_version(name, source, found[0].info.run_id, tags={"bench.sweep": sweep})
        return int(made.version)
    except (MlflowException, OSError):
        return None


def serve(results: Path, port: int) -> int:
    """Serve the pages at 127.0.0.1 until the server ends, SIGINT or SIGTERM; leave none of its processes behind."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store_uri(results), "--uvicorn-opts", "--log-level warning"]

    def stop(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    # MLflow imports `datasets`, if there is one: not the user's folder of cards, which lies where the server starts.
    environment = os.environ | ENVIRONMENT | {"PYTHONSAFEPATH": "1"}
    # The server is two processes, and the first does not end the second: a group of their own ends them both.
    with subprocess.Popen(command, env=environment, start_new_session=True) as server:
        try:
            return server.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)


def links(experiments: dict[str, str], sweep: str, port: int = 5000) -> list[tuple[str, str]]:
    """Return the pages of a sweep worth opening, each with what it shows, for the server of `bench ui`."""
    found = []
    for dataset, experiment in experiments.items():
        # Without the workflowType the page opens in a mode for language models, which has no runs.
        page = f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs?workflowType=machine_learning"
        view = f"viewStateShareKey={quote(sweep)}"
        found.append((f"{dataset}: models side by side", f"{page}&compareRunsMode=CHART&{view}-charts"))
        found.append((f"{dataset}: all runs; open them with [+]", f"{page}&compareRunsMode=TABLE&{view}-runs"))
    return found


def _views(sweep: str, asked: Asked) -> dict[str, dict[str, Any]]:
    """Return the state of the pages that `links` leads to, in the form in which MLflow's own page shares a view.

    Filter and order are all given: what is not, the page takes from the last visit. Sorted by a metric, rows do not
    nest, and only so do the charts show cells; sorted by date, they do.
    """
    score, where = f"test/{asked.metric}", f"tags.`bench.sweep` = '{sweep}'"
    whole = {"startTime": "ALL", "lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs"}
    columns = ["tags.`bench.state`", *(f"metrics.`{name}`" for name in (score, f"best_val/{asked.metric}"))]
    columns += ["metrics.`total_seconds`", "params.`learning_rate`"]
    section = {"uuid": "cells", "name": "models side by side", "display": True, "isReordered": False, "deleted": False}
    bars = [score, *(["test/solved"] if asked.solved is not None else []), "total_seconds"]
    charts: list[dict[str, Any]] = [{"type": "BAR", "metricKey": name, "displayName": name} for name in bars]
    axes = {"xaxis": {"key": "total_seconds", "type": "METRIC"}, "yaxis": {"key": score, "type": "METRIC"}}
    charts.append({"type": "SCATTER", "displayName": "score against cost", **axes})
    same = {"runsCountToCompare": 100, "metricSectionId": "cells", "deleted": False, "isGenerated": False}
    return {
        "runs": whole
        | {"searchFilter": where, "orderByKey": "attributes.start_time", "orderByAsc": False}
        | {"selectedColumns": columns},
        "charts": whole
        | {"searchFilter": f"{where} and tags.`bench.kind` = 'cell'", "runsHiddenMode": "SHOW_ALL"}
        | {"orderByKey": f"metrics.`{score}`", "orderByAsc": asked.goal == "minimize", "selectedColumns": columns}
        | {"compareRunSections": [section | {"isGenerated": False}]}
        | {"compareRunCharts": [{"uuid": f"chart{i}"} | chart | same for i, chart in enumerate(charts)]},
    }


def _parameters(record: RunRecord) -> dict[str, Any]:
    """Return the flat parameters of a run, for the columns and axes of MLflow's pages."""
    config = record.config
    train = config.train.model_dump()
    return {
        "model": config.space,
        "length": config.length,
        "seed": config.seed,
        **train,
        "log10_learning_rate": round(math.log10(config.train.learning_rate), 4),  # MLflow's axes are linear
        **config.model_arguments,
    }


def _summary(record: RunRecord) -> dict[str, float]:
    """Return the figures that stand for a whole run."""
    values: dict[str, float | None] = {f"best_val/{name}": value for name, value in record.val.items()}
    values |= {f"test/{name}": value for name, value in (record.test or {}).items()}
    values |= {
        "sequences_to_solve": record.sequences_to_solve,
        "seconds_to_solve": record.seconds_to_solve,
        "train_sequences": record.train_sequences,
        "train_seconds": record.seconds.train,
        "total_seconds": record.seconds.total,
        "parameters": record.num_parameters or None,
        "peak_memory_mib": None if record.peak_memory_bytes is None else record.peak_memory_bytes / 2**20,
    }
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _now() -> int:
    return int(time.time() * 1000)
