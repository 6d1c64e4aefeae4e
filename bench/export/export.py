"""Writes the best row of a sweep, a network or a cheap baseline, into a folder that needs no sweep.

    baseline.npz           of a cheap baseline: all numbers that it was fitted to; or, of a network:
    weights.safetensors    of the confirmed run that is best on validation, or of all seeds of an ensemble
    config.json            what it was trained with, its scores, and the SHA-256 of the other files
    preprocessing.json     vocabulary, classes and scale, from the training part alone
    model.onnx             if the architecture can be traced: x, length -> outputs
    mlflow_model/          a table in, a table of predictions out
    model.py               the source of your own model

B batch, L steps, D input channels, C outputs.
"""

import io
import json
import re
import shlex
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

import bench
from bench.config import baseline
from bench.config.baseline import Baseline
from bench.config.contracts import Batch, DetectionTask, New, Sampling, Task, TextTask, scores_on_test
from bench.config.datasets import task_of
from bench.config.strict import fingerprint
from bench.data.files import checksum
from bench.errors import BenchError, DeclarationError, StoreError, UnknownNameError
from bench.export import network, predictor
from bench.export.network import Network
from bench.export.predictor import (
    BASELINE,
    CONFIG,
    META,
    ONNX,
    OWN_MODEL,
    WEIGHTS,
    ExportedModel,
    ExportedNetwork,
    Served,
    network_outputs,
)
from bench.results import leaderboard
from bench.results.answers import as_good
from bench.results.cell_runs import Best, CellRuns, best_row, by_cell
from bench.results.merge import MERGED
from bench.results.record import RunRecord, read_spec, records, write_json
from bench.tracking import models
from bench.training import cheap
from bench.training.ensemble import Ensemble
from bench.training.module import SequenceModule
from bench.wording import bare

FACTS = ("tokens", "input_size", "output_size", "per_step", "num_steps", "loss", "keep", "metric", "goal")
MORE_FACTS = ("causal", "feature_sizes", "longest_n_gram", "num_targets", "horizon", "target_steps", "test_metric")
"""The declarations of a task that a module needs: of every task, and of those that have them."""

PRIVATE = ("ids", "groups", "remarks", "texts")
"""Keys of a task's `meta` that name examples and series of the training data; they are not exported."""

TOLERANCE = 1e-4  # of outputs, relative to the largest: float32 sums in another order
CHECKED = 2  # windows on which an n-gram model is checked: it gives all tokens a probability at every step
REQUIRED = ("torch", "pytorch-lightning", "numpy", "pandas", "pyarrow", "pydantic", "safetensors", "scipy")


def export(
    sweep: Path,
    results: Path,
    dataset: str | None,
    length: int | None,
    model: str | None,
    out: Path,
    is_ensemble: bool = False,
    is_refit: bool = False,
) -> list[str]:
    """Write the best of a dataset at a length, or one model or cheap baseline, into the folder `out`.

    Validation decides which row is the best. If a sweep has only one dataset, or a dataset only one length, it need not
    be named. An ensemble averages the answers of all seeds that confirmed the best network's configuration. A refit
    trains the network or the baseline again on the training and validation part together, with what validation chose.

    Each form of the model is checked to give the answers of the training code. The folder is written completely or not
    at all; MLflow comes last, and the folder is kept if MLflow cannot be written.

    Returns:
        What was done, one line each.

    Raises:
        BenchError: Nothing to export, `out` cannot be written, or a form gives other answers.
    """
    run, name = find(sweep, dataset, length, model)
    if is_refit and run.config.task == "anomaly":
        rule = "the threshold of flags needs validation rows that the model has not learned from"
        raise DeclarationError(f"--refit: not supported for anomaly: {rule}; export without it")
    differing = other_best(sweep, run, name) if model is None else []
    task = task_of(run.config)
    trained: Network | Baseline
    if name is None:
        trained = network.read(sweep, run, task, is_ensemble, is_refit)
    elif is_ensemble:
        raise DeclarationError(f"--ensemble: the best is the cheap baseline {name}; name a network with --model")
    elif is_refit:
        if isinstance(task, TextTask):
            raise DeclarationError(f"--refit: not supported for {run.config.task}; export without it")
        trained = cheap.refit(name, run.fitted[name].chosen, task)
    else:
        trained = _read_baseline(name, sweep / "runs" / run.config.run / f"{name}{cheap.SUFFIX}")
    try:
        out = out.resolve()
        if out.exists() and any(out.iterdir()):
            raise DeclarationError(f"--out {out}: must be a new or empty folder; choose another one")
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
            part = Path(folder) / out.name
            part.mkdir()
            if isinstance(trained, Baseline):
                lines = _write_baseline(part, run, name or "", task, trained, is_refit)
            else:
                lines = _write(part, run, task, trained)
            if out.exists():
                out.rmdir()
            part.rename(out)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk as its own error
        raise StoreError(f"--out {out}: {getattr(error, 'strerror', None) or error}; choose another folder") from None
    return lines[:1] + differing + lines[1:] + (_register(out, results, run) if name is None else [])


def other_best(sweep: Path, run: RunRecord, name: str | None) -> list[str]:
    """Return a line if the answer of the sweep, which is about the test split, names another row than is exported."""
    config, metric = run.config, run.asked.ranks_by
    board = leaderboard.build(sweep)
    rows = board[(board["dataset"] == config.dataset) & (board["length"] == config.length)]
    ranked = rows[rows["rank"].notna()]
    if ranked.empty:
        return []
    cheap = as_good(rows)
    named = str(ranked.iloc[0]["model"]) if cheap is None else str(cheap["model"])[1:-1]
    exported = config.space if name is None else run.fitted[name].title
    if named == exported or named == "chance":
        return []
    of_exported = ranked[ranked["model"] == exported]
    tied = ", which is statistically tied" if (of_exported["rank"] == 1).any() and cheap is None else ""
    score = float(ranked.iloc[0]["score"]) if cheap is None else float(cheap["score"])
    reason = f"{bare(exported)} is exported, because it is the best on validation, and the test split must not choose"
    other = f"the answer names {bare(named)}{tied}, the best on the test split ({metric} {score:.4g})"
    return [f"{reason}; {other}: --model {shlex.quote(named)} exports it"]


def _write(out: Path, run: RunRecord, task: Task, trained: Network) -> list[str]:
    """Write and check all files of the export of a network; return what was done."""
    module = trained.module
    batch = task.split("val", run.config.train.num_val)
    meta = _meta(task, batch, network_outputs(module.eval(), batch.x, batch.length))
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, out / WEIGHTS)
    (out / META).write_text(json.dumps(meta, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if run.config.model.endswith(".py"):
        shutil.copy(run.config.model, out / OWN_MODEL)
    exported = ExportedNetwork(module, run.config, meta)
    expected = exported.outputs(batch.x, batch.length)
    onnx = _export_onnx(module.eval(), batch, expected, out / ONNX)
    scores = {} if trained.is_as_confirmed else _own_scores(trained, exported, batch, expected, run, task)
    write_json(out / CONFIG, _settings(run, task, out) | trained.facts | scores)

    restored = ExportedModel.load(out)
    _compare(WEIGHTS, restored.outputs(batch.x, batch.length), expected, 0.0)
    lines = [
        f"{run.config.run}: {_scores(run)}",
        f"{WEIGHTS}: {len(expected):,} validation sequences, the same answers to the last bit",
        onnx,
    ]
    lines[1:1] = trained.lines(run, batch, scores)
    return lines + ([_export_mlflow(restored, out, batch, expected)] if restored.predictor else [])


def _own_scores(
    trained: Network, exported: ExportedNetwork, batch: Batch, outputs: np.ndarray, run: RunRecord, task: Task
) -> dict[str, dict[str, float]]:
    """Return the scores of an ensemble or a refit, by split; a refit has none on val, which it has learned from."""
    test = task.split("test", run.config.train.num_test)
    return {
        "val": task.score(outputs, batch) if trained.refit_epochs is None else {},
        "test": scores_on_test(task, exported.outputs(test.x, test.length), test, outputs, batch),
    }


def _meta(task: Task, val: Batch, outputs: np.ndarray) -> dict[str, Any]:
    """Return what a predictor needs of the training data; the outputs for validation decide where anomalies begin."""
    meta = {key: value for key, value in getattr(task, "meta", {}).items() if key not in PRIVATE}
    return meta | ({"calibration": task.calibration(outputs, val)} if isinstance(task, DetectionTask) else {})


def _write_baseline(out: Path, run: RunRecord, name: str, task: Task, trained: Baseline, is_refit: bool) -> list[str]:
    """Write and check all files of the export of a cheap baseline; return what was done."""
    steps = trained.num_steps or task.num_steps
    batch = baseline.latest(baseline.windows(task, "val", run.config.train.num_val, steps), steps)
    if task.keep == "nll":
        batch = Batch(*(part[:CHECKED] for part in batch if part is not None))  # all tokens at every step
    meta = _meta(task, batch, trained.scored(batch, task))
    trained.save(out / BASELINE)
    (out / META).write_text(json.dumps(meta, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    fitted, metric = run.fitted[name], run.asked.metric
    val, test = fitted.val, fitted.test
    lines = [f"{run.config.run}: {fitted.title}, {_named_scores(run, val, test)}"]
    if is_refit:
        batch_of_test = baseline.latest(baseline.windows(task, "test", run.config.train.num_test, steps), steps)
        val, test = {}, task.score(trained.scored(batch_of_test, task), batch_of_test)
        lines.append(f"refit on train and val; {metric} of the exported model: test {test[metric]:.4g}")
    facts = {"name": name, "title": fitted.title, "chosen": fitted.chosen, "refit": is_refit}
    write_json(out / CONFIG, _settings(run, task, out) | {"val": val, "test": test, "baseline": facts})
    expected, restored = trained.outputs(batch.x, batch.length), ExportedModel.load(out)
    _compare(BASELINE, restored.outputs(batch.x, batch.length), expected, 0.0)
    lines += [
        f"{BASELINE}: {len(expected):,} validation sequences, the same answers to the last bit",
        "model.onnx: not written: only networks have this form",
    ]
    if restored.predictor is None:
        return lines
    return [*lines, _export_mlflow(restored, out, batch, expected), "MLflow: not registered: only networks have runs"]


def keep(
    sweep: Path,
    results: Path,
    dataset: str | None = None,
    length: int | None = None,
    model: str | None = None,
    is_ensemble: bool = False,
    is_refit: bool = False,
) -> tuple[Path, list[str]]:
    """Export into the folder `exports` of a sweep, once; return the new folder, and what `export` did if it ran.

    Takes and raises what `export` does.
    """
    chosen = find(sweep, dataset, length, model)
    config = chosen.run.config
    name = chosen.baseline or config.space
    how = [config.run, config.seed, str(chosen.run.started_at), chosen.baseline, is_ensemble, is_refit]
    title = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{config.dataset}-L{config.length}-{name}")
    out = sweep / "exports" / f"{title}-{fingerprint(how)[:6]}"
    return out, [] if out.exists() else export(sweep, results, dataset, length, model, out, is_ensemble, is_refit)


def find(sweep: Path, dataset: str | None, length: int | None, model: str | None) -> Best:
    """Return the confirmed run, or the cheap baseline, to export. Raises BenchError."""
    spec, runs_of_sweep = read_spec(sweep), list(records(sweep))
    cells: dict[str, dict[str, dict[str, CellRuns]]] = {}  # by dataset, length and model
    for cell, runs in by_cell(runs_of_sweep, spec["top_k"]).items():
        cells.setdefault(cell.dataset, {}).setdefault(str(cell.length), {})[cell.space] = runs
    for run in runs_of_sweep:  # also those of a sweep whose models are not confirmed yet
        if run.fitted:
            cells.setdefault(run.config.dataset, {}).setdefault(str(run.config.length), {})
    if not cells:
        raise StoreError(f"{sweep}: has no finished run yet; resume the sweep")
    dataset = _choice("dataset", dataset, cells)
    chosen = _choice("length", None if length is None else str(length), cells[dataset])
    of_model = cells[dataset][chosen]
    of_question = (run for run in runs_of_sweep if (run.config.dataset, str(run.config.length)) == (dataset, chosen))
    cheap_run = next((run for run in of_question if run.config.phase == "baselines"), None)
    if model is None:
        best = best_row(of_model.values(), cheap_run)
    else:
        names = {} if cheap_run is None else _names(cheap_run)
        _choice("model", model, [*of_model, *names])
        if model in names and cheap_run is not None:
            best = Best(cheap_run, names[model])
        else:
            best = best_row([of_model[model]], None)
    if best is None:
        what = f"{model or 'any model'} on {dataset} at length {chosen}"
        raise StoreError(f"{sweep}: has no confirmed run of {what} yet; resume the sweep")
    _check_weights(sweep, spec, best.run)
    return best


def _check_weights(sweep: Path, spec: Mapping[str, Any], run: RunRecord) -> None:
    """Raise StoreError if the sweep is merged from others, which keep the weights."""
    if MERGED in spec:
        cell = str(run.config.cell)
        holders = [origin["folder"] for origin in spec[MERGED] if cell in origin["cells"]]
        where = " or ".join(holders or [origin["folder"] for origin in spec[MERGED]])
        raise StoreError(f"{sweep}: merged sweeps hold no weights; name the sweep that trained {cell}: {where}")


def _names(run: RunRecord) -> dict[str, str]:
    """Return the names of the files of the fitted baselines by their titles, and by themselves."""
    fitted = {name: row for name, row in run.fitted.items() if row.state == "complete"}
    return {row.title: name for name, row in fitted.items()} | {name: name for name in fitted}


def _read_baseline(name: str, path: Path) -> Baseline:
    """Return a fitted baseline of a sweep. Raises StoreError."""
    fitted = baseline.make(name)
    fix = "delete the record.json beside it and resume the sweep to fit it again"
    try:
        fitted.load(path)
    except FileNotFoundError:
        raise StoreError(f"{path}: missing; {fix}") from None
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise StoreError(f"{path}: damaged ({(str(error).splitlines() or [''])[0]}); {fix}") from None
    return fitted


def _choice(kind: str, name: str | None, known: Iterable[str]) -> str:
    """Return the named one, or the only one there is. Raises DeclarationError and UnknownNameError."""
    names = sorted(known, key=lambda name: (int(name), name) if name.isdigit() else (0, name))
    if name is None and len(names) > 1:
        raise DeclarationError(f"--{kind}: the sweep has several; choose one of {', '.join(names)}")
    if name is not None and name not in names:
        raise UnknownNameError(f"{kind} of this sweep", name, names)
    return name or names[0]


def _settings(run: RunRecord, task: Task, out: Path) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "run": run.config.model_dump(mode="json"),
        "task": {name: getattr(task, name) for name in (*FACTS, *MORE_FACTS) if hasattr(task, name)},
        "val": run.val,
        "test": run.test,
        "versions": {name: version(name) for name in REQUIRED},
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "sha256": {name: checksum(out / name) for name in (WEIGHTS, META, ONNX, BASELINE) if (out / name).exists()},
    }


def _scores(run: RunRecord) -> str:
    return f"{run.config.space}, seed {run.config.seed}, {_named_scores(run, run.val, run.test or {})}"


def _named_scores(run: RunRecord, val: dict[str, float], test: dict[str, float]) -> str:
    """Return the validation and the test score with the names of their metrics."""
    of_val, of_test = run.asked.metric, run.asked.ranks_by
    parts = [f"validation {val[of_val]:.4g}"] if of_val in val else []
    other = "" if of_test == of_val else f"{of_test} "
    parts += [f"test {other}{test[of_test]:.4g}"] if of_test in test else []
    return f"{of_val}: {', '.join(parts)}"


def _compare(form: str, outputs: np.ndarray, expected: np.ndarray, tolerance: float) -> float:
    """Return the largest difference of outputs. Raises BenchError if it is too large."""
    if outputs.shape != expected.shape:
        raise BenchError(f"{form}: answers of shape {outputs.shape}, but the training code gives {expected.shape}")
    difference = float(np.abs(outputs - expected).max())
    allowed = tolerance * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:  # also refuses NaN
        raise BenchError(f"{form}: answers differ by {difference:.2g} from those of the training code")
    return difference


# Forms


class _Forward(nn.Module):
    """A module without what Lightning adds to it."""

    def __init__(self, module: SequenceModule | Ensemble) -> None:
        super().__init__()
        self.answer: Callable[[Tensor, Tensor], Tensor] = module.forward
        self.parts = nn.ModuleList(module.children())

    def forward(self, x: Tensor, length: Tensor) -> Tensor:
        """Return raw outputs."""
        return self.answer(x, length)


def _export_onnx(module: SequenceModule | Ensemble, batch: Batch, expected: np.ndarray, path: Path) -> str:
    """Write model.onnx and check it, also on shorter batches than it was traced with; return what was done."""
    is_ctc = module.task.loss == "ctc"  # then the graph has the answers from which tokens are read
    if module.task.keep == "tokens" and not is_ctc:
        return f"{path.name}: not written: a translation is written word by word, in a loop that tracing cannot follow"
    try:
        _trace(module, batch.x[:3], batch.length[:3], path)
        if is_ctc:
            with torch.inference_mode():
                expected = module(torch.from_numpy(batch.x), torch.from_numpy(batch.length)).numpy()
        difference = _compare("onnx", _run_onnx(path, batch.x, batch.length), expected, TOLERANCE)
        half = max(1, batch.x.shape[1] // 2)
        x, length = batch.x[:1, :half], np.minimum(batch.length[:1], half)
        with torch.inference_mode():
            direct = module(torch.from_numpy(x), torch.from_numpy(length)).numpy()
        _compare("onnx", _run_onnx(path, x, length), direct, TOLERANCE)
    except Exception as error:  # noqa: BLE001 - tracing raises anything; the export is complete without this form
        path.unlink(missing_ok=True)
        return f"{path.name}: not written: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    return f"{path.name}: answers differ by {difference:.1g} at most"


def _trace(module: SequenceModule | Ensemble, x: np.ndarray, length: np.ndarray, path: Path) -> None:
    axes = {"x": {0: "batch", 1: "steps"}, "length": {0: "batch"}}
    axes["answers"] = axes["x"] if module.task.per_step else axes["length"]
    if module.task.loss == "ctc":
        axes["answers"] = {0: "batch", 1: "answers"}
    # A module that cannot be traced is printed as a whole graph.
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # tracing is deprecated, but only it supports free lengths here
        torch.onnx.export(
            _Forward(module).eval(), (torch.from_numpy(x), torch.from_numpy(length)), path, dynamo=False,
            input_names=["x", "length"], output_names=["answers"], dynamic_axes=axes,
        )  # fmt: skip


def _run_onnx(path: Path, x: np.ndarray, length: np.ndarray) -> np.ndarray:
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {"x": x, "length": length}
    names = [entry.name for entry in session.get_inputs()]  # without length if the architecture ignores it
    return np.asarray(session.run(None, {name: inputs[name] for name in names})[0])


def _export_mlflow(model: ExportedModel, out: Path, batch: Batch, expected: np.ndarray) -> str:
    """Write mlflow_model and check it; return what was done."""
    path = out / "mlflow_model"
    try:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(
                shutil.copytree(out, Path(folder) / "winner", ignore=shutil.ignore_patterns("*.onnx", path.name))
            )
            example, outputs = _example(model)
            models.save_model(
                path,
                loader=predictor.__name__,
                data=data,
                code=Path(bench.__file__).parent,
                inputs=model.predictor.columns if model.predictor else {},
                outputs=outputs,
                example=example,
                requirements=[f"{name}=={version(name)}" for name in REQUIRED],
            )
        served = models.load_model(path)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - the other forms are kept, whatever MLflow raises
        shutil.rmtree(path, ignore_errors=True)
        return f"{path.name}: not written: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    _compare(path.name, served.outputs(batch.x, batch.length), expected, 0.0)
    return f"{path.name}: loads, and gives the same answers"


def _example(model: ExportedModel) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """Return a table of new sequences, None if the model reads other files, and a table of answers, for their form."""
    assert model.predictor is not None
    columns = model.predictor.example(model.num_steps)
    if columns is not None:
        table = pd.DataFrame(columns)
        return table, Served(model).predict(table)
    new = New(np.zeros((1, 1, model.input_size), dtype=np.float32), np.ones(1, dtype=np.int64), {"names": ["a"]})
    return None, pd.DataFrame(model.predictor.answer(model, new, Sampling()))


def _register(out: Path, results: Path, run: RunRecord) -> list[str]:
    """Register mlflow_model, if it was written, with the run it came from; return what was done."""
    path = out / "mlflow_model"
    if not path.exists():
        return []
    name = f"{run.config.dataset}-L{run.config.length}"
    return [models.register_model(results, results / "sweeps" / run.config.sweep, run.config.run, path, name)]
