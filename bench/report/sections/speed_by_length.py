"""Speed by length: of the chosen configurations, from the exclusive pass."""

from typing import Any

import pandas as pd

from bench.report.figures import Axis, Chart, Level, Series
from bench.report.page import Block, Findings, Note, Panels, Section, Table, by_model, question_of, rows_of, sparse
from bench.wording import bare, is_known, number

SPEED = {
    "train_step_milliseconds": "a training step (ms)",
    "inference_sequences_per_second": "inference (sequences/s)",
    "streaming_p50_milliseconds": "a streamed step, median (ms)",
    "peak_memory_mib": "peak memory (MiB)",
}


def make(findings: Findings) -> Section:
    anchor, title = "speed", "Speed by length"
    names = [name for name in SPEED if name in findings.board.columns and findings.board[name].notna().any()]
    measured = findings.board[findings.board[names].notna().any(axis=1)] if names else findings.board.iloc[:0]
    if measured.empty:
        return Section(anchor, title, reason="no exclusive pass has been made yet.")
    hardware = [str(value) for value in measured["hardware"].dropna().unique()]
    blocks: list[Block] = []
    if len(hardware) > 1:
        text = f"The rows come from different hardware ({'; '.join(hardware)}): they are not compared by time."
        blocks.append(Note(text, "warning"))
    drawings = []
    for (dataset, match), group in measured.groupby(["dataset", "match"], sort=False, dropna=False):
        if len(hardware) > 1 or group["steps"].nunique() < 2:
            continue
        for name in names:
            rows = [
                row
                for row in rows_of(group.sort_values("steps", kind="stable"))
                if is_known(row[name]) and row[name] > 0
            ]
            steps = sorted({int(row["steps"]) for row in rows})
            if len(steps) < 2:
                continue
            where = dataset + ("" if pd.isna(match) else f" with {match}")
            series = [Series(m, [r["steps"] for r in mine], [r[name] for r in mine]) for m, mine in by_model(rows)]
            ends = "; ".join(
                f"{bare(m)} {number(first[name])} at {first['steps']}, {number(last[name])} at {last['steps']}"
                for m, (first, *_, last) in ((m, [*mine, mine[-1]]) for m, mine in by_model(rows))
            )
            x = Axis("steps of a training sequence", log=True, ticks=[(n, f"{n:,}") for n in sparse(steps)])
            chart = Chart(where, x, Axis(SPEED[name], log=True), series, _in_proportion(rows, steps, name))
            drawings.append(findings.draw(chart, f"{where}, {SPEED[name]}: {ends}"))
    if drawings:
        caption = "Both axes are logarithmic. A line as steep as the dashed one is a time in proportion to length."
        blocks.append(Panels(drawings, caption, findings.legend(measured["model"])))
    several = len(hardware) > 1
    head = ["question", "model", "steps", *(SPEED[name] for name in names), *(["hardware"] if several else [])]
    cells = [
        [
            question_of(row),
            row["model"],
            f"{row['steps']:,}",
            *(number(row[name]) for name in names),
        ]
        + ([str(row["hardware"])] if several else [])
        for row in rows_of(measured)
    ]
    blocks.append(Table("The chosen configuration of each model, alone on the machine", head, cells).folded())
    batch = ", ".join(f"{int(size):,}" for size in measured["batch_size"].dropna().unique())
    blocks.append(
        Note(
            f"From the exclusive pass: alone, warmed up, medians, batches of {batch or 'unknown'} sequences. "
            "The chosen configurations differ in width: compared is what was chosen, not architectures of equal size."
        )
    )
    return Section(anchor, title, blocks)


def _in_proportion(rows: list[dict[str, Any]], steps: list[int], name: str) -> list[Level]:
    """Return a line along which time is proportional to length, from the quickest model at the shortest one."""
    starts = [row[name] for row in rows if row["steps"] == steps[0]]
    if name == "peak_memory_mib" or name.endswith("per_second") or not starts:
        return []
    return [Level("in proportion", [steps[0], steps[-1]], [min(starts), min(starts) * steps[-1] / steps[0]])]
