"""What a coordinator expects of the engine that executes its runs, on this machine or on a cluster."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

RUN = "bench.training.train:run_in_folder"


@dataclass(frozen=True)
class Job:
    """A run to be carried out."""

    id: str
    folder: Path
    ask_pruner: bool = False  # the process waits for `decide` after every epoch


@dataclass(frozen=True)
class Event:
    """Progress of a job, or its end."""

    job: Job
    kind: Literal["tick", "epoch", "ended"]
    steps: int = 0
    value: float | None = None
    cause: str | None = None  # of an end without success: killed, stall, node_lost, out_of_memory, signal N, exit N
    seconds: float = 0.0  # since it was started


class Engine(ABC):
    """Executes jobs, several at a time. A job has a folder with a config.json; its run leaves a record.json there."""

    concurrency: int

    @abstractmethod
    def start_server(self) -> None:
        """Start what the engine needs, in the background."""

    @abstractmethod
    def wait_for_server(self) -> None:
        """Wait until runs can start. Raises HardwareError."""

    @property
    @abstractmethod
    def num_open(self) -> int:
        """How many jobs are running or waiting."""

    @property
    def idle(self) -> int:
        """How many more jobs can be submitted before one would wait for longer than its predecessor's end."""
        return self.concurrency + 1 - self.num_open

    @property
    def busy(self) -> bool:
        """Whether any job is running or waiting."""
        return self.num_open > 0

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Start a job as soon as there is room for it. Raises HardwareError."""

    @abstractmethod
    def decide(self, job: Job, keep_going: bool) -> None:
        """Answer a job that asked after an epoch."""

    @abstractmethod
    def wait(self, timeout: float) -> list[Event]:
        """Return what happened since the last call, waiting up to `timeout` seconds for something to happen.

        Raises HardwareError if no run can be carried out any more.
        """

    @abstractmethod
    def close(self) -> None:
        """Kill what runs and forget what waits."""

    def run_all(self, jobs: Sequence[Job]) -> list[Event]:
        """Carry out jobs that do not ask the pruner; return the event that ended each, in their order."""
        ends: dict[str, Event] = {}
        for job in jobs:
            self.submit(job)
        while len(ends) < len(jobs):
            ends |= {event.job.id: event for event in self.wait(0.25) if event.kind == "ended"}
        return [ends[job.id] for job in jobs]
