"""Learning curves: how loss and score changed with the training steps of the chosen configurations."""

from bench.config.ids import CellId
from bench.report.figures import Axis, Chart, Series
from bench.report.page import Drawing, Findings, Note, Panels, Section
from bench.results.answers import questions
from bench.results.cell_runs import by_cell
from bench.results.record import RunRecord
from bench.results.selection import quality
from bench.wording import bare, number, score

MOST_MODELS = 3  # of a question; more lines hide each other

CAPTION = (
    "Chosen configurations of the best ranked models, each by the confirm run that is best on validation. Loss: dashed "
    "on the training batches since the last validation, with dropout; solid on validation. A solid line that rises "
    "while the dashed one falls is overfitting; lines that still fall at the end show that more steps could help."
)


def make(findings: Findings) -> Section:
    title = "Learning curves"
    cells = by_cell(findings.runs, findings.spec["top_k"])
    drawings: list[Drawing] = []
    models: list[str] = []
    for where, group in questions(findings.board):
        records = []
        for row in group[group["rank"].notna()][:MOST_MODELS].itertuples():
            runs = cells[CellId(row.dataset, row.length, row.model)]
            complete = [run for run in runs.confirmed if run.state == "complete" and run.val_score is not None]
            record = _with_epochs(findings, max(complete, key=quality)) if complete else None
            if record is not None:
                records.append(record)
        if records:
            drawings += _drawings(findings, where, records)
            models += [record.config.space for record in records]
    if not drawings:
        return Section("curves", title, reason="no confirm run has two validations on record.")
    return Section("curves", title, [Panels(drawings, CAPTION, findings.legend(models)), Note(_note(findings))])


def _note(findings: Findings) -> str:
    return (
        f"At most {MOST_MODELS} models of a question are drawn. All validations of every run are in its record.json, "
        "under runs/."
    )


def _with_epochs(findings: Findings, run: RunRecord) -> RunRecord | None:
    """Return a record with its validations; None if it has fewer than two."""
    record = RunRecord.read(findings.folder / "runs" / run.config.run)
    return record if record is not None and len(record.epochs) > 1 else None


def _drawings(findings: Findings, where: str, records: list[RunRecord]) -> list[Drawing]:
    """Return the chart of the losses, and that of the validation score unless it is the loss."""
    losses, values = [], []
    for record in records:
        model, steps = record.config.space, [epoch.steps for epoch in record.epochs]
        losses.append(Series(model, steps, [epoch.train_loss for epoch in record.epochs], line="dashed", points=""))
        known = [epoch for epoch in record.epochs if epoch.val_loss is not None]
        if known:
            loss = [epoch.val_loss or 0.0 for epoch in known]
            losses.append(Series(model, [epoch.steps for epoch in known], loss, points=""))
        values.append(Series(model, steps, [epoch.val[record.asked.metric] for epoch in record.epochs], points=""))
    x, metric = Axis("training steps", from_zero=True), records[0].asked.metric
    ends = "; ".join(f"{bare(r.config.space)} {number(r.epochs[-1].train_loss)}" for r in records)
    drawings = [findings.draw(Chart(where, x, Axis("loss"), losses), f"{where}, loss; at the end on training {ends}")]
    if metric not in ("mse", "nats", "frame_nats"):
        best = "; ".join(f"{bare(record.config.space)} {score(record.val_score)}" for record in records)
        chart = Chart(where, x, Axis(f"validation {metric}"), values)
        drawings.append(findings.draw(chart, f"{where}, validation {metric}; best {best}"))
    return drawings
