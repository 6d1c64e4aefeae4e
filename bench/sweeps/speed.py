"""Speed by length and by batch size: training step, inference, one step of a stream, and memory, one run at a time.

Each measurement is a process of its own at a model's default configuration, with nothing else running. The rows show at
which length attention becomes slower than a recurrence on this machine; rows of different machines are not compared.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from bench.config.settings import RunConfig
from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.errors import DeclarationError, HardwareError
from bench.results import disturbance
from bench.results.record import RunRecord, outcome
from bench.sweeps.cells import Cell
from bench.sweeps.engines.local import LocalEngine
from bench.sweeps.engines.machine import check_gpus
from bench.sweeps.prepare import Plan, run_config
from bench.sweeps.prepare import make as make_plan
from bench.sweeps.probes import Say, carry_out

LENGTHS = [32, 64, 128, 256, 512, 1024]

CONDITIONS = ("hardware", "device", "precision", "threads", "dataset", "batch_size")
"""Times are compared only between rows that agree in all of these."""


def with_lengths(config: SweepConfig) -> tuple[SweepConfig, list[str]]:
    """Return the settings with the lengths to measure, and what to know about the data first.

    Without `lengths`, these are LENGTHS, or for a file of yours those that its dataset card would list. Saves the card
    if this is asked for. Raises BenchError for a file that cannot be used.
    """
    own = own_data.make(config)
    if own is None:
        return config.model_copy(update={"lengths": config.lengths or list(LENGTHS)}), []
    saved = [own_data.save(own)] if config.save_card else []
    return config.model_copy(update={"lengths": config.lengths or own.card.lengths}), [*own.remarks, *saved]


def measure(config: SweepConfig, batch_size: int, say: Say) -> tuple[pd.DataFrame, Path]:
    """Time every model at every length, one run at a time; return a row for each, and the folder of their records.

    A failed run is a row with its cause. The folder is named after the conditions, so that measurements on another
    machine or in another precision are kept. Raises HardwareError if torch does not see the GPU.
    """
    plan = make_plan(config.model_copy(update={"workers": 1, "budget": "smoke", "name": "speed"}))
    if plan.device == "cuda":
        check_gpus(plan.slots[:1])
    engine = LocalEngine(plan.slots[:1], stall_seconds=config.stall_seconds)
    rows = []
    try:
        engine.start_server()
        from bench.training.ledger import environment  # loads torch, which reading and comparing rows do not need

        machine = environment(plan.device)
        dataset = plan.cells[0].dataset.name
        folder = config.results / "speed" / slug(machine["hardware"]) / f"{dataset}-b{batch_size}-{config.precision}"
        for cell in plan.cells:
            path = folder / f"L{cell.length}" / cell.space.name
            (record,) = carry_out(engine, [(_exclusive(plan, cell, batch_size), path)])
            row = _row(record, path, machine)
            rows.append(row)
            milliseconds = row.get("train_step_milliseconds")
            text = f"{milliseconds:.2f} ms a training step" if milliseconds else row["reason"]
            if disturbance.any_marked([row["timing_disturbed"]]):
                text += f"; disturbed by other processes: {row['timing_disturbed']}"
            say(f"{cell.id}: {text}")
    finally:
        engine.close()
    return pd.DataFrame(rows), folder


def _exclusive(plan: Plan, cell: Cell, batch_size: int) -> RunConfig:
    """Return the run that times a cell's default configuration."""
    config = run_config(plan, cell, cell.id, "speed", cell.space.default)
    settings = config.train.model_copy(update={"batch_size": batch_size})
    return config.model_copy(update={"train": settings, "batch_sizes": batches_up_to(batch_size)})


def batches_up_to(most: int) -> tuple[int, ...]:
    """Return the batch sizes whose inference is timed: 1, 2, 4, … and `most`."""
    return (*(2**i for i in range(most.bit_length()) if 2**i < most), most)


def slug(text: str) -> str:
    """Return a text as a name for a folder: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _row(record: RunRecord, path: Path, machine: dict[str, Any]) -> dict[str, Any]:
    config, memory, machine = record.config, record.peak_memory_bytes, record.environment or machine
    return {
        "dataset": config.dataset,
        "length": config.length,
        "steps": record.asked.num_steps,
        "model": config.space,
        "status": record.state,
        "reason": None if record.state == "complete" else outcome(record),
        **{key: value for key, value in (record.speed or {}).items() if not key.endswith("_disturbed")},
        "timing_disturbed": disturbance.words(disturbance.of_speed(record.speed)),
        "batch_size": config.train.batch_size,
        "peak_memory_mib": None if memory is None or record.speed is None else memory / 2**20,
        "num_parameters": record.num_parameters or None,
        "state_size": record.state_size,
        "kernels": ", ".join(record.kernels),
        "device": config.device,
        "precision": config.precision,
        "threads": config.threads,
        "hardware": machine["hardware"],
        "torch": machine["torch"],
        "measured_at": record.started_at or datetime.now(UTC).isoformat(timespec="seconds"),
        "record": str(path / "record.json"),
    }


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """Return the rows of speed.csv files; a later file replaces what an earlier one measured too.

    Raises DeclarationError for a file of another kind, and HardwareError if the conditions of the files differ.
    """
    frames = []
    for path in paths:
        try:
            frame = pd.read_csv(path)
        except (OSError, ValueError) as error:
            rule = f"not a speed.csv of `bench speed`: {error}; to measure on a file of yours, give it with --data"
            raise DeclarationError(f"{path}: {rule}") from None
        if "state" in frame:  # version 0.1 wrote both as `failed: out_of_memory`
            frame[["status", "reason"]] = frame.pop("state").str.split(": ", n=1, expand=True).reindex(columns=[0, 1])
        missing = {"model", "steps", "status", "reason", *CONDITIONS} - set(frame.columns)
        if missing:
            rule = f"not a speed.csv of `bench speed`: column {min(missing)} is missing"
            raise DeclarationError(f"{path}: {rule}; to measure on a file of yours, give it with --data")
        frames.append(frame)
    frame = pd.concat(frames, ignore_index=True)
    same_conditions(frame)
    return frame.drop_duplicates(["model", "steps"], keep="last", ignore_index=True)


def same_conditions(frame: pd.DataFrame) -> None:
    """Raise HardwareError unless all rows were measured on the same hardware, device, precision and threads."""
    for name in CONDITIONS:
        values = sorted({str(value) for value in frame[name].dropna()})
        if len(values) > 1:
            raise HardwareError(f"rows of different {name} are not compared by time: {'; '.join(values)}")
