"""Several sweeps as one: the records of one question, made on several machines, below one leaderboard.

The merged sweep holds copies of the records and settings of runs, but no weights and no studies. It cannot be resumed:
resume the sweeps it was made from, and merge them again.
"""

import itertools
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from bench.config.budgets import BUDGETS
from bench.errors import DeclarationError, StoreError
from bench.results.record import RunRecord, read_spec, write_json
from bench.wording import count, enumeration

MERGED = "merged_from"
"""The key of sweep.json that lists the sweeps a merged one was made from."""

COUNTS = ("trials", "top_k", "confirm_seeds")
"""What may be raised while a sweep is resumed, beside a budget of time; equal in sweeps that are merged."""

OF_MACHINE = ("cells", "device")
"""Terms in which sweeps may differ. The device stands on each row, and times are compared only where it is equal."""

OF_CELL = ("ended_by", "cpu_watts", "grid")
"""Facts of a sweep that its cells keep, because the machines differ in them."""

WORK = ("max_sequences", "batch_size", "num_epochs", "num_val", "num_test")
"""What the budget makes of every run of a question."""


class Source(NamedTuple):
    """A sweep that is merged."""

    folder: Path
    spec: dict[str, Any]


class Copy(NamedTuple):
    """A record, and the folder that it is copied from."""

    folder: Path
    record: RunRecord


def sources(folders: Sequence[Path], target: Path) -> list[Source]:
    """Return the sweeps in `folders`, each a sweep's folder or a results folder, without `target` itself.

    Raises DeclarationError for a folder without a sweep, and StoreError.
    """
    found: dict[Path, Source] = {}
    for folder in folders:
        if (folder / "sweep.json").exists():
            sweeps = [folder]
        else:
            sweeps = sorted(path.parent for path in folder.glob("sweeps/*/sweep.json"))
        if not sweeps:
            raise DeclarationError(f"{folder}: neither a sweep nor a results folder; give such as results/sweeps/NAME")
        found |= {sweep.resolve(): Source(sweep, read_spec(sweep)) for sweep in sweeps}
    found.pop(target.resolve(), None)
    if len(found) < 2:
        raise DeclarationError(f"{enumeration(map(str, folders))}: only one sweep to merge; name at least two")
    return list(found.values())


def merge(sweeps: Sequence[Source], target: Path, command: str) -> list[str]:
    """Write the sweep `target` from others, and return what it took from where, in lines.

    A merged sweep of this name is replaced. Raises DeclarationError for what does not agree, naming it, and StoreError.
    """
    if target.exists() and MERGED not in (read_spec(target) if (target / "sweep.json").exists() else {}):
        raise DeclarationError(f"{target}: is there already and is no merged sweep; choose another --name")
    for first, other in itertools.combinations(sweeps, 2):
        _check_terms(first, other)
    copies, remarks = _union(sweeps)
    _check_work(copies.values())
    _check_time(sweeps, copies.values())
    spec = _spec(sweeps, command) | {MERGED: [_origin(sweep, copies.values()) for sweep in sweeps]}
    _write(target, spec, copies)
    return [*map(_line, spec[MERGED]), *remarks]


def _check_terms(first: Source, other: Source) -> None:
    """Raise DeclarationError for the first term in which two sweeps differ."""
    terms, others = first.spec["spec"], other.spec["spec"]
    pairs = {key: (terms[key], others[key]) for key in sorted(terms.keys() & others.keys()) if key not in OF_MACHINE}
    pairs |= {"rules": (terms.get("rules"), others.get("rules"))}  # unknown rules are no equal rules
    pairs |= {key: (first.spec[key], other.spec[key]) for key in COUNTS}
    for key, (one, two) in pairs.items():
        if one != two:
            differ = f"{key} is {one!r} in {first.folder} and {two!r} in {other.folder}"
            raise DeclarationError(f"{differ}; only sweeps of equal terms can be merged: name others, or run one again")


def _union(sweeps: Sequence[Source]) -> tuple[dict[str, Copy], list[str]]:
    """Return the records of all sweeps by run, and what to know about them.

    The cheap baselines of a question may be in several sweeps, with other times: the first ones are taken.
    """
    copies: dict[str, Copy] = {}
    remarks: list[str] = []
    for sweep in sweeps:
        runs = sweep.folder / "runs"
        for path in sorted(runs.rglob("record.json")):
            record, run = RunRecord.read(path.parent, epochs=False), str(path.parent.relative_to(runs))
            if record is None:
                continue
            if record.config.run != run:
                raise StoreError(f"{path}: is the record of run {record.config.run[:80]}; restore the file")
            known = copies.setdefault(run, Copy(path.parent, record))
            if known.folder == path.parent or _read(known.folder) == path.read_bytes():
                continue
            if record.config.phase != "baselines":
                rule = "one run has two records, and which one counts is not decided by merging; leave one sweep out"
                raise DeclarationError(f"{run}: differs between {known.folder} and {path.parent}; {rule}")
            remarks += _differing_baselines(known, Copy(path.parent, record))
    if not copies:
        raise StoreError(f"{enumeration(str(sweep.folder) for sweep in sweeps)}: no finished run yet")
    return copies, remarks


def _read(folder: Path) -> bytes:
    return (folder / "record.json").read_bytes()


def _differing_baselines(first: Copy, other: Copy) -> list[str]:
    """Return a line if cheap baselines of one question have other scores on another machine."""
    one, two = first.record.fitted, other.record.fitted
    both = [name for name in one.keys() & two.keys() if {one[name].state, two[name].state} == {"complete"}]
    differing = sorted(one[name].title for name in both if not _is_close(one[name].test, two[name].test))
    if not differing:
        return []
    question = f"{first.record.config.dataset} at {first.record.config.length}"
    what = f"cheap baselines of {question} score differently in {other.folder}: {enumeration(differing)}"
    return [f"{what}; those of {first.folder} are taken"]


def _is_close(one: Mapping[str, float], two: Mapping[str, float]) -> bool:
    return all(abs(one[name] - two[name]) <= 1e-6 * max(1.0, abs(one[name])) for name in one.keys() & two.keys())


def _check_work(copies: Iterable[Copy]) -> None:
    """Raise DeclarationError if the models of a question were not given the same work or the same data."""
    first: dict[tuple[str, int], tuple[dict[str, Any], Path]] = {}
    for folder, record in copies:
        config = record.config
        if config.phase not in ("screen", "confirm"):
            continue
        work = config.train.model_dump(include=set(WORK)) | {"data_fingerprint": config.data_fingerprint}
        known, where = first.setdefault((config.dataset, config.length), (work, folder))
        for key, value in work.items():
            if value != known[key]:
                what = f"{key} is {known[key]!r} in {where} and {value!r} in {folder}"
                what = f"{config.dataset} at {config.length}: {what}"
                raise DeclarationError(f"{what}; models are compared only after equal work on equal data")


def _check_time(sweeps: Sequence[Source], copies: Iterable[Copy]) -> None:
    """Raise DeclarationError if sweeps with a budget of time share a question: it buys more on a faster machine."""
    budget = sweeps[0].spec["spec"].get("budget", "quick")
    if budget in BUDGETS:
        return
    where: dict[tuple[str, int], Path] = {}
    for folder, record in copies:
        (sweep,) = (sweep.folder for sweep in sweeps if folder.is_relative_to(sweep.folder))
        known = where.setdefault((record.config.dataset, record.config.length), sweep)
        if known != sweep:
            question = f"{record.config.dataset} at {record.config.length} is in {known} and {sweep}"
            rule = f"a budget of time ({budget}) buys other runs on another machine"
            raise DeclarationError(f"{question}, but {rule}; merge sweeps of different questions, or of a named budget")


def _spec(sweeps: Sequence[Source], command: str) -> dict[str, Any]:
    """Return the sweep.json of the merged sweep."""
    specs = [sweep.spec for sweep in sweeps]
    terms: dict[str, Any] = {}
    united: dict[str, dict[str, Any]] = {"not_applicable": {}, "num_configurations": {}, "warm_starts": {}}
    of_cells: dict[str, dict[str, Any]] = {}
    for spec in reversed(specs):  # so that the first one counts
        terms |= spec["spec"]
        for key, values in united.items():
            values |= spec.get(key, {})
        of_cells |= {cell: {key: spec.get(key) for key in OF_CELL} for cell in spec["spec"]["cells"]}
    cells = dict.fromkeys(cell for spec in specs for cell in spec["spec"]["cells"])
    devices = dict.fromkeys(str(spec["spec"].get("device")) for spec in specs)
    terms |= {"cells": list(cells), "device": "; ".join(devices)}
    facts = {key: specs[0].get(key) for key in OF_CELL if all(spec.get(key) == specs[0].get(key) for spec in specs)}
    ends = dict.fromkeys(spec["ended_by"] for spec in specs if spec.get("ended_by"))
    return {
        "spec": terms,
        **{key: specs[0][key] for key in COUNTS},
        **united,
        **facts,
        "ended_by": "; ".join(ends) or None,
        "of_cells": of_cells,
        "environments": [known for spec in specs for known in spec.get("environments", [])],
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _origin(sweep: Source, copies: Iterable[Copy]) -> dict[str, Any]:
    """Return what is taken from a sweep."""
    taken = [record for folder, record in copies if folder.is_relative_to(sweep.folder)]
    hardware = dict.fromkeys(str(run.environment["hardware"]) for run in taken if run.environment.get("hardware"))
    return {
        "folder": str(sweep.folder.absolute()),
        "command": sweep.spec.get("command"),
        "runs": len(taken),
        "cells": sorted({str(run.config.cell) for run in taken if run.config.phase != "baselines"}),
        "hardware": list(hardware),
    }


def _line(origin: Mapping[str, Any]) -> str:
    what = f"{count(origin['runs'], 'run')} of {count(len(origin['cells']), 'cell')}"
    return f"{origin['folder']}: {what}, made on {enumeration(origin['hardware'] or ['unknown hardware'])}"


def _write(target: Path, spec: Mapping[str, Any], copies: Mapping[str, Copy]) -> None:
    """Write the merged sweep beside its name, then rename it. Raises StoreError."""
    new, old = (target.with_name(f".{target.name}.{kind}{os.getpid()}") for kind in ("", "old"))
    try:
        for run, copy in copies.items():
            folder = new / "runs" / run
            folder.mkdir(parents=True)
            for path in copy.folder.glob("*.json"):
                shutil.copyfile(path, folder / path.name)
        write_json(new / "sweep.json", spec)
        if target.exists():
            target.rename(old)
        new.rename(target)
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror or error}; choose another --results") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
