"""What a sweep leaves in MLflow, without training."""

import multiprocessing
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from bench.results.record import RunRecord
from bench.tracking.tracking import Tracker, links, store_uri

MODELS = ("gru", "mlp")
SIZES = {"max_sequences": 640, "batch_size": 32, "num_epochs": 2, "num_val": 8, "num_test": 8}


def make_record(run: str, state: str = "complete", **more) -> RunRecord:
    """A record of the cell latch/L8/<space>; `run` is <space>/t<number> or <space>/t<number>-s<seed>."""
    space, name = run.split("/")
    phase = "confirm" if "-s" in name else "screen"
    config = {
        "sweep": "demo",
        "run": f"latch/L8/{run}",
        "phase": phase,
        "number": int(name.rsplit("s" if phase == "confirm" else "t", 1)[1]),
        "dataset": "latch",
        "task": "latch",
        "length": 8,
        "task_arguments": {},
        "space": space,
        "model": space,
        "model_arguments": {"width": 32},
        "train": {"learning_rate": 0.01, **SIZES},
        "seed": 1,
        "space_hash": "5ba5e",
        "data_fingerprint": "da7a",
        "commit": "c0ffee1",
    }
    epochs = [
        {
            "steps": 10 * i,
            "sequences": 320 * i,
            "train_seconds": 0.1 * i,
            "train_loss": 1 / i,
            "val": {"accuracy": i / 2},
        }
        for i in (1, 2)
    ]
    record = {
        "config": config,
        "asked": {"metric": "accuracy", "goal": "maximize", "chance": 0.5, "solved": 0.99, "num_steps": 9},
        "state": state,
        "epochs": epochs,
        "val": {"accuracy": 1.0},
        "test": {"accuracy": 0.75} if phase == "confirm" else None,
        "train_steps": 20,
        "seconds": {"train": 0.2, "total": 0.5},
        "environment": {"hardware": "2 cores"},
        "started_at": "2026-11-20T10:00:00.000+00:00",
    }
    return RunRecord.model_validate(record | more)


RECORDS = [
    make_record("gru/t0"),
    make_record("gru/t1", "pruned"),
    make_record("gru/t2", "failed", cause="out_of_memory", message="no memory\nleft", epochs=[], val={}),
    make_record("gru/t0-s0"),
    make_record("mlp/t0"),
]


def write(results: Path, folder: Path, state: str = "complete") -> Tracker:
    tracker = Tracker(results, "demo", folder, "python -m bench sweep --name demo")
    tracker.write_sweep(["latch"], "running")
    for record in RECORDS:
        tracker.write_record(record)
    scores = {"total_seconds": 2.0, "test/seeds": 1, "test/solved": 0, "test/accuracy": 0.75}
    tracker.write_cell("latch", 8, "gru", "complete", scores | {"test/accuracy_ci_low": float("nan")})
    tracker.write_cell("latch", 8, "mlp", "interrupted", {})
    tracker.write_sweep(["latch"], state)
    assert tracker.close(60), (folder / "mlflow.log").read_text()
    return tracker


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    """A results folder whose store holds the sweep; not to be written to."""
    results = tmp_path_factory.mktemp("tracking")
    write(results, results)
    return results


@pytest.fixture
def store(written, tmp_path) -> Path:
    """A copy of it: the migration of an empty store takes seconds."""
    shutil.copy(written / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path


def runs_of(results: Path) -> dict[str, object]:
    client = MlflowClient(store_uri(results))
    experiment = client.get_experiment_by_name("latch")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id], max_results=1000)}


def everything(results: Path) -> list[str]:
    """All facts in the store but the moments at which aggregates were written."""
    client = MlflowClient(store_uri(results))
    facts = []
    for name, run in runs_of(results).items():
        facts.append(f"{name} {run.info.run_id} {run.info.status} {sorted(run.data.tags.items())} {run.data.params}")
        if run.data.tags["bench.kind"] in ("trial", "confirm"):
            for key in run.data.metrics:
                points = client.get_metric_history(run.info.run_id, key)
                facts.append(f"{name} {key} {[(point.step, point.timestamp, point.value) for point in points]}")
    return sorted(facts)


def test_every_ending_has_its_status(written):
    runs = runs_of(written)
    found = {name: (run.info.status, run.data.tags["bench.state"]) for name, run in runs.items()}
    assert found == {
        "demo": ("FINISHED", "complete"),
        "gru L8": ("FINISHED", "complete"),
        "mlp L8": ("KILLED", "interrupted"),
        "t0 gru L8": ("FINISHED", "complete"),
        "t1 gru L8": ("FINISHED", "pruned"),
        "t2 gru L8": ("FAILED", "failed"),
        "t0-s0 gru L8": ("FINISHED", "complete"),
        "t0 mlp L8": ("FINISHED", "complete"),
    }
    failed = runs["t2 gru L8"].data.tags
    assert failed["bench.cause"] == "out_of_memory"
    assert failed["mlflow.note.content"] == "no memory\nleft"


@pytest.mark.parametrize("state", ["interrupted", "failed"])
def test_sweep_that_did_not_complete(store, state):
    write(store, store, state)
    assert runs_of(store)["demo"].info.status == {"interrupted": "KILLED", "failed": "FAILED"}[state]


def test_runs_nest(written):
    runs = runs_of(written)
    names = {run.info.run_id: name for name, run in runs.items()}
    parents = {name: names.get(run.data.tags.get("mlflow.parentRunId")) for name, run in runs.items()}
    below_gru = dict.fromkeys(["t0 gru L8", "t1 gru L8", "t2 gru L8", "t0-s0 gru L8"], "gru L8")
    assert parents == {"demo": None, "gru L8": "demo", "mlp L8": "demo", "t0 mlp L8": "mlp L8"} | below_gru


def test_tags_and_params(written):
    runs = runs_of(written)
    expected = {
        "bench.sweep": "demo",
        "bench.id": "demo/latch/L8/gru/t0-s0",
        "bench.dataset": "latch",
        "bench.task": "latch",
        "bench.length": "8",
        "bench.model": "gru",
        "bench.kind": "confirm",
        "bench.hardware": "2 cores",
        "bench.commit": "c0ffee1",
        "bench.space_hash": "5ba5e",
        "bench.data_fingerprint": "da7a",
        "bench.test_opened": "true",
    }
    confirm = runs["t0-s0 gru L8"].data
    assert confirm.tags.items() >= expected.items()
    assert (
        confirm.params.items()
        >= {"model": "gru", "learning_rate": "0.01", "log10_learning_rate": "-2.0", "width": "32"}.items()
    )
    assert runs["t0 gru L8"].data.tags["bench.test_opened"] == "false"
    assert runs["demo"].data.tags["mlflow.note.content"] == "python -m bench sweep --name demo"
    assert len({runs[f"{model} L8"].data.tags["mlflow.runColor"] for model in MODELS}) == len(MODELS)


def test_metrics_by_epoch(written):
    client = MlflowClient(store_uri(written))
    runs = runs_of(written)
    history = client.get_metric_history(runs["t0 gru L8"].info.run_id, "val/accuracy")
    assert [(point.step, point.value) for point in history] == [(10, 0.5), (20, 1.0)]
    assert history[0].timestamp < history[1].timestamp
    assert (
        runs["t0-s0 gru L8"].data.metrics.items()
        >= {"best_val/accuracy": 1.0, "test/accuracy": 0.75, "total_seconds": 0.5}.items()
    )
    assert "test/accuracy" not in runs["t0 gru L8"].data.metrics
    cell = runs["gru L8"].data.metrics
    assert cell == {"test/accuracy": 0.75, "test/seeds": 1, "test/solved": 0, "total_seconds": 2.0}  # and no NaN


def test_writing_again_changes_nothing(written, store):
    before = everything(written)
    write(store, store)
    assert everything(store) == before


def test_linked_views_are_in_the_store(written):
    client = MlflowClient(store_uri(written))
    experiment = client.get_experiment_by_name("latch")
    pages = links({"latch": experiment.experiment_id}, "demo", port=5050)
    assert len(pages) == 2
    for _, link in pages:
        assert link.startswith(
            f"http://127.0.0.1:5050/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning&"
        )
        key = link.rsplit("viewStateShareKey=", 1)[1]
        assert "bench.sweep` = 'demo'" in experiment.tags[f"mlflow.sharedViewState.{key}"]


def test_artifacts_lie_below_the_results(written):
    experiment = MlflowClient(store_uri(written)).get_experiment_by_name("latch")
    assert experiment.artifact_location == (written / "mlartifacts" / "latch").resolve().as_uri()


@pytest.mark.parametrize("broken", ["garbage", "a folder in its place", "folder is gone"])
def test_broken_store_is_counted_and_never_raises(tmp_path, broken):
    if broken == "garbage":
        (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
        results = tmp_path
    elif broken == "a folder in its place":
        (tmp_path / "mlflow.db").mkdir()
        results = tmp_path
    else:
        results = tmp_path / "gone"
    tracker = Tracker(results, "demo", tmp_path, "")
    tracker.write_sweep(["latch"], "running")
    tracker.write_record(RECORDS[0])
    assert not tracker.close(60)
    assert tracker.errors == 2
    lines = (tmp_path / "mlflow.log").read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["_put_sweep:", "_put_record:"]


def start(results: Path, name: str, barrier, outcome) -> None:
    barrier.wait()
    tracker = Tracker(results, name, results, "")
    tracker.write_sweep(["latch"], "complete")
    outcome.put((tracker.close(200), tracker.errors))


@pytest.mark.slow
def test_trackers_that_start_at_once_on_an_empty_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, outcome = context.Barrier(8), context.Queue()
    processes = [context.Process(target=start, args=(tmp_path, f"s{i}", barrier, outcome)) for i in range(8)]
    for process in processes:
        process.start()
    assert [outcome.get(timeout=250) for _ in processes] == [(True, 0)] * 8
    for process in processes:
        process.join()
    assert {f"s{i}" for i in range(8)} == set(runs_of(tmp_path))
