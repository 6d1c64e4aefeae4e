"""Reader of search spaces, and how their points are drawn.

`search_spaces/NAME.toml` declares what may be tuned for one baseline; a TOML file beside your own model does it for
that model. It is read strictly into Optuna distributions: a misspelled field, an unknown knob or a default outside its
range is an error before the first trial.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import plugins
from bench.config.bounds import Between, shown
from bench.config.settings import BASELINES, TUNABLE, TrainSettings
from bench.config.strict import NAME, fingerprint, one_line, read_toml
from bench.errors import DeclarationError, did_you_mean

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MOST_ENUMERATED = 10_000
"""A space with more configurations is never exhausted by a sweep, so they are not counted."""

LARGEST = 1e9
"""Bound of the ranges of knobs: no argument of a model is larger."""

_TYPES = {
    "float": ({"low", "high"}, {"log", "step", "when"}),
    "int": ({"low", "high"}, {"log", "step", "when"}),
    "categorical": ({"choices"}, {"when"}),
}


@dataclass(frozen=True)
class SearchSpace:
    """What may be tuned for one baseline."""

    name: str
    title: str
    model: str  # in bench/models, or the absolute path of your own file
    fixed: dict[str, Any]
    tuned: dict[str, dict[str, Any]]  # by knob: type, its range, default, and when it counts
    width: str | None = None  # the knob that capacity matching solves for
    causal: bool = True  # False where the body of the class says so
    source_hash: str = ""  # SHA-256 of your own file: a changed file is another model

    @property
    def hash(self) -> str:
        """The space in records: equal spaces have equal hashes, wherever your own file lies."""
        return fingerprint({"model": self.source_hash or self.model, "fixed": self.fixed, "tune": self.tuned})

    @property
    def default(self) -> dict[str, Any]:
        """The configuration that is tried first."""
        return {name: entry["default"] for name, entry in self.tuned.items()}

    @property
    def bidirectional(self) -> bool:
        """Whether the encoder sees the future, so that it must not answer a causal task."""
        return not self.causal or bool(self.fixed.get("bidirectional", False))

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the tuned knobs as Optuna distributions."""
        from optuna import distributions

        made: dict[str, BaseDistribution] = {}
        for name, entry in self.tuned.items():
            fields = {key: value for key, value in entry.items() if key not in ("type", "default", "when")}
            if entry["type"] == "float":
                made[name] = distributions.FloatDistribution(**fields)
            elif entry["type"] == "int":
                made[name] = distributions.IntDistribution(**fields)
            else:
                made[name] = distributions.CategoricalDistribution(**fields)
        return made

    @property
    def can_repeat(self) -> bool:
        """Whether two draws may be the same configuration: no knob is continuous in every configuration."""
        return not any(_grid(entry) is None and "when" not in entry for entry in self.tuned.values())

    def configurations(self) -> list[dict[str, Any]] | None:
        """Return a point for each distinct configuration; None if there are more than MOST_ENUMERATED."""
        grids = [_grid(entry) for _, entry in sorted(self.tuned.items())]
        sizes = [len(grid) if grid is not None else math.inf for grid in grids]
        if math.prod(sizes) > MOST_ENUMERATED:
            return None
        distinct: dict[str, dict[str, Any]] = {}
        for values in itertools.product(*filter(None, grids)):
            point = dict(zip(sorted(self.tuned), values, strict=True))
            distinct.setdefault(repr(self.split(point)), point)  # a knob whose `when` does not hold makes no difference
        return list(distinct.values())

    def sobol_point(self, index: int, seed: int) -> dict[str, Any]:
        """Return point `index` (from 0) of the scrambled Sobol sequence of `seed`.

        A pure function of (space, seed, index), so that an interrupted sweep draws what an uninterrupted one draws.
        The points of one seed fill the space evenly; re-seeding at each trial would destroy that (Owen 1998).
        """
        from scipy.stats import qmc

        if not self.tuned:
            return {}
        sobol = qmc.Sobol(len(self.tuned), scramble=True, rng=seed)
        unit = sobol.fast_forward(index).random(1)[0] if index else sobol.random(1)[0]
        return {name: _at(entry, float(u)) for (name, entry), u in zip(sorted(self.tuned.items()), unit, strict=True)}

    def split(self, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the model's arguments and the training settings of a configuration, fixed ones included.

        A knob whose `when` does not hold is drawn like the others, so that points stay even, and is left out here.
        """
        merged = self.fixed | {name: value for name, value in values.items() if self._counts(name, values)}
        train = {name: value for name, value in merged.items() if name in TUNABLE}
        return {name: value for name, value in merged.items() if name not in TUNABLE}, train

    def _counts(self, name: str, values: dict[str, Any]) -> bool:
        when = self.tuned[name].get("when", {})
        known = self.fixed | values  # a matched width is fixed, and another knob may depend on it
        return all(_among(known[knob], choices) for knob, choices in when.items())

    def values_of(self, arguments: dict[str, Any]) -> dict[str, Any] | None:
        """Return the point of this space with the knobs of `arguments`; None if one lies outside its range.

        `arguments` are a model's arguments and training settings, from a run of this or of an earlier space. Knobs
        that they do not name get their defaults.
        """
        values = {name: arguments.get(name, entry["default"]) for name, entry in self.tuned.items()}
        return values if all(_has(entry, values[name]) for name, entry in self.tuned.items()) else None

    def matched(self, rule: str, width: int) -> SearchSpace:
        """Return this space at the width that meets `rule`, such as parameters=70k."""
        assert self.width is not None
        tuned = {name: entry for name, entry in self.tuned.items() if name != self.width}
        return replace(self, name=f"{self.name}@{rule}", fixed=self.fixed | {self.width: width}, tuned=tuned)


def read(name: str, folder: Path | None = None) -> SearchSpace:
    """Read and check a search space: that of a name, or the one beside your own model, such as ./my_model.py.

    Raises UnknownNameError and DeclarationError.
    """
    own = _own_file(name) if plugins.is_file("models", name) else None
    path = plugins.declaration("search_spaces", name, folder) if own is None else own.with_suffix(".toml")
    values = _checked_keys(path, read_toml(path), own)
    model = values["model"] if own is None else str(own)
    file = f"bench/models/{model}.py" if own is None else own.name
    declared = plugins.declared("models", model, "Model")
    if declared.positional != ["input_size", "length"]:
        rule = "must be Model.__init__(self, input_size, length, *, ...), with the arguments that may be tuned after *"
        found = ", ".join(["self", *declared.positional])
        raise DeclarationError(f"{plugins.source('models', model)}: line {declared.line}: {rule}, but found ({found})")
    knobs = declared.keyword | TUNABLE
    fixed, tuned, width = values.get("fixed", {}), values["tune"], values.get("width")
    _check_knobs(path, file, knobs, fixed, tuned)
    if width is not None and (width in TUNABLE or width not in knobs):
        raise DeclarationError(f"{path}: width: must be an argument of {file}, but found {shown(width)}")
    space = SearchSpace(
        name=path.stem,
        title=values["title"],
        model=model,
        fixed=fixed,
        tuned=tuned,
        width=width,
        causal=declared.constants.get("causal") is not False,
        source_hash="" if own is None else plugins.source_hash(own),
    )
    _check_settings(path, space)
    for knob in sorted(declared.required - fixed.keys() - tuned.keys()):
        raise DeclarationError(f"{path}: {knob}: {file} has no default for it; add it to [fixed] or [tune]")
    return space


def _checked_keys(path: Path, values: dict[str, Any], own: Path | None) -> dict[str, Any]:
    """Return the top of a search space, with its model. Raises DeclarationError."""
    known = {"title", "model", "width", "fixed", "tune"}
    for key in values:
        if key not in known:
            raise DeclarationError(f"{path}: {key}: not a known key{did_you_mean(key, known)}")
    if own is not None and values.setdefault("model", own.stem) != own.stem:
        rule = f"must be '{own.stem}', the file beside it, or be left out"
        raise DeclarationError(f"{path}: model: {rule}, but found {shown(values['model'])}")
    for key, kind, what in (("title", str, "text"), ("model", str, "text"), ("tune", dict, "a table")):
        if not isinstance(values.get(key), kind) or not values[key]:
            raise DeclarationError(f"{path}: {key}: missing or empty; every search space needs it, as {what}")
    if not isinstance(values.get("fixed", {}), dict):
        raise DeclarationError(f"{path}: fixed: must be a table, but found {shown(values['fixed'])}")
    if own is None and plugins.is_file("models", values["model"]):
        raise DeclarationError(f"{path}: model: must be a name, but found a file; give --models the file itself")
    return values


def _check_knobs(path: Path, model: str, knobs: set[str], fixed: dict[str, Any], tuned: dict[str, Any]) -> None:
    """Raise DeclarationError for a knob that does not exist, is given twice or is declared wrongly."""
    for section, entries in (("fixed", fixed), ("tune", tuned)):
        for knob in entries:
            where = f"{path}: [{section}] {knob}"
            if "seed" in knob:
                raise DeclarationError(f"{where}: a seed cannot be fixed or tuned; the sweep draws it")
            if knob not in knobs:
                rule = f"neither an argument of {model} nor a training setting"
                raise DeclarationError(f"{where}: {rule}{did_you_mean(knob, knobs)}")
    for knob in fixed.keys() & tuned.keys():
        raise DeclarationError(f"{path}: {knob}: both fixed and tuned; keep one")
    for knob, entry in tuned.items():
        _check(f"{path}: [tune] {knob}", entry)
        _check_when(f"{path}: [tune] {knob}: when", entry.get("when", {}), tuned)


def _own_file(name: str) -> Path:
    """Return the absolute path of your own model, which has its search space beside it."""
    path = Path(os.path.abspath(Path(name).expanduser()))
    if not path.is_file():
        raise DeclarationError(f"{path}: no such file; your own model is a Python file with a class Model")
    if not NAME.fullmatch(path.stem):
        rule = "must have 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        raise DeclarationError(f"{path}: the name of the file is the name of the model: {rule}")
    if path.stem in BASELINES:
        raise DeclarationError(f"{path}: '{path.stem}' is the name of a built-in model; rename the file")
    if not path.with_suffix(".toml").is_file():
        rule = "your own model needs a search space beside it, with title and [tune]"
        raise DeclarationError(f"{path.with_suffix('.toml')}: no such file; {rule}")
    return path


def _check(where: str, entry: Any) -> None:
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
        if not _among(entry["default"], choices):
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


def _check_when(where: str, when: Any, tuned: dict[str, Any]) -> None:
    """Raise DeclarationError unless a condition names choices of another knob that has no condition itself."""
    if not isinstance(when, dict):
        raise DeclarationError(f"{where}: must be {{ knob = [choices] }}, but found {shown(when)}")
    for knob, choices in when.items():
        other = tuned.get(knob, {})
        if not isinstance(other, dict) or other.get("type") != "categorical" or "when" in other:
            raise DeclarationError(f"{where}: {knob}: must be a categorical knob of this space without a condition")
        if not isinstance(choices, list) or not choices or not all(_among(c, other["choices"]) for c in choices):
            raise DeclarationError(f"{where}: {knob}: must be some of {other['choices']}, but found {shown(choices)}")


def _among(value: Any, choices: list[Any]) -> bool:
    """Return whether a value is among the choices with its type: 1 == True == 1.0 in Python."""
    return any(type(value) is type(choice) and value == choice for choice in choices)


def _check_settings(path: Path, space: SearchSpace) -> None:
    """Raise DeclarationError for a training setting with a value, an end or a choice that training refuses."""
    from pydantic import ValidationError

    budget = {"max_sequences": 1, "batch_size": 1, "num_epochs": 1, "num_val": 1, "num_test": 1}
    fixed = {name: value for name, value in space.fixed.items() if name in TUNABLE}
    candidates = [fixed]
    for name, entry in space.tuned.items():
        if name in TUNABLE:
            candidates += [{name: end} for end in entry.get("choices") or (entry["low"], entry["high"])]
    for values in candidates:
        try:
            TrainSettings.model_validate(budget | values)
        except ValidationError as error:
            raise DeclarationError(one_line(path, error)) from None


def _has(entry: dict[str, Any], value: Any) -> bool:
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


def _grid(entry: dict[str, Any]) -> Sequence[Any] | None:
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


def _at(entry: dict[str, Any], u: float) -> Any:
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
