"""The Pareto front: quality against what it costs, and what no trial beats in both."""

from typing import Any

import pandas as pd

from bench.report import evidence, figures
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
    by_question,
    metrics_of,
    question,
)
from bench.results.selection import objective
from bench.wording import as_float, bare, enumeration, number, percent, score

DRAWN = 40  # fields of the grid by which dominated points are thinned, along each axis


def make(findings: Findings) -> Section:
    anchor, title = "pareto", "Pareto front"
    screened = [run for run in findings.runs if run.config.phase == "screen" and run.state == "complete"]
    asked = list(findings.terms.get("objectives", ["quality"]))
    names = asked
    if len(asked) < 2:
        names = [n for n in ("quality", "latency", "cost") if any(objective(run, n) is not None for run in screened)]
    frame = evidence.pareto_front(findings.runs, names) if len(names) > 1 else pd.DataFrame()
    if frame.empty:
        return Section(anchor, title, reason="no complete trial within the limits has two objectives measured.")
    signs = {(run.config.dataset, run.config.length): run.asked.sign for run in screened}
    metrics = metrics_of(findings.runs)
    drawings: list[Drawing] = []
    sentences: list[list[str]] = []
    hidden = 0
    for (dataset, length, match), rows in by_question(frame).items():
        front = [row for row in rows if row["on_front"]]
        where = question(dataset, length, match)
        kept = list(dict.fromkeys(bare(row["model"]) for row in front))
        sentences.append(
            [where, str(len(rows)), str(len(front)), ", ".join(kept), percent(as_float(rows[0]["hypervolume"]))]
        )
        for name in names:
            if name == "quality":
                continue
            drawing, thinned = _front_chart(
                findings, where, rows, name, signs[dataset, length], metrics[dataset, length]
            )
            drawings.append(drawing)
            hidden += thinned
    words = "The objectives of this sweep" if len(asked) > 1 else "Quality against what it costs"
    lead = f"{words}: {enumeration(names)}. On the front is what no other trial of the same dataset and length matches "
    lead += "in all of them and beats in one; anything else pays more for less."
    caption = "Large points joined by a line are the front; small ones are dominated. Upwards "
    caption += (
        "and to the left is better."
        if all(sign > 0 for sign in signs.values())
        else "is a higher score, to the left is cheaper."
    )
    if len(names) > 2:
        caption += " The front is of all objectives together, so a panel shows points of it that lie behind its line."
    if hidden:
        caption += f" {hidden:,} dominated points that would lie upon others are not drawn."
    blocks: list[Block] = [
        Note(lead, "lead"),
        Panels(drawings, caption, findings.legend(frame["model"])),
        Table("Fronts", ["question", "trials", "on the front", "models on it", "hypervolume"], sentences),
        Note(
            "Hypervolume: the share of the box between the worst and the best value of each objective that the front "
            "dominates; 100 % would be one configuration that is best in everything."
        ),
    ]
    return Section(anchor, title, blocks)


def _front_chart(
    findings: Findings, where: str, rows: list[dict[str, Any]], name: str, sign: int, metric: str
) -> tuple[Drawing, int]:
    """Return quality against another objective, and how many dominated points were left out."""
    # Of a small model a single run costs millionths of a dollar.
    thousand = name == "cost" and findings.is_priced and max(row["cost"] for row in rows) < 0.01
    if thousand:
        rows = [row | {"cost": 1000 * row["cost"]} for row in rows]
    behind = sorted(
        (row for row in rows if not row["on_front"]), key=lambda row: (row[name], row["quality"], row["model"])
    )
    drawn = [behind[i] for i in figures.thin([(row[name], row["quality"]) for row in behind], DRAWN)]
    front = sorted(
        (row for row in rows if row["on_front"]), key=lambda row: (row[name], -sign * row["quality"], row["model"])
    )
    stairs: list[tuple[float, float]] = []
    for row in front:
        if not stairs or sign * row["quality"] > sign * stairs[-1][1]:
            if stairs:
                stairs.append((row[name], stairs[-1][1]))
            stairs.append((row[name], row["quality"]))
    values = [row[name] for row in rows]
    stairs.append((max(values), stairs[-1][1]))
    series = [
        Series(m, [r[name] for r in mine], [r["quality"] for r in mine], line="", points="faint")
        for m, mine in by_model(drawn)
    ]
    for model, mine in by_model(front):
        best = max(mine, key=lambda row: (sign * row["quality"], -row[name]))
        mine = [best, *(row for row in mine if row is not best)]
        series.append(Series(model, [r[name] for r in mine], [r["quality"] for r in mine], line="", tag=bare(model)))
    log = min(values) > 0 and max(values) / min(values) > 10
    x = Axis(_objective_label(findings, name, thousand), log=log)
    level = Level("", [x for x, _ in stairs], [y for _, y in stairs], solid=True)
    words = "; ".join(f"{bare(row['model'])} {score(row['quality'])} at {number(row[name])}" for row in front[:8])
    label = f"{where}, validation {metric} against {x.label}; the front: {words}"
    chart = Chart(where, x, Axis(f"validation {metric}"), series, [level])
    return findings.draw(chart, label), len(behind) - len(drawn)


def _objective_label(findings: Findings, name: str, thousand: bool) -> str:
    runs = "1,000 runs" if thousand else "a run"
    return {
        "latency": "latency (ms to answer a sequence)",
        "memory": "peak memory (GiB)",
        "parameters": "trainable numbers",
        "cost": f"cost of {runs} (USD)" if findings.is_priced else "duration of a run (s)",
    }[name]
