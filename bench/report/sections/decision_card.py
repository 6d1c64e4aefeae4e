"""The decision card: which model to use, by length and by what a training run may cost."""

from bench.report.page import Block, Findings, Note, Section, Table
from bench.results import decisions
from bench.wording import DASH, enumeration

LEAD = (
    "Which model to use if one training run may cost so much, by the validation of the confirm runs. Of models that "
    "are statistically tied, the one that trains in the least time is named. A name in brackets is a cheap baseline "
    "that is at least as good."
)
HEAD = ["question", "one training run", "use", "statistically tied", "validation"]


def make(findings: Findings) -> Section:
    questions = decisions.questions_of(findings.folder, findings.runs, findings.spec["top_k"])
    if not questions:
        return Section("decision", "Decision card", reason="no model has been confirmed yet.")
    measures = ["sequences", "seconds", *(["usd"] if findings.is_priced else [])]
    blocks: list[Block] = [Note(LEAD, "lead")]
    for measure in measures:
        rows = [decisions.cells_of(choice) for question in questions for choice in decisions.choices(question, measure)]
        title = {"sequences": "By training sequences", "seconds": "By training time", "usd": "By money"}[measure]
        if rows:
            blocks.append(Table(title, HEAD, [[cell or DASH for cell in row] for row in rows]).filled().folded())
    if len(blocks) == 1:
        return Section("decision", "Decision card", reason="no model solved its task on any seed.")
    found = decisions.crossovers(questions)
    if found:
        rows = [[c.dataset, c.short, f"{c.last:,}", c.long, f"{c.first:,}"] for c in found]
        head = ["dataset", "better at shorter lengths", "shown up to", "better at longer lengths", "shown from"]
        blocks.append(Table("Crossovers", head, rows))
    elif lengths := _lengths(questions):
        blocks.append(Note(f"No crossover between two models is shown for {enumeration(lengths)}."))
    return Section("decision", "Decision card", blocks)


def _lengths(questions: list[decisions.Question]) -> list[str]:
    """Return the datasets that were asked at several lengths."""
    datasets = [question.dataset for question in questions]
    return [name for name in dict.fromkeys(datasets) if datasets.count(name) > 1]
