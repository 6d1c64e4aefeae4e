"""Batches that do not fit into memory: divided, they teach what the undivided batch teaches, or they are refused."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.config import own_code, plugins, search_spaces
from bench.config.datasets import task_of
from bench.config.settings import BASELINES
from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.results.record import RunRecord
from bench.training import micro_batches, timing, train
from bench.training.datamodule import to_tensors
from bench.training.micro_batches import accumulate, divided, mixes_sequences
from bench.training.module import SequenceModule
from tests.gpu.runs import carry_out
from tests.makers import aligned, dictation, hourly, run_config, tagged, write
from tests.training import capped

BATCH = 16


def declared(*paths: Path) -> dict:
    """Return the arguments of a task for files of a test."""
    return {
        "files": [
            {"path": str(path), "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
            for path in paths
            if (data := path.read_bytes())
        ]
    }


@pytest.fixture(scope="module")
def kinds(tmp_path_factory) -> dict[str, dict]:
    """The task of a run by kind; those of parity, tagging, translation and transcription have masks."""
    folder = tmp_path_factory.mktemp("data")
    text = write(folder, "foxes.txt", "the quick brown fox jumps over the lazy dog\n" * 30)
    forecast = declared(hourly(folder / "load.csv", 200)) | {"target": ["load"], "features": [], "horizon": 3}
    spoken = own_data.make(SweepConfig(data=[dictation(folder / "spoken")], task="transcription", tokens="word")).card
    return {
        "classification": {"dataset": "digits"},
        "regression": {"dataset": "adding", "length": 30},
        "parity": {"dataset": "parity"},
        "forecast": {"task": "forecasting", "length": 12, "task_arguments": forecast},
        "language": {"task": "language_modelling", "length": 12, "task_arguments": declared(text)},
        "tagging": {"task": "tagging", "length": 5, "task_arguments": declared(tagged(folder / "words.conllu"))},
        "translation": {"task": "translation", "length": 9, "task_arguments": declared(*aligned(folder))},
        "transcription": {
            "task": "transcription", "length": spoken.lengths[0],
            "task_arguments": spoken.arguments | {"files": [file.model_dump() for file in spoken.files]},
        },
    }  # fmt: skip


KINDS = (
    *("classification", "regression", "parity", "forecast", "language", "tagging", "translation", "transcription"),
)
MASKED = ("parity", "tagging", "translation", "transcription")


def config(kind: dict, on_out_of_memory: str = "halve", **changes):
    settings = {"max_sequences": 160, "batch_size": BATCH, "num_epochs": 2, "learning_rate": 1e-2}
    return run_config(**kind | changes, settings=settings, on_out_of_memory=on_out_of_memory)


def made(run) -> tuple[SequenceModule, tuple]:
    task = task_of(run)
    torch.manual_seed(0)
    return SequenceModule(task, run).train(), to_tensors(task.train_batch(0, 0, BATCH))


def gradients(module: SequenceModule, batch, count: int) -> tuple[Tensor, list[Tensor]]:
    module.zero_grad()
    loss = accumulate(batch, count, module.loss, Tensor.backward)
    return loss, [weight.grad.clone() for weight in module.parameters() if weight.grad is not None]


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_the_undivided_batch(kinds, kind):
    module, batch = made(config(kinds[kind]))
    assert (batch[3] is not None) == (kind in MASKED)
    whole = gradients(module, batch, 1)
    for count in (2, 3, 4, BATCH):
        torch.testing.assert_close(gradients(module, batch, count), whole, rtol=1e-4, atol=1e-6)


def test_the_mean_of_the_means_is_another_loss(kinds):
    """What the test above would not notice if all micro-batches had equally many targets."""
    module, batch = made(config(kinds["tagging"]))
    means = torch.stack([module.loss(part) for part in divided(batch, 4)])
    assert abs(means.mean() - module.loss(batch)).item() > 1e-3


def test_a_micro_batch_without_targets_counts_nothing(kinds):
    module, (x, length, y, mask) = made(config(kinds["parity"]))
    batch = x, length, y, mask.index_fill(0, torch.arange(4), value=False)
    whole, divided_in_four = (gradients(module, batch, count) for count in (1, 4))
    assert torch.isfinite(divided_in_four[0])
    torch.testing.assert_close(divided_in_four, whole, rtol=1e-4, atol=1e-6)


class Memory:
    """A device on which a batch of more than `most` sequences does not fit, in training or in an evaluation."""

    def __init__(self, monkeypatch, most: int, place: str = "backward", error: Exception | None = None) -> None:
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.steps: list[int] = []  # sequences of each attempt
        part, loss, evaluate = [0], SequenceModule.loss, SequenceModule._evaluate_part

        def ask(size: int) -> None:
            self.steps.append(size)
            if size > most:
                raise self.error

        def forward(module, batch):
            part[0] = len(batch[0])
            value = loss(module, batch)
            if place == "forward" and module.training:
                ask(part[0])
            return value

        def backward(value, **_) -> None:
            torch.autograd.backward(value)  # what it has added must not count
            if place == "backward":
                ask(part[0])

        def evaluate_part(module, batch, number):
            if place == "evaluation":
                ask(len(batch[0]))
            return evaluate(module, batch, number)

        monkeypatch.setattr(SequenceModule, "loss", forward)
        monkeypatch.setattr(SequenceModule, "_evaluate_part", evaluate_part)
        monkeypatch.setattr(torch.Tensor, "backward", backward)


def losses(record: RunRecord) -> list[float]:
    assert record.state == "complete", record.message
    return [number for epoch in record.epochs for number in (epoch.train_loss, epoch.val_loss)]


@pytest.mark.parametrize("place", ["forward", "backward"])
@pytest.mark.parametrize("kind", ["classification", "language", "tagging"])
def test_a_run_whose_batches_do_not_fit_learns_what_it_would_have_learned(kinds, kind, place, monkeypatch):
    whole = train.run(config(kinds[kind]))
    memory = Memory(monkeypatch, 5, place)
    record = train.run(config(kinds[kind]))
    assert losses(record) == pytest.approx(losses(whole), abs=2e-5)
    assert record.val == pytest.approx(whole.val, abs=2e-5)
    assert memory.steps[:7] == [16, 8, 4, 4, 4, 4, 4]  # the first step is made again; later ones begin divided
    assert (whole.accumulate_grad_batches, record.accumulate_grad_batches) == (1, 4)
    same = ("train_steps", "train_sequences", "train_tokens")
    assert [getattr(record, name) for name in same] == [getattr(whole, name) for name in same]


@pytest.mark.slow
def test_a_run_that_the_kernel_gives_no_more_memory_is_divided(tmp_path, monkeypatch):
    """No error is injected: in a process of its own, allocations fail."""
    size = {"batch_size": 256, "max_sequences": 256 * 4, "num_epochs": 2, "learning_rate": 1e-2}

    def carried_out(name: str, allowed: int, policy: str) -> RunRecord:
        monkeypatch.setenv(capped.CAP, str(allowed))
        shared = {"dataset": "parity", "length": 512, "space": "gru", "model_arguments": {"hidden_size": 32}}
        run = run_config(run=f"d/{name}", on_out_of_memory=policy, settings=size, **shared)
        process = f"{capped.__name__}:{capped.run_in_folder.__name__}"
        (record,), _ = carry_out(tmp_path / name, [run], [{"CUDA_VISIBLE_DEVICES": ""}], process)
        return record

    whole = carried_out("whole", 0, "fail")
    allowed = int(0.7 * whole.peak_memory_bytes)
    failed = carried_out("failed", allowed, "fail")
    assert (failed.state, failed.cause) == ("failed", "out_of_memory"), failed.message
    halved = carried_out("halved", allowed, "halve")
    assert losses(halved) == pytest.approx(losses(whole), abs=1e-5)
    assert halved.accumulate_grad_batches in (2, 4)
    assert halved.train_steps == whole.train_steps == 4


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: out of memory\nCompile with …"), None])
def test_by_default_a_run_whose_batches_do_not_fit_fails(kinds, error, monkeypatch):
    memory = Memory(monkeypatch, 8, error=error)
    record = train.run(config(kinds["classification"], "fail"))
    assert (record.state, record.cause, memory.steps) == ("failed", "out_of_memory", [16])
    assert record.accumulate_grad_batches is None


def test_only_what_memory_does_not_hold_is_tried_again(kinds, monkeypatch):
    memory = Memory(monkeypatch, 8, error=RuntimeError("the sizes of two tensors differ"))
    record = train.run(config(kinds["classification"]))
    assert (record.cause, memory.steps) == ("error", [16])


def test_a_sequence_that_does_not_fit_alone_is_a_failure(kinds, monkeypatch):
    memory = Memory(monkeypatch, 0)
    record = train.run(config(kinds["classification"]))
    assert (record.state, record.cause, memory.steps) == ("failed", "out_of_memory", [16, 8, 4, 2, 1])
    assert record.message == (
        "OutOfMemoryError: the batch cannot be divided, because it has one sequence: "
        "CUDA out of memory. Tried to allocate 2.00 GiB."
    )


def test_a_validation_that_does_not_fit_is_divided_too(kinds, monkeypatch):
    whole = train.run(config(kinds["parity"]))
    memory = Memory(monkeypatch, 8, "evaluation")
    record = train.run(config(kinds["parity"]))
    assert memory.steps[:4] == [60, 30, 15, 8]  # the first of two validations of 60 sequences
    assert memory.steps[-8:] == [8, 8, 8, 8, 7, 7, 7, 7]
    assert losses(record) == pytest.approx(losses(whole), abs=1e-6)
    assert (record.val, record.accumulate_grad_batches) == (pytest.approx(whole.val), 1)


BATCH_NORM = """
import torch
from torch import nn

class Model(nn.Module):
    causal = True

    def __init__(self, input_size, length, *, hidden_size=8):
        super().__init__()
        self.linear, self.norm = nn.Linear(input_size, hidden_size), nn.BatchNorm1d(hidden_size)
        self.output_size = self.summary_size = hidden_size

    def forward(self, x_BLD, length_B, state=None):
        return self.norm(self.linear(x_BLD).transpose(1, 2)).transpose(1, 2), state

    def summary(self, h_BLH, length_B):
        return h_BLH[torch.arange(len(h_BLH)), length_B - 1]

    def state_size(self, length):
        return 0
"""


def test_a_model_that_mixes_the_sequences_of_a_batch_is_not_divided(kinds, tmp_path, monkeypatch):
    path = write(tmp_path, "mine.py", BATCH_NORM)
    digest = own_code.allow(path)
    Memory(monkeypatch, 8)
    record = train.run(config(kinds["classification"], model=str(path), source_hash=digest))
    assert (record.state, record.cause) == ("failed", "out_of_memory")
    assert "the model mixes the sequences of a batch, as BatchNorm does: CUDA out of memory" in record.message


def test_a_state_that_carries_over_is_not_divided(kinds, monkeypatch):
    run = config(kinds["language"])
    run = run.model_copy(update={"train": run.train.model_copy(update={"carry_state": True})})
    assert train.run(run).accumulate_grad_batches == 1
    monkeypatch.setattr(torch.Tensor, "backward", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
    record = train.run(run)
    assert (record.state, record.cause) == ("failed", "out_of_memory")
    assert "because its state carries over to the next batch: full" in record.message


@pytest.mark.parametrize("name", [*BASELINES, "tcn", "s4d", "mamba2", "mingru", "gated_deltanet", "mlp_flat"])
def test_of_the_models_only_those_with_statistics_of_the_batch_mix_its_sequences(name):
    space = search_spaces.read(name)
    arguments, _ = space.split(space.default)
    model = plugins.load("models", space.model).Model(6, 12, **arguments).train()
    mixes = arguments.get("norm") == "batch"
    assert mixes_sequences(model, 6, 12, torch.device("cpu")) == mixes
    if name == "cnn":
        other = plugins.load("models", "cnn").Model(6, 12, **arguments | {"norm": "sequence" if mixes else "batch"})
        assert mixes_sequences(other, 6, 12, torch.device("cpu")) != mixes


class Interrupted(BaseException):
    """Simulates a kill: no code of the run may catch it."""


def test_a_resumed_run_begins_with_the_micro_batches_of_its_checkpoint(kinds, tmp_path, monkeypatch):
    def interrupt(report) -> bool:
        if report.kind == "epoch" and report.steps > 5:
            raise Interrupted
        return True

    run = config(kinds["tagging"], checkpoint_seconds=1e-9)
    whole = train.run(run)
    memory = Memory(monkeypatch, 8)
    with pytest.raises(Interrupted):
        train.run(run, interrupt, tmp_path)
    memory.steps.clear()
    record = train.run(run, folder=tmp_path)
    assert set(memory.steps) == {8}
    assert record.accumulate_grad_batches == 2
    assert losses(record) == pytest.approx(losses(whole), abs=2e-5)


def test_the_exclusive_pass_times_steps_of_micro_batches(kinds, monkeypatch):
    monkeypatch.setattr(timing, "WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(timing, "MEASURE_SECONDS", 0.0)
    memory = Memory(monkeypatch, 8)
    record = train.run(config(kinds["tagging"], phase="speed"))
    assert record.state == "complete", record.message
    assert record.accumulate_grad_batches == 2
    assert memory.steps[:3] == [16, 8, 8]
    assert record.speed["batch_size"] == 16


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("[enforce fail a"), True),  # as it was under a limit of the kernel
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
    ],
)
def test_errors_that_say_that_memory_ran_out(error, is_one):
    assert micro_batches.is_out_of_memory(error) == is_one


def test_the_parts_of_a_batch_are_its_sequences_in_their_order():
    x, mask = torch.arange(13), torch.arange(13) % 2 == 0
    parts = divided((x, x, x, mask), 4)
    assert [len(part[0]) for part in parts] == [4, 3, 3, 3]
    assert torch.equal(torch.cat([part[3] for part in parts]), mask)
    assert divided((x, x, x, None), 2)[1][3] is None
    assert isinstance(parts[0][0], Tensor)
    assert not isinstance(parts[0], nn.Module)
