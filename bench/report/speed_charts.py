"""Speed by length for a reader: a table and a chart for each quantity, and where the order of two models changes."""

import math
import re
from pathlib import Path
from xml.sax.saxutils import escape

import pandas as pd

from bench.report import figures
from bench.results.record import write_atomically
from bench.sweep.speed import CONDITIONS, same_conditions

QUANTITIES = {
    "train_step_milliseconds": ("training step", "ms a batch"),
    "inference_step_milliseconds": ("inference", "ms a batch"),
    "latency_p50_milliseconds": ("one sequence", "ms, median"),
    "streaming_p50_milliseconds": ("one step of a stream", "ms, median"),
    "peak_memory_mib": ("memory of training", "MiB"),
}
"""What is shown, and its unit."""

SPREADS = {"train_step_milliseconds": "train_spread", "inference_step_milliseconds": "inference_spread"}
"""Between the quartiles of the repeats, over their median."""


def write(frame: pd.DataFrame, folder: Path) -> tuple[Path, Path]:
    """Write the rows as speed.csv and the charts as speed.svg; return their paths."""
    csv, svg = folder / "speed.csv", folder / "speed.svg"
    write_atomically(csv, frame.to_csv(index=False, lineterminator="\n"))
    write_atomically(svg, chart(frame))
    return csv, svg


def crossover(frame: pd.DataFrame, slow: str, fast: str, column: str) -> str:
    """Return where `slow` becomes slower than `fast` as sequences grow, in words.

    Between the two lengths where the order changes the place is interpolated, both axes logarithmic. Raises
    HardwareError where the rows were measured under different conditions.
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
            place = steps[i - 1] * (steps[i] / steps[i - 1]) ** (before / (before - after))
            word, about = "slower" if after > 0 else "faster", float(f"{place:.2g}")
            changes.append(f"{word} than {fast} between {steps[i - 1]} and {steps[i]} steps (about {about:.0f})")
    return f"{slow} becomes {', then '.join(changes)}"


def sentences(frame: pd.DataFrame) -> list[str]:
    """Return where attention becomes slower than an LSTM, for each quantity in milliseconds."""
    return [
        f"{title}: {crossover(frame, 'transformer', 'lstm', column)}"
        for column, (title, _) in QUANTITIES.items()
        if column.endswith("milliseconds") and column in frame
    ]


def tables(frame: pd.DataFrame) -> dict[str, list[list[str]]]:
    """Return a table of text cells for each quantity: rows are models, columns the steps."""
    steps = sorted(frame["steps"].unique())
    found = {}
    for column, (title, unit) in QUANTITIES.items():
        if column not in frame:
            continue
        rows = []
        for model in dict.fromkeys(frame["model"]):
            mine = frame[frame["model"] == model].set_index("steps")
            rows.append([model, *(_cell(mine, step, column) for step in steps)])
        found[f"{title} ({unit})"] = rows
    return found


def _cell(mine: pd.DataFrame, step: int, column: str) -> str:
    if step not in mine.index:
        return ""
    value = mine[column][step]
    if pd.isna(value):
        state = str(mine["state"][step])
        return "-" if state == "complete" else state.removeprefix("failed: ")
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def chart(frame: pd.DataFrame) -> str:
    """Return one SVG with a chart for each quantity against the steps, both axes logarithmic."""
    drawn = []
    steps = figures.Axis("steps", log=True, ticks=[(step, f"{step:,}") for step in sorted(frame["steps"].unique())])
    for column, (title, unit) in QUANTITIES.items():
        if column not in frame or frame[column].dropna().empty:
            continue
        series = []
        for model in dict.fromkeys(frame["model"]):
            mine = frame[(frame["model"] == model) & frame[column].notna()].sort_values("steps")
            if len(mine):
                low, high = _band(mine, column)
                series.append(
                    figures.Series(model, mine["steps"].tolist(), mine[column].tolist(), low, high, band=True)
                )
        drawn.append(figures.svg(figures.Chart(title, steps, figures.Axis(unit, log=True), series)))
    where = {name: frame[name].dropna() for name in CONDITIONS}
    where = {name: values.iloc[0] if len(values) else "unknown" for name, values in where.items()}
    notes = [
        "{hardware}, {device}, {threads} thread(s), {precision}; {dataset}, {batch_size} sequences a batch".format(
            **where
        ),
        "shade: as wide as the middle half of the repeats; of one sequence and one step, up to the 95th percentile",
    ]
    return _beside(drawn, figures.legend(list(dict.fromkeys(frame["model"]))), notes)


def _band(rows: pd.DataFrame, column: str) -> tuple[list[float], list[float]]:
    """Return the ends of the shade: the width of the middle half of the repeats, or up to the 95th percentile."""
    upper = column.replace("_p50_", "_p95_")
    if upper != column:
        return rows[column].tolist(), rows[upper].tolist()
    if column not in SPREADS:
        return [], []
    half = rows[SPREADS[column]] / 2
    return (rows[column] * (1 - half).clip(lower=0.05)).tolist(), (rows[column] * (1 + half)).tolist()


def _beside(drawn: list[str], legend: list[tuple[str, str]], notes: list[str]) -> str:
    """Return charts in two columns as one SVG, under a row that names the colours, over notes."""
    width, height, top = 460, 280, 40
    names = "".join(
        mark.replace("<svg ", f'<svg x="{14 + 125 * i}" y="14" width="14" height="14" ', 1)
        + f'<text x="{34 + 125 * i}" y="26" font-size="13" fill="{figures.INKS["ink"]}">{name}</text>'
        for i, (name, mark) in enumerate(legend)
    )
    parts = [
        one.replace("<svg ", f'<svg x="{width * (i % 2)}" y="{top + height * (i // 2)}" width="432" height="270" ', 1)
        for i, one in enumerate(drawn)
    ]
    under = top + height * math.ceil(len(drawn) / 2)
    tall = under + 20 * len(notes)
    parts += [
        f'<text x="14" y="{under + 6 + 18 * i}" font-size="11.5" fill="{figures.INKS["soft"]}">{escape(note)}</text>'
        for i, note in enumerate(notes)
    ]
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * width} {tall}" width="{2 * width}" height="{tall}" '
        f'role="img" font-family="sans-serif"><title>Speed by length on {escape(notes[0])}</title>'
        f'<rect width="100%" height="100%" fill="#fffffe"/>{names}{"".join(parts)}</svg>\n'
    )
    return re.sub(r"var\(--figure-\w+, (#\w+)\)", r"\1", text)  # by itself it has no page to take its inks from
