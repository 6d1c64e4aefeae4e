"""The runs of one cell, and what follows from them: which configuration is chosen, and its runs.

Nothing here is decided by a test score: the test split is opened after the choice.
"""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from bench.config.ids import CellId, RunId
from bench.results.classes import ClassCounts
from bench.results.record import RunRecord
from bench.results.sampling import LeftOut
from bench.results.selection import best_trials, counted_val, is_feasible, quality

FEWEST_SEEDS = 3
"""Fresh seeds on which configurations of successive halving are compared, if one of them has as many."""


@dataclass(frozen=True, eq=False)
class CellRuns:
    """The records of a cell. Immutable, so that everything derived from them is computed once."""

    records: tuple[RunRecord, ...]
    top_k: int  # of the best trials, how many are confirmed

    def plus(self, record: RunRecord) -> "CellRuns":
        """Return these runs and one more."""
        return CellRuns((*self.records, record), self.top_k)

    def without(self, run: RunRecord) -> "CellRuns":
        """Return these runs without one of them, which is to run again."""
        return CellRuns(tuple(record for record in self.records if record.config.run != run.config.run), self.top_k)

    @cached_property
    def seconds(self) -> float:
        """The seconds that the runs took together."""
        return sum(record.seconds.total for record in self.records)

    @cached_property
    def screened(self) -> list[RunRecord]:
        """The trials, by number."""
        trials = [record for record in self.records if record.config.phase == "screen"]
        return sorted(trials, key=lambda record: record.config.number)

    @cached_property
    def default(self) -> RunRecord | None:
        """The trial of the default configuration."""
        return next((record for record in self.screened if record.config.number == 0), None)

    @cached_property
    def is_halved(self) -> bool:
        """Whether the trials were searched by successive halving, which pauses most of them."""
        return any(record.config.bracket is not None for record in self.screened)

    @cached_property
    def best(self) -> list[RunRecord]:
        """The `top_k` trials that screening puts first, best first.

        If successive halving let no trial of the cell run to its end, the best of those that came farthest.
        """
        best = best_trials(self.screened, self.top_k)
        if best or not self.is_halved:
            return best
        paused = [run for run in self.screened if run.is_paused and run.val_score is not None and is_feasible(run)]
        return sorted(paused, key=lambda run: (round(run.share, 3), quality(run)), reverse=True)[:1]

    @cached_property
    def to_confirm(self) -> list[RunRecord]:
        """The trials whose configurations are trained again on fresh seeds: the best ones and the default.

        After successive halving, the best one, and those that were the best in an earlier bracket.
        """
        if self.is_halved:
            return [*self.best, *(run for run in self.screened if run not in self.best and self.confirm_runs(run))]
        default = self.default
        if not self.best or default is None or default.state != "complete" or default in self.best:
            return self.best
        return [*self.best, default]

    @cached_property
    def chosen(self) -> RunRecord | None:
        """The trial whose configuration is the cell's: the best of the confirmed ones by validation on fresh seeds.

        Before any confirmation, the best of the screening. Solve-type: most seeds solved, then the fewest sequences;
        else the mean score. A seed that failed counts before either. Of equals the one that screening put first.
        None if no trial is complete and within the limits.
        """
        candidates = [record for record in self.to_confirm if is_feasible(record)]
        if self.is_halved:  # a configuration on one seed is not compared with another on three
            seeds = {id(run): len(self.confirm_runs(run)) for run in candidates}
            enough = min(FEWEST_SEEDS, max(seeds.values(), default=0))
            candidates = [run for run in candidates if seeds[id(run)] >= enough]
        return max(candidates or self.best, key=self.standing, default=None)

    @cached_property
    def confirmed(self) -> list[RunRecord]:
        """The confirmations of the chosen configuration, with their test scores where the test split was opened."""
        return self.confirmations(self.chosen) if self.chosen else []

    @cached_property
    def tests(self) -> list[RunRecord]:
        """The test runs; there are several if seeds were added or the choice changed."""
        return [record for record in self.records if record.config.phase == "test"]

    @cached_property
    def ensemble(self) -> dict[str, dict[str, float]] | None:
        """The metrics of the average of the chosen configuration's seeds, on val and test; None for fewer than two."""
        averages = [
            run for run in self.tests if run.ensemble and self.chosen and run.config.id.trial == self.chosen.config.id
        ]
        largest = max(averages, key=lambda run: len(run.tests), default=None)
        return largest.ensemble if largest else None

    @cached_property
    def classes(self) -> ClassCounts | None:
        """The counts by class of all tested seeds of the chosen configuration; None if there are none."""
        counts = self._details("classes")
        return ClassCounts.sum(counts) if counts else None

    @cached_property
    def left_out(self) -> list[LeftOut]:
        """For each tested seed of the chosen configuration: its test score without groups of examples.

        Empty unless it is known of all of them.
        """
        scores = self._details("left_out")
        return scores if len(scores) == sum(run.test is not None for run in self.confirmed) else []

    @cached_property
    def by_length(self) -> dict[int, list[float]]:
        """The scores of all tested seeds of the chosen configuration at each test length, in ascending order of it.

        Empty if the sweep has no test lengths.
        """
        scores: dict[int, list[float]] = {}
        for measures in self._details("by_length"):
            for length, values in sorted(measures.items()):
                scores.setdefault(length, []).append(values[self.records[0].asked.metric])
        return scores

    def _details(self, name: Literal["classes", "left_out", "by_length"]) -> list[Any]:
        """Return what the test runs stored of the confirmations of the chosen configuration."""
        stored = {run: detail for record in self.tests for run, detail in getattr(record, name).items()}
        return [stored[run.config.run] for run in self.confirmed if run.config.run in stored]

    @cached_property
    def speed(self) -> RunRecord | None:
        """The exclusive pass of the chosen configuration."""
        passes = (record for record in self.records if record.config.phase == "speed")
        return next((run for run in passes if self.chosen and run.config.id == self.chosen.config.id.speed()), None)

    @cached_property
    def opened(self) -> set[str]:
        """The confirm runs for which the test split was opened, successfully or not."""
        return {run for record in self.tests for run in record.config.opens_test_of}

    @cached_property
    def untested(self) -> list[RunRecord]:
        """The complete confirmations of the chosen configuration for which the test split is still closed."""
        return [run for run in self.confirmed if run.state == "complete" and run.config.run not in self.opened]

    def confirm_runs(self, trial: RunRecord) -> list[RunRecord]:
        """Return the runs that confirm a trial, by the number of their seed, without test scores."""
        return self._confirm_runs.get(trial.config.id, [])

    def confirmations(self, trial: RunRecord) -> list[RunRecord]:
        """Return the runs that confirm a trial, by the number of their seed, with the test scores there are.

        A run that is solved on validation and misses the threshold on the test split counts as not solved.
        """
        opened = {run: record for record in self.tests for run in record.tests}
        runs = self.confirm_runs(trial)
        return [_tested(run, opened[run.config.run]) if run.config.run in opened else run for run in runs]

    def with_tests(self) -> list[RunRecord]:
        """Return the trials and confirm runs, those of the chosen configuration with their test scores."""
        tested = {run.config.run: run for run in self.confirmed}
        runs = (record for record in self.records if record.config.phase in ("screen", "confirm"))
        return [tested.get(run.config.run, run) for run in runs]

    def standing(self, trial: RunRecord) -> tuple[float, ...]:
        """Return what orders configurations: the validation of their confirm runs, never their test; more is better."""
        runs = self.confirm_runs(trial)
        scores = [run.asked.sign * score for run in runs if (score := counted_val(run)) is not None]
        score = statistics.fmean(scores) if scores else -math.inf
        if trial.asked.solved is None:
            return (-sum(run.state == "failed" for run in runs), score)
        sequences = [run.sequences_to_solve for run in runs if run.sequences_to_solve is not None]
        fewest = -statistics.median(sequences) if sequences else -math.inf
        return (sum(bool(run.solved) for run in runs), fewest, score)

    @cached_property
    def _confirm_runs(self) -> dict[RunId, list[RunRecord]]:
        runs: dict[RunId, list[RunRecord]] = {}
        for record in self.records:
            if record.config.phase == "confirm":
                runs.setdefault(record.config.id.trial, []).append(record)
        return {trial: sorted(each, key=lambda run: run.config.number) for trial, each in runs.items()}


def by_cell(records: Iterable[RunRecord], top_k: int) -> dict[CellId, CellRuns]:
    """Return the runs of each cell, in the order in which the cells first appear; cheap baselines belong to none."""
    groups: dict[CellId, list[RunRecord]] = {}
    for record in records:
        if record.config.phase != "baselines":
            groups.setdefault(record.config.cell, []).append(record)
    return {cell: CellRuns(tuple(runs), top_k) for cell, runs in groups.items()}


def winner(cells: Iterable[CellRuns]) -> RunRecord | None:
    """Return the confirm run that represents several cells: the best seed of the best of their configurations.

    Validation decides, as within a cell. None if nothing was confirmed.
    """
    standings: list[tuple[tuple[float, ...], RunRecord]] = []
    for cell in cells:
        runs = [run for run in cell.confirmed if run.state == "complete"]
        if cell.chosen is not None and runs:
            standings.append((cell.standing(cell.chosen), max(runs, key=quality)))
    return max(standings, key=lambda pair: pair[0])[1] if standings else None


class Best(NamedTuple):
    """The row that validation puts first for a dataset at a length: a confirm run, or a cheap baseline by its name."""

    run: RunRecord  # the confirm run, or the run of the cheap baselines
    baseline: str | None = None


def best_row(cells: Iterable[CellRuns], cheap: RunRecord | None) -> Best | None:
    """Return the best of all models and cheap baselines by validation; None if nothing was confirmed or fitted.

    A model stands with the mean validation score of its confirm runs, a baseline with that of its one fit. The baseline
    is taken if the model is not ahead by more than the standard error of the score, see `standard_error`: it costs
    less, and the model was chosen among many more configurations on the same examples. Tasks that can be solved have
    no fitted baselines.
    """
    cells = list(cells)
    run = winner(cells)
    name = best_baseline(cheap) if cheap is not None else None
    if cheap is None or name is None:
        return None if run is None else Best(run)
    if run is None:
        return Best(cheap, name)
    cell = next(cell for cell in cells if run in cell.confirmed)
    assert cell.chosen is not None
    value = cheap.fitted[name].val[cheap.asked.metric]
    ahead = cell.standing(cell.chosen)[-1] - cheap.asked.sign * value
    return Best(run) if ahead > standard_error(cheap, value) else Best(cheap, name)


def standard_error(run: RunRecord, accuracy: float) -> float:
    """Return the standard error of an accuracy on validation; 0 for metrics whose spread over examples is not recorded.

    It is that of independent examples, each right or wrong. Breiman et al., 1984, CART, introduced the rule.
    """
    if run.asked.metric != "accuracy" or run.asked.kind not in ("series", "text"):
        return 0.0
    return math.sqrt(max(0.0, accuracy * (1 - accuracy)) / run.config.train.num_val)


def best_baseline(cheap: RunRecord) -> str | None:
    """Return the name of the fitted baseline that is best on validation; of equals the one with the larger prior."""
    metric, sign = cheap.asked.metric, cheap.asked.sign
    scores = {
        name: (sign * fitted.val[metric], fitted.prior)
        for name, fitted in cheap.fitted.items()
        if fitted.state == "complete" and metric in fitted.val  # a detector forecasts nothing
    }
    return max(scores, key=lambda name: scores[name], default=None)


def _tested(record: RunRecord, opened: RunRecord) -> RunRecord:
    """Return a confirm run with what the test run `opened` says of it."""
    run = record.config.run
    test = opened.tests[run]
    update: dict[str, object] = {"test": test}
    if run in opened.left_out:
        update["left_out"] = {run: opened.left_out[run]}
    threshold, sign = record.asked.solved, record.asked.sign
    if record.solved and threshold is not None and sign * test[record.asked.metric] < sign * threshold:
        update |= {"solved": False, "sequences_to_solve": None, "seconds_to_solve": None}
    return record.model_copy(update=update)
