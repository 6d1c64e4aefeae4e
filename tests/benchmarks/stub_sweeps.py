"""Stub runs, which write a record and train nothing, and large sweeps made of them.

A large sweep is made quickly: the real coordinator carries out the first two trials, the confirmation and the rest of
every cell, and trial 1 is then copied as often as needed: its record, and its rows in Optuna's and MLflow's tables.
"""

import contextlib
import hashlib
import json
import math
import os
import sqlite3
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

TICK_SECONDS = 1.0
EPOCHS = 5  # of a stub in a timed trial; 20 to 50 in a sweep of many runs
ENVIRONMENT = {"hardware": "stub", "platform": "stub", "python": "3", "torch": "2", "pytorch_lightning": "2"}


def stub(folder: Path, on_report, submitted: float) -> None:
    """A run process's whole work, without the training.

    Sleeps for STUB_SECONDS, with a tick every TICK_SECONDS as training has them; before that it sends STUB_TICKS ticks.
    """
    from bench.config.settings import RunConfig

    begun = now()
    config = RunConfig.read(folder / "config.json")
    seconds = float(os.environ.get("STUB_SECONDS", "0"))
    for _ in range(int(os.environ.get("STUB_TICKS", "0"))):
        on_report(("tick", 1, None))
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, TICK_SECONDS))
        on_report(("tick", 1, None))
    on_report(("epoch", config.train.max_steps, 0.5))
    made_record(config, EPOCHS, seconds, begun).write(folder)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def made_record(config, num_epochs: int, train_seconds: float = 1.0, begun: str = ""):
    """A record as training would leave it, of made-up figures."""
    from bench.config.datasets import make_task
    from bench.results.record import Asked, RunRecord

    asked = Asked.model_validate(make_task(config.task, config.length, config.task_arguments))
    facts: dict = {"config": config, "asked": asked, "state": "complete", "environment": ENVIRONMENT}
    facts |= {"started_at": begun or now(), "cpu_seconds": train_seconds}
    facts |= {"seconds": {"train": train_seconds, "total": train_seconds}, "peak_memory_bytes": 50_000_000}
    facts |= {"parameters": {"encoder": 5_000, "embedding": 0, "head": 99}, "state_size": 64}
    if config.phase == "baselines":
        facts["baselines"] = {"constant answer": 0.1}
    elif config.phase == "test":
        facts["tests"] = {run: {asked.metric: score(run)} for run in config.opens_test_of}
    elif config.phase == "speed":
        names = ("inference_sequences_per_second", "train_sequences_per_second", "train_step_milliseconds")
        facts["speed"] = dict.fromkeys(names, 1000.0)
    else:
        facts |= curve(config, num_epochs, train_seconds, asked.metric)
        facts["solved"] = None if asked.solved is None else False
        if config.phase == "confirm":
            facts["peak_memory_bytes"] = None
    return RunRecord.model_validate(facts)


def curve(config, num_epochs: int, train_seconds: float, metric: str) -> dict:
    sequences, steps = config.train.max_sequences, config.train.max_steps
    best, shares = score(config.run), [(number + 1) / num_epochs for number in range(num_epochs)]
    epochs = [
        {"steps": math.ceil(share * steps), "sequences": math.ceil(share * sequences), "train_loss": 1 / (1 + share)}
        | {"train_seconds": share * train_seconds, "val": {metric: best * math.sqrt(share)}}
        for share in shares
    ]
    val = {"epochs": epochs, "val": epochs[-1]["val"], "best_epoch": num_epochs - 1}
    return val | {"train_steps": steps, "train_sequences": sequences, "train_tokens": sequences * config.length}


def score(run: str) -> float:
    """Between 0.5 and 0.9, from the run's name alone; trial 1 is the best, and then the default."""
    noise = int(hashlib.sha256(run.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    trial = run.rsplit("/", 1)[-1].split("-")[0]
    return 0.5 + 0.1 * noise + {"t0": 0.15, "t1": 0.3}.get(trial, 0.0)


class Instant:
    """An engine whose runs have ended as soon as they are handed over, without a process."""

    concurrency = 1

    def __init__(self, num_epochs: int) -> None:
        self.num_epochs, self.ended = num_epochs, []

    @property
    def idle(self) -> int:
        return 0 if self.ended else 1

    @property
    def busy(self) -> bool:
        return bool(self.ended)

    def submit(self, job) -> None:
        from bench.config.settings import RunConfig

        config = RunConfig.read(job.folder / "config.json")
        made_record(config, self.num_epochs).write(job.folder)
        if config.phase == "confirm":
            (job.folder / "weights.pt").touch()
        self.ended.append(job)

    def wait(self, timeout: float) -> list:
        from bench.sweeps.engines.local import Event

        jobs, self.ended = self.ended, []
        return [Event(job, "ended", seconds=1.0) for job in jobs]

    def start_server(self) -> None: ...

    def decide(self, job, keep_going: bool) -> None: ...

    def close(self) -> None: ...


class Quiet:
    def update(self, status) -> None: ...

    def say(self, text: str) -> None: ...


def plan(results: Path, trials: int, **options):
    from bench.config.sweep_settings import SweepConfig
    from bench.sweeps import prepare as plans

    budget = {"budget": "quick", "trials": trials, "name": "x", "results": results, "workers": 1}
    return plans.make(SweepConfig.build(None, budget | options))


def fill(results: Path, trials: int, **options) -> int:
    """Make a sweep in which every cell has `trials` finished trials; return how many runs it has."""
    from bench.sweeps import coordinator
    from bench.sweeps.terms import freeze

    made = plan(results, 2, **options)
    outcome = coordinator.run(made, Quiet(), Instant(20))
    assert (outcome.exit_code, outcome.tracked) == (0, True), outcome
    made = plan(results, trials, **options)
    freeze(made)
    study, pages = sqlite3.connect(made.folder / "study.db"), sqlite3.connect(results / "mlflow.db")
    with contextlib.closing(study), contextlib.closing(pages):
        for cell in made.cells:
            copy_trial(made, cell, range(2, trials), study, pages)
        study.commit()
        pages.commit()
    # The rows were copied into MLflow, and no coordinator noted that they are there.
    (made.folder / "mlflow.json").write_text(json.dumps({"until_ns": time.time_ns()}))
    return sum(1 for _ in (made.folder / "runs").rglob("record.json"))


def copy_trial(made, cell, numbers: range, study: sqlite3.Connection, pages: sqlite3.Connection) -> None:
    """Give a cell the trials `numbers`, in the likeness of its trial 1."""
    from bench.config.strict import fingerprint
    from bench.sweeps.prepare import run_config

    where = "select trial_id from trials join studies using (study_id) where study_name = ? and number = 1"
    trial = study.execute(where, [str(cell.id)]).fetchone()[0]
    where = "select run_uuid from tags where key = 'bench.id' and value = ?"
    page = pages.execute(where, [f"{made.name}/{cell.id}/t1"]).fetchone()[0]
    (trial_row,) = _rows(study, "trials", "trial_id", trial)
    trial_params = _rows(study, "trial_params", "trial_id", trial)
    trial_values = _rows(study, "trial_values", "trial_id", trial)
    (page_row,) = _rows(pages, "runs", "run_uuid", page)
    page_rows = {table: _rows(pages, table, "run_uuid", page) for table in ("params", "latest_metrics", "tags")}
    distributions = cell.space.distributions()
    first = json.loads((made.folder / "runs" / str(cell.id) / "t1" / "config.json").read_text())
    for number in numbers:
        values = _drawn(distributions, number)
        run = cell.id.trial(number)
        config = run_config(made, cell, run, "screen", values, number=number, origin="sobol", commit=first["commit"])
        record = made_record(config, 20 + number * 7 % 31)
        folder = made.folder / "runs" / str(run)
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config.model_dump(mode="json"), indent=1))
        (folder / "record.json").write_text(record.model_dump_json(indent=1))
        new = study.execute("select max(trial_id) from trials").fetchone()[0] + 1
        _insert(study, "trials", [trial_row | {"trial_id": new, "number": number}])
        internal = {name: distributions[name].to_internal_repr(value) for name, value in values.items()}
        changed = [{"trial_id": new, "param_id": None, "param_value": internal[r["param_name"]]} for r in trial_params]
        _insert(study, "trial_params", [row | change for row, change in zip(trial_params, changed, strict=True)])
        change = {"trial_id": new, "trial_value_id": None, "value": record.val_score}
        _insert(study, "trial_values", [row | change for row in trial_values])
        new = {"run_uuid": uuid.uuid4().hex}
        name = f"t{number} {cell.space.name} L{cell.length}"
        _insert(pages, "runs", [page_row | new | {"name": name}])
        tags = {"bench.id": f"{made.name}/{run}", "bench.digest": fingerprint(record.model_dump())}
        tags["mlflow.runName"] = name
        for table, rows in page_rows.items():
            rows = [row | new | ({"value": tags[row["key"]]} if row["key"] in tags else {}) for row in rows]
            _insert(pages, table, rows)
        metrics = [
            {"key": key, "value": value, "timestamp": page_row["start_time"], "step": epoch.steps, "is_nan": 0} | new
            for epoch in record.epochs
            for key, value in {"train_loss": epoch.train_loss, **{f"val/{k}": v for k, v in epoch.val.items()}}.items()
        ]
        _insert(pages, "metrics", metrics)


def _drawn(distributions: dict, number: int) -> dict:
    import numpy as np
    from optuna.distributions import CategoricalDistribution

    rng, values = np.random.default_rng(number), {}
    for name, d in distributions.items():
        if isinstance(d, CategoricalDistribution):
            values[name] = d.choices[rng.integers(len(d.choices))]
            continue
        low, high = (math.log(d.low), math.log(d.high)) if d.log else (d.low, d.high)
        value = rng.uniform(low, high)
        value = min(d.high, max(d.low, math.exp(value) if d.log else value))
        step = getattr(d, "step", None) or 0
        value = d.low + step * ((value - d.low) // step) if step else value
        values[name] = int(value) if isinstance(d.low, int) else float(value)
    return values


def _rows(connection: sqlite3.Connection, table: str, key: str, value: object) -> list[dict]:
    found = connection.execute(f"select * from {table} where {key} = ?", [value])
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def _insert(connection: sqlite3.Connection, table: str, rows: list[dict]) -> None:
    if rows:
        names = ", ".join(f'"{name}"' for name in rows[0])
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"insert into {table} ({names}) values ({marks})", [list(row.values()) for row in rows])
