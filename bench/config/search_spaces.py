"""Reader of search spaces, and how their points are drawn.

`search_spaces/NAME.toml` declares what may be tuned for one baseline; a TOML file beside your own model does it for
that model. Both are merged with the recipe of the task's kind (bench/config/sections.py). They are read strictly into
Optuna distributions: a misspelled field, an unknown knob or a default outside its range is an error before the first
trial.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import knobs, own_code, plugins, sections
from bench.config.bounds import shown
from bench.config.contracts import Kind
from bench.config.sections import Section
from bench.config.settings import TUNABLE
from bench.config.strict import NAME, fingerprint, read_toml
from bench.errors import DeclarationError, did_you_mean

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

UNUSED = {"dropout": 0.0, "layer_dropout": 0.0}
"""Fixed values of shipped models that mean the same as none: version 0.1, without dropout, had equal spaces."""


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
    kind: Kind = "synthetic"  # of the tasks that these knobs are for
    held: tuple[str, ...] = ()  # knobs that capacity matching keeps at their defaults

    @property
    def hash(self) -> str:
        """The space in records: equal spaces have equal hashes, wherever your own file lies."""
        unused = {} if self.source_hash else UNUSED
        fixed = {name: value for name, value in self.fixed.items() if name not in unused or value != unused[name]}
        return fingerprint({"model": self.source_hash or self.model, "fixed": fixed, "tune": self.tuned})

    @property
    def default(self) -> dict[str, Any]:
        """The configuration that is tried first."""
        return {name: entry["default"] for name, entry in self.tuned.items()}

    @property
    def bidirectional(self) -> bool:
        """Whether the encoder of the default configuration sees the future, so that no causal task may have it."""
        return not self.causal or bool((self.fixed | self.default).get("bidirectional", False))

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
        return not any(knobs.grid(entry) is None and "when" not in entry for entry in self.tuned.values())

    def configurations(self) -> list[dict[str, Any]] | None:
        """Return a point for each distinct configuration; None if there are more than knobs.MOST_ENUMERATED."""
        grids = [knobs.grid(entry) for _, entry in sorted(self.tuned.items())]
        sizes = [len(grid) if grid is not None else math.inf for grid in grids]
        if math.prod(sizes) > knobs.MOST_ENUMERATED:
            return None
        distinct: dict[str, dict[str, Any]] = {}
        for values in itertools.product(*filter(None, grids)):
            point = dict(zip(sorted(self.tuned), values, strict=True))
            distinct.setdefault(repr(self.split(point)), point)  # a knob whose `when` does not hold makes no difference
        return list(distinct.values())

    def gridded(self) -> SearchSpace:
        """Return this space with the few values of each knob that a grid search tries."""
        return replace(self, tuned={name: knobs.gridded(entry) for name, entry in self.tuned.items()})

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
        return {
            name: knobs.value_at(entry, float(u))
            for (name, entry), u in zip(sorted(self.tuned.items()), unit, strict=True)
        }

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
        return all(knobs.among(known[knob], choices) for knob, choices in when.items())

    def values_of(self, arguments: dict[str, Any]) -> dict[str, Any] | None:
        """Return the point of this space with the knobs of `arguments`; None if one lies outside its range.

        `arguments` are a model's arguments and training settings, from a run of this or of an earlier space. Knobs
        that they do not name get their defaults.
        """
        values = {name: arguments.get(name, entry["default"]) for name, entry in self.tuned.items()}
        return values if all(knobs.allows(entry, values[name]) for name, entry in self.tuned.items()) else None

    def matched(self, rule: str, width: int, held: Sequence[str] = ()) -> SearchSpace:
        """Return this space at the width that meets `rule`, such as parameters=70k.

        The knobs in `held` keep their defaults: with other values the width would not meet the rule.
        """
        assert self.width is not None
        values = {knob: self.tuned[knob]["default"] for knob in held} | {self.width: width}
        tuned = {name: entry for name, entry in self.tuned.items() if name not in values}
        fixed = self.fixed | values
        return replace(self, name=f"{self.name}@{rule}", fixed=fixed, tuned=tuned, held=tuple(held))


def read(name: str, folder: Path | None = None, kind: Kind = "synthetic") -> SearchSpace:
    """Read and check a search space: that of a name, or the one beside your own model, such as ./my_model.py.

    Returned is the space for tasks of `kind`, with the recipe of that kind (bench/config/sections.py); those of the
    other kinds are checked too. Naming your own model allows its code to run on this
    machine. Raises UnknownNameError and DeclarationError.
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
    width = values.get("width")
    if width is not None and (width in TUNABLE or width not in declared.keyword):
        raise DeclarationError(f"{path}: width: must be an argument of {file}, but found {shown(width)}")
    section = _sections(path, values, declared, file, folder)[kind]
    return SearchSpace(
        name=path.stem,
        title=values["title"],
        model=model,
        fixed=section.fixed,
        tuned=section.tuned,
        width=width,
        causal=declared.constants.get("causal") is not False,
        source_hash="" if own is None else own_code.allow(own),
        kind=kind,
    )


def _sections(
    path: Path, values: dict[str, Any], declared: plugins.Declared, file: str, folder: Path | None
) -> dict[Kind, Section]:
    """Return the knobs for each kind of task: the recipe, what the space says of all kinds, and of this kind."""
    known, whose = declared.keyword | TUNABLE, f"neither an argument of {file} nor a training setting"
    base, merged = sections.checked(path, values, known, whose), {}
    for kind in sections.KINDS:
        special = sections.checked(path, values.get(kind, {}), known, whose, f"{kind}.")
        of_model = special.over(base)
        section = of_model.over(sections.recipe(kind, folder))
        sections.check_conditions(path, section)
        clash = declared.keyword & TUNABLE
        for knob in sorted(clash & (declared.required | of_model.fixed.keys() | of_model.tuned.keys())):
            rule = f"both an argument of {file} and a training setting; give the argument another name"
            raise DeclarationError(f"{path}: {knob}: {rule}")
        for knob in sorted(declared.required - section.fixed.keys() - section.tuned.keys()):
            raise DeclarationError(f"{path}: {knob}: {file} has no default for it; add it to [fixed] or [tune]")
        merged[kind] = section.settled()
    return merged


def _checked_keys(path: Path, values: dict[str, Any], own: Path | None) -> dict[str, Any]:
    """Return the top of a search space, with its model. Raises DeclarationError."""
    known = {"title", "model", "width", "fixed", "tune", *sections.KINDS}
    for key in values:
        if key not in known:
            raise DeclarationError(f"{path}: {key}: not a known key{did_you_mean(key, known)}")
    if own is not None and values.setdefault("model", own.stem) != own.stem:
        rule = f"must be '{own.stem}', the file beside it, or be left out"
        raise DeclarationError(f"{path}: model: {rule}, but found {shown(values['model'])}")
    for key, kind, what in (("title", str, "text"), ("model", str, "text"), ("tune", dict, "a table")):
        if not isinstance(values.get(key), kind) or not values[key]:
            raise DeclarationError(f"{path}: {key}: missing or empty; every search space needs it, as {what}")
    for name in sections.KINDS:
        tables = values.get(name, {})
        if not isinstance(tables, dict) or tables.keys() - {"fixed", "tune"}:
            rule = "must hold the tables fixed and tune only"
            raise DeclarationError(f"{path}: {name}: {rule}, but found {shown(tables)}")
    if own is None and plugins.is_file("models", values["model"]):
        raise DeclarationError(f"{path}: model: must be a name, but found a file; give --models the file itself")
    return values


def _own_file(name: str) -> Path:
    """Return the absolute path of your own model, which has its search space beside it."""
    path = Path(os.path.abspath(Path(name).expanduser()))
    if not path.is_file():
        raise DeclarationError(f"{path}: no such file; your own model is a Python file with a class Model")
    if not NAME.fullmatch(path.stem):
        rule = "must have 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        raise DeclarationError(f"{path}: the name of the file is the name of the model: {rule}")
    if (plugins.shipped("search_spaces") / f"{path.stem}.toml").is_file():
        raise DeclarationError(f"{path}: '{path.stem}' is the name of a built-in model; rename the file")
    if not path.with_suffix(".toml").is_file():
        rule = "your own model needs a search space beside it, with title and [tune]"
        raise DeclarationError(f"{path.with_suffix('.toml')}: no such file; {rule}")
    return path
