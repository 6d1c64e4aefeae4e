"""Generated text: how language models go on from the same beginnings, with measures of it."""

import json
from typing import Any

from bench.report import evidence
from bench.report.page import Block, Findings, Listing, Note, Section, Table, rows_of
from bench.wording import score, shortened

MEASURES = {
    "real_words": "real words",
    "copied": "copied",
    "distinct_3": "distinct-3",
    "self_bleu": "self-BLEU",
    "n_gram_nats": "5-gram nats",
}


def make(findings: Findings) -> Section:
    frame = evidence.generated(findings.runs, findings.spec["top_k"])
    blocks: list[Block] = []
    for (dataset, length), group in frame.groupby(["dataset", "length"], sort=False) if not frame.empty else ():
        rows = rows_of(group)
        cells = [
            [
                row["model"],
                row["temperature"],
                score(row["score"]),
                *(score(row[name]) for name in MEASURES),
            ]
            for row in rows
        ]
        head = ["model", "temperature", f"test {rows[0]['metric']}", *MEASURES.values()]
        blocks.append(Table(f"{dataset} at {length:,}: 20 texts by each model", head, cells).folded())
        shown = {row["model"]: row for row in rows if row["temperature"] == "0.8" or row["model"].startswith("(")}
        pairs = [(f"{name} at {row['temperature']}", _excerpt(findings, row)) for name, row in shown.items()]
        blocks.append(Listing(pairs))
    if blocks:
        blocks.append(
            Note(
                "All go on from the same 20 beginnings of validation windows, for about 1,000 characters, each model "
                "with the weights of one seed; models in brackets are cheap samplers. Real words: the share of words "
                "of 4 letters or more that the training part has. Copied: the share of windows of 20 characters that "
                "it has. Distinct-3: different runs of 3 words over all of them. Self-BLEU: how alike the texts are. "
                "5-gram nats: how surprising a token is to a 5-gram model of the training part. None of them is a "
                "score: repeated commonplaces are made of real words and surprise nobody."
            )
        )
    return Section("texts", "Generated text", blocks)


def _excerpt(findings: Findings, row: dict[str, Any], most: int = 300) -> str:
    """Return the beginning of the first text of a row, its lines parted as those of a poem."""
    try:
        texts = json.loads((findings.folder / "runs" / row["run"] / "samples.json").read_text(encoding="utf-8"))
        (text, *_) = texts[row["model"].strip("()") if row["model"].startswith("(") else row["temperature"]]
    except (OSError, ValueError, KeyError):
        return "the text is no longer there."
    return shortened(" / ".join(line for line in text.splitlines() if line.strip()), most)
