"""Speed by length: a table and a chart for each quantity, and the length at which the order of two models changes."""

import math
from pathlib import Path

import pandas as pd

from bench.report.figures import Axis, Chart, Series, grid
from bench.results.record import write_atomically
from bench.sweeps.speed import CONDITIONS, same_conditions

QUANTITIES = {
    "train_step_milliseconds": ("training step", "ms a batch"),
    "inference_step_milliseconds": ("inference", "ms a batch"),
    "latency_p50_milliseconds": ("one sequence", "ms, median"),
    "streaming_p50_milliseconds": ("one step of a stream", "ms, median"),
    "peak_memory_mib": ("memory of training", "MiB"),
}
"""The columns that are shown, each with its title and unit."""

SPREADS = {"train_step_milliseconds": "train_spread", "inference_step_milliseconds": "inference_spread"}
"""The columns with the distance between the quartiles of the repeats, divided by their median."""


def write(frame: pd.DataFrame, folder: Path) -> tuple[Path, Path]:
    """Write the rows as speed.csv and the charts as speed.svg; return their paths."""
    csv, svg = folder / "speed.csv", folder / "speed.svg"
    write_atomically(csv, frame.to_csv(index=False, lineterminator="\n"))
    write_atomically(svg, chart(frame))
    return csv, svg


def crossover(frame: pd.DataFrame, slow: str, fast: str, column: str) -> str:
    """Return the length from which `slow` is slower than `fast`, as a sentence.

    The length is interpolated between the two measured lengths at which the order changes, on logarithmic axes. Raises
    HardwareError if the rows were measured under different conditions.
    """
    same_conditions(frame)
    pairs = frame[frame["model"].isin((slow, fast))].pivot_table(index="steps", columns="model", values=column)
    if slow not in pairs or fast not in pairs or pairs.dropna().empty:
        return f"{slow} and {fast} were not both measured"
    pairs = pairs.dropna().sort_index()
    steps = [int(step) for step in pairs.index]
    ratios = [math.log(pairs[slow][step] / pairs[fast][step]) for step in pairs.index]
    if all(ratio > 0 for ratio in ratios):
        return f"{slow} is slower than {fast} at every length measured ({steps[0]} to {steps[-1]} steps)"
    if all(ratio <= 0 for ratio in ratios):
        return f"{slow} is not slower than {fast} at any length measured ({steps[0]} to {steps[-1]} steps)"
    changes = []
    for i in range(1, len(ratios)):
        before, after = ratios[i - 1], ratios[i]
        if (before <= 0) != (after <= 0):
            crossing = steps[i - 1] * (steps[i] / steps[i - 1]) ** (before / (before - after))
            word, about = "slower" if after > 0 else "faster", float(f"{crossing:.2g}")
            changes.append(f"{word} than {fast} between {steps[i - 1]} and {steps[i]} steps (about {about:.0f})")
    return f"{slow} becomes {', then '.join(changes)}"


def sentences(frame: pd.DataFrame) -> list[str]:
    """Return the length from which attention is slower than an LSTM, for each quantity in milliseconds."""
    return [
        f"{title}: {crossover(frame, 'transformer', 'lstm', column)}"
        for column, (title, _) in QUANTITIES.items()
        if column.endswith("milliseconds") and column in frame
    ]


def tables(frame: pd.DataFrame) -> dict[str, list[list[str]]]:
    """Return a table of text cells for each quantity, with models as rows and steps as columns."""
    steps = sorted(frame["steps"].unique())
    shown = {}
    for column, (title, unit) in QUANTITIES.items():
        if column not in frame:
            continue
        rows = []
        for model in dict.fromkeys(frame["model"]):
            measured = frame[frame["model"] == model].set_index("steps")
            rows.append([model, *(_cell(measured, step, column) for step in steps)])
        shown[f"{title} ({unit})"] = rows
    return shown


def _cell(measured: pd.DataFrame, step: int, column: str) -> str:
    if step not in measured.index:
        return ""
    value = measured[column][step]
    if pd.isna(value):
        reason = measured["reason"][step]
        return "-" if pd.isna(reason) else str(reason)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def chart(frame: pd.DataFrame) -> str:
    """Return one SVG file with a chart for each quantity against the steps, both axes logarithmic."""
    charts = []
    steps = Axis("steps", log=True, ticks=[(step, f"{step:,}") for step in sorted(frame["steps"].unique())])
    for column, (title, unit) in QUANTITIES.items():
        if column not in frame or frame[column].dropna().empty:
            continue
        series = []
        for model, rows in frame[frame[column].notna()].groupby("model", sort=False):
            rows = rows.sort_values("steps")
            low, high = _band(rows, column)
            series.append(Series(str(model), rows["steps"].tolist(), rows[column].tolist(), low, high, band=True))
        charts.append(Chart(title, steps, Axis(unit, log=True), series))
    where = {name: next(iter(frame[name].dropna()), "unknown") for name in CONDITIONS}
    notes = [
        "{hardware}, {device}, {threads} thread(s), {precision}; {dataset}, {batch_size} sequences a batch".format(
            **where
        ),
        "The shade is as wide as the middle half of the repeats; for one sequence and one step it ends at the 95th "
        "percentile.",
    ]
    return grid(charts, f"Speed by length on {notes[0]}", notes)


def _band(rows: pd.DataFrame, column: str) -> tuple[list[float], list[float]]:
    """Return the ends of the shade: as wide as the middle half of the repeats, or from median to 95th percentile."""
    upper = column.replace("_p50_", "_p95_")
    if upper != column:
        return rows[column].tolist(), rows[upper].tolist()
    if column not in SPREADS:
        return [], []
    half = rows[SPREADS[column]] / 2
    return (rows[column] * (1 - half).clip(lower=0.05)).tolist(), (rows[column] * (1 + half)).tolist()
