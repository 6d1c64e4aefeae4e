"""The knobs of a search space: how one is declared in TOML, which values it can have, and how they are drawn."""

import math
from collections.abc import Sequence
from typing import Any

from bench.config.bounds import Between, shown
from bench.errors import DeclarationError, did_you_mean

LARGEST = 1e9
"""Bound of the ranges of knobs: no argument of a model is larger."""

MOST_ENUMERATED = 10_000
"""A space with more configurations is never exhausted by a sweep, so they are not counted."""

_TYPES = {
    "float": ({"low", "high"}, {"log", "step", "when"}),
    "int": ({"low", "high"}, {"log", "step", "when"}),
    "categorical": ({"choices"}, {"when"}),
}


def check(where: str, entry: Any) -> None:
    """Raise DeclarationError for a knob that is declared wrongly."""
    kind = entry.get("type") if isinstance(entry, dict) else None
    if not isinstance(kind, str) or kind not in _TYPES:
        raise DeclarationError(f"{where}: must have type = 'float', 'int' or 'categorical', but found {shown(entry)}")
    required, optional = _TYPES[kind]
    allowed = required | optional | {"type", "default"}
    for key in entry:
        if key not in allowed:
            hint = did_you_mean(key, allowed - entry.keys())
            raise DeclarationError(f"{where}: {key}: not a field of a {kind} knob{hint}")
    for key in sorted(required | {"default"}):
        if key not in entry:
            raise DeclarationError(f"{where}: {key} is missing")
    if kind == "categorical":
        choices = entry["choices"]
        if not isinstance(choices, list) or len(choices) < 2:
            raise DeclarationError(f"{where}: choices: must be a list of at least two, but found {shown(choices)}")
        if not among(entry["default"], choices):
            raise DeclarationError(f"{where}: default {shown(entry['default'])} is not among the choices {choices}")
    else:
        _check_range(where, entry)


def _check_range(where: str, entry: dict[str, Any]) -> None:
    """Raise DeclarationError for a range of numbers that is declared wrongly."""
    for key in ("low", "high", "default", "step"):
        if key in entry:
            try:
                Between(-LARGEST, LARGEST).check(entry[key], whole=entry["type"] == "int")
            except ValueError as error:
                raise DeclarationError(f"{where}: {key}: {error}") from None
    low, high, default, log = entry["low"], entry["high"], entry["default"], entry.get("log", False)
    if not isinstance(log, bool):
        raise DeclarationError(f"{where}: log: must be true or false, but found {shown(log)}")
    if not low < high:
        raise DeclarationError(f"{where}: low must be less than high, but found low = {low}, high = {high}")
    if log and low <= 0:
        raise DeclarationError(f"{where}: low must be greater than 0 on a log scale, but found low = {low}")
    if log and "step" in entry:
        raise DeclarationError(f"{where}: log and step exclude each other; keep one")
    if entry.get("step", 1) <= 0:
        raise DeclarationError(f"{where}: step must be greater than 0, but found {entry['step']}")
    if not low <= default <= high:
        raise DeclarationError(f"{where}: default {default} lies outside [{low}, {high}]")
    for key in ("high", "default") if "step" in entry else ():
        if not _on_grid(entry, entry[key]):
            rule = f"must be low plus a whole number of steps of {entry['step']}"
            raise DeclarationError(f"{where}: {key}: {rule}, but found {entry[key]}")


def among(value: Any, choices: list[Any]) -> bool:
    """Return whether a value is among the choices with its type: 1 == True == 1.0 in Python."""
    return any(type(value) is type(choice) and value == choice for choice in choices)


def allows(entry: dict[str, Any], value: Any) -> bool:
    """Return whether a knob can have a value. A record may hold 0.0 for the choice 0: they are equal."""
    if entry["type"] == "categorical":
        return value in entry["choices"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return entry["low"] <= value <= entry["high"] and _on_grid(entry, value)


def _on_grid(entry: dict[str, Any], value: float) -> bool:
    """Return whether a number is `low` plus a whole number of steps, with Optuna's tolerance."""
    step = entry.get("step", 1 if entry["type"] == "int" else None)
    if step is None:
        return True
    steps = (value - entry["low"]) / step
    return abs(steps - round(steps)) < 1e-8


def grid(entry: dict[str, Any]) -> Sequence[Any] | None:
    """Return all values of a knob; None if it is continuous."""
    if entry["type"] == "categorical":
        choices: list[Any] = entry["choices"]
        return choices
    if entry["type"] == "int":
        return range(entry["low"], entry["high"] + 1, entry.get("step", 1))
    if "step" not in entry:
        return None
    low, high, step = entry["low"], entry["high"], entry["step"]
    return [min(high, low + step * index) for index in range(min(round((high - low) / step), MOST_ENUMERATED) + 1)]


GRID_POINTS = 5
"""Values of a continuous or a wide knob in a grid search."""


def gridded(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a knob with the few values that a grid search tries.

    Choices, and knobs of at most GRID_POINTS values, keep all of them. Other knobs get GRID_POINTS values at equal
    distances from low to high, on a log scale if the knob has one, and their default.
    """
    values = grid(entry)
    if entry["type"] == "categorical" or (values is not None and len(values) <= GRID_POINTS):
        return entry
    low, high = entry["low"], entry["high"]
    shares = [index / (GRID_POINTS - 1) for index in range(GRID_POINTS)]
    points = [low * (high / low) ** u if entry.get("log") else low + u * (high - low) for u in shares]
    if values is not None:
        points = [min(values, key=lambda value: abs(value - point)) for point in points]
    else:
        points = [float(f"{min(max(point, low), high):.6g}") for point in points]
    kept = {key: value for key, value in entry.items() if key in ("default", "when")}
    return kept | {"type": "categorical", "choices": sorted({*points, entry["default"]})}


def value_at(entry: dict[str, Any], u: float) -> Any:
    """Return the value of a knob at u in [0, 1)."""
    if entry["type"] == "categorical":
        return entry["choices"][int(u * len(entry["choices"]))]
    low, high = entry["low"], entry["high"]
    if entry["type"] == "float":
        if entry.get("log"):
            value = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
        elif "step" in entry:
            value = low + entry["step"] * int(u * (round((high - low) / entry["step"]) + 1))
        else:
            value = low + u * (high - low)
        return float(min(high, max(low, value)))  # rounding may leave the range
    if entry.get("log"):
        # Half a unit on either side, so that the ends are drawn as often as their neighbours.
        return min(high, max(low, round(math.exp(math.log(low - 0.5) + u * math.log((high + 0.5) / (low - 0.5))))))
    step = entry.get("step", 1)
    return low + step * int(u * ((high - low) // step + 1))


def ends(entry: dict[str, Any]) -> list[Any]:
    """Return all choices of a knob, or the ends of its range."""
    choices: list[Any] = entry.get("choices") or [entry["low"], entry["high"]]
    return choices
