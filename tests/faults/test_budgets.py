"""A budget stops a sweep cleanly: equal shares, the best still confirmed, and more of it goes on."""

import json
from collections import Counter

import pytest

from bench.results.record import records

SIZE = ("trials=200", "confirm_seeds=2")
BUDGETS = {"wall time": 'wall_time="6s"', "device time": 'device_time="8s"', "money": "max_usd=0.0025"}


def screened(sweep) -> Counter:
    return Counter(r.config.space for r in records(sweep.folder) if r.config.phase == "screen")


@pytest.mark.parametrize(
    "name", ["device time", *(pytest.param(n, marks=pytest.mark.slow) for n in ("wall time", "money"))]
)
def test_a_budget_ends_the_search_and_the_best_are_confirmed(stub_sweep, name):
    words = (*SIZE, BUDGETS[name], "price_per_hour=2.0", 'models=["gru", "mlp", "rnn"]')
    status, output = stub_sweep.finish(*words, BENCH_STUB_SECONDS="0.2")
    assert status == 0, output
    assert f"Budget: {name} of" in output
    counts = screened(stub_sweep)
    assert len(counts) == 3
    assert max(counts.values()) - min(counts.values()) <= 1  # equal for every baseline
    assert 2 <= sum(counts.values()) < 600
    for space in counts:
        confirmed = [r for r in records(stub_sweep.folder) if r.config.phase == "confirm" and r.config.space == space]
        assert confirmed  # one of both seeds at least: on a busy machine, runs become slower than those before
    spent = sum(r.device_seconds for r in records(stub_sweep.folder))
    assert spent < {"wall time": 2 * 6, "device time": 8, "money": 3600 * 0.0025}[name] + 4
    spec = json.loads((stub_sweep.folder / "sweep.json").read_text())
    assert name in spec["ended_by"]


def test_the_start_of_the_server_is_on_no_runs_bill(stub_sweep):
    status, output = stub_sweep.finish("trials=1", "confirm_seeds=1", 'device_time="20s"', BENCH_STUB_PRELOAD="3")
    assert status == 0, output
    assert max(record.seconds.total for record in records(stub_sweep.folder)) < 3


def test_more_budget_goes_on_where_the_sweep_ended(stub_sweep):
    stub_sweep.finish(*SIZE, 'device_time="3s"', BENCH_STUB_SECONDS="0.2")
    before = screened(stub_sweep)
    status, output = stub_sweep.finish(*SIZE, 'device_time="3s"', BENCH_STUB_SECONDS="0.2")
    assert status == 0, output
    assert screened(stub_sweep) == before
    status, output = stub_sweep.finish(*SIZE, 'device_time="8s"', BENCH_STUB_SECONDS="0.2")
    assert status == 0, output
    assert sum(screened(stub_sweep).values()) > sum(before.values())


def test_what_is_chosen_keeps_to_the_limits(stub_sweep):
    """The stub measures no parameters, so that a limit on memory stands for all: every run is told 2 GiB."""
    status, output = stub_sweep.finish("trials=2", "confirm_seeds=1", "max_memory_gb=1.0", BENCH_STUB_GIB="2")
    assert status == 0, output
    assert not [r for r in records(stub_sweep.folder) if r.config.phase == "confirm"]
    from bench.results import leaderboard

    board = leaderboard.build(stub_sweep.folder)
    assert set(board[board["status"] != "baseline"]["reason"]) == {"no configuration is within the limits"}
    trial = stub_sweep.trials()["latch/L8/gru"][0]
    assert trial.constraints == {"memory_gb": pytest.approx(1.0)}
