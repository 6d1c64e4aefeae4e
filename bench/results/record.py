"""What came out of one run: raw facts, from which every metric and table is derived."""

import gc
import json
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from bench.config.contracts import Goal, Task
from bench.config.ids import CellId
from bench.config.measures import MEASURES
from bench.config.settings import RunConfig
from bench.errors import StoreError
from bench.results.classes import ClassCounts
from bench.results.sampling import LeftOut

State = Literal["complete", "pruned", "failed"]

CAUSES = ("non_finite", "diverged", "out_of_memory", "timeout", "stall", "killed", "node_lost", "error", "bad_result")
"""Why a run failed; and `signal N` or `exit N`, where its process did."""

FORECASTS, TRANSLATIONS, TRANSCRIPTS = "forecasts.json", "translations.json", "transcripts.json"
"""Beside the record of a test run of forecasts: three windows with truth and forecast, see training/forecasts.py."""

SHARED = (
    *("asked", "epochs", "tests", "ensemble", "classes", "left_out", "by_length", "parameters", "kernels", "fitted"),
    *("environment", "crashes"),
)
SHARED_SETTINGS = ("task_arguments", "limits", "objectives", "opens_test_of", "test_lengths", "batch_sizes")
"""Fields of a record, and of its settings, that are equal in most records of a sweep; see `records`."""

PAUSED = "halving"
"""The cause of a pruned run that successive halving paused: it may continue from its checkpoint, or was dropped."""


class Asked(BaseModel):
    """What the task asked, so that a record can be understood without it."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)

    metric: str  # the primary one
    goal: Goal
    chance: float
    solved: float | None  # from which value of the metric on; None: a matter of degree
    num_steps: int  # of the longest training sequence
    kind: str | None = None  # of the task, see contracts.Task; records of earlier versions lack it
    test_metric: str | None = None  # that ranks on the test split, if it is another one; see contracts.DetectionTask
    num_train: int | None = None  # stored training examples; None: sequences are drawn at random, or it was not noted

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.goal == "maximize" else -1

    @property
    def ranks_by(self) -> str:
        """The metric of the test split."""
        return self.test_metric or self.metric

    @property
    def test_goal(self) -> Goal:
        """Whether a larger or a smaller value of the metric of the test split is better."""
        return self.goal if self.test_metric is None else MEASURES[self.test_metric].goal

    @property
    def test_sign(self) -> int:
        """1 where more is better on the test split, -1 where less is."""
        return 1 if self.test_goal == "maximize" else -1


class Epoch(BaseModel):
    """One validation: where the run stood, in cumulated training sequences and seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int
    sequences: int
    train_seconds: float
    train_loss: float
    val: dict[str, float]
    val_loss: float | None = None  # mean loss on validation; records of earlier versions lack it


class Seconds(BaseModel):
    """Where the wall time of a run went. The parts and a remainder make up `total`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    setup: float = 0.0  # data, weights and trainer made
    data: float = 0.0  # training batches drawn
    burn_in: float = 0.0  # first training step, which compiles and allocates
    train: float = 0.0  # all later training steps, with Lightning's share
    evaluate: float = 0.0  # validations and the test; of other runs, cheap baselines and the exclusive timing
    logging: float = 0.0  # reports, checkpoints and weights
    waiting: float = 0.0  # from hand-over to the start of the work, and for the pruner's word
    crashed: float = 0.0  # attempts of this run that died
    total: float = 0.0  # all of it, with what lies between the parts


class FittedBaseline(BaseModel):
    """What came of one cheap baseline: its scores, and what it costs to fit, to store and to ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str  # its name in tables
    state: Literal["complete", "failed"] = "complete"
    reason: str | None = None  # why it failed, or on how many of the training examples it was fitted
    chosen: dict[str, Any] = {}  # the point of its grid that is best on validation
    prior: int = 0  # decides between equal validation scores: the larger is taken
    val: dict[str, float] = {}
    test: dict[str, float] = {}
    classes: ClassCounts | None = None  # of the test split; None if the task has no classes
    left_out: LeftOut | None = None  # of the test score
    fit_seconds: float | None = None  # on the CPU, its whole grid included
    seconds: float = 0.0  # all that was spent on it, scoring and timing included
    latency_p50_milliseconds: float | None = None  # to answer one sequence of training length
    latency_p95_milliseconds: float | None = None
    latency_disturbed: bool | None = None  # by other processes; None: this was not measured
    sequences_per_second: float | None = None  # on the test split
    num_parameters: int | None = None  # fitted weights; None if it has none, such as a nearest neighbour
    size_bytes: int | None = None  # of its file
    peak_memory_bytes: int | None = None  # that fitting added to the process


class RunRecord(BaseModel):
    """The facts of one run. `record.json` is written atomically, before Optuna or MLflow learn about the run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[2] = 2
    config: RunConfig
    asked: Asked
    state: State
    cause: str | None = None  # of a failure: a word of CAUSES, signal N or exit N; of a pruned run: who ended it
    message: str | None = None
    epochs: list[Epoch] = []
    val: dict[str, float] = {}  # of the best epoch by the task's primary metric
    best_epoch: int | None = None  # index into epochs
    val_loss: float | None = None  # of the best epoch; it breaks ties of the metric
    test: dict[str, float] | None = None  # of a confirm run, filled in from the test run; see cell_runs.py
    tests: dict[str, dict[str, float]] = {}  # by confirm run, in its best epoch; of baselines: by cheap sampler
    # Of a test run: metrics of the average of its runs on val and test, if there are several; see training/ensemble.py.
    ensemble: dict[str, dict[str, float]] = {}
    classes: dict[str, ClassCounts] = {}  # of a test run, by confirm run; empty if the task has no classes
    left_out: dict[str, LeftOut] = {}  # as `classes`: the test score without groups of examples
    # Of a test run with test lengths: metrics by confirm run and by length, that of training included.
    by_length: dict[str, dict[int, dict[str, float]]] = {}
    solved: bool | None = None  # None: the task is a matter of degree
    sequences_to_solve: int | None = None
    seconds_to_solve: float | None = None  # of training, validations not counted
    train_steps: int = 0
    train_sequences: int = 0
    train_tokens: int = 0  # valid steps of all training sequences
    # Micro-batches of a training step at the end: more than 1 if memory ran out. None: nothing was trained or timed, or
    # by an earlier version.
    accumulate_grad_batches: int | None = None
    parameters: dict[str, int] = {}  # encoder, embedding, head
    state_size: int | None = None
    seconds: Seconds = Seconds()
    peak_memory_bytes: int | None = None  # that the run added to its process, or peak of the GPU's allocator
    cpu_seconds: float | None = None  # of all threads of the run's processes
    energy_joules: float | None = None  # read from a meter of the device while the run was on it
    energy_from: str | None = None  # nvml or rapl; None: no meter could be read
    inference_milliseconds: float | None = None  # to answer one sequence; beside other runs
    inference_disturbed: bool | None = None  # by other processes, so that it is longer; None: this was not measured
    speed: dict[str, float] | None = None  # of an exclusive pass; see training/timing.py
    kernels: list[str] = []  # that the exclusive pass ran on
    baselines: dict[str, float] | None = None  # cheap baselines on the test split, by title
    fitted: dict[str, FittedBaseline] = {}  # the cheap baselines in full, by the name of their file
    environment: dict[str, Any] = {}
    crashes: list[str] = []  # causes of the attempts that died
    started_at: str = ""  # UTC, ISO 8601
    weights_sha256: str | None = None  # of weights.pt; None: no weights were kept, or by an earlier version
    checkpoint_ignored: bool = False  # a checkpoint was there and did not match its checksum

    @property
    def val_score(self) -> float | None:
        """The primary metric on validation, of the best epoch."""
        return self.val.get(self.asked.metric)

    @property
    def test_score(self) -> float | None:
        """The metric of the test split, where it was opened."""
        return self.test.get(self.asked.ranks_by) if self.test else None

    @property
    def num_parameters(self) -> int:
        """All trainable numbers."""
        return sum(self.parameters.values())

    @property
    def device_seconds(self) -> float:
        """Wall time of the run multiplied by the number of its devices."""
        return self.seconds.total * self.config.num_devices

    @property
    def cost_usd(self) -> float | None:
        """Cost at the price of the run's share of the machine, or None without a price."""
        price = self.config.usd_per_hour
        return None if price is None else price * self.seconds.total / 3600

    @property
    def is_paused(self) -> bool:
        """Whether successive halving paused this run. If nothing continues it, it was dropped there."""
        return self.state == "pruned" and self.cause == PAUSED

    @property
    def share(self) -> float:
        """The share of the steps of a full run that was made, 0 to 1."""
        return min(1.0, self.train_steps / self.config.train.max_steps)

    def continuing(self, earlier: "RunRecord") -> "RunRecord":
        """Return this record with the costs of the stretches before the pause that `earlier` is the record of."""
        parts = self.seconds.model_dump()
        seconds = {name: value + getattr(earlier.seconds, name) for name, value in parts.items()}
        for name in ("crashed", "total"):  # the attempts that died before the pause are in both records
            seconds[name] -= earlier.seconds.crashed
        update: dict[str, Any] = {"seconds": Seconds(**seconds), "started_at": earlier.started_at or self.started_at}
        for name in ("cpu_seconds", "energy_joules"):
            before, now = getattr(earlier, name), getattr(self, name)
            update[name] = None if before is None or now is None else before + now
        peaks = [peak for peak in (earlier.peak_memory_bytes, self.peak_memory_bytes) if peak is not None]
        return self.model_copy(update=update | {"peak_memory_bytes": max(peaks, default=None)})

    @classmethod
    def of_dead_run(
        cls, config: RunConfig, task: Task, cause: str, message: str, crashes: Sequence[Mapping[str, Any]] = ()
    ) -> "RunRecord":
        """Return the record of a run whose process ended without leaving one; for `crashes`, see read_crashes."""
        seconds = sum(crash["seconds"] for crash in crashes)
        return cls(
            config=config,
            asked=Asked.model_validate(task),
            state="failed",
            cause=cause,
            message=message,
            seconds=Seconds(crashed=seconds, total=seconds),
            crashes=[crash["cause"] for crash in crashes],
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )

    def write(self, folder: Path) -> None:
        """Write `record.json` into `folder`, whole or not at all."""
        write_atomically(folder / "record.json", self.model_dump_json(indent=1))

    @classmethod
    def read(cls, folder: Path, epochs: bool = True) -> "RunRecord | None":
        """Return the record in `folder`, or None if there is none. Raises StoreError if it cannot be understood.

        Without its `epochs`, which are most of it, where only what came out is asked.
        """
        path = folder / "record.json"
        try:
            if epochs:
                return cls.model_validate_json(path.read_text())
            return cls.model_validate(from_json(path.read_bytes()) | {"epochs": []})
        except FileNotFoundError:
            return None
        except (ValidationError, ValueError, TypeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise StoreError(f"{path}: not a run record ({reason}); delete it, and the sweep repeats the run") from None


def outcome(run: RunRecord) -> str:
    """Return the word for how a run ended: complete, pruned, dropped, over the limit, or the cause of its failure."""
    if run.state == "failed":
        return run.cause or "error"
    if run.is_paused:
        return "dropped"
    return "over the limit" if run.cause == "limit" else run.state


def records(folder: Path, cell: CellId | None = None) -> Iterator[RunRecord]:
    """Yield the records of a sweep, or of one of its cells, without their epochs, in the order of their paths.

    What this process holds already is not read again, and where parts of records are equal, they are the same objects:
    so 100,000 records take 6 kB each. Raises StoreError.
    """
    shared: dict[Any, Any] = {}
    for path, found in _with_records(str(folder / "runs" / str(cell or ""))):
        file = f"{found.st_dev}/{found.st_ino}/{found.st_size}/{found.st_mtime_ns}"  # a record is replaced, not changed
        record = _HELD.get(file) or RunRecord.read(Path(path), epochs=False)
        if record is not None:
            _HELD[file] = record = lean(record, shared)
            yield record


_HELD: "weakref.WeakValueDictionary[str, RunRecord]" = weakref.WeakValueDictionary()
"""The records that `records` has read and that somebody uses, by device, inode, size and time of their files."""


def _with_records(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the folders at and below `folder` with a record, in the order of their paths, and the state of its file.

    A folder with a record is not searched: to list 100,000 folders takes longer than to read their records.
    """
    try:
        found = os.stat(f"{folder}/record.json")
    except FileNotFoundError:
        names: list[str] = []
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        for name in names:
            yield from _with_records(f"{folder}/{name}")
    else:
        yield folder, found


def lean(record: RunRecord, shared: dict[Any, Any]) -> RunRecord:
    """Return a record without its epochs, whose parts are those of earlier records where they are equal.

    `shared` keeps these. Of the 15 kB of a record, 9 kB are the names of the fields that were set, the same in all.
    """
    if record.epochs:
        record = record.model_copy(update={"epochs": []})
    config = record.config
    for part in (record, config, config.train, config.limits, record.asked, record.seconds):
        names = shared.setdefault(type(part), part.__pydantic_fields_set__)
        if names == part.__pydantic_fields_set__:
            object.__setattr__(part, "__pydantic_fields_set__", names)
    for part, fields in ((record, SHARED), (config, SHARED_SETTINGS)):
        for name in fields:
            value = part.__dict__[name]
            key = repr(value) if value else type(value)  # 1, 1.0 and True are equal, but not the same
            part.__dict__[name] = shared.setdefault(key, value)
    return record


def all_records(folder: Path) -> list[RunRecord]:
    """Return the records of a sweep. Pausing Python's garbage collector halves the time this takes."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return list(records(folder))
    finally:
        if was_on:
            gc.enable()


def read_spec(folder: Path) -> dict[str, Any]:
    """Return what a sweep was started with, its sweep.json. Raises StoreError."""
    path = folder / "sweep.json"
    try:
        spec: Any = json.loads(path.read_text())
    except FileNotFoundError:
        raise StoreError(f"{folder}: no sweep here (sweep.json is missing)") from None
    except (ValueError, RecursionError, OSError) as error:
        raise StoreError(f"{path}: damaged ({str(error)[:80]}); restore the file, or use another --name") from None
    problem = _misfit(spec)
    if problem:
        raise StoreError(f"{path}: damaged ({problem} expected); restore the file, or use another --name")
    return {"not_applicable": {}, "warm_starts": {}} | spec


def _misfit(spec: Any) -> str:
    """Return what a sweep.json lacks; empty if it is sound."""
    if not isinstance(spec, dict) or not isinstance(spec.get("spec"), dict):
        return "an object with an object 'spec'"
    cells = spec["spec"].get("cells")
    try:
        for cell in [*cells, *spec.get("not_applicable", {}), *spec.get("warm_starts", {})]:
            CellId.parse(cell)
    except (TypeError, ValueError, AttributeError):
        return "names of cells"
    for key in ("trials", "top_k", "confirm_seeds"):
        if type(spec.get(key)) is not int:
            return f"a whole number '{key}'"
    environments = spec.get("environments", [])
    if not isinstance(environments, list) or not all(isinstance(known, dict) for known in environments):
        return "objects in 'environments'"
    return "" if isinstance(spec.get("command", ""), str) else "a text 'command'"


def trials_of(spec: Mapping[str, Any], cell: CellId) -> int:
    """Return how many trials a cell of a sweep gets: a small search space may hold fewer configurations."""
    trials: int = spec["trials"]
    return min(trials, spec.get("num_configurations", {}).get(str(cell), trials))


def write_atomically(path: Path, text: str) -> None:
    """Write a file atomically: a reader, or a power cut, finds the old text or the new text, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Any) -> None:
    """Write plain data as a JSON file, whole or not at all."""
    write_atomically(path, json.dumps(value, indent=1, default=str) + "\n")


def add_crash(folder: Path, cause: str, seconds: float) -> None:
    """Note that an attempt of the run in `folder` died after `seconds` without leaving a record."""
    write_json(folder / "crashes.json", [*read_crashes(folder), {"cause": cause, "seconds": round(seconds, 3)}])


def read_crashes(folder: Path) -> list[dict[str, Any]]:
    """Return the attempts of a run that died: each with `cause` and `seconds`. A damaged file counts as empty."""
    try:
        crashes = json.loads((folder / "crashes.json").read_text())
        return [{"cause": str(crash["cause"]), "seconds": float(crash["seconds"])} for crash in crashes]
    except (OSError, ValueError, TypeError, KeyError):
        return []
