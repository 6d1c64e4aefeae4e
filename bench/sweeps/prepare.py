"""What a sweep will do: read and checked before anything is spent."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.config import grids, prices
from bench.config.budgets import Budget, named, of_steps, train_settings
from bench.config.contracts import Task
from bench.config.ids import CellId, RunId
from bench.config.knobs import MOST_ENUMERATED
from bench.config.settings import BASELINES, Limits, Phase, RunConfig, TrainSettings
from bench.config.strict import fingerprint
from bench.config.sweep_settings import INDEPENDENT_SAMPLERS, SweepConfig
from bench.data import own_data
from bench.data.own_data import Own
from bench.errors import DeclarationError
from bench.results.record import read_spec
from bench.sweeps import warm_starts
from bench.sweeps.cells import Cell, make_cells
from bench.sweeps.engines import cluster, machine
from bench.sweeps.engines.engine import Engine
from bench.sweeps.engines.local import LocalEngine
from bench.sweeps.warm_starts import PORTFOLIO, Points
from bench.wording import count

SEARCH_SETTINGS = {"max_sequences", "sampler", "pruner", "objectives", "warm_start", "gpus_per_run", "max_run_seconds"}
SEARCH_SETTINGS |= {"test_lengths", "metric", "max_inference_ms", "max_parameters", "max_memory_gb", "max_cost_usd"}
"""Settings that make another search of the same cells: another sweep."""

SEEDS_A_SWEEP = 1_000  # run seeds of sweep seed s: 1000 s for screening, 1000 s + 1 … for confirmation


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
    grid: dict[str, float | str] | None = None  # how much CO2 a kWh stands for, see bench/config/grids.py
    own: Own | None = None  # a file of the user's
    full_steps: Mapping[str, int] = field(default_factory=dict)  # of a timed sweep: by question, once it is known

    @property
    def seconds(self) -> float | None:
        """The budget of time; None if the budget is a named one."""
        return self.config.budget_seconds

    @cached_property
    def sharers(self) -> int:
        """How many slots share a device at most: those that are equal."""
        return max(Counter(tuple(sorted(slot.items())) for slot in self.slots).values())

    @property
    def questions(self) -> dict[str, list[Cell]]:
        """The cells by question: a dataset at one length, under one rule of capacity."""
        questions: dict[str, list[Cell]] = {}
        for cell in self.cells:
            questions.setdefault(question_of(cell), []).append(cell)
        return questions

    def is_halved(self, cell: Cell) -> bool:
        """Whether a cell is searched by successive halving. Tasks that models solve abruptly are not."""
        return self.seconds is not None and cell.task.solved is None

    @property
    def num_runs(self) -> int | None:
        """Trials and confirm runs, if nothing fails and the default is never among the best; None if time decides."""
        if self.seconds is not None:
            return None
        trials = [self.trials_of(cell) for cell in self.cells]
        return sum(count + min(self.budget.top_k + 1, count) * self.budget.confirm_seeds for count in trials)

    def settings(self, cell: Cell) -> TrainSettings:
        """Return what the budget makes of a run of a cell: its steps, batch and validations."""
        settings = train_settings(self.budget, cell.task, {})
        steps = self.full_steps.get(question_of(cell))
        return settings if steps is None else of_steps(settings, steps)

    def test_sequences(self, cell: Cell) -> float:
        """Return how many sequences of a cell's length are evaluated when the test split meets one confirmed seed.

        Several seeds are also averaged, by their outputs for the validation split. A sequence of another length
        (--test-lengths) counts in proportion to it.
        """
        settings, lengths = self.settings(cell), {cell.length, *(self.config.test_lengths or ())}
        splits = settings.num_test + (settings.num_val if self.budget.confirm_seeds > 1 else 0)
        return splits + (settings.num_test * sum(lengths) / cell.length if self.config.test_lengths else 0.0)

    @property
    def limits(self) -> Limits:
        """What a configuration may cost at most to be chosen."""
        names = ("inference_ms", "parameters", "memory_gb", "cost_usd")
        return Limits(**{name: getattr(self.config, f"max_{name}") for name in names})

    def trials_of(self, cell: Cell) -> int:
        """Return how many trials a cell gets: the budget's, or one for each configuration of a small search space."""
        return min(self.budget.trials, cell.num_configurations or self.budget.trials)

    def first_points(self, cell: Cell) -> Points:
        """Return what a cell tries before any is drawn: its default, the best of earlier sweeps, its portfolio."""
        return [("default", cell.space.default), *self.warm_starts.get(cell.id, [])][: self.budget.trials]


def question_of(cell: Cell) -> str:
    """Return the name of the question that a cell answers, such as names/L20 or names/L20@parameters=20k."""
    match = cell.space.name.partition("@")[2]
    return f"{cell.dataset.name}/L{cell.length}" + (f"@{match}" if match else "")


def make(config: SweepConfig) -> Plan:
    """Read and check everything that can be wrong. Raises BenchError; spends and writes nothing."""
    budget = _budget(config)
    _check_search(config)
    usd_per_hour = prices.usd_per_hour(config.price_per_hour)
    grid = grids.grid(config.grid_gco2_per_kwh)
    if usd_per_hour is None and (config.max_usd or config.max_cost_usd):
        raise DeclarationError("--max-usd and --max-cost-usd need --price-per-hour, of the whole machine")
    slots, device = _slots(config)
    own = own_data.make(config)
    cells, not_applicable = make_cells(config, budget, own)
    if not cells:
        names = ",".join(config.models or BASELINES)
        reason = f": {not_applicable[0][1]}" if not_applicable else ""
        raise DeclarationError(f"--models {names}: not applicable to these datasets{reason}")
    if all(getattr(type(cell.task), "metric", None) == config.metric for cell in cells):
        config = config.model_copy(update={"metric": None})  # that of the task, whether it is named or not
    if config.sampler == "grid":
        budget = _grid_budget(config, budget, cells)
    for cell in cells:
        _check_work(config, cell, train_settings(budget, cell.task, {}))
    name = config.name or _default_name(config, cells, own)
    sweeps = config.results / "sweeps"
    points = warm_starts.frozen(sweeps / name)
    return Plan(
        config=config,
        name=name,
        folder=sweeps / name,
        budget=budget,
        cells=cells,
        not_applicable=not_applicable,
        warm_starts=warm_starts.find(sweeps, config, cells) if points is None else points,
        slots=slots,
        device=device,
        usd_per_hour=usd_per_hour,
        grid=grid,
        own=own,
    )


def _slots(config: SweepConfig) -> tuple[list[machine.Slot], str]:
    if config.on_out_of_memory == "halve" and config.gpus_per_run > 1:
        rule = "the GPUs of a run would have to divide their batches alike; leave one of the two out"
        raise DeclarationError(f"--on-out-of-memory halve with --gpus-per-run {config.gpus_per_run}: {rule}")
    if config.engine == "ray":
        return cluster.make_slots(config)
    if config.ray_address is not None:
        raise DeclarationError(f"--ray-address {config.ray_address}: add --engine ray")
    devices = (config.gpus, config.runs_per_gpu, config.gpus_per_run)
    return machine.make_slots(config.workers, *devices, config.threads)


def make_engine(plan: Plan, stall_seconds: float | None = None) -> Engine:
    """Return the engine that executes the runs of a plan. Raises HardwareError.

    A run that reports nothing for `stall_seconds`, by default those of the plan, is ended.
    """
    stall_seconds = stall_seconds or plan.config.stall_seconds
    if plan.config.engine == "ray":
        config = plan.config.model_copy(update={"stall_seconds": stall_seconds})
        return cluster.RayEngine(config, len(plan.slots))
    if plan.device == "cuda":
        machine.check_gpus(plan.slots)
    return LocalEngine(plan.slots, stall_seconds)


def _budget(config: SweepConfig) -> Budget:
    """Return the named budget with what the command line changes of it. Raises DeclarationError."""
    changed = {key: getattr(config, key) for key in ("trials", "top_k", "confirm_seeds", "max_sequences")}
    update = {key: value for key, value in changed.items() if value is not None}
    update |= {"most_sequences": config.max_sequences}
    budget = named(config.budget, config.budget_seconds).model_copy(update=update)
    if budget.confirm_seeds >= SEEDS_A_SWEEP:
        raise DeclarationError(f"--confirm-seeds {budget.confirm_seeds}: below {SEEDS_A_SWEEP}")
    return budget


def _grid_budget(config: SweepConfig, budget: Budget, cells: Sequence[Cell]) -> Budget:
    """Return the budget of a grid search: all points of each cell, unless --trials says how many.

    Raises DeclarationError for a grid that is too large to be enumerated.
    """
    for cell in cells:
        if cell.num_configurations is None:
            rule = f"the grid of {cell.id} has more than {MOST_ENUMERATED:,} points"
            raise DeclarationError(f"--sampler grid: {rule}; tune fewer knobs with --search-spaces, or use sobol")
    if config.trials is not None:
        return budget
    return budget.model_copy(update={"trials": max(cell.num_configurations or 1 for cell in cells)})


def _check_work(config: SweepConfig, cell: Cell, settings: TrainSettings) -> None:
    """Raise DeclarationError if a run of a cell cannot have the batch or the validations of its budget."""
    batch, epochs = settings.batch_size, settings.num_epochs
    if batch % config.gpus_per_run:
        rule = f"a divisor of the batch of {batch} sequences of {cell.dataset.name}"
        raise DeclarationError(f"--gpus-per-run {config.gpus_per_run}: {rule}")
    if config.max_sequences is not None and config.max_sequences < batch * epochs:
        rule = f"at least {batch * epochs}: a batch of {batch} before each of the {epochs} validations"
        raise DeclarationError(
            f"--max-sequences {config.max_sequences}: {rule} of budget {config.budget} on {cell.dataset.name}"
        )


def _check_search(config: SweepConfig) -> None:
    if len(set(config.objectives)) < len(config.objectives) or "quality" not in config.objectives:
        raise DeclarationError(f"--objectives {','.join(config.objectives)}: quality and others, each once")
    if config.budget_seconds is not None:
        _check_timed(config)
        if config.sampler == "grid":
            rule = f"--budget {config.budget} is a time, which ends before a grid does; choose another of the two"
            raise DeclarationError(f"--sampler grid: {rule}")
    if config.sampler == "cmaes" and len(config.objectives) > 1:
        raise DeclarationError("--sampler cmaes searches for one objective; give --objectives quality, or another")


def _check_timed(config: SweepConfig) -> None:
    """Raise DeclarationError for a setting that a budget of time decides itself."""
    changed = config.model_dump(exclude_defaults=True)
    for name in ("trials", "top_k", "wall_time", "device_time", "max_usd", "pruner"):
        if name in changed:
            option = f"--{name.replace('_', '-')}"
            raise DeclarationError(
                f"{option}: --budget {config.budget} is a time and decides this itself; leave it out"
            )
    if config.objectives != ["quality"]:
        rule = f"--budget {config.budget} is a time, and it is spent on quality alone; choose a named budget"
        raise DeclarationError(f"--objectives {','.join(config.objectives)}: {rule}")


def remarks(plan: Plan) -> list[str]:
    """Return what a person should know of a plan before it is carried out."""
    return [*_data_remarks(plan), *_search_remarks(plan), *_warm_start_remarks(plan)]


def _data_remarks(plan: Plan) -> list[str]:
    """Return what reading the files of a card or of the user brought to light, and which cells are not applicable."""
    if plan.own is not None:
        remarks = list(plan.own.remarks)
    else:
        noted = [f"{cell.dataset.name}: {text}" for cell in plan.cells for text in _meta(cell.task).get("remarks", [])]
        remarks = list(dict.fromkeys(noted))
    return remarks + [f"not applicable: {cell.id}: {reason}" for cell, reason in plan.not_applicable]


def _search_remarks(plan: Plan) -> list[str]:
    remarks = []
    abrupt = sorted({cell.dataset.name for cell in plan.cells if cell.task.solved is not None})
    if plan.config.pruner != "none" and abrupt:
        reason = "models solve it abruptly after a flat curve, where a pruner would end the winners"
        remarks.append(f"not pruned: {', '.join(abrupt)}: {reason}")
    pruned = plan.config.pruner != "none" and any(cell.task.solved is None for cell in plan.cells)
    if plan.config.sampler not in INDEPENDENT_SAMPLERS or pruned:
        remarks.append("no expected-performance curves: they hold for --sampler sobol or random without a pruner")
    for cell in plan.cells:
        if plan.trials_of(cell) < plan.budget.trials:
            remarks.append(
                f"search space exhausted: {cell.id}: it holds {count(plan.trials_of(cell), 'configuration')}, "
                f"so that the sweep ends its search after them instead of {plan.budget.trials} trials"
            )
        if plan.config.match:
            assert cell.space.width is not None
            held = f"; held at its default, because it changes the size: {', '.join(cell.space.held)}"
            width = f"{cell.space.width} = {cell.space.fixed[cell.space.width]}"
            remarks.append(f"matched: {cell.id}: {width}{held if cell.space.held else ''}")
    return remarks


def _warm_start_remarks(plan: Plan) -> list[str]:
    names = ", ".join(plan.config.warm_start)
    counts = {cell: sum(origin != PORTFOLIO for origin, _ in points) for cell, points in plan.warm_starts.items()}
    if plan.config.warm_start and not any(counts.values()):
        return [f"warm start: nothing of {names} fits these cells"]
    remarks = [f"warm start: {cell}: {number} from {names}" for cell, number in counts.items() if number]
    for name in plan.config.warm_start:
        earlier = plan.config.results / "sweeps" / name
        if (earlier / "sweep.json").exists() and read_spec(earlier)["spec"]["seed"] == plan.config.seed:
            rule = "chose its configurations on the same seeds; another --seed confirms them on fresh ones"
            remarks.append(f"warm start: {name} {rule}")
    return remarks


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
        "device_sharers": plan.sharers,
        "max_seconds": plan.config.max_run_seconds,
        "on_out_of_memory": plan.config.on_out_of_memory,
        "metric": plan.config.metric,
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
        model_arguments=model_arguments,
        train=TrainSettings(**plan.settings(cell).model_dump() | train),
        device=plan.device,  # type: ignore[arg-type]
        threads=plan.config.threads,
        precision=plan.config.precision,
        **(cell.run_fields | fields | more),
    )


def _default_name(config: SweepConfig, cells: list[Cell], own: Own | None) -> str:
    """Return a name that follows from the settings, so that the same command resumes its sweep."""
    ids = [str(cell.id) for cell in cells]
    what = "+".join(dict.fromkeys(cell.dataset.name for cell in cells)) if config.datasets or own else "default"
    # Another search of the same cells is another sweep.
    how = config.model_dump(include=SEARCH_SETTINGS, exclude_defaults=True)
    if own is not None:  # paths and columns, not contents: a changed file does not change the name
        how["data"] = own.card.arguments | {"files": [file.path for file in own.card.files]}
    digits = fingerprint([ids, config.seed, config.precision, config.gpus != "0", *([how] if how else [])])[:6]
    return f"{what[:40]}-{config.budget}-{digits}".replace("+", "_")
