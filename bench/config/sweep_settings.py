"""The settings of a sweep: the same keys on the command line and in a sweep file.

The command line makes an option of every field: its flag, its section and its help come from `setting`.
"""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from bench.config.bounds import YEAR, Between, are_counts, are_shares, shown
from bench.config.budgets import BUDGETS
from bench.config.settings import Devices, Large, Length, Objective, OnOutOfMemory, Precision, Threads
from bench.config.strict import NAME, Strict, UsablePath, mistake, one_line, read_toml
from bench.errors import DeclarationError, UnknownNameError

Sampler = Literal["sobol", "random", "grid", "tpe", "gp", "cmaes", "nsga2"]
INDEPENDENT_SAMPLERS = ("sobol", "random")
"""Samplers whose draws do not depend on earlier scores: expected-performance curves are valid only for these."""

Pruner = Literal["none", "median", "asha", "hyperband"]

SHORTEST_SECONDS = 20.0
"""The shortest budget of time: starting a sweep takes several seconds of it."""

DEFAULT_SWEEP = (
    ("latch", (8, 32)),
    ("adding", (50,)),
    ("parity", (10,)),
    ("digits", (8,)),
)
"""What `sweep` without arguments runs: dataset and lengths. Each question ranks the models differently."""

DEFAULT_MODELS = ("mlp", "rnn", "lstm", "stacked_lstm", "bilstm", "gru", "transformer")
"""The models of the default sweep: one of each family."""

DEFAULT_EFFORT = {"max_sequences": 12_800}
"""The effort of the default sweep, unless a budget is given: short enough that models differ in what they solve."""

DATA, MODELS, BUDGET, MACHINE, OUTPUT = ("Your data", "Models and search", "Budget", "Machine", "Output")
SECTIONS = (DATA, MODELS, BUDGET, MACHINE, OUTPUT)
"""The headings of the options in `--help`."""


class MatchRule(NamedTuple):
    """A rule of capacity matching, such as `parameters=70k`."""

    text: str  # its one spelling: 20000 and 20K are 20k
    measure: str  # parameters, flops or state
    target: float

    @classmethod
    def parse(cls, text: str) -> "MatchRule":
        """Read a rule. Raises ValueError."""
        parts = re.fullmatch(r"(parameters|flops|state)=([0-9]{1,15}|[0-9]{0,15}\.[0-9]{1,15})([kKMG]?)", text.strip())
        number = float(parts[2]) * {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}[parts[3]] if parts else 0
        if parts is None or not 1 <= number <= 1e15:
            rule = "parameters=N, flops=N or state=N, where N is from 1 to 1e15, such as 20k or 1.5M"
            raise ValueError(f"must be {rule}, but found {shown(text)}")
        unit, scale = next(((unit, scale) for unit, scale in _UNITS if number >= scale), ("", 1.0))
        return cls(f"{parts[1]}={number / scale:.12g}{unit}", parts[1], number)


_UNITS = (("G", 1e9), ("M", 1e6), ("k", 1e3))


def seconds_of(value: Any) -> Any:
    """Return a time such as 90s, 30m, 2h or 1d in seconds. Raises ValueError."""
    if not isinstance(value, str):
        return value
    parts = re.fullmatch(r"([0-9]{1,15}|[0-9]{0,15}\.[0-9]{1,15})([smhd]?)", value.strip())
    if parts is None:
        raise ValueError(f"must be a number of seconds, or such as 90s, 30m, 2h or 1d, but found {shown(value)}")
    return float(parts[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[parts[2]]


def _entries(values: list[Any]) -> list[Any]:
    """Return the entries of a list. Raises ValueError for an empty entry and for one that is given twice."""
    for index, value in enumerate(values):
        if not str(value).strip():
            raise ValueError("must not have an empty entry; remove the extra comma, or the whole option")
        if value in values[:index]:
            raise ValueError(f"must name each entry once, but found {shown(value)} twice")
    return values


def _splits(values: Any) -> Any:
    if not isinstance(values, list) or not (are_shares(values) or are_counts(values, MOST_ROWS)):
        rule = "three shares that sum to 1, such as 0.7,0.1,0.2, or three whole numbers of rows, such as 700,100,200"
        raise ValueError(f"must be {rule}, but found {shown(values)}")
    return values


def split_names(text: str) -> list[str]:
    """Return the names of a list: separated by commas, in double quotes if they hold one. Raises ValueError."""
    try:
        (names,) = csv.reader([text], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        rule = "must be names separated by commas, in double quotes if they hold a comma"
        raise ValueError(f"{rule}, but found {shown(text)}") from None
    return [name.strip() for name in names]


def join_names(names: Iterable[Any]) -> str:
    """Return names as `split_names` reads them."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([str(name) for name in names])
    return line.getvalue()


def _rules(values: list[str]) -> list[str]:
    return list(dict.fromkeys(MatchRule.parse(value).text for value in values))


def _price(value: Any) -> Any:
    """Return a price an hour as a number, or the name of one."""
    try:
        number = float(value) if isinstance(value, str) and value.strip() else value
    except ValueError:
        return value
    return Between(0, 1e6, "USD an hour; `bench list prices` has names that you can give instead").check(number)


def _grid(value: Any) -> Any:
    """Return grams of CO2 for a kWh as a number, or the name of a grid."""
    try:
        number = float(value) if isinstance(value, str) and value.strip() else value
    except ValueError:
        return value
    rule = "grams of CO2 for a kWh; `bench list grids` has names that you can give instead"
    return Between(0, 10_000, rule).check(number)


def _gpus(value: Any) -> Any:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if text != "all" and not (isinstance(text, str) and re.fullmatch("[0-9]{1,4}", text) and int(text) <= 1024):
        raise ValueError(f"must be a number from 0 to 1,024, or 'all', but found {shown(value)}")
    return text


def sweep_name(value: str) -> str:
    """Return the name of a sweep, which is also its folder. Raises ValueError."""
    if not NAME.fullmatch(value):
        rule = "1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        raise ValueError(f"must have {rule}, but found {shown(value)}")
    return value


def _short(value: str) -> str:
    if not value.strip() or len(value) > 1000 or "\0" in value:
        raise ValueError(f"must be a text of 1 to 1,000 characters, but found {shown(value)}")
    return value


Text = Annotated[str, AfterValidator(_short)]
Names = Annotated[list[Text], Field(min_length=1, max_length=1000), AfterValidator(_entries)]
Lengths = Annotated[list[Length], Field(min_length=1, max_length=1000), AfterValidator(_entries)]
Delimiter = Annotated[
    str, BeforeValidator(lambda value: "\t" if value == "\\t" else value), Field(min_length=1, max_length=10)
]
Duration = Annotated[float, Between(0.001, 100 * YEAR, "in seconds, or such as 90s, 30m, 2h or 1d"),
                     BeforeValidator(seconds_of)]  # fmt: skip
Rows = Annotated[int, Between(1, 1_000_000, "rows of a table")]
MOST_ROWS = 10**12
Dollars = Annotated[float, Between(1e-9, 1e9, "in USD")]


def setting(section: str, help: str, metavar: str = "", default: Any = None, flag: str = "") -> Any:
    """Return a field of the settings with what `--help` says of its option.

    `flag` is given where it differs from the name of the field, `metavar` where it differs from the type.
    """
    return Field(default, description=help, json_schema_extra={"section": section, "metavar": metavar, "flag": flag})


class SweepConfig(Strict):
    """One sweep. None stands for what the budget, the data or the machine decides."""

    datasets: Names | None = setting(
        DATA, "Datasets to train on; `bench list datasets` shows them.", "NAMES", flag="--dataset"
    )
    lengths: Lengths | None = setting(
        DATA, "Sequence lengths. The dataset's card says what a step is.", "NUMBERS", flag="--length"
    )
    test_lengths: Lengths | None = setting(
        DATA, "Further lengths at which the chosen models of a synthetic task are tested.", "NUMBERS"
    )
    data: Annotated[list[UsablePath], Field(min_length=1, max_length=1000), AfterValidator(_entries)] | None = setting(
        DATA,
        "Your own file or folder. Repeat the option for a pair of .npy files, or for a training and a test file.",
        "PATH",
    )
    task: Text | None = setting(
        DATA,
        "What to learn from your data: forecasting, anomaly, regression, classification, language_modelling, tagging, "
        "translation or transcription. "
        "Without this option, the content of the file decides.",
        "NAME",
    )
    target: Names | None = setting(
        DATA, "Columns to predict. Put a name that holds a comma in double quotes, such as '\"temperature, C\",load'.",
        "COLUMNS",
    )  # fmt: skip
    features: Names | None = setting(DATA, "Columns that are inputs.", "COLUMNS")
    time: Text | None = setting(DATA, "Column with the time of each row.", "COLUMN")
    group: Text | None = setting(
        DATA,
        "Column whose values distinguish the sequences. Texts and recordings of one group stay in one split.",
        "COLUMN",
    )
    label: Text | None = setting(
        DATA,
        "Column with the class of a sequence or, for tagging, of a step; for anomalies, 1 in anomalous rows. For "
        "recordings: the number of a field in the file names, whose fields are separated by _.",
        "COLUMN",
    )
    text: Text | None = setting(
        DATA,
        "Column with the text; for tagging, with the token; for translation, the source; for transcription, what is "
        "said.",
        "COLUMN",
    )
    tokens: Literal["word", "character", "byte"] | None = setting(DATA, "What one step of a text is.")
    horizon: Rows | None = setting(DATA, "Rows to forecast.")
    season: Rows | None = setting(DATA, "Rows in one season, for the seasonal baseline.")
    scaling: Literal["table", "group"] | None = setting(
        DATA, "Scale of the series of --group in a forecast: one for all, or one for each. By default one for each if "
        "their scales differ by more than tenfold.",
    )  # fmt: skip
    splits: Annotated[list[int | float], BeforeValidator(_splits)] | None = setting(
        DATA, "Shares of the training, validation and test split; for tables also numbers of rows or sequences.",
        "0.7,0.1,0.2|700,100,200",
    )  # fmt: skip
    split_by: Text | None = setting(
        DATA, "Column that names the split of each row: train, val or test. Without val, it is taken from train.",
        "COLUMN",
    )  # fmt: skip
    delimiter: Delimiter | None = setting(DATA, "Delimiter of your file; overrides the detected one.", "TEXT")
    encoding: Text | None = setting(DATA, "Encoding of your file; overrides the detected one.", "NAME")
    layout: Literal["channels-last", "channels-first"] | None = setting(
        DATA, "Order of the last two axes of NumPy arrays: steps and channels, or channels and steps.",
    )  # fmt: skip
    no_header: bool = setting(DATA, "The first row is data, not names. Columns are then named 1, 2, 3.", default=False)
    save_card: bool = setting(
        DATA, "Save a card of your file, datasets/NAME.toml, so that --dataset NAME finds it.", default=False
    )
    dataset_cards: UsablePath | None = setting(
        DATA, "Folder of dataset cards, searched before the built-in one.", "FOLDER", flag="--datasets"
    )

    models: Names | None = setting(
        MODELS, "Models to compare: names from `bench list models`, or your own files, such as ./my_model.py.", "NAMES"
    )
    search_spaces: UsablePath | None = setting(
        MODELS, "Folder of search spaces, searched before the built-in one.", "FOLDER"
    )
    sampler: Sampler = setting(
        MODELS, "How configurations are drawn. `grid` tries every combination, with 5 values of a continuous knob.",
        default="sobol",
    )  # fmt: skip
    pruner: Pruner = setting(
        MODELS, "How weak trials are stopped early. Pruning is off for tasks that models solve abruptly.",
        default="none",
    )  # fmt: skip
    objectives: Annotated[list[Objective], Field(min_length=1)] = setting(
        MODELS, "What to optimise. More than quality gives a Pareto front.", "quality,latency,cost,memory,parameters",
        default=["quality"],
    )  # fmt: skip
    metric: Text | None = setting(
        MODELS,
        "The score that selects and ranks, such as macro_f1 or mae. By default that of the task; `bench list metrics` "
        "shows all.",
        "NAME",
    )
    max_inference_ms: Annotated[float, Between(1e-6, 1e9, "milliseconds for one sequence")] | None = setting(
        MODELS, "Limit on the milliseconds that a model takes to answer one sequence."
    )
    max_parameters: Large | None = setting(MODELS, "Limit on trainable parameters.")
    max_memory_gb: Annotated[float, Between(1e-6, 1e6, "in units of 2^30 bytes")] | None = setting(
        MODELS, "Limit on the peak memory of a training run, in units of 2^30 bytes."
    )
    max_cost_usd: Dollars | None = setting(MODELS, "Limit on the cost of one training run; needs --price-per-hour.")
    match: Annotated[list[Text], Field(max_length=100), AfterValidator(_rules)] = setting(
        MODELS, "Give all models the same capacity by choosing their width. Each rule is a separate comparison.",
        "parameters=70k|flops=N|state=N", default=[],
    )  # fmt: skip
    warm_start: Annotated[list[Text], Field(max_length=1000), AfterValidator(_entries)] = setting(
        MODELS, "Try the best configurations of earlier sweeps first.", "SWEEPS", default=[]
    )
    seed: Annotated[int, Between(0, 2**31 - 1, "run seeds are derived from it")] = setting(
        MODELS, "Seed of the whole sweep.", default=0
    )

    budget: str = setting(
        BUDGET, "Effort for each model, as `bench list budgets` explains, or the time of the whole sweep, such as 10m.",
        "smoke|quick|standard|full|TIME", default="quick",
    )  # fmt: skip
    trials: Annotated[int, Between(1, 10_000, "a search of more trials does not end")] | None = setting(
        BUDGET, "Configurations to try for each cell; overrides the budget."
    )
    top_k: Annotated[int, Between(1, 1000, "each is trained again on every fresh seed")] | None = setting(
        BUDGET, "How many of the best configurations to confirm, besides the default."
    )
    confirm_seeds: Annotated[int, Between(0, 999, "a sweep has 1,000 seeds")] | None = setting(
        BUDGET, "How many fresh seeds confirm each configuration."
    )
    max_sequences: Large | None = setting(BUDGET, "Limit on the training sequences of a run.")
    wall_time: Duration | None = setting(
        BUDGET, "Time limit of the sweep. The best configurations so far are then confirmed.", "30m"
    )
    device_time: Duration | None = setting(
        BUDGET, "Limit on the time of all runs together. A run on two GPUs counts twice.", "2h"
    )
    max_usd: Dollars | None = setting(BUDGET, "Cost limit of the sweep; needs --price-per-hour.")
    price_per_hour: Annotated[float | Text, BeforeValidator(_price)] | None = setting(
        BUDGET, "Price of the machine per hour in USD, or a name from `bench list prices`.", "USD|NAME"
    )
    max_run_seconds: Annotated[float, Between(0.001, 100 * YEAR, "in seconds")] | None = setting(
        BUDGET, "Limit on the training seconds of a run. A longer run ends as a timeout."
    )

    workers: Annotated[int, Between(1, 1024, "each worker is a process with its own memory")] | None = setting(
        MACHINE, "Runs at a time. By default, the cores divided by --threads; on GPUs, --runs-per-gpu for each GPU."
    )
    threads: Threads = setting(
        MACHINE, "CPU threads of each run. More than one thread slows down small models.", default=1
    )
    gpus: Annotated[str, BeforeValidator(_gpus)] = setting(MACHINE, "How many GPUs to use.", "N|all", default="0")
    runs_per_gpu: Annotated[int, Between(1, 64, "runs on one GPU share its memory")] = setting(
        MACHINE, "Runs that share a GPU.", default=1
    )
    gpus_per_run: Devices = setting(MACHINE, "GPUs that share the batches of one run (DDP).", default=1)
    engine: Literal["local", "ray"] = setting(
        MACHINE, "Where runs execute: on this machine, or on a Ray cluster.", default="local"
    )
    ray_address: Text | None = setting(
        MACHINE, "The Ray cluster: host:port of its head, or auto on one of its nodes. By default that of RAY_ADDRESS "
        "or, if it is not set, an instance of Ray on this machine.", "ADDRESS",
    )  # fmt: skip
    precision: Precision = setting(MACHINE, "Numerical precision of training.", default="32-true")
    on_out_of_memory: OnOutOfMemory = setting(
        MACHINE, "If a batch does not fit into memory: `fail` ends the run; `halve` divides the batch into "
        "micro-batches, whose gradients are accumulated.", default="fail",
    )  # fmt: skip
    cpu_watts: Annotated[float, Between(0.001, 10_000, "watts of one core")] | None = setting(
        MACHINE, "Power of a busy core in watts. Used to estimate energy if the machine has no energy meter."
    )
    grid_gco2_per_kwh: Annotated[float | Text, BeforeValidator(_grid)] | None = setting(
        MACHINE, "Grams of CO2 for a kWh of electricity, or a name from `bench list grids`. CO2 is energy times it.",
        "GRAMS|NAME",
    )  # fmt: skip
    max_failures: Annotated[int, Between(1, 1_000_000, "failed runs in a row")] = setting(
        MACHINE, "Stop after this many failed runs if no run has succeeded.", default=20
    )
    stall_seconds: Annotated[float, Between(0.1, YEAR, "in seconds")] = setting(
        MACHINE, "End a run that completes no training step in this many seconds.", default=600.0
    )

    name: Annotated[str, AfterValidator(sweep_name)] | None = setting(
        OUTPUT, "Name of the sweep. Use the same name to resume it.", "NAME"
    )
    diagnose: bool = setting(
        OUTPUT, "At the end, show what the winners do with the past, as `bench diagnose` does.", default=False
    )
    allow_mixed: bool = setting(
        OUTPUT, "Resume a sweep even if its rules or the code of a model have changed.", default=False
    )
    results: UsablePath = setting(OUTPUT, "Folder of all results.", "FOLDER", default=Path("results"))

    @classmethod
    def build(cls, file: Path | None, options: dict[str, Any]) -> "SweepConfig":
        """Read a sweep file, if there is one; options given on the command line override it.

        Raises DeclarationError naming the file or the option, and the rule.
        """
        values = {} if file is None else read_toml(file)
        given = {key: value for key, value in options.items() if value is not None}
        try:
            config = cls.model_validate(_of_default_sweep(values | given))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if first["loc"] and first["loc"][0] in given:
                raise DeclarationError(f"{flag(str(first['loc'][0]))}: {mistake(first)}") from None
            raise DeclarationError(one_line(file or "sweep", error, cls)) from None
        if config.budget not in BUDGETS and not config.budget[:1].isdigit():
            raise UnknownNameError("budget", config.budget, BUDGETS)
        try:
            seconds = config.budget_seconds
        except ValueError as error:
            raise DeclarationError(f"--budget: {error}") from None
        if seconds is not None and not SHORTEST_SECONDS <= seconds <= 100 * YEAR:
            rule = f"must be a time from {SHORTEST_SECONDS:.0f} s to 100 years, or a name from `bench list budgets`"
            raise DeclarationError(f"--budget {config.budget}: {rule}")
        return config

    @property
    def budget_seconds(self) -> float | None:
        """The budget if it is a time, in seconds; None if it is a name. Raises ValueError if it is neither."""
        return None if self.budget in BUDGETS else float(seconds_of(self.budget))


def _of_default_sweep(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings with what they leave open of the default sweep; unchanged if they name data of their own."""
    if values.get("datasets") or values.get("data"):
        return values
    effort = {} if "budget" in values else DEFAULT_EFFORT
    return {"models": list(DEFAULT_MODELS)} | effort | values


def flag(name: str) -> str:
    """Return the option of a setting: `--dataset` for datasets, `--wall-time` for wall_time."""
    extra: Any = SweepConfig.model_fields[name].json_schema_extra
    return extra["flag"] or f"--{name.replace('_', '-')}"
