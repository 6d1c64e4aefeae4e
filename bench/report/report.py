"""The report of a sweep: one HTML page, made from the sweep's folder alone, without network access or scripts.

Each section is a pure function that returns blocks of text, figures and tables. The template lays the blocks out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config.budgets import BUDGETS
from bench.report import evidence, page
from bench.report.page import Findings
from bench.report.sections import (
    decision_card,
    default_against_tuned,
    diagnosis,
    expected_performance,
    forecasts_against_truth,
    generated_text,
    how_to_read,
    knob_importance,
    learning_curves,
    outcomes_by_cause,
    pareto_front,
    predicted_against_actual,
    score_beyond_training_length,
    score_by_length,
    scores_by_class,
    speed_by_length,
    successive_halving,
    the_bill,
    transcripts,
    translations,
    validation_against_test,
)
from bench.results import answers
from bench.results.leaderboard import Status
from bench.results.record import write_atomically
from bench.wording import bare, count, is_or_are

SECTIONS = (
    decision_card,
    score_by_length,
    score_beyond_training_length,
    scores_by_class,
    forecasts_against_truth,
    validation_against_test,
    outcomes_by_cause,
    successive_halving,
    the_bill,
    expected_performance,
    default_against_tuned,
    knob_importance,
    learning_curves,
    diagnosis,
    pareto_front,
    predicted_against_actual,
    speed_by_length,
    generated_text,
    translations,
    transcripts,
    how_to_read,
)
"""The sections, in the order of the page."""


def write(folder: Path, quality: float | None = None) -> Path:
    """Write `report.html` into a sweep's folder and return its path. Raises StoreError.

    `quality` is the validation score whose cost the page reports; for the default see evidence.cost_to_reach.
    """
    path = folder / "report.html"
    write_atomically(path, render(folder, quality))
    return path


def render(folder: Path, quality: float | None = None) -> str:
    """Return the report of a sweep as HTML; the same folder gives the same text. Raises StoreError."""
    findings = Findings.read(folder, quality)
    sections = [section.make(findings) for section in SECTIONS]
    return page.html(
        name=folder.name,
        title=f"{folder.name}: report",
        subtitle=_subtitle(findings),
        facts=_facts(findings),
        summaries=[summary.partition(": ")[::2] for summary in answers.summaries(findings.board)],
        answers=[answer.partition(": ")[::2] for answer in answers.answers(findings.board)],
        warnings=_warnings(findings),
        sections=[section for section in sections if section.blocks or section.reason],
        footer=f"Written by python -m bench report from {len(findings.runs):,} run records of the sweep {folder.name}.",
    )


def _effort(spec: Mapping[str, Any]) -> list[str]:
    """Return what the budget was: a time, or numbers of configurations and seeds."""
    budget = spec["spec"].get("budget", "quick")
    if budget not in BUDGETS:  # a time, such as 10m
        return [f"a budget of {budget}"]
    return [
        f"{count(spec['trials'], 'configuration')} a cell",
        f"{count(spec['confirm_seeds'], 'fresh seed')} to confirm",
    ]


def _subtitle(findings: Findings) -> str:
    board = findings.board
    questions = board.groupby(["dataset", "length", "match"], dropna=False).ngroups
    parts = [
        count(board["model"][board["status"] != Status.BASELINE].map(bare).nunique(), "model"),
        f"{count(questions, 'question')} (a dataset at a length)",
        *_effort(findings.spec),
    ]
    work = evidence.work_of_a_run(findings.runs)
    if not work.empty:
        fewest, most = work["steps"].min(), work["steps"].max()
        steps = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
        parts.append(f"at most {steps} training steps a run")
    return ", ".join(parts)


def _facts(findings: Findings) -> list[tuple[str, str]]:
    """Return what was run where, by name."""
    spec, terms, board = findings.spec, findings.terms, findings.board

    def seen(column: str) -> str:
        values = [str(value) for value in board[column].dropna().unique() if str(value)]
        return "; ".join(values) or "unknown"

    packages = ("python", "torch", "pytorch_lightning", "optuna", "mlflow", "numpy")
    versions = ", ".join(f"{name} {seen(name)}" for name in packages if board[name].notna().any())
    facts = {
        "Command": spec.get("command", "unknown"),
        "Started": spec.get("created", "unknown").replace("T", " ").replace("+00:00", " UTC"),
        "Hardware": seen("hardware"),
        "Runs on": f"{seen('device')}, {seen('threads')} thread(s) a run, {spec.get('slots', 'unknown')} at a time, "
        f"precision {seen('precision')}",
        "Versions": versions or "unknown",
        "Commit": seen("commit"),
        "Search": f"sampler {terms.get('sampler', 'unknown')}, pruner {terms.get('pruner', 'unknown')}, objectives "
        f"{', '.join(terms.get('objectives', ['quality']))}, seed {terms.get('seed', 'unknown')}",
    }
    warm = [origin for points in spec.get("warm_starts", {}).values() for origin, _ in points]
    if warm:
        sweeps = ", ".join(sorted({origin.removeprefix("warm start from ").split("/")[0] for origin in warm}))
        chosen = int(board["origin"].astype(str).str.startswith("warm start").sum())
        facts["Warm start"] = f"{count(len(warm), 'configuration')} of {sweeps} tried first; {chosen} of them chosen"
    limits = {name: terms[name] for name in terms if name.startswith("max_") and name != "max_sequences"}
    if any(limits.values()):
        facts["Limits"] = ", ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in limits.items() if value)
    return list(facts.items())


def _warnings(findings: Findings) -> list[str]:
    """Return what a reader must know before the answers."""
    warnings = []
    if findings.terms.get("budget") == "smoke":
        warnings.append("Budget smoke shows that everything runs. It says nothing about the models.")
    if findings.spec.get("ended_by"):
        warnings.append(f"The sweep ended early: {findings.spec['ended_by']}.")
    unfinished, failed = (int((findings.board["status"] == s).sum()) for s in (Status.UNFINISHED, Status.FAILED))
    if unfinished:
        cells = f"{count(unfinished, 'cell')} of this sweep {is_or_are(unfinished)} unfinished"
        warnings.append(f"{cells}; run the same command to resume.")
    if failed:
        warnings.append(f"{count(failed, 'cell')} failed and {is_or_are(failed)} not ranked; see Outcomes by cause.")
    if (remark := answers.mixed_conditions(findings.board)) is not None:
        warnings.append(remark)
    return warnings
