"""What you should know about your file before anything trains: what was assumed, counted and remarked."""

from pathlib import Path
from typing import Any

from bench.config.datasets import Dataset
from bench.data.columns import Look


def summary(path: Path, card: Dataset, task: Any, look: Look | None, notes: list[str], are_given: bool) -> list[str]:
    """Return lines that name the file. `notes` are those of the question; `are_given` says that the lengths were."""
    name = path.name
    sentences = [", ".join([_size(card, task), *([] if look is None else [look.form])])]
    time = card.arguments.get("time")
    if time:
        sentences.append(f"time = {time}{_step(task)}")
    elif card.task in ("forecasting", "anomaly"):
        sentences.append("time none: rows in their order")
    sentences += [*notes, f"splits {card.split}"]
    counts = ", ".join(f"{part} {count:,}" for part, count in task.counts.items())
    is_of_sequences = card.task in ("regression", "classification", "tagging", "translation", "transcription")
    unit = "sequences" if is_of_sequences else "windows"
    lengths = f"lengths {', '.join(map(str, card.lengths))}" + " (--length)" * (not are_given)
    lines = [f"{name}: {line}" for line in (_cut(card, task, are_given) if is_of_sequences else [])]
    lines += [f"{name}: {'; '.join(sentences)}", f"{name}: {unit}: {counts}; {lengths}"]
    lines += [remark.about(name) for remark in task.meta["remarks"]]
    if card.task not in ("forecasting", "anomaly"):
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
    name = task.meta.get("step_name")
    return "" if not name or task.meta["step"] <= 0 else f" ({name})"


def _cut(card: Dataset, task: Any, are_given: bool) -> list[str]:
    """Return a sentence on the sequences of training that are cut at the length of a sweep, if any is."""
    steps = task.steps_of("train")
    side = card.length_meaning.split()[0]  # first or last
    sentences = []
    for length in card.lengths if are_given else card.lengths[:1]:
        longer = int((steps > length).sum())
        if longer:
            what = f"{longer:,} of {len(steps):,} training sequences are longer than {length:,} steps"
            left_out = {"translation": "their pairs are left out", "transcription": "they are left out"}
            read = left_out.get(card.task, f"the {side} {length:,} are read")
            sentences.append(f"{what}: {read}")
    longest = f"the longest has {int(steps.max()):,}" + "; --length decides" * (not are_given)
    return [f"{'; '.join(sentences)} ({longest})"] if sentences else []
