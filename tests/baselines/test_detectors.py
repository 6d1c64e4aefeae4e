"""What detectors score, by hand and beside other programs."""

import time

import numpy as np
import pytest

from bench.baselines.matrix_profile import CELLS, Baseline
from tests.baselines.fitting import fit
from tests.tasks.test_anomaly import make, wave

TRAIN = np.r_[
    np.round(np.sin(np.arange(20) * 0.9) * 3, 2), np.full(7, 1.5), np.round(np.sin(np.arange(27, 40) * 0.9) * 3, 2)
]
TEST = np.round(np.sin(np.arange(24) * 0.9 + 0.3) * 2 + 5, 2)
TEST[9:15] = 4.0
TEST[19] += 3


def windows(values, steps):
    return np.lib.stride_tricks.sliding_window_view(values, steps)[..., None].astype(np.float32)


def profile(train, test, steps):
    """The distances of all windows (B, S, T) of a test series from those of a training series."""
    found = Baseline()
    found.arrays = {"targets": np.array(test.shape[2]), "steps": np.array(steps), "windows": train}
    return found.outputs(test, np.full(len(test), steps))


def test_the_matrix_profile_is_that_of_stumpy():
    expected = [0.608031138, 0.342187857, 0.423112092, 0.819933661, 0.438739601, 0.962617026, 1.310883456, 1.38014476]
    expected += [1.482978907, 0.0, 0.0, 1.237401507, 0.997291177, 1.031576532, 0.58167384, 0.732506591, 2.13576562]
    expected += [2.132031076, 1.860887638, 0.438983077]  # stumpy 1.14.1, stump(TEST, 5, TRAIN, ignore_trivial=False)
    assert profile(windows(TRAIN, 5), windows(TEST, 5), 5) == pytest.approx(expected, abs=1e-5)


def test_a_constant_stretch_is_far_from_a_training_part_without_one():
    # stumpy 1.14.1, stump(TEST, 5, TRAIN[:20], ignore_trivial=False)[9:11]: sqrt(5)
    assert profile(windows(TRAIN[:20], 5), windows(TEST, 5), 5)[9:11] == pytest.approx(5**0.5)


def test_the_matrix_profile_of_several_targets_is_by_definition():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(50, 6, 2)).astype(np.float32), rng.normal(size=(30, 6, 2)).astype(np.float32)

    def normal(x):
        return (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)

    squares = ((normal(test)[:, None] - normal(train)[None]) ** 2).sum((2, 3))
    found = profile(train, test, 6)
    np.testing.assert_allclose(found, np.sqrt(squares.min(1)), rtol=1e-4)
    # Neither the level nor the scale of a target matters.
    np.testing.assert_allclose(profile(train, test * np.array([8, 0.5], dtype=np.float32) + 2, 6), found, rtol=1e-3)


def test_a_window_of_the_training_part_has_distance_0(tmp_path):
    task = make(wave(tmp_path / "w.csv"))
    found, train = fit("matrix_profile", task), task.spread("train", 10**6)
    assert found.scored(train, task) == pytest.approx(0, abs=1e-5)
    assert found.arrays["windows"].shape == (task.counts["train"], task.num_steps, 1)


def test_what_the_matrix_profile_stores_is_bounded(tmp_path):
    task = make(wave(tmp_path / "w.csv"))
    for steps, most in ((24, 20_000), (1_000, CELLS // 1_000), (1_000_000, 64)):
        task.num_steps = steps
        assert Baseline.most(task) == most


def test_ten_thousand_rows_beside_twenty_thousand_windows_take_seconds():
    rng = np.random.default_rng(0)
    train, test = (rng.normal(size=(rows, 96, 1)).astype(np.float32) for rows in (20_000, 10_000))
    start = time.process_time()
    assert profile(train, test, 96).min() > 0
    assert time.process_time() - start < 15
