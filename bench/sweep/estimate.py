"""What a sweep will take, from a few steps of each of its cells: time, memory, money, disk; and what cannot fit."""

import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel

from bench.config.datasets import make_task
from bench.config.settings import RunConfig
from bench.errors import BenchError, DeclarationError
from bench.results.record import RunRecord, records, write_atomically
from bench.sweep.engines.local import Job, LocalEngine, check_gpus, free_memory
from bench.sweep.prepare import Cell, Plan, run_config
from bench.wording import count

PROBE_EPOCHS = 5  # the first warms up, the median of the others is the measurement
PROBE_SECONDS = 0.5  # of training in the longer one of the two probes of a cell
EXCLUSIVE_SECONDS = 2.0  # of the pass that measures speed, beside some steps
BYTES_A_RUN = 50_000  # of config, record, log, study and MLflow's store (measured: 45 kB at 20 epochs)
FRONTIER_PROBES = 40
FRONTIER_SECONDS = 20.0  # a step that takes longer ends the search for the longest length

Say = Callable[[str], None]


class CellEstimate(BaseModel):
    """What one cell will take."""

    dataset: str
    length: int
    model: str
    runs: float  # expected: the default is among the best, or is confirmed beside them
    step_milliseconds: float | None = None
    run_seconds: float | None = None  # of a run that is not ended early
    share: float = 1.0  # of the steps that a run is expected to make; below 1 where earlier runs were solved early
    learned_from: int = 0  # earlier runs that say so; 0: runs are taken to go to their end
    device_seconds: float | None = None  # of all its runs
    peak_memory_bytes: int | None = None  # of a run
    disk_bytes: int = 0
    usd: float | None = None
    problem: str | None = None  # why it cannot be trained here


class Estimate(BaseModel):
    """What a sweep will take."""

    SHOWN: ClassVar = (
        *("cell", "model", "runs", "ms a step", "s a full run", "steps made", "device time"),
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
        """What the table is of."""
        return "predicted; a task that is solved early takes less than its full runs"

    def table(self) -> list[list[str]]:
        """Return a row of text cells for each cell; the columns are SHOWN."""
        return [
            [
                f"{cell.dataset} {cell.length}",
                cell.model,
                f"{cell.runs:.1f}".removesuffix(".0"),
                _shown(cell.step_milliseconds, ".2f"),
                _shown(cell.run_seconds, ".1f"),
                f"{cell.share:.0%}" if cell.learned_from else "all",
                "" if cell.device_seconds is None else duration(cell.device_seconds),
                _shown(None if cell.peak_memory_bytes is None else cell.peak_memory_bytes / 2**20, ",.0f"),
                f"{cell.disk_bytes / 1e6:.1f}",
                _shown(cell.usd, ".4f"),
                cell.problem or "fits",
            ]
            for cell in self.cells
        ]

    def _basis(self) -> str:
        learned = sum(cell.learned_from for cell in self.cells)
        if not learned:
            return "less where runs are solved early: no earlier sweep says how early"
        return f"how early runs are solved is from {learned:,} earlier runs of these models"

    def sentences(self) -> list[str]:
        """Return the sums, in words."""
        device_time = duration(sum(cell.device_seconds or 0 for cell in self.cells))
        cut = "a budget of time or money ends it before all runs are made, which would take " * self.is_cut_short
        found = [
            f"about {duration(self.wall_seconds)} with {self.slots} runs at a time on {self.hardware}, "
            f"{cut}{device_time} of device time; {self._basis()}",
            f"disk: about {sum(cell.disk_bytes for cell in self.cells) / 1e6:,.0f} MB",
            "money: no price given (--price-per-hour)" if self.usd is None else f"money: about {self.usd:.2f} USD",
        ]
        misfits = [f"{cell.model} on {cell.dataset} {cell.length}" for cell in self.cells if cell.problem]
        if misfits:
            found.append(f"cannot be trained, with {self.memory_gib:.1f} GiB for a run: {', '.join(misfits)}")
        return found


def make(plan: Plan, memory_gb: float | None, say: Say) -> Estimate:
    """Train a few steps of every cell, as many at a time as the sweep would, and predict what the sweep takes.

    The prediction is kept in the sweep's folder, so that the report can print it beside what it was.
    """
    memory = _memory(plan, memory_gb)
    with _Prober(plan) as prober:
        short = prober.probe([_probe(plan, cell, index, 2) for index, cell in enumerate(plan.cells)])
        lengths = [_longer(plan, record) for record in short]
        jobs = [_probe(plan, cell, i, n) for i, (cell, n) in enumerate(zip(plan.cells, lengths, strict=True)) if n]
        say(f"timed 2 steps of {count(len(short), 'cell')}" + (f"; timing some more of {len(jobs)}" if jobs else ""))
        longer = {record.config.number: record for record in prober.probe(jobs)}
        started = prober.start_seconds
    earlier = _earlier(plan)
    cells = [
        _cell(plan, cell, short[i], longer.get(i), memory, earlier.get((cell.dataset.name, cell.space.name), []))
        for i, cell in enumerate(plan.cells)
    ]
    exclusive = [EXCLUSIVE_SECONDS + 8e-3 * c.step_milliseconds for c in cells if c.step_milliseconds is not None]
    wall = started + sum(c.device_seconds or 0 for c in cells) / len(plan.slots) / plan.config.gpus_per_run
    wall += sum(exclusive)
    allowed = _allowed_seconds(plan) + sum(exclusive)
    estimate = Estimate(
        sweep=plan.name,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        hardware=next((str(r.environment.get("hardware")) for r in short if r.environment), "unknown hardware"),
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


def _allowed_seconds(plan: Plan) -> float:
    """Return the wall time after which a budget of time or money ends the search; infinite without one."""
    config, found = plan.config, [math.inf]
    if config.wall_time is not None:
        found.append(config.wall_time)
    if config.device_time is not None:
        found.append(config.device_time / len(plan.slots) / config.gpus_per_run)
    if config.max_usd is not None and plan.usd_per_hour:
        found.append(3600 * config.max_usd / plan.usd_per_hour)
    return min(found)


def read(folder: Path) -> Estimate | None:
    """Return what was predicted for a sweep; None if nothing was."""
    path = folder / "plan.json"
    return Estimate.model_validate_json(path.read_text()) if path.exists() else None


def run_seconds(record: RunRecord, longer: RunRecord | None) -> tuple[float, float]:
    """Return the seconds of a step, and those of an epoch beside its steps, from one or two probes of a cell.

    Both have the same epochs, of n and m steps: what an epoch costs beside its steps cancels in their difference.
    """
    first = _epoch_seconds(record)
    n = record.config.train.steps_per_epoch
    if longer is None or longer.state == "failed":
        return first / n, 0.0
    m, second = longer.config.train.steps_per_epoch, _epoch_seconds(longer)
    step = max((second - first) / (m - n), 0.25 * second / m)  # noise must not make it free
    return step, max(0.0, second - m * step)


def _epoch_seconds(record: RunRecord) -> float:
    ends = [epoch.train_seconds for epoch in record.epochs]
    return statistics.median(b - a for a, b in zip(ends, ends[1:], strict=False)) if len(ends) > 1 else ends[0]


Solved = tuple[int, int]
"""Of an earlier run: its length, and the training sequences it needed."""


def _earlier(plan: Plan) -> dict[tuple[str, str], list[Solved]]:
    """Return what runs of other sweeps needed on tasks that can be solved, by dataset and search space."""
    found: dict[tuple[str, str], list[Solved]] = {}
    for folder in sorted((plan.config.results / "sweeps").glob("*")):
        if folder != plan.folder and (folder / "sweep.json").exists():
            for record in records(folder):
                config = record.config
                whole = record.state == "complete" and config.phase in ("screen", "confirm")
                if whole and (record.solved or config.train.max_sequences >= plan.budget.max_sequences):
                    key = (config.dataset, config.space)
                    found.setdefault(key, []).append((config.length, record.train_sequences))
    return found


def _share(plan: Plan, cell: Cell, earlier: Sequence[Solved]) -> tuple[float, int]:
    """Return the share of the steps that runs of a cell are expected to make, by earlier ones of the nearest length."""
    if cell.task.solved is None or not earlier:
        return 1.0, 0
    nearest = min((abs(math.log(length / cell.length)), length) for length, _ in earlier)[1]
    needed = [min(sequences, plan.budget.max_sequences) for length, sequences in earlier if length == nearest]
    return statistics.fmean(needed) / plan.budget.max_sequences, len(needed)


def _cell(
    plan: Plan, cell: Cell, short: RunRecord, longer: RunRecord | None, memory: int, earlier: Sequence[Solved] = ()
) -> CellEstimate:
    budget = plan.budget
    # The default is as likely to be anywhere in the order as any other trial.
    confirmed = float(min(budget.top_k, budget.trials))
    confirmed += 1 - confirmed / budget.trials
    confirm_runs = confirmed * budget.confirm_seeds
    estimate = CellEstimate(
        dataset=cell.dataset.name, length=cell.length, model=cell.space.name, runs=budget.trials + confirm_runs
    )
    record = longer if longer is not None and longer.state == "complete" else short
    if record.state == "failed" or not record.epochs:
        estimate.problem = f"fails: {record.cause}: {record.message}"
        return estimate
    settings = record.config.train
    full = run_config(plan, cell, "probe", "probe", cell.space.default).train
    step, beside = run_seconds(short, longer)
    seconds = record.seconds
    first_epoch = max(0.0, record.epochs[0].train_seconds - beside - settings.steps_per_epoch * step)
    evaluation = seconds.evaluate / settings.num_epochs
    known = seconds.setup + seconds.data + seconds.burn_in + seconds.train + seconds.evaluate + seconds.waiting
    rest = max(0.0, seconds.total - known) + seconds.setup + seconds.waiting
    whole = full.num_epochs * (beside + full.steps_per_epoch * step + evaluation)
    run = rest + first_epoch + whole
    estimate.share, estimate.learned_from = _share(plan, cell, earlier)
    test = rest + budget.confirm_seeds * evaluation * budget.num_test / budget.num_val
    estimate.step_milliseconds = 1e3 * step
    estimate.run_seconds = run
    expected = run - (1 - estimate.share) * whole
    slot_seconds = estimate.runs * expected + (test if budget.confirm_seeds else 0.0)
    estimate.device_seconds = slot_seconds * record.config.num_devices
    estimate.peak_memory_bytes = max(r.peak_memory_bytes or 0 for r in (short, record)) or None
    weights = 4 * record.num_parameters * confirm_runs
    estimate.disk_bytes = round(estimate.runs * BYTES_A_RUN + weights)
    if plan.usd_per_hour is not None:
        estimate.usd = plan.usd_per_hour / len(plan.slots) * slot_seconds / 3600
    if (estimate.peak_memory_bytes or 0) > memory:
        estimate.problem = f"needs {(estimate.peak_memory_bytes or 0) / 2**30:.1f} GiB"
    return estimate


def _probe(plan: Plan, cell: Cell, number: int, steps: int, length: int | None = None) -> RunConfig:
    """Return a run of the default configuration that trains a few epochs of `steps` steps."""
    at = length or cell.length
    run_id = f"{cell.dataset.name}/L{at}/{cell.space.name}/probe{steps}"
    config = run_config(plan, cell, run_id, "probe", cell.space.default, number=number)
    sequences = PROBE_EPOCHS * steps * config.train.batch_size
    update = {"max_sequences": sequences, "num_epochs": PROBE_EPOCHS}
    return config.model_copy(update={"train": config.train.model_copy(update=update), "length": at})


def _longer(plan: Plan, record: RunRecord) -> int:
    """Return how many steps an epoch of a second probe should have; 0 if the first says enough."""
    if record.state == "failed" or len(record.epochs) < 2:
        return 0
    step = _epoch_seconds(record) / record.config.train.steps_per_epoch
    steps = min(plan.max_steps // plan.budget.num_epochs, int(PROBE_SECONDS / PROBE_EPOCHS / step))
    return steps if steps > 2 * record.config.train.steps_per_epoch else 0


class _Prober:
    """Runs probes as a sweep runs its runs, in a folder that is gone afterwards."""

    def __init__(self, plan: Plan) -> None:
        if plan.device == "cuda":
            check_gpus(plan.slots)
        self._engine = LocalEngine(plan.slots, stall_seconds=10 * FRONTIER_SECONDS)
        self._folder = Path(tempfile.mkdtemp(prefix="bench-plan-"))
        self.start_seconds = 0.0  # of the server, once

    def __enter__(self) -> "_Prober":
        began = time.monotonic()
        self._engine.start_server()
        self._engine.wait_for_server()
        self.start_seconds = time.monotonic() - began
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def probe(self, configs: Sequence[RunConfig]) -> list[RunRecord]:
        """Carry out probes and return their records, in order."""
        ended: dict[str, RunRecord] = {}
        waiting = list(enumerate(configs))
        while len(ended) < len(configs):
            while waiting and self._engine.idle > 0:
                index, config = waiting.pop(0)
                folder = self._folder / f"{config.run}-{index}"
                folder.mkdir(parents=True)
                write_atomically(folder / "config.json", config.model_dump_json())
                self._engine.submit(Job(str(index), folder))
            for event in self._engine.wait(0.25):
                if event.kind == "ended":
                    record = RunRecord.read(event.job.folder)
                    config = configs[int(event.job.id)]
                    ended[event.job.id] = record or _died(config, event.cause or "no record")
        return [ended[str(index)] for index in range(len(configs))]


def _died(config: RunConfig, cause: str) -> RunRecord:
    task = make_task(config.task, config.length, config.task_arguments)
    fields = {"config": config, "state": "failed", "cause": cause, "message": "the process ended"}
    asked = {name: getattr(task, name) for name in ("metric", "goal", "chance", "solved", "num_steps")}
    return RunRecord.model_validate(fields | {"asked": asked})


def _memory(plan: Plan, memory_gb: float | None) -> int:
    if memory_gb is not None and memory_gb <= 0:
        raise DeclarationError(f"--memory-gb {memory_gb:g}: above 0")
    return free_memory(plan.slots, plan.device) if memory_gb is None else int(memory_gb * 2**30)


class Reach(BaseModel):
    """The longest length at which a model can be trained, and what ends it."""

    dataset: str
    model: str
    length: int | None  # None: not even at the shortest
    steps: int | None
    peak_memory_bytes: int | None
    step_seconds: float | None
    ended_by: str


class Frontier(BaseModel):
    """What can be trained in a given memory, on a batch of the budget's size."""

    SHOWN: ClassVar = ("dataset", "model", "longest", "steps", "MiB", "s a step", "ended by")

    hardware: str
    memory_bytes: int
    batch_size: int
    reaches: list[Reach]

    @property
    def memory_gib(self) -> float:
        """Memory for one run, in 2^30 bytes."""
        return self.memory_bytes / 2**30

    @property
    def title(self) -> str:
        """What the table is of."""
        return f"longest trainable length, {self.memory_gib:.2f} GiB a run"

    def table(self) -> list[list[str]]:
        """Return a row of text cells for each model and dataset; the columns are SHOWN."""
        return [
            [
                reach.dataset,
                reach.model,
                "none" if reach.length is None else f"{reach.length:,}",
                _shown(reach.steps, ",d"),
                _shown(None if reach.peak_memory_bytes is None else reach.peak_memory_bytes / 2**20, ",.0f"),
                _shown(reach.step_seconds, ".2f"),
                reach.ended_by,
            ]
            for reach in self.reaches
        ]

    def sentences(self) -> list[str]:
        """Return the conditions, in words."""
        return [
            f"batches of {self.batch_size} sequences, training step and all it keeps, on {self.hardware}; "
            "lengths beyond a measured one were not assumed: each was trained"
        ]


def frontier(plan: Plan, memory_gb: float | None, say: Say) -> Frontier:
    """Find for each model of each dataset the longest length whose training fits a memory, by training at it.

    Lengths double until the next would not fit, by the growth so far; the length that just should is then tried.
    """
    memory = _memory(plan, memory_gb)
    first: dict[tuple[str, str], Cell] = {}
    for cell in plan.cells:
        key = (cell.dataset.name, cell.space.name)
        if key not in first or cell.length < first[key].length:
            first[key] = cell
    reaches: list[Reach] = []
    hardware = ""
    with _Prober(plan) as prober:
        for cell in first.values():
            reach, tried = _reach(plan, cell, memory, prober)
            reaches.append(reach)
            hardware = hardware or next((str(r.environment["hardware"]) for r in tried if r.environment), "")
            say(f"{cell.space.name} on {cell.dataset.name}: {reach.length or 'none'}, ended by {reach.ended_by}")
    return Frontier(hardware=hardware, memory_bytes=memory, batch_size=plan.budget.batch_size, reaches=reaches)


def _reach(plan: Plan, cell: Cell, memory: int, prober: _Prober) -> tuple[Reach, list[RunRecord]]:
    fitting: list[RunRecord] = []
    tried: list[RunRecord] = []
    length, doubling, ended_by = cell.length, True, "memory"
    for _ in range(FRONTIER_PROBES):
        try:
            make_task(cell.dataset.task, length, cell.dataset.arguments)
        except BenchError as error:
            ended_by = f"the task: {error}"
            break
        record = prober.probe([_single_step(plan, cell, len(tried), length)])[0]
        tried.append(record)
        peak = record.peak_memory_bytes or 0
        if record.state == "failed" and record.cause != "out_of_memory":
            ended_by = f"{record.cause}: {record.message}"
            break
        if record.state == "failed" or peak > memory:
            if not fitting or length <= fitting[-1].config.length:
                break
            doubling, length = False, max(fitting[-1].config.length, int(0.9 * length))
            continue
        fitting.append(record)
        if not doubling:
            break
        if _step_seconds(record) > FRONTIER_SECONDS / 2:
            ended_by = f"time: at twice this a step takes over {FRONTIER_SECONDS:.0f} s"
            break
        growth = max(2.0, peak / (fitting[-2].peak_memory_bytes or 1) if len(fitting) > 1 else 2.0)
        room = memory / max(1, peak)
        doubling = growth <= room
        # Memory grows as a power of length; a little less than what should just fit.
        length = 2 * length if doubling else int(0.98 * length * 2 ** (math.log(room) / math.log(growth)))
        if length <= fitting[-1].config.length:
            break
    best = fitting[-1] if fitting else None
    return Reach(
        dataset=cell.dataset.name,
        model=cell.space.name,
        length=best.config.length if best else None,
        steps=best.asked.num_steps if best else None,
        peak_memory_bytes=best.peak_memory_bytes if best else None,
        step_seconds=_step_seconds(best) if best else None,
        ended_by=ended_by,
    ), tried


def _single_step(plan: Plan, cell: Cell, number: int, length: int) -> RunConfig:
    config = _probe(plan, cell, number, 1, length)
    size = config.train.batch_size
    settings = config.train.model_copy(update={"max_sequences": size, "num_epochs": 1, "num_val": size})
    return config.model_copy(update={"train": settings})


def _step_seconds(record: RunRecord) -> float:
    return record.seconds.burn_in + record.seconds.train


def duration(seconds: float) -> str:
    """Return a time in words, with the unit that suits it."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
