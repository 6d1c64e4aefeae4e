"""The cells of a sweep: which search spaces meet which datasets at which lengths."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from bench.config import datasets, measures, search_spaces
from bench.config.budgets import Budget, train_settings
from bench.config.contracts import Kind, SyntheticTask, Task
from bench.config.datasets import Dataset
from bench.config.ids import CellId
from bench.config.search_spaces import SearchSpace
from bench.config.settings import BASELINES, RunConfig
from bench.config.sweep_settings import DEFAULT_SWEEP, SweepConfig
from bench.data.own_data import Own
from bench.errors import BenchError, DeclarationError
from bench.sweeps.engines.server import call
from bench.sweeps.matching import matched


@dataclass(frozen=True)
class Cell:
    """A search space on a dataset at one length: one study."""

    space: SearchSpace
    dataset: Dataset
    length: int
    task: Task = field(compare=False, hash=False)

    @property
    def id(self) -> CellId:
        """The cell's name: of its study, and of the folder of its runs."""
        return CellId(self.dataset.name, self.length, self.space.name)

    @property
    def run_fields(self) -> dict[str, Any]:
        """The fields of RunConfig that all runs of the cell share."""
        return {
            "dataset": self.dataset.name,
            "task": self.dataset.task,
            "length": self.length,
            "task_arguments": self.dataset.arguments,
            "space": self.space.name,
            "model": self.space.model,
        }

    @cached_property
    def num_configurations(self) -> int | None:
        """How many distinct configurations the search space holds; None if no sweep could exhaust them."""
        configurations = self.space.configurations()
        return None if configurations is None else len(configurations)


NotApplicable = list[tuple[Cell, str]]
"""Cells that make no sense, each with the reason."""


def make_cells(config: SweepConfig, budget: Budget, own: Own | None) -> tuple[list[Cell], NotApplicable]:
    """Return the cells of a sweep, and those that are not applicable. Raises BenchError."""
    spaces_of: dict[Kind, list[SearchSpace]] = {"synthetic": _spaces(config, "synthetic")}
    cells: list[Cell] = []
    not_applicable: NotApplicable = []
    leaks: dict[str, str | None] = {}  # found once for each of the user's own models
    for dataset, lengths in _datasets(config, own):
        for length in lengths or dataset.lengths[:1]:
            task = dataset.at(length)
            for other in config.test_lengths or []:
                _check_test_length(dataset, task, other)
            if config.metric is not None:
                measures.select(task, config.metric)
            if task.kind not in spaces_of:
                spaces_of[task.kind] = _spaces(config, task.kind)
            for space in spaces_of[task.kind]:
                cell = Cell(space, dataset, length, task)
                reason = _looks_ahead(cell, leaks)
                variants = [(space, reason)]
                if config.match and not reason:
                    variants = [matched(space, text, _default(cell, budget)) for text in config.match]
                for fitted, reason in variants:
                    variant = replace(cell, space=fitted.gridded() if config.sampler == "grid" else fitted)
                    if reason:
                        not_applicable.append((variant, reason))
                    else:
                        cells.append(variant)
    ids = [cell.id for cell in cells]
    for cell_id in ids:
        if ids.count(cell_id) > 1:
            raise DeclarationError(f"{cell_id} occurs twice; give each --dataset, --length and --match once")
    return cells, not_applicable


def _check_test_length(dataset: Dataset, task: Task, length: int) -> None:
    """Raise DeclarationError unless a model of the task can be tested at another length."""
    if not isinstance(task, SyntheticTask):
        rule = "needs synthetic tasks, whose sequences can be drawn at any length"
        raise DeclarationError(f"--test-lengths: {rule}, but found {dataset.name}; remove one of the two")
    other = dataset.at(length)
    if (other.input_size, other.output_size) != (task.input_size, task.output_size):
        raise DeclarationError(f"--test-lengths {length}: {dataset.name} has other symbols or classes at this length")


def _spaces(config: SweepConfig, kind: Kind) -> list[SearchSpace]:
    """Return the search spaces of a sweep for tasks of a kind. Raises BenchError."""
    spaces = [search_spaces.read(name, config.search_spaces, kind) for name in config.models or BASELINES]
    names = [space.name for space in spaces]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"--models: {name} is there twice, and a row has one model; keep one, or rename it")
    return spaces


def _looks_ahead(cell: Cell, leaks: dict[str, str | None]) -> str | None:
    """Return why a model may not be trained on a causal task; None if it may."""
    decodes = cell.task.kind == "translation"  # the encoder may read in both directions, the decoder may not
    if not (cell.task.causal or decodes) or (decodes and cell.space.causal and cell.space.bidirectional):
        return None
    if cell.space.bidirectional:
        return "sees the future, which the task forbids"
    if cell.space.source_hash and cell.space.name not in leaks:
        leaks[cell.space.name] = _leak(cell.space)
    reason = leaks.get(cell.space.name)
    return f"sees the future, which the task forbids: {reason}" if reason else None


def _leak(space: SearchSpace) -> str | None:
    """Return how a user's own model sees the future although it claims not to; None too if it ends its process."""
    try:
        reason: str | None = call("bench.training.model_checks:leak", space)
    except BenchError:
        return None  # its runs will show that
    return reason


def _default(cell: Cell, budget: Budget) -> RunConfig:
    """Return a run of the default configuration, for which a width is solved."""
    arguments, train = cell.space.split(cell.space.default)
    return RunConfig(
        sweep="",
        run="match",
        phase="probe",
        number=0,
        model_arguments=arguments,
        train=train_settings(budget, cell.task, train),
        seed=0,
        **cell.run_fields,
    )


def _datasets(config: SweepConfig, own: Own | None) -> list[tuple[Dataset, list[int] | None]]:
    if own is not None:
        return [(own.card, config.lengths)]
    default = {name: list(lengths) for name, lengths in DEFAULT_SWEEP}
    if config.datasets is None:
        if config.lengths is not None:
            raise DeclarationError("--length needs --dataset: the default sweep has lengths of its own")
        lengths_of: list[tuple[str, list[int] | None]] = list(default.items())
    else:
        lengths_of = [(name, config.lengths or default.get(name)) for name in config.datasets]
    return [(datasets.read(name, config.dataset_cards), lengths) for name, lengths in lengths_of]
