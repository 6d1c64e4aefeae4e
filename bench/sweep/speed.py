"""Speed by length: training step, batch inference, one sequence, one step of a stream, and memory, a model at a time.

Each measurement is a run of its own process with nothing else running, at the default configuration. It answers where
attention becomes slower than a recurrence on this machine, and refuses to say so across machines.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from bench.config.settings import RunConfig
from bench.config.sweep_settings import SweepConfig
from bench.errors import DeclarationError, HardwareError
from bench.results.record import RunRecord, write_json
from bench.sweep.engines.local import Job, LocalEngine, check_gpus
from bench.sweep.prepare import Cell, Plan, run_config
from bench.sweep.prepare import make as make_plan

LENGTHS = [32, 64, 128, 256, 512, 1024]

CONDITIONS = ("hardware", "device", "precision", "threads", "dataset", "batch_size")
"""Times are compared only where all of these are the same."""

Say = Callable[[str], None]


def measure(config: SweepConfig, batch_size: int, say: Say) -> tuple[pd.DataFrame, Path]:
    """Time every model at every length, one run at a time; return a row each, and the folder of the records.

    A failure, out of memory say, is a row with its cause. The records stay below the folder, which is named after the
    conditions: what is measured on another machine, or in another precision, does not replace them. Raises
    HardwareError where torch does not see the GPU.
    """
    plan = make_plan(config.model_copy(update={"workers": 1, "budget": "smoke", "name": "speed"}))
    if plan.device == "cuda":
        check_gpus(plan.slots[:1])
    engine = LocalEngine(plan.slots[:1], stall_seconds=config.stall_seconds)
    rows = []
    try:
        engine.start_server()
        from bench.training.ledger import environment  # loads torch, which reading and comparing need not

        machine = environment(plan.device)
        what = f"{plan.cells[0].dataset.name}-b{batch_size}-{config.precision}"
        folder = config.results / "speed" / slug(machine["hardware"]) / what
        for cell in plan.cells:
            record, path = _run(plan, cell, batch_size, folder, engine)
            rows.append(_row(cell, record, path, machine))
            found = rows[-1].get("train_step_milliseconds")
            say(f"{cell.id}: {f'{found:.2f} ms a training step' if found else rows[-1]['state']}")
    finally:
        engine.close()
    return pd.DataFrame(rows), folder


def _run(plan: Plan, cell: Cell, batch_size: int, folder: Path, engine: LocalEngine) -> tuple[RunRecord, Path]:
    config = run_config(plan, cell, cell.id, "speed", cell.space.default)
    settings = config.train.model_copy(update={"batch_size": batch_size})
    config = config.model_copy(update={"sweep": "speed", "threads": 1, "train": settings})
    path = folder / f"L{cell.length}" / cell.space.name
    path.mkdir(parents=True, exist_ok=True)
    (path / "record.json").unlink(missing_ok=True)
    write_json(path / "config.json", config.model_dump(mode="json"))
    engine.submit(Job(cell.id, path))
    cause: str | None = None
    while engine.busy:
        for event in engine.wait(0.25):
            if event.kind == "ended":
                cause = event.cause
    record = RunRecord.read(path)
    if record is None:
        record = _died(config, cell, cause or "no record")
    return record, path


def slug(text: str) -> str:
    """Return a name fit for a folder."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _died(config: RunConfig, cell: Cell, cause: str) -> RunRecord:
    asked = {name: getattr(cell.task, name) for name in ("metric", "goal", "chance", "solved", "num_steps")}
    return RunRecord.model_validate({"config": config, "asked": asked, "state": "failed", "cause": cause})


def _row(cell: Cell, record: RunRecord, path: Path, machine: dict[str, Any]) -> dict[str, Any]:
    memory, machine = record.peak_memory_bytes, record.environment or machine
    return {
        "dataset": cell.dataset.name,
        "length": cell.length,
        "steps": record.asked.num_steps,
        "model": cell.space.name,
        "state": record.state if record.state != "failed" else f"failed: {record.cause}",
        **(record.speed or {}),
        "batch_size": record.config.train.batch_size,
        "peak_memory_mib": None if memory is None or record.speed is None else memory / 2**20,
        "parameters": record.num_parameters or None,
        "state_size": record.state_size,
        "kernels": ", ".join(record.kernels),
        "device": record.config.device,
        "precision": record.config.precision,
        "threads": record.config.threads,
        "hardware": machine["hardware"],
        "torch": machine["torch"],
        "measured_at": record.started_at or datetime.now(UTC).isoformat(timespec="seconds"),
        "record": str(path / "record.json"),
    }


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """Return the rows of speed.csv files; of what was measured twice, those of the later file.

    Raises DeclarationError, and HardwareError where their conditions differ.
    """
    frames = []
    for path in paths:
        try:
            frame = pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise DeclarationError(f"{path}: not a speed.csv: {error}") from None
        missing = {"model", "steps", *CONDITIONS} - set(frame.columns)
        if missing:
            raise DeclarationError(f"{path}: not a speed.csv: column {min(missing)} is missing")
        frames.append(frame)
    frame = pd.concat(frames, ignore_index=True)
    same_conditions(frame)
    return frame.drop_duplicates(["model", "steps"], keep="last", ignore_index=True)


def same_conditions(frame: pd.DataFrame) -> None:
    """Raise HardwareError unless all rows were measured on the same hardware, device, precision and threads."""
    for name in CONDITIONS:
        found = sorted({str(value) for value in frame[name].dropna()})
        if len(found) > 1:
            raise HardwareError(f"rows of different {name} are not compared by time: {'; '.join(found)}")
