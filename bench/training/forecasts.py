"""Forecasts of the test split that are kept for the report: those of the best, the median and the worst window.

B windows, H horizon, T targets, W kept windows.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import baseline
from bench.config.contracts import Batch, DetectionTask, ForecastTask, spread
from bench.config.settings import RunConfig
from bench.results.cell_runs import best_baseline
from bench.results.record import RunRecord
from bench.training.cheap import SUFFIX

KEPT = ("best", "median", "worst")
MOST_HISTORY = 200  # rows before the forecast, at most

_LOGGER = logging.getLogger(__name__)


def kept(config: RunConfig, task: Any, outputs: np.ndarray, test: Batch, folder: Path) -> dict[str, Any]:
    """Return the forecasts of the first target for three windows, with the truth and the best cheap baseline.

    Windows are best, median and worst by the mean squared error of `outputs` over all targets. The baseline is the one
    that is best on validation; without one, or if it cannot be read, its forecasts are left out.
    """
    error = ((outputs.astype(np.float64) - test.y) ** 2).mean(1)
    order = np.argsort(error, kind="stable")
    rows = order[[0, (len(order) - 1) // 2, -1]]  # (W,)
    places = spread(task.counts["test"], config.train.num_test)[rows]
    history = min(task.num_steps, MOST_HISTORY, max(24, 2 * task.horizon))
    past = test.x[rows][:, -history:, : task.num_targets].reshape(len(rows), -1)
    lines = {"history": past, "truth": test.y[rows], "forecast": outputs[rows]}
    title, answers = _baseline(config, task, places, folder)
    if answers is not None:
        lines["baseline"] = answers
    in_units = {name: task.decode(values, "test", places)[..., 0] for name, values in lines.items()}
    times = task.times("test", places)
    windows = [
        {"kind": kind, "mse": float(error[row]), "time": None if times is None else str(times[place, 0])}
        | {name: [float(f"{value:.6g}") for value in values[place]] for name, values in in_units.items()}
        for place, (kind, row) in enumerate(zip(KEPT, rows, strict=True))
    ]
    return {"target": task.target[0], "baseline": title, "num_windows": len(outputs), "windows": windows}


def _baseline(config: RunConfig, task: Any, places: np.ndarray, folder: Path) -> tuple[str | None, np.ndarray | None]:
    """Return the title and the outputs (W, H T) of the best cheap baseline of the sweep, if it has been fitted."""
    runs = folder.parents[len(Path(config.run).parts) - 1]
    stored = runs / str(config.cell.baselines())
    try:
        record = RunRecord.read(stored, epochs=False)
        name = best_baseline(record) if record is not None else None
        if record is None or name is None:
            return None, None
        fitted = baseline.make(name)
        fitted.load(stored / f"{name}{SUFFIX}")
        steps = fitted.num_steps or task.length
        batch = task.reaching_back("test", places, steps)
        return record.fitted[name].title, fitted.scored(batch, task)
    except Exception as error:  # noqa: BLE001 - a drawing must not fail the test run
        _LOGGER.warning("%s: the cheap baseline is not drawn (%s: %s)", config.run, type(error).__name__, error)
        return None, None


def is_kept_for(task: Any) -> bool:
    """Return whether forecasts of a task are kept."""
    return isinstance(task, ForecastTask) and hasattr(task, "reaching_back") and not isinstance(task, DetectionTask)
