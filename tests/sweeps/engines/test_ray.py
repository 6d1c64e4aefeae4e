"""Sweeps on Ray: an instance on this machine, and a cluster of several nodes whose processes are killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.config.sweep_settings import SweepConfig
from bench.results.record import RunRecord, all_records
from bench.sweeps import coordinator, prepare
from bench.sweeps.engines import cluster
from bench.sweeps.engines.cluster import RayEngine

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
MEASURED = {"seconds", "cpu_seconds", "energy_joules", "started_at", "peak_memory_bytes", "environment"}
MEASURED |= {"seconds_to_solve", "inference_disturbed", "baselines"}
STUB = "tests.faults.stub"


class Lines(list):
    def update(self, status: Any) -> None: ...

    def say(self, text: str) -> None:
        self.append(text)


class Nodes:
    """A Ray cluster in a process of its own."""

    def __init__(self, folder: Path, count: int, **environment: str) -> None:
        self.folder = folder
        self._words = [sys.executable, str(HERE / "ray_cluster.py"), str(folder), str(count)]
        self._environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"} | environment

    def start(self, **resources: float) -> "Nodes":
        resources = {"num_cpus": 1, "object_store_memory": 100 * 2**20} | resources
        self._process = subprocess.Popen(
            [*self._words, json.dumps(resources)],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        made = json.loads(self._process.stdout.readline())
        self.address, self.raylets, self.head = made["address"], made["raylets"], made["head"]
        return self

    def stop(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def nodes(monkeypatch) -> Iterator[Callable[..., Nodes]]:
    """Start clusters, whose sockets need a short path, with a token."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a token of these tests, long enough")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    folder = Path(tempfile.mkdtemp(prefix="rt-"))
    started: list[Nodes] = []

    def start(count: int, environment: dict[str, str] | None = None, **resources: float) -> Nodes:
        monkeypatch.syspath_prepend(str(HERE.parents[2]))
        started.append(Nodes(folder, count, **(environment or {})).start(**resources))
        monkeypatch.setenv("RAY_ADDRESS", started[-1].address)
        return started[-1]

    try:
        yield start
    finally:
        for connection in list(CONNECTIONS):
            connection.close()
        for each in started:
            each.stop()
        shutil.rmtree(folder, ignore_errors=True)


CONNECTIONS: list[cluster.Connection] = []


@pytest.fixture(autouse=True)
def _ended(monkeypatch):
    """End the driver of each test, and let nothing of it be left."""
    make = cluster.Connection.__init__

    def made(self, *arguments) -> None:
        make(self, *arguments)
        CONNECTIONS.append(self)

    monkeypatch.setattr(cluster.Connection, "__init__", made)
    yield
    while CONNECTIONS:
        CONNECTIONS.pop().close()


def plan(results: Path, **options: Any) -> prepare.Plan:
    small = {"datasets": ["latch"], "lengths": [8], "models": ["lstm", "gru"], "budget": "smoke", "name": "s"}
    return prepare.make(SweepConfig.build(None, small | {"workers": 2, "results": results} | options))


def carry_out(made: prepare.Plan, engine: RayEngine | None = None) -> list[RunRecord]:
    outcome = coordinator.run(made, Lines(), engine, measures_speed=False)
    assert outcome.exit_code == 0
    return [RunRecord.read(made.folder / "runs" / record.config.run) for record in all_records(made.folder)]


def facts(records: list[RunRecord]) -> dict[str, dict[str, Any]]:
    """Return what records say, apart from what the clock and the machine decide."""
    shown = {}
    for record in records:
        fields = record.model_dump(exclude=MEASURED)
        for epoch in fields["epochs"]:
            del epoch["train_seconds"]
        fields["config"] = {key: value for key, value in fields["config"].items() if key != "device_sharers"}
        shown[record.config.run] = fields
    return shown


def test_a_sweep_on_this_machines_ray_has_the_scores_of_the_local_engine(tmp_path):
    local, on_ray = (carry_out(plan(tmp_path / engine, engine=engine)) for engine in ("local", "ray"))
    assert len(local) == 7
    assert facts(on_ray) == facts(local)
    for folder in ("t0", "t0-s0", "t0-test"):
        left = [
            sorted(path.name for path in (tmp_path / engine / "sweeps/s/runs/latch/L8/gru" / folder).iterdir())
            for engine in ("local", "ray")
        ]
        assert left[0] == left[1]
