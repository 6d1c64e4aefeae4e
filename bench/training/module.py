"""The LightningModule around every encoder: embedding, readout, head, loss, optimiser and schedule.

Two baselines differ only in their encoder.

B batch, L length, D input width, H hidden width, C outputs.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.config import plugins
from bench.config.contracts import Batch, ForecastTask, Task, TextTask, TranslationTask
from bench.config.settings import RunConfig
from bench.errors import BenchError
from bench.training import ctc, layers, skips
from bench.training.micro_batches import MicroBatches, accumulate, divided, mixes_sequences, num_targets
from bench.training.translation import Decoder, Source

LEARNING_RATE_BATCH = 32
"""Sequences in the batch for which the setting `learning_rate` holds."""

Tensors = tuple[Tensor, Tensor, Tensor, Tensor | None]  # x, length, y, mask


class Share(NamedTuple):
    """What one process trains on in one step."""

    batch: Tensors
    weight: float  # of its loss: 1, unless the ranks have different numbers of steps to answer
    tokens: int  # valid steps of the whole batch


class SequenceModule(pl.LightningModule):
    """An encoder with the layers that a task needs.

    Tokens are embedded; values are passed on unchanged. The head reads what the readout makes of a sequence, or every
    step for a task with an answer at every step. A translation has a decoder, whose tokens are the outputs.
    """

    def __init__(self, task: Task, config: RunConfig) -> None:
        super().__init__()
        self.task = task
        self.reads_steps = task.per_step or task.loss == "ctc"  # the head reads every step, not a readout
        self.settings = settings = config.train
        width, steps = settings.embedding_size if task.tokens else task.input_size, task.num_steps
        self.embedding = layers.embedding(task.input_size, width, settings.embedding_std) if task.tokens else None
        sizes = getattr(task, "feature_sizes", ()) if task.tokens else ()  # exports of earlier versions lack it
        self.features = nn.ModuleList(layers.embedding(size, width, settings.embedding_std) for size in sizes)
        self.window: layers.Window | None = None
        if isinstance(task, ForecastTask) and layers.Window.is_asked_for(settings):
            self.window = layers.Window(task, settings)
            width, steps = self.window.width, self.window.steps
        self.stem: layers.Stem | None = None
        if settings.stem_channels and not (
            task.tokens or task.per_step or task.causal or isinstance(task, ForecastTask)
        ):
            _check_stride(task, settings.stem_stride)
            self.stem = layers.Stem(width, settings.stem_channels, settings.stem_stride)
            width, steps = settings.stem_channels, self.stem.steps(steps)
        self.encoder_width, self.encoder_steps = width, steps  # of the longest training sequence
        model = plugins.load("models", config.model, config.source_hash).Model
        self.encoder = model(width, steps, **config.model_arguments)
        if settings.readout == "flat" and self.window is None and not self.reads_steps:
            raise BenchError("readout: 'flat' is for forecasts only; choose another in the search space")
        self.readout = layers.Readout(settings.readout, self.encoder, steps)
        read = self.encoder.output_size if self.reads_steps else self.readout.size
        tied = self.embedding if task.keep == "nll" else None
        self.decoder: Decoder | None = None
        if isinstance(task, TranslationTask):
            self.decoder = Decoder(model, task, settings, config.model_arguments, self.encoder)
            read, tied = self.decoder.output_size, self.decoder.embedding
        if settings.tied_embedding and tied is not None:
            self.head: nn.Linear | layers.TiedHead = layers.TiedHead(read, tied)
        else:
            self.head = nn.Linear(read, task.output_size if self.window is None else self.window.output_size)
        self.skip: skips.NGramSkip | skips.FrameSkip | None = None
        if settings.linear_skip and task.loss == "bernoulli":
            self.skip = skips.FrameSkip(task.input_size, task.output_size)
        elif settings.linear_skip and task.tokens and not task.per_step and self.decoder is None:
            self.skip = skips.NGramSkip(task.input_size, task.output_size, getattr(task, "longest_n_gram", 2))
        if settings.carry_state:
            _check_carries(task, self.encoder, config.space)
        self._weights = list(self.parameters())
        self.embedding_dropout = nn.Dropout(settings.embedding_dropout if task.tokens else 0.0)
        self.dropout = nn.Dropout(settings.dropout)
        self.automatic_optimization = False  # see training_step
        self.train_loss = torch.zeros(())  # of the epoch so far, summed
        self.train_steps = self.train_tokens = 0
        # Lightning prepares the exchange of gradients between ranks; a run of one process saves that time.
        self._backward = self.manual_backward if config.num_devices > 1 else torch.Tensor.backward
        self.micro_batches = MicroBatches(config.on_out_of_memory, self._indivisible)
        self._evaluation_parts = MicroBatches(config.on_out_of_memory, self._carries)
        self._state: Any = None  # carried from one training window to the next; see `carry_state`
        self._evaluation_state: Any = None
        self._outputs: list[Tensor] = []
        self._val_losses: list[tuple[Tensor, int]] = []  # of each batch of a split: mean loss, and number of targets
        self.val_loss = math.inf  # mean loss over the split that was evaluated last

    def forward(self, x: Tensor, length_B: Tensor) -> Tensor:
        """Return raw outputs: (B, C), or (B, L, C) for a task with an answer at every step; or tokens (B, T) int64.

        With the loss "ctc" L is the number of steps behind the stem, and all outputs of padding are 0.
        """
        if self.decoder is not None:
            return self.decoder.greedy(self.read(x, length_B), self.head)
        skipped = None if self.skip is None else self.skip(x, length_B)
        if self.window is not None:
            x, length_B, context = self.window(x, length_B)
        x_BLD = self.embedding_dropout(self.embed(x))
        if self.stem is not None:
            x_BLD, length_B = self.stem(x_BLD, length_B)
        h_BLH, _ = self.encoder(x_BLD, length_B)
        h_BLH = self.dropout(h_BLH)
        answers: Tensor = self.head(h_BLH if self.reads_steps else self.readout(h_BLH, length_B))
        if self.task.loss == "ctc":
            answers = answers.masked_fill(~layers.valid(length_B, answers.shape[1])[..., None], 0.0)
        if skipped is not None:
            answers = answers + skipped
        return answers if self.window is None else self.window.restore(answers, context)

    @property
    def can_stream(self) -> bool:
        """Whether an answer needs only the last step and the state after the steps before it."""
        reads_last = self.reads_steps or self.settings.readout == "summary"
        # What reads more than the last step:
        n_grams = self.skip if isinstance(self.skip, skips.NGramSkip) else None
        others = (self.window, self.stem, n_grams, self.decoder)
        return bool(self.encoder.causal) and reads_last and all(part is None for part in others)

    @property
    def state_size(self) -> int:
        """How many numbers the encoder, or the decoder of a translation, keeps of one sequence of training length."""
        if self.decoder is not None:
            return self.decoder.state_size(self.encoder_steps)
        series = 1 if self.window is None else self.window.series
        return series * int(self.encoder.state_size(self.encoder_steps))

    def embed(self, x: Tensor) -> Tensor:
        """Return embedded tokens, with their features added, or values as they are, (B, L, D)."""
        if self.embedding is None:
            return x
        if not len(self.features):
            embedded: Tensor = self.embedding(x)
            return embedded
        return self.embedding(x[..., 0]) + sum(part(x[..., place]) for place, part in enumerate(self.features, 1))

    def read(self, x: Tensor, length_B: Tensor) -> Source:
        """Return what the decoder of a translation sees of sources (B, S)."""
        h_BSH, _ = self.encoder(self.embedding_dropout(self.embed(x)), length_B)
        return Source(self.encoder.summary(h_BSH, length_B), h_BSH, layers.valid(length_B, x.shape[1]))

    def loss(self, batch: Tensors) -> Tensor:
        """Return the mean loss over the steps that the mask selects."""
        x, length_B, y, mask = batch
        if self.decoder is not None:
            steps_B = torch.full_like(length_B, y.shape[1]) if mask is None else mask.sum(1)
            k_BTK = self.dropout(self.decoder.taught(self.read(x, length_B), y, steps_B))
            # The head is applied to valid steps alone: it takes most of the time.
            k_NK, y_N = (k_BTK.flatten(0, 1), y.flatten()) if mask is None else (k_BTK[mask], y[mask])
            return F.cross_entropy(self.head(k_NK), y_N)
        return self._loss(self(x, length_B), length_B, y, mask)

    def _loss(self, answers: Tensor, length_B: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
        if self.task.loss == "ctc":
            return ctc.loss(answers, length_B if self.stem is None else self.stem.lengths(length_B), y, mask)
        if mask is not None:
            answers, y = answers[mask], y[mask]
        if self.task.loss == "mse":
            return F.mse_loss(answers.flatten(), y.flatten())
        if self.task.loss == "bernoulli":
            return F.binary_cross_entropy_with_logits(answers, y, reduction="none").sum(-1).mean()
        return F.cross_entropy(answers.flatten(0, -2), y.flatten())

    def _carried_loss(self, batch: Tensors) -> Tensor:
        """Return the mean loss of windows that continue those of the batch before; gradients end between them."""
        x, length_B, y, mask = batch
        answers, state = self._resumed(x, length_B, _detached(self._state, x.device))
        self._state = state
        return self._loss(answers, length_B, y, mask)

    def _resumed(self, x: Tensor, length_B: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return raw outputs (B, L, C) of sequences that begin with a state, and the state after them."""
        h_BLH, state = self.encoder(self.embedding_dropout(self.embed(x)), length_B, state)
        return self.head(self.dropout(h_BLH)), state

    def training_step(self, batch: list[Share], batch_idx: int) -> None:
        """Make one optimiser step on each of several batches.

        Lightning's bookkeeping takes 0.7 ms a call, as much as a short step; therefore a call makes several steps.
        Their loss is summed on the device and read once an epoch, so that no step waits for it. A step whose batch does
        not fit into memory is repeated with micro-batches, which all later steps have too.
        """
        optimizer, scheduler = self.optimizers(use_pl_optimizer=False), self.lr_schedulers()
        assert isinstance(optimizer, torch.optim.Optimizer)
        assert scheduler is None or isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
        for part, weight, tokens in batch:
            forget = optimizer.zero_grad
            forget()
            step = functools.partial(self._gradients, part, weight)
            loss = self.micro_batches.fit(step, len(part[0]), forget)
            nn.utils.clip_grad_norm_(self._weights, self.settings.gradient_clip)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            self.train_loss += loss
            self.train_steps += 1
            self.train_tokens += tokens

    def _gradients(self, batch: Tensors, weight: float, count: int) -> Tensor:
        """Add the gradients of a batch to those of the weights, from `count` micro-batches; return its mean loss."""
        loss_of = self._carried_loss if self.settings.carry_state else self.loss
        return accumulate(batch, count, loss_of, self._backward, weight)

    def _carries(self) -> str | None:
        """Return why a batch of an evaluation cannot be divided."""
        return "its state carries over to the next batch" if self.settings.carry_state else None

    def _indivisible(self) -> str | None:
        """Return why a training batch cannot be divided; None if it can."""
        if mixes_sequences(self.encoder, self.encoder_width, self.encoder_steps, self.device):
            return "the model mixes the sequences of a batch, as BatchNorm does"
        return self._carries()

    def validation_step(self, batch: Tensors, batch_idx: int) -> None:
        """Keep the outputs for a batch of a split: metrics are of the whole split, never averaged over batches."""
        evaluate = functools.partial(self._evaluate, batch, batch_idx)
        for answers, loss, number in self._evaluation_parts.fit(evaluate, len(batch[0])):
            self._outputs.append(answers)
            if number:
                self._val_losses.append((loss, number))

    test_step = validation_step

    def _evaluate(self, batch: Tensors, batch_idx: int, count: int) -> list[tuple[Tensor, Tensor, int]]:
        """Return what is kept of each of `count` parts of a batch: its outputs, mean loss and number of targets."""
        return [self._evaluate_part(part, batch_idx) for part in divided(batch, count)]

    def _evaluate_part(self, batch: Tensors, batch_idx: int) -> tuple[Tensor, Tensor, int]:
        x, length_B, y, mask = batch
        if self.settings.carry_state:
            state = None if batch_idx == 0 else self._evaluation_state
            answers, self._evaluation_state = self._resumed(x, length_B, state)
        else:
            answers = self(x, length_B)
        if self.decoder is not None:
            return answers, self.loss(batch), num_targets(y, mask)
        answers = answers.float()
        if self.task.keep == "nll":  # one number per token of the vocabulary at every step would fill the memory
            answers = F.cross_entropy(answers.flatten(0, 1), y.flatten(), reduction="none").view_as(y)
            loss = answers.mean() if mask is None else answers[mask].mean()
        else:
            loss = self._loss(answers, length_B, y, mask)
        if self.task.loss == "ctc":
            answers = ctc.best_path(answers)
        return answers, loss, num_targets(y, mask)

    def evaluated(self, split: Batch) -> dict[str, float]:
        """Return the task's metrics of the outputs kept since the last call, and set `val_loss`."""
        return self.task.score(self.kept_outputs(split), split)

    def kept_outputs(self, split: Batch) -> np.ndarray:
        """Return the outputs kept since the last call, as `Task.score` gets them, and set `val_loss`."""
        outputs = [part.cpu().numpy() for part in self._outputs]
        losses, counts = zip(*self._val_losses, strict=True)
        self.val_loss = float(np.average([float(loss) for loss in losses], weights=counts))
        self._outputs.clear()
        self._val_losses.clear()
        self._evaluation_state = None
        if self.settings.carry_state:  # they are parts of long rows, in which windows follow each other
            return np.concatenate(outputs, axis=1).reshape(-1, split.x.shape[1])[: len(split.x)]
        return np.concatenate(outputs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the numbers of steps, tokens and micro-batches, and the state that is carried over."""
        checkpoint["train_steps"], checkpoint["train_tokens"] = self.train_steps, self.train_tokens
        checkpoint["accumulate_grad_batches"] = self.micro_batches.count
        checkpoint["carried_state"] = _detached(self._state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the numbers of steps, tokens and micro-batches, and the state that is carried over."""
        self.train_steps, self.train_tokens = checkpoint["train_steps"], checkpoint["train_tokens"]
        self.micro_batches.count = checkpoint.get("accumulate_grad_batches", 1)
        self._state = checkpoint.get("carried_state")

    def configure_optimizers(self) -> Any:
        """Return Adam, or AdamW with weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019), and the schedule.

        The learning rate grows with the square root of the batch (Malladi et al. 2022,
        https://arxiv.org/abs/2205.10287).
        """
        rate = self.settings.learning_rate * math.sqrt(self.settings.batch_size / LEARNING_RATE_BATCH)
        optimizer: torch.optim.Optimizer
        if self.settings.weight_decay:
            groups = [
                {"params": [p for p in self._weights if p.dim() >= 2], "weight_decay": self.settings.weight_decay},
                {"params": [p for p in self._weights if p.dim() < 2], "weight_decay": 0.0},
            ]
            optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, fused=True)
        else:
            optimizer = torch.optim.Adam(self._weights, lr=rate, fused=True)
        if self.settings.schedule == "constant" and not self.settings.warmup_fraction:
            return optimizer
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._learning_rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def _learning_rate_factor(self, step: int) -> float:
        total = self.settings.max_steps
        warmup = round(self.settings.warmup_fraction * total)
        if step < warmup:
            return (step + 1) / warmup
        if self.settings.schedule == "constant":
            return 1.0
        progress = min(1.0, (step - warmup) / max(1, total - warmup))
        return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))

    def parameter_counts(self) -> dict[str, int]:
        """Return the numbers of trainable parameters of encoder, embedding and head; other layers count with the head.

        The model of a decoder counts with the encoder.

        Every parameter is counted once, also one that embedding and head share.
        """
        counts = {
            name: sum(p.numel() for part in parts if part is not None for p in part.parameters() if p.requires_grad)
            for name, parts in (
                ("encoder", (self.encoder, self.decoder and self.decoder.model)),
                ("embedding", (self.embedding, self.features, self.decoder and self.decoder.embedding)),
            )
        }
        return counts | {"head": sum(p.numel() for p in self._weights if p.requires_grad) - sum(counts.values())}


def _detached(state: Any, device: torch.device | None = None) -> Any:
    """Return a state, made of tensors in lists and tuples, without its history of gradients; on `device` if given."""
    if isinstance(state, Tensor):
        return state.detach().to(device)
    if isinstance(state, list | tuple):
        return type(state)(_detached(part, device) for part in state)
    return state


def _check_stride(task: Task, stride: int) -> None:
    """Raise BenchError if a stem leaves a sequence fewer steps than the target that they are to write needs."""
    most = getattr(task, "max_stride", stride)
    if stride > most:
        rule = f"{stride} leaves a recording fewer steps than its transcript needs; use at most {most}"
        raise BenchError(f"stem_stride: {rule} in the search space, or correct the transcript")


def _check_carries(task: Task, encoder: nn.Module, space: str) -> None:
    """Raise BenchError if the state of a model cannot be carried from window to window."""
    if not isinstance(task, TextTask):
        raise BenchError("carry_state: only for language modelling; remove it from the search space")
    if not encoder.causal or encoder.state_size(2) != encoder.state_size(1):  # type: ignore[operator]
        raise BenchError(f"carry_state: needs a causal model whose state has a fixed size, and {space} has none")
