"""A sweep with a budget of time: it ends on time, and loses nothing when it is killed."""

import json
import time

import pytest

from bench.results.record import records
from bench.sweeps import timed

pytestmark = pytest.mark.slow
WORDS = ('budget="30s"', 'datasets=["digits"]', 'models=["gru", "mlp", "rnn"]')


def by_phase(sweep) -> dict[str, list]:
    phases: dict[str, list] = {}
    for record in records(sweep.folder):
        phases.setdefault(record.config.phase, []).append(record)
    return phases


def check(sweep) -> None:
    """Assert that trials were halved, and that the best were confirmed and tested."""
    phases = by_phase(sweep)
    screened = phases["screen"]
    assert len({record.config.run for record in screened}) == len(screened)
    per_model = {}
    for record in screened:
        if record.config.bracket == 0:
            per_model.setdefault(record.config.space, []).append(record)
    assert len(per_model) == 3
    begun = {len(runs) for runs in per_model.values()}
    assert max(begun) - min(begun) <= 1  # a busy machine may end the drawing early
    assert any(run.state == "complete" for run in screened)
    opened = {run for record in phases["test"] for run in record.config.opens_test_of}
    assert {record.config.space for record in phases["confirm"] if record.config.run in opened}
    assert not list((sweep.folder / "runs").rglob("checkpoint*"))


def test_a_budget_of_time_ends_on_time(stub_sweep):
    began = time.monotonic()
    status, output = stub_sweep.finish(*WORDS, BENCH_STUB_SECONDS="0.05")
    took = time.monotonic() - began
    assert status == 0, output
    assert 12 < took < 90  # loading and writing to MLflow may wait for a busy machine
    assert "of each model begin" in output
    spent = json.loads((stub_sweep.folder / "timing.json").read_text())["spent"]
    assert 8 < spent < 38
    check(stub_sweep)


def test_a_longer_budget_of_time_continues_a_sweep_and_a_shorter_one_is_refused(stub_sweep):
    shorter, longer = ('budget="20s"', *WORDS[1:]), ('budget="70s"', *WORDS[1:])
    assert stub_sweep.finish(*shorter, BENCH_STUB_SECONDS="0.05")[0] == 0
    before = {run.config.run: run for run in records(stub_sweep.folder) if run.state == "complete"}
    steps = json.loads((stub_sweep.folder / "timing.json").read_text())["questions"]
    status, output = stub_sweep.finish(*longer, BENCH_STUB_SECONDS="0.05")
    assert status == 0, output
    after = {run.config.run: run for run in records(stub_sweep.folder) if run.state == "complete"}
    assert len(after) > len(before)
    assert {name: after[name].val for name in before} == {name: run.val for name, run in before.items()}
    assert json.loads((stub_sweep.folder / "timing.json").read_text())["questions"] == steps
    check(stub_sweep)
    assert "--budget 70s" in json.loads((stub_sweep.folder / "sweep.json").read_text())["command"]
    status, output = stub_sweep.finish(*shorter, BENCH_STUB_SECONDS="0.05")
    assert status == 2, output
    assert "the time was 70s and is now 20s; it may only be raised" in output


def test_a_test_run_that_takes_longer_than_the_time_is_ended_once(stub_sweep):
    """It may take some seconds more than the time, because what is confirmed has no score without it."""
    began = time.monotonic()
    status, output = stub_sweep.finish(*WORDS, BENCH_STUB_SECONDS="0.05", BENCH_STUB='{"-test": "sleep"}')
    assert status in (0, 3), output
    assert time.monotonic() - began < 100
    assert output.count("the time is over") == 1, output
    spent = json.loads((stub_sweep.folder / "timing.json").read_text())["spent"]
    assert spent < 30 + timed.LATEST_SECONDS + 8
    assert "test" not in by_phase(stub_sweep)
    # The same command tests what is confirmed, although no time is left, and trains nothing more.
    trained = {
        record.config.run for record in records(stub_sweep.folder) if record.config.phase in ("screen", "confirm")
    }
    status, output = stub_sweep.finish(*WORDS, BENCH_STUB_SECONDS="0.05")
    assert status == 0, output
    check(stub_sweep)
    again = {record.config.run for record in records(stub_sweep.folder) if record.config.phase in ("screen", "confirm")}
    assert again == trained


@pytest.mark.parametrize("seconds", [1.0, 4.0])
def test_a_sweep_that_is_killed_continues_with_the_time_that_is_left(stub_sweep, seconds):
    for _ in range(2):
        coordinator = stub_sweep.start(*WORDS, BENCH_STUB_SECONDS="0.05")
        stub_sweep.wait_for("runs/*/*/*/t*/record.json")
        time.sleep(seconds)
        coordinator.kill()
        coordinator.wait()
        stub_sweep.check_dead()
    before = {r.config.run: (r.state, r.train_steps) for r in records(stub_sweep.folder)}
    steps = json.loads((stub_sweep.folder / "timing.json").read_text())["questions"]
    status, output = stub_sweep.finish(*WORDS, BENCH_STUB_SECONDS="0.05")
    assert status == 0, output
    assert "Resuming s" in output
    after = {r.config.run: (r.state, r.train_steps) for r in records(stub_sweep.folder)}
    for run, (state, made) in before.items():  # nothing is lost, and a run only ever goes further
        assert after[run][1] >= made
        assert state != "complete" or after[run] == (state, made)
    timing = json.loads((stub_sweep.folder / "timing.json").read_text())
    assert timing["questions"] == steps
    assert timing["spent"] < 45
    check(stub_sweep)


def test_cheap_baselines_may_take_longer_if_nothing_else_has_a_score(stub_sweep):
    actions = '{"-test": "sleep", "baselines": "slow"}'
    status, output = stub_sweep.finish('budget="20s"', *WORDS[1:], BENCH_STUB_SECONDS="0.05", BENCH_STUB=actions)
    assert status in (0, 3), output
    assert set(by_phase(stub_sweep)) >= {"baselines"}
    assert "test" not in by_phase(stub_sweep)
