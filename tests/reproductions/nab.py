"""The scorer of the Numenta Anomaly Benchmark on its own detectors (N20).

All 58 series; the detectors are those of https://github.com/numenta/NAB. As in the published table, the threshold is the
best one on the benchmark itself, which the bench otherwise never does.
"""

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from bench.tasks import _detection
from tests.reproductions.running import Row, Settings, within

WINDOW, STEP = 6_400, 100  # of the windowed Gaussian detector
PROBATION, PROBATION_ROWS = 0.15, 5_000  # share of a series that is not scored, of so many rows at most
THRESHOLDS = 60

Detector = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def windowed_gaussian(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one minus the tail probability of each value under the mean and deviation of the values before it."""
    window: list[float] = []
    waiting: list[float] = []
    mean, deviation, scores = 0.0, 1.0, np.zeros(len(values))
    for row, value in enumerate(values):
        if window:
            scores[row] = 1 - 0.5 * math.erfc(abs(value - mean) / deviation / math.sqrt(2))
        if len(window) < WINDOW:
            window.append(value)
        else:
            waiting.append(value)
            if len(waiting) < STEP:
                continue
            window, waiting = window[STEP:] + waiting, []
        mean, deviation = float(np.mean(window)), float(np.std(window)) or 1e-6
    return scores


def random(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random score for each value."""
    return rng.random(len(values))


def null(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the same score for each value."""
    return np.full(len(values), 0.5)


def corpus() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the values of each series, and the number of the anomaly window of each row, 0 for none."""
    folder = next(
        path for part in os.environ["BENCH_DATA_DIR"].split(os.pathsep) if (path := Path(part, "nab")).is_dir()
    )
    windows = json.loads((folder / "labels" / "combined_windows.json").read_text())
    values, events, count = [], [], 0
    for name, spans in sorted(windows.items()):
        table = pd.read_csv(folder / "data" / name, parse_dates=["timestamp"])
        event = np.zeros(len(table), dtype=int)
        for first, last in spans:
            count += 1
            event[table["timestamp"].between(pd.Timestamp(first), pd.Timestamp(last)).to_numpy()] = count
        values.append(table["value"].to_numpy(float))
        events.append(event)
    return values, events


def best_score(detector: Detector, values: list[np.ndarray], events: list[np.ndarray], seed: int) -> float:
    """Return NAB's score of a detector, standard profile, at the best threshold for all series together."""
    rng = np.random.default_rng(seed)
    marks, scores = [], []
    for number, (of_series, event) in enumerate(zip(values, events, strict=True)):
        first = math.floor(PROBATION * min(len(of_series), PROBATION_ROWS))
        rows = np.arange(len(of_series))
        marks.append(np.stack([np.full(len(rows), number), rows, event], 1)[first:])
        scores.append(detector(of_series, rng)[first:])
    score, mark = np.concatenate(scores), np.concatenate(marks)
    # Few flags are best: thresholds lie among the highest scores, which is also where they differ most.
    ranks = np.unique(np.geomspace(1, len(score) // 20, THRESHOLDS).astype(int))
    thresholds = np.unique(np.sort(score)[::-1][ranks])
    return max(_detection.nab(score >= threshold, mark) for threshold in [math.inf, *thresholds])


def n20(overrides: Settings) -> Iterator[Row]:
    values, events = corpus()
    for detector, published, seeds in ((windowed_gaussian, 39.6, 1), (random, 11.0, 5), (null, 0.0, 1)):
        scores = [best_score(detector, values, events, seed) for seed in range(seeds)]
        found, name = float(np.mean(scores)), detector.__name__.replace("_", " ")
        what = f"NAB's score of its detector '{name}', all 58 series, standard profile"
        number = f"{found:.1f}" + (f" (mean of {seeds} seeds)" if seeds > 1 else "")
        yield Row("N20", what, f"{published:g}", number, "± 1.0", within(found, published, 1.0))
