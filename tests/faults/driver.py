"""A coordinator whose runs are stubs, in a process forked from one that has loaded Optuna and MLflow."""

import atexit
import ctypes
import importlib
import json
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from bench.config.sweep_settings import SweepConfig
from bench.errors import BenchError
from bench.sweeps import coordinator, optuna_adapter, prepare
from bench.sweeps.engines import server
from bench.sweeps.engines.local import LocalEngine
from bench.sweeps.status import Status
from bench.sweeps.stop import leave

for _module in ("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.db.utils"):
    importlib.import_module(_module)  # MLflow imports them when they are first needed


class Lines:
    """Shows a sweep as lines."""

    def update(self, status: Status) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Show a line."""
        print(text, flush=True)


def carry_out(results: Path, name: str, words: tuple[str, ...]) -> int:
    """Run or resume a sweep of stubs; return its exit code. Words are KEY=JSON of SweepConfig."""
    server.SILENT_SECONDS = float(os.environ.get("BENCH_SILENT_SECONDS", server.SILENT_SECONDS))
    optuna_adapter.LOCK_SECONDS = float(os.environ.get("BENCH_LOCK_SECONDS", optuna_adapter.LOCK_SECONDS))
    options = {key: json.loads(value) for key, value in (word.split("=", 1) for word in words)}
    values = {"results": results, "name": name, "datasets": ["latch"], "lengths": [8], "models": ["gru", "mlp"]}
    try:
        config = SweepConfig.build(None, values | {"workers": 2, "budget": "smoke"} | options)
        plan = prepare.make(config)
        stub = "tests.faults.stub"
        engine = LocalEngine(plan.slots, config.stall_seconds, run=f"{stub}:run", preload=[stub])
        leave(coordinator.run(plan, Lines(), engine).exit_code)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code


def main(results: Path, name: str, words: tuple[str, ...], environment: dict[str, str], output: Path) -> None:
    """Be the process of a coordinator, with its own session, environment and output, to its end."""
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup, and in background jobs
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    if "BENCH_HOST_NAME" in environment:
        if ctypes.CDLL(None, use_errno=True).unshare(0x04000000):  # CLONE_NEWUTS in linux/sched.h
            raise OSError(ctypes.get_errno(), "unshare")
        socket.sethostname(environment["BENCH_HOST_NAME"])
    if "BENCH_OPEN_FILES" in environment:
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(environment["BENCH_OPEN_FILES"]),) * 2)
    if "BENCH_GROUP" in environment:  # the file cgroup.procs of a control group
        Path(environment["BENCH_GROUP"]).write_text(str(os.getpid()))
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)
    try:
        status = carry_out(results, name, words)
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - its traceback is output that a test checks
        sys.excepthook(*sys.exc_info())
        status = 1
    atexit._run_exitfuncs()  # multiprocessing does not
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
