"""Reader of dataset cards: `datasets/NAME.toml` says which task, which lengths, and where the data come from."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bench.config import measures, plugins
from bench.config.contracts import Task
from bench.config.settings import RunConfig, TrainSettings
from bench.config.strict import NAME, fingerprint, one_line, read_toml
from bench.errors import DataMissingError, DeclarationError, did_you_mean

MOST_NAME_BYTES = 249
"""Of a file or folder: file systems take 255, and a download adds six."""


class DataFile(BaseModel):
    """One file of a dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str  # below a data folder; absolute for a file of your own
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(gt=0)
    url: str | None = None  # where `bench fetch` gets it
    listing: str | None = None  # of a folder: a file beside the card with path, sha256, size and url of each file in it

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        if not path or "\0" in path or (not PurePath(path).is_absolute() and ".." in PurePath(path).parts):
            raise ValueError("must be a path below the data folder, without '..', or an absolute path")
        if max(len(os.fsencode(part)) for part in PurePath(path).parts) > MOST_NAME_BYTES:
            raise ValueError(f"a folder or file may have a name of at most {MOST_NAME_BYTES} bytes")
        return path

    @field_validator("listing")
    @classmethod
    def _check_listing(cls, listing: str | None) -> str | None:
        if listing is not None and (PurePath(listing).name != listing or "\0" in listing):
            raise ValueError("must be the name of a file beside the card")
        return listing


class Dataset(BaseModel):
    """A dataset card."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    task: str
    kind: Literal["synthetic", "real"]
    lengths: list[int] = Field(min_length=1)  # the ladder, increasing
    length_meaning: str
    source: str
    licence: str
    citation: str | None = None
    split: str | None = None  # the rule that divides the examples into train, val and test
    files: list[DataFile] = []
    arguments: dict[str, Any] = {}

    @property
    def fingerprint(self) -> str:
        """Return digits that are equal for two cards with the same data, task and arguments."""
        arguments = dict(self.arguments)
        if self.files:  # their content, wherever they are stored and come from
            arguments["files"] = [[PurePath(file.path).name, file.sha256] for file in self.files]
        return fingerprint({"task": self.task, "arguments": arguments})

    def at(self, length: int) -> Task:
        """Return the task at one length. Raises DeclarationError, and DataMissingError with how to get the data."""
        try:
            return make_task(self.task, length, self.arguments)
        except DataMissingError as error:
            how = f"python -m bench fetch {self.name}, or give the folder that holds them with --data-dir FOLDER"
            raise DataMissingError(f"{self.name}: {error}; get the files: {how}") from None


def check_name(name: str, known: Iterable[str] = ()) -> None:
    """Raise DeclarationError for a name of a dataset that is unsafe in paths, addresses and filters of MLflow.

    `known` are the names of the other datasets: a name that differs from one of them in case only would share folders
    with it on some disks.
    """
    if not NAME.fullmatch(name):
        rule = "must be 1 to 64 letters, digits, '.', '_' or '-', and begin with a letter or a digit"
        raise DeclarationError(f"dataset {name[:80]!a}: the name {rule}; rename the card")
    for other in known:
        if other != name and other.lower() == name.lower():
            raise DeclarationError(
                f"datasets '{name}' and '{other}' differ in upper and lower case only; rename one card"
            )


def read(name: str, folder: Path | None = None) -> Dataset:
    """Read and check a card. Raises UnknownNameError and DeclarationError."""
    path = plugins.declaration("datasets", name, folder)
    check_name(name, plugins.declarations("datasets", folder))
    try:
        card = Dataset.model_validate({"name": name} | read_toml(path))
    except ValidationError as error:
        raise DeclarationError(one_line(path, error, Dataset)) from None
    if card.lengths != sorted(set(card.lengths)) or card.lengths[0] < 1:
        raise DeclarationError(f"{path}: lengths must be positive and increasing, but are {card.lengths}")
    known = plugins.declared("tasks", card.task, "Task").keyword
    for key in card.arguments:
        if key not in known:
            hint = did_you_mean(key, known)
            raise DeclarationError(f"{path}: [arguments] {key} is not an argument of bench/tasks/{card.task}.py{hint}")
    if card.files:
        card = card.model_copy(update={"arguments": card.arguments | {"files": [f.model_dump() for f in card.files]}})
    return card


def make_task(task: str, length: int, arguments: dict[str, Any]) -> Task:
    """Return the task at one length. Raises DeclarationError for a length or an argument that it does not accept."""
    made: Task = plugins.load("tasks", task).Task(length, **arguments)
    return made


def task_of(config: RunConfig) -> Task:
    """Return the task of a run, with its metric and the training settings that concern it. Raises DeclarationError.

    Each is passed on to the tasks that have an argument of its name, unless it has its default.
    """
    fields = TrainSettings.model_fields
    values = {name: getattr(config.train, name) for name in ("look_back", "word_features")}
    changed = {name: value for name, value in values.items() if value != fields[name].default}
    known = plugins.declared("tasks", config.task, "Task").keyword if changed else set()
    changed = {name: value for name, value in changed.items() if name in known}
    task = make_task(config.task, config.length, config.task_arguments | changed)
    if config.metric is not None:
        measures.select(task, config.metric)
    return task
