"""Published and computed numbers that the bench reproduces (N3; N2 and N14 are tested elsewhere)."""

import math

import pytest

from bench.training.train import run
from tests.makers import run_config

MEMORYLESS = 0.17329  # 10 ln 8 / 120: cross-entropy of an answer that knows the step but no item, at lag 100


@pytest.mark.parametrize(
    ("model", "arguments", "num_epochs"),
    [
        ("rnn", {}, 3),
        pytest.param("lstm", {"forget_bias": "default"}, 3, marks=pytest.mark.slow),
        pytest.param("gru", {"update_bias": "default"}, 4, marks=pytest.mark.slow),
    ],
)
def test_recurrent_nets_learn_nothing_but_the_blanks_of_copy_memory(model, arguments, num_epochs):
    """N3: with PyTorch's initialisation and 10 items at lag 100, they reach the memoryless loss and stay there."""
    config = run_config(
        dataset="copy_memory", length=100, task_arguments={"num_items": 10}, space=model,
        model_arguments={"hidden_size": 32} | arguments,
        settings={"max_sequences": 3_200 * num_epochs, "batch_size": 64, "num_epochs": num_epochs, "num_val": 200, "num_test": 1, "learning_rate": 3e-3 / math.sqrt(64 / 32)},
    )  # fmt: skip
    record = run(config)
    assert record.val["cross_entropy"] == pytest.approx(MEMORYLESS, rel=0.05)
    assert record.val["recall"] < 0.2
