"""Networks with random weights: what they solve by luck, and what they do not."""

import pytest

from bench.errors import DeclarationError
from bench.training import guessing
from tests.makers import run_config


def guess(dataset: str, length: int, seed: int = 0, **arguments) -> float:
    config = run_config(
        dataset=dataset, length=length, seed=seed, space="rnn", model="rnn", task_arguments=arguments,
        model_arguments={"hidden_size": 4}, settings={"embedding_size": 4},
    )  # fmt: skip
    return guessing.best(config)


def test_random_weights_solve_a_task_without_noise(monkeypatch):
    monkeypatch.setattr(guessing, "NETWORKS", 200)
    assert guess("latch", 4, variant="clean", num_fillers=1) > 0.9  # the state depends on the cue alone


def test_random_weights_do_not_remember_through_noise(monkeypatch):
    monkeypatch.setattr(guessing, "NETWORKS", 200)
    found = guess("latch", 64, variant="distract")
    assert -0.2 < found < 0.3  # of validation sequences, which did not choose the network
    assert guess("latch", 64, variant="distract") == found


def test_a_task_without_a_threshold_is_refused(monkeypatch):
    monkeypatch.setattr(guessing, "task_of", lambda config: type("Endless", (), {"solved": None}))
    with pytest.raises(DeclarationError, match="needs a task with a threshold"):
        guessing.best(run_config())
