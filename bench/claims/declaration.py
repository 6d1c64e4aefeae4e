"""Reader of claim files: what a claim says, which experiments test it, and by which rule they decide.

A claim is one TOML file: one of the built-in ones in `files`, or your own. Search spaces of its own are in a folder
`search_spaces` beside it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from bench.config.bounds import Between
from bench.config.settings import Length
from bench.config.strict import NAME, Strict, one_line, read_toml
from bench.config.sweep_settings import MatchRule
from bench.errors import DeclarationError, UnknownNameError, did_you_mean

FILES = Path(__file__).parent / "files"

LONG_SECONDS = 7200.0
"""Budgets of at least so many seconds use the table `long` of an experiment: more lengths, seeds or trials."""

Measure = Literal[
    "score", "mean_score", "growth", "solved", "solve_rate", "horizon", "seconds_to_target", "parameters", "train_step",
    "latency", "streaming", "half_life", "guessed", "context_gain", "cell_probe", "untrained_cell_probe",
    "cell_over_hidden", "cell_swap", "input_gate_contrast", "forget_gate_kept", "forget_open_score",
    "forget_shut_score", "input_shut_score",
]  # fmt: skip
Rule = Literal["superiority", "exceeds", "below", "equivalence", "solves"]

RATIOS = ("seconds_to_target", "parameters", "train_step", "latency", "streaming")
"""Measures that compare two arms by a ratio; the margin of their rules is a ratio too."""

MEMORY = (
    "cell_probe", "untrained_cell_probe", "cell_over_hidden", "cell_swap", "input_gate_contrast", "forget_gate_kept",
    "forget_open_score", "forget_shut_score", "input_shut_score",
)  # fmt: skip
EXAMINED = {"context_gain": "context"} | dict.fromkeys(MEMORY, "memory")
"""Measures of the trained weights of a run, and the measurement of bench/training/examine.py that takes them."""

KINDS = dict.fromkeys(("parameters", "train_step", "latency", "streaming"), "speed")
KINDS |= {"half_life": "gradients", "guessed": "guesses"}
KINDS |= dict.fromkeys(EXAMINED, "weights")
"""The kind of experiment that a measure reads; a sweep for all others."""

ONE_ARM = ("solve_rate", "half_life", "guessed", *MEMORY)
RULES = {"solved": ("solves",)} | dict.fromkeys(ONE_ARM, ("exceeds", "below"))
"""The rules that a measure may have, where it may not have each of OTHER_RULES."""

OTHER_RULES = ("superiority", "exceeds", "equivalence")
CHEAP = ("floor", "cheap baseline")
"""What an arm may be compared with besides a model: an answer that ignores the input, or the best cheap baseline."""

Text = Annotated[str, Field(min_length=1, max_length=2000)]
Names = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=100)]
Share = Annotated[float, Between(0.01, 1000, "a part of the time, relative to the others")]


class Experiment(Strict):
    """Runs that give evidence: a sweep, measurements of speed, gradients of untrained networks, or random weights.

    The kind "weights" is a sweep whose confirm runs are then examined by what their weights do.
    """

    kind: Literal["sweep", "speed", "gradients", "guesses", "weights"] = "sweep"
    share: Share = 1.0  # of the claim's time
    long_only: bool = False  # left out if the budget is short; if it is long, the claim has so much more time
    datasets: Names
    lengths: Annotated[list[Length], Field(max_length=100)] = []  # the shortest of each data set's card if empty
    test_lengths: Annotated[list[Length], Field(max_length=100)] = []  # at which trained models are tested as well
    models: Names
    match: str | None = None  # capacity, such as parameters=20k
    # Training sequences of a run, with the default configurations. None: the sweep searches within its time.
    max_sequences: Annotated[int, Between(1, 10**9)] | None = None
    trials: Annotated[int, Between(1, 1000)] = 1  # configurations of each model, if there are max_sequences
    seeds: Annotated[int, Between(1, 999)] = (
        5  # fresh seeds; of speed: processes; of gradients: networks; of guesses: repeats
    )
    long: dict[str, Any] = {}  # fields with other values if the budget is long

    @model_validator(mode="after")
    def _check(self) -> "Experiment":
        if self.match is not None:
            MatchRule.parse(self.match)
        self.within(LONG_SECONDS)
        return self

    @property
    def is_sweep(self) -> bool:
        """Whether models are trained."""
        return self.kind in ("sweep", "weights")

    def within(self, seconds: float) -> "Experiment":
        """Return the experiment as it is for a budget. Raises ValueError for a bad table `long`."""
        if seconds < LONG_SECONDS or not self.long:
            return self
        for key in self.long:
            if key not in Experiment.model_fields or key == "long":
                raise ValueError(f"long.{key}: not a known key{did_you_mean(key, Experiment.model_fields)}")
        return Experiment.model_validate(self.model_dump(exclude={"long"}) | self.long)


class SubClaim(Strict):
    """One contrast of a claim, with the rule that decides it. Positive effects are those that the claim asserts."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
    core: bool = True  # whether it decides the claim; others are context
    says: Text  # what holds if it is supported
    otherwise: Text  # what holds if it is refuted
    experiment: str
    measure: Measure
    arm: str
    against: str | None = None  # a model, or a word of CHEAP
    rule: Rule
    margin: Annotated[float, Between(0, 1e9)]  # smallest effect of interest, in the unit of the measure
    tasks: list[str] = []  # data sets of the experiment; all if empty
    lengths: list[int] = []  # all if empty
    test_length: int | None = None  # of measure score: at which the models were tested; None: that of training
    quorum: Annotated[int, Between(1, 1000)] | None = None  # tasks that must support it; None: all

    @model_validator(mode="after")
    def _check(self) -> "SubClaim":
        allowed = RULES.get(self.measure, OTHER_RULES)
        if self.rule not in allowed:
            raise ValueError(f"rule: measure {self.measure} has {' or '.join(allowed)}, but found {self.rule}")
        if (self.against is None) != (self.measure in ONE_ARM):
            need = "has no arm to compare with; remove `against`" if self.against else "needs `against`"
            raise ValueError(f"measure {self.measure} {need}")
        if self.measure in RATIOS and self.margin <= 0:
            raise ValueError(f"margin: a ratio above 0 for measure {self.measure}, but found {self.margin:g}")
        if self.test_length is not None and (self.measure != "score" or self.against in CHEAP):
            raise ValueError("test_length: needs measure score and two models; remove it")
        if self.against in CHEAP and self.measure not in ("score", "seconds_to_target"):
            raise ValueError(f"against: measure {self.measure} compares two models, but found {self.against!r}")
        return self


class Claim(Strict):
    """A sentence about models, and how it is decided."""

    name: str
    folder: Path  # of its file
    title: Text
    belief: Text  # as it is commonly written
    question: Text
    why: Text  # it matters
    changes: Text  # what would change the verdict
    share: Share = 1.0  # of the time of all claims
    experiments: Annotated[dict[str, Experiment], Field(min_length=1)]
    subclaims: Annotated[list[SubClaim], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _check(self) -> "Claim":
        for name in self.experiments:
            if not NAME.fullmatch(name):
                raise ValueError(f"experiments.{name}: letters, digits, '.', '_' or '-' only")
        ids = [sub.id for sub in self.subclaims]
        for sub in self.subclaims:
            if ids.count(sub.id) > 1:
                raise ValueError(f"subclaims: {sub.id} occurs twice; give each another id")
            self._check_subclaim(sub)
        if all(experiment.long_only for experiment in self.experiments.values()):
            raise ValueError("experiments: all are long_only; at least one must fit into a short budget")
        if not any(sub.core for sub in self.subclaims):
            raise ValueError("subclaims: none is core; at least one must decide the claim")
        return self

    def _check_subclaim(self, sub: SubClaim) -> None:
        where = f"subclaims: {sub.id}"
        if sub.experiment not in self.experiments:
            hint = did_you_mean(sub.experiment, self.experiments)
            raise ValueError(f"{where}: experiment: {sub.experiment!r} is not one of the file{hint}")
        experiment, kind = self.experiments[sub.experiment], KINDS.get(sub.measure, "sweep")
        if experiment.kind != kind:
            raise ValueError(f"{where}: measure {sub.measure} reads a {kind} experiment, but it is a {experiment.kind}")
        models = [sub.arm, *([sub.against] if sub.against and sub.against not in CHEAP else [])]
        longest = experiment.within(LONG_SECONDS)
        known: Iterable[tuple[str, Iterable[Any], Iterable[Any]]] = (
            ("model", models, experiment.models),
            ("tasks", sub.tasks, {*experiment.datasets, *longest.datasets}),
            ("lengths", sub.lengths, {*experiment.lengths, *longest.lengths}),
            ("test_length", [sub.test_length] if sub.test_length else [], experiment.test_lengths),
        )
        for what, named, available in known:
            for name in named:
                if name not in available:
                    hint = did_you_mean(str(name), [str(other) for other in available])
                    raise ValueError(f"{where}: {what}: {name!r} is not in experiment {sub.experiment}{hint}")

    @property
    def search_spaces(self) -> Path | None:
        """The folder of search spaces beside the file; None if there is none."""
        folder = self.folder / "search_spaces"
        return folder if folder.is_dir() else None


def names() -> list[str]:
    """Return the names of the built-in claims, in their order."""
    return sorted(path.stem for path in FILES.glob("*.toml"))


def read(name: str) -> Claim:
    """Read a built-in claim by its name, or your own by the path of its file.

    Raises UnknownNameError, and DeclarationError naming the file, the key and the rule.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if name not in names():
            raise UnknownNameError("claim", name, names())
        path = FILES / f"{name}.toml"
    if not NAME.fullmatch(path.stem):
        rule = "must have 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        raise DeclarationError(f"{path}: the name of the file is the name of the claim: {rule}")
    values = read_toml(path)
    for key in ("name", "folder"):
        if key in values:
            raise DeclarationError(f"{path}: {key}: not a known key; the name of the file is the name of the claim")
    try:
        return Claim.model_validate({"name": path.stem, "folder": path.absolute().parent} | values)
    except ValidationError as error:
        raise DeclarationError(one_line(path, error, _model_at(error))) from None


def _model_at(error: ValidationError) -> type[Strict]:
    """Return the part of a claim that the first mistake is in, whose keys are then suggested."""
    place = error.errors(include_url=False)[0]["loc"]
    if len(place) < 3:
        return Claim
    return Experiment if place[0] == "experiments" else SubClaim
