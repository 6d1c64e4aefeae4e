"""Diagnosis: what `bench diagnose` found of gradients, gates and attention."""

import pandas as pd

from bench.report.figures import Axis, Chart, Level, Series
from bench.report.page import Drawing, Findings, Note, Panels, Section, Table
from bench.results import diagnoses

LEAST = 1e-30  # of a norm on a logarithmic axis
LEAD = (
    "How gradients reach back, how open gates are, and how far attention looks, from the weights of the best confirm "
    "run."
)
GRADIENTS = ("gradient of the state", "gradient of the input")


def make(findings: Findings) -> Section:
    title, drawings, rows, models = "Diagnosis", [], [], []
    for name, table in diagnoses.read(findings.folder).items():
        model = name.partition("-L")[2].partition("-")[2]
        models.append(model)
        rows += [[name, line] for line in diagnoses.lines(table)]
        for quantity in GRADIENTS:
            drawings += _gradients(findings, name, model, table[table["quantity"] == quantity], quantity)
        drawings += _by_step(findings, name, model, table)
    if not rows:
        return Section("diagnosis", title)  # omitted: the command was not used
    caption = (
        "Gradients: norm of the gradient of the last loss by how many steps back, before training (dashed) and after "
        "it (solid). Gates: mean over units at each step after training, with the range of the units."
    )
    return Section(
        "diagnosis",
        title,
        [
            Note(LEAD, "lead"),
            Table("What the networks do with the past", ["network", "finding"], rows),
            Panels(drawings, caption, findings.legend(models)),
        ],
    )


def _gradients(findings: Findings, name: str, model: str, table: pd.DataFrame, quantity: str) -> list[Drawing]:
    """Return the chart of a gradient by lag, before and after training."""
    series = []
    for at in ("start", "end"):
        own = table[(table["at"] == at) & (table["part"] == "") & (table["mean"] > LEAST)]
        if len(own):
            x, y = own["step"].tolist(), own["mean"].tolist()
            series.append(Series(model, x, y, line="dashed" if at == "start" else "line", points=""))
    if not series:
        return []
    chart = Chart(name, Axis("steps back"), Axis(f"{quantity}, norm", log=True), series)
    return [findings.draw(chart, f"{name}: {quantity} by lag; {_half_lives(table)}")]


def _half_lives(table: pd.DataFrame) -> str:
    lives = table[table["part"] == "half-life"]
    return ", ".join(f"half-life at the {row.at} {row.mean:.3g} steps" for row in lives.itertuples())


def _by_step(findings: Findings, name: str, model: str, table: pd.DataFrame) -> list[Drawing]:
    """Return a chart for each gate and layer after training."""
    drawings = []
    end = table[(table["at"] == "end") & table["quantity"].str.endswith(" gate")]
    for (gate, layer), own in end.groupby(["quantity", "part"], sort=False):
        steps, mean = own["step"].tolist(), own["mean"].tolist()
        series = Series(model, steps, mean, own["low"].tolist(), own["high"].tolist(), points="", band=True)
        half = Level("", [steps[0], steps[-1]], [0.5, 0.5])
        chart = Chart(f"{name}: {gate}, {layer}", Axis("step"), Axis("open", limits=(0.0, 1.0)), [series], [half])
        drawings.append(
            findings.draw(chart, f"{name}: {gate} of {layer} by step, {sum(mean) / len(mean):.0%} on average")
        )
    return drawings
