"""Expected performance of tuning: the best score to expect after a number of trials or an amount of device time."""

from typing import Any

from bench.report import evidence
from bench.report.figures import Axis, Chart, Series
from bench.report.page import (
    Block,
    Drawing,
    Findings,
    Note,
    Panels,
    Section,
    Table,
    by_model,
    by_question,
    question,
    question_of,
    rows_of,
)
from bench.results.record import RunRecord
from bench.wording import bare, duration, score, time_unit

Rows = list[dict[str, Any]]
Defaults = dict[tuple[str, int, str], RunRecord]

BY_TRIALS = (
    "The best validation score to expect after a number of trials. If a curve is still rising, more trials would help. "
    "Hollow markers are the scores of the default configuration, which is not a draw and in no curve."
)
BY_SECONDS = (
    "The same against device time, which allows cheap models more trials. Hollow markers are at the time that the "
    "trial of the default took."
)
METHOD = (
    "Curves are the unbiased estimate (draws without replacement; Tang et al. 2020), whose last point is the best "
    "score seen. The plug-in estimate (with replacement; Dodge et al. 2019) is too low near the end. Failed trials "
    "count with the chance score. The estimates do not extend beyond the trials that were made."
)


def make(findings: Findings) -> Section:
    anchor, title = "expected", "Expected performance of tuning"
    frame = evidence.expected_performance(findings.runs)
    if not findings.is_independent or frame.empty:
        return Section(anchor, title, reason=_reason(findings))
    screened = [run for run in findings.runs if run.config.phase == "screen" and run.config.number == 0]
    defaults = {(run.config.dataset, run.config.length, run.config.space): run for run in screened}
    charts = [_drawings(findings, key, rows, defaults) for key, rows in by_question(frame).items()]
    legend = findings.legend(frame["model"])
    blocks: list[Block] = []
    pruner = findings.terms.get("pruner", "none")
    if pruner != "none":
        text = f"Cells in which the pruner {pruner} could end trials are omitted: their scores are not of whole runs."
        blocks.append(Note(text, "warning"))
    blocks.append(Panels([by_trials for by_trials, _ in charts], BY_TRIALS, legend))
    blocks.append(Panels([by_seconds for _, by_seconds in charts], BY_SECONDS, legend))
    return Section(anchor, title, [*blocks, _table(rows_of(frame), defaults), Note(METHOD)])


def _reason(findings: Findings) -> str:
    """Return why no curve can be drawn."""
    sampler, pruner = findings.terms.get("sampler", "sobol"), findings.terms.get("pruner", "none")
    if not findings.is_independent:
        return (
            f"the sampler {sampler} chooses by earlier scores, so its trials are not independent draws, and they do "
            "not show what fewer of them would have found."
        )
    if any(run.config.phase == "screen" and run.state == "pruned" for run in findings.runs):
        return f"trials ended early (pruner {pruner}, or a limit), so their scores are not those of whole runs."
    return "only default configurations were tried, and they are not draws."


def _drawings(findings: Findings, key: tuple[str, int, str], rows: Rows, defaults: Defaults) -> tuple[Drawing, Drawing]:
    """Return the curves of a dataset and length by trials, and by device time."""
    dataset, length, _ = key
    where, y = question(*key), Axis(f"best validation {findings.metrics[dataset, length]}")
    curves = by_model(rows)
    known = {m: run for m, _ in curves if (run := defaults.get((dataset, length, m))) and run.val_score is not None}
    most = max(row["trials"] for row in rows)
    before = min(0.0, 1 - 0.14 * most)  # leaves room for the word `default`
    unit, hours = time_unit(max(row["device_seconds"] for row in rows))
    ticks = [(before, "default"), *((float(n), f"{n:,}") for n in _nice(most))]
    words = "; ".join(f"{bare(m)} from {score(c[0]['score'])} to {score(c[-1]['score'])}" for m, c in curves)

    def drawing(x: Axis, name: str, size: float, defaults_at: dict[str, float]) -> Drawing:
        series = [
            Series(model, [row[name] / size for row in curve], [row["score"] for row in curve],
                   points="" if curve[1:] else "filled")
            for model, curve in curves
        ]  # fmt: skip
        series += [
            Series(model, [defaults_at[model] / size], [run.val_score or 0.0], line="", points="hollow")
            for model, run in known.items()
        ]
        return findings.draw(Chart(where, x, y, series), f"{where}, expected {y.label} by {x.label}: {words}")

    took = {model: run.device_seconds for model, run in known.items()}
    return (
        drawing(Axis("trials drawn", ticks=ticks), "trials", 1.0, dict.fromkeys(known, before)),
        drawing(Axis(f"device time ({unit})", from_zero=True), "device_seconds", 3600 * hours, took),
    )


def _table(rows: Rows, defaults: Defaults) -> Table:
    def key(row: dict[str, Any]) -> tuple[str, int, str]:
        return row["dataset"], row["length"], row["model"]

    curves: dict[tuple[str, int, str], Rows] = {}
    for row in rows:
        curves.setdefault(key(row), []).append(row)
    cells = []
    for cell, curve in curves.items():
        half = curve[max(1, len(curve) // 2) - 1]
        default = defaults.get(cell)
        cells.append(
            [
                question_of(curve[-1]),
                cell[2],
                str(len(curve)),
                duration(curve[0]["device_seconds"]),
                score(None if default is None else default.val_score),
                score(curve[0]["score"]),
                f"{score(half['score'])} (of {half['trials']})",
                score(curve[-1]["score"]),
                score(curve[-1]["plug_in"]),
            ]
        )
    head = ["question", "model", "draws", "a trial takes", "default", "one draw", "half the draws", "all draws"]
    return Table("Expected best validation score", [*head, "all draws, plug-in"], cells).folded()


def _nice(most: int) -> list[int]:
    """Return about six whole numbers up to `most`, at equal steps."""
    step = next(step for power in range(9) for step in (10**power, 2 * 10**power, 5 * 10**power) if most / step <= 6)
    return [1, *range(step, most + 1, step)] if step > 1 else list(range(1, most + 1))
