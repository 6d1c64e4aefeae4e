"""Validation against test: whether the score that chose a model held on examples that no choice has seen."""

import math
from typing import Any

from bench.report.page import Block, Findings, Note, Section, Table, question_of, rows_of
from bench.results import answers
from bench.wording import as_float, bare, enumeration, is_known, number, score, signed

NOTE = (
    "Both scores are means over the confirm runs. ± seeds is half of the 95 % interval of the mean over seeds, ± "
    "examples half of that from the sampling of test examples. A difference larger than both together is marked: "
    "validation and test examples are then of different kinds, for example of different times, or the choice was lucky."
)


def make(findings: Findings) -> Section:
    rows = [row for row in rows_of(findings.board) if row["score_is"] == "mean" and is_known(row["val_confirmation"])]
    rows = [row for row in rows if is_known(row["score"]) and row["val_metric"] == row["metric"]]
    parting = [row for row in rows if answers.parts_from_validation(row)]
    if not rows:
        return Section("validation", "Validation against test")
    blocks: list[Block] = []
    if parting:
        named = enumeration([f"{bare(row['model'])} on {question_of(row)}" for row in parting])
        blocks.append(Note(f"Validation and test differ by more than both errors: {named}.", "warning"))
    tied = [f"{question_of(row)}: {bare(row['model'])} and {row['tied_by_sampling']}" for row in rows
            if is_known(row["tied_by_sampling"])]  # fmt: skip
    if tied:
        text = (
            "Ranks that rest on differences within the sampling error of the test split, which other examples of the "
        )
        blocks.append(Note(f"{text}same kind could reverse: {'; '.join(tied)}.", "warning"))
    head = ["question", "model", "validation", "test", "difference", "± seeds", "± examples", "test examples", "remark"]
    table = Table("Mean scores over the confirm runs", head, [_cells(row) for row in rows])
    return Section("validation", "Validation against test", [*blocks, table.filled().folded(), Note(NOTE)])


def _cells(row: dict[str, Any]) -> list[str]:
    seeds, examples = (_half(row, name) for name in ("ci", "sampling"))
    count = f"{int(row['num_test']):,}" if is_known(row["num_test"]) else "–"
    scores = [score(row["val_confirmation"]), score(row["score"]), signed(row["score"] - row["val_confirmation"])]
    remark = "more than both errors" if answers.parts_from_validation(row) else ""
    return [question_of(row), bare(row["model"]), *scores, number(seeds), number(examples), count, remark]


def _half(row: dict[str, Any], name: str) -> float:
    low, high = as_float(row[f"{name}_low"]), as_float(row[f"{name}_high"])
    return (high - low) / 2 if math.isfinite(low) and math.isfinite(high) else math.nan
