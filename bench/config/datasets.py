"""Reader of dataset cards: `datasets/NAME.toml` says which task, which lengths, where the data come from."""

from pathlib import Path, PurePath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.config import plugins
from bench.config.contracts import Task
from bench.config.strict import fingerprint, one_line, read_toml
from bench.errors import DataMissingError, DeclarationError, did_you_mean


class DataFile(BaseModel):
    """One file of a dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str  # below a data folder; absolute for a user's own file
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(gt=0)
    url: str | None = None  # where `bench fetch` gets it
    listing: str | None = None  # of a folder: a file beside the card with path, sha256, size and url of each file in it


class Dataset(BaseModel):
    """A dataset card."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    task: str
    kind: Literal["synthetic", "real"]
    lengths: list[int] = Field(min_length=1)  # the ladder, climbing
    length_meaning: str
    source: str
    licence: str
    citation: str | None = None
    split: str | None = None  # the rule by which train, val and test were parted
    files: list[DataFile] = []
    arguments: dict[str, Any] = {}

    @property
    def fingerprint(self) -> str:
        """Stands for the data: the same for two cards that ask the same of a model."""
        arguments = dict(self.arguments)
        if self.files:  # what is in them, wherever they lie and come from
            arguments["files"] = [[PurePath(file.path).name, file.sha256] for file in self.files]
        return fingerprint({"task": self.task, "arguments": arguments})

    def at(self, length: int) -> Task:
        """Return what is asked at one length. Raises DeclarationError, and DataMissingError saying how to get it."""
        try:
            return make_task(self.task, length, self.arguments)
        except DataMissingError as error:
            how = f"python -m bench fetch {self.name}, or BENCH_DATA_DIR=FOLDER (--data-dir) if you have it"
            raise DataMissingError(f"{self.name}: {error}; get it: {how}") from None


def read(name: str, folder: Path | None = None) -> Dataset:
    """Read and check a card. Raises UnknownNameError and DeclarationError."""
    path = plugins.declaration("datasets", name, folder)
    try:
        card = Dataset.model_validate({"name": name} | read_toml(path))
    except ValidationError as error:
        raise DeclarationError(one_line(path, error, Dataset)) from None
    if card.lengths != sorted(set(card.lengths)) or card.lengths[0] < 1:
        raise DeclarationError(f"{path}: lengths: positive and climbing, but found {card.lengths}")
    known = plugins.declared("tasks", card.task, "Task").keyword
    for key in card.arguments:
        if key not in known:
            hint = did_you_mean(key, known)
            raise DeclarationError(f"{path}: [arguments] {key}: not an argument of bench/tasks/{card.task}.py{hint}")
    if card.files:
        card = card.model_copy(update={"arguments": card.arguments | {"files": [f.model_dump() for f in card.files]}})
    return card


def make_task(task: str, length: int, arguments: dict[str, Any]) -> Task:
    """Return the task at one length. Raises DeclarationError for a length or argument it refuses."""
    made: Task = plugins.load("tasks", task).Task(length, **arguments)
    return made
