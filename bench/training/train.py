"""One run: a configuration in, a record out.

Knows neither Optuna nor MLflow. The caller follows a run through `on_report` and may end it early.
"""

import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.config.contracts import Task
from bench.config.datasets import task_of
from bench.config.settings import RunConfig
from bench.errors import BenchError, StoreError
from bench.results.record import Asked, RunRecord, Seconds, read_crashes
from bench.training import cheap, ddp, evaluate, fit
from bench.training.energy import EnergyMeter, cpu_seconds
from bench.training.ledger import Ledger, PeakMemory, environment, prepare_process
from bench.training.micro_batches import is_out_of_memory
from bench.training.watch import OnReport, Report


def run(
    config: RunConfig,
    on_report: OnReport = lambda report: True,
    folder: Path | None = None,
    changes_files: bool = True,
) -> RunRecord:
    """Carry out one run and return its record. A run that fails has a record too.

    With a `folder`, long runs leave a checkpoint there and resume from it, and confirm runs leave their weights. A test
    run reads these weights from the folders beside its own; unless it `changes_files`, it adds none there. Raises
    BenchError if the task itself cannot be made.
    """
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    ledger, memory = Ledger(config.device), PeakMemory(config.device)
    energy, cpu_before = EnergyMeter(config.device), cpu_seconds()

    def metered(report: Report) -> bool:
        energy.joules()  # the counter of a CPU wraps around after some minutes
        return on_report(report)

    with ledger.spent_on("setup"):
        task = task_of(config)
    facts: dict[str, Any] = {"state": "complete"}
    try:
        facts |= _carry_out(config, task, metered, folder, ledger, changes_files)
    except Exception as error:  # noqa: BLE001 - model code may raise anything, and a failed run is a result
        facts = _failure(error, config.model)
    joules, source = energy.joules()
    facts.setdefault("peak_memory_bytes", memory.bytes())
    return RunRecord(
        config=config,
        asked=Asked.model_validate(task),
        **facts,
        seconds=Seconds(**ledger.seconds, total=sum(ledger.seconds.values())),
        cpu_seconds=(cpu_seconds() - cpu_before) * config.num_devices,
        energy_joules=joules,
        energy_from=source,
        environment=environment(config.device),
        started_at=started_at,
    )


def run_in_folder(folder: Path, on_report: OnReport, submitted: float) -> None:
    """Carry out the run that `folder/config.json` describes and write `folder/record.json`.

    This is the whole work of a run process. `submitted` is the monotonic time at which the run was submitted, so that
    the start of the process is on the bill.
    """
    config = RunConfig.read(folder / "config.json")
    earlier = _paused(folder)

    def work(rank: int) -> None:
        waited = time.monotonic() - submitted
        prepare_process(config.threads)
        record = run(config, on_report if rank == 0 else lambda report: True, folder)
        if rank > 0 and record.state != "failed":
            return
        crashes = read_crashes(folder)
        crashed = sum(crash["seconds"] for crash in crashes)
        seconds = {"waiting": record.seconds.waiting + waited, "crashed": crashed}
        seconds["total"] = time.monotonic() - submitted + crashed
        update = {"crashes": [crash["cause"] for crash in crashes]}
        record = record.model_copy(update=update | {"seconds": record.seconds.model_copy(update=seconds)})
        if earlier is not None:
            record = record.continuing(earlier)
        record.write(folder)
        if rank > 0:
            raise SystemExit(1)  # the other ranks would wait for this one forever

    if config.num_devices > 1 and config.phase in ("screen", "confirm", "probe"):
        ddp.spread(config.num_devices, work)
    else:
        work(0)


def _paused(folder: Path) -> RunRecord | None:
    """Return the record of a run that was paused here and now continues; None if it begins."""
    with suppress(StoreError):  # the run then bears only the costs of its last stretch
        record = RunRecord.read(folder, epochs=False)
        return record if record is not None and record.is_paused else None
    return None


def _carry_out(
    config: RunConfig, task: Task, on_report: OnReport, folder: Path | None, ledger: Ledger, changes_files: bool
) -> dict[str, Any]:
    """Return the fields of the record that the phase of a run decides."""
    if config.phase == "test":
        return evaluate.test(config, task, folder, ledger, changes_files)
    if config.phase == "baselines":
        return cheap.baselines(config, task, folder, ledger)
    if config.phase == "speed":
        return evaluate.speed(config, task, ledger)
    if config.takes_over is not None:
        return fit.take_over(config, folder, ledger)
    return fit.fit(config, task, on_report, folder, ledger)


def _failure(error: Exception, model: str) -> dict[str, Any]:
    """Return the fields of a record of a failure: its message is one line, with the line of your own model's file."""
    if not isinstance(error, BenchError):
        traceback.print_exc()
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == model]
    where = f"{Path(model).name}, line {lines[-1]}: " if lines else ""
    message = where + f"{type(error).__name__}: {str(error).strip() or 'no message'}".splitlines()[-1][:500]
    return {"state": "failed", "cause": "out_of_memory" if is_out_of_memory(error) else "error", "message": message}
