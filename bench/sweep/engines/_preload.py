"""What the fork server imports once, so that a run process starts in hundredths of a second."""

import contextlib
import gc
import io

import torch

from bench.config.budgets import BUDGETS, train_settings
from bench.config.settings import RunConfig
from bench.training import ledger, train

# Much is imported and compiled at the first training step only. One tiny run here does it for all run processes.
# Not where a GPU might be used: there the autograd engine then has threads, which do not survive a fork.
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
        train=train_settings(BUDGETS["smoke"], {"schedule": "cosine"}),
        seed=0,
    )
    # A warm-up that fails is told by the first run, in its own log.
    with contextlib.redirect_stderr(io.StringIO()):
        train.run(_CONFIG)
gc.collect()
gc.freeze()  # pages that the collector does not touch stay shared with the server
