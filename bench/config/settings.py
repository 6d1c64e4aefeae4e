"""The settings of one run, as data."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ValidationError, model_validator

from bench.config.bounds import Between
from bench.config.ids import CellId, RunId
from bench.config.strict import Strict, one_line, read_text
from bench.errors import DeclarationError

BASELINES = ("mlp", "rnn", "lstm", "stacked_lstm", "bilstm", "gru", "cnn", "transformer", "bitransformer")
"""The order in which baselines are run and shown; any other search space comes after them."""


Phase = Literal["screen", "confirm", "test", "speed", "baselines", "probe"]

Objective = Literal["quality", "latency", "cost", "memory", "parameters"]


Precision = Literal["32-true", "bf16-mixed"]
OnOutOfMemory = Literal["fail", "halve"]
Threads = Annotated[int, Between(1, 1024, "more threads than cores only wait for each other")]
Devices = Annotated[int, Between(1, 1024, "GPUs that share each batch")]
Count = Annotated[int, Between(1, 10**9)]
Large = Annotated[int, Between(1, 10**12)]
Length = Annotated[int, Between(1, 10_000_000, "longer sequences fit in no memory")]
Seed = Annotated[int, Between(0, 2**63 - 1, "random generators take no other")]
Part = Annotated[float, Between(0, 0.999, "a larger share leaves nothing")]
Positive = Annotated[float, Between(1e-9, 1e12)]


class TrainSettings(Strict):
    """How a run trains: the knobs that every baseline shares, with their units."""

    max_sequences: Large  # training sequences at most; a solved run stops earlier
    batch_size: Count  # sequences a step
    num_epochs: Count  # an epoch is a share of max_sequences, closed by a validation
    num_val: Count  # validation sequences
    num_test: Count  # test sequences
    # For batches of 32 sequences: the optimiser uses learning_rate * sqrt(batch_size / 32).
    learning_rate: Annotated[float, Between(1e-12, 1e4, "larger steps diverge")] = 1e-3
    gradient_clip: Positive = 1.0  # largest global norm of a gradient
    # Decoupled (AdamW); of parameters with two or more dimensions, thus not of biases and norms.
    weight_decay: Annotated[float, Between(0, 1e4, "a rate")] = 0.0
    schedule: Literal["constant", "cosine"] = "constant"  # cosine ends at a tenth of the learning rate
    warmup_fraction: Part = 0.0  # share of the steps in which the learning rate climbs
    patience: Part = 0.0  # share of the run without a better validation after which the run ends; 0: it never does
    dropout: Part = 0.0  # of the encoder's outputs, before readout and head
    # What the head of a task with one answer for each sequence reads: the encoder's own summary; the mean or maximum of
    # its outputs over the valid steps; summary, mean and maximum side by side ("all"); or, for forecasts alone, whose
    # windows have a fixed number of steps, the outputs of all steps side by side ("flat").
    readout: Literal["summary", "mean", "max", "all", "flat"] = "summary"

    # Forecasts: plus a linear map from the window of each target, the same for all targets. Tokens with one answer for
    # each sequence: plus a linear map from their n-grams. Music: plus a linear map from the last frame.
    linear_skip: bool = False

    # Tokens. Tasks whose inputs are numbers ignore these.
    embedding_size: Count = 32  # width of a token's embedding
    embedding_std: Positive = 1.0  # standard deviation of the initial embeddings
    embedding_dropout: Part = 0.0  # of the numbers of embedded tokens
    tied_embedding: bool = False  # language models, translation: the output layer shares the weights of the embedding
    word_features: bool = False  # tagging only: suffixes and shape of a word are embedded beside the word
    # Language models only: the state carries over from one window to the next, in training and in evaluation.
    carry_state: bool = False

    # Translation only: the decoder looks at all steps of the source instead of at one vector that stands for it.
    attention: bool = False

    # Sequences of numbers with one answer each, but no forecasts. Other tasks ignore these.
    stem_channels: Annotated[int, Between(0, 10**6)] = 0  # of a convolution before the encoder; 0: no convolution
    stem_stride: Count = 1  # steps of the sequence for one step of the encoder

    # Forecasts. Other tasks ignore these.
    look_back: Count = 1  # the window has look_back * length rows; the targets are those of look_back 1
    # What is taken from each target in a window, and given back to its forecast: nothing; the last value; or mean and
    # deviation, followed by a learned scale and shift (RevIN).
    input_normalisation: Literal["none", "last", "revin"] = "none"
    channel_independent: bool = False  # one encoder and head, applied to each target by itself
    patch_size: Count = 1  # steps of the window that make one step of the encoder

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
    "schedule",
    "warmup_fraction",
    "dropout",
    "readout",
    "embedding_size",
    "embedding_std",
    "embedding_dropout",
    "tied_embedding",
    "word_features",
    "carry_state",
    "attention",
    "stem_channels",
    "stem_stride",
    "look_back",
    "input_normalisation",
    "channel_independent",
    "linear_skip",
    "patch_size",
}
"""The training settings a search space may fix or tune; the budget decides the others, equal for every baseline."""


class Limits(Strict):
    """What a configuration may cost at most to be chosen; None: no limit."""

    inference_ms: Positive | None = None  # to answer one sequence, alone in its batch
    parameters: Large | None = None  # trainable numbers
    memory_gb: Positive | None = None  # peak of a training run, in 2^30 bytes
    cost_usd: Positive | None = None  # of one training run


class RunConfig(Strict):
    """One run: everything a process needs to train one configuration with one seed, or to time it."""

    schema_version: Literal[2] = 2
    sweep: str
    run: str  # path below the sweep's runs/, for example adding/L50/lstm/t3
    phase: Phase
    number: Annotated[int, Between(0, 10**9)]  # trial number, or index of the confirmation seed
    dataset: str
    task: str
    length: Length
    task_arguments: dict[str, Any]
    space: str  # the row of the leaderboard: a search space's name
    model: str  # in bench/models, or the absolute path of a user's own file
    model_arguments: dict[str, Any]
    train: TrainSettings
    seed: Seed
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Threads = 1
    precision: Precision = "32-true"
    bracket: Annotated[int, Between(0, 10**6)] | None = None  # of a trial of successive halving, from 0 on
    pause_after: Count | None = None  # validations after which a run pauses, with a checkpoint; None: it does not
    ask_pruner: bool = False  # wait after every epoch for the coordinator's word
    metric: str | None = None  # that selects and ranks; None: that of the task
    origin: str = "default"  # who drew the configuration: default, warm start (from what), or a sampler's name
    num_devices: Devices = 1  # processes that share each batch (DDP)
    # Of training; a run that needs more ends as a timeout. Of cheap baselines: after which no further one begins.
    max_seconds: Positive | None = None
    device_sharers: Count = 1  # slots on the run's device, which share its meter of energy
    # What happens if a batch does not fit into memory: the run fails, or its batches are divided into micro-batches.
    on_out_of_memory: OnOutOfMemory = "fail"
    limits: Limits = Limits()
    objectives: tuple[Objective, ...] = ("quality",)
    usd_per_hour: Annotated[float, Between(0, 1e6, "USD")] | None = None  # this run's share of the machine's price
    takes_over: str | None = None  # of a confirm run: the trial whose weights it has, if none could be trained in time
    opens_test_of: tuple[str, ...] = ()  # of a test run: the confirm runs whose weights meet the test split
    test_lengths: tuple[Length, ...] = ()  # of a test run: lengths that are tested besides that of training
    batch_sizes: tuple[Count, ...] = ()  # of a speed run: further batches whose inference is timed
    checkpoint_seconds: Positive = 60.0
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
        if self.on_out_of_memory == "halve" and self.num_devices > 1:
            raise ValueError(f"on_out_of_memory 'halve': for runs of one device, not of num_devices {self.num_devices}")
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
            return cls.model_validate_json(read_text(path))
        except ValidationError as error:
            raise DeclarationError(one_line(path, error, cls)) from None
