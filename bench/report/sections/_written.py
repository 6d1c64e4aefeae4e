"""What the sections of translations and of transcripts share: sentences that a run stored, and bands of length."""

import json
import re
from collections.abc import Mapping
from typing import Any

from bench.report.page import Findings
from bench.results.record import RunRecord
from bench.wording import DASH, score

SHOWN = 3  # sentences


def stored(findings: Findings, run: RunRecord, name: str) -> dict[str, Any]:
    """Return the sentences that a run stored in a file; nothing if it has none."""
    try:
        path = findings.folder / "runs" / run.config.run / name
        sentences: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return sentences


def edges(name: str) -> list[int]:
    """Return the numbers in the name of a score by length; none for other scores."""
    return [int(edge) for edge in re.findall(r"\d+", name)]


def band(name: str, unit: str) -> str:
    """Return the lengths of a score by length in words."""
    numbers = edges(name)
    if "_of_" in name:
        return f"{numbers[0]} {unit}"
    return f"{numbers[0]} to {numbers[1]} {unit}" if len(numbers) > 1 else f"from {numbers[0]} {unit}"


def cells(scores: Mapping[str, float], heads: Mapping[str, str]) -> list[str]:
    """Return the scores of a row in the order of the columns."""
    return [score(scores[name]) if name in scores else DASH for name in heads]
