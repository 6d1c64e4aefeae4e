"""Charts of a diagnosis: gradients by lag, and gates by step, in the report and as a file beside the table."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pandas as pd

from bench.report import figures
from bench.report.figures import Axis, Chart, Level, Series
from bench.results.record import write_atomically

LEAST = 1e-30  # of a norm on a logarithmic axis
GRADIENTS = ("gradient of the state", "gradient of the input")
LINES: dict[str, Literal["line", "dashed", "dotted"]] = {"start": "dashed", "middle": "dotted", "end": "line"}
"""The line of each moment of training."""

BIT_LINES: tuple[Literal["line", "dashed"], ...] = ("line", "dashed")  # of the cell state and of the hidden state

NOTES = (
    "Gradients: norm of the gradient of the last loss by how many steps back, before training (dashed), half way to "
    "the best validation (dotted), if its weights were kept, and after training (solid).",
    "Gates: mean over units at each step after training, with the range of the units.",
    "Probes, on flip_flop alone: how well they read the written bit from the cell state (solid) and from the hidden "
    "state (dashed) after training.",
)


def model_of(name: str) -> str:
    """Return the model of a diagnosis by the name of its file."""
    return name.partition("-L")[2].partition("-")[2]


def charts(name: str, table: pd.DataFrame) -> Iterator[tuple[Chart, str]]:
    """Yield the charts of a diagnosis, each with its label for screen readers."""
    for quantity in GRADIENTS:
        yield from _gradients(name, table[table["quantity"] == quantity], quantity)
    end = table[(table["at"] == "end") & table["quantity"].str.endswith(" gate")]
    for (gate, layer), own in end.groupby(["quantity", "part"], sort=False):
        steps, mean = own["step"].tolist(), own["mean"].tolist()
        series = Series(model_of(name), steps, mean, own["low"].tolist(), own["high"].tolist(), points="", band=True)
        half = Level("", [steps[0], steps[-1]], [0.5, 0.5])
        chart = Chart(f"{name}: {gate}, {layer}", Axis("step"), Axis("open", limits=(0.0, 1.0)), [series], [half])
        yield chart, f"{name}: {gate} of {layer} by step, {sum(mean) / len(mean):.0%} on average"
    yield from _bits(name, table[(table["at"] == "end") & table["quantity"].str.startswith("bit in ")])


def _bits(name: str, table: pd.DataFrame) -> Iterator[tuple[Chart, str]]:
    """Yield the chart of how well probes tell a bit by steps after its write, if there is one."""
    series, ends = [], []
    for (quantity, own), line in zip(table.groupby("quantity", sort=False), BIT_LINES, strict=False):
        series.append(Series(model_of(name), own["step"].tolist(), own["mean"].tolist(), line=line, points=""))
        ends.append(f"{own['mean'].iloc[-1]:.2f} for the {quantity}")
    if series:
        chance = Level("chance", [series[0].x[0], series[0].x[-1]], [0.5, 0.5])
        axes = Axis("steps after the write"), Axis("area under the ROC curve", limits=(0.0, 1.02))
        yield Chart(f"{name}: probes of a bit", *axes, series, [chance]), f"{name}: probes of a bit, {', '.join(ends)}"


def _gradients(name: str, table: pd.DataFrame, quantity: str) -> Iterator[tuple[Chart, str]]:
    """Yield the chart of a gradient by lag at each moment of training, if there is one."""
    series = []
    for at, line in LINES.items():
        own = table[(table["at"] == at) & (table["part"] == "") & (table["mean"] > LEAST)]
        if len(own):
            x, y = own["step"].tolist(), own["mean"].tolist()
            series.append(Series(model_of(name), x, y, line=line, points=""))
    if series:
        chart = Chart(name, Axis("steps back"), Axis(f"{quantity}, norm", log=True), series)
        lives = table[table["part"] == "half-life"]
        ends = ", ".join(f"half-life at the {row.at} {row.mean:.3g} steps" for row in lives.itertuples())
        yield chart, f"{name}: {quantity} by lag; {ends}"


def write(table: pd.DataFrame, path: Path) -> Path | None:
    """Write the charts of a diagnosis as an SVG file beside its table at `path`; None if it has none."""
    drawn = [chart for chart, _ in charts(path.stem, table)]
    if not drawn:
        return None
    write_atomically(path.with_suffix(".svg"), figures.grid(drawn, f"{path.stem}: diagnosis", NOTES))
    return path.with_suffix(".svg")
