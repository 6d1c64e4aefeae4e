"""The state of a language model that carries over from one window to the next, in training and in evaluation."""

import hashlib
import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bench.config.contracts import STRETCHES
from bench.config.datasets import make_task
from bench.training import train
from bench.training.datamodule import DataModule
from bench.training.ledger import Ledger
from bench.training.module import SequenceModule
from tests.makers import run_config


class Interrupted(BaseException):
    """Simulates a kill: no code of the run may catch it."""


TEXT = "the quick brown fox jumps over the lazy dog and the hare. " * 60


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)

    def make(carry_state: bool = True, model: str = "lstm", **changes):
        settings = {"carry_state": carry_state, "learning_rate": 1e-2, "num_val": 1000, "num_test": 1000}
        file = {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": len(TEXT)}
        arguments = {"files": [file], "unit": "character"}
        return run_config(
            dataset="text",
            task="language_modelling",
            length=8,
            model=model,
            task_arguments=arguments,
            settings=settings,
            **changes,
        )

    return make


def test_it_changes_training_and_evaluation(config):
    with_state, without = train.run(config()), train.run(config(carry_state=False))
    assert [e.train_loss for e in with_state.epochs] != [e.train_loss for e in without.epochs]
    assert with_state.val != without.val


@pytest.mark.parametrize("model", ["lstm", "gru"])
def test_validation_reads_each_stretch_as_one_long_sequence(config, model):
    run = config(model=model)
    task = make_task(run.task, run.length, run.task_arguments)
    torch.manual_seed(0)
    module = SequenceModule(task, run).eval()
    data = DataModule(task, run, Ledger("cpu"))
    with torch.no_grad():
        for number, batch in enumerate(data.val_dataloader()):
            module.validation_step(batch, number)
        nats = module.evaluated(data.val)["nats"]
        windows = -(-len(data.val.x) // STRETCHES)
        losses = []
        for first in range(0, len(data.val.x), windows):
            x, y = (torch.from_numpy(part[first : first + windows].reshape(1, -1)) for part in (data.val.x, data.val.y))
            logits = module(x, torch.tensor([x.shape[1]]))
            losses.append(F.cross_entropy(logits[0], y[0], reduction="none").numpy())
    assert nats == pytest.approx(float(np.concatenate(losses).mean()), abs=1e-6)


def test_parts_of_a_stretch_carry_the_state_between_them(config, monkeypatch):
    run = config()
    task = make_task(run.task, run.length, run.task_arguments)
    module = SequenceModule(task, run).eval()

    def nats(steps: int) -> float:
        monkeypatch.setattr("bench.training.datamodule.EVALUATION_STEPS", steps)
        data = DataModule(task, run, Ledger("cpu"))
        with torch.no_grad():
            for number, batch in enumerate(data.val_dataloader()):
                module.validation_step(batch, number)
        return module.evaluated(data.val)["nats"]

    assert nats(STRETCHES * 5) == pytest.approx(nats(16_384), abs=1e-6)


def test_a_run_resumes_with_the_state_of_its_checkpoint(config, tmp_path):
    run = config(checkpoint_seconds=1e-9)
    folders = tmp_path / "whole", tmp_path / "parts"
    for folder in folders:
        folder.mkdir()
    uninterrupted = train.run(run, folder=folders[0])
    reports = itertools.count()

    def interrupt(report):
        if report.kind == "epoch" and next(reports) == 2:
            raise Interrupted
        return True

    with pytest.raises(Interrupted):
        train.run(run, interrupt, folders[1])
    assert list(folders[1].glob("checkpoint-*.ckpt"))
    resumed = train.run(run, folder=folders[1])
    assert [epoch.train_loss for epoch in resumed.epochs] == [epoch.train_loss for epoch in uninterrupted.epochs]
    assert resumed.val == uninterrupted.val


def test_models_whose_state_grows_are_refused(config):
    record = train.run(config(model="transformer", model_arguments={}))
    assert record.state == "failed"
    assert "carry_state: needs a causal model whose state has a fixed size" in record.message


def test_other_tasks_are_refused():
    record = train.run(run_config(settings={"carry_state": True}))
    assert record.state == "failed"
    assert "carry_state: only for language modelling" in record.message
