"""Tables that tests write and tasks read, and what a task makes of them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from bench.config.contracts import Sampling
from bench.export.export import PRIVATE
from bench.tasks import forecasting
from tests.makers import declared

PARTS = ("train", "val", "test")


def table(folder, name="t.csv", **columns):
    path = folder / name
    pd.DataFrame(columns).to_csv(path, index=False)
    return [declared(path)]


def everything(task, part):
    return task.take(part, np.arange(task.counts[part]))


def persist(path, length, task, **arguments):
    """Return what a model would answer to a file that repeats the last row, as `predict` writes it."""
    exported = {key: value for key, value in task.meta.items() if key not in PRIVATE}
    predictor = forecasting.Predictor(arguments, exported)
    new = predictor.read(path, length)
    model = SimpleNamespace(outputs=lambda x, length: np.tile(x[:, -1, : len(task.target)], (1, task.horizon)))
    return pd.DataFrame(predictor.answer(model, new, Sampling())), new
