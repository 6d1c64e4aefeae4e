"""Default against tuned: what tuning gained on fresh seeds, and how lucky the choice was."""

import statistics
from typing import Any

from bench.report import evidence
from bench.report.figures import Axis, Chart, Series
from bench.report.page import (
    Block,
    Drawing,
    Findings,
    Note,
    Panels,
    Section,
    Table,
    by_question,
    question,
    question_of,
    rows_of,
)
from bench.wording import DASH, bare, count, interval, is_known, score, signed, whole

CAPTION = (
    "Hollow points are the default, and filled points the configuration that screening put first, both on the same "
    "fresh seeds, which screening has not used. The upright tick is the score with which it was picked. If the tick is "
    "better than the filled point, the pick was lucky."
)


def make(findings: Findings) -> Section:
    anchor, title = "tuning", "Default against tuned"
    frame = evidence.default_against_tuned(findings.runs, findings.spec["top_k"])
    if frame.empty:
        reason = "no cell has both its default and its tuned configuration confirmed on fresh seeds."
        return Section(anchor, title, reason=reason)
    rows = rows_of(frame)
    kept = sum(row["picked"] == 0 for row in rows)
    compared = [row for row in rows if row["picked"] != 0 and is_known(row["low"])]
    better, worse = sum(row["low"] > 0 for row in compared), sum(row["high"] < 0 for row in compared)
    lead = (
        f"Screening put the default configuration first in {kept} of {count(len(rows), 'cell')}. Tuning was "
        f"significantly better than the default in {better} and significantly worse in {worse}: there, the 95 % "
        "interval of the gain excludes zero."
    )
    blocks: list[Block] = [Note(lead, "lead")]
    drawings = [_drawing(findings, question(*key), mine) for key, mine in by_question(frame).items()]
    if drawings:
        blocks.append(Panels(drawings, CAPTION, findings.legend(frame["model"])))
    return Section(anchor, title, [*blocks, _table(rows), Note(_selection_bias(rows))])


def _drawing(findings: Findings, where: str, rows: list[dict[str, Any]]) -> Drawing:
    series: list[Series] = []
    for index, row in enumerate(rows):
        model, y = row["model"], [float(index)]
        series.append(Series(model, [row["default"], row["tuned"]], y * 2, points=""))
        if is_known(row["screened"]):
            series.append(Series(model, [row["screened"]], y, line="", points="tick"))
        series.append(Series(model, [row["default"]], y, line="", points="hollow"))
        series.append(Series(model, [row["tuned"]], y, line="", points="filled"))
    names = Axis("", ticks=[(float(index), bare(row["model"])) for index, row in enumerate(rows)])
    words = "; ".join(f"{bare(r['model'])} {score(r['default'])} to {score(r['tuned'])}" for r in rows)
    axis = Axis(f"mean validation {rows[0]['metric']} on fresh seeds")
    label = f"{where}, default to tuned, mean validation score on fresh seeds: {words}"
    return findings.draw(Chart(where, axis, names, series, rows=True), label)


def _table(rows: list[dict[str, Any]]) -> Table:
    solve = any(is_known(row["tuned_solved"]) for row in rows)  # otherwise the columns would be empty
    head = ["question", "model", "default", "tuned", "gain", "95 % interval", "seeds", "ensemble", "test"]
    head += ["test of ensemble"]
    head += ["default solved", "tuned solved"] * solve
    head += ["tuned is", "in screening", "drop", "chosen"]
    cells = [
        [
            question_of(row),
            row["model"],
            score(row["default"]),
            score(row["tuned"]),
            signed(row["gain"]) if row["picked"] else "0",
            interval(row["low"], row["high"]) if row["picked"] else DASH,
            str(row["seeds"]),
            score(row["ensemble"]),
            score(row["test"]),
            score(row["ensemble_test"]),
            *[whole(row["default_solved"]), whole(row["tuned_solved"])] * solve,
            f"t{row['picked']}" if row["picked"] else "default",
            score(row["screened"]),
            signed(row["drop"]),
            f"t{row['chosen']}" if row["chosen"] else "default",
        ]
        for row in rows
    ]
    caption = (
        "Mean validation scores on fresh seeds; a positive gain is an improvement. An ensemble averages the answers of "
        "all seeds of the chosen configuration; it is slower by the number of seeds, and `export --ensemble` writes it"
    )
    return Table(caption, head, cells).filled().folded()


def _selection_bias(rows: list[dict[str, Any]]) -> str:
    text = (
        "The best of several noisy scores overestimates the configuration (the winner's curse). It is therefore "
        "trained again on fresh seeds, and the best of the confirmed configurations is chosen in the end."
    )
    drops = [row["drop"] for row in rows if is_known(row["drop"])]
    if not drops:
        return text
    median, cells = statistics.median(drops), f"(median of {count(len(drops), 'cell')})"
    if abs(median) < 0.0005:
        return f"{text} Here, the configurations that screening put first scored the same on fresh seeds {cells}."
    change = f"{score(abs(median))} {'worse' if median > 0 else 'better'}"
    return f"{text} Here, the configurations that screening put first scored {change} on fresh seeds {cells}."
