"""Digits that move: they stay whole, move straight, bounce at the edges, and show what is asked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DeclarationError
from bench.tasks.moving_digits import DIRECTIONS, Task

quick = settings(max_examples=20, deadline=None)
WORDS = ["up", "up right", "right", "down right", "down", "down left", "left", "up left"]


def film(task, seed=0, size=50):
    batch = task.train_batch(seed, 0, size)
    return batch.x.reshape(size, -1, 16, 16), batch.y


def centre(frames):
    """Row and column of the centre of brightness, by loops that know nothing of the task."""
    total = frames.sum((-2, -1))
    rows = sum(frames[..., row, :].sum(-1) * row for row in range(16)) / total
    columns = sum(frames[..., :, column].sum(-1) * column for column in range(16)) / total
    return np.stack([rows, columns], axis=-1)


@quick
@given(seed=st.integers(0, 999), length=st.integers(2, 24))
def test_a_digit_stays_whole_and_moves_by_at_most_two_pixels(seed, length):
    frames, _ = film(Task(length), seed)
    assert frames.shape[1] == length
    sums = frames.sum((2, 3))
    np.testing.assert_allclose(sums, sums[:, :1].repeat(length, 1), rtol=1e-5)
    moved = np.abs(np.diff(centre(frames), axis=1))
    assert moved.max() < 2.01
    assert moved[:, 0].max(1).min() > 0.99  # the first step meets no edge


@quick
@given(seed=st.integers(0, 999))
def test_the_direction_is_that_of_the_first_step(seed):
    frames, direction = film(Task(5, predict="direction"), seed)
    first = np.diff(centre(frames), axis=1)[:, 0]
    for (down, right), number in zip(first, direction, strict=True):
        assert ("down" in WORDS[number], "up" in WORDS[number]) == (down > 0.5, down < -0.5)
        assert ("right" in WORDS[number], "left" in WORDS[number]) == (right > 0.5, right < -0.5)
    assert len(WORDS) == len(DIRECTIONS)


def test_a_digit_bounces_back_the_way_it_came():
    frames, direction = film(Task(40, predict="direction"), size=400)
    up = frames[direction == 0]
    rows = centre(up)[..., 0]
    turns = np.sign(np.diff(rows, axis=1))
    assert (turns[:, 0] == -1).all()
    assert (turns == 1).any(1).all()  # down again after the edge
    steps = np.abs(np.diff(rows, axis=1))
    np.testing.assert_allclose(np.median(steps, 1), steps[:, 0], atol=0.01)  # at the speed of the first step
    period = np.where(steps[:, 0] > 1.5, 8, 16)  # frames from an edge to the other and back
    for row, frames_back in zip(rows, period, strict=True):
        np.testing.assert_allclose(row[frames_back:], row[:-frames_back], atol=1e-4)


def test_the_next_frame_follows_the_last():
    longer, short = Task(9, predict="frame"), Task(8, predict="frame")
    for task in (short, longer):
        frames, after = film(task)
        moved = np.abs(centre(after.reshape(-1, 16, 16)) - centre(frames[:, -1]))
        assert 0 < moved.max() < 2.01
        np.testing.assert_allclose(after.sum(1), frames[:, -1].sum((1, 2)), rtol=1e-5)


def test_every_part_has_writers_of_its_own():
    task, pictures = Task(2), []
    for part in (task.train_batch(0, 0, 3000), task.split("val", 1000), task.split("test", 1000)):
        seen = set()
        for frame in part.x[:, 0].reshape(-1, 16, 16):
            lit = frame[frame.any(1)][:, frame.any(0)]
            seen.add((lit.shape, lit.tobytes()))
        pictures.append(seen)
    assert [len(seen) for seen in pictures] > [900, 280, 280]
    assert not pictures[0] & pictures[1]
    assert not pictures[0] & pictures[2]
    assert not pictures[1] & pictures[2]


def test_the_score_of_a_frame_is_the_variance_explained_by_hand():
    task = Task(4, predict="frame")
    batch = task.split("test", 100)
    half = batch.y.mean(0) + 0.5 * (batch.y - batch.y.mean(0))
    assert task.score(half, batch)["r2"] == pytest.approx(0.75)
    assert task.score(np.zeros_like(batch.y), batch)["mse"] == pytest.approx(float((batch.y**2).mean()), rel=1e-5)


def test_the_way_at_the_end_is_the_direction_only_where_nothing_bounced():
    baselines = {length: Task(length, predict="direction").baselines(500) for length in (2, 16)}
    assert baselines[2]["way at the end"] == 1
    assert 0.125 < baselines[16]["way at the end"] < 0.7


def test_the_last_frame_says_something_of_the_next():
    found = Task(4, predict="frame").baselines(500)
    assert 0.02 < found["last frame, paled"] < 0.6


@pytest.mark.parametrize(("length", "predict", "message"), [(1, "digit", "at least 2 frames"), (4, "speed", "digit, direction or frame, but found 'speed'")])  # fmt: skip
def test_wrong_arguments_are_refused(length, predict, message):
    with pytest.raises(DeclarationError, match=message):
        Task(length, predict=predict)
