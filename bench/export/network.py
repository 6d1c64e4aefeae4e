"""The network that is exported: the weights of one seed, or of all as an ensemble, as trained or trained again."""

import statistics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from bench.config.contracts import Batch, StoredTask, Task, TextTask
from bench.errors import DeclarationError, StoreError
from bench.results.record import RunRecord, records
from bench.training.datamodule import to_tensors
from bench.training.ensemble import Ensemble
from bench.training.fit import refit
from bench.training.ledger import Ledger
from bench.training.module import SequenceModule
from bench.training.timing import latency


class Network(NamedTuple):
    """A trained network, and what is to be known of it."""

    module: SequenceModule | Ensemble
    seeds: list[RunRecord]  # that an ensemble averages; empty for one seed
    refit_epochs: int | None  # after which training on train and val ended; None if it was not trained again

    @property
    def facts(self) -> dict[str, Any]:
        """What config.json says of it, beside what it says of every network."""
        averaged = {"ensemble": [seed.config.run for seed in self.seeds]} if self.seeds else {}
        return averaged | ({"refit_epochs": self.refit_epochs} if self.refit_epochs is not None else {})


def read(sweep: Path, run: RunRecord, task: Task, is_ensemble: bool, is_refit: bool) -> Network:
    """Return the network of a confirm run. Raises DeclarationError and StoreError.

    A refit trains on the training and validation part together, for as many steps as gave the best validation: the
    median over the seeds of the configuration.
    """
    seeds = _seeds(sweep, run)
    if is_ensemble and isinstance(task, TextTask):
        raise DeclarationError("--ensemble: not supported for language models; export without it")
    if is_ensemble and len(seeds) < 2:
        raise DeclarationError("--ensemble: needs at least two confirmed seeds, but found one; use --confirm-seeds 3")
    if is_refit and (not isinstance(task, StoredTask) or isinstance(task, TextTask)):
        raise DeclarationError(f"--refit: not supported for {run.config.task}; export without it")
    chosen, epochs = (seeds if is_ensemble else [run]), None
    if is_refit:
        assert isinstance(task, StoredTask)
        epochs = statistics.median_low([seed.best_epoch or 0 for seed in seeds]) + 1
        modules = [refit(seed.config, task, epochs, Ledger(seed.config.device)).cpu() for seed in chosen]
    else:
        modules = [_module(sweep, seed, task) for seed in chosen]
    return Network(Ensemble(modules) if is_ensemble else modules[0], chosen if is_ensemble else [], epochs)


def remarks(network: Network, run: RunRecord, task: Task, batch: Batch, outputs: np.ndarray) -> list[str]:
    """Return lines on what an ensemble or a refit changed; `outputs` are those for the validation sequences `batch`."""
    lines = []
    if isinstance(network.module, Ensemble):
        both = [latency(each, to_tensors(batch), run.config) for each in (network.module.members[0], network.module)]
        price = f"{both[1]:.2g} ms for one sequence, {both[1] / both[0]:.1f} times as long as one seed"
        score = "" if network.refit_epochs else f"validation {task.score(outputs, batch)[task.metric]:.4g}; "
        lines.append(f"ensemble of {len(network.seeds)} seeds: {task.metric}: {score}{price}")
    if network.refit_epochs is not None:
        steps, size = network.refit_epochs * run.config.train.steps_per_epoch, run.config.train.batch_size
        test = task.split("test", run.config.train.num_test)
        with torch.inference_mode():
            parts = [
                network.module(torch.from_numpy(test.x[i : i + size]), torch.from_numpy(test.length[i : i + size]))
                for i in range(0, len(test.x), size)
            ]
        score = f"test {task.score(torch.cat(parts).numpy(), test)[task.metric]:.4g}"
        lines.append(f"refit on train and val: {steps:,} steps, as many as were best on validation; {score}")
    return lines


def _seeds(sweep: Path, run: RunRecord) -> list[RunRecord]:
    """Return the complete confirm runs of a run's configuration."""
    confirmed = (record for record in records(sweep) if record.config.phase == "confirm" and record.state == "complete")
    return [record for record in confirmed if record.config.id.trial == run.config.id.trial]


def _module(sweep: Path, run: RunRecord, task: Task) -> SequenceModule:
    """Return a run's module with its trained weights. Raises StoreError."""
    path = sweep / "runs" / run.config.run / "weights.pt"
    fix = "delete the record.json beside it and resume the sweep to train the run again"
    module = SequenceModule(task, run.config)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StoreError(f"{path}: missing; {fix}") from None
    except Exception as error:  # noqa: BLE001 - torch raises anything for a damaged file
        raise StoreError(f"{path}: damaged ({(str(error).splitlines() or [type(error).__name__])[0]}); {fix}") from None
    module.load_state_dict(weights)
    return module
