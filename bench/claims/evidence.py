"""The records that the experiments of a claim left, by task and arm."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from bench.claims.declaration import Claim, Experiment
from bench.config import datasets
from bench.errors import StoreError
from bench.results.bill import wall_seconds
from bench.results.cell_runs import CellRuns, by_cell
from bench.results.record import RunRecord, all_records, read_spec
from bench.wording import bare

FOLDER = "claims"  # of a results folder
NUMBERS = {"gradients": "half_lives", "guesses": "guesses"}
"""What the rows of experiments on untrained networks call their numbers, one for each network or repeat."""


class Question(NamedTuple):
    """A data set at one length."""

    dataset: str
    length: int

    def __str__(self) -> str:
        """Return the question in words."""
        return f"{self.dataset} at {self.length:,}"


@dataclass(frozen=True)
class Evidence:
    """What one experiment left so far."""

    experiment: Experiment
    place: str  # of its records, below the results folder
    cells: Mapping[tuple[Question, str], CellRuns] = field(default_factory=dict)  # by question and arm
    cheap: Mapping[Question, RunRecord] = field(default_factory=dict)  # the run of the cheap baselines
    speed: Mapping[tuple[Question, str], tuple[RunRecord, ...]] = field(default_factory=dict)
    untrained: Mapping[tuple[Question, str], tuple[float, ...]] = field(default_factory=dict)  # half-lives or guesses
    examined: Mapping[tuple[Question, str], Mapping[int, Mapping[str, float]]] = field(default_factory=dict)  # by seed
    seconds: float = 0.0  # of wall time
    not_applicable: tuple[str, ...] = ()
    sweep: Path | None = None
    is_left_out: bool = False  # since the budget is short

    @property
    def has_records(self) -> bool:
        """Whether anything was measured."""
        return bool(self.cells or self.speed or self.untrained)

    def confirmed(self, question: Question, arm: str) -> list[RunRecord]:
        """Return the confirm runs of the chosen configuration of an arm whose outcome is known, by seed."""
        cell = self.cells.get((question, arm))
        runs = cell.confirmed if cell is not None else []
        return [run for run in runs if run.state == "failed" or run.test is not None]

    def with_epochs(self, run: RunRecord) -> RunRecord:
        """Return a run with its validations, which `read` leaves out."""
        full = RunRecord.read(self.sweep / "runs" / run.config.run) if self.sweep is not None else None
        return run if full is None else run.model_copy(update={"epochs": full.epochs})


def key_of(claim: Claim, name: str, seconds: float, share: float) -> str:
    """Return the name under which the records of an experiment are kept, whose budget is `share` of `seconds`.

    Experiments that search within their time differ with it, the others if a long budget changes their settings.
    """
    experiment = claim.experiments[name].within(seconds)
    timed = experiment.is_sweep and experiment.max_sequences is None
    tier = f"{share:.0f}s" if timed else "long" if experiment != claim.experiments[name] else ""
    return "-".join(filter(None, ("claim", claim.name, name, tier)))


def read(results: Path, experiment: Experiment, key: str) -> Evidence:
    """Return what an experiment left under a key. Raises StoreError if a record is damaged."""
    if experiment.is_sweep:
        found = _of_sweep(experiment, results / "sweeps" / key)
        return _with_examined(found, results / FOLDER / f"{key}.json") if experiment.kind == "weights" else found
    if experiment.kind == "speed":
        return _of_speed(experiment, results / FOLDER / key)
    return _of_untrained(experiment, results / FOLDER / f"{key}.json")


def _of_sweep(experiment: Experiment, folder: Path) -> Evidence:
    place = f"sweeps/{folder.name}"
    if not (folder / "sweep.json").exists():
        return Evidence(experiment, place)
    spec, runs = read_spec(folder), all_records(folder)
    cells = {
        (Question(cell.dataset, cell.length), bare(cell.space)): of_cell
        for cell, of_cell in by_cell(runs, spec["top_k"]).items()
    }
    cheap = {Question(run.config.dataset, run.config.length): run for run in runs if run.config.phase == "baselines"}
    reasons = tuple(f"{cell}: {reason}" for cell, reason in spec["not_applicable"].items())
    return Evidence(
        experiment, place, cells, cheap, seconds=wall_seconds(runs), not_applicable=reasons, sweep=folder
    )  # fmt: skip


def _of_speed(experiment: Experiment, folder: Path) -> Evidence:
    measured: dict[tuple[Question, str], list[RunRecord]] = {}
    runs = [record for path in sorted(folder.rglob("record.json")) if (record := RunRecord.read(path.parent))]
    for run in runs:
        key = Question(run.config.dataset, run.config.length), bare(run.config.space)
        measured.setdefault(key, []).append(run)
    found = {key: tuple(of_arm) for key, of_arm in measured.items()}
    return Evidence(experiment, f"{FOLDER}/{folder.name}", speed=found, seconds=wall_seconds(runs))


def _of_untrained(experiment: Experiment, path: Path) -> Evidence:
    numbers = NUMBERS[experiment.kind]
    found = rows(path, numbers)
    values = {(Question(row["dataset"], row["length"]), row["model"]): tuple(map(float, row[numbers])) for row in found}
    seconds = sum(row["seconds"] for row in found)
    return Evidence(experiment, f"{FOLDER}/{path.name}", untrained=values, seconds=seconds)


def _with_examined(found: Evidence, path: Path) -> Evidence:
    examined: dict[tuple[Question, str], dict[int, dict[str, float]]] = {}
    seconds = found.seconds
    for row in rows(path, "values"):
        key = Question(row["dataset"], row["length"]), bare(row["model"])
        examined.setdefault(key, {}).setdefault(row["seed"], {}).update(row["values"])
        seconds += row["seconds"]
    return replace(found, examined=examined, seconds=seconds)


def rows(path: Path, numbers: str) -> list[dict[str, Any]]:
    """Return the rows of a file of measurements, none if it does not exist.

    `numbers` is the key of the list, or of the table, of numbers in each row. Raises StoreError.
    """
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text())
        for row in found:
            held = row[numbers]
            for value in held.values() if isinstance(held, dict) else held:
                float(value)
        return found
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path}: damaged ({error}); delete it, and the same command measures again") from None


def questions(found: Evidence, tasks: Iterable[str] = (), lengths: Iterable[int] = ()) -> list[Question]:
    """Return the data sets and lengths of an experiment, or those of them that are named."""
    experiment, tasks, lengths = found.experiment, list(tasks), list(lengths)
    return [
        Question(dataset, length)
        for dataset in experiment.datasets
        if not tasks or dataset in tasks
        for length in experiment.lengths or datasets.read(dataset).lengths[:1]
        if not lengths or length in lengths
    ]
