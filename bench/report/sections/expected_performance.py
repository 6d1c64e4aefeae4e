"""Expected performance of tuning: the best score of so many trials, or of so much device time."""

import pandas as pd

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
    by_question,
    metrics_of,
    question,
    question_of,
    rows_of,
)
from bench.results.record import RunRecord
from bench.wording import bare, duration, score, time_unit


def make(findings: Findings) -> Section:
    anchor, title = "expected", "Expected performance of tuning"
    sampler, pruner = findings.terms.get("sampler", "sobol"), findings.terms.get("pruner", "none")
    if not findings.is_independent:
        reason = f"the sampler {sampler} chooses by earlier scores, so its trials are no independent draws, and what "
        return Section(anchor, title, reason=reason + "fewer of them would have found cannot be told from them.")
    frame = evidence.expected_performance(findings.runs)
    if frame.empty:
        reason = "only default configurations were tried, and they are no draws."
        if any(run.config.phase == "screen" and run.state == "pruned" for run in findings.runs):
            reason = (
                f"trials were ended early (pruner {pruner}, or a limit), and their scores are not those of whole runs."
            )
        return Section(anchor, title, reason=reason)
    blocks: list[Block] = []
    if pruner != "none":
        blocks.append(
            Note(
                f"Cells in which the pruner {pruner} could end trials are left out: its scores are not of whole runs.",
                "warning",
            )
        )
    defaults = {
        (run.config.dataset, run.config.length, run.config.space): run
        for run in findings.runs
        if run.config.phase == "screen" and run.config.number == 0
    }
    metrics = metrics_of(findings.runs)
    by_trials: list[Drawing] = []
    by_seconds: list[Drawing] = []
    for (dataset, length, match), rows in by_question(frame).items():
        where = question(dataset, length, match)
        metric = f"best validation {metrics[dataset, length]}"
        models = list(dict.fromkeys(row["model"] for row in rows))
        most = max(row["trials"] for row in rows)
        before = min(0.0, 1 - 0.14 * most)  # leaves room for the word
        mine = {model: [row for row in rows if row["model"] == model] for model in models}
        known = {m: run for m in models if (run := defaults.get((dataset, length, m))) and run.val_score is not None}
        words = "; ".join(f"{bare(m)} from {score(r[0]['score'])} to {score(r[-1]['score'])}" for m, r in mine.items())
        unit, hours = time_unit(max(row["device_seconds"] for row in rows))
        trials = Axis("trials drawn", ticks=[(before, "default"), *((float(n), f"{n:,}") for n in _nice(most))])
        seconds = Axis(f"device time ({unit})", from_zero=True)
        took = {model: run.device_seconds for model, run in known.items()}
        for drawings, x, name, size, defaults_at in (
            (by_trials, trials, "trials", 1.0, dict.fromkeys(known, before)),
            (by_seconds, seconds, "device_seconds", 3600 * hours, took),
        ):
            series = [
                Series(model, [row[name] / size for row in curve], [row["score"] for row in curve],
                       points="" if curve[1:] else "filled")
                for model, curve in mine.items()
            ]  # fmt: skip
            series += [
                Series(model, [defaults_at[model] / size], [run.val_score or 0.0], line="", points="hollow")
                for model, run in known.items()
            ]
            label = f"{where}, expected {metric} by {x.label}: {words}"
            drawings.append(findings.draw(Chart(where, x, Axis(metric), series), label))
    legend = findings.legend(frame["model"])
    blocks.append(
        Panels(
            by_trials,
            "The best validation score to be expected of so many trials: a curve that is still rising says that more "
            "trials would pay. Hollow markers: the default configuration's own score; it is no draw and in no curve.",
            legend,
        )
    )
    blocks.append(
        Panels(
            by_seconds,
            "The same against device time, where cheap models get more trials for their money. Hollow markers stand at "
            "what the default's trial took.",
            legend,
        )
    )
    blocks.append(_expected_table(findings, frame, defaults))
    blocks.append(
        Note(
            "Curves are the unbiased estimate (draws without replacement; Tang et al. 2020), whose last point is the "
            "best score seen. The plug-in estimate (with replacement; Dodge et al. 2019) is too low near the end. "
            "Failed trials count with the chance score. Nothing here says what more trials than were made would bring."
        )
    )
    return Section(anchor, title, blocks)


def _expected_table(findings: Findings, frame: pd.DataFrame, defaults: dict[tuple[str, int, str], RunRecord]) -> Table:
    plugged = {
        (row["dataset"], row["length"], row["model"], row["trials"]): row["score"]
        for row in rows_of(evidence.expected_performance(findings.runs, unbiased=False))
    }
    rows = []
    for (dataset, length, model), group in frame.groupby(["dataset", "length", "model"], sort=False):
        curve = rows_of(group)
        last = curve[-1]
        default = defaults.get((dataset, length, model))
        half = curve[max(1, len(curve) // 2) - 1]
        rows.append(
            [
                question_of(last),
                model,
                str(len(curve)),
                duration(curve[0]["device_seconds"]),
                score(None if default is None else default.val_score),
                score(curve[0]["score"]),
                score(half["score"]) + f" (of {half['trials']})",
                score(last["score"]),
                score(plugged[dataset, length, model, last["trials"]]),
            ]
        )
    head = ["question", "model", "draws", "a trial takes", "default", "one draw", "half the draws", "all draws"]
    return Table("Expected best validation score", [*head, "all draws, plug-in"], rows).folded()


def _nice(most: int) -> list[int]:
    """Return about six whole numbers up to `most`, at equal steps."""
    step = next(step for power in range(9) for step in (10**power, 2 * 10**power, 5 * 10**power) if most / step <= 6)
    return [1, *range(step, most + 1, step)] if step > 1 else list(range(1, most + 1))
