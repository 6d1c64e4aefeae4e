"""Functions called in processes of their own, and the server that these are forked from."""

import os
import signal
import time
from pathlib import Path

import pytest

from bench.errors import BenchError, DeclarationError, HardwareError
from bench.sweeps.engines import server
from bench.sweeps.engines.server import ForkServer, call


@pytest.fixture
def bare(monkeypatch):
    """A server that imports nothing, in place of the shared one."""
    own = ForkServer(())
    monkeypatch.setattr(server, "shared", lambda: own)
    yield own
    own.close()


def wait_for_end(pid: int) -> None:
    end = time.monotonic() + 60
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < end, f"process {pid} is still there"
        time.sleep(0.02)


def test_a_call_returns_what_the_function_returns(bare):
    assert call("math:hypot", 3.0, 4.0) == 5.0
    assert call("os:getpid") not in (os.getpid(), call("os:getppid"))


def test_a_call_raises_what_the_function_raises(bare):
    with pytest.raises(ValueError, match="math domain error"):
        call("math:sqrt", -1.0)
    with pytest.raises(DeclarationError, match="missing.toml"):
        call("bench.config.strict:read_toml", Path("missing.toml"))


def test_an_answer_that_cannot_be_sent_is_an_error(bare):
    with pytest.raises(BenchError, match="cannot pickle"):
        call("threading:Lock")


def test_a_process_that_ends_without_an_answer_is_an_error(bare):
    with pytest.raises(BenchError, match="the process of os:_exit died"):
        call("os:_exit", 0)
    assert call("math:sqrt", 4.0) == 2.0


def test_a_call_that_does_not_return_is_ended(bare, monkeypatch):
    monkeypatch.setattr(server, "CALL_SECONDS", 1)
    with pytest.raises(BenchError, match="the process of time:sleep died, or took longer than 1 s"):
        call("time:sleep", 60)


def test_a_server_that_was_killed_is_started_again(bare):
    pid = call("os:getppid")
    os.kill(pid, signal.SIGKILL)
    assert call("os:getppid") != pid


def test_a_server_that_was_stopped_is_replaced(bare, monkeypatch):
    monkeypatch.setattr(server, "SILENT_SECONDS", 1.0)
    pid = call("os:getppid")
    os.kill(pid, signal.SIGSTOP)
    assert call("os:getppid") != pid
    wait_for_end(pid)


def test_a_server_that_dies_while_it_loads_is_no_endless_loop(tmp_path, monkeypatch):
    (tmp_path / "deadly.py").write_text("import os\nos._exit(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(HardwareError, match="ended 3 times while it loaded torch"):
        ForkServer(("deadly",)).wait_until_ready()


def test_closing_a_server_leaves_no_process(bare):
    pid = call("os:getppid")
    bare.wait_until_ready()
    child = bare.fork("bench.sweeps.engines.server:answer", ("time:sleep", (60,)))
    while child.pid is None:
        time.sleep(0.01)
        bare.update()
    bare.close()
    wait_for_end(pid)
    wait_for_end(child.pid)
    assert child.status == -signal.SIGKILL


def test_a_pause_of_this_process_counts_as_a_second(monkeypatch):
    seconds = iter([0.0, 0.5, 3600.0, 3600.5])
    monkeypatch.setattr(server.time, "monotonic", lambda: next(seconds))
    clock = server.Clock()
    assert [clock.now(), clock.now(), clock.now()] == [0.5, 1.5, 2.0]
