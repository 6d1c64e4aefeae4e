"""Warm starts: the best configurations of earlier sweeps and the portfolio, tried before any is drawn."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import knobs, portfolios
from bench.config.ids import CellId
from bench.config.search_spaces import SearchSpace
from bench.config.strict import NAME
from bench.config.sweep_settings import SweepConfig
from bench.errors import UnknownNameError
from bench.results.cell_runs import CellRuns, by_cell
from bench.results.record import RunRecord, read_spec, records

if TYPE_CHECKING:
    from bench.sweeps.cells import Cell

WARM_STARTS_A_CELL = 3

Points = list[tuple[str, dict[str, Any]]]
"""Configurations to try before any is drawn: their origin and their values."""

PORTFOLIO = "portfolio"
"""The origin of a configuration that was good on other datasets; see bench/config/portfolios.py."""


def frozen(folder: Path) -> dict[CellId, Points] | None:
    """Return what a sweep that has begun was started with; None if it has not begun.

    A resumed sweep keeps these, whatever has become of the earlier sweeps. Raises StoreError.
    """
    if not (folder / "sweep.json").exists():
        return None
    points_of = read_spec(folder).get("warm_starts", {})
    return {CellId.parse(cell): [(origin, values) for origin, values in points] for cell, points in points_of.items()}


def find(sweeps: Path, config: SweepConfig, cells: "Sequence[Cell]") -> dict[CellId, Points]:
    """Return what each cell tries after its default: the best of the sweeps given as warm starts, then its portfolio.

    Configurations of the same dataset and model come first, those of the nearest length before others; then those of
    the same model on other datasets of the kind; then those of other models, whose training settings a model can use.
    Raises BenchError.
    """
    points_of: dict[CellId, Points] = {}
    for name in config.warm_start:
        if not NAME.fullmatch(name) or not (sweeps / name / "sweep.json").exists():
            raise UnknownNameError("sweep", name, [path.parent.name for path in sweeps.glob("*/sweep.json")])
        earlier = by_cell(records(sweeps / name), read_spec(sweeps / name)["top_k"])
        for cell in cells:
            for best in nearest(earlier, cell):
                is_same_model = best.config.model == cell.space.model
                values = _usable(cell.space, best, is_same_model)
                points = points_of.get(cell.id, [])
                known = [cell.space.default, *(point for _, point in points)]
                if values is not None and values not in known and len(points) < WARM_STARTS_A_CELL:
                    points_of[cell.id] = [*points, (f"warm start from {name}/{best.config.run}", values)]
    for cell in cells:
        points = points_of.get(cell.id, [])
        known = [values for _, values in points]
        more = [values for values in portfolios.read(cell.space, config.search_spaces) if values not in known]
        if points or more:
            points_of[cell.id] = [*points, *((PORTFOLIO, values) for values in more)]
    return points_of


def nearest(earlier: dict[CellId, CellRuns], cell: "Cell") -> list[RunRecord]:
    """Return what earlier cells chose, for questions like that of `cell`, the most alike first."""
    chosen = []
    for known, runs in earlier.items():
        best = runs.chosen
        is_same_dataset = known.dataset == cell.dataset.name
        if best is None or not (is_same_dataset or best.asked.kind == cell.task.kind):
            continue
        is_same_model = known.space.split("@")[0] == cell.space.name.split("@")[0]
        distance = abs(math.log(known.length / cell.length))
        chosen.append(((not is_same_model, not is_same_dataset, distance), best))
    return [best for _, best in sorted(chosen, key=lambda pair: pair[0])]


def _usable(space: SearchSpace, best: RunRecord, is_same_model: bool) -> dict[str, Any] | None:
    """Return the point of a space that a configuration means there; None if it lies outside, or brings nothing new.

    Of another model, the training settings that lie within the ranges of the space are taken.
    """
    train = best.config.train.model_dump()
    if is_same_model:
        return space.values_of(best.config.model_arguments | train)
    shared = space.tuned.keys() & train.keys()
    return space.values_of({name: train[name] for name in shared if knobs.allows(space.tuned[name], train[name])})
