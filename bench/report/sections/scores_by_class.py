"""Scores by class: which classes are answered for which, and the ones that are never answered."""

from typing import NamedTuple

import pandas as pd

from bench.config.ids import CellId
from bench.report.figures import Matrix
from bench.report.page import Block, Findings, Note, Panels, Section, Table
from bench.results.answers import questions
from bench.results.cell_runs import CellRuns, best_baseline, by_cell
from bench.results.classes import ClassCounts
from bench.results.record import RunRecord
from bench.wording import bare, count, enumeration, score, shortened

MOST_DRAWN = 20  # classes of a matrix that can be read
MOST_PAIRS = 15  # of the table of confusions

CAPTION = (
    "Confusion on the test split, all seeds of a model together. A row is a true class, a column an answer; the number "
    "is the count, and the shade its share of the row. The diagonal is right."
)
NOTE = (
    "Precision is the share of the answers of a class that are right, and recall the share of its examples that are "
    "found. F1 is their harmonic mean. Support is the number of its examples in the test split. Macro F1 and balanced "
    "accuracy give every class the same weight, so they show what accuracy hides if classes are of unequal size."
)


class Rated(NamedTuple):
    """A row of the leaderboard, with its counts by class."""

    model: str  # a cheap baseline is in brackets
    counts: ClassCounts
    runs: int  # that the counts are the sum of


def make(findings: Findings) -> Section:
    title = "Scores by class"
    cells = by_cell(findings.runs, findings.spec["top_k"])
    blocks: list[Block] = []
    for where, group in questions(findings.board):
        dataset, length = group.iloc[0][["dataset", "length"]]
        models = _models(group, cells)
        shown = [*models[:1], *_cheap(findings.runs, dataset, length)]
        if not shown:
            continue
        blocks += _never_predicted(where, models)
        blocks += _matrices(findings, where, shown)
        blocks.append(_table(where, shown))
        if len(shown[0].counts.names) > MOST_DRAWN:
            blocks.append(_pairs(where, shown[0]))
    return Section("classes", title, [*blocks, Note(NOTE)] if blocks else [])


def _models(group: pd.DataFrame, cells: dict[CellId, CellRuns]) -> list[Rated]:
    """Return the ranked models of a question, best first, with the counts of all their seeds."""
    rated = []
    for row in group[group["rank"].notna()].itertuples():
        runs = cells.get(CellId(row.dataset, row.length, row.model))
        if runs is not None and runs.classes:
            rated.append(Rated(bare(row.model), runs.classes, sum(run.test is not None for run in runs.confirmed)))
    return rated


def _cheap(runs: list[RunRecord], dataset: str, length: int) -> list[Rated]:
    """Return the cheap baseline that is best on validation, if there is one with counts by class."""
    for run in runs:
        if run.config.phase == "baselines" and (run.config.dataset, run.config.length) == (dataset, length):
            name = best_baseline(run)
            counts = run.fitted[name].classes if name else None
            if name and counts:
                return [Rated(f"({run.fitted[name].title})", counts, 1)]
    return []


def _never_predicted(where: str, rated: list[Rated]) -> list[Block]:
    """Return a warning that names the classes that models never predict."""
    parts = []
    for model, counts, _ in rated:
        if names := counts.never_predicted:
            occurring = sum(support > 0 for support in counts.support)
            named = enumeration([shortened(name) for name in names[:5]] + ["others"] * (len(names) > 5))
            parts.append(
                f"{model.strip('()')} never predicts {len(names)} of {count(occurring, 'class', 'classes')} ({named})"
            )
    return [Note(f"{where}: {'; '.join(dict.fromkeys(parts))}.", "warning")] if parts else []


def _matrices(findings: Findings, where: str, shown: list[Rated]) -> list[Block]:
    drawings = []
    for model, counts, _ in shown:
        matrix = counts.matrix()
        if matrix is None or len(counts.names) > MOST_DRAWN:
            continue
        right = sum(counts.correct)
        label = f"{where}, confusion of {model.strip('()')}: {right:,} of {sum(counts.support):,} answers are right"
        chart = Matrix(
            f"{where}: {model.strip('()')}", model, [shortened(name, 14) for name in counts.names], matrix.tolist()
        )
        drawings.append(findings.draw(chart, label))
    return [Panels(drawings, CAPTION)] if drawings else []


def _table(where: str, shown: list[Rated]) -> Table:
    head = ["class", "support"]
    for model, _, _ in shown:
        head += [f"{model.strip('()')} {name}" for name in ("precision", "recall", "F1")]
    counts = [row.counts for row in shown]
    cells = []
    for place, name in enumerate(counts[0].names):
        if any(part.support[place] or part.predicted[place] for part in counts):
            support = counts[0].support[place] // shown[0].runs
            values = [score(value[place]) for part in counts for value in (part.precision, part.recall, part.f1)]
            cells.append([shortened(name, 40), f"{support:,}", *values])
    return Table(f"{where}: scores by class on the test split", head, cells).folded()


def _pairs(where: str, rated: Rated) -> Table:
    names, support = rated.counts.names, rated.counts.support
    cells = [
        [shortened(names[target], 40), shortened(names[answer], 40), f"{number:,}", f"{number / support[target]:.0%}"]
        for target, answer, number in rated.counts.confused[:MOST_PAIRS]
    ]
    caption = f"{where}: what {rated.model.strip('()')} confuses most often, all seeds together"
    return Table(caption, ["class", "answered as", "count", "share of the class"], cells)
