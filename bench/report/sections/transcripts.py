"""Transcripts: errors by kind and by the number of words that are spoken, and some transcripts."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from bench.report.page import Block, Findings, Listing, Note, Section, Table
from bench.report.sections._written import SHOWN, band, cells, edges, stored
from bench.results.cell_runs import by_cell
from bench.results.record import TRANSCRIPTS, RunRecord
from bench.wording import shortened

RATE = "word_error_rate"
HEADS = {
    RATE: "words",
    "character_error_rate": "characters",
    "substitutions": "substituted",
    "deletions": "deleted",
    "insertions": "inserted",
    "exact": "without an error",
}


def make(findings: Findings) -> Section:
    rows_of: dict[str, list[tuple[str, Mapping[str, float]]]] = {}
    examples: list[tuple[str, str]] = []
    for cell, runs in by_cell(findings.runs, findings.spec["top_k"]).items():
        tests = [run.test for run in runs.confirmed if run.test and RATE in run.test]
        if tests:
            names = [name for name in tests[0] if all(name in test for test in tests)]
            means = {name: statistics.fmean(test[name] for test in tests) for name in names}
            rows_of.setdefault(f"{cell.dataset} at {cell.length:,}", []).append((cell.space, means))
            examples += _examples(findings, cell.space, runs.confirmed)
    for run in findings.runs:
        for fitted in run.fitted.values():
            if RATE in fitted.test:
                title = f"{run.config.dataset} at {run.config.length:,}"
                rows_of.setdefault(title, []).append((f"({fitted.title})", fitted.test))
    blocks: list[Block] = [_table(title, rows) for title, rows in rows_of.items()]
    if examples:
        blocks.append(Listing(examples))
    if blocks:
        blocks.append(Note(NOTE))
    return Section("transcripts", "Transcripts", blocks)


def _table(title: str, rows: Sequence[tuple[str, Mapping[str, float]]]) -> Table:
    known = {name for _, scores in rows for name in scores}
    bands = sorted(filter(edges, known), key=edges)
    heads = {name: head for name, head in HEADS.items() if name in known}
    heads |= {name: band(name, "words") for name in bands}
    filled = [[model, *cells(scores, heads)] for model, scores in rows]
    return Table(f"{title}: error rates of the test split", ["model", *heads.values()], filled).filled()


def _examples(findings: Findings, model: str, runs: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    """Yield some transcripts of a model, with what was said."""
    for run in runs:
        shown = stored(findings, run, TRANSCRIPTS)
        for written, said in list(zip(shown.get("written", ()), shown.get("reference", ()), strict=False))[:SHOWN]:
            yield f"{model}: {shortened(said, 200)}", shortened(written, 200) or "(nothing)"


NOTE = (
    "jiwer computes the error rates: the fewest words that are substituted, deleted and inserted, divided by the words "
    "that were said. More than 1 is possible. The columns on the right have the error rate by the number of words of a "
    "transcript. At each step a model writes the likeliest token or nothing, and repeats are left out. Scores of "
    "models are means over seeds; rows in brackets are cheap baselines."
)
