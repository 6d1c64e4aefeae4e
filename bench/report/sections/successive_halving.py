"""Successive halving: which configurations a sweep with a budget of time dropped, when, at what score and cost."""

import math
from typing import Any

import pandas as pd

from bench.report import evidence
from bench.report.page import Block, Findings, Note, Section, Table, question_of, rows_of
from bench.wording import count, duration, is_known, score

METHOD = (
    "All configurations of a bracket begin with 1/27 of a run. A third of them continues to 1/9, a third of these to "
    "1/3, and at least three to the end; every model keeps at least one after the first stretch. Scores are compared "
    "at equal numbers of validations, on one seed. A score after a part of a run is lower than what the whole run "
    "would have reached, so it does not show that a dropped model is worse than one that was trained in full."
)


def make(findings: Findings) -> Section:
    anchor, title = "halving", "Successive halving"
    frame = evidence.halving(findings.runs)
    if frame.empty:
        return Section(anchor, title)
    rows = rows_of(frame)
    dropped = [row for row in rows if row["state"] == "dropped"]
    ended = [row for row in rows if row["state"] == "complete"]
    lead = (
        f"Of {count(len(rows), 'configuration')}, {len(dropped):,} did not run to the end, which took "
        f"{duration(sum(row['device_seconds'] for row in dropped))} of device time; the {len(ended):,} that did took "
        f"{duration(sum(row['device_seconds'] for row in ended))}."
    )
    blocks: list[Block] = [Note(lead, "lead"), _by_model(frame), _by_trial(rows), Note(METHOD)]
    return Section(anchor, title, blocks)


def part(share: float) -> str:
    """Return a share of a run in words: `1/9 of a run`."""
    return "a whole run" if share >= 0.99 else f"1/{round(1 / share)} of a run"


def _by_model(frame: pd.DataFrame) -> Table:
    """Return how far each model came in each bracket."""
    rows = []
    for _, group in frame.groupby(["dataset", "length", "bracket", "model"], sort=False):
        known = group[group["state"].isin(("complete", "dropped"))]
        first = rows_of(group)[0]
        cells = [question_of(first), str(first["bracket"] + 1), first["model"], f"{len(group):,}"]
        if known.empty:
            rows.append([*cells, "all failed", "", duration(group["device_seconds"].sum())])
            continue
        farthest = known["share"].max()
        best = known[known["share"] == farthest]
        sign = 1 if _is_maximized(best) else -1
        value = (sign * best["score"]).max() * sign
        rows.append(
            [*cells, part(farthest), f"{score(value)} {first['metric']}", duration(group["device_seconds"].sum())]
        )
    head = ["question", "bracket", "model", "configurations", "came to", "best validation score there", "device time"]
    return Table("How far each model came", head, rows)


def _is_maximized(rows: pd.DataFrame) -> bool:
    return bool((rows["goal"] == "maximize").all())


def _by_trial(rows: list[dict[str, Any]]) -> Table:
    cells = [
        [
            question_of(row),
            str(row["bracket"] + 1),
            f"{row['model']} t{row['trial']}",
            row["origin"],
            row["state"].replace("_", " ") + (f" after {part(row['share'])}" if row["state"] == "dropped" else ""),
            score(row["score"] if is_known(row["score"]) else math.nan),
            duration(row["device_seconds"]),
        ]
        for row in rows
    ]
    head = ["question", "bracket", "trial", "drawn by", "outcome", "validation score", "device time"]
    return Table("Every configuration, those that were dropped first", head, cells).folded()
