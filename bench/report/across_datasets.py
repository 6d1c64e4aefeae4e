"""The page that compares models across the datasets of many sweeps."""

import math
from collections.abc import Mapping

import pandas as pd

from bench.report import figures, page, palette
from bench.report.figures import Axis, Chart, Series
from bench.report.page import Block, Drawing, Note, Panels, Section, Table
from bench.results import across
from bench.results.across import CHEAP, COSTS, Standing
from bench.results.stats import ALPHA
from bench.wording import DASH, count, enumeration, percent

PROFILE = [step / 50 for step in range(51)]  # gaps at which profiles are drawn
SHOWN_PAIRS = 24
FEW = "Fewer than six datasets: no test can show a difference between two models."


def render(boards: Mapping[str, pd.DataFrame], kinds: Mapping[str, str]) -> str:
    """Return the page as HTML: `boards` are leaderboards by sweep, `kinds` says of each dataset what it asks."""
    board = pd.concat(boards.values(), ignore_index=True)
    results = across.results_of(board)
    others = sorted(set(results["model"]) - palette.PALETTE.keys())
    datasets = results["dataset"].nunique()
    sections = [
        _ranks(results, others),
        _by_kind(results, kinds),
        _pairs(results),
        _profiles(results, others),
        _costs(results, others),
        _how_to_read(),
    ]
    return page.html(
        name="Models across datasets",
        title="Models across datasets",
        subtitle=f"{count(datasets, 'dataset')}, {count(len(boards), 'sweep')}",
        facts=[("Sweeps", ", ".join(boards)), ("Datasets", ", ".join(results["dataset"].unique()))],
        summaries=[],
        answers=[("all datasets", across.sentence(results)), *_answers(results, kinds)],
        warnings=[]
        if datasets >= 6
        else ["Fewer than six datasets: no test can show a difference between two models."],
        sections=sections,
        footer=f"Written by python -m bench compare from the records of {count(len(boards), 'sweep')}.",
    )


def _answers(results: pd.DataFrame, kinds: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what each kind of data says by itself, if there are several kinds."""
    parts = _kinds(results, kinds)
    return [(kind, across.sentence(part)) for kind, part in parts.items()] if len(parts) > 1 else []


def _kinds(results: pd.DataFrame, kinds: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    return {str(kind): part for kind, part in results.groupby(results["dataset"].map(kinds), sort=True)}


def _rank_cells(row: Standing) -> list[str]:
    interval = DASH if math.isnan(row.rank_low) else f"{row.rank_low:.1f} to {row.rank_high:.1f}"
    dropped = str(row.num_dropped) if row.num_dropped else DASH
    return [
        row.model, str(row.num_datasets), f"{row.rank:.2f}", interval, percent(row.wins), f"{row.gap:.2f}", dropped,
    ]  # fmt: skip


HEAD = ["model", "datasets", "average rank", "95 % interval", "wins", "gap", "dropped"]


def _ranks(results: pd.DataFrame, others: list[str]) -> Section:
    rows = across.standings(results)
    blocks: list[Block] = [Table("Models", HEAD, [_rank_cells(row) for row in rows]).filled()]
    test = across.friedman(results)
    if test is not None:
        p, models, datasets = test
        finding = "at least one model differs" if p <= ALPHA else "no difference between models is shown"
        text = f"Friedman's test of {models} models on {datasets} datasets: p = {p:.2g}; {finding}."
        blocks.append(Note(text))
    known = [row for row in rows if not math.isnan(row.rank_low)]
    if known:
        place = {row.model: index for index, row in enumerate(known)}
        series = [Series(r.model, [r.rank], [place[r.model]], [r.rank_low], [r.rank_high], line="") for r in known]
        ticks = [(float(index), row.model) for index, row in enumerate(known)]
        chart = Chart("Average rank", Axis("rank, 1 is best"), Axis("", ticks=ticks), series, rows=True)
        label = "average rank of each model with its 95 % interval"
        blocks.append(Panels([Drawing(figures.svg(chart, others), label)], "Lines are 95 % intervals over datasets."))
    return Section("ranks", "Ranks, wins and gaps", blocks)


def _by_kind(results: pd.DataFrame, kinds: Mapping[str, str]) -> Section:
    parts = _kinds(results, kinds)
    tables = [
        Table(f"{kind}: {count(part['dataset'].nunique(), 'dataset')}", HEAD,
              [_rank_cells(row) for row in across.standings(part)]).filled()
        for kind, part in parts.items()
    ]  # fmt: skip
    return Section("kinds", "By kind of data", tables if len(parts) > 1 else [])


def _pairs(results: pd.DataFrame) -> Section:
    found = across.pairs(results)
    rows = [
        [pair.better, pair.worse, str(pair.num_datasets), f"{pair.wins} to {pair.losses}",
         DASH if math.isnan(pair.p) else f"{pair.p:.3f}", "yes" if pair.is_shown else "no"]
        for pair in found
    ]  # fmt: skip
    head = ["better", "worse", "datasets", "datasets won", "p", "shown"]
    note = Note(
        "Wilcoxon's signed-rank test of the gaps, a dataset at a time; p is corrected for the number of pairs by the "
        "method of Holm. With fewer than six datasets no p can be below .05, and none is computed."
    )
    return Section("pairs", "Pairs of models", [Table("Pairs", head, rows, is_folded=len(rows) > SHOWN_PAIRS), note])


def _profiles(results: pd.DataFrame, others: list[str]) -> Section:
    models = [row.model for row in across.standings(results)]
    series = [Series(m, PROFILE, across.profile(results, m, PROFILE), points="") for m in models]
    chart = Chart(
        "Performance profile",
        Axis("gap, 0 is the best score of a dataset"),
        Axis("share of datasets within it", limits=(0.0, 1.05)),
        series,
    )
    caption = "The higher a line, the more datasets a model is near the best on."
    drawing = Drawing(figures.svg(chart, others), "share of datasets by gap, for each model")
    return Section("profiles", "Performance profiles", [Panels([drawing], caption, palette.legend(models, others))])


def _costs(results: pd.DataFrame, others: list[str]) -> Section:
    rows = [row for row in across.standings(results) if row.model != CHEAP]
    drawings = []
    for name, title in COSTS.items():
        known = [(row, cost) for row in rows if (cost := row.costs[name]) is not None]
        if len(known) > 1:
            series = [Series(row.model, [cost], [row.gap], line="", tag=row.model) for row, cost in known]
            x = Axis(f"{title}, times that of the cheapest", log=True)
            chart = Chart(f"Score against {title}", x, Axis("gap"), series)
            front = _front([(cost, row.gap, row.model) for row, cost in known])
            label = f"gap against {title}; no other model is better in both than {enumeration(front)}"
            drawings.append(Drawing(figures.svg(chart, others), label))
    if not drawings:
        return Section("costs", "Score against cost", reason="no two models have a cost measured undisturbed.")
    caption = "Better is down and to the left. Costs are geometric means of ratios within a dataset and length."
    return Section("costs", "Score against cost", [Panels(drawings, caption)])


def _front(points: list[tuple[float, float, str]]) -> list[str]:
    """Return the names of points (cost, gap, name) that no other is better than in both."""
    return [
        name
        for cost, gap, name in sorted(points)
        if not any((c <= cost and g <= gap) and (c, g) != (cost, gap) for c, g, _ in points)
    ]


def _how_to_read() -> Section:
    pairs = [
        ("Dataset", "One block of every average and test. Its lengths and sweeps are averaged first."),
        ("Rank", "The place of a model's test score within a question; equal scores share a place."),
        ("Dropped", "Questions for which successive halving dropped the model: it shares the last places there."),
        ("Wins", "Share of the comparisons with other models, over datasets, that the model wins; ties count half."),
        ("Gap", "Distance to the best score of a question, as a share of that of the best constant answer to it; "
                "if no constant answer was scored, of the worst model."),
        (CHEAP, "The cheap baseline that has the best validation score on a question."),
        ("Interval", "95 % over datasets: Student's t below 20 datasets, bootstrap (BCa) from 20 on. They are the "
                     "datasets of these sweeps, not a sample of all data."),
    ]  # fmt: skip
    return Section("reading", "How to read this page", [page.Listing(pairs)])
