"""What is followed while a run trains: its learning curve, its reports, and the reasons to end it early."""

import math
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch

from bench.config.contracts import Task
from bench.config.settings import RunConfig
from bench.results.record import PAUSED, Epoch
from bench.training import ddp
from bench.training.datamodule import DataModule
from bench.training.ledger import Ledger
from bench.training.module import SequenceModule

TICK_SECONDS = 1.0


class Report(NamedTuple):
    """Progress of a run: a tick about once a second, and one report an epoch with its validation score."""

    kind: Literal["tick", "epoch"]
    steps: int
    value: float | None = None  # the task's primary metric


OnReport = Callable[[Report], bool]
"""Receives a report; returns False to prune the run."""


Weights = dict[str, torch.Tensor]


class Waypoints:
    """The weights of a few validations of a run, for the one half way to a later validation.

    It keeps two: of the validations whose number is a multiple of a stride, which doubles when there are three.
    """

    def __init__(self, kept: dict[int, Weights] | None = None, stride: int = 1) -> None:
        self.kept, self.stride = kept or {}, stride  # by the number of the validation, from 1 on

    def is_next(self, number: int) -> bool:
        """Return whether the weights of a validation are kept."""
        return number % self.stride == 0

    def add(self, number: int, weights: Weights) -> None:
        """Keep the weights of a validation, and drop what lies too close."""
        self.kept[number] = weights
        if len(self.kept) > 2:
            self.stride *= 2
            self.kept = {number: weights for number, weights in self.kept.items() if self.is_next(number)}

    def halfway(self, number: int) -> int | None:
        """Return the kept validation that is nearest to half of `number`, from a third to two thirds; None at 1."""
        return min(self.kept, key=lambda kept: abs(2 * kept - number), default=None)


def _is_lost(losses: list[float]) -> bool:
    """Whether three epochs in a row are above twice the best loss and have lost half of what was gained."""
    best = min(losses)
    return len(losses) > 3 and min(losses[-3:]) > max(2 * best, (best + losses[0]) / 2)


class History:
    """The validations of a run, the weights of the best one, and those half way to it."""

    def __init__(self, task: Task, keeps_weights: bool) -> None:
        self.epochs: list[Epoch] = []
        self.best_epoch = -1
        self.best_weights: Weights = {}
        self.middle: tuple[int, Weights] | None = None  # training steps, and the weights after them
        self._waypoints = Waypoints()
        self.earlier_seconds = 0.0  # of training before the checkpoint from which the run was resumed
        self._keeps_weights, self._metric, self._threshold = keeps_weights, task.metric, task.solved
        self._sign = 1 if task.goal == "maximize" else -1

    def add(self, epoch: Epoch, module: SequenceModule) -> None:
        """Append a validation, and keep the weights if it is the best so far or may be the middle of training."""
        self.epochs.append(epoch)
        number = len(self.epochs)
        is_best = self.best_epoch < 0 or self._rank(-1) > self._rank(self.best_epoch)
        is_next = self._waypoints.is_next(number)
        if is_best:
            self.best_epoch = number - 1
        if not self._keeps_weights or not (is_best or is_next):
            return
        weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        if is_best:
            half = self._waypoints.halfway(number)
            self.best_weights = weights
            self.middle = None if half is None else (self.epochs[half - 1].steps, self._waypoints.kept[half])
        if is_next:
            self._waypoints.add(number, weights)

    @property
    def is_solved(self) -> bool:
        """Whether the last two validations reach the task's threshold; a single one may be a lucky peak."""
        if self._threshold is None or len(self.epochs) < 2:
            return False
        return min(self._value(-1), self._value(-2)) >= self._sign * self._threshold

    def is_stale(self, num_epochs: int) -> bool:
        """Return whether none of the last `num_epochs` validations was the best."""
        return len(self.epochs) - 1 - self.best_epoch >= num_epochs

    def _value(self, index: int) -> float:
        return self._sign * self.epochs[index].val[self._metric]

    def _rank(self, index: int) -> tuple[float, float]:
        """Return what makes a validation better: the metric, and among equals a smaller loss."""
        loss = self.epochs[index].val_loss
        return self._value(index), -math.inf if loss is None else -loss

    def divergence(self) -> str | None:
        """Return how the losses of the last three epochs exceed twice the best one, None if they do not.

        A loss close to zero doubles by chance, on a small training set tenfold: at least half of what training had
        gained since the first epoch must be lost as well. And the training loss of an epoch of few batches, which may
        be easy or hard ones, doubles where nothing diverges: the validation loss must have done the same.
        """
        losses = [epoch.train_loss for epoch in self.epochs]
        of_val = [epoch.val_loss for epoch in self.epochs if epoch.val_loss is not None]
        if _is_lost(losses) and (len(of_val) < len(losses) or _is_lost(of_val)):
            return f"loss {losses[-1]:.3g} in epoch {len(losses) - 1}, after {min(losses):.3g} at its best"
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return the content as plain data for a checkpoint."""
        return {
            "epochs": [epoch.model_dump() for epoch in self.epochs],
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "middle": self.middle,
            "waypoints": (self._waypoints.kept, self._waypoints.stride),
            "train_seconds": self.epochs[-1].train_seconds if self.epochs else 0.0,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self.best_epoch, self.best_weights = state["best_epoch"], state["best_weights"]
        self.middle = state.get("middle")  # checkpoints of earlier versions lack it
        self._waypoints = Waypoints(*state.get("waypoints", ()))
        self.earlier_seconds = state["train_seconds"]


class Watch(pl.Callback):
    """Books the seconds of a run, scores its validations, reports its progress, and ends it early."""

    def __init__(
        self, config: RunConfig, data: DataModule, on_report: OnReport, ledger: Ledger, history: History
    ) -> None:
        self.config, self.data, self.on_report, self.ledger, self.history = config, data, on_report, ledger, history
        self.ended: dict[str, str] = {}  # state, cause and message of a run that was ended early
        self._is_burnt_in = self._is_over = False
        self._last_tick = time.monotonic()

    @property
    def train_seconds(self) -> float:
        """Seconds of training so far, without validations."""
        return self.history.earlier_seconds + sum(map(self.ledger.so_far, ("data", "burn_in", "train")))

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        """Book the first step as burn-in."""
        if not self._is_burnt_in:
            self.ledger.switch("burn_in")

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        """Report about once a second, and end a run that takes too long."""
        if not self._is_burnt_in:
            self.ledger.back()
            self._is_burnt_in = True
        now = time.monotonic()
        if now - self._last_tick > TICK_SECONDS:
            self._last_tick = now
            self.on_report(Report("tick", module.train_steps))
            # The ranks of a shared run must stop at the same step, and they communicate at validations only.
            if self.config.num_devices == 1:
                self._check_time(trainer)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Book the validation."""
        self.ledger.switch("evaluate")

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Score the validation, report it, and end a run that is solved, stale, pruned, diverged or out of time."""
        assert isinstance(module, SequenceModule)
        scores = module.evaluated(self.data.val)
        train_loss = ddp.mean(trainer, module.train_loss) / self.config.train.steps_per_epoch
        module.train_loss = torch.zeros_like(module.train_loss)
        self.ledger.back()
        if self.ended:
            return
        if not all(map(math.isfinite, (train_loss, module.val_loss, *scores.values()))):
            message = f"loss or score became non-finite in epoch {len(self.history.epochs)}"
            self._end(trainer, "failed", "non_finite", message)
            return
        steps, sequences = module.train_steps, module.train_steps * self.config.train.batch_size
        seconds = self.train_seconds
        losses = {"train_loss": train_loss, "val_loss": module.val_loss}
        epoch = Epoch(steps=steps, sequences=sequences, train_seconds=seconds, val=scores, **losses)
        self.history.add(epoch, module)
        settings = self.config.train
        is_stale = settings.patience > 0 and self.history.is_stale(math.ceil(settings.patience * settings.num_epochs))
        trainer.should_stop |= self.history.is_solved or is_stale
        with self.ledger.spent_on("waiting" if self.config.ask_pruner else "logging"):
            keep_going = ddp.agree(trainer, self.on_report(Report("epoch", steps, scores[module.task.metric])))
        if trainer.should_stop:
            self._is_over = True
            return
        divergence = self.history.divergence()
        if not keep_going:
            self._end(trainer, "pruned", "pruner", f"ended after {sequences:,} sequences, worse than others there")
        elif divergence is not None:
            self._end(trainer, "failed", "diverged", divergence)
        else:
            self._check_time(trainer)

    def _check_time(self, trainer: pl.Trainer) -> None:
        allowed = self.config.max_seconds
        if allowed is not None and not ddp.agree(trainer, self.train_seconds <= allowed) and not self.ended:
            message = f"trained for {self.train_seconds:.0f} s, and --max-run-seconds is {allowed:g}"
            self._end(trainer, "failed", "timeout", message)

    def _end(self, trainer: pl.Trainer, state: str, cause: str, message: str) -> None:
        self.ended = {"state": state, "cause": cause, "message": message}
        trainer.should_stop = self._is_over = True

    @property
    def is_paused(self) -> bool:
        """Whether the run has stopped where it was to pause, and may continue from its checkpoint."""
        epochs, pause = len(self.history.epochs), self.config.pause_after
        return pause is not None and not self._is_over and pause <= epochs < self.config.train.num_epochs

    def facts(self, module: SequenceModule) -> dict[str, Any]:
        """Return the fields of the record that training decides."""
        history = self.history
        facts: dict[str, Any] = {
            "state": "complete",
            "epochs": history.epochs,
            "train_steps": module.train_steps,
            "train_sequences": module.train_steps * self.config.train.batch_size,
            "train_tokens": module.train_tokens,
            "accumulate_grad_batches": module.micro_batches.count,
            "solved": None if module.task.solved is None else history.is_solved,
        } | self.ended
        if self.is_paused:
            share = f"{len(history.epochs)} of {self.config.train.num_epochs} validations"
            facts |= {"state": "pruned", "cause": PAUSED, "message": f"paused after {share}"}
        if history.epochs:
            best = history.epochs[history.best_epoch]
            facts |= {"best_epoch": history.best_epoch, "val": best.val, "val_loss": best.val_loss}
        if history.is_solved:
            last = history.epochs[-1]
            facts |= {"sequences_to_solve": last.sequences, "seconds_to_solve": last.train_seconds}
        return facts
