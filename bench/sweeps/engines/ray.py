"""Ray's driver, a process beside the coordinator, and the tasks that it starts: the only file that imports Ray.

Ray ends its driver where it loses its node or the head of its cluster, and it takes over signals. In a process of its
own it cannot end the coordinator, which then says what happened. The pipe carries ("submit", job, order, resources),
("decide", id, keep_going) and ("cancel",); back come ("ready", nodes), ("tick" or "epoch", id, steps, value),
("ended", id, cause, seconds) and ("failed", message).
"""

import asyncio
import contextlib
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bench.errors import BenchError
from bench.sweeps.engines.engine import Job
from bench.sweeps.engines.node import Order, carry_out, own_folder, software
from bench.sweeps.engines.parcels import Message, Parcel, Receiver, Sender

STORE_BYTES = 200 * 2**20
"""The object store of a local instance. Files pass through it in pieces."""

LOST_SECONDS = 40.0
"""Without an answer from the head of the cluster, after which it counts as lost."""


class Mailbox:
    """An actor in which a run finds the coordinator's answers: the messages of a task go one way only."""

    def __init__(self) -> None:
        self._answers: defaultdict[str, asyncio.Queue[bool]] = defaultdict(asyncio.Queue)

    async def put(self, attempt: str, answer: bool) -> None:
        """Leave an answer for an attempt of a run."""
        self._answers[attempt].put_nowait(answer)

    async def take(self, attempt: str) -> bool:
        """Wait for the next answer for an attempt."""
        answer = await self._answers[attempt].get()
        if self._answers[attempt].empty():
            del self._answers[attempt]
        return answer


def attempt(parcel: Parcel, order: Order, mailbox: Any, attempt_id: str) -> Iterator[list[Message]]:
    """Execute a run; this is the whole work of a task."""
    gpus = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    slot = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} | ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if gpus else {})
    yield [("node", ray.get_runtime_context().get_node_id(), os.environ.get("RAY_AUTH_MODE", ""), software())]
    yield from carry_out(
        *(parcel, order, mailbox is not None, slot, ray.get),
        lambda: bool(ray.get(mailbox.take.remote(attempt_id))),
    )


def drive(pipe: Connection, address: str | None, cores: int) -> None:
    """Be Ray's driver until the pipe is closed. Without an address, start an instance of Ray on this machine."""
    # Ray makes sockets there, whose paths may have at most 107 characters.
    with own_folder(Path(tempfile.gettempdir()) / f"bench-ray-{os.getuid()}") as folder:
        try:
            common: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
            if address is None:
                local = {"num_cpus": cores, "object_store_memory": STORE_BYTES, "_temp_dir": str(folder)}
                ray.init(address="local", include_dashboard=False, **local, **common)
            else:
                ray.init(address=address, **common)
            _Driver(pipe, is_local=address is None).serve()
        except EOFError:
            pass
        except Exception as error:  # noqa: BLE001 - the coordinator says it
            pipe.send(("failed", _line(error)))
        finally:
            ray.shutdown()


class _Driver:
    def __init__(self, pipe: Connection, is_local: bool) -> None:
        self._pipe, self._lock = pipe, threading.Lock()
        self._is_local = is_local
        self._sender = Sender(ray.put, sends_data=not is_local)
        self._task = ray.remote(max_retries=0, num_returns="streaming")(attempt)
        self._attempts: dict[str, tuple[str, Any]] = {}  # of each job: its own name, and the generator of its messages
        self._mailbox: Any = None
        self._count = 0

    def serve(self) -> None:
        """Follow the coordinator's orders. Raises EOFError once it is gone."""
        self._send("ready", self._nodes())
        threading.Thread(target=self._watch, daemon=True).start()
        while True:
            match self._pipe.recv():
                case ("submit", job, order, resources):
                    self._submit(job, order, resources)
                case ("decide", job_id, keep_going):
                    if job_id in self._attempts:
                        self._mailbox.put.remote(self._attempts[job_id][0], keep_going)
                case ("cancel",):
                    for _, messages in list(self._attempts.values()):
                        ray.cancel(messages, force=True)

    def _nodes(self) -> list[dict[str, Any]]:
        return [{"id": node["NodeID"], **node["Resources"]} for node in ray.nodes() if node["Alive"]]

    def _submit(self, job: Job, order: Order, resources: dict[str, float]) -> None:
        if job.ask_pruner and self._mailbox is None:
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            actor = ray.remote(num_cpus=0, max_concurrency=10_000)(Mailbox)
            self._mailbox = actor.options(scheduling_strategy=here).remote()
        self._count += 1
        name = f"{job.id} {self._count}"
        options = {**resources, "name": f"bench {job.id}"}
        mailbox = self._mailbox if job.ask_pruner else None
        messages = self._task.options(**options).remote(self._sender.parcel(job.folder), order, mailbox, name)
        self._attempts[job.id] = name, messages
        threading.Thread(target=self._follow, args=(job, messages), daemon=True).start()

    def _follow(self, job: Job, messages: Any) -> None:
        """Take in what one attempt of a run sends, until it ends."""
        started, cause = None, "killed"
        try:
            receiver = Receiver(job.folder)
            for batch in messages:
                for message in ray.get(batch):
                    match message:
                        case ("node", node, mode, found):
                            started = time.monotonic()
                            self._check_node(node, mode, found)
                        case ("tick" | "epoch" as kind, steps, value):
                            self._send(kind, job.id, steps, value)
                        case ("ended", cause, seconds):
                            self._end(job, cause, seconds)
                            return
                        case _:
                            receiver.take(message)
        except exceptions.RayTaskError as error:
            self._send("failed", f"a run could not start on a node of the Ray cluster: {_line(error.cause or error)}")
            return
        except exceptions.OutOfMemoryError:
            cause = "out_of_memory"
        except (exceptions.NodeDiedError, exceptions.ObjectLostError):
            cause = "node_lost"
        except exceptions.RayError:
            pass
        except Exception as error:  # noqa: BLE001 - such as a full disk
            self._send("failed", _line(error))
            return
        seconds = 0.0 if started is None else time.monotonic() - started
        _wait_for_head()
        self._end(job, cause, seconds)

    def _end(self, job: Job, cause: str | None, seconds: float) -> None:
        self._attempts.pop(job.id, None)
        self._send("ended", job.id, cause, seconds)

    def _check_node(self, node: str, mode: str, found: dict[str, str]) -> None:
        if mode != "token" and not self._is_local:
            rule = "was started without token authentication, so anyone who reaches it can run code there"
            raise BenchError(f"Ray's node {node[:8]} {rule}; start it with RAY_AUTH_MODE=token")
        for name, version in software().items():
            if found.get(name) != version:
                rule = f"a node of the Ray cluster has {name} {found.get(name)}, but this machine has {version}"
                raise BenchError(f"{rule}; install the same on all of them")

    def _watch(self) -> None:
        """Say that the cluster is lost: Ray itself would wait for its head for a minute, and then end this process."""
        heard = [time.monotonic()]

        def ask() -> None:
            while True:
                ray.nodes()
                heard[0] = time.monotonic()
                time.sleep(LOST_SECONDS / 10)

        threading.Thread(target=ask, daemon=True).start()
        while time.monotonic() - heard[0] < LOST_SECONDS:
            time.sleep(1.0)
        self._send("failed", "the head of the Ray cluster gives no answer")

    def _send(self, *message: Any) -> None:
        with self._lock:
            self._pipe.send(message)


def _wait_for_head() -> None:
    """Return once the head of the cluster answers: without it, all runs end, and the cluster is lost, not a run."""
    while True:
        with contextlib.suppress(Exception):
            ray.nodes()
            return
        time.sleep(1.0)


def _line(error: BaseException) -> str:
    if isinstance(error, BenchError):
        return str(error)
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
