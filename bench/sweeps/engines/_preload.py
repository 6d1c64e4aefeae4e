"""Import what every run needs, and train once. The fork server imports this module before it forks runs."""

import contextlib
import gc
import io

import torch

from bench.config.budgets import BUDGETS, train_settings
from bench.config.datasets import make_task
from bench.config.settings import RunConfig
from bench.training import ledger, train

# The first training step imports and compiles much; one tiny run does that for all runs. A build of torch for GPUs is
# left out: its autograd engine would start threads, and threads do not survive a fork.
if torch.version.cuda is None and torch.version.hip is None:
    ledger.prepare_process(threads=1)
    _CONFIG = RunConfig(
        sweep="",
        run="warm-up",
        phase="screen",
        number=0,
        dataset="latch",
        task="latch",
        length=8,
        task_arguments={},
        space="lstm",
        model="lstm",
        model_arguments={"hidden_size": 8},
        train=train_settings(BUDGETS["smoke"], make_task("latch", 8, {}), {"schedule": "cosine"}),
        seed=0,
    )
    # If this run fails, so does the first run of the sweep, which says why in its log.
    with contextlib.redirect_stderr(io.StringIO()):
        train.run(_CONFIG)
gc.collect()
gc.freeze()  # pages that the collector does not touch stay shared with the server
