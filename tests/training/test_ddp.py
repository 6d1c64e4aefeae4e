"""Runs that several processes train together, for real: gloo on two CPU processes, through the engine."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.config.settings import RunConfig, TrainSettings
from bench.config.sweep_settings import SweepConfig
from bench.errors import HardwareError
from bench.results import leaderboard
from bench.results.record import RunRecord, records
from bench.sweeps import coordinator as sweeps
from bench.sweeps import estimate
from bench.sweeps import prepare as plans
from bench.sweeps.engines import machine
from bench.sweeps.engines.local import Event, Job, LocalEngine


def config(name: str, num_devices: int, **changes) -> RunConfig:
    settings = {"max_sequences": 32 * 20, "batch_size": 32, "num_epochs": 4, "num_val": 40, "num_test": 40}
    values = {
        "sweep": "s", "run": f"d/{name}", "phase": "confirm", "number": 0, "dataset": "parity", "task": "parity",
        "length": 8, "task_arguments": {}, "space": "lstm", "model": "lstm", "model_arguments": {"hidden_size": 8},
        "train": TrainSettings(**settings, learning_rate=1e-2), "seed": 3, "num_devices": num_devices,
    }  # fmt: skip
    return RunConfig(**values | changes)


def carry_out(folder: Path, *configs: RunConfig, prune_at: int | None = None) -> tuple[list[RunRecord], list[Event]]:
    """Carry out runs in processes of the engine, one after another."""
    engine = LocalEngine([{"CUDA_VISIBLE_DEVICES": ""}], stall_seconds=60)
    told: list[Event] = []
    try:
        for run in configs:
            (folder / run.run).mkdir(parents=True)
            (folder / run.run / "config.json").write_text(run.model_dump_json())
            engine.submit(Job(run.run, folder / run.run, run.ask_pruner))
        end = time.monotonic() + 120
        while engine.busy:
            assert time.monotonic() < end, "the ranks wait for each other"
            for event in engine.wait(0.2):
                told.append(event)
                if event.kind == "epoch":
                    engine.decide(event.job, prune_at is None or event.steps < prune_at)
    finally:
        engine.close()
    return [RunRecord.read(folder / run.run) for run in configs], told


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """One run in one process, and the same run shared by two. Parity asks a different number of steps of each part."""
    folder = tmp_path_factory.mktemp("runs")
    records, events = carry_out(folder, config("one", 1), config("two", 2))
    weights = [torch.load(folder / "d" / name / "weights.pt", weights_only=True) for name in ("one", "two")]
    return records, weights, events


def test_two_processes_learn_what_one_learns(pair):
    (one, two), weights, _ = pair
    assert (one.state, two.state) == ("complete", "complete"), two.message
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-4, atol=2e-6)
    for mine, theirs in zip(one.epochs, two.epochs, strict=True):
        assert theirs.train_loss == pytest.approx(mine.train_loss, abs=1e-5)
        assert theirs.val == pytest.approx(mine.val, abs=1e-5)


def test_only_one_rank_names_the_checkpoints_of_a_shared_run(tmp_path, pair):
    (checkpointed,), _ = carry_out(tmp_path, config("two", 2, checkpoint_seconds=1e-9))
    assert checkpointed.state == "complete", checkpointed.message
    assert [epoch.val for epoch in checkpointed.epochs] == [epoch.val for epoch in pair[0][1].epochs]
    assert not list(tmp_path.rglob("checkpoint*"))


def test_the_steps_and_tokens_of_a_shared_run_are_those_of_the_whole_batch(pair):
    (one, two), _, _ = pair
    assert (two.train_steps, two.train_sequences, two.train_tokens) == (20, 640, one.train_tokens)


def test_a_shared_run_is_billed_for_each_of_its_devices(pair):
    (_, two), _, _ = pair
    assert two.device_seconds == pytest.approx(2 * two.seconds.total)


class Lines:
    """Keeps what a sweep says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def update(self, status: sweeps.Status) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_sweep_of_shared_runs_is_one_sweep(tmp_path, monkeypatch):
    """Fake GPUs, whose slots are real; the ranks meet over gloo on the CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    options = {"datasets": ["parity"], "lengths": [8], "models": ["lstm"], "budget": "smoke", "trials": 2, "name": "s",
               "gpus": "all", "gpus_per_run": 2, "results": tmp_path}  # fmt: skip
    plan = plans.make(SweepConfig.build(None, options))
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in plan.slots] == ["0,1", "2,3"]
    outcome = sweeps.run(replace(plan, device="cpu"), lines := Lines())
    assert (outcome.exit_code, lines.said) == (0, [])
    runs = {record.config.run.rsplit("/", 1)[1]: record for record in records(plan.folder)}
    trained = {name: run for name, run in runs.items() if run.config.phase in ("screen", "confirm")}
    assert {"t0", "t1"} < trained.keys()
    assert {(run.state, run.config.num_devices) for run in trained.values()} == {("complete", 2)}
    assert all(run.device_seconds == pytest.approx(2 * run.seconds.total) for run in trained.values())
    # No rank made a sweep of its own, and each had the configuration of its run.
    assert [path.name for path in (tmp_path / "sweeps").iterdir()] == ["s"]
    assert len(list(plan.folder.rglob("record.json"))) == len(runs)
    assert trained["t1"].config.train.learning_rate != trained["t0"].config.train.learning_rate
    board = leaderboard.build(plan.folder)
    (row,) = board[board["rank"].notna()].to_dict("records")
    assert (row["num_devices"], row["status"]) == (2, "complete")


def test_gpus_that_torch_does_not_see_are_refused_before_anything_is_spent(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    monkeypatch.setattr(machine, "call", lambda function: 1 if function == "torch.cuda:device_count" else None)
    options = {"datasets": ["parity"], "lengths": [8], "models": ["lstm"], "gpus": "2", "runs_per_gpu": 3}
    plan = plans.make(SweepConfig.build(None, options | {"results": tmp_path}))
    for start in (lambda: sweeps.run(plan, Lines()), lambda: estimate.make(plan, 1.0, print)):
        with pytest.raises(HardwareError, match=r"--gpus: torch \S+ sees 1 of 2; install the build"):
            start()
    assert not list(tmp_path.iterdir())


def test_only_one_rank_reports(pair):
    _, _, events = pair
    assert [event.steps for event in events if event.job.id == "d/two" and event.kind == "epoch"] == [5, 10, 15, 20]


def test_all_ranks_hear_the_pruner(tmp_path):
    run = config("pruned", 2, phase="screen", ask_pruner=True)
    (record,), _ = carry_out(tmp_path, run, prune_at=10)
    assert (record.state, record.cause, record.train_steps) == ("pruned", "pruner", 10)


def test_a_failure_of_the_ranks_is_one_failure(tmp_path):
    run = config("failed", 2, model_arguments={"hidden_size": 8, "forget_bias": "no such"})
    (record,), events = carry_out(tmp_path, run)
    assert record.state == "failed"
    assert "forget_bias" in record.message
    assert len([event for event in events if event.kind == "ended"]) == 1


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match="batch_size 32: a multiple of num_devices 3"):
        config("three", 3)


def test_a_run_that_loses_a_rank_ends_at_once(tmp_path):
    """Rank 1 is killed while rank 0 waits for it in the exchange of gradients."""
    run = config(
        "lost", 2, train=config("x", 2).train.model_copy(update={"max_sequences": 32 * 20_000, "num_epochs": 200})
    )
    (folder := tmp_path / run.run).mkdir(parents=True)
    (folder / "config.json").write_text(run.model_dump_json())
    engine = LocalEngine([{"CUDA_VISIBLE_DEVICES": ""}], stall_seconds=60)
    try:
        engine.submit(Job(run.run, folder))
        ranks: list[str] = []
        end = time.monotonic() + 200
        has_reported = False
        while len(ranks) < 2 or not has_reported:
            assert time.monotonic() < end
            has_reported |= any(event.kind == "epoch" for event in engine.wait(0.1))
            for pid in engine.processes.values():
                ranks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(ranks[1]), signal.SIGKILL)
        ended: list[Event] = []
        while not ended:
            assert time.monotonic() < end, "rank 0 waits for ever"
            ended = [event for event in engine.wait(0.1) if event.kind == "ended"]
    finally:
        engine.close()
    assert ended[0].cause == "killed"
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)
