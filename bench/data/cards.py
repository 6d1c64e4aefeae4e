"""Dataset cards of your own files: their sentences and lengths, and how they are written to a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit

from bench.config import datasets
from bench.config.datasets import Dataset
from bench.data.files import reason
from bench.data.splits import PARTS, VAL_SHARE
from bench.errors import DeclarationError, StoreError

FIRST_RUNG = 64
CAP = 512  # steps of the default length, since the time of training grows with them
CAPS = {"smoke": 128, "standard": 1024, "full": 1024}  # of named budgets
STEM = 4  # steps of a recording that a convolution makes one before the encoder
LEAST_ROWS, MOST_ROWS = 12, 384  # of a default look-back, if the rows allow it
FEW_SERIES = 5
SEASONS = {"every minute": 60, "every 15 min": 96, "every 30 min": 48, "hourly": 24, "daily": 7, "weekly": 52,
           "monthly": 12, "quarterly": 4}  # fmt: skip
"""Rows in the season that the step of a series suggests, for the default look-back."""

MEANING = {
    "forecasting": "look-back in rows",
    "anomaly": "look-back in rows",
    "regression": "last steps of a sequence",
    "classification": "first steps of a sequence",
    "language_modelling": "context in tokens",
    "tagging": "first steps of a sequence",
    "translation": "tokens of the source at most",
    "transcription": "steps of a recording at most, 10 ms each",
}
"""What a length means, by task."""


def save(card: Dataset, listing: str | None = None, folder: Path = Path("datasets")) -> str:
    """Write a card, and the listing of its folder, into a folder of cards; return a sentence about what was done.

    Never overwrites another card. Raises DeclarationError, and StoreError if the folder cannot be written.
    """
    path, lines = folder / f"{card.name}.toml", folder / f"{card.name}.tsv"
    use = f"use it with --dataset {card.name}"
    try:
        if path.exists():
            if datasets.read(card.name, folder).fingerprint == card.fingerprint:
                return f"{path}: exists already, with the same data; {use}"
            raise DeclarationError(f"{path}: exists already, for other data; rename it, or your file")
        folder.mkdir(parents=True, exist_ok=True)
        if listing is not None:
            if lines.exists():
                raise DeclarationError(f"{lines}: exists already; rename it, or your folder")
            lines.write_text(listing, encoding="utf-8")
        with path.open("x", encoding="utf-8") as file:
            file.write(to_toml(card))
    except OSError as error:
        raise StoreError(f"{path}: {reason(error)}; run where you may write, or leave --save-card out") from None
    return f"{path}: written; {use}"


def to_toml(card: Dataset) -> str:
    """Return a card as the text of its file."""
    keys = ("title", "task", "kind", "lengths", "length_meaning", "source", "licence", "split")
    document: dict[str, Any] = card.model_dump(include=set(keys), exclude_none=True)
    document = {key: document[key] for key in keys if key in document}
    if card.files:
        document["files"] = [file.model_dump(exclude_none=True) for file in card.files]
    document["arguments"] = {key: value for key, value in card.arguments.items() if key != "files"}
    return tomlkit.dumps(document)


def ladder(task_name: str, task: Any, budget: str = "quick") -> list[int]:
    """Return lengths to try, each twice the one before; the first is the default."""
    if task_name in ("forecasting", "anomaly"):
        return _look_backs(task)
    if task_name == "language_modelling":
        most = min(task.meta["tokens"].values()) // 4
        return [length for length in (32, 64, 128) if length <= most] or [max(1, most)]
    cap = CAPS.get(budget, CAP)
    if task_name in ("translation", "transcription"):  # longer ones are left out: none, if the machine allows it
        most = STEM * cap if task_name == "transcription" else cap
        return [min(most, max(int(task.steps_of(part).max()) for part in PARTS))]
    return _lengths(task.steps_of("train"), cap)


def _look_backs(task: Any) -> list[int]:
    """Return look-backs from two seasons or horizons on, as far as the training rows of a series allow."""
    meta = task.meta
    rows, groups = meta["rows_of_group"], max(1, len(meta["groups"]))
    # Windows of a quarter of the rows leave three quarters to learn from; many series share that need.
    most = max(1, min(MOST_ROWS, (min(rows, sum(meta["rows"])) - task.horizon) // (4 if groups < FEW_SERIES else 2)))
    season = task.season or SEASONS.get(meta.get("step_name"), 1)
    for seasons in (2, 1):
        first = max(seasons * season, 2 * task.horizon, LEAST_ROWS)
        if first <= most:
            return [first << rung for rung in range(4) if first << rung <= most]
    return [most]


def _lengths(steps: np.ndarray, cap: int) -> list[int]:
    """Return lengths of sequences, from the 90th percentile of their `steps` on, but at most `cap`, to the longest."""
    whole = int(steps.max())
    first = min(int(np.quantile(steps, 0.9, method="higher")), cap)
    rungs = [first << step for step in range(5) if first << step < whole]
    return [*rungs, whole] if whole <= 2 * FIRST_RUNG << 4 or not rungs else rungs


def split_rule(task_name: str, arguments: dict[str, Any]) -> str:
    """Return the rule of the split in words."""
    rule = arguments.get("splits")
    if isinstance(rule, dict) and rule.get("by") == "column":
        return f"by column {rule['column']}"
    if isinstance(rule, dict) and rule.get("by", "file") == "file":
        return _by_file(rule)
    if task_name == "forecasting":
        time = "time" if "time" in arguments else "order of rows, taken as time"
        return f"by {time} {_shares(rule or [0.7, 0.1, 0.2])}"
    if task_name == "anomaly":
        return f"by the order of rows in each series {_shares(rule or [0.4, 0.1, 0.5])}"
    if task_name == "language_modelling":
        return f"by place {_shares(rule or [0.9, 0.05, 0.05])}"
    if task_name == "tagging":
        return f"by hash of the tokens {_shares(rule or [0.8, 0.1, 0.1])}"
    if task_name == "translation":
        return f"by hash of the source {_shares(rule or [0.8, 0.1, 0.1])}"
    if task_name == "transcription" and not isinstance(rule, dict):
        return f"by hash of the file name {_shares(rule or [0.8, 0.1, 0.1])}"
    if task_name == "regression":
        return f"by hash of the {arguments.get('group', 'sequence')} {_shares(rule or [0.7, 0.1, 0.2])}"
    rule = rule or {"by": "stratified", "shares": [0.8, 0.1, 0.1]}
    shares = f" {_shares(rule['shares'])}" if "shares" in rule else ""
    return ("stratified" if rule["by"] == "stratified" else f"by {rule['by']}") + shares


def _by_file(rule: dict[str, Any]) -> str:
    """Return which files are validation and test: a rule has lists of names, a card of tags or text one name each."""
    named = {part: rule[part] for part in ("val", "test") if part in rule}
    files = {part: names if isinstance(names, str) else " and ".join(map(str, names)) for part, names in named.items()}
    share = "" if "val" in files else f", val is {rule.get('val_share', VAL_SHARE):.0%} of train"
    return "by file: " + ", ".join(f"{part} is {name}" for part, name in files.items()) + share


def _shares(splits: Sequence[float]) -> str:
    return "/".join(f"{part:,}" if part >= 1 else f"{part * 100:g}" for part in splits)
