"""Predicted against actual: what `bench plan` foretold for each cell, beside what it took."""

import math
import statistics

from bench.report import evidence
from bench.report.figures import Axis, Chart, Series
from bench.report.page import Block, Findings, Note, Panels, Section, Table, by_model, question_of, rows_of
from bench.wording import duration, number, percent


def make(findings: Findings) -> Section:
    anchor, title = "plan", "Predicted against actual"
    if findings.prediction is None:
        return Section(
            anchor, title, reason="not planned: run `python -m bench plan` with the same arguments before the sweep."
        )
    if isinstance(findings.prediction, str):
        return Section(anchor, title, reason=findings.prediction)
    frame = evidence.predicted_against_actual(findings.runs, findings.prediction)
    if frame.empty:
        return Section(anchor, title, reason="no cell that was planned has ended.")
    rows = rows_of(frame)
    predicted, actual = frame.attrs["wall_predicted"], frame.attrs["wall_actual"]
    work = frame["predicted_for_work_done"].sum()
    took = frame["actual_seconds"].sum()
    lead = f"The plan was {duration(predicted)} of wall time, if no run is solved early; it took {duration(actual)}. "
    lead += f"For the training steps that were made, {duration(work)} of device time were predicted and "
    lead += f"{duration(took)} spent (predicted over actual: {number(work / took if took else math.nan)})."
    known = [row for row in rows if row["predicted_for_work_done"] > 0 and row["actual_seconds"] > 0]
    blocks: list[Block] = [Note(lead, "lead")]
    if known:
        series = [
            Series(m, [r["actual_seconds"] for r in mine], [r["predicted_for_work_done"] for r in mine], line="")
            for m, mine in by_model(known)
        ]
        x, y = Axis("actual device time (s)", log=True), Axis("predicted for the work done (s)", log=True)
        label = f"{len(known)} cells: device time predicted for the work done against actual; median ratio "
        label += number(statistics.median(r["predicted_for_work_done"] / r["actual_seconds"] for r in known))
        drawing = findings.draw(Chart("device time of each cell", x, y, series, equal=True), label)
        caption = (
            "Each point is a cell. On the dotted line the prediction was right; above it, too high; below it, too low."
        )
        blocks.append(Panels([drawing], caption, findings.legend(frame["model"])))
    cells = [
        [
            question_of(row),
            row["model"],
            number(row["predicted_seconds"]),
            number(row["actual_seconds"]),
            number(row["ratio"]),
            percent(row["work_done"]),
            number(row["predicted_for_work_done"]),
        ]
        for row in rows
    ]
    head = ["question", "model", "predicted (s)", "actual (s)", "predicted / actual", "work done"]
    blocks.append(Table("Device time by cell", [*head, "predicted for the work done (s)"], cells).folded())
    blocks.append(
        Note(
            "Work done is the share of the planned training steps: runs that are solved or fail early make fewer; it "
            "is above 100 % where more configurations were confirmed than was to be expected."
        )
    )
    return Section(anchor, title, blocks)
