"""Numbers as tables write them: with a decimal point or comma, and with or without separators of thousands."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*")
ONE_GROUP = re.compile(r"\s*[-+]?[1-9]\d{0,2}[.,]\d{3}\s*")
"""A number such as 1,500, which is 1500 or 1.5."""

MINUS = "−"  # of typeset tables

_BLANKS = " '’\u00a0\u2009\u202f"  # what separates thousands whatever the decimal sign is
_GROUPED = r"\s*[-+]?(?:[1-9]\d{0,2}([%s])\d{3}(?:\1\d{3})*|[1-9]\d?(?:%s\d{2})+%s\d{3})(?:%s\d+)?\s*"
_SEPARATORS = {".": f"{_BLANKS},", ",": f"{_BLANKS}."}
_OTHER = {".": ",", ",": "."}
GROUPED = {
    sign: _GROUPED % (re.escape(_SEPARATORS[sign]), *[re.escape(_OTHER[sign])] * 2, re.escape(sign)) for sign in ".,"
}
"""Numbers with separators of thousands, by decimal sign. Lakh and crore have groups of two digits."""

_SURE = {  # 1,234.5 and 1 234.5 have decimal points, and so has the file of 1,234,567
    sign: re.compile(
        rf"\s*[-+]?\d{{1,3}}((([{_BLANKS}]\d{{3}})+|({other}\d{{3}})+){re.escape(sign)}\d+|({other}\d{{3}}){{2,}})\s*"
    )
    for sign, other in ((".", ","), (",", re.escape(".")))
}
_UNIT = re.compile(
    r"^\s*(?P<sign>[-+−]?)(?P<before>[$€£¥₹₩]|[A-Z]{3}(?=[\s\d]))?\s*"
    r"(?P<number>[-+−]?(?:\d[\d.,'’\u00a0\u2009\u202f ]*|\.\d+))"
    r"(?P<after>[%‰€£¥₹₩]|°[CF]?|[A-Za-zµ][A-Za-zµ/·²³]{0,7})?\s*$"
)
"""A number with a unit, such as $1,234.50, 45 % or 12.3 kWh."""

_MINUS = {ord(MINUS): "-"}
_SWAPPED = str.maketrans(",.", ".,") | _MINUS


def decimal_sign(cells: Iterable[str]) -> str:
    """Return the decimal sign of numbers: a comma if that is sure, else a point.

    A comma is sure in 1.234,5 and in 1.234.567; in 0,5 if no number has a point that separates decimals.
    """
    texts = [_UNIT.sub(r"\g<sign>\g<number>", cell).strip() for cell in cells if "," in cell or "." in cell]
    if any(map(_SURE["."].fullmatch, texts)):
        return "."
    points = [cell for cell in texts if "." in cell and NUMBER.fullmatch(cell)]
    decimals = [cell for cell in points if not ONE_GROUP.fullmatch(cell)]
    if any(map(_SURE[","].fullmatch, texts)):
        return "." if decimals else ","
    commas = [cell for cell in texts if DECIMAL_COMMA.fullmatch(cell)]
    if not commas or decimals or all(map(ONE_GROUP.fullmatch, commas)):
        return "."
    return ","


def has_sure_points(cells: Iterable[str]) -> bool:
    """Return whether some number surely has a decimal point."""
    return any("." in cell and NUMBER.fullmatch(cell) and not ONE_GROUP.fullmatch(cell) for cell in cells)


def plain(cell: str, decimal: str | None) -> str:
    """Return a number with a decimal point and without separators of thousands, and any other cell as it is."""
    sign, cell = decimal or ".", cell.replace(MINUS, "-") if cell.lstrip().startswith(MINUS) else cell
    if re.fullmatch(GROUPED[sign], cell):
        return re.sub(f"[{re.escape(_SEPARATORS[sign])}]", "", cell.strip()).replace(",", ".")
    return cell.replace(",", ".") if sign == "," and DECIMAL_COMMA.fullmatch(cell) else cell


def as_texts(column: Any) -> Any:
    """Return a column whose cells may be truth values, decimals or other objects as texts, missing cells as they are.

    Tables of JSON and Parquet have such columns; a truth value with missing neighbours is one of them.
    """

    def text(cell: Any) -> str:
        try:
            return cell if isinstance(cell, str) else f"{float(cell):.17g}"
        except (TypeError, ValueError):
            return str(cell)

    return column.astype(object).map(text, na_action="ignore").astype("string")


def without_unit(column: Any, unit: str | None = None) -> tuple[Any, str] | None:
    """Return a column of texts without the unit that all of its cells have, and the unit; None if they have none.

    If the `unit` is given, it is taken from the cells that have it; the others stay as they are.
    """
    import pandas as pd

    known = column.dropna()
    parts = known.iloc[:1].str.extract(_UNIT)
    if unit is None and (not len(parts) or not parts[["before", "after"]].notna().any(axis=None)):
        return None
    parts = known.str.extract(_UNIT)
    units = parts["before"].fillna("") + parts["after"].fillna("")
    if unit is None:
        unit = str(units.iloc[0])
        if parts["number"].isna().any() or not (units == unit).all():
            return None
    bare = (parts["sign"] + parts["number"].str.strip()).where(units == unit, known)
    return bare.reindex(column.index).astype(pd.StringDtype()), unit


def parsed(column: Any, decimal: str | None) -> np.ndarray:
    """Return a column of texts as float64, NaN for what is missing or not a number without separators."""
    import pandas as pd

    text = column.str.translate(_SWAPPED if decimal == "," else _MINUS)
    return np.array(pd.to_numeric(text, errors="coerce"), dtype=np.float64)


def ungrouped(column: Any, decimal: str | None) -> np.ndarray:
    """Return a column of texts as float64, NaN for what is not a number with separators of thousands."""
    sign = decimal or "."
    column = column.str.translate(_MINUS)
    are_grouped = column.str.fullmatch(GROUPED[sign]).fillna(False).astype(bool)
    cleaned = column.where(are_grouped).str.replace(rf"[\s{re.escape(_SEPARATORS[sign])}]", "", regex=True)
    return parsed(cleaned, sign)
