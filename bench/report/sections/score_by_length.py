"""Score by length: on the test split, with intervals, chance and cheap baselines."""

from typing import Any

import pandas as pd

from bench.report.figures import Axis, Chart, Level, Series
from bench.report.page import Block, Drawing, Findings, Note, Panels, Section, Table, rows_of, sparse
from bench.results import tables
from bench.results.leaderboard import Status
from bench.wording import DASH, as_float, bare, enumeration, is_known, score, shortened


def make(findings: Findings) -> Section:
    blocks: list[Block] = []
    ranked = findings.board[findings.board["rank"].notna()]
    if ranked.empty:
        blocks.append(Note("No model has been confirmed yet, so there is nothing to draw."))
    drawings: list[Drawing] = []
    levels = False
    for (dataset, match), group in findings.board.groupby(["dataset", "match"], sort=False, dropna=False):
        rows = rows_of(group[group["rank"].notna()])
        floors = rows_of(group[group["status"] == Status.BASELINE])
        if not rows:
            continue
        title = dataset + ("" if pd.isna(match) else f" with {match}")
        metric = str(rows[0]["metric"])
        if any(is_known(row["solved"]) for row in rows):
            shares = [row | {"value": row["solved"] / row["num_seeds"]} for row in rows]
            axis = Axis("share of seeds that solve", limits=(-0.04, 1.04))
            drawings.append(_score_chart(findings, title, shares, [], axis, with_interval=True))
        scored = [row | {"value": row["score"]} for row in rows if is_known(row["score"])]
        if scored:
            kind = f"{scored[0]['score_is']} test {metric}"
            with_interval = not is_known(scored[0]["solved"])
            axis = Axis(kind)
            drawings.append(_score_chart(findings, title, scored, floors, axis, with_interval))
            levels = True
    if drawings:
        caption = (
            "Points are models on the test split; bars are 95 % intervals, and where they overlap much the models are "
            "not told apart. For a task that is solved or not, the interval is of the share of seeds that solve it, "
            "and the median score beside it has none."
        )
        if levels:
            caption += " Thin grey lines are cheap baselines and chance: what lies at them has learned nothing."
        blocks.append(Panels(drawings, caption, findings.legend(ranked["model"])))
    shown_tables = tables.for_people(findings.board)
    for heading, cells in shown_tables.items():
        shown = [[cell or DASH for cell in row] for row in cells]
        blocks.append(Table(heading, list(tables.SHOWN.values()), shown, is_folded=len(shown_tables) > 8).filled())
    if shown_tables:
        blocks.append(
            Note(
                "Models that the seeds cannot tell apart share a rank. Names in brackets are cheap baselines and "
                "chance: they have a score and no more. Device seconds are the whole bill of a row, with what failed."
            )
        )
    return Section("scores", "Score by length", blocks)


def _score_chart(
    findings: Findings,
    title: str,
    rows: list[dict[str, Any]],
    floors: list[dict[str, Any]],
    axis: Axis,
    with_interval: bool,
) -> Drawing:
    """Return a score over lengths, or, for a single length, a row a model."""
    lengths = sorted({int(row["length"]) for row in rows})
    models: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["length"]):
        models.setdefault(row["model"], []).append(row)
    words = "; ".join(f"{bare(m)} {', '.join(score(row['value']) for row in mine)}" for m, mine in models.items())
    label = f"{title}, {axis.label}, at {enumeration(map(str, lengths))}: {words}"

    def ends(mine: list[dict[str, Any]], name: str) -> list[float]:
        return [as_float(row[name]) for row in mine] if with_interval else []

    if len(lengths) == 1:
        names = [(float(i), bare(model)) for i, model in enumerate(models)]
        bottom = [(row["model"].strip("()"), float(row["score"])) for row in floors if is_known(row["score"])]
        names += [(float(len(models) + i), shortened(name)) for i, (name, _) in enumerate(bottom)]
        rows_axis = Axis("", ticks=names)
        series = [
            Series(
                model,
                [as_float(r["value"]) for r in mine],
                [float(i)],
                ends(mine, "ci_low"),
                ends(mine, "ci_high"),
                "",
            )
            for i, (model, mine) in enumerate(models.items())
        ]
        levels = [Level(name, [at, at], [-0.5, len(models) + i + 0.2]) for i, (name, at) in enumerate(bottom)]
        return findings.draw(Chart(f"{title} at {lengths[0]}", axis, rows_axis, series, levels, rows=True), label)
    series = [
        Series(model, [r["length"] for r in mine], [as_float(r["value"]) for r in mine], ends(mine, "ci_low"),
               ends(mine, "ci_high"))
        for model, mine in models.items()
    ]  # fmt: skip
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(floors, key=lambda row: row["length"]):
        if row["length"] in lengths and is_known(row["score"]):
            by_name.setdefault(row["model"], []).append(row)
    levels = [
        Level(name.strip("()"), [row["length"] for row in mine], [float(row["score"]) for row in mine])
        for name, mine in by_name.items()
    ]
    x = Axis("length", log=True, ticks=[(length, f"{length:,}") for length in sparse(lengths)])
    return findings.draw(Chart(title, x, axis, series, levels, dodge=with_interval), label)
