"""What a budget of time expects its steps to take."""

import pytest

from bench.config.ids import CellId
from bench.results.cell_runs import CellRuns
from bench.results.record import Seconds
from bench.sweeps.estimate import RunCost
from bench.sweeps.timed import QuestionPlan, Speeds
from tests.halved import trial

CELL = CellId("names", 8, "lstm")
COST = RunCost(start=1.0, first_epoch=0.0, step=0.01, epoch=0.1, evaluation=0.0)


def speeds(*validations: int) -> Speeds:
    """Return what is expected after runs that came to their end after so many of 27 validations."""
    runs = [
        trial(CELL, number, [0.5] * count, "complete").model_copy(update={"seconds": Seconds(train=float(count))})
        for number, count in enumerate(validations)
    ]
    settings = trial(CELL, 0, [0.5]).config.train
    return Speeds(QuestionPlan(27, 3, {CELL: COST}), settings, {CELL: CellRuns(tuple(runs), 1)}, slots=1)


def test_early_stopping_makes_a_further_bracket_and_its_confirmation_shorter():
    full, early = speeds(27, 27, 27), speeds(9, 9, 9)
    assert early.bracket() < full.bracket()
    assert early.confirmation(2, 3) < 0.7 * full.confirmation(2, 3)


def test_no_run_is_expected_to_end_before_its_last_rung_begins():
    shortest = [speeds(*[validations] * 99).bracket() for validations in (1, 5, 9)]
    assert shortest == pytest.approx([shortest[0]] * 3, rel=0.02)
