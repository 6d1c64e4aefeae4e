"""A small sweep as records, and what MLflow holds of it."""

import json
from collections.abc import Iterable
from pathlib import Path

from mlflow import MlflowClient

from bench.config.ids import CellId
from bench.results.record import RunRecord
from bench.tracking.store import store_uri
from bench.tracking.writer import Writer
from tests import makers

MODELS = ("gru", "mlp")
EPOCHS = [
    {"steps": 10 * i, "sequences": 320 * i, "train_seconds": 0.1 * i, "train_loss": 1 / i, "val": {"accuracy": i / 2}}
    for i in (1, 2)
]


def make_record(run: str, **facts) -> RunRecord:
    """Return a record of the cell latch/L8/<space>; `run` is <space>/t<number> or <space>/t<number>-s<seed>."""
    space, name = run.split("/")
    phase = "confirm" if "-s" in name else "screen"
    config = {
        "sweep": "demo",
        "run": f"latch/L8/{run}",
        "phase": phase,
        "number": int(name.rsplit("s" if phase == "confirm" else "t", 1)[1]),
        "space": space,
        "settings": {"learning_rate": 0.01},
        "space_hash": "5ba5e",
        "data_fingerprint": "da7a",
        "commit": "c0ffee1",
    }
    default = {
        "epochs": EPOCHS,
        "val": {"accuracy": 1.0},
        "test": {"accuracy": 0.75} if phase == "confirm" else None,
        "train_steps": 20,
        "seconds": {"train": 0.2, "total": 0.5},
        "environment": {"hardware": "2 cores"},
        "started_at": "2026-11-20T10:00:00.000+00:00",
    }
    return makers.record(config, **default | facts)


RECORDS = [
    make_record("gru/t0"),
    make_record("gru/t1", state="pruned"),
    make_record("gru/t2", state="failed", cause="out_of_memory", message="no memory\nleft", epochs=[], val={}),
    make_record("gru/t0-s0"),
    make_record("mlp/t0"),
]


def sweep_folder(results: Path, records: Iterable[RunRecord] = (), name: str = "demo", **facts) -> Path:
    """Return the folder of a sweep that has started and made these records; `facts` are noted in its sweep.json."""
    folder = results / "sweeps" / name
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "command": f"python -m bench sweep --name {name}",
        "created": "2026-11-20T10:00:00+00:00",
        "spec": {"cells": ["latch/L8/gru", "latch/L8/mlp"]},
        "not_applicable": {},
        "trials": 1,
        "top_k": 1,
        "confirm_seeds": 1,
    } | facts
    (folder / "sweep.json").write_text(json.dumps(spec))
    for record in records:
        (folder / "runs" / record.config.run).mkdir(parents=True, exist_ok=True)
        record.write(folder / "runs" / record.config.run)
    return folder


class Log(list):
    """The lines that a writer shows."""

    __call__ = list.append


def start(results: Path, name: str = "demo", say=None) -> Writer:
    """Return a writer to which the whole sweep was given."""
    writer = Writer(results, sweep_folder(results, RECORDS, name), Log() if say is None else say)
    writer.write_sweep(["latch"], "running")
    for record in RECORDS:
        writer.write_record(record)
    writer.write_cell(CellId("latch", 8, "gru"), "complete")
    writer.write_cell(CellId("latch", 8, "mlp"), "interrupted")
    return writer


def write(results: Path, state: str = "complete", name: str = "demo") -> Writer:
    """Write the whole sweep and wait."""
    writer = start(results, name)
    writer.write_sweep(["latch"], state)
    assert writer.close(200), writer.problem
    return writer


def runs_of(results: Path, uri: str = "") -> dict[str, object]:
    """Return the runs in the experiment `latch` by name."""
    client = MlflowClient(uri or store_uri(results))
    experiment = client.get_experiment_by_name("latch")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id], max_results=1000)}
