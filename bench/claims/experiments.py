"""Carries out the experiments of claims within a time: ordinary sweeps, speed, gradients, guesses, and trained weights.

Every experiment has its share of the time; what one leaves or takes too much is divided among the others. Whatever is
recorded is not run again, so that the same command resumes.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.claims import evidence
from bench.claims.declaration import EXAMINED, LONG_SECONDS, Claim, Experiment
from bench.claims.evidence import FOLDER, NUMBERS
from bench.config.settings import RunConfig
from bench.config.sweep_settings import SHORTEST_SECONDS, SweepConfig
from bench.errors import DataMissingError, NoRunSucceededError
from bench.results.bill import wall_seconds
from bench.results.cell_runs import by_cell
from bench.results.record import RunRecord, all_records, read_spec, write_json
from bench.sweeps import coordinator, prepare
from bench.sweeps.cells import Cell
from bench.sweeps.engines.local import LocalEngine
from bench.sweeps.engines.server import PRELOAD, call, shared
from bench.sweeps.prepare import Plan, run_config
from bench.sweeps.probes import carry_out
from bench.sweeps.status import Display
from bench.wording import duration

ORDER = ("gradients", "speed", "weights", "guesses", "sweep")  # the cheapest evidence comes first
UNTRAINED = {
    "gradients": "bench.training.diagnosis:half_life_at_start",
    "guesses": "bench.training.guessing:best",
}
"""What is measured of untrained networks, by the kind of experiment."""
GUESSED_WIDTH = 4  # of random networks: few weights are more likely to be right by chance
START_SECONDS = 8.0  # of a sweep's time, for its start and its end
USED = 0.9  # of its time after which a sweep that its budget ended is not resumed


@dataclass(frozen=True)
class Task:
    """An experiment with its share of the time."""

    claim: Claim
    name: str
    experiment: Experiment
    seconds: float
    key: str  # the name of its records


def tasks(claims: Sequence[Claim], seconds: float) -> list[Task]:
    """Return the experiments of claims in the order in which they run, each with its share of `seconds`.

    Those that need a long budget are left out of a short one. In a long one their claim has so much more of the time.
    """
    is_long = seconds >= LONG_SECONDS
    parts = []
    for claim in claims:
        within = {name: experiment.within(seconds) for name, experiment in claim.experiments.items()}
        always = sum(experiment.share for experiment in within.values() if not experiment.long_only)
        fitting = {name: experiment for name, experiment in within.items() if is_long or not experiment.long_only}
        parts += [(claim, name, part, claim.share * part.share / always) for name, part in fitting.items()]
    total, found = sum(share for *_, share in parts), []
    for claim, name, experiment, share in parts:
        own = seconds * share / total
        found.append(Task(claim, name, experiment, own, evidence.key_of(claim, name, seconds, own)))
    return sorted(found, key=lambda task: ORDER.index(task.experiment.kind))


def run(claims: Sequence[Claim], seconds: float, results: Path, display: Display) -> int:
    """Carry out what is missing of the experiments, or resume it; return the exit code.

    An experiment whose data are missing is left out, and `display` gets a line about it. Raises BenchError.
    """
    rest, shares = seconds - _loaded(), seconds  # of the experiments that are left
    for task in tasks(claims, seconds):
        allowed, began = max(0.0, rest) * task.seconds / shares, time.monotonic()
        display.say(f"{task.claim.name}: {task.name}, at most {duration(allowed)}")
        try:
            if task.experiment.is_sweep:
                code, spent = _sweep(task, allowed, results, display)
                if code:
                    return code
                if task.experiment.kind == "weights":
                    spent += _weights(task, results)
            else:
                measure = _speed if task.experiment.kind == "speed" else _untrained
                spent = measure(task, began + allowed, results, display)
        except (DataMissingError, NoRunSucceededError) as error:
            display.say(f"{task.claim.name}: {task.name} is left out: {error}")
            spent = 0.0
        rest, shares = rest - max(spent, time.monotonic() - began), shares - task.seconds
    return 0


def _loaded() -> float:
    """Load torch in the processes from which runs are forked, once for all experiments; return the seconds it took."""
    began, servers = time.monotonic(), (shared(), shared(PRELOAD))  # those of `call` and of the engine
    for server in servers:
        server.start()
    for server in servers:
        server.wait_until_ready()
    return time.monotonic() - began


# Sweeps


def _sweep(task: Task, allowed: float, results: Path, display: Display) -> tuple[int, float]:
    """Carry out or resume a sweep; return the exit code of a stop, else 0, and its seconds so far."""
    folder = results / "sweeps" / task.key
    spent = wall_seconds(all_records(folder)) if (folder / "sweep.json").exists() else 0.0
    is_timed = task.experiment.max_sequences is None
    if _has_ended(task, folder, allowed, spent):
        return 0, spent
    if allowed < (SHORTEST_SECONDS if is_timed else 2 * START_SECONDS):
        display.say(f"{task.claim.name}: {task.name} is left out: its time is too short; give a larger --budget")
        return 0, spent
    plan = prepare.make(SweepConfig.build(None, _settings(task, allowed, results)))
    for remark in (f"not applicable: {cell.id}: {reason}" for cell, reason in plan.not_applicable):
        display.say(remark)
    outcome = coordinator.run(plan, display, measures_speed=False)
    if outcome.exit_code >= 128:
        display.say("interrupted; run the same command to resume")
        return outcome.exit_code, spent
    if outcome.exit_code:
        raise NoRunSucceededError(f"no run succeeded; see the log.txt of the runs in {folder}")
    return 0, spent


def _has_ended(task: Task, folder: Path, allowed: float, spent: float) -> bool:
    """Return whether nothing is left to do for a sweep, or its time is over."""
    if not (folder / "sweep.json").exists():
        return False
    spec = read_spec(folder)
    has_seeds = task.experiment.max_sequences is None or spec["confirm_seeds"] >= task.experiment.seeds
    return has_seeds and "ended_by" in spec and (spec["ended_by"] is None or spent >= USED * (allowed - START_SECONDS))


def _settings(task: Task, allowed: float, results: Path) -> dict[str, Any]:
    """Return the settings of the sweep of an experiment."""
    experiment = task.experiment
    settings = _cells(task, results) | {"name": task.key, "match": [experiment.match] if experiment.match else []}
    settings["test_lengths"] = experiment.test_lengths or None
    if experiment.max_sequences is None:
        return settings | {"budget": f"{task.seconds:.0f}s"}
    return settings | {
        "budget": "quick",
        "max_sequences": experiment.max_sequences,
        "trials": experiment.trials,
        "top_k": 1,
        "confirm_seeds": experiment.seeds,
        "wall_time": max(1.0, allowed - START_SECONDS),
    }


def _cells(task: Task, results: Path) -> dict[str, Any]:
    experiment = task.experiment
    return {
        "datasets": experiment.datasets,
        "lengths": experiment.lengths or None,
        "models": experiment.models,
        "search_spaces": task.claim.search_spaces,
        "results": results,
    }


# Weights


def _weights(task: Task, results: Path) -> float:
    """Examine the confirm runs of a sweep that solved their task, or all if there is no threshold.

    Returns the seconds of all rows. Raises StoreError if weights are damaged.
    """
    folder, path = results / "sweeps" / task.key, results / FOLDER / f"{task.key}.json"
    if not (folder / "sweep.json").exists():
        return 0.0
    wanted = {EXAMINED[sub.measure] for sub in task.claim.subclaims if sub.experiment == task.name}
    rows = {(row["run"], row["measurement"]): row for row in evidence.rows(path, "values")}
    cells = by_cell(all_records(folder), read_spec(folder)["top_k"])
    runs = [run for cell in cells.values() for run in cell.confirmed if run.state == "complete"]
    solved = [run for run in runs if run.solved is not False]  # None: the task has no threshold
    for run, measurement in ((run, measurement) for run in solved for measurement in sorted(wanted)):
        config, began = run.config, time.monotonic()
        known = rows.get((config.run, measurement))
        if known is not None and known["weights"] == run.weights_sha256:
            continue
        trained = folder / "runs" / config.run
        values = call("bench.training.examine:examine", measurement, config, trained, run.weights_sha256)
        rows[config.run, measurement] = {
            "run": config.run, "weights": run.weights_sha256, "measurement": measurement, "dataset": config.dataset,
            "length": config.length, "model": config.space, "seed": config.seed, "values": values,
            "seconds": round(time.monotonic() - began, 3),
        }  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, list(rows.values()))
    return sum(float(row["seconds"]) for row in rows.values())


# Speed and untrained networks


def _plan(task: Task, results: Path) -> Plan:
    match = [task.experiment.match] if task.experiment.match else []
    settings = _cells(task, results) | {"match": match, "budget": "smoke", "name": task.key, "workers": 1}
    return prepare.make(SweepConfig.build(None, settings))


def _speed(task: Task, end: float, results: Path, display: Display) -> float:
    """Time every model at every length, one run at a time, in as many processes as the experiment has seeds.

    The models alternate, so that a slow spell of the machine meets all of them. Returns the seconds of all records.
    """
    plan, folder = _plan(task, results), results / FOLDER / task.key
    engine = LocalEngine(plan.slots[:1], stall_seconds=plan.config.stall_seconds)
    found: list[RunRecord] = []
    try:
        engine.start_server()
        for number in range(task.experiment.seeds):
            for cell in plan.cells:
                run_id = cell.id.trial(number).speed()
                path = folder / str(run_id)
                record = RunRecord.read(path)
                if record is None and time.monotonic() < end:
                    config = run_config(plan, cell, run_id, "speed", cell.space.default, number=number)
                    (record,) = carry_out(engine, [(config, path)])
                found += [record] if record is not None else []
    finally:
        engine.close()
    _say_missing(task, len(found), len(plan.cells) * task.experiment.seeds, display)
    return wall_seconds(found)


def _untrained(task: Task, end: float, results: Path, display: Display) -> float:
    """Measure networks of each model that are not trained; return the seconds of all rows."""
    plan, path = _plan(task, results), results / FOLDER / f"{task.key}.json"
    numbers, function = NUMBERS[task.experiment.kind], UNTRAINED[task.experiment.kind]
    rows = {(row["dataset"], row["length"], row["model"]): row for row in evidence.rows(path, numbers)}
    for cell in plan.cells:
        key = (cell.dataset.name, cell.length, cell.space.name)
        began, found = time.monotonic(), list(rows.get(key, {}).get(numbers, []))
        earlier = rows.get(key, {}).get("seconds", 0.0)
        while len(found) < task.experiment.seeds and time.monotonic() < end:
            found.append(call(function, _network(plan, cell, 1 + len(found), task.experiment.kind == "guesses")))
        seconds = earlier + time.monotonic() - began
        rows[key] = dict(zip(("dataset", "length", "model"), key, strict=True)) | {
            numbers: found,
            "seconds": round(seconds, 3),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, list(rows.values()))
    measured = sum(len(row[numbers]) for row in rows.values())
    _say_missing(task, measured, len(plan.cells) * task.experiment.seeds, display)
    return sum(float(row["seconds"]) for row in rows.values())


def _network(plan: Plan, cell: Cell, seed: int, is_small: bool) -> RunConfig:
    config = run_config(plan, cell, cell.id, "probe", cell.space.default, seed=seed)
    if not is_small or cell.space.width is None:
        return config
    train = config.train.model_copy(update={"embedding_size": GUESSED_WIDTH})
    arguments = config.model_arguments | {cell.space.width: GUESSED_WIDTH}
    return config.model_copy(update={"train": train, "model_arguments": arguments})


def _say_missing(task: Task, measured: int, wanted: int, display: Display) -> None:
    if measured < wanted:
        display.say(f"{task.claim.name}: {task.name}: {measured} of {wanted} measurements fit into the time")
