"""Predicted against actual: what `bench plan` predicted for each cell, and what it took."""

import math
import statistics
from typing import Any

from bench.report import evidence
from bench.report.figures import Axis, Chart, Series
from bench.report.page import Block, Findings, Note, Panels, Section, Table, by_model, question_of, rows_of
from bench.wording import duration, number, percent


def make(findings: Findings) -> Section:
    anchor, title = "plan", "Predicted against actual"
    if findings.prediction is None:
        reason = "there is no plan; to compare, run `python -m bench plan` with the same arguments before the sweep."
        return Section(anchor, title, reason=reason)
    if isinstance(findings.prediction, str):
        return Section(anchor, title, reason=findings.prediction)
    frame = evidence.predicted_against_actual(findings.runs, findings.prediction)
    if frame.empty:
        return Section(anchor, title, reason="no planned cell has ended.")
    rows = rows_of(frame)
    predicted, actual = frame.attrs["wall_predicted"], frame.attrs["wall_actual"]
    work, took = frame["predicted_for_work_done"].sum(), frame["actual_seconds"].sum()
    lead = (
        f"The prediction was {duration(predicted)} of wall time if no run is solved early; the sweep took "
        f"{duration(actual)}. For the training steps that were made, {duration(work)} of device time were predicted "
        f"and {duration(took)} were used (predicted over actual: {number(work / took if took else math.nan)})."
    )
    columns = ("predicted_seconds", "actual_seconds", "ratio", "work_done", "predicted_for_work_done")
    cells = [
        [
            question_of(row),
            row["model"],
            *(percent(row[name]) if name == "work_done" else number(row[name]) for name in columns),
        ]
        for row in rows
    ]
    head = ["question", "model", "predicted (s)", "actual (s)", "predicted / actual", "work done"]
    note = (
        "Work done is the share of the planned training steps that were made. It is below 100 % if runs are solved or "
        "fail early, and above 100 % if more configurations were confirmed than expected."
    )
    table = Table("Device time by cell", [*head, "predicted for the work done (s)"], cells).folded()
    return Section(anchor, title, [Note(lead, "lead"), *_chart(findings, rows), table, Note(note)])


def _chart(findings: Findings, rows: list[dict[str, Any]]) -> list[Block]:
    known = [row for row in rows if row["predicted_for_work_done"] > 0 and row["actual_seconds"] > 0]
    if not known:
        return []
    series = [
        Series(m, [r["actual_seconds"] for r in mine], [r["predicted_for_work_done"] for r in mine], line="")
        for m, mine in by_model(known)
    ]
    x, y = Axis("actual device time (s)", log=True), Axis("predicted for the work done (s)", log=True)
    median = statistics.median(row["predicted_for_work_done"] / row["actual_seconds"] for row in known)
    label = f"{len(known)} cells: device time predicted for the work done against actual; median ratio {number(median)}"
    drawing = findings.draw(Chart("device time of each cell", x, y, series, equal=True), label)
    caption = (
        "Each point is a cell. The prediction was right on the dotted line, too high above it, and too low below it."
    )
    return [Panels([drawing], caption, findings.legend(row["model"] for row in rows))]
