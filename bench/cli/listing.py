"""The command `list`: what there is to choose from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bench.cli.options import JSON, RESULTS

Rows = list[dict[str, Any]]


def _models(results: Path) -> Rows:
    from bench.config import plugins, search_spaces
    from bench.config.sections import KINDS

    rows = []
    for name in sorted(plugins.declarations("search_spaces")):
        spaces = [search_spaces.read(name, kind=kind) for kind in KINDS]
        tuned = dict.fromkeys(knob for space in spaces for knob in space.tuned)
        rows.append({"name": name, "title": spaces[0].title, "tuned": ", ".join(tuned)})
    return rows


def _datasets(results: Path) -> Rows:
    from bench.config import datasets, plugins
    from bench.data import fetch

    cards = [datasets.read(name) for name in sorted(plugins.declarations("datasets"))]
    return [
        {
            "name": card.name,
            "title": card.title,
            "lengths": " ".join(map(str, card.lengths)),
            "here": "yes" if fetch.is_here(card) else "fetch it",
            "task": card.task,
            "size": f"{sum(file.size_bytes for file in card.files) / 1e6:.1f} MB" if card.files else "",
            "licence": card.licence,
            "kind": card.kind,
        }
        for card in cards
    ]


def _budgets(results: Path) -> Rows:
    from bench.config.budgets import BUDGETS

    shown = ("trials", "top_k", "confirm_seeds", "max_sequences", "passes", "language_passes", "min_steps", "max_steps")
    return [
        {"name": name, **{key: f"{getattr(budget, key):g}" for key in shown}, "title": budget.title}
        for name, budget in BUDGETS.items()
    ]


def _metrics(results: Path) -> Rows:
    from bench.config.measures import MEASURES
    from bench.results.metrics import METRICS

    use = {True: "Selects with --metric.", False: "Of anomaly detection on the test split."}
    measures = [
        {"name": name, "unit": known.unit, "goal": known.goal, "title": f"{known.title} {use[known.selects]}"}
        for name, known in MEASURES.items()
    ]
    return measures + [
        {"name": name, "unit": metric.unit, "goal": metric.goal, "title": metric.title}
        for name, metric in METRICS.items()
    ]


def _prices(results: Path) -> Rows:
    from bench.config import prices

    return [
        {
            "name": name,
            "USD/h": f"{price.usd_per_hour:g}",
            "read": str(price.read),
            "hardware": price.hardware,
            "region": price.region,
            "source": price.source,
            "note": price.note or "",
        }
        for name, price in prices.read().items()
    ]


def _grids(results: Path) -> Rows:
    from bench.config import grids

    return [
        {
            "name": name,
            "gCO2/kWh": f"{grid.gco2_per_kwh:g}",
            "year": str(grid.year),
            "read": str(grid.read),
            "place": grid.place,
            "source": grid.source,
        }
        for name, grid in grids.read().items()
    ]


def _claims(results: Path) -> Rows:
    from bench.claims import declaration

    found = [declaration.read(name) for name in declaration.names()]
    return [{"name": claim.name, "title": claim.title, "question": claim.question} for claim in found]


def _sweeps(results: Path) -> Rows:
    from bench.results.record import read_spec

    folders = sorted(path.parent for path in (results / "sweeps").glob("*/sweep.json"))
    return [{"name": folder.name, "command": read_spec(folder)["command"]} for folder in folders]


LISTS: dict[str, Callable[[Path], Rows]] = {
    "models": _models,
    "datasets": _datasets,
    "budgets": _budgets,
    "metrics": _metrics,
    "prices": _prices,
    "grids": _grids,
    "claims": _claims,
    "sweeps": _sweeps,
}


@click.command("list")
@click.argument("kind", required=False, type=click.Choice(list(LISTS)), metavar=f"[{'|'.join(LISTS)}]")
@RESULTS
@JSON
def list_(kind: str | None, results: Path, as_json: bool) -> None:
    """List models, datasets, budgets, metrics, prices, grids, claims or sweeps.

    Without an argument, all of them are listed. A narrow terminal shows only the first columns; --json prints all.
    """
    rows = {name: LISTS[name](results) for name in ([kind] if kind else LISTS)}
    if as_json:
        click.echo(json.dumps(rows[kind] if kind else rows))
        return
    from bench.cli.screen import print_tables

    if kind and not rows[kind]:
        click.echo(f"no {kind} in {results}; run: python -m bench sweep", err=True)
    for title, entries in rows.items():
        if entries:
            print_tables({title: [list(entry.values()) for entry in entries]}, list(entries[0]))
