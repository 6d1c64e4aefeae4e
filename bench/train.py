"""One run: a configuration in, a record out.

Knows neither Optuna nor MLflow. Whoever starts a run hears of it through `on_report` and may end it early.
"""

import hashlib
import logging
import math
import time
import traceback
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch

from bench import measure
from bench.config import RunConfig
from bench.datamodule import DataModule, to_tensors
from bench.datasets import make_task
from bench.errors import BenchError
from bench.module import SequenceModule
from bench.record import Asked, Epoch, RunRecord, Seconds, read_crashes

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Report(NamedTuple):
    """Progress of a run: a tick about once a second, and one at the end of every epoch with its validation score."""

    kind: Literal["tick", "epoch"]
    steps: int
    value: float | None = None  # the task's primary metric


OnReport = Callable[[Report], bool]  # False ends the run: it is pruned
TICK_SECONDS = 1.0


def run(config: RunConfig, on_report: OnReport = lambda report: True, folder: Path | None = None) -> RunRecord:
    """Carry out one run and return its record; whatever goes wrong inside it is a record too.

    With a `folder`, long runs leave a checkpoint there and go on from it, and confirm runs leave their weights.
    """
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    ledger, memory = measure.Ledger(config.device), measure.PeakMemory(config.device)
    facts: dict[str, Any] = {"state": "complete"}
    try:
        act = {"baselines": _baselines, "speed": _speed}.get(config.phase)
        facts |= act(config) if act else _train(config, on_report, folder, ledger)
    except (torch.OutOfMemoryError, MemoryError) as error:
        facts = {"state": "failed", "cause": "out_of_memory", "message": _last_line(error)}
    except Exception as error:  # noqa: BLE001 - model code may raise anything, and a failed run is a result
        # PyTorch has no class of its own for memory that the CPU's allocator could not get.
        cause = "out_of_memory" if "can't allocate memory" in str(error) else "error"
        facts = {"state": "failed", "cause": cause, "message": _last_line(error)}
        if not isinstance(error, BenchError):
            traceback.print_exc()
    facts = {"peak_memory_bytes": memory.bytes()} | facts
    seconds = {name: ledger.seconds.get(name, 0.0) for name in ("setup", "train", "evaluate")}
    return RunRecord(
        config=config,
        asked=Asked.model_validate(make_task(config.task, config.length, config.task_arguments)),
        **facts,
        seconds=Seconds(**seconds, total=sum(ledger.seconds.values())),
        environment=measure.environment(config.device),
        started_at=started_at,
    )


def run_in_folder(folder: Path, on_report: OnReport, submitted: float) -> None:
    """Carry out the run that `folder/config.json` describes and leave `folder/record.json`: a run process's whole work.

    `submitted` is the monotonic time at which the run was handed over, so that the process's start is on the bill.
    """
    config = RunConfig.read(folder / "config.json")
    measure.prepare_process(config.threads)
    record = run(config, on_report, folder)
    crashes = read_crashes(folder)
    crashed = sum(crash["seconds"] for crash in crashes)
    total = time.monotonic() - submitted + crashed
    record = record.model_copy(
        update={
            "crashes": [crash["cause"] for crash in crashes],
            "seconds": record.seconds.model_copy(update={"crashed": crashed, "total": total}),
        }
    )
    record.write(folder)


def _train(config: RunConfig, on_report: OnReport, folder: Path | None, ledger: measure.Ledger) -> dict[str, Any]:
    with ledger.spent_on("setup"):
        torch.manual_seed(config.seed)
        task = make_task(config.task, config.length, config.task_arguments)
        data, module = DataModule(task, config), SequenceModule(task, config)
        if task.causal and not module.encoder.causal:
            raise BenchError(f"{config.task} may not see the future, and {config.space} does: not applicable")
        watch = _Watch(config, data, on_report, folder, ledger)
        trainer = _trainer(config, watch)
        checkpoint, ignored = _find_checkpoint(folder)
        module.train()
    with ledger.spent_on("train"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on loggers, workers and intervals we chose knowingly
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    if checkpoint is not None or watch.checkpoint is not None:
        for path in (checkpoint, watch.checkpoint):
            if path is not None:
                path.unlink(missing_ok=True)
    facts = watch.facts() | {
        "parameters": module.parameter_counts(),
        "state_size": module.encoder.state_size(task.num_steps),
        "checkpoint_ignored": ignored,
    }
    if config.evaluate_test and facts["state"] == "complete":
        with ledger.spent_on("evaluate"):
            facts |= _test(config, trainer, module, data, watch, facts["solved"])
            if folder is not None:
                torch.save(watch.best_weights, folder / "weights.pt")
    return facts


def _test(
    config: RunConfig,
    trainer: pl.Trainer,
    module: SequenceModule,
    data: DataModule,
    watch: "_Watch",
    solved: bool | None,
) -> dict[str, Any]:
    """Open the test split, once, with the weights of the best epoch."""
    module.load_state_dict(watch.best_weights)
    trainer.test(module, datamodule=data, verbose=False)
    test = module.evaluated(data.test)
    threshold = module.task.solved
    if solved and threshold is not None and not test[module.task.metric] >= threshold:
        # Solved on validation by luck: the test does not bear it out.
        return {"test": test, "solved": False, "sequences_to_solve": None, "seconds_to_solve": None}
    return {"test": test}


def _speed(config: RunConfig) -> dict[str, Any]:
    torch.manual_seed(config.seed)
    task = make_task(config.task, config.length, config.task_arguments)
    module = SequenceModule(task, config)
    batch = to_tensors(task.train_batch(config.seed, 0, config.train.batch_size))
    memory = measure.PeakMemory(config.device)  # after the data, and what loads them, are there
    speed = measure.speed(module, batch, config)
    return {"speed": speed, "parameters": module.parameter_counts(), "peak_memory_bytes": memory.bytes()}


def _baselines(config: RunConfig) -> dict[str, Any]:
    task = make_task(config.task, config.length, config.task_arguments)
    return {"baselines": {name: float(value) for name, value in task.baselines(config.train.num_test).items()}}


def _trainer(config: RunConfig, watch: "_Watch") -> pl.Trainer:
    """Return a Trainer without what costs time at every step: logging, progress bars, summaries, sanity checks."""
    return pl.Trainer(
        accelerator="gpu" if config.device == "cuda" else "cpu",
        devices=1,
        precision=config.precision,
        max_epochs=config.train.num_epochs,
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


class _Watch(pl.Callback):
    """Watches a run: validations, best weights, when it is solved, and reports of all that; keeps checkpoints."""

    def __init__(
        self, config: RunConfig, data: DataModule, on_report: OnReport, folder: Path | None, ledger: measure.Ledger
    ) -> None:
        self.config, self.data, self.on_report, self.folder, self.ledger = config, data, on_report, folder, ledger
        self.epochs: list[Epoch] = []
        self.best_epoch = -1
        self.best_weights: dict[str, torch.Tensor] = {}
        self.solved_at: Epoch | None = None
        self.pruned = self.non_finite = False
        self.checkpoint: Path | None = None
        self.earlier_seconds = 0.0  # of training before the checkpoint this run went on from
        self._last_tick = self._last_checkpoint = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        now = time.monotonic()
        if now - self._last_tick > TICK_SECONDS:
            self._last_tick = now
            self.on_report(Report("tick", module.train_steps))

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.ledger.switch("evaluate")

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, SequenceModule)
        task, steps = module.task, module.train_steps
        scores = module.evaluated(self.data.val)
        train_loss = module.train_loss.item() / self.config.train.steps_per_epoch
        module.train_loss = torch.zeros_like(module.train_loss)
        self.ledger.back()
        if not math.isfinite(train_loss) or not all(map(math.isfinite, scores.values())):
            self.non_finite = trainer.should_stop = True
            return
        sequences = steps * self.config.train.batch_size
        train_seconds = self.earlier_seconds + self.ledger.so_far("train")
        epoch = Epoch(steps=steps, sequences=sequences, train_seconds=train_seconds, train_loss=train_loss, val=scores)
        self.epochs.append(epoch)
        sign = 1 if task.goal == "maximize" else -1
        score = scores[task.metric]
        if self.best_epoch < 0 or sign * score > sign * self.epochs[self.best_epoch].val[task.metric]:
            self.best_epoch = len(self.epochs) - 1
            if self.config.evaluate_test:
                self.best_weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        # Two validations in a row: one may be a lucky peak.
        if task.solved is not None and len(self.epochs) > 1:
            last = [sign * past.val[task.metric] for past in self.epochs[-2:]]
            if min(last) >= sign * task.solved:
                self.solved_at, trainer.should_stop = epoch, True
        if not self.on_report(Report("epoch", steps, score)) and not trainer.should_stop:
            self.pruned = trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        due = time.monotonic() - self._last_checkpoint > self.config.checkpoint_seconds
        if self.folder is None or not due or trainer.should_stop:
            return
        self._last_checkpoint = time.monotonic()
        # Lightning's own writing is atomic only where TMPDIR is on the same file system; and a flipped byte would load.
        temporary = self.folder / "checkpoint.part"
        trainer.save_checkpoint(temporary)
        path = self.folder / f"checkpoint-{_checksum(temporary)}.ckpt"
        temporary.replace(path)
        if self.checkpoint is not None:
            self.checkpoint.unlink()
        self.checkpoint = path

    def state_dict(self) -> dict[str, Any]:
        """Return what a run needs to go on as if it had not stopped."""
        return {
            "epochs": [epoch.model_dump() for epoch in self.epochs],
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "train_seconds": self.epochs[-1].train_seconds if self.epochs else 0.0,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state() if self.config.device == "cuda" else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.epochs = [Epoch(**epoch) for epoch in state_dict["epochs"]]
        self.best_epoch = state_dict["best_epoch"]
        self.best_weights = state_dict["best_weights"]
        self.earlier_seconds = state_dict["train_seconds"]
        torch.set_rng_state(state_dict["rng"].cpu())
        if state_dict["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state_dict["cuda_rng"].cpu())

    def facts(self) -> dict[str, Any]:
        """Return the part of the record that training decides."""
        facts: dict[str, Any] = {
            "state": "failed" if self.non_finite else "pruned" if self.pruned else "complete",
            "epochs": self.epochs,
            "train_steps": self.epochs[-1].steps if self.epochs else 0,
            "train_sequences": self.epochs[-1].sequences if self.epochs else 0,
            "solved": self.solved_at is not None if self.data.task.solved is not None else None,
        }
        if self.non_finite:
            facts |= {"cause": "non_finite", "message": f"loss or score became non-finite in epoch {len(self.epochs)}"}
        if self.best_epoch >= 0:
            facts |= {"best_epoch": self.best_epoch, "val": self.epochs[self.best_epoch].val}
        if self.solved_at is not None:
            facts["sequences_to_solve"] = self.solved_at.sequences
            facts["seconds_to_solve"] = self.solved_at.train_seconds
        return facts


def _find_checkpoint(folder: Path | None) -> tuple[Path | None, bool]:
    """Return the checkpoint to go on from, and whether a damaged one was left aside."""
    found = sorted(folder.glob("checkpoint-*.ckpt")) if folder is not None else []
    sound = [path for path in found if path.stem == f"checkpoint-{_checksum(path)}"]
    for path in set(found) - set(sound[-1:]):
        path.unlink()
    return (sound[-1] if sound else None), len(sound) < len(found)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _last_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip() or 'no message'}".splitlines()[-1][:500]
