"""The weights of a run's best epoch on disk, with a checksum in its record.

PyTorch does not check the checksums inside its files, so that a flipped byte would load as another number.
"""

import shutil
from pathlib import Path
from typing import Any

import torch

from bench.data.files import checksum
from bench.errors import StoreError
from bench.training.watch import Weights

WEIGHTS = "weights.pt"
MIDDLE = "middle.pt"  # of the validation half way to the best one: training steps, and weights


def save(weights: Weights, folder: Path) -> str:
    """Write the weights into a run's folder and return the SHA-256 of the file."""
    torch.save(weights, folder / WEIGHTS)
    return checksum(folder / WEIGHTS)


def copy(source: Path, folder: Path) -> None:
    """Copy the weights of one run's folder into that of another, with those half way if they are there."""
    shutil.copyfile(source / WEIGHTS, folder / WEIGHTS)
    if (source / MIDDLE).exists():
        shutil.copyfile(source / MIDDLE, folder / MIDDLE)


def exist(folder: Path) -> bool:
    """Whether a run's folder holds weights."""
    return (folder / WEIGHTS).exists()


def read(folder: Path, sha256: str | None) -> Weights:
    """Return the weights in a run's folder; `sha256` is None for runs of earlier versions, which are not checked.

    Tensors are read, and no code is run. Raises StoreError if the file is missing or damaged,
    and DataError if it cannot be read.
    """
    path = folder / WEIGHTS
    if not path.exists():
        raise StoreError(f"{path}: missing")
    if sha256 is not None and checksum(path) != sha256:
        raise StoreError(f"{path}: damaged, its SHA-256 is not that of the run's record")
    weights: Weights = _loaded(path)
    return weights


def save_middle(middle: tuple[int, Weights] | None, folder: Path) -> None:
    """Write the weights half way and the training steps made until then, if there are any, into a run's folder."""
    if middle is not None:
        torch.save(middle, folder / MIDDLE)


def read_middle(folder: Path) -> tuple[int, Weights] | None:
    """Return what `save_middle` wrote; None if it was not kept. Raises StoreError if the file is damaged."""
    middle: tuple[int, Weights] | None = _loaded(folder / MIDDLE) if (folder / MIDDLE).exists() else None
    return middle


def _loaded(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises anything for a damaged file
        raise StoreError(f"{path}: damaged ({(str(error).splitlines() or [type(error).__name__])[0]})") from None
