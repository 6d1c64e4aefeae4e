"""The forecasts of an exported model as a picture: beside the last rows of the file, and beside known rows.

G series, S steps that the model reads, H horizon, D input columns.
"""

from pathlib import Path
from typing import Any

import numpy as np

from bench.config.contracts import New, Sampling
from bench.errors import BenchError, DeclarationError
from bench.export.predictor import ExportedModel
from bench.report.figures import Axis, Chart, Level, Series, grid
from bench.tasks.forecasting import Predictor
from bench.wording import bare

MOST_CHARTS = 8  # of a table with many series or targets, the first
SHOWN = 4  # horizons of known rows that are drawn, at least FEWEST rows
FEWEST = 30
TICKS = 4


def draw(model: ExportedModel, path: Path) -> str:
    """Return the forecasts for a file as the text of an SVG file, a chart for each series and target.

    Each chart has two forecasts. One continues the file. The other is of the last rows of the file, from the rows
    before them: it shows how close such a forecast was, if the model was not trained on these rows. Raises BenchError.
    """
    predictor = model.predictor
    if not isinstance(predictor, Predictor):
        rule = f"draws forecasts, but this model was trained for {model.config.task}"
        raise DeclarationError(f"--plot {rule}; leave the option out")
    ahead = predictor.read(path, model.num_steps)
    forecasts = _values(model, predictor, ahead)
    known = _known_rows(model, predictor, path, forecasts.shape[1])
    charts: list[Chart] = []
    table, targets = ahead.about["table"], list(dict.fromkeys(predictor.arguments["target"]))
    for group, (start, stop) in enumerate(zip(ahead.about["starts"], ahead.about["stops"], strict=True)):
        for place, target in enumerate(targets):
            title = target if table.groups is None else f"{target}: {table.group_names[group]}"
            history = table.columns[target][start:stop]
            times = None if table.times is None else table.times[start:stop]
            earlier = None if known is None or np.isnan(known[group]).any() else known[group, :, place]
            charts.append(_chart(title, bare(model.config.space), history, times, forecasts[group, :, place], earlier))
    model_name = bare(model.config.space)
    notes = [
        f"Grey: {path.name}. Colour: forecasts of {model_name}; the first is of known rows, from the rows before them.",
        *([f"{len(charts):,} series; the first {MOST_CHARTS} are drawn."] if len(charts) > MOST_CHARTS else []),
    ]
    return grid(charts[:MOST_CHARTS], f"Forecasts for {path.name}", notes)


def _known_rows(model: ExportedModel, predictor: Predictor, path: Path, horizon: int) -> np.ndarray | None:
    """Return the forecasts of the last rows of each series, (G, H, T); NaN for a series that is too short.

    None if all are too short.
    """
    try:
        new = predictor.read(path, model.num_steps + horizon)
    except BenchError:  # an export of an earlier version, which needs as many rows as it reads
        return None
    stops = new.about["stops"] - horizon
    is_long = stops - new.about["starts"] >= predictor.meta.get("length", model.num_steps)
    if not is_long.any():
        return None
    stops = np.maximum(stops, new.about["starts"] + 2)  # two rows have a step in time
    earlier = New(new.x[:, : model.num_steps], new.length - horizon, new.about | {"stops": stops})
    values = _values(model, predictor, earlier)
    values[~is_long] = np.nan
    return values


def _values(model: ExportedModel, predictor: Predictor, new: New) -> np.ndarray:
    """Return forecasts in the units of the table, (G, H, T)."""
    answers: dict[str, Any] = predictor.answer(model, new, Sampling())
    targets = list(dict.fromkeys(predictor.arguments["target"]))
    columns = np.stack([np.asarray(answers[target], dtype=np.float64) for target in targets], axis=-1)
    return columns.reshape(len(new.x), -1, len(targets))


def _chart(
    title: str,
    model: str,
    history: np.ndarray,
    times: np.ndarray | None,
    forecast: np.ndarray,
    earlier: np.ndarray | None,
) -> Chart:
    """Return the chart of one series; along x, 0 is the last row of the file."""
    horizon = len(forecast)
    shown = min(len(history), max(SHOWN * horizon, FEWEST))
    rows = np.arange(1 - shown, 1)
    series = [Series(model, list(range(1, horizon + 1)), forecast.tolist())]
    if earlier is not None:
        series.insert(0, Series(model, list(range(1 - horizon, 1)), earlier.tolist(), points="hollow"))
    ticks = [(float(row), _tick(row, times)) for row in rows[:: max(1, shown // TICKS)]]
    truth = Level("", rows.tolist(), [float(value) for value in history[-shown:]], solid=True)
    return Chart(title, Axis("" if times is not None else "rows before the end of the file", ticks=ticks),
                 Axis(""), series, [truth])  # fmt: skip


def _tick(row: int, times: np.ndarray | None) -> str:
    if times is None:
        return str(row)
    text = str(times[row - 1].view("datetime64[ns]").astype("datetime64[m]")).replace("T", " ")
    return text.removesuffix(" 00:00")
