"""Baselines of forecasts: seasons that are found, and exponential smoothing by hand."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from bench.baselines import exponential_smoothing
from bench.baselines._linear import ridges
from bench.baselines._seasons import candidates, of_times
from bench.baselines._shapes import last_rows
from bench.baselines.exponential_smoothing import Rates, forecasts
from bench.config.datasets import make_task
from tests.baselines.fitting import fit, reached

HOUR = 3_600 * 10**9


def task_of(folder, values, **arguments):
    path = folder / "t.csv"
    pd.DataFrame({"v": values} | {"t": arguments.pop("times")} if "times" in arguments else {"v": values}).to_csv(
        path, index=False
    )
    content = path.read_bytes()
    file = {"path": str(path), "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    return make_task("forecasting", 4, {"target": ["v"], "horizon": 3, "files": [file]} | arguments)


@pytest.mark.parametrize(
    ("step", "seasons"),
    [
        (HOUR, [24, 168, 8766]),
        (HOUR // 4, [4, 96, 672, 35064]),
        (24 * HOUR, [7, 365]),
        (7 * 24 * HOUR, [52]),
        (365 * 24 * HOUR, []),
        (0, []),
    ],
)
def test_seasons_of_even_times(step, seasons):
    assert of_times(np.arange(10) * step) == seasons


def test_seasons_of_months():
    months = pd.date_range("2020-01-01", periods=30, freq="MS").as_unit("ns").astype("int64").to_numpy()
    assert of_times(months) == [12]


def test_a_season_is_found_in_the_series_and_in_its_times_and_the_best_is_taken(tmp_path):
    rng, steps = np.random.default_rng(0), np.arange(600)
    values = np.sin(steps * 2 * np.pi / 15) + 0.1 * rng.normal(size=600)
    task = task_of(tmp_path, values, time="t", times=pd.date_range("2024-01-01", periods=600, freq="D"))
    assert set(candidates(task)) >= {7, 15}
    assert fit("seasonal_naive", task).chosen == {"season": 15}
    assert reached("seasonal_naive", task) < 0.1


def test_a_series_without_a_season_has_no_candidates(tmp_path):
    assert candidates(task_of(tmp_path, np.cumsum(np.random.default_rng(0).normal(size=300)))) == []


def test_smoothing_without_a_season_by_hand():
    values = np.array([[1.0, 3.0, 2.0]])
    level, trend = 1.0, 0.0
    for value in (3.0, 2.0):
        new = 0.5 * value + 0.5 * (level + 0.8 * trend)
        trend = 0.25 * (new - level) + 0.75 * 0.8 * trend
        level = new
    expected = [level + 0.8 * trend, level + (0.8 + 0.64) * trend]
    found = forecasts(values, np.array([3]), 2, 1, Rates(0.5, 0.25, 0.0, 0.8))
    np.testing.assert_allclose(found[0], expected)


def test_smoothing_follows_a_season_and_what_is_padded_changes_nothing():
    season = np.array([0.0, 2.0, -1.0, 5.0])
    values = np.tile(season, (2, 6))
    values[1, 10:] = 99.0  # padding
    found = forecasts(values, np.array([24, 10]), 5, 4, Rates(0.3, 0.1, 0.2, 0.9))
    np.testing.assert_allclose(found, [np.r_[season, season[:1]], season[[2, 3, 0, 1, 2]]], atol=1e-9)


def test_smoothing_beats_the_last_value_and_the_last_season_on_noise(tmp_path):
    rng, steps = np.random.default_rng(0), np.arange(900)
    values = 3 * np.sin(steps * 2 * np.pi / 12) + rng.normal(size=900)
    task = task_of(tmp_path, values, season=12)
    smoothed = reached("exponential_smoothing", task)
    assert smoothed < 0.75 * reached("seasonal_naive", task)
    assert smoothed < reached("repeat_last", task)


def test_rates_are_searched_for_on_training_windows_only(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        exponential_smoothing, "_fitted", lambda values, *_: (seen.append(values), Rates(0.5, 0.1, 0.1, 0.9))[1]
    )
    task = task_of(tmp_path, np.r_[np.zeros(210), np.ones(90)], splits=[0.7, 0.1, 0.2])
    fit("exponential_smoothing", task)
    assert all(np.ptp(values) == 0 for values in seen)


def test_the_last_rows_of_a_short_window_repeat_its_first():
    x = np.arange(8.0).reshape(2, 4, 1)
    assert last_rows(x, np.array([4, 2]), 3)[..., 0].tolist() == [[1, 2, 3], [4, 4, 5]]


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_the_ridge_is_that_of_scikit_learn(shape):
    rng = np.random.default_rng(0)
    x, y, other = rng.normal(2, 1, shape), rng.normal(size=(shape[0], 3)), rng.normal(size=(5, shape[1]))
    for alpha, (weights, offset) in zip((1.0, 100.0, 1e5), ridges(x, y, (1.0, 100.0, 1e5)), strict=True):
        expected = Ridge(alpha=alpha, solver="svd").fit(x, y).predict(other)
        np.testing.assert_allclose(other @ weights + offset, expected, atol=1e-8)
