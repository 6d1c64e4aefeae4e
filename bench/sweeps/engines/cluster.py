"""The engine that executes runs on a Ray cluster, as the coordinator sees it. Ray itself is in another process."""

import atexit
import functools
import importlib.util
import os
import secrets
import time
from collections import Counter, deque
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from bench.config.sweep_settings import SweepConfig
from bench.errors import DeclarationError, HardwareError
from bench.sweeps.engines.engine import RUN, Engine, Event, Job
from bench.sweeps.engines.machine import Slot, check_sharing, usable_cores
from bench.sweeps.engines.node import Order
from bench.sweeps.engines.server import LOAD_SECONDS, PRELOAD, shared
from bench.wording import count

CANCEL_SECONDS = 10.0  # for cancelled runs to end; after that, the whole connection is closed
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""The variables of the environment that hold, or lead to, the token of a cluster."""

PATIENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_agent_register_timeout_ms": "300000"}
"""How Ray is started: a busy machine takes longer than its 30 s to start its helpers, and it would give up."""

LEAVE_SECONDS = 5.0  # for Ray's driver to leave the cluster; after that, it is killed


def address_of(config: SweepConfig) -> str | None:
    """Return the address of the Ray cluster of a sweep; None: an instance of Ray on this machine."""
    return config.ray_address or os.environ.get("RAY_ADDRESS") or None


def make_slots(config: SweepConfig) -> tuple[list[Slot], str]:
    """Return a slot for each run at a time, and the device of the runs; connect to the cluster, or start Ray here.

    Equal slots share a device: the GPU of a node, or its processor. Raises DeclarationError and HardwareError.
    """
    check_sharing(config.gpus, config.runs_per_gpu, config.gpus_per_run)
    slots = slots_of(connection(config).nodes, config)
    if not slots:
        needs = ", ".join(f"{name} {amount:g}" for name, amount in resources(config).items())
        raise HardwareError(f"--engine ray: no node of the Ray cluster has what a run needs: {needs}")
    return slots, "cpu" if config.gpus == "0" else "cuda"


def resources(config: SweepConfig) -> dict[str, float]:
    """Return what a run reserves of a node, under the names of Ray's options."""
    needs: dict[str, float] = {"num_cpus": config.threads * config.gpus_per_run}
    if config.gpus != "0":
        # Ray counts in ten-thousandths.
        share = int(10_000 / config.runs_per_gpu) / 10_000
        return needs | {"num_gpus": config.gpus_per_run if config.runs_per_gpu == 1 else share}
    if config.max_memory_gb is not None:
        needs["memory"] = int(config.max_memory_gb * 2**30)
    return needs


def slots_of(nodes: Sequence[dict[str, Any]], config: SweepConfig) -> list[Slot]:
    """Return the slots that nodes with these resources make, at most those that --gpus and --workers allow.

    With --workers, there may be more slots than there is room for now: a cluster may grow.
    """
    needs = {{"num_cpus": "CPU", "num_gpus": "GPU"}.get(name, name): size for name, size in resources(config).items()}
    slots: list[Slot] = []
    for node in nodes:
        room = int(min((node.get(name, 0.0) + 1e-6) / size for name, size in needs.items()))
        gpu = [{} if config.gpus == "0" else {"CUDA_VISIBLE_DEVICES": _gpus(i, config)} for i in range(room)]
        slots += [{"node": str(node["id"])} | which for which in gpu]
    if config.gpus not in ("0", "all"):
        slots = slots[: int(config.gpus) * config.runs_per_gpu // config.gpus_per_run]
    if config.workers is not None and slots:
        slots = slots[: config.workers] + [{"node": ""}] * (config.workers - len(slots))
    return slots


def _gpus(index: int, config: SweepConfig) -> str:
    first = index // config.runs_per_gpu * config.gpus_per_run
    return ",".join(str(gpu) for gpu in range(first, first + config.gpus_per_run))


def free_memory(config: SweepConfig, slots: Sequence[Slot]) -> int:
    """Return the bytes that one run may use if all slots are taken: of what Ray found free when a node was started.

    Raises DeclarationError where runs use GPUs, whose memory Ray does not tell, and HardwareError.
    """
    if config.gpus != "0":
        raise DeclarationError("--engine ray: Ray does not tell the memory of GPUs; add --memory-gb")
    runs = Counter(slot["node"] for slot in slots)
    return min(int(node["memory"]) // runs[node["id"]] for node in connection(config).nodes if node["id"] in runs)


class RayEngine(Engine):
    """Executes each attempt of a run as a task of Ray. No file system is shared with its nodes."""

    def __init__(self, config: SweepConfig, concurrency: int, run: str = RUN, preload: Sequence[str] = PRELOAD) -> None:
        self.concurrency = concurrency
        self._connection = connection(config)
        self._resources = resources(config)
        self._order = Order(run, tuple(preload), config.stall_seconds)
        self._waiting: deque[Job] = deque()
        self._running: dict[str, Job] = {}

    def start_server(self) -> None:
        """Do nothing: Ray runs already, and starts its workers when they are needed."""

    def wait_for_server(self) -> None:
        """Do nothing."""

    @property
    def num_open(self) -> int:
        """How many jobs are running or waiting."""
        return len(self._running) + len(self._waiting)

    def submit(self, job: Job) -> None:
        """Hand a job to Ray as soon as fewer than `concurrency` are there. Raises HardwareError."""
        self._waiting.append(job)
        self._start_waiting()

    def decide(self, job: Job, keep_going: bool) -> None:
        """Answer a job that asked after an epoch."""
        self._connection.send("decide", job.id, keep_going)

    def wait(self, timeout: float) -> list[Event]:
        """Return what happened since the last call. Raises HardwareError if the cluster is lost."""
        events = []
        for kind, job_id, first, second in self._connection.receive(timeout):
            job = self._running.pop(job_id) if kind == "ended" else self._running[job_id]
            if kind == "ended":
                events.append(Event(job, "ended", cause=first, seconds=second))
            else:
                events.append(Event(job, kind, first, second))
        self._start_waiting()
        return events

    def close(self) -> None:
        """Cancel what runs and forget what waits; if that takes too long, leave the cluster, which ends its tasks."""
        self._waiting.clear()
        end = time.monotonic() + CANCEL_SECONDS
        try:
            if self._running:
                self._connection.send("cancel")
            while self._running and time.monotonic() < end:
                for kind, job_id, *_ in self._connection.receive(0.25):
                    if kind == "ended":
                        del self._running[job_id]
        except HardwareError:
            pass
        if self._running:
            self._connection.close()
            self._running.clear()

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self.concurrency:
            job = self._waiting.popleft()
            self._running[job.id] = job
            absolute = Job(job.id, job.folder.absolute(), job.ask_pruner)
            self._connection.send("submit", absolute, self._order, self._resources)


class Connection:
    """The process that is Ray's driver. It is below a fork server, with which it ends when the coordinator does."""

    def __init__(self, address: str | None, cores: int, environment: dict[str, str]) -> None:
        self._name = "the Ray instance on this machine" if address is None else f"the Ray cluster at {address}"
        self._server = shared(())
        self._server.wait_until_ready()
        arguments = (address, cores)
        self._child = self._server.fork("bench.sweeps.engines.ray:drive", arguments, environment, os.devnull)
        self._nodes: list[dict[str, Any]] | None = None
        self._end = time.monotonic() + LOAD_SECONDS

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """The nodes of the cluster, with their resources, once it answers. Raises HardwareError."""
        while self._nodes is None:
            if time.monotonic() > self._end:
                raise HardwareError(f"{self._name} has not answered for {LOAD_SECONDS:.0f} s")
            for message in self.receive(0.25):
                self._nodes = message[1]
        return self._nodes

    def send(self, *message: Any) -> None:
        """Send an order. Raises HardwareError if the driver has ended."""
        try:
            self._child.pipe.send(message)
        except OSError:
            raise self._lost() from None

    def receive(self, timeout: float) -> list[tuple[Any, ...]]:
        """Return what has arrived, waiting up to `timeout` seconds for it. Raises HardwareError."""
        messages = []
        pipe, channel = self._child.pipe, self._server.channel
        try:
            wait([pipe, *([channel] if channel is not None else [])], timeout)
            self._server.update()
            while pipe.poll():
                message = pipe.recv()
                if message[0] == "failed":
                    raise self._lost(message[1])
                messages.append(message)
        except (EOFError, OSError):
            if not messages:
                raise self._lost() from None
        return messages

    def close(self) -> None:
        """End the driver, and with it all its tasks; the next sweep starts another."""
        _connect.cache_clear()
        self._child.pipe.close()
        end = time.monotonic() + LEAVE_SECONDS
        while self._child.status is None and self._server.channel is not None and time.monotonic() < end:
            wait([self._server.channel], 0.05)
            self._server.update()
        self._server.end([self._child])

    def _lost(self, reason: str = "") -> HardwareError:
        self.close()
        cause = reason or "the connection was lost"
        return HardwareError(f"{self._name}: {cause}; when it is there again, run the same command to resume")


def connection(config: SweepConfig) -> Connection:
    """Return this process's connection to the cluster of a sweep. Raises DeclarationError."""
    if importlib.util.find_spec("ray") is None:
        raise DeclarationError("--engine ray: Ray is not installed; run: pip install 'sequence-model-bench[ray]'")
    address = address_of(config)
    if address is not None:
        _check_address(address)
    return _connect(address, config.threads * config.workers if config.workers else usable_cores())


def _check_address(address: str) -> None:
    """Raise DeclarationError for an address that the bench does not connect to."""
    if address.startswith("ray://"):
        rule = "a client outside of the cluster cannot follow runs; start the sweep on a node of the cluster, with"
        raise DeclarationError(f"--ray-address {address}: {rule} --ray-address auto")
    has_token = any(map(os.environ.get, TOKENS)) or (Path.home() / ".ray" / "auth_token").exists()
    if not has_token or os.environ.get("RAY_AUTH_MODE", "token") != "token":
        rule = "a cluster without a token runs the code of anyone who reaches it; docs/clusters.md shows how to set one"
        raise DeclarationError(f"--ray-address {address}: {rule}")


@functools.cache
def _connect(address: str | None, cores: int) -> Connection:
    # The fork server may be older than the settings of Ray in this environment.
    environment = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    environment |= PATIENT | {"RAY_AUTH_MODE": "token", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if address is None:
        environment["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    opened = Connection(address, cores, environment)
    atexit.register(opened.close)  # before the fork server ends, which kills what is below it
    return opened


def hardware(slots: Sequence[Slot]) -> str:
    """Return what the runs of a sweep execute on, as its environment names it."""
    return f"Ray cluster of {count(len({slot['node'] for slot in slots}), 'node')}"
