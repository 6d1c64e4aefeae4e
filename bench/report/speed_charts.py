"""Speed by length and by batch size: tables and charts, and the length at which the order of two models changes."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pandas as pd

from bench.report.figures import Axis, Chart, Series, grid
from bench.results.disturbance import MARK, any_marked, is_marked, mark
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

    The length is interpolated between the two measured lengths at which the order changes, on logarithmic axes. Values
    that other processes disturbed do not count. Raises HardwareError if the rows were measured under different
    conditions.
    """
    same_conditions(frame)
    is_busy = _is_disturbed(frame, column)
    frame, undisturbed = frame[~is_busy], " undisturbed" if is_busy.any() else ""
    pairs = frame[frame["model"].isin((slow, fast))].pivot_table(index="steps", columns="model", values=column)
    if slow not in pairs or fast not in pairs or pairs.dropna().empty:
        return f"{slow} and {fast} were not both measured{undisturbed}"
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
            measured = {row["steps"]: row for row in _rows(frame[frame["model"] == model])}
            rows.append([model, *(_cell(measured[step], column) if step in measured else "" for step in steps)])
        shown[f"{title} ({unit})"] = rows
    return shown


def batch_columns(frame: pd.DataFrame) -> dict[int, str]:
    """Return the columns with the milliseconds of inference, by the number of sequences in a batch."""
    found = ((re.fullmatch(r"inference_b(\d+)_milliseconds", column), column) for column in frame)
    return dict(sorted((int(match[1]), column) for match, column in found if match))


def batch_tables(frame: pd.DataFrame) -> dict[str, list[list[str]]]:
    """Return a table of text cells for some lengths, with models as rows and batch sizes as columns."""
    columns = batch_columns(frame)
    if not columns:
        return {}
    return {
        f"inference by batch size, {steps:,} steps (ms a batch)": [
            [row["model"], *(_cell(row, column) for column in columns.values())]
            for row in _rows(frame[frame["steps"] == steps])
        ]
        for steps in _some_steps(frame)
    }


def remarks(frame: pd.DataFrame) -> list[str]:
    """Return what to know of the values in the tables, as sentences."""
    if "timing_disturbed" not in frame or not any_marked(frame["timing_disturbed"]):
        return []
    rule = "were measured while other processes used the processor; they are neither drawn nor compared"
    return [f"Values marked with {MARK} {rule}. Measure again on a quiet machine."]


def _some_steps(frame: pd.DataFrame) -> list[int]:
    """Return the shortest, the middle and the longest of the lengths, in steps."""
    steps = sorted(int(number) for number in frame["steps"].unique())
    return sorted({steps[0], steps[len(steps) // 2], steps[-1]})


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return cast(list[dict[str, Any]], frame.to_dict("records"))


def _is_disturbed(frame: pd.DataFrame, column: str) -> "pd.Series[bool]":
    return pd.Series([is_marked(row, column) for row in _rows(frame)], index=frame.index, dtype=bool)


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row[column]
    if pd.isna(value):
        return "-" if pd.isna(row["reason"]) else str(row["reason"])
    return (f"{value:,.0f}" if value >= 100 else f"{value:.3g}") + mark(row, column)


def chart(frame: pd.DataFrame) -> str:
    """Return one SVG file: a chart of each quantity against the steps, and of inference against the batch size.

    Both axes are logarithmic.
    """
    charts = [*_by_length(frame), *_by_batch(frame)]
    where = {name: next(iter(frame[name].dropna()), "unknown") for name in CONDITIONS}
    notes = [
        "{hardware}, {device}, {threads} thread(s), {precision}; {dataset}, {batch_size} sequences a batch".format(
            **where
        ),
        "The shade is as wide as the middle half of the repeats; for one sequence and one step it ends at the 95th "
        "percentile.",
    ]
    if remarks(frame):
        notes.append("Values that other processes disturbed are not drawn.")
    return grid(charts, f"Speed by length on {notes[0]}", notes)


def _by_length(frame: pd.DataFrame) -> list[Chart]:
    charts = []
    steps = Axis("steps", log=True, ticks=[(step, f"{step:,}") for step in sorted(frame["steps"].unique())])
    for column, (title, unit) in QUANTITIES.items():
        drawn = frame[frame[column].notna() & ~_is_disturbed(frame, column)] if column in frame else frame.iloc[:0]
        if drawn.empty:
            continue
        series = []
        for model, rows in drawn.groupby("model", sort=False):
            rows = rows.sort_values("steps")
            low, high = _band(rows, column)
            series.append(Series(str(model), rows["steps"].tolist(), rows[column].tolist(), low, high, band=True))
        charts.append(Chart(title, steps, Axis(unit, log=True), series))
    return charts


def _by_batch(frame: pd.DataFrame) -> list[Chart]:
    """Return a chart of the time of inference by batch size for the shortest, the middle and the longest length."""
    columns = batch_columns(frame)
    sizes = Axis("sequences in a batch", log=True, ticks=[(size, f"{size:,}") for size in columns])
    charts = []
    for steps in _some_steps(frame) if len(columns) > 1 else []:
        series = []
        for row in _rows(frame[frame["steps"] == steps]):
            known = {
                size: column for size, column in columns.items() if pd.notna(row[column]) and not is_marked(row, column)
            }
            halves = [row[column.replace("milliseconds", "spread")] / 2 for column in known.values()]
            values = [row[column] for column in known.values()]
            low = [value * max(0.05, 1 - half) for value, half in zip(values, halves, strict=True)]
            high = [value * (1 + half) for value, half in zip(values, halves, strict=True)]
            if known:
                series.append(Series(str(row["model"]), list(known), values, low, high, band=True))
        if series:
            charts.append(Chart(f"inference, {steps:,} steps", sizes, Axis("ms a batch", log=True), series))
    return charts


def _band(rows: pd.DataFrame, column: str) -> tuple[list[float], list[float]]:
    """Return the ends of the shade: as wide as the middle half of the repeats, or from median to 95th percentile."""
    upper = column.replace("_p50_", "_p95_")
    if upper != column:
        return rows[column].tolist(), rows[upper].tolist()
    if column not in SPREADS:
        return [], []
    half = rows[SPREADS[column]] / 2
    return (rows[column] * (1 - half).clip(lower=0.05)).tolist(), (rows[column] * (1 + half)).tolist()
