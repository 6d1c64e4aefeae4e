"""Exponential smoothing with a damped trend and an additive season (Holt-Winters).

Hyndman & Athanasopoulos, 2021, Forecasting: principles and practice, chapter 8, https://otexts.com/fpp3/

N windows of one series each, R rows, H horizon, T target columns, M rows of a season.
"""

from typing import Any, NamedTuple

import numpy as np

from bench.baselines._seasons import candidates
from bench.config import baseline
from bench.config.contracts import Batch, Task

SEASONS = 3  # that are read before a forecast: the first one starts the model
FEWEST = 50  # rows that are read without a season, at least
LONGEST = 400  # rows of a season
NUMBERS = 4_000  # of a window, at most
WINDOWS = 300  # of one series each, on which the four rates are fitted
STEPS = 80  # of the search for the rates


class Rates(NamedTuple):
    """How much of each new value goes into the states, from 0 to 1, and how much of the trend lasts to the next row."""

    level: float
    trend: float
    season: float
    damping: float


class Baseline(baseline.Baseline):
    """One set of rates for all series, fitted to training windows; the season, or none, is the best on validation."""

    title = "exponential smoothing"
    prior = 1
    libraries = ("scipy.optimize", "scipy.special")
    weights = ("rates",)

    @staticmethod
    def applies(task: Task) -> bool:
        """Return whether the task is a forecast."""
        return task.kind == "forecasting"

    @staticmethod
    def most(task: Task) -> int:
        """Return the number of training windows that are looked at."""
        return WINDOWS

    @staticmethod
    def history(task: Task) -> int:
        """Return the rows of three of the longest seasons."""
        return max(_rows(task, season) for season in _seasons(task))

    def fit(self, train: Batch, val: Batch, task: Task) -> None:
        """Fit the rates for each season, and none, and keep the season that is the best on validation."""
        sizes = baseline.forecast_sizes(task)
        best = -np.inf
        for season in self.grid("season", _seasons(task)):
            rows = _rows(task, season)
            of_season = baseline.latest(train, rows)
            values, length = _each_series(of_season.x, of_season.length, sizes["targets"])
            y_BHT = of_season.y.reshape(len(of_season.y), sizes["horizon"], -1)
            y = y_BHT.transpose(0, 2, 1).reshape(-1, sizes["horizon"])
            some = np.flatnonzero(length > 2 * season)
            some = some[np.linspace(0, len(some) - 1, min(WINDOWS, len(some))).astype(np.int64)]
            if not len(some):
                continue
            rates = _fitted(values[some], length[some], y[some], season)
            before, after = self.arrays, {"rates": np.array(rates), "season": np.array(season)}
            self.arrays = after | {"num_steps": np.array(rows)} | {name: np.array(n) for name, n in sizes.items()}
            last = baseline.latest(val, rows)
            standing = baseline.standing(task, self.outputs(last.x, last.length), last)
            if standing > best:
                shown = {f"{name} rate": float(rate) for name, rate in zip(Rates._fields, rates, strict=True)}
                best, self.chosen = standing, {"season": season} | shown
            else:
                self.arrays = before

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the forecasts, (B, H T)."""
        targets, horizon = int(self.arrays["targets"]), int(self.arrays["horizon"])
        values, length_N = _each_series(x, length, targets)
        rates = Rates(*self.arrays["rates"].tolist())
        answers_NH = forecasts(values, length_N, horizon, int(self.arrays["season"]), rates)
        return np.asarray(answers_NH.reshape(len(x), targets, horizon).transpose(0, 2, 1).reshape(len(x), -1))


def forecasts(values: np.ndarray, length: np.ndarray, horizon: int, season: int, rates: Rates) -> np.ndarray:
    """Return forecasts (N, H) of windows (N, R) of `length` (N,) rows; a season of 1 row means none.

    The first season of a window gives the first level and season; a window that is shorter than two has no season.
    """
    seasonal = length >= 2 * season if season > 1 else np.zeros(len(values), dtype=bool)
    start = np.where(seasonal, season, 1)
    first = np.where(np.arange(values.shape[1]) < start[:, None], values, 0.0)
    level = first.sum(1) / start
    trend, row = np.zeros(len(values)), np.arange(len(values))
    states = np.zeros((len(values), season))  # of row t of a window: column t modulo season
    states[seasonal] = values[seasonal, :season] - level[seasonal, None]
    for step in range(1, values.shape[1]):
        counts = (step >= start) & (step < length)
        value, state = values[:, step], states[:, step % season]
        expected = level + rates.damping * trend
        new = rates.level * (value - state) + (1 - rates.level) * expected
        slope = rates.trend * (new - level) + (1 - rates.trend) * rates.damping * trend
        turned = rates.season * (value - new) + (1 - rates.season) * state
        level, trend = np.where(counts, new, level), np.where(counts, slope, trend)
        states[:, step % season] = np.where(counts & seasonal, turned, state)
    answers = np.empty((len(values), horizon))
    reach = 0.0
    for ahead in range(horizon):
        reach += rates.damping ** (ahead + 1)
        answers[:, ahead] = level + reach * trend + states[row, (length + ahead) % season]
    return answers


def _fitted(values: np.ndarray, length: np.ndarray, y: np.ndarray, season: int) -> Rates:
    """Return the rates with the smallest squared error of the whole horizon."""
    from scipy.optimize import minimize
    from scipy.special import expit

    def error(point: np.ndarray) -> float:
        return float(((forecasts(values, length, y.shape[1], season, Rates(*expit(point))) - y) ** 2).mean())

    start = np.array([0.0, -4.0, -2.0, 2.0])
    found = minimize(error, start, method="Nelder-Mead", options={"maxfev": STEPS, "initial_simplex": _simplex(start)})
    return Rates(*expit(found.x))


def _simplex(start: np.ndarray) -> np.ndarray:
    return np.concatenate([start[None], start + 2.0 * np.eye(len(start))])


def _seasons(task: Any) -> list[int]:
    """Return 1, for no season, and the seasons that the series may have."""
    return [1, *(season for season in candidates(task) if season <= LONGEST)]


def _rows(task: Any, season: int) -> int:
    """Return how many rows are read for a season."""
    most = max(task.num_steps, NUMBERS // task.input_size)
    return min(most, max(task.num_steps, FEWEST, SEASONS * season if season > 1 else 0))


def _each_series(x: np.ndarray, length: np.ndarray, num_targets: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the targets of windows (B, R, D) one by one, (B T, R), and their lengths."""
    values = x[..., :num_targets].transpose(0, 2, 1).reshape(-1, x.shape[1]).astype(np.float64)
    return values, np.repeat(length, num_targets)
