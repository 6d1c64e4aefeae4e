"""What a sweep will take: time, memory, money and disk, predicted from a few training steps of each cell."""

import math
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel

from bench.config.budgets import Budget, passes
from bench.config.settings import TrainSettings
from bench.errors import DeclarationError
from bench.results.record import RunRecord, records, write_atomically
from bench.sweeps.cells import Cell
from bench.sweeps.prepare import Plan
from bench.sweeps.probes import PROBE_EPOCHS, Prober, Say, epoch_seconds, memory_of_a_run, probe, shown
from bench.wording import count, duration

PROBE_SECONDS = 0.5  # of training in the longer of the two probes of a cell
EXCLUSIVE_SECONDS, EXCLUSIVE_STEPS = 2.0, 8  # of the pass that measures the speed of a cell's best configuration
BYTES_A_RUN = 50_000  # of config, record, log, study and MLflow's store (measured: 45 kB at 20 epochs)


class CellEstimate(BaseModel):
    """What one cell will take."""

    dataset: str
    length: int
    model: str
    runs: float  # expected number: the default is among the best, or is confirmed beside them
    steps: int | None = None  # of a run that is not ended early
    batch_size: int | None = None
    passes: float | None = None  # over the stored examples; None: sequences are drawn at random
    step_milliseconds: float | None = None
    run_seconds: float | None = None  # of a run that is not ended early
    share: float = 1.0  # of its steps that a run is expected to make; below 1 if earlier runs were solved early
    learned_from: int = 0  # earlier runs that `share` is based on; 0: runs are assumed to make all their steps
    device_seconds: float | None = None  # of all its runs
    peak_memory_bytes: int | None = None  # of a run
    disk_bytes: int = 0
    usd: float | None = None
    problem: str | None = None  # why it cannot be trained here


class Estimate(BaseModel):
    """What a sweep will take."""

    SHOWN: ClassVar = (
        *(
            "cell",
            "model",
            "runs",
            "steps",
            "batch",
            "passes",
            "ms a step",
            "s a full run",
            "steps made",
            "device time",
        ),
        *("MiB a run", "disk MB", "USD", "verdict"),
    )

    sweep: str
    made: str  # UTC, ISO 8601
    hardware: str
    slots: int
    memory_bytes: int  # for one run
    wall_seconds: float
    usd: float | None
    cells: list[CellEstimate]
    is_cut_short: bool = False  # by a budget of time or money

    @property
    def memory_gib(self) -> float:
        """Memory for one run, in 2^30 bytes."""
        return self.memory_bytes / 2**30

    @property
    def title(self) -> str:
        """Title of the table."""
        return "predicted; a task that is solved early takes less than its full runs"

    def table(self) -> list[list[str]]:
        """Return a row of text cells for each cell; the columns are SHOWN."""
        return [
            [
                f"{cell.dataset} {cell.length}",
                cell.model,
                f"{cell.runs:.1f}".removesuffix(".0"),
                shown(cell.steps, ",d"),
                shown(cell.batch_size, ",d"),
                shown(cell.passes, ".3g"),
                shown(cell.step_milliseconds, ".2f"),
                shown(cell.run_seconds, ".1f"),
                f"{cell.share:.0%}" if cell.learned_from else "all",
                "" if cell.device_seconds is None else duration(cell.device_seconds),
                shown(None if cell.peak_memory_bytes is None else cell.peak_memory_bytes / 2**20, ",.0f"),
                f"{cell.disk_bytes / 1e6:.1f}",
                shown(cell.usd, ".4f"),
                cell.problem or "fits",
            ]
            for cell in self.cells
        ]

    def sentences(self) -> list[str]:
        """Return the totals and what they are based on, as sentences."""
        device_time = duration(sum(cell.device_seconds or 0 for cell in self.cells))
        learned = sum(cell.learned_from for cell in self.cells)
        sentences = [
            f"The sweep takes about {duration(self.wall_seconds)} with {self.slots} runs at a time on {self.hardware}.",
            f"A budget of time or money ends it early: all its runs would take {device_time} of device time."
            if self.is_cut_short
            else f"Its runs take {device_time} of device time.",
            f"How early runs are solved is predicted from {learned:,} earlier runs of these models."
            if learned
            else "Runs that are solved early take less; no earlier sweep shows how much less.",
            f"It writes about {sum(cell.disk_bytes for cell in self.cells) / 1e6:,.1f} MB to disk.",
            "Its cost is unknown without --price-per-hour."
            if self.usd is None
            else f"It costs about {self.usd:.2f} USD.",
        ]
        misfits = [f"{cell.model} on {cell.dataset} {cell.length}" for cell in self.cells if cell.problem]
        if misfits:
            sentences.append(f"Cannot be trained with {self.memory_gib:.1f} GiB a run: {', '.join(misfits)}.")
        return sentences


def make(plan: Plan, memory_gb: float | None, say: Say) -> Estimate:
    """Train a few steps of every cell, as many at a time as the sweep would, and predict what the sweep takes.

    The prediction is kept as plan.json in the sweep's folder, so that the report can compare it with the outcome.
    """
    if plan.seconds is not None:
        rule = "is a time, and the sweep ends when it is over; predict a named budget instead"
        raise DeclarationError(f"--budget {plan.config.budget}: {rule}")
    memory = memory_of_a_run(plan, memory_gb)
    with Prober(plan) as prober:
        probes = _probe_cells(plan, prober, say)
    earlier = _earlier(plan)
    cells = [
        estimate_cell(plan, cell, *probes[i], memory, earlier.get((cell.dataset.name, cell.space.name), []))
        for i, cell in enumerate(plan.cells)
    ]
    exclusive = sum(
        EXCLUSIVE_SECONDS + EXCLUSIVE_STEPS * cell.step_milliseconds / 1e3
        for cell in cells
        if cell.step_milliseconds is not None
    )
    run_seconds = sum(cell.device_seconds or 0 for cell in cells) / plan.config.gpus_per_run
    wall = prober.start_seconds + run_seconds / len(plan.slots) + exclusive
    allowed = allowed_seconds(plan) + exclusive
    environments = [short.environment for short, _ in probes if short.environment]
    estimate = Estimate(
        sweep=plan.name,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        hardware=str(environments[0]["hardware"]) if environments else "unknown hardware",
        slots=len(plan.slots),
        memory_bytes=memory,
        wall_seconds=min(wall, allowed),
        usd=None if plan.usd_per_hour is None else plan.usd_per_hour * min(wall, allowed) / 3600,
        cells=cells,
        is_cut_short=allowed < wall,
    )
    plan.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(plan.folder / "plan.json", estimate.model_dump_json(indent=1))
    return estimate


def read(folder: Path) -> Estimate | None:
    """Return what was predicted for a sweep; None if nothing was. Raises ValueError for a damaged plan.json."""
    path = folder / "plan.json"
    return Estimate.model_validate_json(path.read_text()) if path.exists() else None


def allowed_seconds(plan: Plan) -> float:
    """Return the wall time after which a budget of time or money ends the search; infinite without one."""
    config, limits = plan.config, [math.inf]
    if config.wall_time is not None:
        limits.append(config.wall_time)
    if config.device_time is not None:
        limits.append(config.device_time / len(plan.slots) / config.gpus_per_run)
    if config.max_usd is not None and plan.usd_per_hour:
        limits.append(3600 * config.max_usd / plan.usd_per_hour)
    return min(limits)


def _probe_cells(plan: Plan, prober: Prober, say: Say) -> list[tuple[RunRecord, RunRecord | None]]:
    """Return two probes of each cell: one of 2 steps an epoch, and a longer one if the first is too short."""
    short = prober.probe([probe(plan, cell, index, 2) for index, cell in enumerate(plan.cells)])
    steps = [_longer(plan, record) for record in short]
    jobs = [probe(plan, plan.cells[index], index, number) for index, number in enumerate(steps) if number]
    say(f"timed 2 steps of {count(len(short), 'cell')}" + (f"; timing more steps of {len(jobs)}" if jobs else ""))
    longer = {record.config.number: record for record in prober.probe(jobs)}
    return [(record, longer.get(index)) for index, record in enumerate(short)]


def _longer(plan: Plan, record: RunRecord) -> int:
    """Return the steps an epoch of a second probe; 0 if the first probe is long enough."""
    if record.state == "failed" or len(record.epochs) < 2:
        return 0
    step = epoch_seconds(record) / record.config.train.steps_per_epoch
    full = plan.settings(plan.cells[record.config.number]).steps_per_epoch
    steps = min(full, int(PROBE_SECONDS / PROBE_EPOCHS / step))
    return steps if steps > 2 * record.config.train.steps_per_epoch else 0


class RunCost(NamedTuple):
    """Seconds of the parts of a run."""

    start: float  # process, data, weights and trainer
    first_epoch: float  # what the first epoch takes beyond the others
    step: float
    epoch: float  # beside its steps
    evaluation: float  # of one example of the validation or test split

    @classmethod
    def of_probes(cls, short: RunRecord, longer: RunRecord | None) -> "RunCost":
        """Return the parts of a run as one or two probes of a cell show them."""
        record = longer if longer is not None and longer.state == "complete" else short
        settings, seconds = record.config.train, record.seconds
        step, epoch = _step_and_epoch(short, longer)
        known = seconds.setup + seconds.data + seconds.burn_in + seconds.train + seconds.evaluate + seconds.waiting
        return cls(
            start=max(0.0, seconds.total - known) + seconds.setup + seconds.waiting,
            first_epoch=max(0.0, record.epochs[0].train_seconds - epoch - settings.steps_per_epoch * step),
            step=step,
            epoch=epoch,
            evaluation=seconds.evaluate / settings.num_epochs / settings.num_val,
        )

    def training(self, settings: TrainSettings) -> float:
        """Return the seconds of all epochs of a run, without what the first one takes beyond the others."""
        epoch = self.epoch + settings.steps_per_epoch * self.step + settings.num_val * self.evaluation
        return settings.num_epochs * epoch

    def test(self, seeds: int, sequences: float) -> float:
        """Return the seconds of the run that opens the test split: `sequences` for each of `seeds` confirmed seeds."""
        return self.start + seeds * sequences * self.evaluation if seeds else 0.0


def _step_and_epoch(short: RunRecord, longer: RunRecord | None) -> tuple[float, float]:
    """Return the seconds of a step, and those of an epoch beside its steps.

    Both probes have the same epochs, of n and m steps: what an epoch takes beside its steps cancels in the difference.
    """
    n, first = short.config.train.steps_per_epoch, epoch_seconds(short)
    if longer is None or longer.state == "failed":
        return first / n, 0.0
    m, second = longer.config.train.steps_per_epoch, epoch_seconds(longer)
    step = max((second - first) / (m - n), 0.25 * second / m)  # noise must not make a step free
    return step, max(0.0, second - m * step)


def expected_runs(budget: Budget) -> tuple[float, float]:
    """Return the expected numbers of trials and of confirm runs of a cell.

    The default configuration is confirmed too, and is as likely to be among the best as any other trial.
    """
    confirmed = float(min(budget.top_k, budget.trials))
    confirmed += 1 - confirmed / budget.trials
    return budget.trials, confirmed * budget.confirm_seeds


Solved = tuple[int, int]
"""Of an earlier run: its length, and the training sequences it needed."""


def _earlier(plan: Plan) -> dict[tuple[str, str], list[Solved]]:
    """Return what runs of other sweeps needed on tasks that can be solved, by dataset and search space."""
    needed: dict[tuple[str, str], list[Solved]] = {}
    for folder in sorted((plan.config.results / "sweeps").glob("*")):
        if folder == plan.folder or not (folder / "sweep.json").exists():
            continue
        for record in records(folder):
            config = record.config
            is_complete = record.state == "complete" and config.phase in ("screen", "confirm")
            most = max(plan.settings(cell).max_sequences for cell in plan.cells)
            if is_complete and (record.solved or config.train.max_sequences >= most):
                needed.setdefault((config.dataset, config.space), []).append((config.length, record.train_sequences))
    return needed


def _share(plan: Plan, cell: Cell, earlier: Sequence[Solved]) -> tuple[float, int]:
    """Return the expected share of its steps that a run makes, and how many earlier runs the share is based on.

    Only runs of the nearest length count.
    """
    if cell.task.solved is None or not earlier:
        return 1.0, 0
    nearest = min((abs(math.log(length / cell.length)), length) for length, _ in earlier)[1]
    most = plan.settings(cell).max_sequences
    needed = [min(sequences, most) for length, sequences in earlier if length == nearest]
    return statistics.fmean(needed) / most, len(needed)


def estimate_cell(
    plan: Plan, cell: Cell, short: RunRecord, longer: RunRecord | None, memory: int, earlier: Sequence[Solved] = ()
) -> CellEstimate:
    """Return what a cell takes, from one or two probes, if a run may use `memory` bytes."""
    trials, confirm_runs = expected_runs(plan.budget)
    runs = trials + confirm_runs
    settings = plan.settings(cell)
    name: dict[str, Any] = {"dataset": cell.dataset.name, "length": cell.length, "model": cell.space.name}
    name |= {"steps": settings.max_steps, "batch_size": settings.batch_size, "passes": passes(cell.task, settings)}
    record = longer if longer is not None and longer.state == "complete" else short
    if record.state == "failed" or not record.epochs:
        return CellEstimate(**name, runs=runs, problem=f"fails: {record.cause}: {record.message}")
    cost = RunCost.of_probes(short, longer)
    training = cost.training(settings)
    full = cost.start + cost.first_epoch + training
    share, learned_from = _share(plan, cell, earlier)
    test = cost.test(plan.budget.confirm_seeds, plan.test_sequences(cell))
    slot_seconds = runs * (full - (1 - share) * training) + test
    peak = max(probe.peak_memory_bytes or 0 for probe in (short, record))
    price = plan.usd_per_hour
    return CellEstimate(
        **name,
        runs=runs,
        step_milliseconds=1e3 * cost.step,
        run_seconds=full,
        share=share,
        learned_from=learned_from,
        device_seconds=slot_seconds * record.config.num_devices,
        peak_memory_bytes=peak or None,
        disk_bytes=round(runs * BYTES_A_RUN + 4 * record.num_parameters * confirm_runs),
        usd=None if price is None else price / len(plan.slots) * slot_seconds / 3600,
        problem=f"needs {peak / 2**30:.1f} GiB" if peak > memory else None,
    )
