"""Scores of anomalies: what validation decides, and measures that flagging more, or flagging at random, cannot raise.

Point-adjusted F1 is left out on purpose: it counts an anomaly as found in full if one of its rows is, so that random
scores reach .9 (Kim et al., 2022, https://arxiv.org/abs/2109.05257).

B rows that are scored, T targets, S series.
"""

from typing import Any

import numpy as np

SERIES, ROW, EVENT = range(3)
"""Columns of `Batch.marks`: number of the series, row in it, and number of the anomaly from 1 on, 0 for none."""

LEAST_SCALE = 1e-3  # of a residual: series that validation forecasts exactly do not divide by zero
TOLERANCE = 100  # rows on either side of an anomaly of the UCR archive, at least
FALSE_ALARM = 0.11  # weight of a flag outside all anomalies, in NAB's standard profile
BUFFER = 100  # rows on both sides of an anomaly together that count in part, at most, in the VUS-PR


def calibrate(outputs: np.ndarray, y: np.ndarray, series: np.ndarray) -> dict[str, Any]:
    """Return the scale of the residuals of each series on validation, and the largest of their scores as threshold.

    A normal row exceeds all N scores of validation with probability 1 / (N + 1) if it is of their kind. The last scale,
    that of all series together, is for series without rows in validation.
    """
    if outputs.ndim == 1:
        return {"threshold": float(outputs.max())}
    error = (outputs.astype(np.float64) - y) ** 2
    usual = np.sqrt(error.mean(0))
    means = [error[series == number].mean(0) for number in range(int(series.max()) + 1) if (series == number).any()]
    scale = np.tile(usual, (int(series.max()) + 2, 1))
    scale[np.unique(series)] = np.sqrt(means)
    calibration: dict[str, Any] = {"scale": np.maximum(scale, LEAST_SCALE).tolist()}
    return calibration | {"threshold": float(scores(outputs, y, series, calibration).max())}


def scores(outputs: np.ndarray, y: np.ndarray, series: np.ndarray, calibration: dict[str, Any]) -> np.ndarray:
    """Return the score of each row, (B,): its residual in units of those of validation, over all targets.

    Outputs (B,) of a detector that forecasts nothing are scores already.
    """
    if outputs.ndim == 1:
        return outputs.astype(np.float64)
    scale = np.array(calibration["scale"])
    known = np.where((series >= 0) & (series < len(scale)), series, -1)
    residual = (outputs.astype(np.float64) - y) / scale[known]
    return np.asarray(np.sqrt((residual**2).mean(1)))


def measures(score: np.ndarray, threshold: float, marks: np.ndarray) -> dict[str, float]:
    """Return the measures of detection for rows with scores (B,) and marks (B, 3), at least one of them anomalous."""
    flagged = score > threshold
    return {
        "average_precision": average_precision(score, marks[:, EVENT] > 0),
        "vus_pr": vus_pr(score, marks),
        "event_f1": event_f1(flagged, marks[:, EVENT]),
        "peak_accuracy": peak_accuracy(score, marks),
        "nab": nab(flagged, marks),
    }


def average_precision(score: np.ndarray, anomalous: np.ndarray) -> float:
    """Return the precision of the rows above each score, averaged over the anomalous rows.

    A constant score has the share of anomalous rows, and so has a random one on average.
    """
    order = np.argsort(-score, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(score[order])), len(score) - 1]  # rows with equal scores are flagged together
    hits = np.cumsum(anomalous[order])[last]
    return float((np.diff(np.r_[0, hits]) * hits / (last + 1)).sum() / hits[-1])


def vus_pr(score: np.ndarray, marks: np.ndarray, buffer: int = BUFFER) -> float:
    """Return the average precision in which rows near an anomaly count in part, averaged over how near that is.

    With a buffer of b rows, a row d <= b / 2 rows from an anomaly has the weight sqrt(1 - d / b); the mean is over b
    from 0 to `buffer`. Recall is multiplied by the share of anomalies that are found, and anomalies whose buffers meet
    are one. It is 1 if all anomalous rows have higher scores than all others, and without a buffer the average
    precision if there is one anomaly. The rows of all series are ranked together; a buffer ends with its series.

    The volume under the surface of Paparrizos et al., 2022, https://doi.org/10.14778/3551793.3551830, as the authors
    compute it now (TSB-AD 1.5), but with every score as a threshold instead of 250 of them.
    """
    order, place = _apart(marks, buffer)
    score, event = score[order], marks[order, EVENT]
    anomalous = event > 0
    _, number = np.unique(event[anomalous], return_inverse=True)
    first = np.full(int(number.max()) + 1, place[-1])
    last = np.zeros_like(first)
    np.minimum.at(first, number, place[anomalous])
    np.maximum.at(last, number, place[anomalous])
    first, last = np.sort(first), np.sort(last)
    _, rank = np.unique(-score, return_inverse=True)  # rows with equal scores are flagged together
    flagged = np.cumsum(np.bincount(rank))
    inside = np.cumsum(np.bincount(rank, weights=anomalous))
    normal = np.flatnonzero(~anomalous)
    distance, second = _distances(place[normal], first, last)
    areas = []
    for width in range(buffer + 1):
        near = distance <= width // 2
        weight = np.sqrt(1 - distance[near] / max(width, 1))
        weight[second[near] <= width // 2] = 1  # those of two anomalies add up, to 1 at most
        beside = np.cumsum(np.bincount(rank[normal[near]], weight, len(flagged)))
        found = np.cumsum(np.bincount(_best(rank, place, first, last, width // 2), minlength=len(flagged)))
        recall = np.minimum((inside + beside) / (inside[-1] + beside / 2), 1) * found / found[-1]
        areas.append(float((np.diff(np.r_[0, recall]) * (inside + beside) / flagged).sum()))
    return float(np.mean(areas))


def _apart(marks: np.ndarray, buffer: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the order of rows by series, and their places on one axis with gaps wider than buffers; both (B,)."""
    _, number = np.unique(marks[:, SERIES], return_inverse=True)
    rows = np.zeros(int(number.max()) + 1, dtype=np.int64)
    np.maximum.at(rows, number, marks[:, ROW] + buffer + 1)
    place = buffer + np.r_[0, np.cumsum(rows[:-1])][number] + marks[:, ROW]
    order = np.argsort(place)
    return order, place[order]


def _distances(place: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances of rows from the nearest and the second nearest anomaly, in rows; both (B,)."""
    far = 1 << 60
    starts, ends = np.r_[first, far, far], np.r_[-far, -far, last]
    after = np.searchsorted(first, place)
    found = [starts[after] - place, starts[after + 1] - place, place - ends[after + 1], place - ends[after]]
    near, second = np.partition(found, 1, axis=0)[:2]
    return near, second


def _best(rank: np.ndarray, place: np.ndarray, first: np.ndarray, last: np.ndarray, reach: int) -> np.ndarray:
    """Return the least rank in each anomaly with `reach` rows on either side; those that meet are one."""
    ends = np.flatnonzero(first[1:] - last[:-1] > 2 * reach)
    low = np.searchsorted(place, first[np.r_[0, ends + 1]] - reach)
    high = np.searchsorted(place, last[np.r_[ends, len(last) - 1]] + reach, side="right")
    return np.asarray(np.minimum.reduceat(np.r_[rank, rank.max()], np.stack([low, high], axis=1).ravel())[::2])


def event_f1(flagged: np.ndarray, event: np.ndarray) -> float:
    """Return the harmonic mean of the precision of flagged rows and the recall of anomalies.

    An anomaly is found if one of its rows is flagged, but every flagged row counts in the precision (Fc1 of Garg et
    al., 2021, https://arxiv.org/abs/2109.11428).
    """
    found, known = np.unique(event[flagged & (event > 0)]), np.unique(event[event > 0])
    if not len(found):
        return 0.0
    precision, recall = float((event[flagged] > 0).mean()), len(found) / len(known)
    return 2 * precision * recall / (precision + recall)


def peak_accuracy(score: np.ndarray, marks: np.ndarray) -> float:
    """Return the share of series with an anomaly whose highest score lies at one of them.

    The tolerance on either side is the length of the anomaly, and 100 rows at least (Wu & Keogh, 2021,
    https://arxiv.org/abs/2009.13807).
    """
    hits = []
    for number in np.unique(marks[marks[:, EVENT] > 0, SERIES]):
        of_series = marks[:, SERIES] == number
        rows, events = marks[of_series, ROW], marks[of_series, EVENT]
        peak = rows[int(score[of_series].argmax())]
        spans = [rows[events == event] for event in np.unique(events[events > 0])]
        near = [max(TOLERANCE, len(span)) for span in spans]
        hits.append(any(span[0] - reach < peak < span[-1] + reach for span, reach in zip(spans, near, strict=True)))
    return float(np.mean(hits))


def nab(flagged: np.ndarray, marks: np.ndarray, false_alarm: float = FALSE_ALARM) -> float:
    """Return the score of Lavin & Ahmad, 2015, https://arxiv.org/abs/1510.03336: 100 at best, 0 if nothing is flagged.

    An anomaly counts by its first flagged row, up to 1 if that is the first; a missed one counts -1. A flag outside
    counts -`false_alarm`, and less shortly after an anomaly. Published scores choose the threshold on the benchmark
    itself, ours comes from validation.
    """
    total, count = 0.0, 0
    for number in np.unique(marks[:, SERIES]):
        of_series = marks[:, SERIES] == number
        rows, events, flags = marks[of_series, ROW], marks[of_series, EVENT], flagged[of_series]
        ends, widths = [], []
        for event in np.unique(events[events > 0]):
            span, found = rows[events == event], rows[flags & (events == event)]
            width = int(span[-1] - span[0] + 1)
            ends.append(int(span[-1]))
            widths.append(width)
            total += _sigmoid((found[0] - span[-1] - 1) / width) / _sigmoid(-1.0) if len(found) else -1.0
        count += len(ends)
        order = np.argsort(ends)
        alarms = rows[flags & (events == 0)]
        before = np.searchsorted(np.array(ends)[order], alarms) - 1  # the anomaly that ended last, -1 for none
        for row, place in zip(alarms, before, strict=True):
            distance = 3.0
            if place >= 0 and widths[order[place]] > 1:
                distance = (row - ends[order[place]]) / (widths[order[place]] - 1)
            total += false_alarm * (_sigmoid(distance) if distance < 3 else -1.0)
    return 100 * (total + count) / (2 * count)


def _sigmoid(position: float) -> float:
    """Return NAB's scaled sigmoid: positive before the end of an anomaly, which is at 0, and negative after it."""
    return float(2 / (1 + np.exp(5 * position)) - 1)
