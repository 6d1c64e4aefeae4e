"""Checkpoints of a long run: written whole, named by their checksum, and removed when the run ends."""

import contextlib
import hashlib
import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from bench.config.settings import RunConfig
from bench.training.ledger import Ledger
from bench.training.watch import History

PART = "checkpoint.part"
"""The checkpoint that is being written."""

_LOGGER = logging.getLogger(__name__)


class Checkpoints(pl.Callback):
    """Writes a checkpoint into a folder from time to time, and finds the one to resume from."""

    state_key = "_Watch"  # Lightning's name for `state_dict` in a checkpoint; older checkpoints have it too

    def __init__(self, config: RunConfig, folder: Path | None, ledger: Ledger, history: History) -> None:
        self.config, self.folder, self.ledger, self.history = config, folder, ledger, history
        self._last = time.monotonic()
        paths = sorted(folder.glob("checkpoint-*.ckpt")) if folder is not None else []
        sound = [path for path in paths if path.stem == f"checkpoint-{_checksum(path)}"]
        self.latest = sound[-1] if sound else None
        self.is_any_damaged = len(sound) < len(paths)
        for path in paths:
            if path not in sound:
                _LOGGER.warning("%s: does not match its checksum; it is deleted and not resumed from", path)
            if path != self.latest:
                with contextlib.suppress(OSError):  # another rank may have deleted it
                    path.unlink()
        if folder is not None:
            with contextlib.suppress(OSError):
                (folder / PART).unlink()  # of a process that was killed

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write a checkpoint if the last one is old or the run pauses here, and remove the last one."""
        is_pause = len(self.history.epochs) == self.config.pause_after
        is_due = is_pause or time.monotonic() - self._last > self.config.checkpoint_seconds
        if self.folder is None or not is_due or trainer.should_stop:
            return
        with self.ledger.spent_on("logging"):
            # Lightning writes atomically only if TMPDIR is on the same file system, and would load a flipped byte.
            temporary = self.folder / PART
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                path = temporary.replace(self.folder / f"checkpoint-{_checksum(temporary)}.ckpt")
                self.remove()
                self.latest = path
        self._last = time.monotonic()

    def remove(self) -> None:
        """Delete the latest checkpoint."""
        if self.latest is not None:
            self.latest.unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """Return what a run needs, beside weights and optimiser, to resume exactly where it stopped."""
        return self.history.state_dict() | {
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state() if self.config.device == "cuda" else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.history.load_state_dict(state_dict)
        torch.set_rng_state(state_dict["rng"].cpu())
        if state_dict["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state_dict["cuda_rng"].cpu())


def _checksum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError:
        return "unreadable"
