"""The training settings that all baselines share: each changes training, and none looks at padding."""

import hashlib
import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.config.datasets import make_task
from bench.results.record import Epoch
from bench.training import layers, train, watch
from bench.training.datamodule import to_tensors
from bench.training.module import SequenceModule
from tests.makers import run_config, write

SHORT = {"max_sequences": 160, "batch_size": 16, "num_epochs": 2}


def declared(path) -> list[dict]:
    """Return the files of a dataset card for a file of a test."""
    data = path.read_bytes()
    return [{"path": str(path), "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}]


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, dict]:
    """The task of a run by kind."""
    folder = tmp_path_factory.mktemp("data")
    text = write(folder, "foxes.txt", "the quick brown fox jumps over the lazy dog\n" * 30)
    return {
        "latch": {"dataset": "latch"},
        "language": {"task": "language_modelling", "length": 12, "task_arguments": {"files": declared(text)}},
    }


EFFECTS = [
    ("latch", {"learning_rate": 1e-2}),
    ("latch", {"gradient_clip": 1e-2}),
    ("latch", {"weight_decay": 0.5}),
    ("latch", {"schedule": "cosine"}),
    ("latch", {"warmup_fraction": 0.5}),
    ("latch", {"dropout": 0.5}),
    ("latch", {"readout": "mean"}),
    ("latch", {"readout": "max"}),
    ("latch", {"readout": "all"}),
    ("latch", {"embedding_size": 8}),
    ("latch", {"embedding_std": 0.1}),
    ("latch", {"embedding_dropout": 0.5}),
    ("language", {"tied_embedding": True}),
]
"""Settings, and the kind of task on which they have an effect."""


def losses(base: dict, **settings) -> list[float]:
    record = train.run(run_config(**base, settings=SHORT | settings))
    assert record.state == "complete", record.message
    return [epoch.train_loss for epoch in record.epochs]


@pytest.mark.parametrize(("kind", "change"), EFFECTS, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_a_setting_changes_training(bases, kind, change):
    assert losses(bases[kind], **change) != losses(bases[kind])


# Layers


@pytest.mark.parametrize("kind", ["mean", "max", "all"])
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4), padding=st.integers(0, 4))
def test_padding_changes_no_readout(kind, lengths, padding):
    encoder = SimpleNamespace(
        summary_size=3, output_size=3, summary=lambda h, length: h[torch.arange(len(h)), length - 1]
    )
    readout, length_B = layers.Readout(kind, encoder), torch.tensor(lengths)
    h_BLH = torch.randn(len(lengths), max(lengths) + padding, 3, generator=torch.Generator().manual_seed(0))
    together = readout(h_BLH, length_B)
    assert together.shape == (len(lengths), readout.size)
    for row, steps in enumerate(lengths):
        alone = readout(h_BLH[row : row + 1, :steps], torch.tensor([steps]))
        torch.testing.assert_close(together[row : row + 1], alone)


def test_the_readout_of_all_is_last_mean_and_maximum():
    encoder = SimpleNamespace(summary_size=1, output_size=1, summary=lambda h, length: h[:, 1])
    found = layers.Readout("all", encoder)(torch.tensor([[[4.0], [-2.0], [99.0]]]), torch.tensor([2]))
    assert found.tolist() == [[-2.0, 1.0, 4.0]]


def test_a_tied_output_layer_shares_the_weights_of_the_embedding(bases):
    base = bases["language"]
    task = make_task(base["task"], 12, base["task_arguments"])
    untied, tied = (
        SequenceModule(task, run_config(**base, settings={"tied_embedding": tied, "embedding_size": size}))
        for tied, size in ((False, 8), (True, 8))
    )
    assert tied.head.weight is tied.embedding.weight
    difference = sum(untied.parameter_counts().values()) - sum(tied.parameter_counts().values())
    assert difference == 8 * task.output_size
    wide = SequenceModule(task, run_config(**base, settings={"tied_embedding": True, "embedding_size": 6}))
    assert wide.head.projection.weight.shape == (6, 8)
    assert len({value.data_ptr() for value in wide.state_dict().values()}) == len(wide.state_dict())


def test_embeddings_start_with_the_deviation_asked_for():
    module = SequenceModule(make_task("latch", 8, {}), run_config(settings={"embedding_std": 0.1}))
    reference = SequenceModule(make_task("latch", 8, {}), run_config())
    assert module.embedding.weight.std().item() == pytest.approx(0.1, rel=0.3)
    assert reference.embedding.weight.std().item() == pytest.approx(1.0, rel=0.3)


def test_dropout_touches_the_outputs_of_the_encoder_and_not_its_inputs():
    module = SequenceModule(make_task("adding", 30, {}), run_config(dataset="adding", settings={"dropout": 0.9}))
    seen = []
    module.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x, length_B, *_ = to_tensors(module.task.train_batch(0, 0, 4))
    first, second = module(x, length_B), module(x, length_B)
    assert not torch.equal(first, second)
    assert torch.equal(seen[0], x)


# The optimiser


def optimizer(**settings) -> torch.optim.Optimizer:
    module = SequenceModule(make_task("latch", 8, {}), run_config(settings=settings))
    return module.configure_optimizers()


@pytest.mark.parametrize("batch_size", [8, 32, 128])
def test_the_learning_rate_grows_with_the_square_root_of_the_batch(batch_size):
    (group,) = optimizer(learning_rate=3e-3, batch_size=batch_size).param_groups
    assert group["lr"] == pytest.approx(3e-3 * math.sqrt(batch_size / 32))


def test_weights_decay_but_biases_and_norms_do_not():
    decayed, kept = optimizer(weight_decay=0.1).param_groups
    assert {weight.dim() for weight in decayed["params"]} == {2}
    assert {weight.dim() for weight in kept["params"]} == {1}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)


# The end of a run, and its best validation


def test_a_run_without_a_better_validation_ends_after_its_patience():
    settings = {"max_sequences": 16 * 20, "num_epochs": 20, "learning_rate": 1e-12}
    record = train.run(run_config(settings=settings | {"patience": 0.25}))
    assert record.state == "complete"
    assert len(record.epochs) == record.best_epoch + 1 + 5 < 20
    assert len(train.run(run_config(settings=settings)).epochs) == 20


def test_patience_counts_from_the_best_validation():
    history = watch.History(make_task("latch", 8, {}), keeps_weights=False)
    stale = []
    for score in (0.5, 0.6, 0.6, 0.7, 0.6, 0.7, 0.7):
        history.add(epoch(score), module=None)
        stale.append(history.is_stale(2))
    assert stale == [False, False, False, False, False, True, True]


def epoch(score: float, val_loss: float | None = None) -> Epoch:
    return Epoch(steps=1, sequences=1, train_seconds=1.0, train_loss=1.0, val={"accuracy": score}, val_loss=val_loss)


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([(0.9, 0.5), (1.0, 0.4), (1.0, 0.2), (1.0, 0.3)], 2),
        ([(1.0, None), (1.0, 0.3)], 1),  # a record of an earlier version has no loss
        ([(1.0, None), (1.0, None)], 0),
        ([(0.9, 0.1), (1.0, 0.9)], 1),
    ],
)
def test_ties_of_the_metric_are_broken_by_the_loss(epochs, best):
    history = watch.History(make_task("latch", 8, {}), keeps_weights=False)
    for score, loss in epochs:
        history.add(epoch(score, loss), module=None)
    assert history.best_epoch == best


@pytest.mark.parametrize("dataset", ["latch", "parity", "adding"])
def test_the_validation_loss_is_the_mean_over_all_targets_of_the_split(dataset):
    config = run_config(dataset=dataset, length=30, settings={"max_sequences": 16, "num_epochs": 1})
    record = train.run(config)
    task = make_task(dataset, 30, {})
    torch.manual_seed(0)
    module = SequenceModule(task, config)
    x, length_B, y, mask = to_tensors(task.train_batch(0, 0, 16))
    rate = config.train.learning_rate * math.sqrt(1 / 2)
    trained = torch.optim.Adam(module.parameters(), lr=rate)
    module.loss((x, length_B, y, mask)).backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    trained.step()
    expected = module.eval().loss(to_tensors(task.split("val", 60))).item()
    assert record.val_loss == record.epochs[0].val_loss == pytest.approx(expected, rel=1e-4)
