"""The tables of a search space: what [fixed] and [tune] say of its knobs, and how several pairs of them are merged.

`search_spaces/recipes/KIND.toml` holds the training settings that all models share on tasks of one kind. A search space
overrides them: with its own [fixed] and [tune] for tasks of every kind, and with [KIND.fixed] and [KIND.tune] for one.
"""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any, NamedTuple

from bench.config import knobs, plugins
from bench.config.bounds import shown
from bench.config.contracts import Kind
from bench.config.settings import TUNABLE, TrainSettings
from bench.config.strict import one_line, read_toml
from bench.errors import DeclarationError, did_you_mean

KINDS: tuple[Kind, ...] = typing.get_args(Kind)
"""The kinds of tasks, each with a recipe."""


class Section(NamedTuple):
    """A pair of tables: knobs with one value, and knobs with a range."""

    fixed: dict[str, Any]
    tuned: dict[str, Any]

    def over(self, other: Section) -> Section:
        """Return the knobs of both. An entry of this section replaces the other's, whether fixed or tuned."""
        names = self.fixed.keys() | self.tuned.keys()
        rest = [{name: entry for name, entry in part.items() if name not in names} for part in other]
        return Section(rest[0] | self.fixed, rest[1] | self.tuned)

    def settled(self) -> Section:
        """Return the section without conditions on fixed knobs: a knob whose condition fails is left out."""
        tuned = {}
        for name, entry in self.tuned.items():
            when = entry.get("when", {})
            decided = when.keys() & self.fixed.keys()
            if all(knobs.among(self.fixed[knob], when[knob]) for knob in decided):
                rest = {knob: choices for knob, choices in when.items() if knob not in decided}
                tuned[name] = {key: value for key, value in entry.items() if key != "when"}
                tuned[name] |= {"when": rest} if rest else {}
        return Section(self.fixed, tuned)


def checked(path: Path, tables: dict[str, Any], known: set[str], whose: str, prefix: str = "") -> Section:
    """Return the section that `tables`, the TOML tables fixed and tune, declare.

    `known` are the names of knobs, `whose` says what they belong to, and `prefix` is "KIND." inside a table of that
    name. Raises DeclarationError for a knob that does not exist, is given twice or is declared wrongly.
    """
    for name in ("fixed", "tune"):
        if not isinstance(tables.get(name, {}), dict):
            raise DeclarationError(f"{path}: {prefix}{name}: must be a table, but found {shown(tables[name])}")
    section = Section(tables.get("fixed", {}), tables.get("tune", {}))
    for name, entries in (("fixed", section.fixed), ("tune", section.tuned)):
        for knob in entries:
            where = f"{path}: [{prefix}{name}] {knob}"
            if "seed" in knob:
                raise DeclarationError(f"{where}: a seed cannot be fixed or tuned; the sweep draws it")
            if knob not in known:
                raise DeclarationError(f"{where}: {whose}{did_you_mean(knob, known)}")
    for knob in section.fixed.keys() & section.tuned.keys():
        raise DeclarationError(f"{path}: {prefix}{knob}: both fixed and tuned; keep one")
    for knob, entry in section.tuned.items():
        knobs.check(f"{path}: [{prefix}tune] {knob}", entry)
    _check_settings(path, section)
    return section


def check_conditions(path: Path, section: Section) -> None:
    """Raise DeclarationError unless each condition names choices of another knob that has no condition itself."""
    for name, entry in section.tuned.items():
        where, when = f"{path}: [tune] {name}: when", entry.get("when", {})
        if not isinstance(when, dict):
            raise DeclarationError(f"{where}: must be {{ knob = [choices] }}, but found {shown(when)}")
        for knob, choices in when.items():
            other = section.tuned.get(knob, {})
            if knob not in section.fixed and (other.get("type") != "categorical" or "when" in other):
                raise DeclarationError(f"{where}: {knob}: must be a categorical knob of this space without a condition")
            allowed = other.get("choices", choices)  # a fixed knob decides once and for all
            if not isinstance(choices, list) or not choices or not all(knobs.among(c, allowed) for c in choices):
                raise DeclarationError(f"{where}: {knob}: must be some of {allowed}, but found {shown(choices)}")


def _check_settings(path: Path, section: Section) -> None:
    """Raise DeclarationError for a training setting with a value, an end or a choice that training refuses."""
    from pydantic import ValidationError

    budget = {"max_sequences": 1, "batch_size": 1, "num_epochs": 1, "num_val": 1, "num_test": 1}
    candidates = [{name: value for name, value in section.fixed.items() if name in TUNABLE}]
    for name, entry in section.tuned.items():
        if name in TUNABLE:
            candidates += [{name: end} for end in knobs.ends(entry)]
    for values in candidates:
        try:
            TrainSettings.model_validate(budget | values)
        except ValidationError as error:
            raise DeclarationError(one_line(path, error)) from None


def recipe(kind: Kind, folder: Path | None = None) -> Section:
    """Return the recipe of a kind: that of `folder`, or of search_spaces/ in the working directory, or the built-in.

    Raises DeclarationError.
    """
    name = Path("recipes") / f"{kind}.toml"
    path = (folder or Path("search_spaces")) / name
    if not path.is_file():
        path = plugins.shipped("search_spaces") / name
    tables = read_toml(path)
    for key in tables:
        if key not in ("fixed", "tune"):
            raise DeclarationError(f"{path}: {key}: not a known key{did_you_mean(key, {'fixed', 'tune'})}")
    section = checked(path, tables, TUNABLE, "not a training setting; a recipe holds those that all models share")
    check_conditions(path, section)
    return section
