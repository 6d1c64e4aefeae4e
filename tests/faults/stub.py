"""A run without torch: the stand-in for training in tests of recovery.

What it does is said by the environment variable BENCH_STUB, a JSON object from a run's path (or a part of it, or "") to
an action; the action of the longest matching key counts.
"""

import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.config.settings import RunConfig
from bench.results.record import PAUSED, Asked, Epoch, read_crashes

time.sleep(float(os.environ.get("BENCH_STUB_PRELOAD", "0")))  # the server imports this file, once

ASKED = Asked(metric="accuracy", goal="maximize", chance=0.5, solved=0.99, num_steps=9)


def crash_point(name: str) -> None:
    """Kill this process here, as the coordinator's function of this name does; to import that takes seconds."""
    if os.environ.get("BENCH_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)


def score(config: RunConfig) -> float:
    """A number between 0 and 1 that follows from configuration and seed alone."""
    text = json.dumps([config.model_arguments, config.train.model_dump(), config.seed], sort_keys=True)
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


def graded(config: RunConfig, value: float) -> dict:
    """Return the fields of a run on a task without a threshold, which may pause after some validations."""
    epochs, steps = config.train.num_epochs, config.train.steps_per_epoch
    done = min(epochs, config.pause_after or epochs)
    fields = {
        "asked": ASKED.model_dump() | {"solved": None},
        "solved": None,
        "epochs": [
            Epoch(steps=i * steps, sequences=i, train_seconds=i / 1000, train_loss=1.0, val={"accuracy": value * i / epochs})
            .model_dump()
            for i in range(1, done + 1)
        ],
        "val": {"accuracy": value * done / epochs},
        "train_steps": done * steps,
    }  # fmt: skip
    return fields | ({"state": "pruned", "cause": PAUSED} if done < epochs else {})


def start_daemons(folder: Path) -> None:
    """Start two processes in sessions of their own; the second has no environment and no parent.

    The token in the command line lets a test find them.
    """
    daemon = [sys.executable, "-S", "-c", "import time; time.sleep(3600)", os.environ["BENCH_TOKEN"]]
    subprocess.Popen(daemon, start_new_session=True)
    between = os.fork()
    if between == 0:
        subprocess.Popen(daemon, start_new_session=True, env={})
        os._exit(0)
    os.waitpid(between, 0)
    (folder / "daemons.txt").touch()


def run(folder: Path, on_report, submitted: float) -> None:
    """Carry out one run."""
    config = RunConfig.read(folder / "config.json")
    with (folder / "starts.txt").open("a") as file:
        file.write(f"{os.getpid()}\n")
    actions = json.loads(os.environ.get("BENCH_STUB", "{}"))
    keys = [key for key in actions if key in config.run]
    action = actions[max(keys, key=len)] if keys else ""
    if action == "daemons":  # before the work: a test kills what it likes while the run is under way
        start_daemons(folder)
    time.sleep(float(os.environ.get("BENCH_STUB_SECONDS", "0.1")))
    first = len((folder / "starts.txt").read_text().split()) == 1
    value: object = score(config)
    facts: dict = {}
    if action == "raise":
        raise RuntimeError("stub was told to raise")
    if action == "sleep":
        time.sleep(3600)
    elif action == "slow":
        time.sleep(45)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action == "die" or (action == "die once" and first):
        (folder / f".record.json.{os.getpid()}").touch()  # as if it had been writing it
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "hog":
        held = []
        while True:
            held.append(os.urandom(2**24))
    elif action == "large":
        (folder / "weights.part").write_bytes(bytes(2**23))
    elif action == "segfault":
        ctypes.string_at(0)
    elif action == "helpers":
        for _ in range(3):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    elif action == "infinite":
        value = float("inf")
    elif action == "nothing":
        value = None
    elif action == "text":
        value = "good"
    elif action == "memory":
        facts = {"state": "failed", "cause": "out_of_memory", "message": "MemoryError: stub"}
    elif action == "prune":
        facts = {"state": "pruned"}
    crash_point("in_run")
    for steps in (10, 20):
        if not on_report(("epoch", steps, value if isinstance(value, float) else 0.0)):
            facts = {"state": "pruned"}
    record = {
        "config": config.model_dump(),
        "asked": ASKED.model_dump(),
        "state": "complete",
        "epochs": [
            Epoch(steps=10, sequences=320, train_seconds=0.1, train_loss=1.0, val={"accuracy": 0.5}).model_dump()
        ],
        "val": {} if value is None else {"accuracy": value},
        "best_epoch": 0,
        "tests": {run: {"accuracy": 0.5} for run in config.opens_test_of},
        "solved": False,
        "peak_memory_bytes": int(float(os.environ.get("BENCH_STUB_GIB", "0")) * 2**30) or None,
        "seconds": {"total": time.monotonic() - submitted},
        "crashes": [crash["cause"] for crash in read_crashes(folder)],
        "started_at": "2026-01-01T00:00:00+00:00",
    } | facts
    if config.task != "latch":
        record |= graded(config, score(config) if config.phase != "test" else 0.5) | facts
    if config.phase == "confirm":
        (folder / "weights.pt").touch()
    # As text, so that what the model would refuse (a wrong type, an infinity) reaches the coordinator.
    temporary = folder / "record.part"
    temporary.write_text(json.dumps(record, default=str))
    temporary.replace(folder / "record.json")
    crash_point("after_run_record")
