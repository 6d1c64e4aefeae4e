"""The next frame of a piece of music: which of the 88 keys of a piano sound.

Boulanger-Lewandowski et al., 2012, https://arxiv.org/abs/1206.6392

B batch, L steps, K keys, N windows, S frames of all pieces.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import contracts, measures
from bench.config.contracts import Batch, Labelled, New, Sampling, StoredTask, Trained
from bench.data import piano_rolls, sequences
from bench.data.files import prepare
from bench.data.piano_rolls import ARRAYS, KEYS
from bench.data.splits import PARTS
from bench.errors import DataError
from bench.tasks._sequences import checked_files


class Task(StoredTask):
    """Say at every step how likely each key sounds in the frame that follows, from the frames before it.

    Args:
        length: Frames of a window, at least 1; never more than the longest piece of training has.
        files: The file of the dataset card, with the arrays `traindata`, `validdata` and `testdata`.

    A piece is cut into windows of `length` frames. The frames of a window are the inputs; each has the next frame of
    the piece as its target, and a window begins where the targets of the one before ended. So every frame but the
    first of a piece is a target once, as in the literature. With a `length` of the longest piece, all frames before it
    are seen, unless a piece of val or test is longer than all of training: that one is cut.

    The score is the negative log likelihood of a frame in nats, summed over the keys, which are independent of each
    other given the frames before: what Boulanger-Lewandowski et al. call an RNN.

    Task(4), a piece of six frames in which key 40 sounds, then 44, in turn; its two windows
    x  40 44 40 44 | 40
    y  44 40 44 40 | 44
    """

    tokens, per_step, loss = False, True, "bernoulli"
    input_size = output_size = KEYS
    metric, goal, solved, causal, kind = "frame_nats", "minimize", None, True, "music"

    def __init__(self, length: int, *, files: Sequence[Any] = ()) -> None:
        data_files = checked_files("music", length, files, "frame")
        prepared = prepare("music", data_files, [], _make)
        self.meta: dict[str, Any] = prepared.meta
        self._frames = prepared.arrays["frames"]
        self.length = length
        self.num_steps = min(length, max(self.meta["frames"]["train"]) - 1)
        self.chance = self.meta["chance"]
        self._windows, first = {}, 0
        for part, steps in self.meta["frames"].items():
            starts, lengths = windows(np.array(steps), self.num_steps)
            self._windows[part] = (starts + first, lengths)
            first += sum(steps)
        self.counts = {part: len(lengths) for part, (_, lengths) in self._windows.items()}

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the windows of a part at these places."""
        starts, lengths = self._windows[part]
        return _batch(self._frames, starts[places], lengths[places])

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the negative log likelihood of a frame, from log odds of keys (B, L, K)."""
        return _scores(outputs, batch)


def windows(steps: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first frame and the number of steps of each window, (N,) int64, of pieces with so many frames."""
    count = -(-(steps - 1) // length)  # the last frame of a piece is a target only
    piece = np.repeat(np.arange(len(steps)), count)
    offset = (np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)) * length
    return (np.cumsum(steps) - steps)[piece] + offset, np.minimum(steps[piece] - 1 - offset, length)


def _batch(frames: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Batch:
    """Return windows of frames (S, K) with the frame after each as its target."""
    x, y = (sequences.padded(frames, starts + ahead, lengths) for ahead in (0, 1))
    return Batch(x, lengths, y, np.arange(x.shape[1]) < lengths[:, None])


def _scores(outputs: np.ndarray, batch: Batch) -> dict[str, float]:
    assert batch.mask is not None
    return {"frame_nats": _nats(outputs[batch.mask], batch.y[batch.mask])}


def _nats(log_odds: np.ndarray, y: np.ndarray) -> float:
    """Return the mean negative log likelihood of frames (S, K), summed over the keys."""
    z = log_odds.astype(np.float64)
    return float((np.logaddexp(0, z) - z * y).sum(-1).mean())


# Preparation


def _make(paths: list[Path]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the frames of all pieces in the order of the parts, and how many each piece has. Raises DataError."""
    if len(paths) > 1:
        raise DataError(f"{paths[1]}: the pieces must be in one file, but there are {len(paths)}; name one")
    rolls = piano_rolls.read(paths[0])
    for name in ARRAYS:
        if not rolls.get(name):
            raise DataError(f"{paths[0]}: must have pieces in the array {name}, but has none; add them")
    parts = dict(zip(PARTS, (rolls[name] for name in ARRAYS), strict=True))
    pieces = [piece for part in parts.values() for piece in part]
    part = np.repeat(np.arange(len(PARTS)), [len(part) for part in parts.values()])
    remarks = sequences.repeated([piece.tobytes() for piece in pieces], part, PARTS)
    steps = {name: [len(piece) for piece in part] for name, part in parts.items()}
    train, val = (np.concatenate([piece[1:] for piece in parts[name]]) for name in ("train", "val"))
    chance = _nats(np.broadcast_to(measures.log_odds(train), val.shape), val)
    return {"frames": np.concatenate(pieces)}, {"frames": steps, "chance": chance, "remarks": remarks}


# Prediction


class Predictor(contracts.Predictor):
    """Predict the frame that follows the last one of each piece of a file in the format of the training file."""

    @property
    def needs(self) -> dict[str, type]:
        """The keys of `meta` that answers depend on: none, since the keys are those of a piano."""
        return {}

    @property
    def columns(self) -> dict[str, str]:
        """The files are no tables."""
        return {"path": "text"}

    def read(self, path: Path, num_steps: int) -> New:
        """Return the last frames of each piece. Raises DataError."""
        rolls = piano_rolls.read(path)
        names = [f"{name} {number}" for name, pieces in rolls.items() for number in range(1, len(pieces) + 1)]
        pieces = [piece for part in rolls.values() for piece in part]
        steps = np.array([len(piece) for piece in pieces])
        kept = np.minimum(steps, num_steps)
        x = sequences.padded(np.concatenate(pieces), np.cumsum(steps) - kept, kept)
        return New(x, kept, {"names": names, "remarks": sequences.cut(steps, num_steps, "last")})

    def answer(self, model: Trained, new: New, sampling: Sampling) -> dict[str, Any]:
        """Return a row for each piece: its name, and the probability that each key sounds in the frame after it."""
        outputs = model.outputs(new.x, new.length)[np.arange(len(new.x)), new.length - 1].astype(np.float64)
        probabilities = np.exp(-np.logaddexp(0, -outputs))
        return {"piece": new.about["names"]} | {f"key_{key + 1}": probabilities[:, key] for key in range(KEYS)}

    def labelled(self, path: Path, num_steps: int) -> Labelled:
        """Return all windows of the pieces of a file, which needs only one of the arrays. Raises DataError."""
        pieces = [piece for part in piano_rolls.read(path).values() for piece in part]
        starts, lengths = windows(np.array([len(piece) for piece in pieces]), num_steps)
        return Labelled(_batch(np.concatenate(pieces), starts, lengths), {"remarks": []})

    def scores(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the negative log likelihood of a frame, as `Task.score` does."""
        return _scores(outputs, batch)

    def example(self, num_steps: int, rows: int = 1) -> dict[str, Any] | None:
        """Return None: the files are no tables."""
        return None
