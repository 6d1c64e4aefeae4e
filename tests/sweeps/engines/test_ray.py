"""Sweeps on Ray: an instance on this machine, and a cluster of several nodes whose processes are killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.config.sweep_settings import SweepConfig
from bench.errors import HardwareError
from bench.results.record import RunRecord, all_records, read_crashes, write_json
from bench.sweeps import coordinator, estimate, prepare, timed
from bench.sweeps.engines import cluster
from bench.sweeps.engines.cluster import RayEngine
from bench.sweeps.engines.engine import Event, Job
from tests.makers import run_config

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
        self._environment = os.environ | cluster.PATIENT | {"RAY_raylet_start_wait_time_s": "300"} | environment

    def start(self, **resources: float) -> "Nodes":
        resources = {"num_cpus": 1, "object_store_memory": 100 * 2**20} | resources
        self._process = subprocess.Popen(
            [*self._words, json.dumps(resources)],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "errors.txt").open("a"),
            text=True,
            start_new_session=True,
        )
        line = self._process.stdout.readline()
        assert line, (self.folder / "errors.txt").read_text()[-2000:]
        made = json.loads(line)
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
    predicted = estimate.make(plan(tmp_path / "ray", engine="ray"), None, print)
    assert [(cell.problem, cell.runs) for cell in predicted.cells] == [(None, 2.0)] * 2
    assert predicted.memory_gib > 0.1
    assert predicted.wall_seconds > sum(cell.device_seconds for cell in predicted.cells) / 2
    local, on_ray = (carry_out(plan(tmp_path / engine, engine=engine)) for engine in ("local", "ray"))
    assert len(local) == 7
    assert facts(on_ray) == facts(local)
    for folder in ("t0", "t0-s0", "t0-test"):
        left = [
            sorted(path.name for path in (tmp_path / engine / "sweeps/s/runs/latch/L8/gru" / folder).iterdir())
            for engine in ("local", "ray")
        ]
        assert left[0] == left[1]


def test_a_sweep_of_seven_models_on_three_nodes_has_the_scores_of_the_local_engine(tmp_path, nodes, monkeypatch):
    models = ["mlp", "rnn", "lstm", "stacked_lstm", "bilstm", "gru", "transformer"]
    local = carry_out(plan(tmp_path / "local", models=models))
    nodes(3)
    made = plan(tmp_path / "ray", models=models, engine="ray", workers=None)
    assert len({slot["node"] for slot in made.slots}) == 3
    assert facts(carry_out(made)) == facts(local)


def stub_sweep(results: Path, **options: Any) -> tuple[prepare.Plan, RayEngine]:
    made = plan(results, models=["gru", "mlp", "lstm"], engine="ray", workers=None, **options)
    return made, RayEngine(made.config, len(made.slots), f"{STUB}:run", [STUB])


def starts(folder: Path) -> dict[str, int]:
    """Return how often each run was started that came to its end there: an attempt on a lost node leaves no trace."""
    return {path.parent.name: len(path.read_text().split()) for path in folder.rglob("starts.txt")}


def wait_until(is_true: Callable[..., object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.05)


def num_records(results: Path) -> int:
    return sum(1 for _ in results.rglob("record.json"))


def processes(cache: Path, words: bytes = b"") -> set[int]:
    """Return the processes of the nodes whose caches begin with this path, of those with `words` in their command."""
    mark = f"BENCH_CACHE_DIR={cache}".encode()
    found = [path.parent for path in Path("/proc").glob("[0-9]*/environ") if mark in _read(path)]
    return {int(path.name) for path in found if words in _read(path / "cmdline")}


def runs(cache: Path) -> set[int]:
    """Return the processes of runs on these nodes; a node keeps the process from which they are forked."""
    servers = processes(cache, b"engines.forkserver")
    return {pid for pid in servers if _parent(pid) in servers}


def _parent(pid: int) -> int:
    return int((_read(Path(f"/proc/{pid}/stat")).rsplit(b")", 1)[-1].split() or [0, 0])[1])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _kill_during_a_run(results: Path, node: Path, words: bytes = b"") -> set[int]:
    before = num_records(results)
    wait_until(lambda: num_records(results) >= before + 2 and runs(node))
    found = processes(node, words)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return found


def test_a_lost_node_and_a_killed_worker_lose_and_double_nothing(tmp_path, nodes):
    running = nodes(2, {"BENCH_STUB_SECONDS": "4"})
    made, engine = stub_sweep(tmp_path)
    assert len(made.slots) == 2
    killed: list[set[int]] = []

    def kill() -> None:  # a node with all that runs there, and then the worker of Ray that has a run of the other node
        killed.append(_kill_during_a_run(tmp_path, running.folder / "node0"))
        killed.append(_kill_during_a_run(tmp_path, running.folder / "node1", b"ray::bench"))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    records = carry_out(made, engine)
    killer.join(1)
    assert len(killed) == 2
    assert len(killed[1]) == 1
    assert {record.state for record in records} == {"complete"}
    assert len(records) == 10
    assert sorted(cause for record in records for cause in record.crashes) == ["killed", "node_lost"]
    assert set(starts(made.folder).values()) == {1}
    assert not list(made.folder.rglob(".*.[0-9]*"))


def test_a_lost_cluster_stops_the_sweep_and_another_resumes_it(tmp_path, nodes, monkeypatch):
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    first = nodes(2, {"BENCH_STUB_SECONDS": "3"})
    made, engine = stub_sweep(tmp_path)

    def kill() -> None:
        wait_until(lambda: num_records(tmp_path) >= 3)
        os.kill(first.head, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(HardwareError, match=r"the Ray cluster at .*; .* run the same command to resume"):
        carry_out(made, engine)
    first.stop()
    finished = {record.config.run: record for record in all_records(made.folder)}
    assert 3 <= len(finished) < 10
    nodes(2, {"BENCH_STUB_SECONDS": "0.1"})
    made, engine = stub_sweep(tmp_path)
    records = carry_out(made, engine)
    assert len(records) == 10
    assert {record.state for record in records} == {"complete"}
    assert [read_crashes(path.parent) for path in made.folder.rglob("crashes.json")] == []
    assert finished.items() <= {record.config.run: record for record in all_records(made.folder)}.items()


def stub_command(results: Path) -> subprocess.Popen[str]:
    """Start the command of a sweep on the cluster in RAY_ADDRESS, whose runs are stubs."""
    code = (
        "import sys; from bench.sweeps.engines import cluster; from bench.cli.commands import main; "
        f"cluster.RayEngine.__init__.__defaults__ = ('{STUB}:run', ['{STUB}']); sys.argv[0] = 'bench'; main()"
    )
    words = ["--dataset", "latch", "--length", "8", "--models", "gru,mlp,lstm", "--budget", "smoke", "--name", "s"]
    return subprocess.Popen(
        [sys.executable, "-c", code, "sweep", *words, "--engine", "ray", "--results", str(results)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=HERE.parents[2],
    )


def test_a_command_that_is_stopped_or_killed_takes_its_runs_along_and_resumes(tmp_path, nodes):
    running = nodes(2, {"BENCH_STUB_SECONDS": "3"})
    finished: dict[str, RunRecord] = {}
    for number, status in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        command = stub_command(tmp_path)
        before = len(finished)
        wait_until(lambda before=before: num_records(tmp_path) > before and len(runs(running.folder / "node")) == 2)
        command.send_signal(number)
        output, _ = command.communicate(timeout=60)
        assert command.returncode == status, output
        wait_until(lambda: not runs(running.folder / "node"), 10)
        known, finished = finished, {record.config.run: record for record in all_records(tmp_path / "sweeps/s")}
        assert known.items() < finished.items()
    assert len(finished) < 10
    command = stub_command(tmp_path)
    output, _ = command.communicate(timeout=300)
    assert command.returncode == 0, output
    records = {record.config.run: record for record in all_records(tmp_path / "sweeps/s")}
    assert finished.items() <= records.items()
    assert len([run for run in records if not run.endswith("-speed")]) == 10
    assert {record.state for record in records.values()} == {"complete"}
    assert [record.crashes for record in records.values() if record.crashes] == []
    assert set(starts(tmp_path).values()) == {1}


def test_a_budget_of_time_ends_on_time(tmp_path, nodes):
    nodes(2, {"BENCH_STUB_SECONDS": "0.05"})
    began = time.monotonic()
    options = {"datasets": ["digits"], "lengths": None, "budget": "60s", "workers": None}
    made = plan(tmp_path, models=["gru", "mlp", "rnn"], engine="ray", **options)
    engine = RayEngine(made.config, len(made.slots), f"{STUB}:run", [STUB])
    lines = Lines()
    assert coordinator.run(made, lines, engine, began).exit_code == 0
    assert any("of each model begin" in line for line in lines)
    spent = json.loads((made.folder / "timing.json").read_text())["spent"]
    assert 20 < spent < 60 + timed.LATEST_SECONDS  # which test runs may take
    records = list(all_records(made.folder))
    assert {record.state for record in records} <= {"complete", "pruned"}
    assert any(record.state == "pruned" for record in records)
    assert any(record.config.phase == "test" for record in records)


def job(results: Path, name: str, ask_pruner: bool = False) -> Job:
    (results / "cell" / name).mkdir(parents=True)
    write_json(results / "cell" / name / "config.json", run_config(run=name).model_dump(mode="json"))
    return Job(name, results / "cell" / name, ask_pruner)


def engine_of(run: str, **options: Any) -> RayEngine:
    config = SweepConfig.build(None, {"datasets": ["latch"], "engine": "ray"} | options)
    return RayEngine(config, len(cluster.make_slots(config)[0]), f"tests.sweeps.engines.ray_runs:{run}", ())


def test_runs_share_gpus_and_a_run_learns_whether_it_is_pruned(tmp_path, nodes):
    nodes(2, num_cpus=2, num_gpus=1)
    engine = engine_of("show", gpus="all", runs_per_gpu=2)
    assert engine.concurrency == 4
    jobs = [job(tmp_path, f"t{number}", ask_pruner=True) for number in range(4)]
    for each in jobs:
        engine.submit(each)
    ends: list[Event] = []
    while len(ends) < 4:
        for event in engine.wait(0.25):
            if event.kind == "ended":
                ends.append(event)
            else:
                engine.decide(event.job, keep_going=event.steps == 1)
    assert [end.cause for end in ends] == [None] * 4
    shown = [json.loads((each.folder / "record.json").read_text()) for each in jobs]
    assert [each["answers"] for each in shown] == [[True, False]] * 4
    assert {each["gpus"] for each in shown} == {"0"}  # of each node
    assert max(each["start"] for each in shown) < min(each["end"] for each in shown)
    assert (jobs[0].folder / "log.txt").read_text() == "seen\n"


def test_a_run_on_several_gpus_gets_them_on_one_node(tmp_path, nodes):
    """The GPUs are pretended: a run that trains on several of them needs real ones."""
    nodes(2, num_cpus=4, num_gpus=3)
    engine = engine_of("show", gpus="all", gpus_per_run=2)
    assert engine.concurrency == 2  # the third GPU of each node is idle
    jobs = [job(tmp_path, f"t{number}") for number in range(2)]
    assert [end.cause for end in engine.run_all(jobs)] == [None] * 2
    shown = [json.loads((each.folder / "record.json").read_text()) for each in jobs]
    assert {each["node"] for each in shown} == {"node0", "node1"}
    assert all(len(set(each["gpus"].split(","))) == 2 for each in shown)
    assert max(each["start"] for each in shown) < min(each["end"] for each in shown)


def test_a_node_without_memory_ends_an_attempt_with_this_cause(tmp_path, nodes):
    total, free = (int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()[:3:2])
    limit = (total - free + 4 * 2**20) / total  # Ray itself needs more than one GiB
    nodes(1, {"RAY_memory_usage_threshold": f"{limit:.4f}", "RAY_memory_monitor_refresh_ms": "50"})
    (end,) = engine_of("eat").run_all([job(tmp_path, "t0")])
    assert end.cause == "out_of_memory"
    assert end.seconds > 0


def test_what_a_cancelled_run_was_doing_is_over_when_the_engine_is_closed(tmp_path, nodes):
    nodes(1)
    engine = engine_of("eat")
    engine.submit(job(tmp_path, "t0"))
    time.sleep(5.0)
    engine.close()
    assert not engine.busy
    engine = engine_of("nothing")
    (end,) = engine.run_all([job(tmp_path, "t1")])
    assert end.cause is None
