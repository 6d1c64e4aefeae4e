"""Runs that do not select: the test split, and the exclusive timing."""

import logging
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Trainer

from bench.config.contracts import (
    Batch,
    DetectionTask,
    SyntheticTask,
    Task,
    TextTask,
    TranslationTask,
    scores_on_test,
    spread,
)
from bench.config.datasets import make_task
from bench.config.settings import RunConfig
from bench.errors import BenchError
from bench.results.record import FORECASTS, TRANSCRIPTS, TRANSLATIONS, RunRecord, write_json
from bench.training import forecasts, generation, timing, weights
from bench.training.datamodule import DataModule, in_batches, to_tensors
from bench.training.details import details
from bench.training.ensemble import Average
from bench.training.fit import fit, make_trainer
from bench.training.ledger import Ledger, PeakMemory
from bench.training.micro_batches import divided
from bench.training.module import SequenceModule

_LOGGER = logging.getLogger(__name__)

BEAM_SENTENCES = 64  # in a batch of a search with a beam, which has several rows for each
KEPT_SENTENCES = 50  # of the test split whose translations or transcripts are stored


def test(config: RunConfig, task: Task, folder: Path | None, ledger: Ledger, changes_files: bool) -> dict[str, Any]:
    """Evaluate the test split with the weights that each of the confirm runs had in its best epoch, and their average.

    A language model also writes texts, and a translation is also searched with a beam, with the weights of the first
    run: one seed shows what they look like, and they do not count in a ranking. Texts, and weights that had to be
    trained again, are stored beside the confirm runs if it `changes_files`.
    """
    if folder is None:
        raise BenchError(f"{config.run}: a test run needs the folder in which the confirm runs left their weights")
    with ledger.spent_on("setup"):
        data, module = DataModule(task, config, ledger), SequenceModule(task, config)
        trainer = make_trainer(config)
        val, test = (data.val, data.val_dataloader()), (data.test, data.test_dataloader())
        averages = {"val": Average(task), "test": Average(task)}
        lengths = _of_lengths(config)
    tests: dict[str, dict[str, float]] = {}
    facts: dict[str, Any] = {"tests": tests, "classes": {}, "left_out": {}, "by_length": {}}
    is_averaged = len(config.opens_test_of) > 1 and task.keep != "tokens"
    for run_id in config.opens_test_of:
        trained = folder.parent / Path(run_id).name
        _load_weights(module, trained, task, ledger, changes_files)
        with ledger.spent_on("evaluate"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs = _outputs(trainer, module, *test)
            needs_val = is_averaged or isinstance(task, DetectionTask)
            of_val = _outputs(trainer, module, *val) if needs_val else outputs[:0]
            tests[run_id] = scores_on_test(task, outputs, data.test, of_val, data.val)
            for name, detail in details(task, outputs, data.test).items():
                facts[name][run_id] = detail
            if lengths:
                facts["by_length"][run_id] = _scores_by_length(trainer, module, lengths)
            if is_averaged:
                averages["test"].add(outputs)
                averages["val"].add(of_val)
            if changes_files and run_id == config.opens_test_of[0] and forecasts.is_kept_for(task):
                write_json(folder / FORECASTS, forecasts.kept(config, task, outputs, data.test, folder))
            if isinstance(task, TextTask) and run_id == config.opens_test_of[0]:
                tests[run_id] |= _texts(module, task, config.device, trained if changes_files else None)
            if task.keep == "tokens":
                tests[run_id] |= _report(task, outputs, data.test)
            if task.keep == "tokens" and run_id == config.opens_test_of[0]:
                kept = trained if changes_files else None
                if isinstance(task, TranslationTask):
                    tests[run_id] |= _searched(module, task, data, outputs, kept)
                elif kept is not None:
                    write_json(kept / TRANSCRIPTS, _shown(task, data.test, outputs))
    facts["parameters"] = module.parameter_counts()
    if is_averaged:
        of_val, outputs = averages["val"].outputs, averages["test"].outputs
        facts["ensemble"] = {
            "val": task.score(of_val, data.val),
            "test": scores_on_test(task, outputs, data.test, of_val, data.val),
        }
    return facts


def _of_lengths(config: RunConfig) -> dict[int, tuple[Task, Batch]]:
    """Return the task at each test length and at that of training, with sequences of this length; by length."""
    if not config.test_lengths:
        return {}
    tasks = {n: make_task(config.task, n, config.task_arguments) for n in sorted({config.length, *config.test_lengths})}
    drawn = {length: task for length, task in tasks.items() if isinstance(task, SyntheticTask)}
    return {length: (tasks[length], task.of_length(config.train.num_test)) for length, task in drawn.items()}


def _scores_by_length(
    trainer: Trainer, module: SequenceModule, lengths: dict[int, tuple[Task, Batch]]
) -> dict[int, dict[str, float]]:
    """Return the measures of a trained module at each length of `_of_lengths`."""
    outputs = {n: _outputs(trainer, module, batch, in_batches(batch, False)) for n, (_, batch) in lengths.items()}
    return {n: task.score(outputs[n], batch) for n, (task, batch) in lengths.items()}


def _outputs(trainer: Trainer, module: SequenceModule, split: Batch, batches: Iterable[Any]) -> np.ndarray:
    """Return the outputs for a split, as `Task.score` gets them."""
    trainer.test(module, batches, verbose=False)
    return module.kept_outputs(split)


def nats(module: SequenceModule, windows: Batch) -> np.ndarray:
    """Return the nats of the targets of a language model, (B, L), as a test run computes them.

    The windows follow each other; a model that carries its state over reads them as STRETCHES long texts.
    """
    with torch.inference_mode():
        for number, part in enumerate(in_batches(windows, module.settings.carry_state)):
            module.validation_step(part, number)
    return module.kept_outputs(windows)


def _texts(module: SequenceModule, task: TextTask, device: str, folder: Path | None) -> dict[str, float]:
    """Return the measures of texts that a language model writes; the texts are stored in `folder`, if given."""
    module.to(device)  # Lightning has moved it to the CPU
    texts = {t: generation.samples(module, task, t, seed=0) for t in generation.TEMPERATURES}
    if folder is not None:
        write_json(folder / "samples.json", texts)
    return {
        f"{name}_t{temperature}": value
        for temperature, measures in generation.measures(texts, task).items()
        for name, value in measures.items()
    }


def _report(task: Any, outputs: np.ndarray, test: Batch) -> dict[str, float]:
    """Return more scores of translations and transcripts than the one that decides."""
    scores: dict[str, float] = task.report(outputs, test)
    return scores


def _searched(
    module: SequenceModule, task: Any, data: DataModule, outputs: np.ndarray, folder: Path | None
) -> dict[str, float]:
    """Return the scores of what a beam finds for the test split; their names begin with beam.

    Some sentences of both searches are stored in `folder`, if given, beside their sources and references.
    """
    test, parts = data.test, []
    module.to(data.config.device)
    assert module.decoder is not None
    with torch.inference_mode():
        for start in range(0, len(test.x), BEAM_SENTENCES):
            rows = slice(start, start + BEAM_SENTENCES)
            x, length = (torch.from_numpy(part[rows]).to(data.config.device) for part in test[:2])
            parts.append(module.decoder.beam(module.read(x, length), module.head).cpu().numpy())
    searched = np.concatenate(parts)
    if folder is not None:
        write_json(folder / TRANSLATIONS, _shown(task, test, {"greedy": outputs, "beam": searched}))
    return {f"beam_{name}": value for name, value in _report(task, searched, test).items()}


def _shown(task: Any, test: Batch, outputs: Any) -> dict[str, Any]:
    """Return what is stored of some sentences: what was written, by the name of the search if there are several."""
    shown = spread(len(test.x), KEPT_SENTENCES)
    kept = Batch._make(None if part is None else part[shown] for part in test)
    of_shown = {name: part[shown] for name, part in outputs.items()} if isinstance(outputs, dict) else outputs[shown]
    written: dict[str, Any] = task.examples(of_shown, kept)
    return written


def _load_weights(module: SequenceModule, folder: Path, task: Task, ledger: Ledger, changes_files: bool) -> None:
    """Load the weights of a confirm run; train it again if the file is missing or damaged."""
    path = folder / weights.WEIGHTS
    record = RunRecord.read(folder)
    try:
        with ledger.spent_on("setup"):
            module.load_state_dict(weights.read(folder, record.weights_sha256 if record else None))
        return
    except (BenchError, RuntimeError) as error:  # RuntimeError: names or shapes of another network
        _LOGGER.warning("%s; the run is trained again", str(error).splitlines()[0])
    config = RunConfig.read(folder / "config.json")
    if config.num_devices > 1:
        raise BenchError(f"{path}: cannot be read; delete {folder} and run the same command to train this seed again")
    with nullcontext(folder) if changes_files else TemporaryDirectory(prefix="bench-") as output:
        again = fit(config, task, lambda report: True, Path(output), ledger)
        if again["state"] != "complete":
            raise BenchError(f"{path}: cannot be read, and training again failed: {again['cause']}: {again['message']}")
        module.load_state_dict(weights.read(Path(output), again["weights_sha256"]))


def speed(config: RunConfig, task: Task, ledger: Ledger) -> dict[str, Any]:
    """Time a configuration with nothing else running; count its operations and name its kernels."""
    with ledger.spent_on("setup"):
        torch.manual_seed(config.seed)
        module = SequenceModule(task, config)
        batch = to_tensors(task.train_batch(config.seed, 0, config.train.batch_size))
    with ledger.spent_on("evaluate"):
        memory = PeakMemory(config.device)  # counts from here: the data are loaded already
        measured = timing.speed(module, batch, config)
        facts: dict[str, Any] = {"peak_memory_bytes": memory.bytes(), "parameters": module.parameter_counts()}
        facts |= {"state_size": module.state_size}
        facts |= {"accumulate_grad_batches": (count := module.micro_batches.count)}
        facts |= {"kernels": timing.kernels(module, divided(batch, count)[0], config)}
        operations = {name: float(count) for name, count in timing.flops(module, task).items()}
        return facts | {"speed": measured | operations}
