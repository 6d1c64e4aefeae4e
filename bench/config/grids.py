"""How much CO2 a kilowatt-hour stands for: a number that you give, or a region in the dated table `grids.toml`."""

import math
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field

from bench.config.bounds import Between
from bench.config.strict import Strict, read_models
from bench.errors import DeclarationError, UnknownNameError

TABLE = Path(__file__).with_name("grids.toml")


class Grid(Strict):
    """The yearly mean of a grid, in grams of CO2 equivalents for a kilowatt-hour, as a page published it on a day."""

    gco2_per_kwh: Annotated[float, Between(0, 10_000, "grams of CO2 equivalents")]
    place: str
    year: int  # that the mean is of
    source: str = Field(pattern="^https://")  # the page it was read from
    read: date  # date of reading it


def read(path: Path = TABLE) -> dict[str, Grid]:
    """Return the grids by name. Raises DeclarationError."""
    return read_models(path, Grid)


def grid(value: float | str | None) -> dict[str, float | str] | None:
    """Return the grams of CO2 for a kilowatt-hour and where the number is from, as a sweep notes them.

    `value` is the number itself, or a name in the table. Raises UnknownNameError, and DeclarationError for a number
    that is below 0 or not finite.
    """
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        grids = read()
        if value not in grids:
            raise UnknownNameError("grid", str(value), grids) from None
        known = grids[str(value)]
        source = f"{value}, mean of {known.year}, {known.source}, read {known.read}"
        return {"gco2_per_kwh": known.gco2_per_kwh, "source": source}
    if not 0 <= number < math.inf:
        rule = "grams of CO2 for a kWh, 0 or more, or a name in the table"
        raise DeclarationError(f"grid_gco2_per_kwh: {rule}, but found '{value}'")
    return {"gco2_per_kwh": number, "source": "given"}
