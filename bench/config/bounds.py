"""Numbers with a lower and an upper bound, and the reason of the bound in the message that refuses one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

YEAR = 366 * 86_400.0  # seconds


def shown(value: Any) -> str:
    """Return how a message quotes a value: its repr, cut off after 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write integers of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:79]}…"


@dataclass(frozen=True)
class Between:
    """Marks a number as at least `low` and at most `high`: `Annotated[int, Between(1, 64, "why")]`.

    Booleans and text are not numbers, and neither are infinity, NaN and negative zero.
    """

    low: float
    high: float
    why: str = ""

    def check(self, value: Any, whole: bool = False) -> Any:
        """Return a number that is allowed. Raises ValueError with the rule and what was found."""
        kinds = int if whole else (int, float)
        is_number = isinstance(value, kinds) and not isinstance(value, bool)
        if is_number and self.low <= value <= self.high and (value or math.copysign(1, value) > 0):
            return value
        kind = "a whole number" if whole else "a number"
        why = f"; {self.why}" if self.why else ""
        raise ValueError(
            f"must be {kind} from {_plain(self.low)} to {_plain(self.high)}, but found {shown(value)}{why}"
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Check a field before pydantic, which takes `true` for 1 and "3" for 3."""
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(
            lambda value: self.check(value, whole=source is int), handler(source)
        )


def are_shares(values: Sequence[Any]) -> bool:
    """Return whether these are three shares, each between 0 and 1, that sum to 1."""
    numbers = [value for value in values if isinstance(value, float) and 0 < value < 1]
    return len(numbers) == len(values) == 3 and abs(sum(numbers) - 1) < 1e-6


def are_counts(values: Sequence[Any], most: float = math.inf) -> bool:
    """Return whether these are three whole numbers from 1 to `most`."""
    counts = [value for value in values if type(value) is int and 1 <= value <= most]
    return len(counts) == len(values) == 3


def _plain(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1 and number == int(number) else f"{number:g}"
