"""CTC: what is read from the answers, the likelihood of all alignments, and modules that train with it."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.errors import BenchError
from bench.training import ctc, diagnosis, timing
from bench.training.datamodule import to_tensors
from bench.training.module import SequenceModule
from tests.makers import dictation, run_config


def read(path: list[int]) -> list[int]:
    """The tokens of a path: repeats are one, and blanks are none."""
    return [number for number, _ in itertools.groupby(path) if number]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([0, 0], []),
        ([1, 1, 2], [1, 2]),
        ([1, 0, 1], [1, 1]),
        ([0, 2, 2, 0, 0, 2, 1, 1], [2, 2, 1]),
        ([3], [3]),
    ],
)
def test_repeats_and_blanks_are_left_out(path, expected):
    (found,) = ctc.best_path(torch.eye(4)[torch.tensor(path)][None]).tolist()
    assert [number for number in found if number] == expected


@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=4))
def test_a_path_is_read_as_the_slow_reference_reads_it(paths):
    found = ctc.best_path(torch.eye(4)[torch.tensor(paths)]).tolist()
    assert [[number for number in row if number] for row in found] == [read(path) for path in paths]


@given(seed=st.integers(0, 99), steps=st.integers(1, 4), target=st.lists(st.integers(1, 2), max_size=3))
def test_the_loss_is_that_of_all_alignments(seed, steps, target):
    answers = torch.randn(1, steps, 3, generator=torch.Generator().manual_seed(seed)).double()
    nats = -answers[0].log_softmax(-1)
    paths = [path for path in itertools.product(range(3), repeat=steps) if read(list(path)) == target]
    likelihood = sum(float(torch.exp(-sum(nats[i, k] for i, k in enumerate(path)))) for path in paths)
    y = torch.tensor([target], dtype=torch.int64)
    found = ctc.loss(answers, torch.tensor([steps]), y, torch.ones_like(y, dtype=torch.bool))
    assert float(found) == pytest.approx(-np.log(likelihood) / max(1, len(target)) if paths else np.inf, rel=1e-4)


def test_the_loss_is_a_mean_over_tokens_and_knows_no_padding():
    answers = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    y, mask = torch.tensor([[1, 2, 2], [3, 0, 0]]), torch.tensor([[True] * 3, [True, False, False]])
    both = ctc.loss(answers, torch.tensor([6, 4]), y, mask)
    first = ctc.loss(answers[:1], torch.tensor([6]), y[:1], None)
    second = ctc.loss(answers[1:, :4], torch.tensor([4]), y[1:, :1], None)
    torch.testing.assert_close(both, (3 * first + second) / 4)


# Modules


MODELS = {
    "lstm": {"hidden_size": 16},
    "gru": {"hidden_size": 16, "bidirectional": True},
    "transformer": {"num_layers": 1, "num_heads": 2, "head_size": 8},
}
every_model = pytest.mark.parametrize("model", MODELS)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = dictation(tmp_path_factory.mktemp("spoken") / "words")
    own = own_data.make(SweepConfig(data=[folder], task="transcription", tokens="word"))
    return own.card.at(own.card.lengths[0])


def config_of(model="lstm", **settings):
    return run_config(
        dataset="words", task="transcription", space=model, model_arguments=MODELS[model],
        settings={"stem_channels": 8, "stem_stride": 2, "learning_rate": 0.01} | settings,
    )  # fmt: skip


def make(task, model="lstm", **settings):
    torch.manual_seed(0)
    return SequenceModule(task, config_of(model, **settings))


@every_model
@pytest.mark.parametrize("stem", [{}, {"stem_channels": 0}], ids=["stem", "none"])
def test_padding_changes_nothing_and_is_read_as_blanks(task, model, stem):
    module = make(task, model, **stem).eval()
    x, length, *_ = to_tensors(task.split("val", 3))
    together = module(torch.nn.functional.pad(x, (0, 0, 0, 9)), length)
    for row, steps in enumerate(length.tolist()):
        (alone,) = module(x[row : row + 1, :steps], length[row : row + 1])
        assert len(alone) == (steps if module.stem is None else -(-steps // 2))
        torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-5, rtol=1e-4)
        assert not ctc.best_path(together)[row, len(alone) :].any()


def test_a_few_steps_learn_a_few_recordings_by_heart(task):
    module = make(task, "gru", stem_stride=4).train()
    batch = task.take("train", np.arange(6))
    optimizer, tensors = torch.optim.Adam(module.parameters(), lr=0.01), to_tensors(batch)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = module.loss(tensors)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 < 1 < losses[0]
    outputs = ctc.best_path(module.eval()(*tensors[:2])).numpy()
    assert task.written(outputs) == task.written(batch.y)


def test_a_stride_that_leaves_too_few_steps_is_refused(task):
    with pytest.raises(BenchError, match=f"stem_stride: {task.max_stride + 1} leaves a recording fewer steps"):
        make(task, stem_stride=task.max_stride + 1)
    batch = task.take("train", np.arange(task.counts["train"]))
    assert torch.isfinite(make(task, stem_stride=task.max_stride).eval().loss(to_tensors(batch)))


def test_what_was_seen_of_a_split_are_tokens_and_its_loss_is_one_mean(task):
    module, val = make(task).eval(), task.split("val", 4)
    parts = [tuple(part[rows] for part in to_tensors(val)) for rows in (slice(0, 3), slice(3, 4))]
    with torch.inference_mode():
        for number, part in enumerate(parts):
            module.validation_step(part, number)
    outputs = module.kept_outputs(val)
    assert outputs.dtype == np.int64
    assert module.val_loss == pytest.approx(float(module.loss(to_tensors(val)).detach()), rel=1e-5)


def test_operations_are_counted_and_gradients_reach_back(task):
    found = timing.flops(make(task), task)
    assert 0 < found["inference_flops_per_sequence"] < found["train_flops_per_sequence"]
    rows = diagnosis.diagnose(task, config_of(), make(task).state_dict())
    assert any(row.quantity == "gradient of the input" for row in rows)
