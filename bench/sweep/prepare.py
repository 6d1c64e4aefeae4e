"""What a sweep will do: read, checked and frozen before anything is spent."""

import math
import re
import shlex
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.config import datasets, prices, search_spaces
from bench.config.budgets import BUDGETS, Budget, train_settings
from bench.config.contracts import Task
from bench.config.datasets import Dataset
from bench.config.ids import CellId, RunId
from bench.config.search_spaces import SearchSpace
from bench.config.settings import BASELINES, Limits, Phase, RunConfig
from bench.config.strict import fingerprint
from bench.config.sweep_settings import DEFAULT_SWEEP, INDEPENDENT_SAMPLERS, SweepConfig
from bench.data import own_data
from bench.data.own_data import Own
from bench.errors import BenchError, DeclarationError, StoreError, UnknownNameError
from bench.results.cell_runs import by_cell
from bench.results.record import read_spec, records, write_json
from bench.sweep.engines.machine import make_slots
from bench.sweep.engines.server import call

WARM_STARTS_A_CELL = 3

COUNTS = ("trials", "top_k", "confirm_seeds")
"""Of a budget: what may be raised while a sweep goes on."""

SEEDS_A_SWEEP = 1_000  # run seeds of sweep seed s: 1000 s for screening, 1000 s + 1 … for confirmation


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


Points = list[tuple[str, dict[str, Any]]]
"""Configurations to be tried before any is drawn: whence, and the values."""


@dataclass(frozen=True)
class Plan:
    """All that was read and checked before anything is spent."""

    config: SweepConfig
    name: str
    folder: Path
    budget: Budget  # with what the command line changed of it
    cells: list[Cell]
    not_applicable: list[tuple[Cell, str]]
    warm_starts: dict[CellId, Points]
    slots: list[dict[str, str]]
    device: str
    usd_per_hour: float | None  # of the machine
    own: Own | None = None  # a file of the user's

    @property
    def num_runs(self) -> int:
        """Trials, confirm and test runs, if nothing fails and the default is never among the best."""
        top_k = min(self.budget.top_k + 1, self.budget.trials) if self.budget.confirm_seeds else 0
        return len(self.cells) * (self.budget.trials + top_k * self.budget.confirm_seeds)

    @property
    def max_steps(self) -> int:
        """Optimiser steps of a run that is not ended early."""
        return train_settings(self.budget, {}).max_steps

    @property
    def limits(self) -> Limits:
        """What a configuration may cost at most to be chosen."""
        names = ("inference_ms", "parameters", "memory_gb", "cost_usd")
        return Limits(**{name: getattr(self.config, f"max_{name}") for name in names})

    def first_points(self, cell: Cell) -> Points:
        """Return what a cell tries before anything is drawn: its default, then the best of earlier sweeps."""
        return [("default", cell.space.default), *self.warm_starts.get(cell.id, [])][: self.budget.trials]


def make(config: SweepConfig) -> Plan:
    """Read and check everything that can be wrong. Raises BenchError; spends and writes nothing."""
    named = BUDGETS[config.budget]
    changed = {key: getattr(config, key) for key in ("trials", "top_k", "confirm_seeds", "max_sequences")}
    budget = named.model_copy(update={key: value for key, value in changed.items() if value is not None})
    if budget.confirm_seeds >= SEEDS_A_SWEEP:
        raise DeclarationError(f"--confirm-seeds {budget.confirm_seeds}: below {SEEDS_A_SWEEP}")
    least = budget.batch_size * budget.num_epochs
    if budget.max_sequences < least:
        rule = f"at least {least}: a batch of {budget.batch_size} before each of the {budget.num_epochs} validations"
        raise DeclarationError(f"--max-sequences {budget.max_sequences}: {rule} of budget {config.budget}")
    if len(set(config.objectives)) < len(config.objectives) or "quality" not in config.objectives:
        raise DeclarationError(f"--objectives {','.join(config.objectives)}: quality and others, each once")
    if config.sampler == "cmaes" and len(config.objectives) > 1:
        raise DeclarationError("--sampler cmaes searches for one objective; give --objectives quality, or another")
    usd_per_hour = prices.usd_per_hour(config.price_per_hour)
    if usd_per_hour is None and (config.max_usd or config.max_cost_usd):
        raise DeclarationError("--max-usd and --max-cost-usd need --price-per-hour, of the whole machine")
    slots, device = make_slots(config.workers, config.gpus, config.runs_per_gpu, config.gpus_per_run, config.threads)
    if budget.batch_size % config.gpus_per_run:
        rule = f"a divisor of the batch of {budget.batch_size} sequences"
        raise DeclarationError(f"--gpus-per-run {config.gpus_per_run}: {rule}")
    own = own_data.make(config)
    cells, not_applicable = _cells(config, budget, own)
    if not cells:
        names = ",".join(config.models or BASELINES)
        reason = f": {not_applicable[0][1]}" if not_applicable else ""
        raise DeclarationError(f"--models {names}: none may answer these datasets{reason}")
    name = config.name or _default_name(config, cells, own)
    folder = config.results / "sweeps" / name
    return Plan(
        config=config,
        name=name,
        folder=folder,
        budget=budget,
        cells=cells,
        not_applicable=not_applicable,
        warm_starts=_warm_starts(config, cells, folder),
        slots=slots,
        device=device,
        usd_per_hour=usd_per_hour,
        own=own,
    )


def remarks(plan: Plan) -> list[str]:
    """Return what a person should know of a plan before it is carried out."""
    if plan.own is not None:
        found = list(plan.own.remarks)
    else:  # what reading the files of a card brought to light
        told = [f"{cell.dataset.name}: {each}" for cell in plan.cells for each in _meta(cell.task).get("remarks", [])]
        found = list(dict.fromkeys(told))
    found += [f"not applicable: {cell.id}: {reason}" for cell, reason in plan.not_applicable]
    sudden = sorted({cell.dataset.name for cell in plan.cells if cell.task.solved is not None})
    if plan.config.pruner != "none" and sudden:
        reason = "solved of a sudden after a flat curve, where a pruner would end the winners"
        found.append(f"not pruned: {', '.join(sudden)}: {reason}")
    pruned = plan.config.pruner != "none" and any(cell.task.solved is None for cell in plan.cells)
    if plan.config.sampler not in INDEPENDENT_SAMPLERS or pruned:
        found.append("no expected-performance curves: they hold for --sampler sobol or random without a pruner")
    for cell_id, points in plan.warm_starts.items():
        found.append(f"warm start: {cell_id}: {len(points)} from {', '.join(plan.config.warm_start)}")
    for name in plan.config.warm_start if plan.warm_starts else []:
        earlier = plan.config.results / "sweeps" / name
        if (earlier / "sweep.json").exists() and read_spec(earlier)["spec"]["seed"] == plan.config.seed:
            again = f"{name} chose its configurations on the same seeds; another --seed confirms them on fresh ones"
            found.append(f"warm start: {again}")
    if plan.config.warm_start and not plan.warm_starts:
        found.append(f"warm start: nothing of {', '.join(plan.config.warm_start)} fits these cells")
    if plan.config.match:
        for cell in plan.cells:
            assert cell.space.width is not None
            found.append(f"matched: {cell.id}: {cell.space.width} = {cell.space.fixed[cell.space.width]}")
    return found


def _meta(task: Task) -> dict[str, Any]:
    meta: dict[str, Any] = getattr(task, "meta", {})
    return meta


def run_config(
    plan: Plan, cell: Cell, run: RunId | CellId, phase: Phase, values: dict[str, Any], **more: Any
) -> RunConfig:
    """Return a run of a cell with the configuration `values`; `more` are fields of RunConfig."""
    model_arguments, train = cell.space.split(values)
    price = plan.usd_per_hour
    fields: dict[str, Any] = {
        "number": 0,
        "seed": plan.config.seed * SEEDS_A_SWEEP,
        "num_devices": plan.config.gpus_per_run,
        "device_sharers": plan.config.runs_per_gpu if plan.device == "cuda" else len(plan.slots),
        "max_seconds": plan.config.max_run_seconds,
        "limits": plan.limits,
        "objectives": tuple(plan.config.objectives),
        "usd_per_hour": None if price is None else price / len(plan.slots),
        "space_hash": cell.space.hash,
        "source_hash": cell.space.source_hash,
        "data_fingerprint": cell.dataset.fingerprint,
    }
    return RunConfig(
        sweep=plan.name,
        run=str(run),
        phase=phase,
        dataset=cell.dataset.name,
        task=cell.dataset.task,
        length=cell.length,
        task_arguments=cell.dataset.arguments,
        space=cell.space.name,
        model=cell.space.model,
        model_arguments=model_arguments,
        train=train_settings(plan.budget, train),
        device=plan.device,  # type: ignore[arg-type]
        threads=plan.config.threads,
        precision=plan.config.precision,
        **(fields | more),
    )


def _cells(config: SweepConfig, budget: Budget, own: Own | None) -> tuple[list[Cell], list[tuple[Cell, str]]]:
    """Return the cells of a sweep, and those that make no sense, with the reason."""
    spaces = [search_spaces.read(name, config.search_spaces) for name in config.models or BASELINES]
    names = [space.name for space in spaces]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"--models: {name} is there twice, and a row has one model; keep one, or rename it")
    rules = [_rule(text) for text in config.match]
    cells: list[Cell] = []
    not_applicable: list[tuple[Cell, str]] = []
    leaks: dict[str, str | None] = {}  # of models of one's own, which may say what is not so
    for dataset, lengths in _datasets(config, own):
        for length in lengths or dataset.lengths[:1]:
            task = dataset.at(length)
            for space in spaces:
                cell = Cell(space, dataset, length, task)
                if task.causal and space.source_hash and not space.bidirectional and space.name not in leaks:
                    leaks[space.name] = _leak(space)
                if task.causal and space.bidirectional:
                    not_applicable.append((cell, "sees the future, which the task forbids"))
                elif task.causal and leaks.get(space.name):
                    not_applicable.append((cell, f"sees the future, which the task forbids: {leaks[space.name]}"))
                elif not rules:
                    cells.append(cell)
                for text, rule, target in rules:
                    matched, reason = _match(cell, text, rule, target, budget)
                    if reason:
                        not_applicable.append((matched, reason))
                    else:
                        cells.append(matched)
    ids = [cell.id for cell in cells]
    for cell_id in ids:
        if ids.count(cell_id) > 1:
            raise DeclarationError(f"{cell_id} is asked for twice; give each --dataset, --length and --match once")
    return cells, not_applicable


def _leak(space: SearchSpace) -> str | None:
    """Return how a model of one's own sees the future without saying so; None too where it ends its process."""
    try:
        found: str | None = call("bench.training.model_checks:leak", space)
    except BenchError:
        return None  # its runs will tell
    return found


def _rule(text: str) -> tuple[str, str, float]:
    """Return a rule of capacity matching, as text, as its measure and as its target. Raises DeclarationError."""
    found = re.fullmatch(r"(parameters|flops|state)=([0-9]*\.?[0-9]+)([kKMG]?)", text)
    if found is None or not float(found[2]):
        raise DeclarationError(f"--match {text}: parameters=N, flops=N or state=N expected, N such as 20k or 1.5M")
    scale = {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}[found[3]]
    return text, found[1], float(found[2]) * scale


def _match(cell: Cell, text: str, rule: str, target: float, budget: Budget) -> tuple[Cell, str | None]:
    """Return a cell at the width that a rule asks for; or, where there is none, the reason."""
    space = cell.space
    if space.width is None:
        raise DeclarationError(f"--match {text}: search space {space.name} names no knob as its `width`")
    arguments, train = space.split(space.default)
    config = RunConfig(
        sweep="",
        run="match",
        phase="probe",
        number=0,
        dataset=cell.dataset.name,
        task=cell.dataset.task,
        length=cell.length,
        task_arguments=cell.dataset.arguments,
        space=space.name,
        model=space.model,
        model_arguments=arguments,
        train=train_settings(budget, train),
        seed=0,
    )
    try:
        width, found = call("bench.training.capacity:solve", config, space.width, rule, target)
    except DeclarationError:
        raise  # it names the model
    except BenchError as error:
        raise DeclarationError(f"--match {text}: {space.name}: {error}") from None
    matched = replace(cell, space=space.matched(text, width or 1))
    if width is not None:
        return matched, None
    return matched, "has no state to match" if not found else f"no width comes nearer than {rule} {found:,.0f}"


def _warm_starts(config: SweepConfig, cells: list[Cell], folder: Path) -> dict[CellId, Points]:
    """Return the best configurations of earlier sweeps for each cell, those of the nearest length first.

    A sweep that goes on keeps what it began with, whatever has become of the earlier ones.
    """
    if (folder / "sweep.json").exists():
        frozen = read_spec(folder).get("warm_starts", {})
        return {CellId.parse(cell): [(origin, values) for origin, values in points] for cell, points in frozen.items()}
    found: dict[CellId, Points] = {}
    for name in config.warm_start:
        earlier = config.results / "sweeps" / name
        if not (earlier / "sweep.json").exists():
            raise UnknownNameError("sweep", name, [path.parent.name for path in earlier.parent.glob("*/sweep.json")])
        spec = read_spec(earlier)
        groups = by_cell(records(earlier), spec["top_k"])
        for cell in cells:
            mine = [
                (abs(math.log(known.length / cell.length)), runs.chosen)
                for known, runs in groups.items()
                if known.dataset == cell.dataset.name and known.space.split("@")[0] == cell.space.name.split("@")[0]
            ]
            for _, best in sorted(((d, b) for d, b in mine if b is not None), key=lambda pair: pair[0]):
                values = cell.space.values_of(best.config.model_arguments | best.config.train.model_dump())
                points = found.get(cell.id, [])
                known = [cell.space.default, *(point for _, point in points)]
                if values is not None and values not in known and len(points) < WARM_STARTS_A_CELL:
                    found[cell.id] = [*points, (f"warm start from {name}/{best.config.run}", values)]
    return found


def _datasets(config: SweepConfig, own: Own | None) -> list[tuple[Dataset, list[int] | None]]:
    if own is not None:
        return [(own.card, config.lengths)]
    default = {name: list(lengths) for name, lengths in DEFAULT_SWEEP}
    if config.datasets is None:
        if config.lengths is not None:
            raise DeclarationError("--length needs --dataset: the default sweep has lengths of its own")
        asked: list[tuple[str, list[int] | None]] = list(default.items())
    else:
        asked = [(name, config.lengths or default.get(name)) for name in config.datasets]
    return [(datasets.read(name, config.dataset_cards), lengths) for name, lengths in asked]


def _default_name(config: SweepConfig, cells: list[Cell], own: Own | None) -> str:
    """Return a name from what is asked: the same question asked again is the same sweep."""
    ids = [str(cell.id) for cell in cells]
    what = "+".join(dict.fromkeys(cell.dataset.name for cell in cells)) if config.datasets or own else "default"
    # Searched in another way, the same cells are another question.
    how = config.model_dump(include=_HOW, exclude_defaults=True)
    if own is not None:  # what is asked of which file, not what stands in it: a changed file is not another question
        how["data"] = own.card.arguments | {"files": [file.path for file in own.card.files]}
    digits = fingerprint([ids, config.seed, config.precision, config.gpus != "0", *([how] if how else [])])[:6]
    return f"{what[:40]}-{config.budget}-{digits}".replace("+", "_")


_HOW = {"max_sequences", "sampler", "pruner", "objectives", "warm_start", "gpus_per_run", "max_run_seconds"}
_HOW |= {"max_inference_ms", "max_parameters", "max_memory_gb", "max_cost_usd"}


def _terms(plan: Plan) -> dict[str, Any]:
    """Return what must not change while a sweep goes on."""
    spec: dict[str, Any] = {
        "budget": plan.config.budget,
        "budget_settings": plan.budget.model_dump(exclude={"title", *COUNTS}),
        **plan.config.model_dump(mode="json", include=_HOW),
        "seed": plan.config.seed,
        "precision": plan.config.precision,
        "device": plan.device,
        "cells": [str(cell.id) for cell in plan.cells],
    }
    for cell in plan.cells:
        spec[f"search space {cell.space.name}"] = cell.space.hash
        if cell.space.source_hash:
            spec[f"model file {Path(cell.space.model).name}"] = f"sha256 {cell.space.source_hash[:12]}…"
        spec[f"dataset {cell.dataset.name}"] = cell.dataset.fingerprint
    for file in plan.own.card.files if plan.own is not None else []:
        spec[f"data file {file.path}"] = f"sha256 {file.sha256[:12]}…"
    return spec


def freeze(plan: Plan) -> None:
    """Freeze the sweep's terms, or compare them with the frozen ones. Raises DeclarationError naming what differs."""
    path, spec = plan.folder / "sweep.json", _terms(plan)
    counts = plan.budget.model_dump(include=set(COUNTS))
    if not path.exists():
        if (plan.folder / "runs").exists():
            raise StoreError(f"{plan.folder}: has runs but no sweep.json; restore it, or use another --name")
        command = _command(plan.config)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        not_applicable = {str(cell.id): reason for cell, reason in plan.not_applicable}
        write_json(
            path,
            {
                "spec": spec,
                **counts,
                "warm_starts": {str(cell): points for cell, points in plan.warm_starts.items()},
                "not_applicable": not_applicable,
                "card": plan.own and plan.own.card.model_dump(mode="json"),
                "cpu_watts": plan.config.cpu_watts,
                "usd_per_hour": plan.usd_per_hour,
                "slots": len(plan.slots),
                "command": command,
                "created": created,
            },
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
        if count < old.get(key, 0):
            raise DeclarationError(
                f"sweep {plan.name}: {key} was {old[key]} and is now {count}; it may only be raised: use another --name"
            )
    write_json(path, old | counts)


def note_end(plan: Plan, ended_by: str | None) -> None:
    """Note in sweep.json which budget, if any, ended the sweep before all its runs were made."""
    write_json(plan.folder / "sweep.json", read_spec(plan.folder) | {"ended_by": ended_by})


def _command(config: SweepConfig) -> str:
    """Return the command line that asks for this sweep again."""
    words = ["python -m bench sweep"]
    names = {"datasets": "dataset", "lengths": "length", "dataset_cards": "datasets"}
    for key, value in config.model_dump(exclude_defaults=True).items():
        option = f"--{names.get(key, key).replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option)
        elif key == "data":  # a path may hold a comma
            words += [f"{option} {shlex.quote(str(path))}" for path in value]
        else:
            shown = ",".join(str(part) for part in value) if isinstance(value, list) else str(value)
            words.append(f"{option} {shlex.quote(shown)}")
    return " ".join(words)
