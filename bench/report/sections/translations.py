"""Translations: BLEU and chrF, of greedy decoding and of a beam, by the length of the source, and some sentences."""

import json
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.report.page import Block, Findings, Listing, Note, Section, Table
from bench.results.cell_runs import by_cell
from bench.results.record import TRANSLATIONS, RunRecord
from bench.wording import DASH, score, shortened

BEAM = "beam_"
HEADS = {"bleu": "BLEU", "chrf": "chrF", "length_ratio": "length ratio"}
SHOWN = 3  # sentences


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
    bands = sorted({name for *_, scores in rows for name in scores if _edges(name)}, key=_edges)
    heads = HEADS | {name: f"BLEU, {_band(name)}" for name in bands}
    cells = [
        [model, attention, search, *(score(scores[name]) if name in scores else DASH for name in heads)]
        for model, attention, search, scores in rows
    ]
    return Table(f"{title}: the test split", ["model", "attention", "search", *heads.values()], cells).filled()


def _edges(name: str) -> list[int]:
    """Return the numbers of tokens in the name of a score by length; none for other scores."""
    return [int(edge) for edge in re.findall(r"\d+", name)]


def _band(name: str) -> str:
    edges = _edges(name)
    return f"{edges[0]} to {edges[1]} tokens" if len(edges) > 1 else f"from {edges[0]} tokens"


def _examples(findings: Findings, model: str, runs: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    """Yield some sentences of a model, with source and reference."""
    for run in runs:
        written = _stored(findings, run)
        for place in range(min(SHOWN, len(written.get("source", ())))):
            source, greedy, reference = (
                shortened(written[name][place], 200) for name in ("source", "greedy", "reference")
            )
            yield f"{model}: {source}", f"{greedy} (reference: {reference})"


def _stored(findings: Findings, run: RunRecord) -> dict[str, Any]:
    try:
        path = findings.folder / "runs" / run.config.run / TRANSLATIONS
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored


def _note(findings: Findings) -> str:
    signatures = next(
        (_stored(findings, run).get("signatures") for run in findings.runs if _stored(findings, run)), None
    )
    how = f" Its signatures are {signatures['bleu']} and {signatures['chrf']}." if signatures else ""
    return (
        f"sacrebleu computes BLEU and chrF, from 0 to 100, on whole sentences as text.{how} Greedy decoding takes the "
        "likeliest word at each step; its BLEU selects and ranks. A beam of 5 keeps five beginnings of each sentence "
        "and chooses by the mean log likelihood of a word; it is run for one seed. Length ratio is the number of words "
        "that were written, divided by that of the references. Tokens are those of the source. Rows in brackets are "
        "cheap baselines."
    )
