"""Generated text: how language models continue the same prompts, and measures of it."""

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
            [row["model"], row["temperature"], score(row["score"]), *(score(row[name]) for name in MEASURES)]
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
                "All models continue the same 20 prompts, which are the beginnings of validation windows, for about "
                "1,000 characters. Each uses the weights of one seed. Models in brackets are cheap samplers. Real "
                "words is the share of words of 4 letters or more that occur in the training part. Copied is the share "
                "of windows of 20 characters that occur in it. Distinct-3 is the number of different runs of 3 words "
                "divided by the number of all of them. Self-BLEU is the similarity of the texts to each other. 5-gram "
                "nats is how surprising a token is to a 5-gram model of the training part. None of these measures is a "
                "score: a text that repeats commonplaces consists of real words and surprises no model."
            )
        )
    return Section("texts", "Generated text", blocks)


def _excerpt(findings: Findings, row: dict[str, Any], most: int = 300) -> str:
    """Return the beginning of the first text of a row on one line; slashes separate its lines."""
    try:
        texts = json.loads((findings.folder / "runs" / row["run"] / "samples.json").read_text(encoding="utf-8"))
        (text, *_) = texts[row["model"].strip("()") if row["model"].startswith("(") else row["temperature"]]
    except (OSError, ValueError, KeyError):
        return "The text is no longer there."
    return shortened(" / ".join(line for line in text.splitlines() if line.strip()), most)
