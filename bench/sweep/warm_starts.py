"""Warm starts: the best configurations of earlier sweeps, tried before any is drawn."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.ids import CellId
from bench.config.strict import NAME
from bench.errors import UnknownNameError
from bench.results.cell_runs import CellRuns, by_cell
from bench.results.record import read_spec, records

if TYPE_CHECKING:
    from bench.sweep.cells import Cell

WARM_STARTS_A_CELL = 3

Points = list[tuple[str, dict[str, Any]]]
"""Configurations to try before any is drawn: their origin and their values."""


def frozen(folder: Path) -> dict[CellId, Points] | None:
    """Return what a sweep that has begun was started with; None if it has not begun.

    A resumed sweep keeps these, whatever has become of the earlier sweeps. Raises StoreError.
    """
    if not (folder / "sweep.json").exists():
        return None
    points_of = read_spec(folder).get("warm_starts", {})
    return {CellId.parse(cell): [(origin, values) for origin, values in points] for cell, points in points_of.items()}


def find(sweeps: Path, names: Sequence[str], cells: "Sequence[Cell]") -> dict[CellId, Points]:
    """Return the best configurations of earlier sweeps for each cell, those of the nearest length first.

    Raises UnknownNameError and StoreError.
    """
    points_of: dict[CellId, Points] = {}
    for name in names:
        if not NAME.fullmatch(name) or not (sweeps / name / "sweep.json").exists():
            raise UnknownNameError("sweep", name, [path.parent.name for path in sweeps.glob("*/sweep.json")])
        earlier = by_cell(records(sweeps / name), read_spec(sweeps / name)["top_k"])
        for cell in cells:
            for best in _nearest(earlier, cell.id):
                values = cell.space.values_of(best.config.model_arguments | best.config.train.model_dump())
                points = points_of.get(cell.id, [])
                known = [cell.space.default, *(point for _, point in points)]
                if values is not None and values not in known and len(points) < WARM_STARTS_A_CELL:
                    points_of[cell.id] = [*points, (f"warm start from {name}/{best.config.run}", values)]
    return points_of


def _nearest(earlier: dict[CellId, CellRuns], cell: CellId) -> list[Any]:
    """Return what earlier cells of the same dataset and model chose, the nearest length first."""
    chosen = [
        (abs(math.log(known.length / cell.length)), runs.chosen)
        for known, runs in earlier.items()
        if known.dataset == cell.dataset and known.space.split("@")[0] == cell.space.split("@")[0]
    ]
    return [best for _, best in sorted((pair for pair in chosen if pair[1] is not None), key=lambda pair: pair[0])]
