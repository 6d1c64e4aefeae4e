"""The leaderboard as CSV, as Markdown and as tables of text cells."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.results import answers
from bench.results.disturbance import mark
from bench.results.leaderboard import Status
from bench.results.record import write_atomically
from bench.wording import bare, is_known

SHOWN = {
    "model": "model",
    "rank": "rank",
    "score": "score",
    "interval": "95 % interval",
    "solved": "solved",
    "sequences_to_solve": "sequences to solve",
    "num_parameters": "parameters",
    "train_step_milliseconds": "ms a step",
    "inference_sequences_per_second": "inference seq/s",
    "peak_memory_mib": "MiB",
    "train_seconds": "train s",
    "device_seconds": "device s",
}
"""The columns that fit a screen, and their headings."""

_FORMATS = {
    "rank": ".0f",
    "score": ".3f",
    "sequences_to_solve": ",.0f",
    "num_parameters": ",.0f",
    "train_step_milliseconds": ".2f",
    "inference_sequences_per_second": ",.0f",
    "peak_memory_mib": ".0f",
    "train_seconds": ".1f",
    "device_seconds": ".1f",
}


def for_people(board: pd.DataFrame) -> dict[str, list[list[str]]]:
    """Return a table of text cells for each dataset and length, by its heading; the columns are those of SHOWN."""
    tables: dict[str, list[list[str]]] = {}
    for title, group in answers.questions(board):
        steps, metric, interval = (group[name].dropna() for name in ("steps", "metric", "ci_of"))
        heading = f"{title} ({int(steps.iloc[0])} steps, {metric.iloc[0]}"
        heading += f"; interval of the {interval.iloc[0]})" if len(interval) else ")"
        tables[heading] = [_cells(row) for _, row in group.iterrows()]
    return tables


def _cells(row: "pd.Series[Any]") -> list[str]:
    known = {name: form for name, form in _FORMATS.items() if is_known(row[name])}
    cells = {name: format(row[name], form) + mark(row, name) for name, form in known.items()}
    cells["model"] = bare(row["model"])
    if is_known(row["score"]):
        if is_known(row["ci_low"]):
            cells["interval"] = f"{row['ci_low']:.2f} to {row['ci_high']:.2f}"
        if is_known(row["solved"]):
            cells["solved"] = f"{int(row['solved'])} of {int(row['num_seeds'])}"
    elif row["status"] != Status.COMPLETE:
        status = "not fitted" if row["status"] == Status.BASELINE else str(row["status"]).replace("_", " ")
        cells = {"model": f"{cells['model']} ({status})", "device_seconds": cells.get("device_seconds", "")}
    return [cells.get(name, "") for name in SHOWN]


def filled(head: Sequence[str], rows: Sequence[Sequence[str]], empty: str = "") -> tuple[list[str], list[list[str]]]:
    """Return the headings and rows of a table without the columns in which all cells are empty."""
    kept = [index for index in range(len(head)) if any(row[index] != empty for row in rows)]
    return [head[index] for index in kept], [[row[index] for index in kept] for row in rows]


def to_markdown(board: pd.DataFrame) -> str:
    """Return the leaderboard as Markdown: the answers, then a table for each dataset and length."""
    parts = ["\n".join(f"- {line}" for line in answers.lines(board))]
    for heading, cells in for_people(board).items():
        head, rows = filled(list(SHOWN.values()), cells)
        frame = pd.DataFrame(rows, columns=head).replace(r"\|", r"\\|", regex=True)
        align = ["left", *["right"] * (len(head) - 1)]
        parts += [f"### {heading}", frame.to_markdown(index=False, disable_numparse=True, colalign=align)]
    first = board[board["hardware"].notna()].iloc[:1]
    for row in first.itertuples():
        where = f"{row.hardware}, {row.device}, {row.threads} thread(s) a run; Python {row.python}, torch {row.torch}"
        parts.append(f"{where}; commit {row.commit if is_known(row.commit) else 'unknown'}; sweep {row.sweep}.")
    return "\n\n".join(parts) + "\n"


def write_csv(board: pd.DataFrame, path: Path) -> None:
    """Write the leaderboard as CSV.

    A text cell that a spreadsheet would run as a formula gets a leading quote. So does one that it would read as a
    number, such as the commit 12e4567 or a sweep named 0012.
    """
    safe = board.copy()
    for column in safe.columns:
        if safe[column].dtype.kind not in "fiub":
            safe[column] = safe[column].map(_inert)
    write_atomically(path, safe.to_csv(index=False, lineterminator="\n"))


def _inert(value: Any) -> Any:
    if isinstance(value, str) and value and (value[0] in "=+-@\t\r\0" or re.fullmatch(r"\d+(\.\d+)?([eE]\d+)?", value)):
        return f"'{value}"
    return value
