"""Training of one configuration: set up, fit, and the fields of the record that follow."""

import logging
import signal
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch

from bench.config.contracts import StoredTask, Task
from bench.config.settings import RunConfig
from bench.errors import BenchError
from bench.results.record import RunRecord
from bench.training import ddp, launchers, timing, weights
from bench.training.checkpoints import Checkpoints
from bench.training.datamodule import DataModule, to_tensors
from bench.training.ledger import Ledger
from bench.training.module import SequenceModule
from bench.training.watch import History, OnReport, Watch

TAKEN_OVER = (
    *("state", "epochs", "val", "best_epoch", "val_loss", "solved", "sequences_to_solve", "seconds_to_solve"),
    *("train_steps", "train_sequences", "train_tokens", "accumulate_grad_batches"),
    *("parameters", "state_size", "peak_memory_bytes"),
    *("inference_milliseconds", "inference_disturbed", "weights_sha256"),
)
"""What the record of a trial says of its training. Its bill stays with the trial, so that nothing counts twice."""

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # remarks on hardware, and advertisements


def fit(config: RunConfig, task: Task, on_report: OnReport, folder: Path | None, ledger: Ledger) -> dict[str, Any]:
    """Train a configuration and return the fields of its record; a confirm run leaves its weights in `folder`.

    Training resumes from a checkpoint in `folder`. Raises BenchError if the model does not suit the task.
    """
    with ledger.spent_on("setup"):
        torch.manual_seed(config.seed)
        module = SequenceModule(task, config)
        if task.causal and not module.encoder.causal:
            raise BenchError(f"{config.task} may not see the future, and {config.space} does: not applicable")
        size: dict[str, Any] = {"parameters": module.parameter_counts(), "state_size": module.state_size}
        allowed, parameters = config.limits.parameters, sum(size["parameters"].values())
        if config.phase == "screen" and allowed is not None and parameters > allowed:
            message = f"{parameters:,} parameters, and --max-parameters is {allowed:,}"
            return size | {"state": "pruned", "cause": "limit", "message": message}
        data = DataModule(task, config, ledger)
        # A trial of successive halving may have to stand for its confirm run, if no time is left for one.
        history = History(task, keeps_weights=config.phase == "confirm" or config.bracket is not None)
        watch, checkpoints = (
            Watch(config, data, on_report, ledger, history),
            Checkpoints(config, folder, ledger, history),
        )
        trainer = make_trainer(config, config.num_devices, [watch, checkpoints])
        module.train()
    with ledger.spent_on("train"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on loggers, workers and intervals that are chosen here
        trainer.fit(module, datamodule=data, ckpt_path=checkpoints.latest, weights_only=True)
    if not watch.is_paused:
        checkpoints.remove()
    facts = watch.facts(module) | size | {"checkpoint_ignored": checkpoints.is_any_damaged}
    if facts["state"] == "complete":
        if config.limits.inference_ms is not None or "latency" in config.objectives:
            with ledger.spent_on("evaluate"):
                milliseconds, is_disturbed = timing.latency(module, to_tensors(data.val), config)
                facts |= {"inference_milliseconds": milliseconds, "inference_disturbed": is_disturbed}
        if history.best_weights and folder is not None:
            with ledger.spent_on("logging"):
                facts["weights_sha256"] = weights.save(history.best_weights, folder)
                weights.save_middle(history.middle, folder)
    return facts


def take_over(config: RunConfig, folder: Path | None, ledger: Ledger) -> dict[str, Any]:
    """Return the fields of a confirm run that takes over a trial of successive halving, and copy its weights.

    The ledger gets the parts of the trial's time, so that the training time of the model is known; the total of the
    run, which is on the bill, is that of the copy alone. Raises BenchError if the record or the weights are missing.
    """
    trial_folder = None if folder is None else folder.parent / Path(str(config.takes_over)).name
    trial = None if trial_folder is None else RunRecord.read(trial_folder)
    if folder is None or trial_folder is None or trial is None or not weights.exist(trial_folder):
        raise BenchError(f"{config.run}: the record or the weights of {config.takes_over} are missing")
    weights.copy(trial_folder, folder)
    for part in ("data", "burn_in", "train", "evaluate"):
        ledger.seconds[part] = getattr(trial.seconds, part)
    return {name: getattr(trial, name) for name in TAKEN_OVER}


def refit(config: RunConfig, task: StoredTask, epochs: int, ledger: Ledger) -> SequenceModule:
    """Train a configuration on the training and validation part together, for a number of epochs; return the module.

    An epoch has as many steps as in the run that `config` describes, and the schedule of the learning rate is that of
    the run. Nothing is left to select by, so that the weights are those of the last step.
    """
    torch.manual_seed(config.seed)
    module = SequenceModule(cast(Task, task), config)
    data = DataModule(cast(Task, task), config, ledger, task.refit_batch)
    trainer = make_trainer(config)
    trainer.fit_loop.max_epochs, trainer.limit_val_batches = epochs, 0
    module.train()
    with ledger.spent_on("train"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, datamodule=data)
    return module.eval()


def make_trainer(config: RunConfig, num_devices: int = 1, callbacks: Sequence[pl.Callback] = ()) -> pl.Trainer:
    """Return a Trainer without logging, progress bars, summaries and sanity checks, which cost time at every step."""
    if num_devices == 1:
        launchers.forget()
    return pl.Trainer(
        accelerator="gpu" if config.device == "cuda" else "cpu",
        devices=num_devices,
        strategy=ddp.strategy(config.device) if num_devices > 1 else "auto",
        precision=config.precision,
        max_epochs=min(config.train.num_epochs, config.pause_after or config.train.num_epochs),
        callbacks=[_KeepSignals(), *callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


class _KeepSignals(pl.Callback):
    """Undoes Lightning's handling of SIGTERM, which would end a run: its process decides what a signal means."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remember the handler before Lightning replaces it."""
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the handler back, which only the main thread may do."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)

    on_test_start = on_train_start
