"""A stop is an interruption and never an outcome, whichever processes of a sweep it reaches (rows 1, 4, 5, 7-9)."""

import contextlib
import os
import signal
import time
from pathlib import Path

import optuna
import pytest

from bench.results.record import RunRecord, records

SIZE = ("trials=2", "confirm_seeds=1")
STOPS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129, signal.SIGKILL: -9}
SLOW = {"BENCH_STUB_SECONDS": "1"}
ENDLESS = {"BENCH_STUB_SECONDS": "60"}  # of runs that the test ends, however long a busy machine makes it wait

pytestmark = pytest.mark.timeout(900)  # of a machine that does much else


def _parameter(number: signal.Signals, fast: tuple[signal.Signals, ...]):
    return pytest.param(number, id=number.name, marks=() if number in fast else pytest.mark.slow)


def wait_for_run(sweep, process, but: set[int] = frozenset()) -> int:
    """Wait until a run is under way, and return the number of its process."""
    return sweep.wait_until(lambda: next(iter(set(sweep.runs(process)) - but), 0), "a run")


def finish(sweep, process) -> str:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    sweep.check_complete(2, 1)
    sweep.check_dead()
    assert {record.state for record in records(sweep.folder)} == {"complete"}, output
    assert "failed" not in output
    return output


def stop(sweep, process, number: int) -> None:
    """Follow a coordinator that has got a signal to its end, and check what it leaves."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == STOPS[number], output
    assert "Traceback" not in output
    sweep.check_dead()
    assert not [record for record in records(sweep.folder) if record.state == "failed"]
    if number != signal.SIGKILL:
        states = {trial.state for study in sweep.trials().values() for trial in study}
        assert optuna.trial.TrialState.RUNNING not in states
        assert not list(sweep.folder.rglob("crashes.json"))


def to_the_group(sweep, process, number: int) -> None:
    """As a terminal or `timeout` does."""
    os.killpg(process.pid, number)


def to_every_process(sweep, process, number: int) -> None:
    """As systemd, docker and scancel do; the runs receive it before the coordinator."""
    for pid in sorted(sweep.alive(), reverse=True):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def to_the_coordinator(sweep, process, number: int) -> None:
    """As a person does."""
    process.send_signal(number)


SENDERS = [to_the_group, to_every_process, to_the_coordinator]
FAST = {(to_the_group, signal.SIGINT), (to_every_process, signal.SIGTERM), (to_the_coordinator, signal.SIGHUP),
        (to_every_process, signal.SIGKILL)}  # fmt: skip


@pytest.mark.parametrize(
    ("send", "number"),
    [
        pytest.param(
            send, number, id=f"{number.name}-{send.__name__}", marks=() if (send, number) in FAST else pytest.mark.slow
        )
        for send in SENDERS
        for number in STOPS
    ],
)
def test_a_signal_that_stops_a_sweep_is_an_interruption(stub_sweep, send, number):
    process = stub_sweep.start(*SIZE, **ENDLESS)
    wait_for_run(stub_sweep, process)
    send(stub_sweep, process, number)
    stop(stub_sweep, process, number)
    finish(stub_sweep, stub_sweep.start(*SIZE))


@pytest.mark.parametrize("number", [_parameter(n, (signal.SIGTERM, signal.SIGKILL)) for n in STOPS])
def test_a_signal_to_a_run_or_to_the_fork_server_ends_neither_the_run_nor_the_sweep(stub_sweep, number):
    process = stub_sweep.start(*SIZE, **SLOW)
    run = wait_for_run(stub_sweep, process)
    os.kill(run, number)
    wait_for_run(stub_sweep, process, but={run})
    os.kill(stub_sweep.server(process), number)
    finish(stub_sweep, process)
    crashes = [
        crash for path in stub_sweep.folder.rglob("record.json") for crash in RunRecord.read(path.parent).crashes
    ]
    assert set(crashes) == ({"killed"} if number == signal.SIGKILL else set())


def test_two_signals_at_once_are_one_stop(stub_sweep):
    """As `timeout` sends them: one to its child, one to the group."""
    process = stub_sweep.start(*SIZE, **SLOW)
    wait_for_run(stub_sweep, process)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGHUP)
    stop(stub_sweep, process, signal.SIGTERM)


def test_a_run_that_is_interrupted_again_and_again_is_no_failure(stub_sweep):
    """Every start kills the same run and then the coordinator; only retries of one session count."""
    for _ in range(4):  # one more than the retries of a session
        process = stub_sweep.start("trials=1", "confirm_seeds=1", BENCH_STUB_SECONDS="60")
        os.kill(wait_for_run(stub_sweep, process), signal.SIGKILL)
        stub_sweep.wait_for("runs/**/crashes.json")
        process.kill()
        process.wait()
        stub_sweep.check_dead()
    status, output = stub_sweep.finish("trials=1", "confirm_seeds=1")
    assert status == 0, output
    assert {record.state for record in records(stub_sweep.folder)} == {"complete"}
    stub_sweep.check_complete(1, 1)


def test_a_fork_server_that_hangs_is_replaced_and_its_runs_are_retried(stub_sweep):
    process = stub_sweep.start(*SIZE, **SLOW, BENCH_SILENT_SECONDS="2")
    wait_for_run(stub_sweep, process)
    hung = stub_sweep.server(process)
    os.kill(hung, signal.SIGSTOP)
    stub_sweep.wait_until(lambda: not os.path.exists(f"/proc/{hung}"), "the end of the hung server", seconds=60)
    finish(stub_sweep, process)


def test_a_sweep_whose_fork_server_hangs_can_be_stopped(stub_sweep):
    process = stub_sweep.start(*SIZE, **SLOW)
    wait_for_run(stub_sweep, process)
    os.kill(stub_sweep.server(process), signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    stop(stub_sweep, process, signal.SIGINT)
    finish(stub_sweep, stub_sweep.start(*SIZE))


def test_a_stopped_fork_server_and_its_runs_die_with_their_coordinator(stub_sweep):
    process = stub_sweep.start(*SIZE, BENCH_STUB_SECONDS="3", BENCH_STUB='{"": "daemons"}')
    stub_sweep.wait_for("runs/**/daemons.txt")
    os.kill(stub_sweep.server(process), signal.SIGSTOP)
    process.kill()
    process.wait()
    stub_sweep.check_dead()


@pytest.mark.parametrize(
    "victim", ["coordinator", "fork server", *(pytest.param(v, marks=pytest.mark.slow) for v in ("run", "none"))]
)
def test_helpers_in_sessions_of_their_own_do_not_outlive_the_run(stub_sweep, victim):
    seconds = "0.1" if victim == "none" else "3"
    process = stub_sweep.start(*SIZE, BENCH_STUB_SECONDS=seconds, BENCH_STUB='{"": "daemons"}')
    stub_sweep.wait_for("runs/**/daemons.txt")
    run = wait_for_run(stub_sweep, process)
    pid = {"coordinator": process.pid, "fork server": stub_sweep.server(process), "run": run, "none": 0}[victim]
    if pid:
        os.kill(pid, signal.SIGKILL)
    if victim == "coordinator":
        process.wait()
    else:
        finish(stub_sweep, process)
    stub_sweep.check_dead()


def test_helpers_that_outlive_coordinator_and_fork_server_are_killed_at_the_next_start(stub_sweep):
    process = stub_sweep.start(*SIZE, **ENDLESS, BENCH_STUB='{"": "daemons"}')
    stub_sweep.wait_for("runs/**/daemons.txt")
    server = stub_sweep.server(process)
    process.send_signal(signal.SIGSTOP)  # or it would see its server end
    os.kill(server, signal.SIGKILL)
    process.kill()
    process.wait()
    stub_sweep.wait_until(lambda: not stub_sweep.runs(process), "the end of the runs")
    helpers = [pid for pid in stub_sweep.alive() if b"BENCH_FORK_SERVER" in Path(f"/proc/{pid}/environ").read_bytes()]
    assert helpers
    status, output = stub_sweep.finish(*SIZE)
    assert status == 0, output
    # A helper without an environment of its run, which the stub starts too, cannot be recognised.
    assert not set(helpers) & set(stub_sweep.alive())
    assert (stub_sweep.folder / "sweep.lock").read_text() == ""  # the next start has nobody to kill
