"""How long a sweep still takes: a prediction for each cell from its steps, corrected by every run that ends.

A run of another cell says little about a cell: within one sweep, runs take from a tenth of a second to minutes. So each
cell starts with a prediction, from plan.json if `bench plan` was run, else from the usual cost of a step of its model.
Two things correct it: how long steps take on this machine, which any run shows, and which share of its steps a run
makes before it solves its task, which runs of the same question and of the same model show.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.config.ids import CellId
from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord
from bench.sweeps.cells import Cell
from bench.sweeps.estimate import EXCLUSIVE_STEPS, CellEstimate
from bench.sweeps.prepare import Plan, question_of

STEP_MILLISECONDS = {
    "mlp": (0.40, 0.013),
    "rnn": (0.45, 0.028),
    "lstm": (0.55, 0.015),
    "stacked_lstm": (0.80, 0.026),
    "bilstm": (0.85, 0.033),
    "gru": (0.40, 0.083),
    "cnn": (1.0, 0.030),
    "transformer": (0.70, 0.155),
    "bitransformer": (0.70, 0.155),
}
"""Of a training step on a batch of 32 sequences: what does not depend on length, and the share of each step of it.

Measured on two cores (results/leaderboards/quick.csv). Only the ratios matter once some runs have ended.
"""

OTHER_MODEL = (0.6, 0.05)
PASS_SECONDS = 0.7  # of an exclusive pass beside its steps
RUN_SECONDS = 0.15  # of a run beside its steps: process, data and weights
VALIDATED = 0.35  # cost of a validation sequence in training sequences
SOLVED_SHARE, OTHER_SHARE = 0.55, 0.9  # of its steps that a run makes, if it ends early once it solves its task or not
PRIOR_RUNS, QUESTION_RUNS, MODEL_RUNS = 1.0, 2.0, 6.0
"""For how many runs an expectation counts beside what was seen: of a cell, of a question and of a model."""

SOLVED_BY_DEFAULT = 0.3
"""How much rarer another configuration is preferred to the default if that one solved the task."""

SHARE_CELLS = 2.0
"""For how many cells the expected share of steps counts beside what the cells of a question or a model showed."""


@dataclass
class _Sum:
    """Seconds that runs took, and what was predicted for them."""

    took: float = 0.0
    predicted: float = 0.0
    runs: int = 0

    def add(self, took: float, predicted: float) -> None:
        self.took, self.predicted, self.runs = self.took + took, self.predicted + predicted, self.runs + 1

    def ratio(self, prior: float, weight: float) -> float:
        """Return what runs took as a multiple of the prediction; `prior` counts as `weight` average runs."""
        if not self.runs:
            return prior
        counted = weight * self.predicted / self.runs
        return (self.took + prior * counted) / (self.predicted + counted)


@dataclass
class _Share:
    """Shares of their steps that runs made: sums, because a sum over all runs at the end of each takes longer."""

    total: float = 0.0
    runs: int = 0

    def add(self, share: float) -> None:
        self.total, self.runs = self.total + share, self.runs + 1


class TimeLeft:
    """Follows the runs of a sweep, and predicts the seconds until it ends."""

    def __init__(self, plan: Plan, estimates: Sequence[CellEstimate] = ()) -> None:
        self._plan = plan
        self._cells = {cell.id: cell for cell in plan.cells}
        known = {(cell.dataset, cell.length, cell.model): cell for cell in estimates}
        self._costs = {
            cell.id: Cost.of(plan, cell, known.get((cell.dataset.name, cell.length, cell.space.name)))
            for cell in plan.cells
        }
        self._question = {cell.id: question_of(cell) for cell in plan.cells}
        self._all, self._tests, self._passes = _Sum(), _Sum(), _Sum()
        self._of_cell: dict[CellId, _Sum] = {}
        self._of_question: dict[str, _Sum] = {}
        self._of_model: dict[str, _Sum] = {}
        self._shares: dict[CellId, _Share] = {}  # of their steps that runs made
        self._measured: set[CellId] = set()

    def add(self, record: RunRecord, seconds: float) -> None:
        """Note that a run ended after `seconds`."""
        cell, phase = record.config.cell, record.config.phase
        if cell not in self._cells:
            return
        if phase == "speed":
            self._measured.add(cell)
            self._passes.add(seconds, self._pass_seconds(cell))
        elif phase == "test":
            self._tests.add(seconds, self._costs[cell].test)
        elif phase in ("screen", "confirm"):
            self._shares.setdefault(cell, _Share()).add(record.share)
            sums = (
                self._all,
                self._of_cell.setdefault(cell, _Sum()),
                self._of_question.setdefault(self._question[cell], _Sum()),
                self._of_model.setdefault(cell.space, _Sum()),
            )
            for each in sums:
                each.add(seconds, self._costs[cell].seconds(record.share))

    def seconds(self, runs: Mapping[CellId, CellRuns], running: int, concurrency: int) -> float:
        """Return the seconds until the sweep ends, `running` of its runs being under way, each half done."""
        search = passes = 0.0
        unfinished = []
        both, overall = self._share_of_both(runs), self._all.ratio(1.0, 1.0)
        priors = self._prior_shares()
        for cell in self._plan.cells:
            known = runs.get(cell.id)
            trials, confirms = self._runs_left(cell, known, both)
            number = trials + confirms
            is_lost = known is not None and not number and known.chosen is None  # no configuration can be confirmed
            if number:
                of_all, of_best = self._shares_of(cell.id, known, priors[cell.id])
                left = trials * self._run_seconds(cell.id, of_all) + confirms * self._run_seconds(cell.id, of_best)
                unfinished.append(left / number)
                search += left
            if not is_lost and (known is None or number or not known.tests):
                search += self._tests.ratio(overall, 1.0) * self._costs[cell.id].test
            if not is_lost and cell.id not in self._measured:
                passes += self._passes.ratio(overall, 1.0) * self._pass_seconds(cell.id)
        half_done = 0.5 * running * sum(unfinished) / len(unfinished) if unfinished else 0.0
        return max(0.0, search - half_done) / concurrency + passes

    def _run_seconds(self, cell: CellId, share: float) -> float:
        """Return the seconds of a further run of a cell that is expected to make a share of its steps."""
        overall = self._all.ratio(1.0, 1.0)
        of_question = self._of_question.get(self._question[cell], _Sum()).ratio(overall, QUESTION_RUNS)
        of_model = self._of_model.get(cell.space, _Sum()).ratio(overall, MODEL_RUNS)
        pace = self._of_cell.get(cell, _Sum()).ratio(of_question * of_model / overall, PRIOR_RUNS)
        return pace * self._costs[cell].seconds(share)

    def _shares_of(self, cell: CellId, known: CellRuns | None, prior: float) -> tuple[float, float]:
        """Return the expected shares of its steps that a further trial of a cell makes, and a confirm run.

        A confirm run resembles the runs of the configurations to confirm; until the screening ends, of the default.
        """
        screened = known is not None and len(known.screened) >= self._plan.trials_of(self._cells[cell])
        best = known.to_confirm if known is not None and screened else []
        if known is not None and known.default is not None and not best:
            best = [known.default]
        of_best = _Share()
        for trial in best:
            for run in (trial, *(known.confirm_runs(trial) if known is not None else [])):
                of_best.add(run.share)
        counted = (self._shares.get(cell, _Share()), of_best)
        of_all, of_confirmed = ((own.total + PRIOR_RUNS * prior) / (own.runs + PRIOR_RUNS) for own in counted)
        return of_all, of_confirmed

    def _prior_shares(self) -> dict[CellId, float]:
        """Return the share of its steps that a run is expected to make before any run of its cell is known, by cell.

        It is the mean of what its question and its model showed, each beside the usual share.
        """
        means = {cell: shares.total / shares.runs for cell, shares in self._shares.items()}
        of_question: dict[str, list[float]] = {}
        of_model: dict[tuple[str, bool], list[float]] = {}
        for cell, mean in means.items():
            of_question.setdefault(self._question[cell], []).append(mean)
            of_model.setdefault((cell.space, self._ends_early(cell)), []).append(mean)
        expected = {}
        for cell, cost in self._costs.items():
            seen = (of_question.get(self._question[cell], []), of_model.get((cell.space, self._ends_early(cell)), []))
            both = [(sum(found) + SHARE_CELLS * cost.share) / (len(found) + SHARE_CELLS) for found in seen]
            expected[cell] = statistics.fmean(both)
        return expected

    def _ends_early(self, cell: CellId) -> bool:
        return self._cells[cell].task.solved is not None

    def _runs_left(self, cell: Cell, known: CellRuns | None, both: float) -> tuple[float, float]:
        """Return the expected numbers of trials and of confirm runs that a cell still makes."""
        seeds, trials = self._plan.budget.confirm_seeds, self._plan.trials_of(cell)
        screened = len(known.screened) if known else 0
        if known is None or screened < trials:
            best = min(self._plan.budget.top_k, trials)
            if known is not None and known.default is not None and known.default.solved:
                both *= SOLVED_BY_DEFAULT
            return trials - screened, (best + (both if trials > best else 0.0)) * seeds
        return 0.0, sum(max(0, seeds - len(known.confirm_runs(trial))) for trial in known.to_confirm)

    def _share_of_both(self, runs: Mapping[CellId, CellRuns]) -> float:
        """Return the expected share of cells whose default is confirmed beside the best: it is not one of the best.

        The prior is that the default is as likely to be the best as any other trial.
        """
        trials, top_k = self._plan.budget.trials, self._plan.budget.top_k
        prior = max(0.0, 1 - top_k / trials)
        screened = [known for known in runs.values() if len(known.screened) >= trials]
        found = sum(len(known.to_confirm) > top_k for known in screened)
        return (found + 3 * prior) / (len(screened) + 3)

    def _pass_seconds(self, cell: CellId) -> float:
        return PASS_SECONDS + EXCLUSIVE_STEPS * step_milliseconds(self._plan, self._cells[cell]) / 1e3


def step_milliseconds(plan: Plan, cell: Cell) -> float:
    """Return the usual milliseconds of a training step of a cell."""
    fixed, of_a_step = STEP_MILLISECONDS.get(cell.space.model, OTHER_MODEL)
    batch = plan.settings(cell).batch_size / 32
    return fixed + of_a_step * cell.task.num_steps * batch


class Cost(NamedTuple):
    """What the runs of a cell are predicted to take, before any of them has ended."""

    start: float  # seconds of a run beside its steps
    steps: float  # seconds of all its steps and validations
    share: float  # of its steps that a run makes
    test: float  # seconds of the run that opens the test split

    @classmethod
    def of(cls, plan: Plan, cell: Cell, estimate: CellEstimate | None) -> "Cost":
        """Return the cost that plan.json has, or the usual one of the model's steps."""
        settings, seeds = plan.settings(cell), plan.budget.confirm_seeds
        step = step_milliseconds(plan, cell) / 1e3
        share = SOLVED_SHARE if cell.task.solved is not None else OTHER_SHARE
        validations = VALIDATED * settings.num_epochs * settings.num_val / settings.batch_size
        steps = (settings.max_steps + validations) * step
        if estimate is not None and estimate.run_seconds is not None:
            steps = max(1e-3, estimate.run_seconds - RUN_SECONDS)
            share = estimate.share if estimate.learned_from else share
            step = steps / (settings.max_steps + validations)
        tested = seeds * plan.test_sequences(cell)
        test = RUN_SECONDS + VALIDATED * tested / settings.batch_size * step if seeds else 0.0
        return cls(RUN_SECONDS, steps, share, test)

    def seconds(self, share: float) -> float:
        """Return the seconds of a run that makes a share of its steps."""
        return self.start + share * self.steps
