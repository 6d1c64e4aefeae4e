"""What you should know about your file before anything trains: what was assumed, counted and remarked."""

from pathlib import Path
from typing import Any

import numpy as np

from bench.config.datasets import Dataset
from bench.data.columns import Look

_STEPS = {1: "every second", 60: "every minute", 3_600: "hourly", 86_400: "daily", 604_800: "weekly"}


def summary(path: Path, card: Dataset, task: Any, look: Look | None, notes: list[str], are_given: bool) -> list[str]:
    """Return lines that name the file. `notes` are those of the question; `are_given` says that the lengths were."""
    name = path.name
    sentences = [", ".join([_size(card, task), *([] if look is None else [look.form])])]
    time = card.arguments.get("time")
    if time:
        sentences.append(f"time = {time}{_step(task)}")
    elif card.task == "forecasting":
        sentences.append("time none: rows in their order")
    sentences += [*notes, f"splits {card.split}"]
    counts = ", ".join(f"{part} {count:,}" for part, count in task.counts.items())
    unit = "sequences" if card.task in ("regression", "classification", "tagging") else "windows"
    lengths = f"lengths {', '.join(map(str, card.lengths))}" + " (--length)" * (not are_given)
    lines = [f"{name}: {'; '.join(sentences)}", f"{name}: {unit}: {counts}; {lengths}"]
    lines += [remark.about(name) for remark in task.meta["remarks"]]
    if card.task != "forecasting":
        steps = task.split("val", 500).length
        if steps.min() < steps.max():
            range_ = f"{steps.min():,} to {steps.max():,} steps in val"
            lines.append(f"{name}: sequences of unequal length, {range_}: shorter ones are padded")
    if card.task == "classification" and task.chance > 1.5 / len(task.meta["classes"]):
        rule = f"always predicting the most frequent one is right for {task.chance:.0%} of val"
        lines.append(f"{name}: classes of unequal size: {rule}")
    return lines


def _size(card: Dataset, task: Any) -> str:
    if card.task == "language_modelling":
        return f"{sum(task.meta['tokens'].values()):,} tokens, {len(task.meta['vocabulary']):,} different"
    rows = f"{sum(task.meta['rows']):,} rows" if "rows" in task.meta else f"{sum(task.counts.values()):,} sequences"
    if "labels" in task.meta:
        rows += f" with {len(task.meta['labels']):,} labels"
    if "classes" in task.meta:
        rows += f" of {len(task.meta['classes']):,} classes"
    return rows


def _step(task: Any) -> str:
    """Return the usual step in time of a forecast, in words and in brackets."""
    if not hasattr(task, "times"):
        return ""
    times = task.times("train", np.arange(min(100, task.counts["train"])))[:, 0]
    steps = np.diff(times.astype("datetime64[ns]").astype(np.int64))
    if not (steps > 0).any():  # one window, or each of another group
        return ""
    seconds = float(np.median(steps[steps > 0])) / 1e9
    days = seconds / 86_400
    named = _STEPS.get(int(seconds)) if seconds == int(seconds) else None
    if 28 <= days <= 31:
        named = "monthly"
    elif 365 <= days <= 366:
        named = "yearly"
    elif named is None:
        named = f"every {seconds / 60:g} min" if seconds % 60 == 0 else f"every {seconds:g} s"
    return f" ({named})"
