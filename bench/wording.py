"""Numbers and words as tables and sentences for people show them."""

import math
from collections.abc import Iterable
from typing import Any

DASH = "–"


def is_known(value: Any) -> bool:
    """Return whether a value is known: neither None nor NaN."""
    import pandas as pd  # imported here, since the command line uses this module before it needs pandas

    return not pd.isna(value)


def as_float(value: Any) -> float:
    """Return a number as a float; NaN if it is unknown."""
    return float(value) if is_known(value) else math.nan


def number(value: float | None) -> str:
    """Return a number with three significant digits and thousands separators; a dash if it is unknown."""
    if value is None or not is_known(value) or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}".replace("-", "−")


def score(value: float | None) -> str:
    """Return a score with three decimals; a dash if it is unknown."""
    return DASH if value is None or not is_known(value) else f"{value:.3f}".replace("-", "−")


def signed(value: float) -> str:
    """Return a difference of scores with its sign; a dash if it is unknown."""
    if not is_known(value):
        return DASH
    return "0.000" if abs(value) < 0.0005 else f"{value:+.3f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """Return an interval of differences; a dash if it is unknown."""
    return f"{signed(low)} to {signed(high)}" if is_known(low) and is_known(high) else DASH


def whole(count: float | None) -> str:
    """Return a count with thousands separators; a dash if it is unknown."""
    return DASH if count is None or not is_known(count) else f"{int(count):,}"


def percent(share: float) -> str:
    """Return a share in percent; a dash if it is unknown."""
    if not is_known(share):
        return DASH
    return f"{100 * share:.0f} %" if share in (0, 1) or share >= 0.1 else f"{100 * share:.1f} %"


def usd(value: float) -> str:
    """Return an amount of money with cents, or with three significant digits if it is below ten cents."""
    return f"{value:,.2f}" if value >= 0.1 or value == 0 else number(value)


def time_unit(seconds: float) -> tuple[str, float]:
    """Return the unit for a time of this many seconds, and its size in hours."""
    if not is_known(seconds) or seconds < 120:
        return "s", 1 / 3600
    return ("min", 1 / 60) if seconds < 7200 else ("h", 1.0)


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours, depending on its size."""
    unit, hours = time_unit(seconds)
    return f"{number(seconds / 3600 / hours)} {unit}"


def first(names: Iterable[object], most: int) -> str:
    """Return at most `most` names separated by commas, and how many more there are."""
    shown = [str(name) for name in names]
    left = len(shown) - most
    return ", ".join(shown[:most]) + f" … and {left:,} more" * (left > 0)


def bare(model: str) -> str:
    """Return a model's name without the rule of capacity, which is written behind an `@`."""
    return model.partition("@")[0]


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: `1 trial`, `2 trials`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def is_or_are(number: int) -> str:
    """Return the verb that agrees with a number."""
    return "is" if number == 1 else "are"


def was_or_were(number: int) -> str:
    """Return the verb that agrees with a number, in the past tense."""
    return "was" if number == 1 else "were"


def enumeration(words: Iterable[str]) -> str:
    """Return words joined by commas and a final `and`. `words` must not be empty."""
    words = list(words)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def shortened(text: str, most: int = 24) -> str:
    """Return a text on one line, of at most `most` characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
