"""The forecasts of an exported model as a picture: beside the last rows of the file, and beside known rows.

G series, S steps that the model reads, H horizon, D input columns.
"""

from pathlib import Path
from typing import Any

import numpy as np

from bench.config.contracts import New, Sampling
from bench.errors import DeclarationError
from bench.export.predictor import ExportedModel
from bench.report.figures import Axis, Chart, Level, Series, grid
from bench.tasks.forecasting import Predictor
from bench.wording import bare

MOST_CHARTS = 8  # of a table with many series or targets, the first
BACK = 3  # forecasts of known rows, one after the other
SHOWN = 6  # horizons of known rows that are drawn, at least FEWEST rows
FEWEST = 30
TICKS = 4
ROWS = ("groups", "starts", "stops")  # of each series with a forecast: its number, its first row and beyond its last


def draw(model: ExportedModel, path: Path) -> str:
    """Return the forecasts for a file as the text of an SVG file, a chart for each series and target.

    One forecast continues the file. The others are of the last rows of the file, each from the rows before it: they
    show how close such forecasts were, if the model was not trained on these rows. Raises BenchError.
    """
    predictor = model.predictor
    if not isinstance(predictor, Predictor):
        rule = f"draws forecasts, but this model was trained for {model.config.task}"
        raise DeclarationError(f"--plot {rule}; leave the option out")
    ahead = predictor.read(path, model.num_steps)
    forecasts = _values(model, predictor, ahead)
    known = [_known_rows(model, predictor, path, forecasts.shape[1], back) for back in range(BACK, 0, -1)]
    charts: list[Chart] = []
    table, targets = ahead.about["table"], list(dict.fromkeys(predictor.arguments["target"]))
    for row, (group, start, stop) in enumerate(zip(*(ahead.about[key] for key in ROWS), strict=True)):
        for place, target in enumerate(targets):
            title = target if table.groups is None else f"{target}: {table.group_names[group]}"
            history = table.columns[target][start:stop]
            times = None if table.times is None else table.times[start:stop]
            values = [earlier[row, :, place] for earlier in (*known, forecasts)]
            charts.append(_chart(title, bare(model.config.space), history, times, values))
    model_name = bare(model.config.space)
    notes = [
        f"Grey: {path.name}. Filled: the forecast of {model_name} for the rows after it.",
        "Hollow: its forecasts of known rows, each made from the rows before.",
        *([f"{len(charts):,} series; the first {MOST_CHARTS} are drawn."] if len(charts) > MOST_CHARTS else []),
    ]
    return grid(charts[:MOST_CHARTS], f"Forecasts for {path.name}", notes)


def _known_rows(model: ExportedModel, predictor: Predictor, path: Path, horizon: int, back: int) -> np.ndarray:
    """Return the forecasts of known rows, which begin `back` horizons before the end of each series, (G, H, T).

    NaN for a series that is too short.
    """
    new = predictor.read(path, model.num_steps + back * horizon)
    stops = new.about["stops"] - back * horizon
    is_long = stops - new.about["starts"] >= max(2, predictor.meta.get("length", model.num_steps))
    stops = np.where(is_long, stops, new.about["stops"])
    length = np.full(len(new.x), model.num_steps)
    values = _values(model, predictor, New(new.x[:, : model.num_steps], length, new.about | {"stops": stops}))
    values[~is_long] = np.nan
    return values


def _values(model: ExportedModel, predictor: Predictor, new: New) -> np.ndarray:
    """Return forecasts in the units of the table, (G, H, T)."""
    answers: dict[str, Any] = predictor.answer(model, new, Sampling())
    targets = list(dict.fromkeys(predictor.arguments["target"]))
    columns = np.stack([np.asarray(answers[target], dtype=np.float64) for target in targets], axis=-1)
    return columns.reshape(len(new.x), -1, len(targets))


def _chart(title: str, model: str, history: np.ndarray, times: np.ndarray | None, forecasts: list[np.ndarray]) -> Chart:
    """Return the chart of one series; along x, 0 is the last row of the file, after which the last forecast begins."""
    horizon = len(forecasts[-1])
    shown = min(len(history), max(SHOWN * horizon, FEWEST))
    rows = np.arange(1 - shown, 1)
    series = []
    for back, values in zip(range(len(forecasts) - 1, -1, -1), forecasts, strict=True):
        if not np.isnan(values).any():
            x = range(1 - back * horizon, 1 + horizon - back * horizon)
            series.append(Series(model, list(x), values.tolist(), points="hollow" if back else "filled"))
    ticks = [(float(row), _tick(row, times)) for row in rows[:: max(1, shown // TICKS)]]
    truth = Level("", rows.tolist(), [float(value) for value in history[-shown:]], solid=True)
    return Chart(title, Axis("" if times is not None else "rows before the end of the file", ticks=ticks),
                 Axis(""), series, [truth])  # fmt: skip


def _tick(row: int, times: np.ndarray | None) -> str:
    if times is None:
        return str(row)
    text = str(times[row - 1].view("datetime64[ns]").astype("datetime64[m]")).replace("T", " ")
    return text.removesuffix(" 00:00")
