"""The Pareto front: quality against cost, and the trials that no other trial beats in both."""

from typing import Any

import pandas as pd

from bench.report import evidence, figures
from bench.report.figures import Axis, Chart, Level, Series
from bench.report.page import (
    Drawing,
    Findings,
    Note,
    Panels,
    Section,
    Table,
    by_model,
    by_question,
    question,
)
from bench.results.disturbance import is_run_disturbed
from bench.results.record import RunRecord
from bench.results.selection import objective
from bench.wording import as_float, bare, count, enumeration, number, percent, score

DRAWN = 40  # cells along each axis of the grid by which dominated points are thinned

Rows = list[dict[str, Any]]


def make(findings: Findings) -> Section:
    anchor, title = "pareto", "Pareto front"
    screened = [run for run in findings.runs if run.config.phase == "screen" and run.state == "complete"]
    names = asked = list(findings.terms.get("objectives", ["quality"]))
    if len(asked) < 2:
        names = [n for n in ("quality", "latency", "cost") if any(objective(run, n) is not None for run in screened)]
    frame = evidence.pareto_front(findings.runs, names) if len(names) > 1 else pd.DataFrame()
    if frame.empty:
        busy = " Other processes disturbed the times of some trials." if _num_disturbed(screened) else ""
        reason = "no complete trial within the limits has two objectives measured undisturbed." + busy
        return Section(anchor, title, reason=reason)
    signs = {(run.config.dataset, run.config.length): run.asked.sign for run in screened}
    drawings: list[Drawing] = []
    fronts: list[list[str]] = []
    hidden = 0
    for (dataset, length, match), rows in by_question(frame).items():
        front = [row for row in rows if row["on_front"]]
        where = question(dataset, length, match)
        models = ", ".join(dict.fromkeys(bare(row["model"]) for row in front))
        fronts.append([where, str(len(rows)), str(len(front)), models, percent(as_float(rows[0]["hypervolume"]))])
        for name in names:
            if name != "quality":
                drawing, thinned = _drawing(
                    findings, where, rows, name, signs[dataset, length], findings.metrics[dataset, length]
                )
                drawings.append(drawing)
                hidden += thinned
    words = "The objectives of this sweep" if len(asked) > 1 else "Quality against cost"
    lead = (
        f"{words}: {enumeration(names)}. A trial is on the front if no other trial of the same dataset and length is "
    )
    lead += "at least as good in all of them and better in one."
    caption = _caption(is_higher_better=all(sign > 0 for sign in signs.values()), objectives=len(names), hidden=hidden)
    volume = "Hypervolume is the volume that the front dominates, as a share of the box between the worst and the best "
    volume += "value of each objective. It is 100 % if one configuration is best in everything."
    if hidden_by_load := _num_disturbed(screened):
        volume += (
            f" Other processes disturbed the time of {count(hidden_by_load, 'trial')}, which cannot be placed on an "
        )
        volume += "axis of time."
    table = Table("Fronts", ["question", "trials", "on the front", "models on it", "hypervolume"], fronts)
    return Section(
        anchor,
        title,
        [Note(lead, "lead"), Panels(drawings, caption, findings.legend(frame["model"])), table, Note(volume)],
    )


def _num_disturbed(screened: list[RunRecord]) -> int:
    """Return how many trials have a time that other processes disturbed."""
    return sum(bool(run.inference_disturbed) or is_run_disturbed(run) for run in screened)


def _caption(is_higher_better: bool, objectives: int, hidden: int) -> str:
    caption = "Large points joined by a line are on the front; small points are dominated. "
    caption += "Better is up and to the left." if is_higher_better else "Up is a higher score, left is cheaper."
    if objectives > 2:
        caption += " The front is for all objectives together, so some of its points lie behind the line of a panel."
    if hidden:
        caption += f" {count(hidden, 'dominated point is', 'dominated points are')} hidden by others."
    return caption


def _drawing(findings: Findings, where: str, rows: Rows, name: str, sign: int, metric: str) -> tuple[Drawing, int]:
    """Return quality against another objective, and how many dominated points are not drawn."""
    thousand = name == "cost" and findings.is_priced and max(row["cost"] for row in rows) < 0.01
    if thousand:  # one run of a small model costs millionths of a dollar
        rows = [row | {"cost": 1000 * row["cost"]} for row in rows]
    behind = sorted(
        (row for row in rows if not row["on_front"]), key=lambda row: (row[name], row["quality"], row["model"])
    )
    drawn = [behind[index] for index in figures.thin([(row[name], row["quality"]) for row in behind], DRAWN)]
    front = sorted(
        (row for row in rows if row["on_front"]), key=lambda row: (row[name], -sign * row["quality"], row["model"])
    )
    values = [row[name] for row in rows]
    series = [
        Series(model, [r[name] for r in mine], [r["quality"] for r in mine], line="", points="faint")
        for model, mine in by_model(drawn)
    ]
    for model, mine in by_model(front):
        mine = sorted(mine, key=lambda row: (-sign * row["quality"], row[name]))  # the tag is beside the first
        series.append(Series(model, [r[name] for r in mine], [r["quality"] for r in mine], line="", tag=bare(model)))
    log = min(values) > 0 and max(values) / min(values) > 10
    x = Axis(_objective_label(findings, name, thousand), log=log)
    words = "; ".join(f"{bare(row['model'])} {score(row['quality'])} at {number(row[name])}" for row in front[:8])
    label = f"{where}, validation {metric} against {x.label}; the front: {words}"
    chart = Chart(where, x, Axis(f"validation {metric}"), series, [_stairs(front, name, sign, max(values))])
    return findings.draw(chart, label), len(behind) - len(drawn)


def _stairs(front: Rows, name: str, sign: int, end: float) -> Level:
    """Return the line that separates what the front dominates; `front` goes from the cheapest to the dearest."""
    stairs: list[tuple[float, float]] = []
    for row in front:
        if not stairs or sign * row["quality"] > sign * stairs[-1][1]:
            if stairs:
                stairs.append((row[name], stairs[-1][1]))
            stairs.append((row[name], row["quality"]))
    stairs.append((end, stairs[-1][1]))
    return Level("", [x for x, _ in stairs], [y for _, y in stairs], solid=True)


def _objective_label(findings: Findings, name: str, thousand: bool) -> str:
    runs = "1,000 runs" if thousand else "a run"
    return {
        "latency": "latency (ms for one sequence)",
        "memory": "peak memory (GiB)",
        "parameters": "trainable parameters",
        "cost": f"cost of {runs} (USD)" if findings.is_priced else "duration of a run (s)",
    }[name]
