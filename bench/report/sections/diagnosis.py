"""Diagnosis: what `bench diagnose` found of gradients, gates and attention."""

from bench.report import diagnosis_charts
from bench.report.page import Findings, Note, Panels, Section, Table
from bench.results import diagnoses

LEAD = (
    "How gradients reach back, how open gates are, and how far attention looks, from the weights of the best confirm "
    "run."
)


def make(findings: Findings) -> Section:
    title, drawings, rows, models = "Diagnosis", [], [], []
    for name, table in diagnoses.read(findings.folder).items():
        models.append(diagnosis_charts.model_of(name))
        rows += [[name, line] for line in diagnoses.lines(table)]
        drawings += [findings.draw(chart, label) for chart, label in diagnosis_charts.charts(name, table)]
    if not rows:
        return Section("diagnosis", title)  # omitted: the command was not used
    return Section(
        "diagnosis",
        title,
        [
            Note(LEAD, "lead"),
            Table("What the networks do with the past", ["network", "finding"], rows),
            Panels(drawings, " ".join(diagnosis_charts.NOTES), findings.legend(models)),
        ],
    )
