"""Forecasts against truth: the best, the median and the worst window of the test split."""

import json
from typing import Any, Literal

from bench.config.ids import CellId
from bench.report.figures import Axis, Chart, Level, Series
from bench.report.page import Block, Drawing, Findings, Note, Panels, Section
from bench.results.answers import questions
from bench.results.cell_runs import CellRuns, by_cell
from bench.results.record import FORECASTS
from bench.wording import bare, number

CAPTION = (
    "The grey line is the truth, before and after the forecast begins at 0. The solid coloured line is the forecast of "
    "the model's first seed, and the dashed one that of the cheap baseline that is best on validation. The windows "
    "have the smallest, the median and the largest mean squared error of the model on the test split, over all targets."
)


def make(findings: Findings) -> Section:
    title = "Forecasts against truth"
    cells = by_cell(findings.runs, findings.spec["top_k"])
    blocks: list[Block] = []
    for where, group in questions(findings.board):
        ranked = group[group["rank"].notna()]
        if ranked.empty:
            continue
        dataset, length, best = ranked.iloc[0][["dataset", "length", "model"]]
        runs = cells.get(CellId(dataset, length, best))
        stored = _stored(findings, runs) if runs is not None else None
        if stored is not None:
            lead = (
                f"{where}: {bare(best)} has the best rank of the models; three of {stored['num_windows']:,} windows of "
                f"{stored['target']}."
            )
            drawn = [best, *([f"({stored['baseline']})"] if stored["baseline"] else [])]
            drawings = [_drawing(findings, best, stored, window) for window in stored["windows"]]
            blocks += [Note(lead, "lead"), Panels(drawings, CAPTION, findings.legend(drawn))]
    return Section("forecasts", title, blocks)


def _stored(findings: Findings, runs: CellRuns) -> dict[str, Any] | None:
    """Return the forecasts of a cell's chosen configuration; None if there are none."""
    for run in runs.tests:
        if run.tests and runs.chosen is not None and run.config.id.trial == runs.chosen.config.id:
            try:
                stored: dict[str, Any] = json.loads((findings.folder / "runs" / run.config.run / FORECASTS).read_text())
            except (OSError, ValueError):
                continue
            return stored
    return None


def _drawing(findings: Findings, model: str, stored: dict[str, Any], window: dict[str, Any]) -> Drawing:
    past, truth = window["history"], window["truth"]
    steps = list(range(len(truth)))
    before = [step - len(past) for step in range(len(past))]
    levels = [Level("truth", [*before, *steps], [*past, *truth], solid=True)]
    points: Literal["", "filled"] = "filled" if len(steps) == 1 else ""
    series = [Series(model, steps, window["forecast"], points=points)]
    if "baseline" in window:
        series.insert(0, Series(f"({stored['baseline']})", steps, window["baseline"], line="dashed", points=points))
    time = f", from {window['time'][:16].replace('T', ' ')}" if window["time"] else ""
    title = f"{window['kind']} window{time}"
    label = f"{title}: forecast of {stored['target']} by {bare(model)}, mean squared error {number(window['mse'])}"
    return findings.draw(
        Chart(title, Axis("rows from the first forecast"), Axis(stored["target"]), series, levels), label
    )
