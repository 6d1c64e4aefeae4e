"""The settings of a sweep: the same keys on the command line and in a sweep file."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from bench.config.budgets import BUDGETS
from bench.config.settings import Objective
from bench.config.strict import NAME, Strict, one_line, read_toml
from bench.errors import DeclarationError, UnknownNameError

Sampler = Literal["sobol", "random", "tpe", "gp", "cmaes", "nsga2"]
INDEPENDENT_SAMPLERS = ("sobol", "random")
"""Whose draws do not depend on earlier scores: only from them are expected-performance curves valid."""

Pruner = Literal["none", "median", "asha", "hyperband"]
DEFAULT_SWEEP = (
    ("latch", (32, 64)),
    ("adding", (25, 50)),
    ("copy_memory", (10,)),
    ("digits", (8,)),
)
"""What `sweep` without arguments runs: dataset and lengths."""


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)([smhd]?)", value)
    if found is None:
        raise ValueError("seconds expected, or a number and its unit, such as 90s, 30m, 2h or 1d")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


Duration = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]


class SweepConfig(Strict):
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
