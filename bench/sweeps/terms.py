"""The terms of a sweep: frozen in its sweep.json at the first start, compared at every later one."""

import shlex
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.config import addresses, plugins
from bench.config.budgets import SHORT
from bench.config.contracts import StoredTask
from bench.config.sweep_settings import SweepConfig, join_names
from bench.data.files import checksum
from bench.errors import DeclarationError, StoreError
from bench.results.merge import COUNTS, MERGED
from bench.results.record import read_spec, records, write_json
from bench.sweeps import shared_studies
from bench.sweeps.cells import Cell
from bench.sweeps.environment import environment
from bench.sweeps.prepare import SEARCH_SETTINGS, Plan
from bench.tracking import store

RULES = 1
"""The version of the rules by which configurations are drawn, trained, chosen and tested: see [Rules] in CHANGELOG.

Raise it with every change that makes results of before and after incomparable.
"""

DRAWN = ("max_sequences", "batch_size", "num_epochs", "num_val", "num_test")
"""The settings of a budget for drawn sequences; all the others are for stored examples."""

STORED = "budget of stored examples"
"""The term that freezes those others. Sweeps of version 0.1 lack it: they counted stored examples as drawn ones."""


def freeze(plan: Plan) -> list[str]:
    """Freeze the terms of a sweep, or compare them with the frozen ones; return what a person should know.

    Raises DeclarationError naming what differs, and StoreError.
    """
    path, now = plan.folder / "sweep.json", environment(plan)
    counts = plan.budget.model_dump(include=set(COUNTS))
    if not path.exists():
        if (plan.folder / "runs").exists():
            raise StoreError(f"{plan.folder}: has runs but no sweep.json; restore it, or use another --name")
        write_json(path, {"spec": _terms(plan), **counts, **_facts(plan), "environments": [now]})
        return []
    old = read_spec(plan.folder)
    refuse_merged(plan.name, old)
    remarks = _compare(plan, old["spec"], _terms(plan))
    if shared_studies.KEY not in old and addresses.storage_url() is not None:
        remarks.append(
            f"The studies of this sweep stay in study.db, where they began; {addresses.URL} is for new ones."
        )
    for key, count in counts.items():
        if count < old.get(key, 0):
            raise DeclarationError(
                f"sweep {plan.name}: {key} was {old[key]} and is now {count}; it may only be raised: use another --name"
            )
    environments = old.get("environments") or [_recorded(plan.folder)]
    changes = _changes(environments[-1], now)
    if changes:
        remarks.append(f"Changed since the last session: {changes}. Do not compare times across this change.")
    if environments[-1] != now:
        environments.append(now)
    terms = _terms(plan) if plan.config.allow_mixed else _terms(plan) | old["spec"] | {"budget": plan.config.budget}
    # The key is kept: that of an older sweep follows from its command, which may change now.
    update = {"spec": terms, "command": _command(plan.config), store.KEY: store.key_of(old)}
    given = {name: factor for name, factor in _factors(plan).items() if factor is not None}
    write_json(path, old | counts | update | given | {"environments": environments})
    return remarks


def refuse_merged(name: str, spec: dict[str, Any]) -> None:
    """Raise DeclarationError if a sweep was made by merging others: it has neither studies nor weights."""
    if MERGED in spec:
        fix = "resume the sweeps it was made from and merge them again, or use another --name"
        raise DeclarationError(f"sweep {name}: is merged from others and cannot be resumed; {fix}")


def note_end(plan: Plan, ended_by: str | None) -> None:
    """Note in sweep.json which budget, if any, ended the sweep before all its runs were made."""
    write_json(plan.folder / "sweep.json", read_spec(plan.folder) | {"ended_by": ended_by})


def _terms(plan: Plan) -> dict[str, Any]:
    """Return what must stay the same while a sweep is resumed."""
    terms: dict[str, Any] = {
        "rules": RULES,
        "budget": plan.config.budget,
        "budget_settings": plan.budget.model_dump(include=set(DRAWN)),
        **plan.config.model_dump(mode="json", include=SEARCH_SETTINGS),
        "seed": plan.config.seed,
        "precision": plan.config.precision,
        "device": plan.device,
        "cells": [str(cell.id) for cell in plan.cells],
    }
    if any(isinstance(cell.task, StoredTask) for cell in plan.cells):
        terms[STORED] = plan.budget.model_dump(exclude={"title", *COUNTS, *DRAWN})
    for cell in plan.cells:
        terms[_space_term(cell)] = cell.space.hash
        source = plugins.source("models", cell.space.model)
        digest = cell.space.source_hash or checksum(source)
        terms[f"model file {source.name}"] = f"sha256 {digest[:12]}…"
        terms[f"dataset {cell.dataset.name}"] = cell.dataset.fingerprint
    for file in plan.own.card.files if plan.own is not None else []:
        terms[f"data file {file.path}"] = f"sha256 {file.sha256[:12]}…"
    return terms


def _facts(plan: Plan) -> dict[str, Any]:
    """Return what is noted of a sweep for later readers."""
    return {
        "warm_starts": {str(cell): points for cell, points in plan.warm_starts.items()},
        "not_applicable": {str(cell.id): reason for cell, reason in plan.not_applicable},
        "num_configurations": {str(cell.id): size for cell in plan.cells if (size := cell.num_configurations)},
        "card": plan.own and plan.own.card.model_dump(mode="json"),
        **_factors(plan),
        "usd_per_hour": plan.usd_per_hour,
        "slots": len(plan.slots),
        **({} if (key := shared_studies.new_key(plan.name)) is None else {shared_studies.KEY: key}),
        "command": _command(plan.config),
        store.KEY: uuid.uuid4().hex[:12],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _factors(plan: Plan) -> dict[str, Any]:
    """Return what turns CPU time into energy and energy into CO2. It changes no run, so a later session may give it."""
    return {"cpu_watts": plan.config.cpu_watts, "grid": plan.grid}


def _compare(plan: Plan, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return in which rules and code a sweep is mixed. Raises DeclarationError for what may not differ."""
    mixed: list[str] = []
    recounted = _recounted(plan, old, new)
    if recounted:
        change = "stored examples: the budget was a number of sequences and is now passes over the data, and search "
        change += "spaces now depend on the kind of task"
        _permit(plan, change, mixed)
    unknown = recounted | {key for key in new.keys() - old.keys() if key == "rules" or key.startswith("model file")}
    for key in sorted((old.keys() | new.keys()) - unknown):  # sweeps of earlier versions do not name them
        before, now = old.get(key), new.get(key)
        if (
            key == "cells" and isinstance(before, list) and isinstance(now, list)
        ):  # their order is only the leaderboard's
            before, now = sorted(before), sorted(now)
        if before == now or _is_of_no_run(plan, key) or (key == "budget" and _is_raised(plan, before)):
            continue
        if isinstance(before, list) and isinstance(now, list):
            before, now = sorted(set(before) - set(now)), sorted(set(now) - set(before))
        change = f"{key} was {before} and is now {now}"
        if key == "budget_settings" and plan.seconds is not None:
            change = f"runs on drawn sequences are longer for a --budget of {SHORT / 60:.0f}m or more than below it"
        if not (key in ("rules", STORED) or key.startswith("model file") or key in _own_spaces(plan)):
            raise DeclarationError(f"sweep {plan.name}: {change}; a sweep keeps its terms: use another --name")
        _permit(plan, change, mixed)
    return mixed


def _is_of_no_run(plan: Plan, key: str) -> bool:
    """Return whether a term says how long runs on drawn sequences are, and the sweep has none."""
    return key == "budget_settings" and all(isinstance(cell.task, StoredTask) for cell in plan.cells)


def _is_raised(plan: Plan, before: Any) -> bool:
    """Return whether a budget of time replaces one that was no longer. Raises DeclarationError if it was longer.

    The length of full runs was decided by the first budget and stays; the added time pays for more runs.
    """
    old, new = SweepConfig(budget=before).budget_seconds, plan.seconds
    if old is None or new is None:
        return False
    if new < old:
        change = f"the time was {before} and is now {plan.config.budget}"
        raise DeclarationError(f"sweep {plan.name}: {change}; it may only be raised: use another --name")
    return True


def _permit(plan: Plan, change: str, mixed: list[str]) -> None:
    """Add a change of rules or code to the remarks. Raises DeclarationError without --allow-mixed."""
    if not plan.config.allow_mixed:
        hint = "use another --name, or --allow-mixed to mix the results"
        raise DeclarationError(f"sweep {plan.name}: {change}; a sweep keeps its terms: {hint}")
    mixed.append(f"Mixed, as --allow-mixed permits: {change}.")


def _recounted(plan: Plan, old: dict[str, Any], new: dict[str, Any]) -> set[str]:
    """Return the terms that differ because version 0.1 had one budget and one search space for every kind of task."""
    if STORED in old or STORED not in new:
        return set()
    stored = [cell for cell in plan.cells if isinstance(cell.task, StoredTask)]
    shared = {f"search space {cell.space.name}" for cell in stored} - new.keys()
    return {STORED, *shared, *(_space_term(cell) for cell in stored)}


def _own_spaces(plan: Plan) -> set[str]:
    """Return the terms of search spaces whose hash covers the code of a user's own model."""
    return {_space_term(cell) for cell in plan.cells if cell.space.source_hash}


def _space_term(cell: Cell) -> str:
    """Return the term that freezes a search space, which depends on the kind of the task."""
    term = f"search space {cell.space.name}"
    return term if cell.space.kind == "synthetic" else f"{term} for {cell.space.kind}"


def _changes(before: dict[str, str], now: dict[str, str]) -> str:
    keys = [key for key in now if before.get(key) and before[key] != now[key]]
    return ", ".join(f"{key} {before[key]} -> {now[key]}" for key in keys)


def _recorded(folder: Path) -> dict[str, str]:
    """Return the environment of a sweep that did not note it yet, as far as its newest record tells it."""
    newest = max(records(folder), key=lambda record: record.started_at, default=None)
    if newest is None:
        return {}
    told = {key.replace("_", "-"): str(value) for key, value in newest.environment.items()}
    return told | {"bench": newest.config.commit, "threads per run": str(newest.config.threads)}


def _command(config: SweepConfig) -> str:
    """Return the command line that starts or resumes this sweep."""
    words = ["python -m bench sweep"]
    names = {"datasets": "dataset", "lengths": "length", "dataset_cards": "datasets"}
    for key, value in config.model_dump(exclude_defaults=True).items():
        option = f"--{names.get(key, key).replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option)
        elif key == "data":  # a path may hold a comma
            words += [f"{option} {shlex.quote(str(path))}" for path in value]
        else:
            shown = join_names(value) if isinstance(value, list) else str(value)
            words.append(f"{option} {shlex.quote(shown)}")
    return " ".join(words)
