"""Short runs that measure what the configurations of a plan take."""

import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.config.datasets import task_of
from bench.config.settings import RunConfig
from bench.errors import DeclarationError
from bench.results.record import RunRecord, write_json
from bench.sweeps.cells import Cell
from bench.sweeps.engines import cluster, machine
from bench.sweeps.engines.engine import Engine, Job
from bench.sweeps.prepare import Plan, make_engine, run_config

PROBE_EPOCHS = 5  # the first warms up; the median of the others is the measurement
MOST_SCORED = 500  # validation examples of a probe: enough to measure what one of them takes
STALL_SECONDS = 200.0  # a probe that reports nothing for this long has failed

Say = Callable[[str], None]


def carry_out(engine: Engine, runs: Sequence[tuple[RunConfig, Path]]) -> list[RunRecord]:
    """Carry out runs, each in its folder, and return their records in the same order.

    An older record in a folder is replaced. A run whose process dies has a record with the cause.
    """
    for config, folder in runs:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.json").unlink(missing_ok=True)
        write_json(folder / "config.json", config.model_dump(mode="json"))
    ends = engine.run_all([Job(str(folder), folder) for _, folder in runs])
    records = []
    for (config, folder), end in zip(runs, ends, strict=True):
        record = RunRecord.read(folder)
        if record is None:
            task = task_of(config)
            record = RunRecord.of_dead_run(config, task, end.cause or "no record", "the process ended")
        records.append(record)
    return records


class Prober:
    """Carries out probes as a sweep does its runs, in a temporary folder. A context manager.

    With an `engine`, it uses that one and leaves it open.
    """

    def __init__(self, plan: Plan, engine: Engine | None = None) -> None:
        self._is_own = engine is None
        self._engine = engine or make_engine(plan, STALL_SECONDS)
        self._folder = Path(tempfile.mkdtemp(prefix="bench-plan-"))
        self.start_seconds = 0.0
        """Seconds in which the server started, once for all probes."""

    def __enter__(self) -> "Prober":
        began = time.monotonic()
        self._engine.start_server()
        self._engine.wait_for_server()
        self.start_seconds = time.monotonic() - began
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_own:
            self._engine.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def probe(self, configs: Sequence[RunConfig]) -> list[RunRecord]:
        """Carry out probes and return their records in the same order."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        return carry_out(self._engine, [(config, folder / str(index)) for index, config in enumerate(configs)])


def probe(plan: Plan, cell: Cell, number: int, steps: int) -> RunConfig:
    """Return a run of a cell's default configuration that trains PROBE_EPOCHS epochs of `steps` steps."""
    config = run_config(plan, cell, cell.id.probe(steps), "probe", cell.space.default, number=number)
    update = {
        "max_sequences": PROBE_EPOCHS * steps * config.train.batch_size,
        "num_epochs": PROBE_EPOCHS,
        "num_val": min(config.train.num_val, MOST_SCORED),
    }
    return config.model_copy(update={"train": config.train.model_copy(update=update)})


def epoch_seconds(record: RunRecord) -> float:
    """Return the median seconds of training in an epoch of a probe, without the first epoch if there are others."""
    ends = [epoch.train_seconds for epoch in record.epochs]
    return statistics.median(b - a for a, b in zip(ends, ends[1:], strict=False)) if len(ends) > 1 else ends[0]


def memory_of_a_run(plan: Plan, memory_gb: float | None) -> int:
    """Return the bytes that one run may use: `memory_gb`, or what is free where it runs. Raises DeclarationError."""
    if memory_gb is None and plan.config.engine == "ray":
        return cluster.free_memory(plan.config, plan.slots)
    if memory_gb is None:
        return machine.free_memory(plan.slots, plan.device)
    if not 0 < memory_gb < math.inf:
        raise DeclarationError(f"--memory-gb must be a number above 0, but it is {memory_gb:g}")
    return int(memory_gb * 2**30)


def shown(value: float | None, form: str) -> str:
    """Return a number in the given format, or an empty text if it is unknown."""
    return "" if value is None else format(value, form)
