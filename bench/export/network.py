"""The network that is exported: the weights of one seed, or of all as an ensemble, as trained or trained again."""

import statistics
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.config.contracts import Batch, StoredTask, Task, TextTask
from bench.errors import DeclarationError, StoreError
from bench.results.record import RunRecord, records
from bench.training import weights
from bench.training.datamodule import to_tensors
from bench.training.ensemble import Ensemble
from bench.training.fit import refit
from bench.training.ledger import Ledger
from bench.training.module import SequenceModule
from bench.training.timing import latency
from bench.training.watch import Weights

SPLITS = {"val": "validation", "test": "test"}


class Network(NamedTuple):
    """A trained network, and what is to be known of it."""

    module: SequenceModule | Ensemble
    seeds: list[RunRecord]  # that an ensemble averages; empty for one seed
    refit_epochs: int | None  # after which training on train and val ended; None if it was not trained again

    @property
    def is_as_confirmed(self) -> bool:
        """Whether it is the network of a confirm run, whose scores are on record."""
        return not self.seeds and self.refit_epochs is None

    @property
    def facts(self) -> dict[str, Any]:
        """What config.json says of it, beside what it says of every network."""
        averaged = {"ensemble": [seed.config.run for seed in self.seeds]} if self.seeds else {}
        return averaged | ({"refit_epochs": self.refit_epochs} if self.refit_epochs is not None else {})

    def lines(self, run: RunRecord, batch: Batch, scores: dict[str, dict[str, float]]) -> list[str]:
        """Return lines on what an ensemble or a refit changed; `scores` are its own, by split."""
        metric, lines = run.asked.metric, []
        if isinstance(self.module, Ensemble):
            members = (self.module.members[0], self.module)
            (one, busy), (all_seeds, busier) = (latency(each, to_tensors(batch), run.config) for each in members)
            price = f"{all_seeds:.2g} ms for one sequence"
            if busy or busier:
                price += ", measured while other processes used the processor"
            else:
                price += f", {all_seeds / one:.1f} times as long as one seed"
            lines.append(f"ensemble of {len(self.seeds)} seeds: {price}")
        if self.refit_epochs is not None:
            steps = self.refit_epochs * run.config.train.steps_per_epoch
            lines.append(f"refit on train and val: {steps:,} steps, as many as were best on validation")
        shown = ", ".join(f"{SPLITS[name]} {values[metric]:.4g}" for name, values in scores.items() if values)
        return [*lines, f"{metric} of the exported model: {shown}"] if lines else []


def read(sweep: Path, run: RunRecord, task: Task, is_ensemble: bool, is_refit: bool) -> Network:
    """Return the network of a confirm run. Raises DeclarationError and StoreError.

    A refit trains on the training and validation part together, for as many steps as gave the best validation: the
    median over the seeds of the configuration.
    """
    seeds = _seeds(sweep, run)
    if is_ensemble and isinstance(task, TextTask):
        raise DeclarationError("--ensemble: not supported for language models; export without it")
    if is_ensemble and len(seeds) < 2:
        hint = "resume the sweep with --confirm-seeds 3, or with a longer --budget if it is a time"
        raise DeclarationError(f"--ensemble: needs at least two confirmed seeds, but found one; {hint}")
    if is_ensemble and task.keep == "tokens":
        raise DeclarationError(f"--ensemble: not supported for {run.config.task}, whose words cannot be averaged")
    if is_refit and (not isinstance(task, StoredTask) or isinstance(task, TextTask)):
        raise DeclarationError(f"--refit: not supported for {run.config.task}; export without it")
    chosen, epochs = (seeds if is_ensemble else [run]), None
    if is_refit:
        assert isinstance(task, StoredTask)
        epochs = statistics.median_low([seed.best_epoch or 0 for seed in seeds]) + 1
        modules = [_refit(seed, task, epochs) for seed in chosen]
    else:
        modules = [_module(sweep, seed, task) for seed in chosen]
    return Network(Ensemble(modules) if is_ensemble else modules[0], chosen if is_ensemble else [], epochs)


def _refit(run: RunRecord, task: StoredTask, epochs: int) -> SequenceModule:
    """Return a run's network, trained again on one device: that of the run, if this machine has it."""
    device = run.config.device if torch.cuda.is_available() else "cpu"
    config = run.config.model_copy(update={"num_devices": 1, "device": device})
    return refit(config, task, epochs, Ledger(device)).cpu()


def _seeds(sweep: Path, run: RunRecord) -> list[RunRecord]:
    """Return the complete confirm runs of a run's configuration."""
    confirmed = (record for record in records(sweep) if record.config.phase == "confirm" and record.state == "complete")
    return [record for record in confirmed if record.config.id.trial == run.config.id.trial]


def _module(sweep: Path, run: RunRecord, task: Task) -> SequenceModule:
    """Return a run's module with its trained weights. Raises StoreError."""
    module = SequenceModule(task, run.config)
    module.load_state_dict(weights_of(sweep, run))
    return module


def weights_of(sweep: Path, run: RunRecord) -> Weights:
    """Return the trained weights of a confirm run. Raises StoreError."""
    try:
        return weights.read(sweep / "runs" / run.config.run, run.weights_sha256)
    except StoreError as error:
        rule = "delete the record.json beside it and resume the sweep (with a longer --budget if it is a time)"
        raise StoreError(f"{error}; {rule}") from None


def middle_of(sweep: Path, run: RunRecord) -> tuple[int, Weights] | None:
    """Return the training steps that a confirm run had made half way, and its weights then; None if not kept.

    Raises StoreError if the file is damaged.
    """
    return weights.read_middle(sweep / "runs" / run.config.run)
