"""Score beyond the training length: models of synthetic tasks, trained short and tested long."""

import statistics
from collections.abc import Sequence

from bench.config.ids import CellId
from bench.report.figures import Axis, Chart, Level, Series
from bench.report.page import Block, Findings, Note, Panels, Section, Table, sparse
from bench.results.answers import questions
from bench.results.cell_runs import CellRuns, by_cell
from bench.wording import bare, score

CAPTION = (
    "Each model was trained at one length and tested with the same weights at others. Points are the mean over the "
    "confirm runs, and bands reach from the worst of them to the best. The thin grey line is chance."
)
NOTE = (
    "The training length of parity, cycle_navigation and mod_arithmetic is the longest in training, and the score by "
    "length above is that of longer sequences; here all sequences of a point have the same length. Nothing is chosen "
    "by these scores."
)


def make(findings: Findings) -> Section:
    cells = by_cell(findings.runs, findings.spec["top_k"])
    blocks: list[Block] = []
    drawings, models = [], []
    for where, group in questions(findings.board):
        names = [CellId(row.dataset, row.length, row.model) for row in group[group["rank"].notna()].itertuples()]
        tested = [cells[name] for name in names if cells[name].by_length]
        if tested:
            metric = tested[0].records[0].asked.metric
            drawings.append(findings.draw(_chart(where, metric, tested), _label(where, metric, tested)))
            models += [_model(runs) for runs in tested]
            blocks.append(_table(where, metric, tested))
    if not drawings:
        return Section("beyond", "Score beyond the training length")
    panels = Panels(drawings, CAPTION, findings.legend(models))
    return Section("beyond", "Score beyond the training length", [panels, *blocks, Note(NOTE)])


def _model(runs: CellRuns) -> str:
    return runs.records[0].config.space


def _chart(where: str, metric: str, tested: Sequence[CellRuns]) -> Chart:
    lengths = sorted({length for runs in tested for length in runs.by_length})
    series = [
        Series(
            _model(runs),
            list(runs.by_length),
            [statistics.fmean(values) for values in runs.by_length.values()],
            [min(values) for values in runs.by_length.values()],
            [max(values) for values in runs.by_length.values()],
            band=True,
        )
        for runs in tested
    ]
    x = Axis("test length", log=True, ticks=[(length, f"{length:,}") for length in sparse(lengths)])
    chance = tested[0].records[0].asked.chance
    levels = [Level("chance", [lengths[0], lengths[-1]], [chance, chance])]
    return Chart(where, x, Axis(f"test {metric}"), series, levels)


def _label(where: str, metric: str, tested: Sequence[CellRuns]) -> str:
    words = [
        f"{bare(_model(runs))} "
        + ", ".join(f"{score(statistics.fmean(values))} at {length:,}" for length, values in runs.by_length.items())
        for runs in tested
    ]
    return f"{where}, test {metric} by test length: {'; '.join(words)}"


def _table(where: str, metric: str, tested: Sequence[CellRuns]) -> Table:
    lengths = sorted({length for runs in tested for length in runs.by_length})
    rows = [[bare(_model(runs)), *(_cell(runs.by_length.get(length, [])) for length in lengths)] for runs in tested]
    head = ["model", *(f"at {length:,}" for length in lengths)]
    return Table(f"{where}: test {metric}, mean (worst to best)", head, rows).folded()


def _cell(values: Sequence[float]) -> str:
    if len(values) < 2:
        return score(values[0]) if values else ""
    return f"{score(statistics.fmean(values))} ({score(min(values))} to {score(max(values))})"
