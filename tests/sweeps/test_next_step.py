"""A sweep of one cell, told step by step: screening, confirmation, test."""

import pytest

from bench.config.ids import CellId
from bench.results.cell_runs import CellRuns
from bench.results.record import RunRecord
from bench.sweeps import next_step as steps
from bench.sweeps.next_step import Confirm, Done, Trial, Wait, next_step
from tests.makers import record

CELL = CellId("latch", 8, "lstm")
TRIALS, SEEDS = 2, 2


def run(name: str, score: float = 0.5, state: str = "complete") -> RunRecord:
    """A trial (t1), a confirm run (t1-s0) or a test run (t1-test) of t1-s0 and t1-s1."""
    trial, _, part = name.partition("-")
    phase = {"": "screen", "s": "confirm", "t": "test"}[part[:1]]
    opened = tuple(f"{CELL}/{trial}-s{seed}" for seed in range(SEEDS)) if phase == "test" else ()
    number = int(part[1:] if phase == "confirm" else trial[1:])
    config = {"run": f"{CELL}/{name}", "phase": phase, "number": number, "opens_test_of": opened}
    val = {"accuracy": score} if state == "complete" else {}
    return record(config, {"solved": None}, state=state, val=val, tests={name: {"accuracy": score} for name in opened})


def step(done: list[RunRecord], running: tuple[str, ...] = (), **options):
    """Return the next step in a few words."""
    ids = [run_of(name) for name in running]
    match next_step(CellRuns(tuple(done), 1), ids, TRIALS, SEEDS, **options):
        case Trial(number):
            return "trial" if number is None else f"trial {number} again"
        case Confirm(trial, index, old):
            return f"confirm {trial.config.id.name} on seed {index}" + (" again" if old else "")
        case steps.Test(chosen, runs):
            return f"test {chosen.config.id.name} on {len(runs)} seeds"
        case Wait():
            return "wait"
        case Done():
            return "done"


def run_of(name: str):
    return CELL.trial(0)._replace(name=name)


DEFAULT, BETTER = run("t0", 0.6), run("t1", 0.8)
SEEDS_OF_BETTER = [run("t1-s0", 0.7), run("t1-s1", 0.7)]
SEEDS_OF_DEFAULT = [run("t0-s0", 0.6), run("t0-s1", 0.6)]
CONFIRMED = [DEFAULT, BETTER, *SEEDS_OF_BETTER, *SEEDS_OF_DEFAULT]


@pytest.mark.parametrize(
    ("done", "running", "expected"),
    [
        # Screening: the default and one drawn configuration.
        ([], (), "trial"),
        ([], ("t0",), "trial"),
        ([], ("t0", "t1"), "wait"),
        ([DEFAULT], ("t1",), "wait"),
        # Confirmation: the best and the default on the same fresh seeds, all seeds of the best first.
        ([DEFAULT, BETTER], (), "confirm t1 on seed 0"),
        ([DEFAULT, BETTER], ("t1-s0",), "confirm t1 on seed 1"),
        ([DEFAULT, BETTER], ("t1-s0", "t1-s1"), "confirm t0 on seed 0"),
        ([DEFAULT, BETTER, *SEEDS_OF_BETTER], ("t0-s0", "t0-s1"), "wait"),
        # Test: of the chosen configuration alone.
        (CONFIRMED, (), "test t1 on 2 seeds"),
        (CONFIRMED, ("t1-test",), "wait"),
        ([*CONFIRMED, run("t1-test")], (), "done"),
        # The default is confirmed once if it is the best.
        ([run("t0", 0.9), BETTER, *SEEDS_OF_DEFAULT], (), "test t0 on 2 seeds"),
        # Nothing succeeded.
        ([run("t0", state="failed"), run("t1", state="failed")], (), "done"),
        # A failed seed is not tested.
        ([run("t0", 0.9), BETTER, run("t0-s0", state="failed"), run("t0-s1")], (), "test t0 on 1 seeds"),
    ],
)
def test_a_sweep_step_by_step(done, running, expected):
    assert step(done, running) == expected


def test_a_trial_without_its_record_runs_again_before_anything_else():
    assert step([BETTER], missing=[0]) == "trial 0 again"
    assert step([BETTER, *SEEDS_OF_BETTER, run("t1-test")], missing=[0]) == "trial 0 again"


def test_the_budget_ends_the_search_before_the_reserve_is_spent():
    reserved = []

    def fits(seeds: int) -> bool:
        reserved.append(seeds)
        return seeds < SEEDS  # enough for a trial and one seed

    assert step([], fits=fits) == "trial"
    assert step([DEFAULT], fits=fits) == "confirm t0 on seed 0"
    assert step([DEFAULT, run("t0-s0")], fits=fits) == "confirm t0 on seed 1"
    assert step([DEFAULT, *SEEDS_OF_DEFAULT], fits=fits) == "test t0 on 2 seeds"
    assert reserved[:2] == [1, SEEDS]  # the first trial leaves room for a seed, the second for all


def test_a_second_configuration_is_confirmed_only_if_the_seeds_of_the_best_ones_stay_reserved():
    assert step([DEFAULT, BETTER, *SEEDS_OF_BETTER], fits=lambda seeds: seeds < SEEDS) == "test t1 on 2 seeds"


def test_what_was_confirmed_is_tested_although_the_budget_is_spent():
    assert step([DEFAULT, run("t0-s0")], fits=lambda seeds: False) == "test t0 on 1 seeds"


def test_a_cell_runs_one_trial_while_nothing_is_known_of_the_cost():
    assert step([], fits=lambda seeds: None) == "trial"
    assert step([], ("t0",), fits=lambda seeds: None) == "wait"


def test_a_seed_whose_weights_are_gone_is_trained_again_before_its_test():
    assert step(CONFIRMED, has_weights=lambda run: False) == "confirm t1 on seed 0 again"
