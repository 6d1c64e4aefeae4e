"""Portfolios: configurations that were good on other datasets, tried after the default.

`search_spaces/portfolios/KIND.toml` has a few for each model on tasks of one kind, the most useful first, each with the
runs that it was chosen from. `python -m bench portfolio` makes these files from recorded sweeps.
"""

from pathlib import Path
from typing import Any

from bench.config import plugins
from bench.config.bounds import shown
from bench.config.contracts import Kind
from bench.config.search_spaces import SearchSpace
from bench.config.strict import read_toml
from bench.errors import DeclarationError


def read(space: SearchSpace, folder: Path | None = None) -> list[dict[str, Any]]:
    """Return the points of a space that its portfolio holds; empty if it has none. Raises DeclarationError.

    The file is that of `folder`, or of search_spaces/ in the working directory, or the built-in. A configuration that
    lies outside the ranges of this space is left out: you may have narrowed them.
    """
    path = _path(space.kind, folder)
    if path is None:
        return []
    entries = read_toml(path).get(space.name.partition("@")[0], [])
    points: list[dict[str, Any]] = []
    for entry in entries if isinstance(entries, list) else [entries]:
        if not isinstance(entry, dict) or not isinstance(entry.get("values"), dict):
            rule = "each entry must have a table `values`"
            raise DeclarationError(f"{path}: {space.name}: {rule}, but found {shown(entry)}")
        point = space.values_of(entry["values"])
        if point is not None and point not in (space.default, *points):
            points.append(point)
    return points


def _path(kind: Kind, folder: Path | None) -> Path | None:
    name = Path("portfolios") / f"{kind}.toml"
    for parent in (folder or Path("search_spaces"), plugins.shipped("search_spaces")):
        if (parent / name).is_file():
            return parent / name
    return None
