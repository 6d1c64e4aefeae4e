"""Music: windows of pieces of 88 keys, whose likelihoods are those that a loop by hand finds."""

import math

import numpy as np
import pytest
from scipy.io import savemat

from bench.config import baseline
from bench.errors import DataError
from bench.tasks.music import Predictor, Task, windows
from tests.makers import pieces
from tests.tasks.tables import everything


def files(path):
    import hashlib

    content = path.read_bytes()
    return [{"path": str(path), "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}]


def write(path, **parts):
    """Write pieces, each a list of frames that are lists of keys."""
    arrays = {}
    for name, of_part in parts.items():
        arrays[name] = np.empty((1, len(of_part)), dtype=object)
        for number, frames in enumerate(of_part):
            piece = np.zeros((len(frames), 88), dtype=np.uint8)
            for row, keys in zip(piece, frames, strict=True):
                row[keys] = 1
            arrays[name][0, number] = piece
    savemat(path, arrays)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return pieces(tmp_path_factory.mktemp("music") / "pieces.mat")


def test_the_worked_example(tmp_path):
    piece = [[40], [44], [40], [44], [40], [44]]
    task = Task(4, files=files(write(tmp_path / "m.mat", traindata=[piece], validdata=[piece], testdata=[piece])))
    train = everything(task, "train")
    assert train.length.tolist() == [4, 1]
    assert train.x.argmax(-1).tolist() == [[40, 44, 40, 44], [40, 0, 0, 0]]
    assert train.y.argmax(-1).tolist() == [[44, 40, 44, 40], [44, 0, 0, 0]]
    assert train.mask.tolist() == [[True] * 4, [True, False, False, False]]
    assert "x  40 44 40 44 | 40\n    y  44 40 44 40 | 44" in Task.__doc__
    assert "equal examples" in " ".join(str(remark[1]) for remark in task.meta["remarks"])


@pytest.mark.parametrize("length", [1, 3, 16, 100])
def test_every_frame_but_the_first_of_a_piece_is_a_target_once(path, length):
    task = Task(length, files=files(path))
    for part, steps in task.meta["frames"].items():
        batch = everything(task, part)
        assert batch.mask.sum() == sum(steps) - len(steps)
        assert batch.length.max() <= length
    starts, lengths = windows(np.array([6, 2]), 4)
    assert (starts.tolist(), lengths.tolist()) == ([0, 4, 6], [4, 1, 1])


def test_the_score_is_the_likelihood_of_all_keys_by_hand(path):
    task = Task(8, files=files(path))
    batch = task.split("test", 5)
    outputs = np.random.default_rng(0).normal(size=batch.y.shape)
    nats, frames = 0.0, 0
    for row, length in enumerate(batch.length):
        for step in range(length):
            frames += 1
            for key in range(88):
                p = 1 / (1 + math.exp(-outputs[row, step, key]))
                nats -= math.log(p if batch.y[row, step, key] else 1 - p)
    assert task.score(outputs, batch)["frame_nats"] == pytest.approx(nats / frames)
    outputs[~batch.mask] = 1e9  # padding is not scored
    assert task.score(outputs, batch)["frame_nats"] == pytest.approx(nats / frames)


def test_windows_as_long_as_the_longest_piece_of_training_hold_all_that_are_no_longer(tmp_path):
    piece = [[40], [44]] * 3
    parts = {"traindata": [piece], "validdata": [piece], "testdata": [[*piece, [40]]]}
    task = Task(100, files=files(write(tmp_path / "m.mat", **parts)))
    assert (task.num_steps, task.counts) == (5, {"train": 1, "val": 1, "test": 2})
    for name, found in baseline.applicable(task).items():  # what a window of training never had is not read
        found.fit(everything(task, "train"), everything(task, "val"), task)
        test = baseline.latest(everything(task, "test"), found.num_steps or task.num_steps)
        assert task.score(found.outputs(test.x, test.length), test)["frame_nats"] < 100, name


def test_new_pieces_are_answered_and_scored_as_in_training(path):
    task = Task(8, files=files(path))
    predictor = Predictor({}, task.meta)

    class Echo:
        """Log odds of 3 for what sounds now, and -3 for what does not."""

        def outputs(self, x, length):
            return np.where(x > 0, 3.0, -3.0)

    new = predictor.read(path, 8)
    table = predictor.answer(Echo(), new, None)
    assert table["piece"][0] == "traindata 1"
    assert len(table["piece"]) == 20
    assert len(table) == 1 + 88
    total = sum(table[f"key_{key}"] for key in range(1, 89))
    np.testing.assert_allclose(total, 3 / (1 + math.exp(-3)) + 85 / (1 + math.exp(3)))
    labelled = predictor.labelled(path, 8).batch
    assert len(labelled.x) == sum(task.counts.values())
    scores = predictor.scores(Echo().outputs(labelled.x, labelled.length), labelled)
    parts = [everything(task, part) for part in ("train", "val", "test")]
    by_part = [task.score(Echo().outputs(part.x, part.length), part)["frame_nats"] for part in parts]
    assert scores["frame_nats"] == pytest.approx(np.average(by_part, weights=[part.mask.sum() for part in parts]))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((5, 87)), r"traindata: piece 1 must have at least 2 frames of 88 keys, but its shape is \(5, 87\)"),
        (np.zeros((1, 88)), "at least 2 frames"),
        (np.full((5, 88), 64), "must have 0 and 1 alone"),
    ],
)
def test_pieces_that_are_none_are_refused_in_one_line(tmp_path, frames, message):
    array = np.empty((1, 1), dtype=object)
    array[0, 0] = frames
    savemat(tmp_path / "bad.mat", {"traindata": array})
    with pytest.raises(DataError, match=message):
        Predictor({}, {}).read(tmp_path / "bad.mat", 8)


def test_a_file_without_pieces_is_refused_in_one_line(tmp_path):
    savemat(tmp_path / "other.mat", {"a": np.ones(3)})
    with pytest.raises(DataError, match="must have pieces in an array traindata, validdata or testdata"):
        Predictor({}, {}).read(tmp_path / "other.mat", 8)
    (tmp_path / "text.mat").write_text("no music")
    with pytest.raises(DataError, match="must be a MATLAB file of version 5"):
        Predictor({}, {}).read(tmp_path / "text.mat", 8)
    only = write(tmp_path / "only.mat", traindata=[[[40], [41]]])
    with pytest.raises(DataError, match="must have pieces in the array validdata"):
        Task(4, files=files(only))
