"""What a cell of a sweep does next: a pure function of its runs, which also explains a sweep to a reader.

1. Screening: trials are drawn until their number is reached or the budget only suffices for what follows.
2. Confirmation: the best configurations and the default are trained again on fresh seeds.
3. Test: the test split is opened for the configuration that is best on these seeds.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from bench.config.ids import RunId
from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord


@dataclass(frozen=True)
class Trial:
    """Run a trial: a new one, or `number`, which ran before but has no record any more."""

    number: int | None = None


@dataclass(frozen=True)
class Confirm:
    """Train the configuration of a trial on fresh seed `index`; an `old` record of that run is superseded."""

    trial: RunRecord
    index: int
    old: RunRecord | None = None


@dataclass(frozen=True)
class Test:
    """Open the test split for these confirm runs of the chosen configuration."""

    chosen: RunRecord
    runs: tuple[RunRecord, ...]


@dataclass(frozen=True)
class Wait:
    """Start nothing until a run that is under way ends."""


@dataclass(frozen=True)
class Done:
    """Nothing is left to do."""


Step = Trial | Confirm | Test | Wait | Done

Fits = Callable[[int], bool | None]
"""Whether the budget allows a further run of the cell if so many seeds of every cell's best configuration, and their
test, stay reserved. None: no run has ended yet, so that nothing is known."""


def next_step(
    runs: CellRuns,
    running: Collection[RunId],
    trials: int,
    confirm_seeds: int,
    *,
    missing: Sequence[int] = (),
    fits: Fits = lambda seeds: True,
    has_weights: Callable[[RunRecord], bool] = lambda run: True,
) -> Step:
    """Return the next step of a cell whose runs `running` are under way.

    `trials` and `confirm_seeds` are the budget. `missing` are trials whose records are gone. `has_weights` says whether
    the weights of a confirm run are still there, which a test needs.
    """
    begun = len(runs.screened) + sum(run == run.trial for run in running)
    if begun < trials:
        # A cell's first trial leaves one seed for every cell, a later one all seeds.
        fit = fits(confirm_seeds if begun else min(1, confirm_seeds))
        if fit is None and begun:
            return Wait()
        if fit or fit is None:
            return Trial(missing[0] if missing else None)
    if any(run == run.trial for run in running):
        return Wait()
    confirm = _next_confirm(runs, running, confirm_seeds, fits)
    if confirm is not None:
        return confirm
    if running:
        return Wait()
    if runs.chosen is None or not runs.untested:
        return Done()
    for run in runs.untested:
        if not has_weights(run):  # they were deleted when another configuration was tested
            return Confirm(runs.chosen, run.config.number, old=run)
    return Test(runs.chosen, tuple(runs.untested))


def _next_confirm(runs: CellRuns, running: Collection[RunId], confirm_seeds: int, fits: Fits) -> Confirm | None:
    """Return the next confirm run that the budget allows: all seeds of the best configuration come first."""
    done = {run.config.id for run in runs.records if run.config.phase == "confirm"}
    for place, trial in enumerate(runs.to_confirm):
        for index in range(confirm_seeds):
            run_id = trial.config.id.confirmation(index)
            if run_id in done or run_id in running:
                continue
            # Before a second configuration is confirmed, the seeds of the best one of every cell are reserved.
            return Confirm(trial, index) if fits(confirm_seeds if place else 0) is not False else None
    return None
