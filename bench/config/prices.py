"""What a machine costs an hour: a number that you give, or a name in the dated table `prices.toml`."""

import math
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field

from bench.config.bounds import Between
from bench.config.strict import Strict, read_models
from bench.errors import DeclarationError, UnknownNameError

TABLE = Path(__file__).with_name("prices.toml")


class Price(Strict):
    """The on-demand price of one whole machine, as its provider published it on a day."""

    usd_per_hour: Annotated[float, Between(1e-6, 1e6, "USD an hour")]  # before tax, without storage and traffic
    hardware: str
    provider: str
    region: str
    source: str = Field(pattern="^https://")  # the page it was read from
    read: date  # date of the page if it shows one, else of reading it
    note: str | None = None


def read(path: Path = TABLE) -> dict[str, Price]:
    """Return the prices by name. Raises DeclarationError."""
    return read_models(path, Price)


def usd_per_hour(value: float | str | None) -> float | None:
    """Return the price of a machine in USD an hour: the number given, or that of the name in the table.

    Raises UnknownNameError, and DeclarationError for a number that is no price.
    """
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        prices = read()
        if value not in prices:
            raise UnknownNameError("price", str(value), prices) from None
        return prices[str(value)].usd_per_hour
    if not 0 <= number < math.inf:
        raise DeclarationError(f"price_per_hour: USD an hour, 0 or more, or a name in the table, but found '{value}'")
    return number
