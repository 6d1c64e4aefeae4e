"""Handwritten digits that move over a small screen: which digit, which way, or the next frame.

A small and honest stand-in for video, after Moving MNIST (Srivastava et al., 2015, https://arxiv.org/abs/1502.04681),
with one digit, the pictures that scikit-learn ships, and whole pixels.

B batch, L frames, P pixels of a frame.
"""

import functools

import numpy as np

from bench.config.contracts import Batch, SyntheticTask
from bench.errors import DeclarationError
from bench.tasks._sequences import class_scores

SIDE, PICTURE = 16, 8  # pixels of a frame and of a picture, each way
ROOM = SIDE - PICTURE  # pixels that a picture can move, each way
SPEEDS = (1, 2)  # pixels a frame
DIRECTIONS = np.array([(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)])
"""Rows and columns of each direction, clockwise from upwards."""
PICTURES = {"train": (0, 1197), "val": (1197, 1497), "test": (1497, 1797), "length": (1497, 1797)}
"""Pictures of each stream. Neighbours in the file were written by the same hand, so that each part has its own writers.
Other lengths are tested on the pictures of test, which move in other ways.
"""


class Task(SyntheticTask):
    """Say which digit moves, which way it moved at first, or what the next frame shows.

    Args:
        length: Frames, at least 2.
        predict: `digit` (one of ten), `direction` (one of eight, clockwise from upwards, in which the digit sets out),
            or `frame` (the 256 pixels of the frame after the last).

    A picture of 8 x 8 pixels, of values from 0 to 1, moves over a black frame of 16 x 16 in one of eight directions, by
    1 or 2 pixels a frame, and bounces off the edges. Digit, picture, direction, speed and start are drawn; the first
    step meets no edge. A step of the sequence is a frame as a flat vector of 256 pixels, which enters an encoder
    through its own linear map. Nothing is convolved over space, so encoders of sequences are compared here, and not
    what reads pictures best.

    The digits of val and test are by other writers than those of training, and some are hard to read: the task counts
    as solved from an accuracy of 0.9 on. The digit can be read from a single frame, if it is known wherever it stands.
    The direction needs the first two frames, to be remembered over the bounces; the next frame needs the last two, and
    where the edges are.

    The score of the next frame is the share of the variance of the pixels that is explained, each about its own mean.
    """

    tokens, input_size, per_step = False, SIDE**2, False
    metric, goal, causal = "accuracy", "maximize", False

    def __init__(self, length: int, *, predict: str = "digit") -> None:
        if length < 2:
            raise DeclarationError(f"moving_digits: length: must be at least 2 frames, but found {length}")
        if predict not in ("digit", "direction", "frame"):
            rule = "must be digit, direction or frame"
            raise DeclarationError(f"moving_digits: predict: {rule}, but found {predict!r}")
        self.length = self.num_steps = length
        self.predict, self.arguments = predict, {"predict": predict}
        self.loss = "mse" if predict == "frame" else "cross_entropy"
        self.output_size = {"digit": 10, "direction": len(DIRECTIONS), "frame": SIDE**2}[predict]
        self.chance = 0.0 if predict == "frame" else 1 / self.output_size
        self.solved = 0.99 if predict == "direction" else 0.9
        if predict == "frame":
            self.metric = "r2"

    def sample(self, rng: np.random.Generator, size: int, stream: str) -> Batch:
        """Draw digits and their ways."""
        digit_B = rng.integers(0, 10, size)
        picture_B = _drawn(digit_B, rng.random(size), *PICTURES[stream])
        direction_B = rng.integers(0, len(DIRECTIONS), size)
        velocity_B2 = DIRECTIONS[direction_B] * rng.choice(SPEEDS, size)[:, None]
        start_B2 = rng.integers(np.maximum(0, -velocity_B2), np.minimum(ROOM, ROOM - velocity_B2) + 1)
        frames_BLP = _filmed(picture_B, _way(start_B2, velocity_B2, self.length + 1))
        y = {"digit": digit_B, "direction": direction_B, "frame": frames_BLP[:, -1]}[self.predict]
        return Batch(frames_BLP[:, :-1], np.full(size, self.length), y)

    def oracle(self, batch: Batch) -> np.ndarray:
        """Find the picture in the first frame by its pixels, and its way by the second."""
        picture_B, start_B2 = _found(batch.x[:, 0])
        velocity_B2 = _found(batch.x[:, 1])[1] - start_B2
        if self.predict == "digit":
            return np.eye(10)[_load()[1][picture_B]]
        if self.predict == "direction":
            return np.eye(len(DIRECTIONS))[_direction(velocity_B2)]
        return _filmed(picture_B, _way(start_B2, velocity_B2, self.length + 1)[:, -1:])[:, 0]

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the scores of classes, or the explained share of variance and the mean squared error of pixels."""
        if self.predict != "frame":
            return class_scores(outputs.argmax(-1), batch.y, self.output_size)
        y = batch.y.astype(np.float64)
        mse = float(((outputs - y) ** 2).mean())
        return {"r2": 1 - mse / float(y.var(0).mean()), "mse": mse}

    def baselines(self, size: int) -> dict[str, float]:
        """Return the metric of a constant answer, and of the way at the end or the last frame, paled to the mean."""
        val, test = self.split("val", size), self.split("test", size)
        if self.predict == "frame":
            mean = val.y.mean(0)
            last, true = val.x[:, -1] - mean, val.y - mean
            share = float((last * true).sum() / (last**2).sum())  # fitted on other sequences than it is judged on
            answers = {
                "mean frame": np.tile(mean, (size, 1)),
                "last frame, paled": mean + share * (test.x[:, -1] - mean),
            }
        else:
            answers = {"constant answer": np.eye(self.output_size)[np.zeros(size, dtype=int)]}
        if self.predict == "direction":
            moved_B2 = _centre(test.x[:, -1]) - _centre(test.x[:, -2])
            answers["way at the end"] = np.eye(self.output_size)[_direction(np.round(moved_B2))]
        return {name: self.score(outputs, test)[self.metric] for name, outputs in answers.items()}


def _drawn(digit_B: np.ndarray, place_B: np.ndarray, first: int, stop: int) -> np.ndarray:
    """Return a picture of each digit among those from `first` to `stop`, by a place from 0 to 1 among its pictures."""
    digits = _load()[1][first:stop]
    order = np.argsort(digits, kind="stable")
    count = np.bincount(digits, minlength=10)
    place = (np.cumsum(count) - count)[digit_B] + (place_B * count[digit_B]).astype(int)
    return np.asarray(first + order[place])


def _way(start_B2: np.ndarray, velocity_B2: np.ndarray, frames: int) -> np.ndarray:
    """Return the corner of a picture that bounces off the edges, (B, frames, 2)."""
    free = start_B2[:, None] + velocity_B2[:, None] * np.arange(frames)[:, None]
    turn = free % (2 * ROOM)
    return np.minimum(turn, 2 * ROOM - turn)


def _filmed(picture_B: np.ndarray, corner_BL2: np.ndarray) -> np.ndarray:
    """Return frames with a picture at each corner, (B, L, P) float32."""
    size, length = corner_BL2.shape[:2]
    frames = np.zeros((size, length, SIDE, SIDE), dtype=np.float32)
    rows, columns = (corner_BL2[..., axis, None, None] for axis in (0, 1))
    rows, columns = rows + np.arange(PICTURE)[:, None], columns + np.arange(PICTURE)
    sequence, frame = np.arange(size)[:, None, None, None], np.arange(length)[:, None, None]
    frames[sequence, frame, rows, columns] = _load()[0][picture_B][:, None]
    return frames.reshape(size, length, SIDE**2)


def _found(frame_BP: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the picture in each frame, (B,), and its corner, (B, 2)."""
    known, picture, corner = _known(), [], []
    for frame in np.round(frame_BP * 16).astype(np.uint8).reshape(-1, SIDE, SIDE):
        first, content = _trimmed(frame)
        number, offset = known[content]
        picture.append(number)
        corner.append(first - offset)
    return np.array(picture), np.array(corner)


def _trimmed(frame: np.ndarray) -> tuple[np.ndarray, tuple[tuple[int, ...], bytes]]:
    """Return the first row and column that are not black, and what identifies the pixels between the last and them."""
    rows, columns = (np.flatnonzero(frame.any(axis)) for axis in (1, 0))
    content = frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.array([rows[0], columns[0]]), (content.shape, content.tobytes())


def _direction(velocity_B2: np.ndarray) -> np.ndarray:
    """Return the number of the direction of each velocity, (B,); 0 if it has none."""
    return np.asarray((np.sign(velocity_B2)[:, None] == DIRECTIONS).all(-1).argmax(-1))


def _centre(frame_BP: np.ndarray) -> np.ndarray:
    """Return the centre of brightness of each frame, (B, 2)."""
    frame = frame_BP.reshape(-1, SIDE, SIDE).astype(np.float64)
    line = np.arange(SIDE)
    return np.stack([(frame.sum(2) * line).sum(1), (frame.sum(1) * line).sum(1)], axis=1) / frame.sum((1, 2))[:, None]


@functools.cache
def _load() -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures, (1797, 8, 8) float32 from 0 to 1, and their digits."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images / 16).astype(np.float32), data.target.astype(np.int64)


@functools.cache
def _known() -> dict[tuple[tuple[int, ...], bytes], tuple[int, np.ndarray]]:
    """Return the number and the offset of each picture by its pixels without black margins, which all differ."""
    trimmed = [_trimmed(picture) for picture in np.round(_load()[0] * 16).astype(np.uint8)]
    return {content: (number, first) for number, (first, content) in enumerate(trimmed)}
