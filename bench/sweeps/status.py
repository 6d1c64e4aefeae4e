"""Where a sweep stands, who shows it, and how it ended."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from bench.config.ids import CellId
from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord
from bench.sweeps import estimate
from bench.sweeps.prepare import Plan
from bench.sweeps.time_left import TimeLeft


@dataclass
class Status:
    """Where a sweep stands, for a display."""

    plan: Plan
    finished: set[CellId] = field(default_factory=set)
    finished_runs: int = 0
    running: dict[str, str] = field(default_factory=dict)  # run -> its progress
    best: dict[str, tuple[str, float]] = field(default_factory=dict)  # dataset and length -> model, validation score
    failed: int = 0
    failures_in_a_row: int = 0
    any_success: bool = False
    phase: str = "starting"
    ends_at: float | None = None  # by the monotonic clock, as predicted; None: not known
    started: float = field(default_factory=lambda: time.monotonic())
    time_left: TimeLeft = field(init=False)

    def __post_init__(self) -> None:
        prediction = None
        with suppress(ValueError, OSError):  # a damaged plan.json: the usual cost of a step then predicts
            prediction = estimate.read(self.plan.folder)
        self.time_left = TimeLeft(self.plan, prediction.cells if prediction else ())

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the predicted end; None if it is not known."""
        return None if self.ends_at is None else max(0.0, self.ends_at - time.monotonic())

    @property
    def finished_cells(self) -> int:
        """How many cells have nothing left to do."""
        return len(self.finished)

    def count(self, record: RunRecord, is_new: bool = True) -> None:
        """Count a trial or a confirm run that ended; one that continued after a pause is not new."""
        self.finished_runs += is_new
        if record.state == "failed":
            self.failed += 1
            self.failures_in_a_row += 1
            return
        self.any_success |= record.state == "complete" or record.is_paused
        self.failures_in_a_row = 0
        score, sign = record.val_score, record.asked.sign
        key = f"{record.config.dataset} {record.config.length}"
        if score is not None and (key not in self.best or sign * score > sign * self.best[key][1]):
            self.best[key] = (record.config.space, score)

    def predict(self, runs: Mapping[CellId, CellRuns], running: int, concurrency: int) -> None:
        """Predict when the sweep ends, `running` of its trials and confirm runs being under way."""
        if self.plan.seconds is not None:
            return  # the budget of time says what is left
        now = time.monotonic()
        left = self.time_left.seconds(runs, running, concurrency)
        allowed = estimate.allowed_seconds(self.plan) - (now - self.started)
        self.ends_at = now + min(left, max(0.0, allowed))


class Display(Protocol):
    """What shows a sweep to a person."""

    def update(self, status: Status) -> None:
        """Show where the sweep stands; called several times a second."""

    def say(self, text: str) -> None:
        """Show a line that stays."""


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended."""

    exit_code: int  # 0 done; 3 nothing succeeded; 129, 130 and 143 interrupted
    ended_by: str | None  # the budget that ended it before all runs were made
    tracked: bool  # whether MLflow has everything
    experiments: dict[str, str]  # dataset -> MLflow experiment id
