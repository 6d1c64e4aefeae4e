"""Which seasons a series may have: that of the card, those of its times, and those that it repeats by itself.

N rows, T target columns.
"""

from typing import Any

import numpy as np

LONGEST = 1_500  # rows of a season that is looked for
SECONDS = {"minute": 60.0, "hour": 3_600.0, "day": 86_400.0, "week": 604_800.0, "year": 31_557_600.0}
LEAST = 0.1  # autocorrelation of a season that is looked for
DATES = 400  # windows by whose times the step is found


def candidates(task: Any) -> list[int]:
    """Return numbers of rows that may be a season, from 2 on, the card's first; empty if nothing speaks for any."""
    found = [] if task.season is None else [task.season]
    places = np.arange(min(DATES, task.counts["train"]))
    times = task.times("train", places)
    if times is not None:
        found += of_times(np.asarray(times[:, 0]).astype("datetime64[ns]").astype(np.int64))
    found += _of_correlation(task)
    return list(dict.fromkeys(season for season in found if 2 <= season <= LONGEST))


def of_times(times: np.ndarray) -> list[int]:
    """Return how many rows make a day, a week and a year, and an hour of minutes, by the usual step of times in ns."""
    steps = np.diff(times)
    steps = steps[steps > 0]
    if not len(steps):
        return []
    step = float(np.median(steps)) / 1e9
    if step >= 27 * SECONDS["day"]:  # months are unequal; years have 12, 4 or 1 of them
        return [round(SECONDS["year"] / step)] if step < 0.9 * SECONDS["year"] else []
    known = [SECONDS[name] / step for name in ("hour", "day", "week", "year")]
    if step == SECONDS["day"]:
        known = [7.0, 365.0]
    return [round(rows) for rows in known if rows >= 2 and abs(rows - round(rows)) < 0.02 * rows]


def _of_correlation(task: Any) -> list[int]:
    """Return the lag at which the first training rows of the targets resemble themselves most after a decline."""
    values = task.rows_of_train(20_000)
    values = values - values.mean(0)
    most = min(LONGEST, len(values) // 3)
    if most < 4:
        return []
    size = 1 << int(np.ceil(np.log2(2 * len(values))))
    power = np.abs(np.fft.rfft(values, size, axis=0)) ** 2
    correlation = np.fft.irfft(power, size, axis=0)[:most]
    mean = (correlation / np.maximum(correlation[0], 1e-12)).mean(1)
    below = np.flatnonzero(mean < 0.5 * mean.max())  # a slow series resembles itself at once
    if not len(below):
        return []
    first = int(below[0])
    peaks = [
        lag for lag in range(first + 1, most - 1) if mean[lag - 1] < mean[lag] >= mean[lag + 1] and mean[lag] > 0.1
    ]
    return [max(peaks, key=lambda lag: mean[lag])] if peaks else []
