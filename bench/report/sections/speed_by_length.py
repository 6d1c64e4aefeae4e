"""Speed by length: the speed of the chosen configurations, from the exclusive pass."""

from typing import Any

import pandas as pd

from bench.report.figures import Axis, Chart, Level, Series
from bench.report.page import (
    Block,
    Drawing,
    Findings,
    Note,
    Panels,
    Section,
    Table,
    by_model,
    question_of,
    rows_of,
    sparse,
    subject,
)
from bench.results.answers import comparable, mixed_conditions
from bench.results.disturbance import MARK, is_marked, mark
from bench.wording import bare, is_known, number

SPEED = {
    "train_step_milliseconds": "training step (ms)",
    "inference_sequences_per_second": "inference (sequences/s)",
    "streaming_p50_milliseconds": "streamed step, median (ms)",
    "peak_memory_mib": "peak memory (MiB)",
}


def make(findings: Findings) -> Section:
    anchor, title = "speed", "Speed by length"
    names = [name for name in SPEED if findings.board[name].notna().any()]
    measured = findings.board[findings.board[names].notna().any(axis=1)] if names else findings.board.iloc[:0]
    if measured.empty:
        return Section(anchor, title, reason="no exclusive pass has been made yet.")
    blocks: list[Block] = []
    if (remark := mixed_conditions(measured)) is not None:
        blocks.append(Note(remark, "warning"))
    drawings = [
        drawing
        for (dataset, match), group in measured.groupby(["dataset", "match"], sort=False, dropna=False)
        if comparable(measured)
        for name in names
        if (drawing := _drawing(findings, subject(dataset, match), group, name)) is not None
    ]
    if drawings:
        caption = "Both axes are logarithmic. A line parallel to the dashed one is a time in proportion to length."
        blocks.append(Panels(drawings, caption, findings.legend(measured["model"])))
    hardware = [] if measured["hardware"].nunique() <= 1 else ["hardware"]
    head = ["question", "model", "steps", *(SPEED[name] for name in names), *hardware]
    cells = [
        [question_of(row), row["model"], f"{row['steps']:,}", *(number(row[name]) + mark(row, name) for name in names)]
        + [str(row[name]) for name in hardware]
        for row in rows_of(measured)
    ]
    blocks.append(Table("Speed of each model's chosen configuration, alone on the machine", head, cells).folded())
    batch = ", ".join(f"{int(size):,}" for size in measured["batch_size"].dropna().unique())
    exclusive = "All figures are medians from the exclusive pass, in which a run has the machine to itself, after "
    exclusive += f"warming up, with batches of {batch or 'unknown'} sequences. "
    blocks.append(Note(exclusive + _sizes(measured)))
    if any(is_marked(row, name) for row in rows_of(measured) for name in names):
        disturbed = (
            f"Values marked with {MARK} were measured while other processes used the processor. They are longer "
        )
        blocks.append(Note(disturbed + "than on a quiet machine, and are not drawn or compared.", "warning"))
    return Section(anchor, title, blocks)


def _sizes(measured: pd.DataFrame) -> str:
    """Return whether the chosen configurations differ in size, as a sentence."""
    sizes = measured["num_parameters"].dropna()
    if sizes.empty:
        return "The number of parameters is unknown."
    low, high = int(sizes.min()), int(sizes.max())
    if low == high:
        return f"All chosen configurations have {low:,} parameters."
    return (
        f"The chosen configurations have {low:,} to {high:,} parameters, so this compares what was chosen, not "
        "architectures of equal size."
    )


def _drawing(findings: Findings, where: str, group: pd.DataFrame, name: str) -> Drawing | None:
    """Return a chart of one quantity over lengths; None if fewer than two lengths were measured undisturbed."""
    ordered = rows_of(group.sort_values("steps", kind="stable"))
    rows = [row for row in ordered if is_known(row[name]) and row[name] > 0 and not is_marked(row, name)]
    steps = sorted({int(row["steps"]) for row in rows})
    if len(steps) < 2:
        return None
    models = by_model(rows)
    series = [Series(model, [r["steps"] for r in mine], [r[name] for r in mine]) for model, mine in models]
    ends = "; ".join(
        f"{bare(model)} {number(mine[0][name])} at {mine[0]['steps']}, {number(mine[-1][name])} at {mine[-1]['steps']}"
        for model, mine in models
    )
    x = Axis("steps of a training sequence", log=True, ticks=[(n, f"{n:,}") for n in sparse(steps)])
    chart = Chart(where, x, Axis(SPEED[name], log=True), series, _in_proportion(rows, steps, name))
    return findings.draw(chart, f"{where}, {SPEED[name]}: {ends}")


def _in_proportion(rows: list[dict[str, Any]], steps: list[int], name: str) -> list[Level]:
    """Return a line along which time is proportional to length, from the fastest model at the shortest length."""
    starts = [row[name] for row in rows if row["steps"] == steps[0]]
    if name == "peak_memory_mib" or name.endswith("per_second"):
        return []
    return [Level("in proportion", [steps[0], steps[-1]], [min(starts), min(starts) * steps[-1] / steps[0]])]
