"""What a sweep will do: read, checked and frozen before anything is spent."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import datasets, search_spaces
from bench.config import BASELINES, BUDGETS, DEFAULT_SWEEP, Budget, SweepConfig, fingerprint
from bench.contracts import Task
from bench.datasets import Dataset, make_task
from bench.engines.local import make_slots
from bench.errors import DeclarationError, StoreError
from bench.record import read_spec, write_json
from bench.search_spaces import SearchSpace

SEEDS_A_SWEEP = 1_000  # run seeds of sweep seed s: 1000 s for screening, 1000 s + 1 … for confirmation


@dataclass(frozen=True)
class Cell:
    """A search space on a dataset at one length: one study."""

    space: SearchSpace
    dataset: Dataset
    length: int
    task: Task = field(compare=False, hash=False)

    @property
    def id(self) -> str:
        """Name of the study and folder of the runs."""
        return f"{self.dataset.name}/L{self.length}/{self.space.name}"


@dataclass(frozen=True)
class Plan:
    """All that was read and checked before anything is spent."""

    config: SweepConfig
    name: str
    folder: Path
    budget: Budget
    trials: int
    confirm_seeds: int
    cells: list[Cell]
    not_applicable: list[tuple[Cell, str]]
    slots: list[dict[str, str]]
    device: str
    threads: int

    @property
    def num_runs(self) -> int:
        """Trials and confirm runs, if nothing fails."""
        return len(self.cells) * (self.trials + self.confirm_seeds)


def make(config: SweepConfig) -> Plan:
    """Read and check everything that can be wrong. Raises BenchError; spends and writes nothing."""
    budget = BUDGETS[config.budget]
    spaces = [search_spaces.read(name, config.search_spaces) for name in config.models or BASELINES]
    cells: list[Cell] = []
    not_applicable: list[tuple[Cell, str]] = []
    for name, lengths in _datasets(config):
        dataset = datasets.read(name, config.dataset_cards)
        for length in lengths or dataset.lengths[:1]:
            task = make_task(dataset.task, length, dataset.arguments)
            for space in spaces:
                cell = Cell(space, dataset, length, task)
                if task.causal and space.bidirectional:
                    not_applicable.append((cell, "sees the future, which the task forbids"))
                else:
                    cells.append(cell)
    if not cells:
        raise DeclarationError(f"--models {','.join(space.name for space in spaces)}: none may answer these datasets")
    if config.confirm_seeds is not None and config.confirm_seeds >= SEEDS_A_SWEEP:
        raise DeclarationError(f"--confirm-seeds {config.confirm_seeds}: below {SEEDS_A_SWEEP}")
    slots, device, threads = make_slots(config.workers, config.gpus, config.runs_per_gpu)
    name = config.name or _default_name(config, cells)
    return Plan(
        config=config,
        name=name,
        folder=config.results / "sweeps" / name,
        budget=budget,
        trials=config.trials or budget.trials,
        confirm_seeds=budget.confirm_seeds if config.confirm_seeds is None else config.confirm_seeds,
        cells=cells,
        not_applicable=not_applicable,
        slots=slots,
        device=device,
        threads=threads,
    )


def _datasets(config: SweepConfig) -> list[tuple[str, list[int] | None]]:
    default = {name: list(lengths) for name, lengths in DEFAULT_SWEEP}
    if config.datasets is None:
        if config.lengths is not None:
            raise DeclarationError("--length needs --dataset: the default sweep has lengths of its own")
        return list(default.items())
    return [(name, config.lengths or default.get(name)) for name in config.datasets]


def _default_name(config: SweepConfig, cells: list[Cell]) -> str:
    """Return a name from what is asked: the same question asked again is the same sweep."""
    ids = [cell.id for cell in cells]
    what = "+".join(dict.fromkeys(cell.dataset.name for cell in cells)) if config.datasets else "default"
    digits = fingerprint([ids, config.seed, config.precision, config.gpus != "0"])[:6]
    return f"{what[:40]}-{config.budget}-{digits}".replace("+", "_")


def _terms(plan: Plan) -> dict[str, Any]:
    """Return what must not change while a sweep goes on."""
    spec: dict[str, Any] = {
        "budget": plan.config.budget,
        "budget_settings": plan.budget.model_dump(exclude={"title", "trials", "confirm_seeds"}),
        "seed": plan.config.seed,
        "precision": plan.config.precision,
        "device": plan.device,
        "cells": [cell.id for cell in plan.cells],
    }
    for cell in plan.cells:
        spec[f"search space {cell.space.name}"] = cell.space.hash
        spec[f"dataset {cell.dataset.name}"] = cell.dataset.fingerprint
    return spec


def freeze(plan: Plan) -> None:
    """Freeze the sweep's terms, or compare them with the frozen ones. Raises DeclarationError naming what differs."""
    path, spec = plan.folder / "sweep.json", _terms(plan)
    counts = {"trials": plan.trials, "confirm_seeds": plan.confirm_seeds}
    if not path.exists():
        if (plan.folder / "runs").exists():
            raise StoreError(f"{plan.folder}: has runs but no sweep.json; restore it, or use another --name")
        command = _command(plan.config)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        not_applicable = {cell.id: reason for cell, reason in plan.not_applicable}
        write_json(
            path, {"spec": spec, **counts, "not_applicable": not_applicable, "command": command, "created": created}
        )
        return
    old = read_spec(plan.folder)
    for key in sorted(old["spec"].keys() | spec.keys()):
        before, now = old["spec"].get(key), spec.get(key)
        if key == "cells" and before and now:  # their order is only the leaderboard's
            before, now = sorted(before), sorted(now)
        if before != now:
            if isinstance(before, list) and isinstance(now, list):
                before, now = sorted(set(before) - set(now)), sorted(set(now) - set(before))
            raise DeclarationError(
                f"sweep {plan.name}: {key} was {before} and is now {now}; a sweep goes on with what it began: "
                "use another --name"
            )
    for key, count in counts.items():
        if count < old[key]:
            raise DeclarationError(
                f"sweep {plan.name}: {key} was {old[key]} and is now {count}; it may only be raised: use another --name"
            )
    write_json(path, old | counts)


def _command(config: SweepConfig) -> str:
    """Return the command line that asks for this sweep again."""
    words = ["python -m bench sweep"]
    names = {"datasets": "dataset", "lengths": "length", "dataset_cards": "datasets"}
    for key, value in config.model_dump(exclude_defaults=True).items():
        shown = ",".join(str(part) for part in value) if isinstance(value, list) else str(value)
        words.append(f"--{names.get(key, key).replace('_', '-')} {shown}")
    return " ".join(words)
