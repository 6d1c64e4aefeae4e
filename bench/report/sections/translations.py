"""Translations: BLEU and chrF, of greedy decoding and of a beam, by the length of the source, and some sentences."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from bench.report.page import Block, Findings, Listing, Note, Section, Table
from bench.report.sections._written import SHOWN, band, cells, edges, stored
from bench.results.cell_runs import by_cell
from bench.results.record import TRANSLATIONS, RunRecord
from bench.wording import DASH, shortened

BEAM = "beam_"
HEADS = {"bleu": "BLEU", "chrf": "chrF", "length_ratio": "length ratio"}


def make(findings: Findings) -> Section:
    rows_of: dict[str, list[tuple[str, str, str, Mapping[str, float]]]] = {}
    examples: list[tuple[str, str]] = []
    for cell, runs in by_cell(findings.runs, findings.spec["top_k"]).items():
        rows = [(cell.space, *row) for row in _rows(runs.confirmed)]
        if rows:
            rows_of.setdefault(f"{cell.dataset} at {cell.length:,}", []).extend(rows)
            examples += _examples(findings, cell.space, runs.confirmed)
    for run in findings.runs:
        for fitted in run.fitted.values():
            if "length_ratio" in fitted.test:
                title = f"{run.config.dataset} at {run.config.length:,}"
                rows_of.setdefault(title, []).append((f"({fitted.title})", DASH, DASH, fitted.test))
    blocks: list[Block] = [_table(title, rows) for title, rows in rows_of.items()]
    if examples:
        blocks.append(Listing(examples))
    if blocks:
        blocks.append(Note(_note(findings)))
    return Section("translations", "Translations", blocks)


def _rows(runs: Sequence[RunRecord]) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    """Yield attention, search and scores: the mean over seeds of greedy decoding, and those of the seed with a beam."""
    tests = [run.test for run in runs if run.test and "length_ratio" in run.test]
    if not tests:
        return
    attention = "yes" if runs[0].config.train.attention else "no"
    names = [name for name in tests[0] if not name.startswith(BEAM) and all(name in test for test in tests)]
    seeds = "1 seed" if len(tests) == 1 else f"{len(tests)} seeds"
    yield attention, f"greedy, {seeds}", {name: statistics.fmean(test[name] for test in tests) for name in names}
    for test in tests:
        beam = {name.removeprefix(BEAM): value for name, value in test.items() if name.startswith(BEAM)}
        if beam:
            yield attention, "beam of 5, 1 seed", beam


def _table(title: str, rows: Sequence[tuple[str, str, str, Mapping[str, float]]]) -> Table:
    bands = sorted({name for *_, scores in rows for name in scores if edges(name)}, key=edges)
    heads = HEADS | {name: f"BLEU, {band(name, 'tokens')}" for name in bands}
    filled = [[model, attention, search, *cells(scores, heads)] for model, attention, search, scores in rows]
    return Table(f"{title}: the test split", ["model", "attention", "search", *heads.values()], filled).filled()


def _examples(findings: Findings, model: str, runs: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    """Yield some sentences of a model, with source and reference."""
    for run in runs:
        written = stored(findings, run, TRANSLATIONS)
        for place in range(min(SHOWN, len(written.get("source", ())))):
            source, greedy, reference = (
                shortened(written[name][place], 200) for name in ("source", "greedy", "reference")
            )
            yield f"{model}: {source}", f"{greedy} (reference: {reference})"


def _note(findings: Findings) -> str:
    written = (stored(findings, run, TRANSLATIONS) for run in findings.runs)
    signatures = next((sentences["signatures"] for sentences in written if "signatures" in sentences), None)
    how = f" Its signatures are {signatures['bleu']} and {signatures['chrf']}." if signatures else ""
    return (
        f"sacrebleu computes BLEU and chrF, from 0 to 100, on whole sentences as text.{how} Greedy decoding takes the "
        "likeliest word at each step; its BLEU selects and ranks. A beam of 5 keeps five beginnings of each sentence "
        "and chooses by the mean log likelihood of a word; it is run for one seed. Length ratio is the number of words "
        "that were written, divided by that of the references. Tokens are those of the source. Rows in brackets are "
        "cheap baselines."
    )
