"""Where a sweep stands, who shows it, and how it ended."""

from dataclasses import dataclass, field
from typing import Protocol

from bench.config.ids import CellId
from bench.results.record import RunRecord
from bench.sweeps.prepare import Plan


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
    seconds_left: float | None = None
    run_seconds: list[float] = field(default_factory=list)  # of the runs of this session

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

    def time(self, seconds: float, concurrency: int) -> None:
        """Predict the time left from the runs of this session, of which one more took `seconds`."""
        if self.plan.num_runs is None:
            return  # the budget of time says what is left
        self.run_seconds.append(seconds)
        left = max(0, self.plan.num_runs - self.finished_runs)
        self.seconds_left = left * sum(self.run_seconds) / len(self.run_seconds) / concurrency


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
