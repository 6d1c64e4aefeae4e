"""Several processes that train one run together (DDP), forked by the run's own process.

Lightning's `strategy="ddp"` would start the other ranks with the coordinator's command line: a second sweep. Here the
run process forks them before any tensor work and describes them in the environment, as a cluster's launcher does.
"""

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy

from bench.training import signals


def spread(num_ranks: int, work: Callable[[int], None]) -> None:
    """Fork `num_ranks` processes that each call `work(rank)`; return when all have ended.

    If one fails, the others are killed, because they would wait for it. Raises SystemExit then.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(num_ranks), NODE_RANK="0")
    children = set()
    for rank in range(num_ranks):
        pid = os.fork()
        if pid == 0:
            os._exit(_call(work, rank))
        children.add(pid)
    code = 0
    while children:
        pid, status = os.wait()
        if pid not in children:  # a process that a model left behind, and this one has adopted
            continue
        children.discard(pid)
        if status and not code:
            code = os.waitstatus_to_exitcode(status)
            for other in children:
                os.kill(other, signal.SIGKILL)
    if code < 0:
        # So that this process is seen to end by the same signal; those of a stop it ignores.
        os.kill(os.getpid(), signal.SIGKILL if -code in signals.STOPS else -code)
    elif code:
        sys.exit(code)


def _call(work: Callable[[int], None], rank: int) -> int:
    os.environ.update(LOCAL_RANK=str(rank), RANK=str(rank))
    signals.ignore_stops()
    try:
        work(rank)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - nothing may climb out of a forked process
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def strategy(device: str) -> DDPStrategy:
    """Return Lightning's DDP for ranks that already run."""
    return DDPStrategy(process_group_backend="nccl" if device == "cuda" else "gloo")


def mean(trainer: pl.Trainer, value: torch.Tensor) -> float:
    """Return the mean of a number over all ranks; each rank gets the same."""
    if trainer.world_size > 1:
        value = trainer.strategy.reduce(value, reduce_op="mean")
    return float(value)


def agree(trainer: pl.Trainer, answer: bool) -> bool:
    """Return the answer of rank 0 on every rank."""
    return bool(trainer.strategy.broadcast(answer)) if trainer.world_size > 1 else answer
