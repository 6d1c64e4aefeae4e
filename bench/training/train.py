"""One run: a configuration in, a record out.

Knows neither Optuna nor MLflow. Whoever starts a run hears of it through `on_report` and may end it early. The ranks
of a run on several devices are made here, in its own process.
"""

import hashlib
import logging
import math
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch

from bench.config.contracts import Task, TextTask
from bench.config.datasets import make_task
from bench.config.settings import RunConfig
from bench.errors import BenchError
from bench.results.record import Asked, Epoch, RunRecord, Seconds, read_crashes, write_json
from bench.training import ddp, generation, launchers, timing
from bench.training import energy as energies
from bench.training.datamodule import DataModule, to_tensors
from bench.training.energy import EnergyMeter
from bench.training.ledger import Ledger, PeakMemory, environment, prepare_process
from bench.training.module import SequenceModule

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Report(NamedTuple):
    """Progress of a run: a tick about once a second, and one at the end of every epoch with its validation score."""

    kind: Literal["tick", "epoch"]
    steps: int
    value: float | None = None  # the task's primary metric


OnReport = Callable[[Report], bool]  # False ends the run: it is pruned
TICK_SECONDS = 1.0


def run(config: RunConfig, on_report: OnReport = lambda report: True, folder: Path | None = None) -> RunRecord:
    """Carry out one run and return its record; whatever goes wrong inside it is a record too.

    With a `folder`, long runs leave a checkpoint there and go on from it, and confirm runs leave their weights. A test
    run finds these weights beside its own folder, and leaves texts there where they are a language model's.
    """
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    ledger, memory = Ledger(config.device), PeakMemory(config.device)
    energy, cpu_seconds = EnergyMeter(config.device), energies.cpu_seconds()

    def metered(report: Report) -> bool:
        energy.joules()  # a counter of the CPU turns over after some minutes
        return on_report(report)

    facts: dict[str, Any] = {"state": "complete"}
    try:
        if config.phase in ("screen", "confirm", "probe"):
            facts |= _train(config, metered, folder, ledger)
        elif config.phase == "test":
            facts |= _test(config, folder, ledger)
        elif config.phase == "baselines":
            facts |= _baselines(config, folder, ledger)
        else:
            facts |= _speed(config, ledger)
    except (torch.OutOfMemoryError, MemoryError) as error:
        facts = {"state": "failed", "cause": "out_of_memory", "message": _told(error, config.model)}
    except Exception as error:  # noqa: BLE001 - model code may raise anything, and a failed run is a result
        # PyTorch has no class of its own for memory that the CPU's allocator could not get.
        cause = "out_of_memory" if "can't allocate memory" in str(error) else "error"
        facts = {"state": "failed", "cause": cause, "message": _told(error, config.model)}
        if not isinstance(error, BenchError):
            traceback.print_exc()
    joules, source = energy.joules()
    facts = {"peak_memory_bytes": memory.bytes()} | facts
    return RunRecord(
        config=config,
        asked=Asked.model_validate(make_task(config.task, config.length, config.task_arguments)),
        **facts,
        seconds=Seconds(**ledger.seconds, total=sum(ledger.seconds.values())),
        cpu_seconds=(energies.cpu_seconds() - cpu_seconds) * config.num_devices,
        energy_joules=joules,
        energy_from=source,
        environment=environment(config.device),
        started_at=started_at,
    )


def run_in_folder(folder: Path, on_report: OnReport, submitted: float) -> None:
    """Carry out the run that `folder/config.json` describes and leave `folder/record.json`: a run process's whole work.

    `submitted` is the monotonic time at which the run was handed over, so that the process's start is on the bill.
    """
    config = RunConfig.read(folder / "config.json")

    def work(rank: int) -> None:
        waited = time.monotonic() - submitted
        prepare_process(config.threads)
        record = run(config, on_report if rank == 0 else lambda report: True, folder)
        if rank > 0 and record.state != "failed":
            return
        crashes = read_crashes(folder)
        crashed = sum(crash["seconds"] for crash in crashes)
        seconds = {"waiting": record.seconds.waiting + waited, "crashed": crashed}
        seconds["total"] = time.monotonic() - submitted + crashed
        update = {"crashes": [crash["cause"] for crash in crashes]}
        record = record.model_copy(update=update | {"seconds": record.seconds.model_copy(update=seconds)})
        record.write(folder)
        if rank > 0:
            raise SystemExit(1)  # the other ranks wait for this one, in vain

    if config.num_devices > 1 and config.phase in ("screen", "confirm", "probe"):
        ddp.spread(config.num_devices, work)
    else:
        work(0)


def _train(config: RunConfig, on_report: OnReport, folder: Path | None, ledger: Ledger) -> dict[str, Any]:
    with ledger.spent_on("setup"):
        torch.manual_seed(config.seed)
        task = make_task(config.task, config.length, config.task_arguments)
        module = SequenceModule(task, config)
        if task.causal and not module.encoder.causal:
            raise BenchError(f"{config.task} may not see the future, and {config.space} does: not applicable")
        known = {"parameters": module.parameter_counts(), "state_size": module.encoder.state_size(task.num_steps)}
        allowed, found = config.limits.parameters, sum(known["parameters"].values())
        if config.phase == "screen" and allowed is not None and found > allowed:
            message = f"{found:,} parameters, and --max-parameters is {allowed:,}"
            return known | {"state": "pruned", "cause": "limit", "message": message}
        data = DataModule(task, config, ledger)
        watch = _Watch(config, data, on_report, folder, ledger)
        trainer = _trainer(config, watch)
        checkpoint, ignored = _find_checkpoint(folder)
        module.train()
    with ledger.spent_on("train"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on loggers, workers and intervals we chose knowingly
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    if checkpoint is not None or watch.checkpoint is not None:
        for path in (checkpoint, watch.checkpoint):
            if path is not None:
                path.unlink(missing_ok=True)
    facts = watch.facts(module) | known | {"checkpoint_ignored": ignored}
    if facts["state"] == "complete":
        if config.limits.inference_ms is not None or "latency" in config.objectives:
            with ledger.spent_on("evaluate"):
                facts["inference_milliseconds"] = timing.latency(module, to_tensors(data.val), config)
        if config.phase == "confirm" and folder is not None:
            with ledger.spent_on("logging"):
                torch.save(watch.best_weights, folder / "weights.pt")
    return facts


def _test(config: RunConfig, folder: Path | None, ledger: Ledger) -> dict[str, Any]:
    """Open the test split, with the weights that each of the confirm runs had in its best epoch.

    A language model also writes texts, with the weights of the first of them: one seed is enough to see what they are
    like, and nothing is ranked by them.
    """
    if folder is None:
        raise BenchError(f"{config.run}: a test run needs the folder where the confirm runs left their weights")
    with ledger.spent_on("setup"):
        task = make_task(config.task, config.length, config.task_arguments)
        data, module = DataModule(task, config, ledger), SequenceModule(task, config)
        trainer = _trainer(config, None)
        split = data.test
    tests: dict[str, dict[str, float]] = {}
    for run_id in config.opens_test_of:
        with ledger.spent_on("setup"):
            path = folder.parent / Path(run_id).name / "weights.pt"
            module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        with ledger.spent_on("evaluate"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.test(module, datamodule=data, verbose=False)
            tests[run_id] = module.evaluated(split)
        if isinstance(task, TextTask) and run_id == config.opens_test_of[0]:
            with ledger.spent_on("evaluate"):
                module.to(config.device)  # Lightning has taken it back
                texts = {t: generation.samples(module, task, t, seed=0) for t in generation.TEMPERATURES}
                for temperature, found in generation.measures(texts, task).items():
                    tests[run_id] |= {f"{name}_t{temperature}": value for name, value in found.items()}
                write_json(path.with_name("samples.json"), texts)
    return {"tests": tests, "parameters": module.parameter_counts()}


def _speed(config: RunConfig, ledger: Ledger) -> dict[str, Any]:
    with ledger.spent_on("setup"):
        torch.manual_seed(config.seed)
        task = make_task(config.task, config.length, config.task_arguments)
        module = SequenceModule(task, config)
        batch = to_tensors(task.train_batch(config.seed, 0, config.train.batch_size))
    with ledger.spent_on("evaluate"):
        memory = PeakMemory(config.device)  # after the data, and what loads them, are there
        speed = timing.speed(module, batch, config)
        facts: dict[str, Any] = {"peak_memory_bytes": memory.bytes(), "parameters": module.parameter_counts()}
        facts |= {"state_size": module.encoder.state_size(task.num_steps)}
        facts |= {"kernels": timing.kernels(module, batch, config)}
        return facts | {"speed": speed | {name: float(count) for name, count in timing.flops(module, task).items()}}


def _baselines(config: RunConfig, folder: Path | None, ledger: Ledger) -> dict[str, Any]:
    """Score the cheap baselines on the test split; those of a language model also write texts, at temperature 1."""
    with ledger.spent_on("setup"):
        task = make_task(config.task, config.length, config.task_arguments)
    with ledger.spent_on("evaluate"):
        return _cheap(config, task, folder)


def _cheap(config: RunConfig, task: Task, folder: Path | None) -> dict[str, Any]:
    scores = {name: float(value) for name, value in task.baselines(config.train.num_test).items()}
    if not isinstance(task, TextTask):
        return {"baselines": scores}
    orders = {"uniform": 0, "unigram": 1, f"Kneser-Ney {generation.ORDER}-gram": generation.ORDER}
    texts = {name: generation.n_gram_samples(task, order, seed=0) for name, order in orders.items()}
    if folder is not None:
        write_json(folder / "samples.json", texts)
    tests = {
        name: {task.metric: scores[name]} | {f"{measure}_t1.0": value for measure, value in found.items()}
        for name, found in generation.measures(texts, task).items()
    }
    return {"baselines": scores, "tests": tests}


def _trainer(config: RunConfig, watch: "_Watch | None") -> pl.Trainer:
    """Return a Trainer without what costs time at every step: logging, progress bars, summaries, sanity checks."""
    shared = config.num_devices > 1 and watch is not None
    if not shared:
        launchers.forget()
    return pl.Trainer(
        accelerator="gpu" if config.device == "cuda" else "cpu",
        devices=config.num_devices if shared else 1,
        strategy=ddp.strategy(config.device) if shared else "auto",
        precision=config.precision,
        max_epochs=config.train.num_epochs,
        callbacks=[_KeepSignals(), *([watch] if watch is not None else [])],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


class _KeepSignals(pl.Callback):
    """Undoes Lightning's handling of SIGTERM, which would end a run: its process decides what a signal means."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remember the handler before Lightning replaces it."""
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the handler back, which only the main thread may do."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)

    on_test_start = on_train_start


class _Watch(pl.Callback):
    """Watches a run: validations, best weights, when it is solved, and reports of all that; keeps checkpoints."""

    def __init__(
        self, config: RunConfig, data: DataModule, on_report: OnReport, folder: Path | None, ledger: Ledger
    ) -> None:
        self.config, self.data, self.on_report, self.folder, self.ledger = config, data, on_report, folder, ledger
        self.epochs: list[Epoch] = []
        self.best_epoch = -1
        self.best_weights: dict[str, torch.Tensor] = {}
        self.solved_at: Epoch | None = None
        self.ended: dict[str, Any] = {}  # state, cause and message of a run that was ended before its time
        self.checkpoint: Path | None = None
        self.earlier_seconds = 0.0  # of training before the checkpoint this run went on from
        self._burnt_in = False
        self._last_tick = self._last_checkpoint = time.monotonic()

    @property
    def train_seconds(self) -> float:
        """Seconds of training so far, validations not counted."""
        return self.earlier_seconds + sum(self.ledger.so_far(part) for part in ("data", "burn_in", "train"))

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        if not self._burnt_in:
            self.ledger.switch("burn_in")

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        if not self._burnt_in:
            self.ledger.back()
            self._burnt_in = True
        now = time.monotonic()
        if now - self._last_tick > TICK_SECONDS:
            self._last_tick = now
            self.on_report(Report("tick", module.train_steps))
            # The ranks of a shared run have to stop at the same step, and see each other at validations only.
            if self.config.num_devices == 1:
                self._check_time(trainer)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.ledger.switch("evaluate")

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, SequenceModule)
        task, steps = module.task, module.train_steps
        scores = module.evaluated(self.data.val)
        train_loss = ddp.mean(trainer, module.train_loss) / self.config.train.steps_per_epoch
        module.train_loss = torch.zeros_like(module.train_loss)
        self.ledger.back()
        if self.ended:
            return
        if not math.isfinite(train_loss) or not all(map(math.isfinite, scores.values())):
            message = f"loss or score became non-finite in epoch {len(self.epochs)}"
            self._end(trainer, "failed", "non_finite", message)
            return
        sequences = steps * self.config.train.batch_size
        epoch = Epoch(
            steps=steps, sequences=sequences, train_seconds=self.train_seconds, train_loss=train_loss, val=scores
        )
        self.epochs.append(epoch)
        sign = 1 if task.goal == "maximize" else -1
        score = scores[task.metric]
        if self.best_epoch < 0 or sign * score > sign * self.epochs[self.best_epoch].val[task.metric]:
            self.best_epoch = len(self.epochs) - 1
            if self.config.phase == "confirm":
                self.best_weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        # Two validations in a row: one may be a lucky peak.
        if task.solved is not None and len(self.epochs) > 1:
            last = [sign * past.val[task.metric] for past in self.epochs[-2:]]
            if min(last) >= sign * task.solved:
                self.solved_at, trainer.should_stop = epoch, True
        with self.ledger.spent_on("waiting" if self.config.ask_pruner else "logging"):
            keep_going = ddp.agree(trainer, self.on_report(Report("epoch", steps, score)))
        if trainer.should_stop:
            return
        if not keep_going:
            self._end(trainer, "pruned", "pruner", f"ended after {sequences:,} sequences, worse than others there")
        elif _diverged([past.train_loss for past in self.epochs]):
            best = min(past.train_loss for past in self.epochs)
            message = f"loss {train_loss:.3g} in epoch {len(self.epochs) - 1}, after {best:.3g} at its best"
            self._end(trainer, "failed", "diverged", message)
        else:
            self._check_time(trainer)

    def _check_time(self, trainer: pl.Trainer) -> None:
        allowed = self.config.max_seconds
        if allowed is not None and not ddp.agree(trainer, self.train_seconds <= allowed) and not self.ended:
            message = f"trained for {self.train_seconds:.0f} s, and --max-run-seconds is {allowed:g}"
            self._end(trainer, "failed", "timeout", message)

    def _end(self, trainer: pl.Trainer, state: str, cause: str, message: str) -> None:
        self.ended = {"state": state, "cause": cause, "message": message}
        trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        due = time.monotonic() - self._last_checkpoint > self.config.checkpoint_seconds
        if self.folder is None or not due or trainer.should_stop:
            return
        self.ledger.switch("logging")
        # Lightning's own writing is atomic only where TMPDIR is on the same file system; and a flipped byte would load.
        temporary = self.folder / "checkpoint.part"
        trainer.save_checkpoint(temporary)
        path = self.folder / f"checkpoint-{_checksum(temporary)}.ckpt"
        temporary.replace(path)
        if self.checkpoint is not None:
            self.checkpoint.unlink()
        self.checkpoint = path
        self.ledger.back()
        self._last_checkpoint = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return what a run needs to go on as if it had not stopped."""
        return {
            "epochs": [epoch.model_dump() for epoch in self.epochs],
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "train_seconds": self.epochs[-1].train_seconds if self.epochs else 0.0,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state() if self.config.device == "cuda" else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.epochs = [Epoch(**epoch) for epoch in state_dict["epochs"]]
        self.best_epoch = state_dict["best_epoch"]
        self.best_weights = state_dict["best_weights"]
        self.earlier_seconds = state_dict["train_seconds"]
        torch.set_rng_state(state_dict["rng"].cpu())
        if state_dict["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state_dict["cuda_rng"].cpu())

    def facts(self, module: SequenceModule) -> dict[str, Any]:
        """Return the part of the record that training decides."""
        facts: dict[str, Any] = {
            "state": "complete",
            "epochs": self.epochs,
            "train_steps": module.train_steps,
            "train_sequences": module.train_steps * self.config.train.batch_size,
            "train_tokens": module.train_tokens,
            "solved": self.solved_at is not None if self.data.task.solved is not None else None,
        } | self.ended
        if self.best_epoch >= 0:
            facts |= {"best_epoch": self.best_epoch, "val": self.epochs[self.best_epoch].val}
        if self.solved_at is not None:
            facts["sequences_to_solve"] = self.solved_at.sequences
            facts["seconds_to_solve"] = self.solved_at.train_seconds
        return facts


def _diverged(losses: list[float]) -> bool:
    """Whether the loss of the last three epochs was more than twice the best one, and not by a hair.

    An epoch's loss close to zero doubles by chance: the excess has to be a tenth of the first epoch's loss as well.
    """
    best = min(losses)
    return len(losses) > 3 and min(losses[-3:]) > max(2 * best, best + 0.1 * losses[0])


def _find_checkpoint(folder: Path | None) -> tuple[Path | None, bool]:
    """Return the checkpoint to go on from, and whether a damaged one was left aside."""
    found = sorted(folder.glob("checkpoint-*.ckpt")) if folder is not None else []
    sound = [path for path in found if path.stem == f"checkpoint-{_checksum(path)}"]
    for path in set(found) - set(sound[-1:]):
        path.unlink()
    return (sound[-1] if sound else None), len(sound) < len(found)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _told(error: BaseException, model: str) -> str:
    """Return an error in one line, with the innermost line of a model of one's own that it came through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == model]
    where = f"{Path(model).name}, line {lines[-1]}: " if lines else ""
    return where + f"{type(error).__name__}: {str(error).strip() or 'no message'}".splitlines()[-1][:500]
