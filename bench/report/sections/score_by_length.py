"""Score by length: on the test split, with intervals, chance and cheap baselines."""

from typing import Any

import pandas as pd

from bench.report.figures import Axis, Chart, Level, Series
from bench.report.page import Block, Findings, Note, Panels, Section, Table, by_model, rows_of, sparse, subject
from bench.results import tables
from bench.results.leaderboard import Status
from bench.wording import DASH, as_float, bare, enumeration, is_known, score, shortened

Rows = list[dict[str, Any]]

CAPTION = (
    "Points are models on the test split, and bars are 95 % intervals; models whose intervals overlap widely are "
    "usually tied. For a task that can be solved, the interval is of the share of seeds that solve it, and the median "
    "score has none. Thin grey lines are cheap baselines and chance."
)
NOTE = (
    "Models that are statistically tied share a rank. Names in brackets are cheap baselines, fitted once without a "
    "seed, and chance: compare their score with the interval of a model. Train s is the time of a training run, or of "
    "the whole fit of a baseline with all settings it tries. Device seconds are the total cost of a row, failed "
    "runs included."
)


def make(findings: Findings) -> Section:
    ranked = findings.board[findings.board["rank"].notna()]
    drawings = [findings.draw(chart, label) for chart, label in charts(findings.board)]
    blocks: list[Block] = []
    if ranked.empty:
        blocks.append(Note("No model has been confirmed yet, so there is no chart."))
    if drawings:
        blocks.append(Panels(drawings, CAPTION, findings.legend(ranked["model"])))
    by_heading = tables.for_people(findings.board)
    for heading, cells in by_heading.items():
        rows_of_text = [[cell or DASH for cell in row] for row in cells]
        table = Table(heading, list(tables.SHOWN.values()), rows_of_text, is_folded=len(by_heading) > 8)
        blocks.append(table.filled())
    return Section("scores", "Score by length", [*blocks, Note(NOTE)])


def charts(board: pd.DataFrame) -> list[tuple[Chart, str]]:
    """Return the charts of a leaderboard, each with a label that says what it shows.

    A dataset has a chart of the scores, after that of the share of seeds that solve if the task can be solved.
    """
    pairs = []
    for (dataset, match), group in board.groupby(["dataset", "match"], sort=False, dropna=False):
        rows = rows_of(group[group["rank"].notna()])
        cheap = rows_of(group[(group["status"] == Status.BASELINE) & group["score"].notna()])
        if rows:
            pairs += _charts(subject(dataset, match), rows, cheap)
    return pairs


def _charts(title: str, rows: Rows, cheap: Rows) -> list[tuple[Chart, str]]:
    pairs = []
    can_be_solved = any(is_known(row["solved"]) for row in rows)
    if can_be_solved:
        shares = [row | {"value": row["solved"] / row["num_seeds"]} for row in rows]
        pairs.append(_chart(title, shares, [], Axis("share of seeds that solve", limits=(-0.04, 1.04))))
    scored = [row | {"value": row["score"]} for row in rows if is_known(row["score"])]
    if can_be_solved:
        scored = [row | {"ci_low": None, "ci_high": None} for row in scored]
    if scored:
        pairs.append(_chart(title, scored, cheap, Axis(f"{scored[0]['score_is']} test {scored[0]['metric']}")))
    return pairs


def _chart(title: str, rows: Rows, cheap: Rows, axis: Axis) -> tuple[Chart, str]:
    """Return a chart of values over lengths, or with one row a model if there is only one length, and its label."""
    lengths = sorted({int(row["length"]) for row in rows})
    models = by_model(sorted(rows, key=lambda row: row["length"]))
    words = "; ".join(f"{bare(model)} {', '.join(score(row['value']) for row in mine)}" for model, mine in models)
    label = f"{title}, {axis.label}, at {enumeration(map(str, lengths))}: {words}"
    if len(lengths) == 1:
        return _rows_chart(f"{title} at {lengths[0]}", models, cheap, axis), label
    series = [
        Series(model, [r["length"] for r in mine], _values(mine, "value"), *_ends(mine)) for model, mine in models
    ]
    at_lengths = sorted((row for row in cheap if row["length"] in lengths), key=lambda row: row["length"])
    levels = [
        Level(name.strip("()"), [row["length"] for row in mine], _values(mine, "score"))
        for name, mine in by_model(at_lengths)
    ]
    x = Axis("length", log=True, ticks=[(length, f"{length:,}") for length in sparse(lengths)])
    return Chart(title, x, axis, series, levels, dodge=any(line.low for line in series)), label


def _rows_chart(title: str, models: list[tuple[str, Rows]], cheap: Rows, axis: Axis) -> Chart:
    names = [(float(index), bare(model)) for index, (model, _) in enumerate(models)]
    names += [(float(len(models) + index), shortened(row["model"].strip("()"))) for index, row in enumerate(cheap)]
    series = [
        Series(model, _values(mine, "value"), [float(index)], *_ends(mine), line="")
        for index, (model, mine) in enumerate(models)
    ]
    levels = [
        Level(row["model"].strip("()"), [float(row["score"])] * 2, [-0.5, len(models) + index + 0.2])
        for index, row in enumerate(cheap)
    ]
    return Chart(title, axis, Axis("", ticks=names), series, levels, rows=True)


def _values(rows: Rows, name: str) -> list[float]:
    return [as_float(row[name]) for row in rows]


def _ends(rows: Rows) -> tuple[list[float], list[float]]:
    """Return the ends of the intervals; empty if no row has one."""
    if not any(is_known(row["ci_low"]) for row in rows):
        return [], []
    return _values(rows, "ci_low"), _values(rows, "ci_high")
