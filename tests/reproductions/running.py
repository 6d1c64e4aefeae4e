"""A published number beside the reproduced one, and the runs that reproduce it, on one thread."""

import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench.config import datasets
from bench.config.settings import RunConfig, TrainSettings
from bench.results.record import RunRecord
from bench.training.module import LEARNING_RATE_BATCH
from bench.training.train import Report, run

Settings = dict[str, Any]  # of training; those of the command line override those of a target


class Row(NamedTuple):
    """A published number and the reproduced one."""

    target: str
    what: str
    published: str
    found: str
    accepted: str  # the condition to count as reproduced
    reproduced: bool

    def cells(self, minutes: float, made: str) -> str:
        """Return the row of the table."""
        verdict = "yes" if self.reproduced else "**no**"
        cells = (self.target, self.what, self.published, self.found, self.accepted, verdict, f"{minutes:.1f}", made)
        return f"| {' | '.join(cells)} |"


def within(found: float, published: float, tolerance: float) -> bool:
    """Return whether a number is within the tolerance of the published one."""
    return abs(found - published) <= tolerance + 1e-9


def of_batch(learning_rate: float, batch_size: int) -> float:
    """Return the setting with which a run has a published learning rate: the setting is for batches of 32."""
    return learning_rate / math.sqrt(batch_size / LEARNING_RATE_BATCH)


def configured(
    dataset: str, length: int, model: str, arguments: dict[str, Any], train: dict[str, Any], seed: int = 0
) -> RunConfig:
    """Return a run of a card with these arguments of the model and settings of training."""
    card = datasets.read(dataset)
    return RunConfig(
        sweep="reproductions",
        run=f"{dataset}/L{length}/{model}/s{seed}",
        phase="screen",
        number=0,
        dataset=dataset,
        task=card.task,
        length=length,
        task_arguments=card.arguments,
        space=model,
        model=model,
        model_arguments=arguments,
        train=TrainSettings(**train),
        seed=seed,
    )


def trained(config: RunConfig, folder: Path | None = None) -> RunRecord:
    """Run a configuration, with its progress on standard error, and return its record. Ends the program if it fails."""
    began = time.monotonic()

    def on_report(report: Report) -> bool:
        if report.kind == "epoch":
            seconds = time.monotonic() - began
            print(f"  {config.run}: {report.steps:,} steps, {report.value:.4f}, {seconds:.0f} s", file=sys.stderr)
        return True

    record = run(config, on_report, folder)
    if record.state != "complete":
        raise SystemExit(f"{config.run}: {record.state}, {record.cause}: {record.message}")
    return record


def tested(config: RunConfig) -> dict[str, float]:
    """Train a configuration and return its metrics on the test split."""
    with tempfile.TemporaryDirectory(prefix="bench-reproductions-") as name:
        first, second = Path(name, "trained"), Path(name, "tested")
        first.mkdir()
        trained(config.model_copy(update={"phase": "confirm"}), first)
        test = config.model_copy(update={"phase": "test", "opens_test_of": ("trained",)})
        return trained(test, second).tests["trained"]
