"""What to do, as data: the settings of one run and of one sweep, and the named budgets.

Every model here refuses unknown keys, so that nothing a user writes is silently ignored.
"""

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from bench.errors import DeclarationError, UnknownNameError, did_you_mean

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Phase = Literal["screen", "confirm", "test", "speed", "baselines", "probe"]

Sampler = Literal["sobol", "random", "tpe", "gp", "cmaes", "nsga2"]
INDEPENDENT_SAMPLERS = ("sobol", "random")
"""Whose draws do not depend on earlier scores: only from them are expected-performance curves valid."""

Pruner = Literal["none", "median", "asha", "hyperband"]
Objective = Literal["quality", "latency", "cost", "memory", "parameters"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrainSettings(_Strict):
    """How a run trains: the knobs that every baseline shares, with their units."""

    max_sequences: int = Field(gt=0)  # training sequences at most; a solved run stops earlier
    batch_size: int = Field(gt=0)  # sequences a step
    num_epochs: int = Field(gt=0)  # an epoch is a share of max_sequences, closed by a validation
    num_val: int = Field(gt=0)  # validation sequences
    num_test: int = Field(gt=0)  # test sequences
    learning_rate: float = Field(default=1e-3, gt=0)
    gradient_clip: float = Field(default=1.0, gt=0)  # largest global norm of a gradient
    weight_decay: float = Field(default=0.0, ge=0)  # decoupled (AdamW)
    dropout: float = Field(default=0.0, ge=0, lt=1)  # of the encoder's input and output
    embedding_size: int = Field(default=32, gt=0)  # width of a token's embedding
    schedule: Literal["constant", "cosine"] = "constant"  # cosine ends at a tenth of the learning rate
    warmup_fraction: float = Field(default=0.0, ge=0, lt=1)  # share of the steps in which the learning rate climbs

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps between two validations."""
        return max(1, self.max_sequences // (self.batch_size * self.num_epochs))

    @property
    def max_steps(self) -> int:
        """Optimiser steps of a run that is not stopped early."""
        return self.steps_per_epoch * self.num_epochs


TUNABLE = {
    "learning_rate",
    "gradient_clip",
    "weight_decay",
    "dropout",
    "embedding_size",
    "schedule",
    "warmup_fraction",
}
"""The training settings a search space may fix or tune; budget and batch are the same for every baseline."""


class Limits(_Strict):
    """What a configuration may cost at most to be chosen; None: no limit."""

    inference_ms: Annotated[float, Field(gt=0)] | None = None  # to answer one sequence, alone in its batch
    parameters: Annotated[int, Field(gt=0)] | None = None  # trainable numbers
    memory_gb: Annotated[float, Field(gt=0)] | None = None  # peak of a training run, in 2^30 bytes
    cost_usd: Annotated[float, Field(gt=0)] | None = None  # of one training run


class RunConfig(_Strict):
    """One run: everything a process needs to train one configuration with one seed, or to time it."""

    schema_version: Literal[2] = 2
    sweep: str
    run: str  # path below the sweep's runs/, for example adding/L50/lstm/t3
    phase: Phase
    number: int  # trial number, or index of the confirmation seed
    dataset: str
    task: str
    length: int = Field(gt=0)
    task_arguments: dict[str, Any]
    space: str  # the row of the leaderboard: a search space's name
    model: str  # in bench/models, or the absolute path of a user's own file
    model_arguments: dict[str, Any]
    train: TrainSettings
    seed: int = Field(ge=0)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, gt=0)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    ask_pruner: bool = False  # wait after every epoch for the coordinator's word
    origin: str = "default"  # who drew the configuration: default, warm start (from what), or a sampler's name
    num_devices: int = Field(default=1, gt=0)  # processes that share each batch (DDP)
    max_seconds: float | None = Field(default=None, gt=0)  # of training; a run that needs more ends as a timeout
    device_sharers: int = Field(default=1, gt=0)  # slots on the run's device, which share its meter of energy
    limits: Limits = Limits()
    objectives: tuple[Objective, ...] = ("quality",)
    usd_per_hour: float | None = Field(default=None, ge=0)  # this run's share of the machine's price
    opens_test_of: tuple[str, ...] = ()  # of a test run: the confirm runs whose weights meet the test split
    checkpoint_seconds: float = Field(default=60.0, gt=0)
    space_hash: str = ""
    source_hash: str = ""  # SHA-256 of a user's own model; a run of a changed file fails
    data_fingerprint: str = ""
    commit: str = ""

    @model_validator(mode="after")
    def _seal(self) -> "RunConfig":
        if bool(self.opens_test_of) != (self.phase == "test"):
            raise ValueError(f"the test split is opened by test runs only, not by phase '{self.phase}'")
        if self.train.batch_size % self.num_devices:
            raise ValueError(f"batch_size {self.train.batch_size}: a multiple of num_devices {self.num_devices}")
        return self

    @classmethod
    def read(cls, path: Path) -> "RunConfig":
        """Read a config.json. Raises DeclarationError."""
        try:
            return cls.model_validate_json(path.read_text())
        except OSError as error:
            raise DeclarationError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise DeclarationError(f"{path}: not a text file; give a config.json") from None
        except ValidationError as error:
            raise DeclarationError(one_line(path, error)) from None


class Budget(_Strict):
    """A named amount of work, equal for every baseline."""

    title: str
    trials: int  # configurations tried a cell: the default and Sobol points
    top_k: int  # best configurations of a cell that are confirmed; the default always is
    confirm_seeds: int  # fresh seeds for each of them
    max_sequences: int
    batch_size: int = 32
    num_epochs: int
    num_val: int
    num_test: int


BUDGETS = {
    "smoke": Budget(
        title="does it run at all; says nothing about models",
        trials=1,
        top_k=1,
        confirm_seeds=1,
        max_sequences=640,
        num_epochs=2,
        num_val=100,
        num_test=100,
    ),
    "quick": Budget(
        title="a first impression in minutes",
        trials=3,
        top_k=1,
        confirm_seeds=3,
        max_sequences=32_000,
        num_epochs=20,
        num_val=500,
        num_test=2_000,
    ),
    "standard": Budget(
        title="overnight on two cores",
        trials=16,
        top_k=3,
        confirm_seeds=10,
        max_sequences=200_000,
        num_epochs=50,
        num_val=2_000,
        num_test=5_000,
    ),
    "full": Budget(
        title="for publication: days, or a GPU",
        trials=60,
        top_k=5,
        confirm_seeds=29,
        max_sequences=1_000_000,
        num_epochs=100,
        num_val=5_000,
        num_test=10_000,
    ),
}


class DatasetLength(_Strict):
    """A dataset at one length."""

    dataset: str
    length: int


DEFAULT_SWEEP = (
    ("latch", (32, 64)),
    ("adding", (25, 50)),
    ("copy_memory", (10,)),
    ("digits", (8,)),
)
"""What `sweep` without arguments runs: dataset and lengths."""

BASELINES = ("mlp", "rnn", "lstm", "stacked_lstm", "bilstm", "gru", "transformer")
"""The order in which baselines are run and shown; any other search space comes after them."""


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)([smhd]?)", value)
    if found is None:
        raise ValueError("seconds expected, or a number and its unit, such as 90s, 30m, 2h or 1d")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


Duration = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]


class SweepConfig(_Strict):
    """One sweep: the same keys on the command line and in a sweep file."""

    datasets: Annotated[list[str], Field(min_length=1)] | None = None  # None: the default sweep
    lengths: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)] | None = None  # None: the default's
    data: Annotated[list[Path], Field(min_length=1)] | None = None  # a file of your own in place of datasets
    task: str | None = None  # of your file, and what it holds; None: told by the file, or none
    target: list[str] | None = None
    features: list[str] | None = None  # columns that are inputs
    time: str | None = None
    group: str | None = None  # column that tells sequences apart
    label: str | None = None
    text: str | None = None
    tokens: Literal["word", "character", "byte"] | None = None
    horizon: Annotated[int, Field(gt=0)] | None = None
    season: Annotated[int, Field(gt=0)] | None = None
    splits: list[float] | None = None  # shares of train, val and test
    delimiter: Annotated[str, BeforeValidator(lambda value: "\t" if value == "\\t" else value)] | None = None
    encoding: str | None = None
    no_header: bool = False
    save_card: bool = False  # as datasets/NAME.toml in the working directory
    models: Annotated[list[str], Field(min_length=1)] | None = None  # None: the seven baselines; or ./my_model.py
    budget: str = "quick"
    trials: Annotated[int, Field(gt=0)] | None = None  # in all, a cell; None: the budget's
    top_k: Annotated[int, Field(gt=0)] | None = None  # None: the budget's
    confirm_seeds: Annotated[int, Field(ge=0)] | None = None  # None: the budget's
    max_sequences: Annotated[int, Field(gt=0)] | None = None  # of a run; None: the budget's
    wall_time: Duration | None = None  # in seconds, or as 90s, 30m, 2h: of the sweep, interruptions not counted
    device_time: Duration | None = None  # likewise, summed over runs and their devices
    max_usd: Annotated[float, Field(gt=0)] | None = None  # for all runs; needs price_per_hour
    price_per_hour: Annotated[float, Field(ge=0)] | str | None = None  # of the machine in USD, or a name in the table
    cpu_watts: Annotated[float, Field(gt=0)] | None = None  # of a busy core: energy is then estimated from CPU time
    sampler: Sampler = "sobol"
    pruner: Pruner = "none"
    objectives: Annotated[list[Objective], Field(min_length=1)] = ["quality"]
    max_inference_ms: Annotated[float, Field(gt=0)] | None = None
    max_parameters: Annotated[int, Field(gt=0)] | None = None
    max_memory_gb: Annotated[float, Field(gt=0)] | None = None
    max_cost_usd: Annotated[float, Field(gt=0)] | None = None  # of one training run
    match: list[str] = []  # rules such as parameters=70k: widths are solved for each
    warm_start: list[str] = []  # sweeps whose best configurations are tried first
    max_run_seconds: Annotated[float, Field(gt=0)] | None = None
    workers: Annotated[int, Field(gt=0)] | None = None  # runs at a time; None: one a core, or one a GPU slot
    gpus: str = "0"  # a count, or "all"
    runs_per_gpu: int = Field(default=1, gt=0)
    gpus_per_run: int = Field(default=1, gt=0)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    seed: int = Field(default=0, ge=0, lt=2**31)
    name: str | None = None
    results: Path = Path("results")
    search_spaces: Path | None = None  # folder that goes before the shipped one
    dataset_cards: Path | None = None
    max_failures: int = Field(default=20, gt=0)  # this many runs failing in a row, with none succeeding, end the sweep
    stall_seconds: float = Field(default=600.0, gt=0)  # a run that makes no step for so long is ended

    @classmethod
    def build(cls, file: Path | None, options: dict[str, Any]) -> "SweepConfig":
        """Read a sweep file, if any, and lay the options given on the command line over it.

        Raises DeclarationError naming file, key and rule.
        """
        values: dict[str, Any] = {}
        if file is not None:
            values = read_toml(file)
        given = {key: value for key, value in options.items() if value is not None}
        try:
            config = cls.model_validate(values | given)
        except ValidationError as error:
            raise DeclarationError(one_line(file or "sweep", error, cls)) from None
        if config.budget not in BUDGETS:
            raise UnknownNameError("budget", config.budget, BUDGETS)
        if config.name is not None and not NAME.fullmatch(config.name):
            raise DeclarationError(
                f"--name '{config.name}': 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
            )
        if config.gpus != "all" and not config.gpus.isdecimal():
            raise DeclarationError(f"--gpus '{config.gpus}': a count or 'all'")
        return config


def train_settings(budget: Budget, values: dict[str, Any]) -> TrainSettings:
    """Return the settings of a run under a budget, with the tuned and fixed `values` of a search space."""
    shared = budget.model_dump(include={"max_sequences", "batch_size", "num_epochs", "num_val", "num_test"})
    return TrainSettings(**shared, **values)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises DeclarationError with the line of a mistake."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise DeclarationError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{path}: not valid TOML: {error}") from None


def fingerprint(value: Any) -> str:
    """Return 12 hexadecimal digits that stand for a value made of plain types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def one_line(where: Any, error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Return the first mistake that pydantic found as `where: key: rule, found value`."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "(whole)"
    if first["type"] == "extra_forbidden":
        hint = did_you_mean(key, model.model_fields) if model else ""
        return f"{where}: {key}: not a known key{hint}"
    found = "" if first["type"] == "missing" else f", but found {first['input']!r}"[:120]
    if first["type"] == "literal_error":
        found += did_you_mean(str(first["input"]), re.findall("'(.+?)'", first["ctx"]["expected"]))
    rule = first["msg"].removeprefix("Value error, ")
    return f"{where}: {key}: {rule[:1].lower()}{rule[1:]}{found}"
