"""The winner of a sweep as a folder that needs no sweep, and what it answers to new files.

    weights.safetensors    of the confirm run that is best on validation
    config.json            what it was trained with, and its scores
    preprocessing.json     vocabulary, classes, scale: made of the training part alone
    model.onnx             where the architecture can be written as one: x, length -> answers
    mlflow_model/          a table in, a table of predictions out
    model.py               the source of a model of one's own

B batch, L length, D input width, C outputs.
"""

import io
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import bench
from bench.config import plugins
from bench.config.contracts import New, Task
from bench.config.datasets import make_task
from bench.config.settings import RunConfig
from bench.data import vocabulary
from bench.errors import BenchError, DataError, DeclarationError, StoreError, UnknownNameError
from bench.results.cell_runs import CellRuns, by_cell, winner
from bench.results.record import RunRecord, read_spec, records, write_json
from bench.tracking import models
from bench.training import generation
from bench.training.module import SequenceModule

FACTS = ("tokens", "input_size", "output_size", "per_step", "num_steps", "loss", "keep", "metric", "goal")
"""What a module needs to know of its task."""

LEFT_OUT = ("ids", "groups", "remarks")
"""Of what is known of the data: names of examples and series, and what was said of them."""

BATCH = 256
TOLERANCE = 1e-4  # of answers, beside the largest of them: another order of sums in single precision
REQUIRED = ("torch", "pytorch-lightning", "numpy", "pandas", "pyarrow", "pydantic", "safetensors", "scipy")


class Winner:
    """A trained model in its folder."""

    def __init__(self, module: SequenceModule, config: RunConfig, meta: dict[str, Any]) -> None:
        self.module, self.config, self.meta = module.eval(), config, meta
        self.task = plugins.load("tasks", config.task)

    @classmethod
    def load(cls, folder: Path) -> "Winner":
        """Read a folder that `export` wrote. Raises StoreError."""
        try:
            settings = json.loads((folder / "config.json").read_text())
            meta = json.loads((folder / "preprocessing.json").read_text())
            config = RunConfig.model_validate(settings["run"])
            own = folder / "model.py"
            config = config.model_copy(update={"model": str(own.absolute())}) if own.exists() else config
            module = SequenceModule(SimpleNamespace(**settings["task"]), config)
            module.load_state_dict(load_file(folder / "weights.safetensors"))
        except FileNotFoundError as error:
            missing = Path(error.filename or folder / "weights.safetensors").name
            raise StoreError(f"{folder}: no {missing} in it; give a folder that `bench export` wrote") from None
        except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise StoreError(f"{folder}: damaged ({reason}); export it again") from None
        return cls(module, config, meta)

    @property
    def columns(self) -> dict[str, str]:
        """The columns that a table to be answered has, each "number" or "text"; or "path" alone: files are read."""
        found: dict[str, str] = self.task.columns(self.config.task_arguments, self.meta)
        return found

    @property
    def is_readable(self) -> bool:
        """Whether there are files for it to answer: synthetic tasks have none."""
        return hasattr(self.task, "columns")

    def answers(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return raw answers to prepared sequences: (B, C), or (B, L, C) where each step is asked."""
        found = []
        with torch.inference_mode():
            for start in range(0, len(x), BATCH):
                part, steps = slice(start, start + BATCH), int(length[start : start + BATCH].max())
                answers = self.module(torch.from_numpy(x[part, :steps]), torch.from_numpy(length[part]))
                if self.module.task.per_step:
                    answers = nn.functional.pad(answers, (0, 0, 0, x.shape[1] - steps))
                found.append(answers.numpy())
        return np.concatenate(found)

    def predict(self, path: Path, num_tokens: int = 200, temperature: float = 0.8, seed: int = 0) -> pd.DataFrame:
        """Return the table of predictions for a new file; its `attrs` hold what the reader remarks. Raises BenchError.

        Of a language model each prompt is gone on from with `num_tokens` tokens; the other arguments are for it alone.
        Counted are the prompt's tokens that training did not hold: the model reads <unk> in their place.
        """
        arguments = self.config.task_arguments
        if not self.is_readable:
            raise DeclarationError(f"{path}: {self.config.task} is synthetic and reads no files")
        if hasattr(self.task, "read_prompts"):
            prompts = self.task.read_prompts(path)
            texts = []
            for place, prompt in enumerate(prompts):
                try:
                    text = generation.sample(self.module, self.meta, prompt, num_tokens, temperature, seed + place)
                except DeclarationError as error:
                    raise DataError(f"{path}: prompt {place + 1}, {prompt[:40]!r}: {error}") from None
                texts.append(text)
            known, unit = {*self.meta["vocabulary"], vocabulary.END}, self.meta["unit"]
            unknown = [sum(each not in known for each in vocabulary.tokens(prompt, unit)) for prompt in prompts]
            return pd.DataFrame({"prompt": prompts, "text": texts, "unknown_tokens": unknown})
        # No further than in training: positions a model has never seen are not asked.
        new = self.task.read_new(path, self.module.task.num_steps, arguments, self.meta)
        found = pd.DataFrame(self.task.answers(self.answers(new.x, new.length), new, arguments, self.meta))
        found.attrs["remarks"] = [str(remark) for remark in new.about.get("remarks", [])]
        return found


class _Served:
    """What MLflow asks for predictions."""

    def __init__(self, winner: Winner) -> None:
        self.winner = winner

    def get_raw_model(self) -> Winner:
        """Return what is served."""
        return self.winner

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return predictions for a table, as `bench predict` does for a file of it."""
        if list(self.winner.columns) == ["path"]:
            return pd.concat([self.winner.predict(Path(path)) for path in frame["path"]], ignore_index=True)
        known = self.winner.config.task_arguments
        written = {"sep": known.get("delimiter") or ",", "encoding": known.get("encoding") or "utf-8"}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv"
            frame.to_csv(path, index=False, header=known.get("header", True), **written)
            return self.winner.predict(path)


def _load_pyfunc(path: str) -> _Served:
    """Return what MLflow asks: it looks for a function of this name."""
    return _Served(Winner.load(Path(path)))


def export(
    sweep: Path, results: Path, dataset: str | None, length: int | None, model: str | None, out: Path
) -> list[str]:
    """Write the winner of a dataset at a length, or one model's best run, into the folder `out`.

    A sweep's only dataset, and a dataset's only length, need not be named.
    Each form is checked to give the answers of the training code. Returns what was done, a line
    each. Raises BenchError.
    """
    run = _find(sweep, dataset, length, model)
    if out.exists() and any(out.iterdir()):
        raise DeclarationError(f"--out {out}: is there already, and not empty; name another folder")
    task = make_task(run.config.task, run.config.length, run.config.task_arguments)
    trained = SequenceModule(task, run.config)
    trained.load_state_dict(_weights(sweep / "runs" / run.config.run / "weights.pt"))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        part = Path(folder) / out.name  # whole or not at all
        part.mkdir()
        told = _write(part, results, run, task, trained)
        if out.exists():
            out.rmdir()
        part.rename(out)
    return told


def _write(out: Path, results: Path, run: RunRecord, task: Task, trained: SequenceModule) -> list[str]:
    """Write and check all that an export holds."""
    batch = task.split("val", run.config.train.num_val)
    save_file({name: tensor.contiguous() for name, tensor in trained.state_dict().items()}, out / "weights.safetensors")
    meta = {key: value for key, value in getattr(task, "meta", {}).items() if key not in LEFT_OUT}
    (out / "preprocessing.json").write_text(json.dumps(meta, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    write_json(out / "config.json", _settings(run, task))
    if run.config.model.endswith(".py"):
        shutil.copy(run.config.model, out / "model.py")
    told = [f"{run.config.run}: {_scores(run)}"]

    restored = Winner.load(out)
    expected = Winner(trained, run.config, meta).answers(batch.x, batch.length)
    _compare("weights.safetensors", restored.answers(batch.x, batch.length), expected, 0.0)
    told.append(f"weights.safetensors: {len(expected):,} validation sequences, the same answers to the last bit")
    told.append(_export_onnx(restored.module, batch.x, batch.length, expected, out / "model.onnx"))
    if restored.is_readable:
        told += _export_mlflow(restored, out, results, run, (batch.x, batch.length, expected))
    return told


def _find(sweep: Path, dataset: str | None, length: int | None, model: str | None) -> RunRecord:
    """Return the confirm run to be exported. Raises BenchError."""
    spec = read_spec(sweep)
    known: dict[str, dict[int, dict[str, CellRuns]]] = {}
    for cell, runs in by_cell(records(sweep), spec["top_k"]).items():
        known.setdefault(cell.dataset, {}).setdefault(cell.length, {})[cell.space] = runs
    if not known:
        raise StoreError(f"{sweep}: no finished run yet")
    if dataset is None and len(known) > 1:
        raise DeclarationError(f"--dataset: which of {', '.join(sorted(known))}?")
    dataset = dataset or next(iter(known))
    if dataset not in known:
        raise UnknownNameError("dataset of this sweep", dataset, known)
    there = ", ".join(map(str, sorted(known[dataset])))
    if length is None and len(known[dataset]) > 1:
        raise DeclarationError(f"--length: which of {there}?")
    length = length or next(iter(known[dataset]))
    if length not in known[dataset]:
        raise DeclarationError(f"--length {length}: {dataset} was swept at {there}")
    cells = known[dataset][length]
    if model is not None and model not in cells:
        raise UnknownNameError("model of this sweep", model, cells)
    run = winner([cells[model]] if model is not None else cells.values())
    if run is None:
        raise StoreError(f"{sweep}: no confirmed run of {model or 'any model'} on {dataset} at {length} yet")
    return run


def _weights(path: Path) -> dict[str, Tensor]:
    try:
        found: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; delete the record.json beside it and go on with the sweep") from None
    return found


def _settings(run: RunRecord, task: Task) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "run": run.config.model_dump(mode="json"),
        "task": {name: getattr(task, name) for name in FACTS},
        "val": run.val,
        "test": run.test,
        "versions": {name: version(name) for name in REQUIRED},
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _scores(run: RunRecord) -> str:
    name = run.asked.metric
    test = f", test {run.test[name]:.4g}" if run.test else ""
    return f"{run.config.space}, seed {run.config.seed}, {name}: validation {run.val[name]:.4g}{test}"


def _compare(what: str, found: np.ndarray, expected: np.ndarray, tolerance: float) -> float:
    """Return the largest difference of answers. Raises BenchError where it is too large."""
    if found.shape != expected.shape:
        raise BenchError(f"{what}: answers of shape {found.shape}, and of the training code {expected.shape}")
    difference = float(np.abs(found - expected).max())
    allowed = tolerance * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:  # not a number, too
        raise BenchError(f"{what}: answers differ by {difference:.2g} from those of the training code")
    return difference


class _Answers(nn.Module):
    """A module without what Lightning adds to it."""

    def __init__(self, module: SequenceModule) -> None:
        super().__init__()
        self.answer: Callable[[Tensor, Tensor], Tensor] = module.forward
        self.parts = nn.ModuleList(module.children())

    def forward(self, x: Tensor, length: Tensor) -> Tensor:
        """Return raw answers."""
        return self.answer(x, length)


def _export_onnx(module: SequenceModule, x: np.ndarray, length: np.ndarray, expected: np.ndarray, path: Path) -> str:
    """Write model.onnx and check it, also on shorter batches than it was traced with; return what came of it."""
    import onnxruntime  # type: ignore[import-untyped]

    few = slice(0, min(3, len(x)))
    example = (torch.from_numpy(x[few]), torch.from_numpy(length[few]))
    axes = {"x": {0: "batch", 1: "steps"}, "length": {0: "batch"}}
    axes["answers"] = axes["x"] if module.task.per_step else axes["length"]
    try:
        # What cannot be traced is printed as a whole graph.
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # the traced form is deprecated, and the only one with free lengths here
            torch.onnx.export(
                _Answers(module).eval(), example, path, dynamo=False, input_names=["x", "length"],
                output_names=["answers"], dynamic_axes=axes,
            )  # fmt: skip
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [entry.name for entry in session.get_inputs()]  # no length, where the architecture does not ask for it

        def run(**inputs: np.ndarray) -> np.ndarray:
            return np.asarray(session.run(None, {name: inputs[name] for name in names})[0])

        difference = _compare("onnx", run(x=x, length=length), expected, TOLERANCE)
        short = max(1, x.shape[1] // 2)
        alone, steps = x[:1, :short], np.minimum(length[:1], short)
        with torch.inference_mode():
            direct = module(torch.from_numpy(alone), torch.from_numpy(steps)).numpy()
        _compare("onnx", run(x=alone, length=steps), direct, TOLERANCE)
    except Exception as error:  # noqa: BLE001 - what cannot be traced raises anything; the folder is whole without it
        path.unlink(missing_ok=True)
        return f"model.onnx: left out: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    return f"model.onnx: answers differ by {difference:.1g} at most"


def _export_mlflow(
    winner: Winner, out: Path, results: Path, run: RunRecord, known: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> list[str]:
    """Write mlflow_model and check it; register it with the run it came from."""
    path = out / "mlflow_model"
    example = _example(winner)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(shutil.copytree(out, Path(folder) / "winner", ignore=shutil.ignore_patterns("*.onnx")))
        models.save_model(
            path,
            loader=__name__,
            data=data,
            code=Path(bench.__file__).parent,
            inputs=winner.columns,
            outputs=_Served(winner).predict(example) if example is not None else _answer_to_file(winner),
            example=example,
            requirements=[f"{name}=={version(name)}" for name in REQUIRED],
        )
    x, length, expected = known
    served = models.load_model(path)
    _compare(path.name, served.answers(x, length), expected, 0.0)
    told = [f"{path.name}: loads, and gives the same answers"]
    name = f"{run.config.dataset}-L{run.config.length}"
    line = models.register_model(results, results / "sweeps" / run.config.sweep, run.config.run, path, name)
    return [*told, line]


def _example(winner: Winner) -> pd.DataFrame | None:
    """Return a table that could be asked, for its form alone; None where files are read."""
    columns = winner.columns
    if list(columns) == ["path"]:
        return None
    arguments = winner.config.task_arguments
    rows = max(2, winner.config.length) if {"group", "time"} & arguments.keys() or "horizon" in arguments else 1
    example = pd.DataFrame(
        {name: np.arange(rows) % 7.0 if kind == "number" else "a" for name, kind in columns.items()}, range(rows)
    )
    if arguments.get("time") in columns:
        example[arguments["time"]] = pd.date_range("2026-01-01", periods=rows, freq="h").astype(str)
    if "prompt" in columns:
        example["prompt"] = winner.meta["vocabulary"][-1]
    return example


def _answer_to_file(winner: Winner) -> pd.DataFrame:
    """Return a table of predictions for a file with one sequence, for its form alone."""
    nobody = New(np.zeros((1, 1, 1)), np.ones(1, dtype=np.int64), {"names": ["a"]})
    outputs = np.zeros((1, winner.module.task.output_size))
    return pd.DataFrame(winner.task.answers(outputs, nobody, winner.config.task_arguments, winner.meta))
