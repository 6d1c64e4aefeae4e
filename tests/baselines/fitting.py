"""Baselines as the run of the cheap baselines fits them, without a run."""

from bench.config import baseline

ALL = 10**6


def fit(name: str, task) -> baseline.Baseline:
    """Return the baseline `name`, fitted to a task."""
    found = baseline.make(name)
    history = found.history(task)
    train = baseline.windows(task, "train", found.most(task), history)
    found.fit(train, baseline.windows(task, "val", ALL, history), task)
    return found


def score(found: baseline.Baseline, task, part: str = "test", size: int = ALL) -> float:
    """Return the score of a fitted baseline on a part, by the task's metric."""
    history = found.num_steps or found.history(task)
    batch = baseline.latest(baseline.windows(task, part, size, history), history)
    return task.score(found.scored(batch, task), batch)[task.metric]


def reached(name: str, task, part: str = "test") -> float:
    """Return the score that the baseline `name` reaches on a part."""
    return score(fit(name, task), task, part)
