"""A trial of successive halving that stands for its confirm run: its weights and its record go on."""

import pytest
import torch

from bench.results.record import RunRecord
from bench.training import train
from tests.makers import run_config

TRIAL = {"run": "latch/L8/lstm/t0", "settings": {"max_sequences": 160, "num_epochs": 2}}


@pytest.fixture
def trial(tmp_path) -> RunRecord:
    folder = tmp_path / "t0"
    folder.mkdir()
    record = train.run(run_config("screen", **TRIAL, bracket=0), folder=folder)
    assert record.state == "complete", record.message
    record.write(folder)
    return record


def taken_over(tmp_path, trial: RunRecord) -> RunRecord:
    folder = tmp_path / "t0-s0"
    folder.mkdir(exist_ok=True)
    update = {"run": f"{trial.config.run}-s0", "phase": "confirm", "bracket": None, "takes_over": trial.config.run}
    return train.run(trial.config.model_copy(update=update), folder=folder)


def test_a_trial_goes_on_as_a_confirm_run(tmp_path, trial):
    confirm = taken_over(tmp_path, trial)
    assert confirm.state == "complete", confirm.message
    assert confirm.config.seed == trial.config.seed
    assert (confirm.val, confirm.best_epoch, confirm.parameters) == (trial.val, trial.best_epoch, trial.parameters)
    assert confirm.seconds.train == trial.seconds.train
    weights = [torch.load(tmp_path / name / "weights.pt", weights_only=True) for name in ("t0", "t0-s0")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_its_test_score_is_that_of_the_trial(tmp_path, trial):
    confirm = taken_over(tmp_path, trial)
    update = {"run": f"{trial.config.run}-test", "phase": "test", "opens_test_of": (confirm.config.run,)}
    folder = tmp_path / "t0-test"
    folder.mkdir()
    config = trial.config.model_copy(update=update | {"bracket": None})
    opened = train.run(config, folder=folder)
    assert opened.state == "complete", opened.message
    assert set(opened.tests) == {confirm.config.run}


def test_a_trial_without_weights_cannot(tmp_path, trial):
    (tmp_path / "t0" / "weights.pt").unlink()
    confirm = taken_over(tmp_path, trial)
    assert confirm.state == "failed"
    assert "the record or the weights of latch/L8/lstm/t0 are missing" in confirm.message


def test_only_trials_of_successive_halving_leave_weights(tmp_path):
    train.run(run_config("screen", **TRIAL), folder=tmp_path)
    assert not (tmp_path / "weights.pt").exists()
