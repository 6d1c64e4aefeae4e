"""Encoder and decoder: one model makes both; what is written one by one is what was taught at once; beams."""

import hashlib
import itertools

import pytest
import torch
from torch.nn import functional as F

from bench.errors import BenchError
from bench.tasks.translation import Task
from bench.training import diagnosis, timing
from bench.training.datamodule import to_tensors
from bench.training.module import SequenceModule
from bench.training.translation import END, UNKNOWN
from tests.makers import aligned, run_config

MODELS = {
    "rnn": {"hidden_size": 12},
    "lstm": {"hidden_size": 12, "num_layers": 2},
    "gru": {"hidden_size": 12, "bidirectional": True},
    "transformer": {"num_layers": 1, "num_heads": 2, "head_size": 6},
    "mlp": {"hidden_size": 12},
}
every_model = pytest.mark.parametrize("model", MODELS)
either = pytest.mark.parametrize("attention", [False, True], ids=["context", "attention"])


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    paths = aligned(tmp_path_factory.mktemp("pairs"))
    files = [
        {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": path.stat().st_size}
        for path in paths
    ]
    return Task(9, files=files)


def config_of(model="lstm", **settings):
    return run_config(
        dataset="pairs", task="translation", space=model, model_arguments=MODELS[model],
        settings={"embedding_size": 8, "learning_rate": 0.02} | settings,
    )  # fmt: skip


def make(task, model="lstm", seed=0, **settings):
    torch.manual_seed(seed)
    return SequenceModule(task, config_of(model, **settings)).eval()


def spread_out(module):
    """Larger weights of the head, so that no two tokens are about equally likely."""
    with torch.no_grad():
        module.head.weight.normal_(0, 2, generator=torch.Generator().manual_seed(1))
    return module


@every_model
@either
def test_taught_at_once_is_one_by_one(task, model, attention):
    module = make(task, model, attention=attention).double()
    x, length, y, mask = to_tensors(task.split("val", 4))
    source = module.read(x, length)
    at_once = module.decoder.taught(source, y, mask.sum(1))
    state, last = None, torch.full((len(x), 1), END)
    for step in range(y.shape[1]):
        one, state = module.decoder(source, last, torch.ones(len(x), dtype=torch.long), state)
        rows = mask[:, step]
        torch.testing.assert_close(one[rows, 0], at_once[rows, step])
        last = y[:, step : step + 1]


@every_model
@either
def test_the_loss_is_the_mean_over_the_words_of_targets(task, model, attention):
    module = make(task, model, attention=attention)
    x, length, y, mask = to_tensors(task.split("val", 4))
    k_BTK = module.decoder.taught(module.read(x, length), y, mask.sum(1))
    nats = F.cross_entropy(module.head(k_BTK).transpose(1, 2), y, reduction="none")
    torch.testing.assert_close(module.loss((x, length, y, mask)), nats[mask].mean())


@every_model
@either
def test_a_translation_does_not_depend_on_its_batch(task, model, attention):
    module = spread_out(make(task, model, attention=attention)).double()
    x, length, *_ = to_tensors(task.split("val", 6))
    for written in (lambda x, n: module(x, n), lambda x, n: module.decoder.beam(module.read(x, n), module.head, 3)):
        together = written(x, length)
        assert together.shape == (len(x), task.target_steps)
        for row, steps in enumerate(length.tolist()):
            assert torch.equal(written(x[row : row + 1, :steps], length[row : row + 1])[0], together[row])


@every_model
def test_what_follows_the_end_is_the_end_and_unknown_is_never_written(task, model):
    module = make(task, model)
    with torch.no_grad():
        module.head.bias[UNKNOWN] = 100.0
    x, length, *_ = to_tensors(task.split("val", 6))
    for written in (module(x, length), module.decoder.beam(module.read(x, length), module.head, 3)):
        assert not (written == UNKNOWN).any()
        after = (written == END).cumsum(1) > 0
        assert (written[after] == END).all()


@every_model
@either
def test_a_beam_of_one_is_greedy(task, model, attention):
    module = spread_out(make(task, model, attention=attention))
    x, length, *_ = to_tensors(task.split("val", 6))
    assert torch.equal(module.decoder.beam(module.read(x, length), module.head, 1), module(x, length))


def mean_nats(module, source, rows):
    """Mean negative log likelihood of the tokens of written rows, <eos> included, without <unk>."""
    logits = module.head(module.decoder.taught(source, rows, torch.full((len(rows),), rows.shape[1])))
    logits[..., UNKNOWN] = -torch.inf
    nats = F.cross_entropy(logits.transpose(1, 2), rows, reduction="none")
    counted = ((rows == END).cumsum(1) - (rows == END).long()) == 0  # up to the first end
    return (nats * counted).sum(1) / counted.sum(1)


@pytest.mark.parametrize("model", ["lstm", "transformer"])
@either
def test_a_wide_beam_finds_the_best_of_all_sentences(task, model, attention):
    module = spread_out(make(task, model, attention=attention)).double()
    module.decoder.steps = 3
    x, length, *_ = to_tensors(task.split("val", 1))
    source, words = module.read(x, length), range(1, task.output_size)
    rows = [row for row in itertools.product(words, repeat=3)]
    rows = torch.tensor([row for row in rows if all(b == END for a, b in itertools.pairwise(row) if a == END)])
    every = mean_nats(module, source.repeated(len(rows)), rows)
    wide = module.decoder.beam(source, module.head, task.output_size**2)
    assert torch.equal(wide[0], rows[every.argmin()])
    # A narrow beam finds one that is no better.
    narrow = module.decoder.beam(source, module.head, 2)
    assert mean_nats(module, source, narrow)[0] >= every.min() - 1e-9


@either
def test_every_parameter_gets_a_gradient(task, attention):
    module = make(task, "gru", attention=attention).train()
    module.loss(to_tensors(task.train_batch(0, 0, 8))).backward()
    assert [name for name, one in module.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0] == []
    assert (module.decoder.score is not None) == attention


def test_only_the_encoder_reads_in_both_directions(task):
    module = make(task, "gru")
    assert module.encoder.bidirectional
    assert not module.decoder.model.bidirectional


def test_a_model_that_always_sees_the_future_cannot_decode(task):
    config = run_config(dataset="pairs", task="translation", space="cnn", model_arguments={"hidden_size": 8})
    with pytest.raises(BenchError, match="a decoder may not see the words that it has yet to write"):
        SequenceModule(task, config)


def test_a_tied_decoder_shares_its_embedding_and_counts_it_once(task):
    tied, free = make(task, tied_embedding=True), make(task)
    assert tied.head.weight is tied.decoder.embedding.weight
    counts = tied.parameter_counts()
    assert sum(counts.values()) == sum(p.numel() for p in tied.parameters())
    assert counts["embedding"] == 8 * (task.input_size + task.output_size)
    assert sum(free.parameter_counts().values()) == sum(p.numel() for p in free.parameters())


def test_operations_are_counted(task):
    counted = timing.flops(make(task, "gru", attention=True), task)
    assert 0 < counted["inference_flops_per_sequence"] < counted["train_flops_per_sequence"]


def test_what_is_kept_of_a_source_grows_with_attention_alone(task):
    without, with_it = make(task), make(task, attention=True)
    assert without.state_size == 2 * 2 * 12 + 12
    assert with_it.state_size == without.state_size + task.num_steps * 12


def test_a_small_language_is_learned(task):
    module = make(task, "gru", attention=True, embedding_size=16).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    batch = task.spread("train", 8)
    for _ in range(100):
        loss = module.loss(to_tensors(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    written = task.written(module.eval()(*to_tensors(batch)[:2]).numpy())
    assert written == task.written(batch.y)


@every_model
def test_the_encoder_of_a_translation_can_be_diagnosed(task, model):
    rows = diagnosis.diagnose(task, config_of(model, attention=True), make(task, model, attention=True).state_dict())
    by_lag = [row.mean for row in rows if (row.at, row.quantity, row.part) == ("end", "gradient of the input", "")]
    assert len(by_lag) == int(task.split("val", 1_000).length.max())
    assert all(norm > 0 for norm in by_lag)
