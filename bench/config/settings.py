"""The settings of one run, as data."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from bench.config.ids import CellId, RunId
from bench.config.strict import Strict, one_line
from bench.errors import DeclarationError

BASELINES = ("mlp", "rnn", "lstm", "stacked_lstm", "bilstm", "gru", "transformer")
"""The order in which baselines are run and shown; any other search space comes after them."""


Phase = Literal["screen", "confirm", "test", "speed", "baselines", "probe"]

Objective = Literal["quality", "latency", "cost", "memory", "parameters"]


class TrainSettings(Strict):
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


class Limits(Strict):
    """What a configuration may cost at most to be chosen; None: no limit."""

    inference_ms: Annotated[float, Field(gt=0)] | None = None  # to answer one sequence, alone in its batch
    parameters: Annotated[int, Field(gt=0)] | None = None  # trainable numbers
    memory_gb: Annotated[float, Field(gt=0)] | None = None  # peak of a training run, in 2^30 bytes
    cost_usd: Annotated[float, Field(gt=0)] | None = None  # of one training run


class RunConfig(Strict):
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

    @property
    def cell(self) -> CellId:
        """The cell that this run belongs to."""
        return CellId(self.dataset, self.length, self.space)

    @property
    def id(self) -> RunId:
        """The run's name in its parts."""
        return RunId.parse(self.run)

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
