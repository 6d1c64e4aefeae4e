"""How much a language model gains from distant context, on models whose answers are known."""

import hashlib
import math
from types import SimpleNamespace

import pytest
import torch

from bench.config.datasets import make_task, task_of
from bench.errors import DeclarationError
from bench.training import context
from tests.makers import run_config

TEXT = "abcdefghijklmnopqrstuvwxyz" * 120  # each letter tells the next
LENGTH = 16


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    file = {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": len(TEXT)}
    return make_task("language_modelling", LENGTH, {"files": [file], "unit": "character"})


def network(task, knows):
    """Return a model that predicts the right token if `knows(steps)` of a window, and is indifferent otherwise."""
    text = task.parts["train"].tolist()
    after = dict(zip(text, text[1:], strict=False))

    def answer(x, length):
        right = torch.tensor([[after[token] for token in tokens] for tokens in x.tolist()])
        return 50.0 * torch.nn.functional.one_hot(right, task.output_size) * knows(x.shape[1])

    return answer


def test_a_model_that_needs_the_whole_window_gains_all_nats(task):
    found = context.gain(task, network(task, lambda steps: steps == LENGTH))
    assert found["context_gain"] == pytest.approx(math.log(task.output_size), abs=1e-3)


def test_a_model_that_uses_no_distant_context_gains_nothing(task):
    assert context.gain(task, network(task, lambda steps: True))["context_gain"] == pytest.approx(0.0, abs=1e-6)
    assert context.gain(task, network(task, lambda steps: False))["context_gain"] == pytest.approx(0.0, abs=1e-6)


def test_both_losses_are_of_the_same_targets(task):
    seen = {}

    def answer(x, length):
        seen.setdefault(x.shape[1], []).append(x)
        return torch.zeros(*x.shape, task.output_size)

    context.gain(task, answer)
    whole, short = (torch.cat(seen[steps]) for steps in (LENGTH, LENGTH // context.PARTS))
    assert torch.equal(whole[:, -LENGTH // context.PARTS :], short)


def test_a_task_without_text_is_refused():
    with pytest.raises(DeclarationError, match="needs language models"):
        context.gain(task_of(run_config()), SimpleNamespace())
