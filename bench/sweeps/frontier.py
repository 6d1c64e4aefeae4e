"""The longest sequences on which each model can be trained in a given memory: what `bench plan --frontier` finds."""

import math
from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel

from bench.config.datasets import make_task
from bench.config.settings import RunConfig
from bench.errors import BenchError
from bench.results.record import RunRecord
from bench.sweeps.cells import Cell
from bench.sweeps.prepare import Plan, run_config
from bench.sweeps.probes import Prober, Say, memory_of_a_run, shown
from bench.wording import enumeration

MAX_PROBES = 40  # of one model on one dataset
STEP_SECONDS = 20.0  # the search ends before a training step takes longer


class Reach(BaseModel):
    """The longest length at which a model can be trained, and why no longer one is possible."""

    dataset: str
    model: str
    length: int | None  # None: not even at the shortest
    steps: int | None
    peak_memory_bytes: int | None
    step_seconds: float | None
    ended_by: str


class Frontier(BaseModel):
    """What can be trained in a given memory, on batches of the budget's sizes."""

    SHOWN: ClassVar = ("dataset", "model", "longest", "steps", "MiB", "s a step", "limited by")

    hardware: str
    memory_bytes: int
    batch_sizes: list[int]
    reaches: list[Reach]

    @property
    def memory_gib(self) -> float:
        """Memory for one run, in 2^30 bytes."""
        return self.memory_bytes / 2**30

    @property
    def title(self) -> str:
        """Title of the table."""
        return f"longest trainable length, {self.memory_gib:.2f} GiB a run"

    def table(self) -> list[list[str]]:
        """Return a row of text cells for each model and dataset; the columns are SHOWN."""
        return [
            [
                reach.dataset,
                reach.model,
                "none" if reach.length is None else f"{reach.length:,}",
                shown(reach.steps, ",d"),
                shown(None if reach.peak_memory_bytes is None else reach.peak_memory_bytes / 2**20, ",.0f"),
                shown(reach.step_seconds, ".2f"),
                reach.ended_by,
            ]
            for reach in self.reaches
        ]

    def sentences(self) -> list[str]:
        """Return the conditions of the measurement, as sentences."""
        return [
            f"Each length was measured by a training step on {enumeration(map(str, self.batch_sizes))} sequences, "
            f"on {self.hardware}; "
            "none is extrapolated."
        ]


def make(plan: Plan, memory_gb: float | None, say: Say) -> Frontier:
    """Find the longest length of each model on each dataset whose training fits a memory, by training at it.

    The length doubles as long as the next step should fit by the growth so far; then the length that should just fit
    is tried.
    """
    memory = memory_of_a_run(plan, memory_gb)
    shortest: dict[tuple[str, str], Cell] = {}
    for cell in sorted(plan.cells, key=lambda cell: cell.length, reverse=True):
        shortest[cell.dataset.name, cell.space.name] = cell
    cells = [cell for cell in plan.cells if cell in shortest.values()]
    reaches: list[Reach] = []
    hardware = ""
    with Prober(plan) as prober:
        for cell in cells:
            reach, records = _reach(plan, cell, memory, prober)
            reaches.append(reach)
            hardware = hardware or next((str(r.environment["hardware"]) for r in records if r.environment), "")
            say(f"{cell.space.name} on {cell.dataset.name}: {reach.length or 'none'}, limited by {reach.ended_by}")
    batches = sorted({plan.settings(cell).batch_size for cell in cells})
    return Frontier(hardware=hardware, memory_bytes=memory, batch_sizes=batches, reaches=reaches)


def _reach(plan: Plan, cell: Cell, memory: int, prober: Prober) -> tuple[Reach, list[RunRecord]]:
    """Return how long a model can be trained, and the records of all probes."""
    tried: list[RunRecord] = []
    fitting: list[RunRecord] = []
    length: int | None = cell.length
    is_last, ended_by = False, "memory"
    while length is not None and len(tried) < MAX_PROBES:
        refusal = _refusal(cell, length)
        if refusal is not None:
            ended_by = refusal
            break
        (record,) = prober.probe([_single_step(plan, cell, len(tried), length)])
        tried.append(record)
        if record.state == "failed" and record.cause != "out_of_memory":
            ended_by = f"{record.cause}: {record.message}"
            break
        if record.state == "failed" or (record.peak_memory_bytes or 0) > memory:
            shorter, is_last = int(0.9 * length), True
            length = shorter if fitting and shorter > fitting[-1].config.length else None
            continue
        fitting.append(record)
        if is_last:
            break
        if _step_seconds(record) > STEP_SECONDS / 2:
            ended_by = f"time: a step of twice this length takes over {STEP_SECONDS:.0f} s"
            break
        length, is_last = _longer(fitting, memory)
    return _longest(cell, fitting[-1] if fitting else None, ended_by), tried


def _refusal(cell: Cell, length: int) -> str | None:
    """Return why the task does not exist at a length."""
    try:
        make_task(cell.dataset.task, length, cell.dataset.arguments)
    except BenchError as error:
        return f"the task: {error}"
    return None


def _longer(fitting: Sequence[RunRecord], memory: int) -> tuple[int | None, bool]:
    """Return the next length to try, None if none is longer, and whether the search ends if that one fits."""
    length, peak = fitting[-1].config.length, fitting[-1].peak_memory_bytes or 0
    growth = max(2.0, peak / (fitting[-2].peak_memory_bytes or 1)) if len(fitting) > 1 else 2.0
    room = memory / max(1, peak)
    if growth <= room:
        return 2 * length, False
    # Memory grows as a power of length; a little less than what should just fit.
    longer = int(0.98 * length * 2 ** (math.log(room) / math.log(growth)))
    return (longer if longer > length else None), True


def _longest(cell: Cell, record: RunRecord | None, ended_by: str) -> Reach:
    return Reach(
        dataset=cell.dataset.name,
        model=cell.space.name,
        length=record.config.length if record else None,
        steps=record.asked.num_steps if record else None,
        peak_memory_bytes=record.peak_memory_bytes if record else None,
        step_seconds=_step_seconds(record) if record else None,
        ended_by=ended_by,
    )


def _single_step(plan: Plan, cell: Cell, number: int, length: int) -> RunConfig:
    run_id = cell.id._replace(length=length).probe(1)
    config = run_config(plan, cell, run_id, "probe", cell.space.default, number=number)
    size = config.train.batch_size
    settings = config.train.model_copy(update={"max_sequences": size, "num_epochs": 1, "num_val": size})
    return config.model_copy(update={"train": settings, "length": length})


def _step_seconds(record: RunRecord) -> float:
    return record.seconds.burn_in + record.seconds.train
