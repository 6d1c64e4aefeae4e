"""One run: what it trains, what it may see, how it ends, and how it resumes."""

import hashlib
import json
import math
import time
from pathlib import Path

import pytest
import torch

from bench.config.datasets import make_task
from bench.errors import SealedSplitError
from bench.results.record import PAUSED, Epoch, RunRecord
from bench.tasks import latch
from bench.training import ddp, generation, timing, train, watch
from bench.training.datamodule import DataModule, to_tensors
from bench.training.ledger import Ledger
from bench.training.module import SequenceModule
from tests.makers import run_config


def config(phase: str = "screen", *, settings: dict | None = None, **changes):
    """Return a small run of an LSTM."""
    return run_config(phase, settings={"learning_rate": 1e-2} | (settings or {}), **changes)


def losses(record) -> list[float]:
    return [epoch.train_loss for epoch in record.epochs]


def test_the_seed_decides_everything():
    first, again, other = (train.run(config(seed=seed)) for seed in (1, 1, 2))
    assert losses(first) == losses(again)
    assert first.val == again.val
    assert losses(first) != losses(other)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_losses_are_those_of_a_plain_loop(schedule):
    """Compare the fast path (many steps a call, fused Adam, nothing logged) with the textbook."""
    settings = {"schedule": schedule, "warmup_fraction": 0.1, "gradient_clip": 0.5}
    run_config = config(dataset="parity", settings=settings)  # masked, of many lengths
    record = train.run(run_config)
    task = make_task("parity", 8, {})
    torch.manual_seed(0)
    module = SequenceModule(task, run_config)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2 * math.sqrt(16 / 32))
    steps, warmup = run_config.train.max_steps, run_config.train.max_steps // 10

    def factor(step: int) -> float:
        if step < warmup or schedule == "constant":
            return min(1.0, (step + 1) / warmup)
        return 0.1 + 0.9 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    plain: list[float] = []
    for number in range(run_config.train.max_steps):
        x, length_B, y, mask = to_tensors(task.train_batch(0, number, 16))
        answers = module(x, length_B)
        chosen = torch.ones_like(y, dtype=torch.bool) if mask is None else mask
        loss = torch.nn.functional.cross_entropy(answers[chosen], y[chosen])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        optimizer.step()
        scheduler.step()
        plain.append(loss.item())
    steps = run_config.train.steps_per_epoch
    means = [sum(plain[i : i + steps]) / steps for i in range(0, len(plain), steps)]
    assert losses(record) == pytest.approx(means, abs=1e-5)


def test_batches_are_drawn_in_order_and_once(monkeypatch):
    drawn: list[int] = []
    original = latch.Task.train_batch
    monkeypatch.setattr(
        latch.Task, "train_batch", lambda self, seed, n, size: (drawn.append(n), original(self, seed, n, size))[1]
    )
    run_config = config(settings={"max_sequences": 16 * 40, "num_epochs": 2})
    assert train.run(run_config).train_steps == 40
    assert drawn == list(range(40))


def test_a_run_that_selects_cannot_open_the_test_split():
    data = DataModule(make_task("latch", 8, {}), config("screen"), Ledger("cpu"))
    with pytest.raises(SealedSplitError):
        _ = data.test
    with pytest.raises(SealedSplitError):
        data.test_dataloader()
    assert not train.run(config("screen")).tests


@pytest.mark.parametrize("phase", ["screen", "confirm", "speed"])
def test_only_test_runs_may_open_the_test_split(phase):
    with pytest.raises(ValueError, match="opened by test runs only"):
        config(phase, opens_test_of=("d/t0-s0",))
    with pytest.raises(ValueError, match="opened by test runs only"):
        config("test")


def test_what_is_tested_is_the_best_epoch(tmp_path):
    run_config = config("confirm", dataset="digits", run="d/t0-s0", settings={"learning_rate": 0.05})
    folders = [tmp_path / name for name in ("t0-s0", "t0-test")]
    for folder in folders:
        folder.mkdir()
    record = train.run(run_config, folder=folders[0])
    assert record.test is None
    update = {"phase": "test", "run": "d/t0-test", "opens_test_of": ("d/t0-s0",)}
    tested = train.run(run_config.model_copy(update=update), folder=folders[1])
    assert tested.state == "complete", tested.message
    scores = [epoch.val["accuracy"] for epoch in record.epochs]
    assert record.best_epoch == scores.index(max(scores))
    task = make_task("digits", 8, {})
    module = SequenceModule(task, run_config)
    module.load_state_dict(torch.load(folders[0] / "weights.pt", weights_only=True))
    module.eval()
    split = task.split("test", 60)
    with torch.inference_mode():
        answers = module(*to_tensors(split)[:2]).numpy()
    assert tested.tests == {"d/t0-s0": task.score(answers, split)}


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "truncated", "another model", "a flipped bit"])
def test_weights_that_cannot_be_read_are_trained_again(tmp_path, caplog, damage):
    run_config = config("confirm", run="d/t0-s0")
    folders = [tmp_path / name for name in ("t0-s0", "t0-test")]
    for folder in folders:
        folder.mkdir()
    (folders[0] / "config.json").write_text(run_config.model_dump_json())
    record = train.run(run_config, folder=folders[0])
    (folders[0] / "record.json").write_text(record.model_dump_json())
    test = run_config.model_copy(update={"phase": "test", "run": "d/t0-test", "opens_test_of": ("d/t0-s0",)})
    expected = train.run(test, folder=folders[1]).tests
    path = folders[0] / "weights.pt"
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "another model":
        torch.save({"weight": torch.zeros(2)}, path)
    elif damage == "a flipped bit":
        torch_file = bytearray(data)
        torch_file[len(data) // 2] ^= 1
        path.write_bytes(torch_file)
    else:
        path.write_bytes({"empty": b"", "text": b"no weights", "truncated": data[: len(data) // 2]}[damage])
    tested = train.run(test, folder=folders[1])
    assert (tested.state, tested.tests) == ("complete", expected)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{path}: ")
    assert caplog.messages[0].endswith("; the run is trained again")
    assert path.stat().st_size == len(data)
    assert record.state == "complete"


def test_language_models_write_texts_with_the_weights_of_their_first_seed(tmp_path, monkeypatch):
    monkeypatch.setitem(generation.NUM_TOKENS, "character", 40)
    text = tmp_path / "foxes.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 30)
    data = text.read_bytes()
    files = [{"path": str(text), "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}]
    base = config(
        "confirm", task="language_modelling", length=12, task_arguments={"files": files},
        settings={"max_sequences": 32, "num_epochs": 1},
    )  # fmt: skip
    runs = [f"d/t0-s{seed}" for seed in range(2)]
    folders = [tmp_path / name for name in ("t0-s0", "t0-s1", "t0-test", "_baselines")]
    for folder in folders:
        folder.mkdir()
    for seed, run_id in enumerate(runs):
        train.run(base.model_copy(update={"run": run_id, "seed": seed}), folder=folders[seed])
    update = {"phase": "test", "run": "d/t0-test", "opens_test_of": tuple(runs)}
    first, second = train.run(base.model_copy(update=update), folder=folders[2]).tests.values()
    assert set(second) == {"nats", "bits", "perplexity"}
    measures = ("real_words", "copied", "distinct_3", "self_bleu", "n_gram_nats")
    assert set(first) - set(second) == {f"{name}_t{t}" for name in measures for t in (0.5, 0.8, 1.0)}
    texts = json.loads((folders[0] / "samples.json").read_text())
    assert {key: (len(each), len(each[0])) for key, each in texts.items()} == dict.fromkeys(
        ("0.5", "0.8", "1.0"), (20, 40)
    )
    task = make_task(base.task, 12, base.task_arguments)
    assert generation.measures(texts, task)["0.8"]["self_bleu"] == first["self_bleu_t0.8"]
    assert not (folders[1] / "samples.json").exists()
    floors = train.run(base.model_copy(update={"phase": "baselines", "run": "d/_baselines"}), folder=folders[3])
    assert floors.baselines.items() >= {name: each["nats"] for name, each in floors.tests.items()}.items()
    assert floors.tests.keys() == json.loads((folders[3] / "samples.json").read_text()).keys()
    assert floors.tests["Kneser-Ney 5-gram"]["real_words_t1.0"] > floors.tests["uniform"]["real_words_t1.0"]


def test_training_stops_at_the_second_solved_validation():
    settings = {"max_sequences": 20_000, "num_epochs": 50, "batch_size": 32}
    record = train.run(config(model_arguments={"hidden_size": 16, "forget_bias": "chrono"}, settings=settings))
    scores = [epoch.val["accuracy"] for epoch in record.epochs]
    assert record.solved
    assert min(scores[-2:]) >= 0.99
    assert not any(min(pair) >= 0.99 for pair in zip(scores[:-2], scores[1:-1], strict=True))
    assert record.sequences_to_solve == record.train_sequences == record.epochs[-1].sequences < 20_000


def test_a_report_can_end_a_run():
    reports = []
    record = train.run(config(), lambda report: (reports.append(report), report.kind == "tick")[1])
    assert record.state == "pruned"
    assert len(record.epochs) == 1
    assert [(report.kind, report.steps) for report in reports if report.kind == "epoch"] == [("epoch", 10)]


def test_a_non_finite_loss_is_a_failure_with_a_cause(monkeypatch):
    loss = SequenceModule.loss
    monkeypatch.setattr(SequenceModule, "loss", lambda *arguments: math.inf * loss(*arguments))
    record = train.run(config(dataset="adding", length=30))
    assert (record.state, record.cause) == ("failed", "non_finite")


def test_an_error_in_a_model_is_a_failure_with_its_message(capfd):
    record = train.run(config(model_arguments={"hidden_size": 8, "forget_bias": "chronos"}))
    assert (record.state, record.cause) == ("failed", "error")
    assert "but found 'chronos'" in record.message
    assert "Traceback" in capfd.readouterr().err  # for log.txt


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_memory_that_is_not_there_is_a_failure_of_its_own(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(SequenceModule, "forward", fail)
    record = train.run(config())
    assert (record.state, record.cause) == ("failed", "out_of_memory")


def test_a_model_that_looks_ahead_is_refused_by_a_causal_task():
    record = train.run(config(dataset="parity", model_arguments={"hidden_size": 4, "bidirectional": True}))
    assert record.state == "failed"
    assert "not applicable" in record.message


class Interrupted(BaseException):
    """Simulates a kill: no code of the run may catch it."""


def interrupt_after(epochs: int):
    seen = []

    def on_report(report) -> bool:
        if report.kind == "epoch":
            seen.append(report)
            if len(seen) > epochs:
                raise Interrupted
        return True

    return on_report


LONG = {
    "max_sequences": 16 * 48,
    "num_epochs": 6,
    "dropout": 0.3,
    "schedule": "cosine",
}


def test_an_interrupted_run_resumes_as_if_it_had_not_been(tmp_path):
    run_config = config("confirm", dataset="digits", settings=LONG, checkpoint_seconds=1e-9)
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = train.run(run_config, folder=tmp_path / "whole")
    with pytest.raises(Interrupted):
        train.run(run_config, interrupt_after(3), tmp_path / "parts")
    assert list((tmp_path / "parts").glob("checkpoint-*.ckpt"))
    parts = train.run(run_config, folder=tmp_path / "parts")
    assert losses(parts) == losses(whole)
    assert [epoch.steps for epoch in parts.epochs] == [8, 16, 24, 32, 40, 48]
    assert (parts.val, parts.test, parts.best_epoch) == (whole.val, whole.test, whole.best_epoch)
    weights = [torch.load(tmp_path / name / "weights.pt", weights_only=True) for name in ("whole", "parts")]
    torch.testing.assert_close(*weights, rtol=0, atol=0)
    assert not list((tmp_path / "parts").glob("checkpoint*"))
    assert not parts.checkpoint_ignored


def paused(folder: Path, run_config, *pauses: int | None) -> list[RunRecord]:
    """Carry out a run as its process does, in stretches that end after so many validations; return their records."""
    folder.mkdir()
    records = []
    for pause in pauses:
        stretch = run_config.model_copy(update={"pause_after": pause})
        (folder / "config.json").write_text(stretch.model_dump_json())
        train.run_in_folder(folder, lambda report: True, time.monotonic())
        records.append(RunRecord.read(folder))
    return records


def test_a_paused_run_continues_as_if_it_had_not_been_paused(tmp_path):
    run_config = config("confirm", dataset="digits", settings=LONG)
    (tmp_path / "whole").mkdir()
    whole = train.run(run_config, folder=tmp_path / "whole")
    first, second, last = paused(tmp_path / "parts", run_config, 1, 3, None)
    assert [(record.state, record.cause) for record in (first, second)] == [("pruned", PAUSED)] * 2
    assert (first.message, first.share, second.share) == ("paused after 1 of 6 validations", 1 / 6, 3 / 6)
    assert losses(first) == losses(whole)[:1]
    assert (last.state, losses(last), last.val) == ("complete", losses(whole), whole.val)
    weights = [torch.load(tmp_path / name / "weights.pt", weights_only=True) for name in ("whole", "parts")]
    torch.testing.assert_close(*weights, rtol=0, atol=0)
    assert not list((tmp_path / "parts").glob("checkpoint*"))
    # The bill of a run is that of all its stretches.
    assert first.seconds.total < second.seconds.total < last.seconds.total
    assert last.started_at == first.started_at


def test_a_run_whose_checkpoint_was_written_but_not_its_record_pauses_at_once(tmp_path):
    run_config = config(dataset="digits", settings=LONG)
    first, second = paused(tmp_path / "parts", run_config, 1, 3)
    first.write(tmp_path / "parts")  # as if the process had died between its checkpoint and its record
    (tmp_path / "parts" / "config.json").write_text(second.config.model_dump_json())
    train.run_in_folder(tmp_path / "parts", lambda report: True, time.monotonic())
    again = RunRecord.read(tmp_path / "parts")
    assert again.is_paused
    assert losses(again) == losses(second)
    assert list((tmp_path / "parts").glob("checkpoint-*.ckpt"))


def test_a_paused_run_without_its_checkpoint_runs_again_from_the_start(tmp_path):
    run_config = config(dataset="digits", settings=LONG)
    (tmp_path / "a").mkdir()
    paused(tmp_path / "parts", run_config, 3)
    for path in (tmp_path / "parts").glob("checkpoint-*.ckpt"):
        path.unlink()
    (tmp_path / "parts" / "config.json").write_text(run_config.model_dump_json())
    train.run_in_folder(tmp_path / "parts", lambda report: True, time.monotonic())
    assert losses(RunRecord.read(tmp_path / "parts")) == losses(train.run(run_config, folder=tmp_path / "a"))


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty"])
def test_a_damaged_checkpoint_is_not_resumed_from(tmp_path, caplog, damage):
    run_config = config(dataset="digits", settings=LONG, checkpoint_seconds=1e-9)
    with pytest.raises(Interrupted):
        train.run(run_config, interrupt_after(2), tmp_path)
    (path,) = tmp_path.glob("checkpoint-*.ckpt")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"flipped": data, "truncated": data[:-9], "empty": b""}[damage])
    record = train.run(run_config, folder=tmp_path)
    assert record.checkpoint_ignored
    assert caplog.messages == [f"{path}: does not match its checksum; it is deleted and not resumed from"]
    assert losses(record) == losses(train.run(run_config))


@pytest.fixture
def clock(monkeypatch):
    """A clock of the ledger that only moves when a test calls it with some seconds."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def slow(wait, seconds: float, act):
    """Return `act`, made to take `seconds` of a clock."""
    return lambda *arguments: (wait(seconds), act(*arguments))[1]


def test_the_ledger_books_a_known_workload(monkeypatch, clock):
    """Every batch takes 5 ms to draw, the first step 100 ms more, every validation 30 ms, every report 10 ms."""
    first, loss = iter([0.1]), SequenceModule.loss
    monkeypatch.setattr(latch.Task, "train_batch", slow(clock, 0.005, latch.Task.train_batch))
    monkeypatch.setattr(latch.Task, "score", slow(clock, 0.03, latch.Task.score))
    monkeypatch.setattr(SequenceModule, "loss", lambda *arguments: (clock(next(first, 0.002)), loss(*arguments))[1])

    def report(progress: watch.Report) -> bool:
        clock(0.01 if progress.kind == "epoch" else 0)
        return True

    record = train.run(config(settings={"max_sequences": 16 * 40}), report)
    seconds = record.seconds
    assert (seconds.data, seconds.burn_in, seconds.train) == pytest.approx((40 * 0.005, 0.1, 39 * 0.002))
    assert (seconds.evaluate, seconds.logging) == pytest.approx((4 * 0.03, 4 * 0.01))
    parts = seconds.model_dump(exclude={"total", "crashed"})
    assert sum(parts.values()) == pytest.approx(seconds.total)
    # The learning curve counts what training took, without validations and reports.
    assert record.epochs[-1].train_seconds == pytest.approx(seconds.data + seconds.burn_in + seconds.train)
    assert record.train_tokens == 40 * 16 * 9  # every sequence of latch at 8 has 9 steps


@pytest.mark.parametrize("phase", ["speed", "baselines"])
def test_a_run_that_trains_nothing_has_a_ledger_too(monkeypatch, clock, phase):
    """Making the task takes 30 ms; measuring or scoring takes 50 ms."""
    monkeypatch.setattr(train, "task_of", slow(clock, 0.03, train.task_of))
    monkeypatch.setattr(timing, "speed", lambda *arguments: (clock(0.05), {})[1])
    monkeypatch.setattr(latch.Task, "baselines", slow(clock, 0.05, latch.Task.baselines))
    seconds = train.run(config(phase)).seconds
    assert (seconds.setup, seconds.evaluate, seconds.total) == pytest.approx((0.03, 0.05, 0.08))


def test_a_run_makes_its_task_once(monkeypatch):
    made = []
    original = latch.Task.__init__
    monkeypatch.setattr(latch.Task, "__init__", lambda self, *given: (made.append(given), original(self, *given))[1])
    for phase in ("screen", "baselines"):
        assert train.run(config(phase)).state == "complete"
    assert len(made) == 2


def test_a_run_that_takes_too_long_is_a_timeout(monkeypatch, clock):
    monkeypatch.setattr(latch.Task, "train_batch", slow(clock, 0.02, latch.Task.train_batch))
    monkeypatch.setattr(watch, "TICK_SECONDS", -1.0)
    record = train.run(config(settings={"max_sequences": 16 * 400}, max_seconds=0.3))
    assert (record.state, record.cause) == ("failed", "timeout")
    assert "--max-run-seconds is 0.3" in record.message
    assert record.train_steps == 17  # a first step by itself, then 16 in one call


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [
        ([1.0, 0.4, 0.9, 0.9, 0.9], True),
        ([1.0, 0.4, 0.9, 0.7, 0.9], False),  # once below twice the best
        ([1.0, 0.4, 0.9, 0.9, 0.5], False),
        ([0.4, 0.9, 0.9], False),  # too few to tell
        ([1.0, 0.001, 0.01, 0.01, 0.01], False),  # small losses double by chance
        ([0.69, 0.28, 0.036, 0.174, 0.358, 0.142], False),  # GunPoint: a spike on 40 training examples
        ([0.7, 0.7, 0.7, 0.7, 0.7], False),
    ],
)
def test_divergence_is_three_epochs_far_above_the_best(losses, diverged):
    assert (divergence(losses, losses) is not None) == diverged
    assert (divergence(losses, [None] * len(losses)) is not None) == diverged  # a record of an earlier version


def test_training_losses_of_few_batches_may_double_while_validation_does_not():
    """As on NAB, where the series of a batch decide: a validation loss of .06 to .08 stayed as it was."""
    train_losses = [0.3, 0.067, 0.2, 0.25, 0.19]
    assert divergence(train_losses, [0.2, 0.08, 0.07, 0.075, 0.08]) is None
    assert divergence(train_losses, [0.2, 0.08, 0.19, 0.25, 0.3]) is not None


def divergence(train_losses, val_losses) -> str | None:
    """Return what the history of a run with these losses says."""
    history = watch.History(make_task("latch", 8, {}), keeps_weights=False)
    for loss, of_val in zip(train_losses, val_losses, strict=True):
        losses = {"train_loss": loss, "val_loss": of_val}
        history.add(Epoch(steps=1, sequences=1, train_seconds=1.0, val={"accuracy": 0.5}, **losses), module=None)
    return history.divergence()


def test_a_run_that_diverges_is_a_failure_by_that_name(monkeypatch):
    losses = iter([1.0, 0.4, 2.0, 2.0, 2.0, 2.0, 2.0])
    evaluated = SequenceModule.evaluated

    def diverging(module, batch):
        scores = evaluated(module, batch)
        module.val_loss = next(losses)
        return scores

    monkeypatch.setattr(SequenceModule, "evaluated", diverging)
    monkeypatch.setattr(ddp, "mean", lambda trainer, value: trainer.lightning_module.val_loss * 5)
    record = train.run(config(settings={"max_sequences": 16 * 35, "num_epochs": 7}))
    assert (record.state, record.cause) == ("failed", "diverged")
    assert record.message == "loss 2 in epoch 4, after 0.4 at its best"


def test_more_parameters_than_allowed_end_a_trial_before_its_first_step():
    record = train.run(config(limits={"parameters": 100}))
    assert (record.state, record.cause, record.train_steps) == ("pruned", "limit", 0)
    assert record.num_parameters > 100


def test_latency_is_measured_where_it_is_asked_for():
    assert train.run(config()).inference_milliseconds is None
    assert train.run(config(limits={"inference_ms": 5.0})).inference_milliseconds > 0
    assert train.run(config(objectives=("quality", "latency"))).inference_milliseconds > 0
