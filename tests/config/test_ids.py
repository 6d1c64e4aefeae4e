"""The names of cells and runs: each is written and read in one place."""

import pytest

from bench.config.ids import CellId, RunId

CELL = CellId("latch", 8, "lstm@parameters=20k")
TRIAL = CELL.trial(3)


@pytest.mark.parametrize(
    ("run", "spelling"),
    [
        (TRIAL, "latch/L8/lstm@parameters=20k/t3"),
        (TRIAL.confirmation(0), "latch/L8/lstm@parameters=20k/t3-s0"),
        (TRIAL.confirmation(12), "latch/L8/lstm@parameters=20k/t3-s12"),
        (TRIAL.test(0), "latch/L8/lstm@parameters=20k/t3-test"),
        (TRIAL.test(1), "latch/L8/lstm@parameters=20k/t3-test1"),
        (TRIAL.speed(), "latch/L8/lstm@parameters=20k/t3-speed"),
        (CELL.probe(2), "latch/L8/lstm@parameters=20k/probe2"),
        (CELL.baselines(), "latch/L8/_baselines"),
    ],
)
def test_a_run_is_spelled_and_parsed_in_one_way(run, spelling):
    assert str(run) == spelling
    assert RunId.parse(spelling) == run


def test_a_cell_is_spelled_and_parsed_in_one_way():
    assert str(CELL) == "latch/L8/lstm@parameters=20k"
    assert CellId.parse(str(CELL)) == CELL


def test_every_run_of_a_configuration_names_its_trial():
    for run in (TRIAL, TRIAL.confirmation(1), TRIAL.test(2), TRIAL.speed()):
        assert run.trial == TRIAL
        assert run.confirmation(4) == TRIAL.confirmation(4)


@pytest.mark.parametrize("text", ["", "latch", "latch/L8", "latch/Leight/lstm/t0", "a/b/c/d/e"])
def test_other_text_names_no_run(text):
    with pytest.raises(ValueError, match="must name a cell as DATASET/L8/MODEL"):
        RunId.parse(text)
