"""Batches of one run, sliced from arrays: no loader processes, no per-item collation."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TypeGuard

import numpy as np
import pytorch_lightning as pl
import torch

from bench.config.contracts import STRETCHES, Batch, Task, TextTask
from bench.config.settings import RunConfig
from bench.errors import SealedSplitError
from bench.training.ledger import Ledger
from bench.training.module import Share, Tensors

STEPS_A_CALL = 16
"""Largest number of batches in one call of the module's training_step."""

EVALUATION_STEPS = 16_384
"""Steps (sequences x length) of an evaluation batch: large enough to be fast, small enough for long sequences."""


Draw = Callable[[int, int, int], Batch]
"""Returns training batch `number` with `size` sequences, from (seed, number, size)."""


def to_tensors(batch: Batch) -> Tensors:
    """Return a batch as tensors that share its memory, without a mask that hides nothing."""
    mask = None if batch.mask is None or batch.mask.all() else torch.from_numpy(batch.mask)
    return torch.from_numpy(batch.x), torch.from_numpy(batch.length), torch.from_numpy(batch.y), mask


class _TrainBatches:
    """The batches of one epoch, several at a time; batch n of a run is always the same.

    If several ranks share a run, each draws the whole batch and keeps its part, with the weight that its mean loss has
    in the mean over all parts. The first call of an epoch makes one step, so that the very first step can be timed.
    """

    def __init__(self, draw: Draw, config: RunConfig, trainer: pl.Trainer, ledger: Ledger) -> None:
        self._draw, self.config, self.trainer, self.ledger = draw, config, trainer, ledger

    def __len__(self) -> int:
        return len(self._chunks())

    def __iter__(self) -> Iterator[list[Share]]:
        first = self.trainer.current_epoch * self.config.train.steps_per_epoch
        for chunk in self._chunks():
            # Drawing overlaps with the work of the GPU: synchronising here would serialise them.
            self.ledger.switch("data", synchronised=False)
            shares = [self._share(first + number) for number in chunk]
            self.ledger.back(synchronised=False)
            yield shares

    def _chunks(self) -> list[range]:
        steps = self.config.train.steps_per_epoch
        # Ranks exchange gradients once a call.
        size = STEPS_A_CALL if self.config.num_devices == 1 else 1
        return [range(1), *(range(start, min(start + size, steps)) for start in range(1, steps, size))]

    def _share(self, number: int) -> Share:
        batch = self._draw(self.config.seed, number, self.config.train.batch_size)
        tokens, ranks = int(batch.length.sum()), self.config.num_devices
        if ranks == 1:
            return Share(to_tensors(batch), 1.0, tokens)
        part = slice(self.trainer.global_rank, None, ranks)
        mask = None if batch.mask is None else batch.mask[part]
        kept = Batch(batch.x[part], batch.length[part], batch.y[part], mask)
        weight = 1.0 if batch.mask is None or kept.mask is None else ranks * kept.mask.sum() / batch.mask.sum()
        return Share(to_tensors(kept), float(weight), tokens)


def carries_state(task: Task, config: RunConfig) -> TypeGuard[TextTask]:
    """Return whether the state of a run carries over from one window of a text to the next."""
    return config.train.carry_state and isinstance(task, TextTask)


class _SplitBatches:
    """A split in batches of about EVALUATION_STEPS steps."""

    def __init__(self, split: Batch) -> None:
        x, length, y, mask = to_tensors(split)
        size = max(1, EVALUATION_STEPS // x.shape[1])
        self.parts: list[Tensors] = [
            (x[i : i + size], length[i : i + size], y[i : i + size], None if mask is None else mask[i : i + size])
            for i in range(0, len(x), size)
        ]

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Tensors]:
        return iter(self.parts)


class _StreamBatches(_SplitBatches):
    """The windows of a split as STRETCHES long rows, cut into parts of about EVALUATION_STEPS steps in their order."""

    def __init__(self, split: Batch) -> None:
        count, steps = split.x.shape
        windows = math.ceil(count / STRETCHES)  # of each row
        rows = math.ceil(count / windows)
        fill = ((0, rows * windows - count), (0, 0))
        scored = np.ones(split.x.shape, dtype=bool) if split.mask is None else split.mask
        filled = (np.pad(part, fill).reshape(rows, windows * steps) for part in (split.x, split.y, scored))
        x, y, mask = map(torch.from_numpy, filled)
        size = max(1, EVALUATION_STEPS // rows)
        self.parts = []
        for i in range(0, windows * steps, size):
            part = slice(i, i + size)
            length = torch.full((rows,), x[:, part].shape[1])
            shown = None if mask[:, part].all() else mask[:, part]
            self.parts.append((x[:, part], length, y[:, part], shown))


def in_batches(split: Batch, carries: bool) -> Iterable[Tensors]:
    """Return a split in batches for evaluation; with a state that carries over, in parts of long rows."""
    return _StreamBatches(split) if carries else _SplitBatches(split)


class DataModule(pl.LightningDataModule):
    """The splits of one run; only a test run has a test split.

    Training batches come from `draw(seed, number, size)`, by default those of the task's training part.
    """

    def __init__(self, task: Task, config: RunConfig, ledger: Ledger, draw: Draw | None = None) -> None:
        super().__init__()
        self.task, self.config, self.ledger = task, config, ledger
        self._draw = draw or (task.stream_batch if carries_state(task, config) else task.train_batch)
        self.val = task.split("val", config.train.num_val)
        self._batches = _StreamBatches if carries_state(task, config) else _SplitBatches
        self._val_batches = self._batches(self.val)
        self._test: Batch | None = None

    @property
    def test(self) -> Batch:
        """The test split. Raises SealedSplitError for a run that selects."""
        if self.config.phase != "test":
            raise SealedSplitError(f"{self.config.run}: a {self.config.phase} run has no access to the test split")
        if self._test is None:
            self._test = self.task.split("test", self.config.train.num_test)
        return self._test

    def train_dataloader(self) -> _TrainBatches:
        """Return the training batches of one epoch."""
        assert self.trainer is not None
        return _TrainBatches(self._draw, self.config, self.trainer, self.ledger)

    def val_dataloader(self) -> _SplitBatches:
        """Return the validation split in parts."""
        return self._val_batches

    def test_dataloader(self) -> _SplitBatches:
        """Return the test split in parts. Raises SealedSplitError for a run that selects."""
        return self._batches(self.test)

    def transfer_batch_to_device(
        self, batch: Tensors | list[Share], device: torch.device, dataloader_idx: int
    ) -> Tensors | list[Share]:
        """Move one batch or several; on the CPU this skips Lightning's walk over them, which takes time."""
        if device.type == "cpu":
            return batch
        if isinstance(batch, list):
            return [share._replace(batch=_to_device(share.batch, device)) for share in batch]
        return _to_device(batch, device)


def _to_device(batch: Tensors, device: torch.device) -> Tensors:
    x, length, y, mask = batch
    moved = (part.to(device, non_blocking=True) for part in (x, length, y))
    return (*moved, None if mask is None else mask.to(device, non_blocking=True))  # type: ignore[return-value]
