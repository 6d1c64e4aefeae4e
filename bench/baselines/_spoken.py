"""Loud stretches of recordings, and what is said in them.

L steps, D bands, F features.
"""

import numpy as np

from bench.config.contracts import Task

NUMBERS = 1 << 26  # of the training recordings that a baseline reads, at most: 256 MiB
SHORTEST = 5  # steps of a stretch
PARTS = 5  # of a stretch, each with the mean of every band


def most(task: Task) -> int:
    """Return how many training recordings a baseline reads, at most."""
    return max(64, min(20_000, NUMBERS // (task.num_steps * task.input_size)))


def stretches(x: np.ndarray, share: float, gap: int, longest: float) -> list[tuple[int, int]]:
    """Return the loud stretches of a recording (L, D) by their first step and the step after their last.

    Loud is a step whose mean over the bands lies above its 5th percentile by `share` of the way to the 95th. Pauses of
    fewer than `gap` steps are part of a stretch; a stretch is at least SHORTEST steps. One that lasts n times `longest`
    steps is divided into equal parts, none of which is longer.
    """
    level = x.mean(1)
    low, high = np.quantile(level, (0.05, 0.95))
    loud = np.flatnonzero(level > low + share * (high - low))
    if not len(loud):
        return [(0, len(x))]
    begins = np.flatnonzero(np.diff(loud, prepend=loud[0] - gap - 1) > gap)
    ends = [*(begins[1:] - 1), len(loud) - 1]
    found = [(int(loud[a]), int(loud[b]) + 1) for a, b in zip(begins, ends, strict=True)]
    kept = [(a, b) for a, b in found if b - a >= SHORTEST] or [max(found, key=lambda pair: pair[1] - pair[0])]
    divided = []
    for first, stop in kept:
        edges = np.linspace(first, stop, int(np.ceil((stop - first) / longest)) + 1).round().astype(int).tolist()
        divided += list(zip(edges, edges[1:], strict=False))
    return divided


def features(x: np.ndarray, found: list[tuple[int, int]]) -> np.ndarray:
    """Return the means of each band over equal parts of each stretch, and its duration in seconds, (N, F)."""
    sums = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0, dtype=np.float64)])
    first, stop = np.array(found).T
    edges = np.linspace(first, stop, PARTS + 1, axis=1)
    a = np.minimum(edges[:, :-1].astype(int), stop[:, None] - 1)
    b = np.maximum(edges[:, 1:].astype(int), a + 1)
    means = (sums[b] - sums[a]) / (b - a)[..., None]
    return np.concatenate([means.reshape(len(found), -1), (stop - first)[:, None] / 100], axis=1)
