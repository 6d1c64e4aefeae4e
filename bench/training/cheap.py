"""The run of the cheap baselines: each is fitted, scored, timed and stored, and a failure of one leaves the others."""

import importlib
import math
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bench.config import baseline
from bench.config.baseline import Baseline
from bench.config.contracts import Batch, StoredTask, Task, TextTask, ranking_metric, scores_on_test
from bench.config.settings import RunConfig
from bench.results.record import FittedBaseline, write_json
from bench.training import generation
from bench.training.details import details
from bench.training.ledger import Ledger, PeakMemory
from bench.training.timing import MAX_SINGLE_REPEATS, repeat

SECONDS = 60.0  # of CPU time that fitting one baseline may take: other runs on the machine do not count
SUFFIX = ".npz"  # of the file that holds a fitted baseline, beside the run's record


class TooSlowError(Exception):
    """A baseline was not fitted in its time."""


def baselines(config: RunConfig, task: Task, folder: Path | None, ledger: Ledger) -> dict[str, Any]:
    """Fit, score and time the cheap baselines, and those that the task itself knows; store the fitted ones.

    Baselines are always fitted on the CPU. Those of a language model also write texts, at temperature 1. After the
    `max_seconds` of the run, no further one begins; the simple ones come first.
    """
    end = time.perf_counter() + (config.max_seconds or math.inf)
    with ledger.spent_on("evaluate"), threadpool_limits(config.threads):
        scores = {name: float(value) for name, value in task.baselines(config.train.num_test).items()}
        ordered = sorted(baseline.applicable(task).items(), key=lambda pair: pair[1].prior)
        fitted = {name: _fitted(name, found, config, task, folder, end) for name, found in ordered}
        scores |= {row.title: row.test[ranking_metric(task)] for row in fitted.values() if row.test}
        facts: dict[str, Any] = {"baselines": scores, "fitted": fitted}
        return facts | _texts(task, folder, scores) if isinstance(task, TextTask) else facts


def _fitted(
    name: str, found: Baseline, config: RunConfig, task: Task, folder: Path | None, end: float
) -> FittedBaseline:
    """Return what came of one baseline; a failure, and one that would begin after `end`, is a row with a reason."""
    start = time.perf_counter()
    facts: dict[str, Any] = {"title": found.title, "prior": found.prior}
    try:
        if start > end:
            raise TooSlowError("no time was left to fit it")
        facts |= _measured(name, found, config, task, folder)
    except Exception as error:  # noqa: BLE001 - one baseline must not take the others with it
        if not isinstance(error, TooSlowError):
            traceback.print_exc()
        kind = "" if isinstance(error, TooSlowError) else f"{type(error).__name__}: "
        message = (str(error).strip().splitlines() or ["no message"])[0]
        facts |= {"state": "failed", "reason": f"{kind}{message}"[:300]}
    return FittedBaseline(**facts, seconds=time.perf_counter() - start)


def _measured(name: str, found: Baseline, config: RunConfig, task: Task, folder: Path | None) -> dict[str, Any]:
    assert isinstance(task, StoredTask)
    memory, history = PeakMemory("cpu"), found.history(task)
    train = baseline.windows(task, "train", found.most(task), history)
    val = baseline.windows(task, "val", config.train.num_val, history)
    for library in found.libraries:
        importlib.import_module(library)
    start = time.perf_counter()
    with _within(SECONDS):
        found.fit(train, val, task)
    facts: dict[str, Any] = {"fit_seconds": time.perf_counter() - start, "peak_memory_bytes": memory.bytes()}
    facts |= {"chosen": found.chosen, "num_parameters": found.num_parameters}
    if len(train.x) < task.counts["train"]:
        facts["reason"] = f"fitted on {len(train.x):,} of {task.counts['train']:,} training examples"
    test = baseline.windows(task, "test", config.train.num_test, history)
    val, test = (baseline.latest(batch, found.num_steps or history) for batch in (val, test))
    val_outputs = found.scored(val, task)
    facts["val"] = task.score(val_outputs, val)
    start = time.perf_counter()
    outputs = found.scored(test, task)
    facts["sequences_per_second"] = len(test.x) / (time.perf_counter() - start)
    facts["test"] = scores_on_test(task, outputs, test, val_outputs, val)
    if task.keep == "tokens":
        facts["test"] |= task.report(outputs, test)  # type: ignore[attr-defined]
    facts |= details(task, outputs, test)
    facts |= _latency(found, val, task)
    if folder is not None:
        path = folder / f"{name}{SUFFIX}"
        found.save(path)
        facts["size_bytes"] = path.stat().st_size
    return facts


def refit(name: str, chosen: dict[str, Any], task: Task) -> Baseline:
    """Return a baseline fitted on the training and validation part together, with what validation chose before."""
    assert isinstance(task, StoredTask)
    found = baseline.make(name)
    found.kept = chosen
    most = found.most(task) / (task.counts["train"] + task.counts["val"])
    train, val = (
        baseline.windows(task, part, max(1, min(task.counts[part], int(most * task.counts[part]))), found.history(task))
        for part in ("train", "val")
    )
    found.fit(baseline.joined(train, val), val, task)
    return found


def _latency(found: Baseline, batch: Batch, task: Task) -> dict[str, float | bool]:
    """Return the median and the 95th percentile of the milliseconds for the longest sequence of a batch, alone.

    `latency_disturbed` says whether other processes disturbed them.
    """
    row = slice(longest := int(batch.length.argmax()), longest + 1)
    steps = int(batch.length[longest])
    mask = None if batch.mask is None else batch.mask[row, :steps]
    y = batch.y[row, :steps] if task.per_step else batch.y[row]
    one = Batch(batch.x[row, :steps], batch.length[row], y, mask)
    repeats = repeat(lambda: found.scored(one, task), "cpu", MAX_SINGLE_REPEATS)
    latency = {f"latency_p{q}_milliseconds": 1e3 * float(np.percentile(repeats.seconds, q)) for q in (50, 95)}
    return {**latency, "latency_disturbed": repeats.is_disturbed}


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise TooSlowError after `seconds` of CPU time in the block; only the main thread has such an alarm."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooSlowError(f"not fitted within {seconds:g} s of CPU time")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _texts(task: TextTask, folder: Path | None, scores: dict[str, float]) -> dict[str, Any]:
    """Return measures of the texts that n-gram models write, and store the texts."""
    orders = {"uniform": 0, "unigram": 1, f"Kneser-Ney {generation.ORDER}-gram": generation.ORDER}
    texts = {name: generation.n_gram_samples(task, order, seed=0) for name, order in orders.items() if name in scores}
    if folder is not None:
        write_json(folder / "samples.json", texts)
    return {
        "tests": {
            name: {"nats": scores[name]} | {f"{measure}_t1.0": value for measure, value in measures.items()}
            for name, measures in generation.measures(texts, task).items()
        }
    }
