"""What a sweep leaves in MLflow, without training."""

import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from bench.results.cell_runs import CellRuns
from bench.tracking import pages
from bench.tracking.projection import changed_since, written_until
from bench.tracking.store import store_uri
from bench.tracking.writer import Writer
from tests import makers
from tests.tracking.sweeps import EPOCHS, MODELS, RECORDS, Log, make_record, runs_of, sweep_folder, write


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
    found = {name: (run.info.status, run.data.tags["bench.status"]) for name, run in runs.items()}
    assert found == {
        "demo": ("FINISHED", "complete"),
        "gru L8": ("FINISHED", "complete"),
        "mlp L8": ("KILLED", "unfinished"),
        "t0 gru L8": ("FINISHED", "complete"),
        "t1 gru L8": ("FINISHED", "pruned"),
        "t2 gru L8": ("FAILED", "out_of_memory"),
        "t0-s0 gru L8": ("FINISHED", "complete"),
        "t0 mlp L8": ("FINISHED", "complete"),
    }
    failed = runs["t2 gru L8"].data.tags
    assert failed["bench.cause"] == "out_of_memory"
    assert failed["mlflow.note.content"] == "no memory\nleft"


@pytest.mark.parametrize("state", ["interrupted", "failed"])
def test_a_sweep_that_did_not_complete(results, state):
    write(results, state)
    assert runs_of(results)["demo"].info.status == {"interrupted": "KILLED", "failed": "FAILED"}[state]


def test_runs_nest(written):
    runs = runs_of(written)
    names = {run.info.run_id: name for name, run in runs.items()}
    parents = {name: names.get(run.data.tags.get("mlflow.parentRunId")) for name, run in runs.items()}
    below = dict.fromkeys(["t0 gru L8", "t1 gru L8", "t2 gru L8"], "gru L8") | {"t0-s0 gru L8": "t0 gru L8"}
    assert parents == {"demo": None, "gru L8": "demo", "mlp L8": "demo", "t0 mlp L8": "mlp L8"} | below


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
        >= {"model": "gru", "learning_rate": "0.01", "log10_learning_rate": "-2.0", "hidden_size": "8"}.items()
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
    confirm = runs["t0-s0 gru L8"].data.metrics
    assert confirm.items() >= {"val_confirmation": 1.0, "score": 0.75, "device_seconds": 0.5}.items()
    assert runs["t0 gru L8"].data.metrics["val_screening"] == 1.0
    assert "score" not in runs["t0 gru L8"].data.metrics


def test_writing_again_changes_nothing(written, tmp_path):
    before = everything(written)
    shutil.copy(written / "mlflow.db", tmp_path / "mlflow.db")
    write(tmp_path)
    assert everything(tmp_path) == before


def test_linked_views_are_in_the_store(written):
    client = MlflowClient(store_uri(written))
    experiment = client.get_experiment_by_name("latch")
    links = pages.links(written / "sweeps/demo", {"latch": experiment.experiment_id}, port=5050)
    assert len(links) == len(pages.VIEWS)
    for _, link in links:
        assert link.startswith(
            f"http://127.0.0.1:5050/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning&"
        )
        key = link.rsplit("viewStateShareKey=", 1)[1]
        assert "bench.sweep` = 'demo'" in experiment.tags[f"mlflow.sharedViewState.{key}"]


def test_artifacts_lie_below_the_results(written):
    experiment = MlflowClient(store_uri(written)).get_experiment_by_name("latch")
    assert experiment.artifact_location == (written / "mlartifacts" / "latch").resolve().as_uri()


def test_artifacts_can_be_written_and_read(written, tmp_path):
    shutil.copytree(written, tmp_path / "a b", dirs_exist_ok=True)
    (tmp_path / "note.txt").write_text("hello")
    client = MlflowClient(store_uri(written))
    run = runs_of(written)["demo"].info.run_id
    client.log_artifact(run, str(tmp_path / "note.txt"))
    assert Path(client.download_artifacts(run, "note.txt", str(tmp_path))).read_text() == "hello"
    assert (written / "mlartifacts" / "latch" / run / "artifacts" / "note.txt").exists()


def test_a_run_that_was_killed_before_its_end_state_is_written_again(results, monkeypatch):
    """The digest says that a run is complete, so it must not be there before the end state is."""

    def killed(*arguments):
        raise KeyboardInterrupt  # as a kill: nothing catches it

    for name in ("set_terminated", "log_batch"):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, name, killed)
            first = Writer(results, sweep_folder(results), Log())
            with pytest.MonkeyPatch.context() as quiet:
                quiet.setattr("threading.excepthook", lambda arguments: None)
                first.write_record(RECORDS[0])
                first.close(60)
        run = runs_of(results)["t0 gru L8"]
        assert "bench.digest" not in run.data.tags
        write(results)
        run = runs_of(results)["t0 gru L8"]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["val_screening"] == 1.0
        MlflowClient(store_uri(results)).delete_run(run.info.run_id)


def test_a_run_that_you_deleted_in_mlflow_is_written_again(results):
    write(results)
    run = runs_of(results)["t0 gru L8"]
    MlflowClient(store_uri(results)).delete_run(run.info.run_id)
    write(results)
    written = runs_of(results)["t0 gru L8"]
    assert (written.info.status, written.data.params) == ("FINISHED", run.data.params)
    assert written.info.run_id != run.info.run_id


def test_a_test_score_that_comes_later_is_tagged(results):
    writer = Writer(results, sweep_folder(results), Log())
    writer.write_record(make_record("gru/t0-s0", test=None))
    writer.write_record(make_record("gru/t0-s0"))
    assert writer.close(60)
    assert runs_of(results)["t0-s0 gru L8"].data.tags["bench.test_opened"] == "true"


def test_a_run_with_more_epochs_than_fit_one_call_is_written(results):
    epochs = [EPOCHS[0] | {"steps": step} for step in range(1, 902)]
    writer = Writer(results, sweep_folder(results), Log())
    writer.write_record(make_record("gru/t0", epochs=epochs))
    assert writer.close(60), writer.problem
    run = runs_of(results)["t0 gru L8"].info.run_id
    assert len(MlflowClient(store_uri(results)).get_metric_history(run, "val/accuracy")) == 901


def test_what_the_store_holds_is_noted_and_not_looked_up_again(results, monkeypatch):
    folder = sweep_folder(results, RECORDS)
    assert written_until(folder) == 0
    write(results)
    until = written_until(folder)
    assert 0 < until < time.time_ns()
    for name, when in (("t0", until - 1), ("t1", until + 1)):
        os.utime(folder / f"runs/latch/L8/gru/{name}/record.json", ns=(when, when))
    cell = CellRuns(tuple(RECORDS[:2]), 1)
    assert changed_since(cell, folder, until) == [RECORDS[1]]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert written_until(folder) == 0  # another store
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (folder / "mlflow.json").write_text(json.dumps({"until_ns": until}))  # as earlier versions wrote it
    assert written_until(folder) == until


def test_a_run_whose_test_score_is_new_has_changed(tmp_path):
    opens = ("latch/L8/gru/t0-s0",)
    test = makers.record({"run": "latch/L8/gru/t0-test", "phase": "test", "space": "gru", "opens_test_of": opens})
    folder = sweep_folder(tmp_path, [*RECORDS, test])
    for path in folder.rglob("record.json"):
        os.utime(path, ns=(1, 1))
    os.utime(folder / "runs/latch/L8/gru/t0-test/record.json", ns=(9, 9))
    cell = CellRuns((*RECORDS[:4], test), 1)
    assert [record.config.id.name for record in changed_since(cell, folder, 5)] == ["t0-s0"]


@pytest.mark.usefixtures("quick_tables")
def test_a_store_that_is_made_again_gets_the_runs_of_earlier_sessions(results):
    folder = sweep_folder(results, RECORDS)
    write(results)
    other = sweep_folder(results, name="other")
    (other / "mlflow.json").write_text((folder / "mlflow.json").read_text())
    (results / "mlflow.db").write_bytes(b"no database" * 1000)
    moved = results.rename(results.with_name("moved"))  # MLflow keeps connections to the old file
    folder, say = moved / "sweeps" / "demo", Log()
    for path in folder.rglob("record.json"):
        os.utime(path, ns=(1, 1))  # long before the note
    writer = Writer(moved, folder, say)
    writer.write_missing(CellRuns(tuple(RECORDS[:4]), 1))
    assert writer.close(60), writer.problem
    assert {"t0 gru L8", "t1 gru L8", "t2 gru L8", "t0-s0 gru L8"} < set(runs_of(moved))
    assert written_until(moved / "sweeps" / "other") == 0
    (line,) = say
    assert "is damaged; it is now mlflow.db.broken-1" in line
    assert "python -m bench sync" in line


def test_a_store_that_cannot_be_made_is_one_line_and_never_raises(tmp_path):
    folder, results, say = sweep_folder(tmp_path), tmp_path / "gone", Log()
    results.touch()  # a file where the folder should be
    writer = Writer(results, folder, say)
    writer.write_sweep(["latch"], "running")
    writer.write_record(RECORDS[0])
    assert not writer.close(60)
    assert writer.errors == 2
    (line,) = say
    assert "gone" in line
    assert "`bench sync` writes the runs later" in line
    assert len((folder / "mlflow.log").read_text().splitlines()) == 1  # the second is not tried
    assert writer.experiments == {}


def begin(results: Path, name: str, barrier, outcome) -> None:
    folder = sweep_folder(results, name=name)
    barrier.wait()
    writer = Writer(results, folder, Log())
    writer.write_sweep(["latch"], "complete")
    outcome.put((writer.close(200), writer.errors))


@pytest.mark.slow
def test_writers_that_start_at_once_on_an_empty_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, outcome = context.Barrier(8), context.Queue()
    processes = [context.Process(target=begin, args=(tmp_path, f"s{i}", barrier, outcome)) for i in range(8)]
    for process in processes:
        process.start()
    assert [outcome.get(timeout=250) for _ in processes] == [(True, 0)] * 8
    for process in processes:
        process.join()
    assert {f"s{i}" for i in range(8)} == set(runs_of(tmp_path))
