"""An exported model: loads the folder that `bench export` wrote and answers new files.

B batch, L steps, C outputs, P prompt.
"""

import hashlib
import json
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from bench.config import baseline, own_code, plugins
from bench.config.baseline import Baseline
from bench.config.contracts import Batch, Predictor, Sampling
from bench.config.settings import RunConfig
from bench.data.table_folders import FILE
from bench.errors import BenchError, DataError, DeclarationError, StoreError
from bench.training import ctc, generation
from bench.training.ensemble import Ensemble
from bench.training.evaluate import nats
from bench.training.module import SequenceModule

BATCH = 256
CONFIG, META, WEIGHTS, ONNX, OWN_MODEL, BASELINE = (
    "config.json", "preprocessing.json", "weights.safetensors", "model.onnx", "model.py", "baseline.npz",
)  # fmt: skip
FIX = "export the model again with `bench export`"


class ExportedModel(ABC):
    """A network or a cheap baseline, with all that it needs to answer new files."""

    task: Any  # the declarations of its task
    num_steps: int  # that it reads, at most
    input_size: int  # channels of values, or size of the vocabulary

    def __init__(self, config: RunConfig, meta: dict[str, Any]) -> None:
        self.config, self.meta = config, meta
        self.remarks: list[str] = []  # about the folder, for the user
        task = plugins.load("tasks", config.task)
        # Synthetic tasks read no files and have no predictor.
        kind: type[Predictor] | None = getattr(task, "Predictor", None)
        self.predictor = None if kind is None else kind(config.task_arguments, meta)
        if self.predictor is not None and config.task_arguments.get("group") == FILE:
            self.predictor.folders = True  # each file is a series
        for key, kind_of_value in (self.predictor.needs if self.predictor else {}).items():
            if not isinstance(meta.get(key), kind_of_value):
                raise ValueError(f"'{key}' must be a {kind_of_value.__name__}, but found {str(meta.get(key))[:40]!r}")

    @classmethod
    def load(cls, folder: Path) -> "ExportedModel":
        """Read a folder that `bench export` wrote, in this version or an earlier one. Raises StoreError."""
        settings = read_json(folder / CONFIG)
        meta = read_json(folder / META)
        known = settings.get("sha256", {})  # earlier versions have no checksums
        with _one_line(folder / CONFIG):
            config = RunConfig.model_validate(settings["run"])
            is_baseline = settings.get("baseline") is not None
        if config.model.endswith(".py") and not is_baseline:
            known = known | {OWN_MODEL: config.source_hash}
            config = config.model_copy(update={"model": str((folder / OWN_MODEL).absolute())})
        for name in known.keys() & {META, WEIGHTS, OWN_MODEL, BASELINE}:
            if known[name] and _checksum(folder / name) != known[name]:
                raise StoreError(f"{folder / name}: damaged, its SHA-256 has changed since the export; {FIX}")
        if OWN_MODEL in known:
            own_code.check(folder / OWN_MODEL, _checksum(folder / OWN_MODEL))
        made = _baseline(folder, settings) if is_baseline else _network(folder, settings, config)
        with _one_line(folder / META):
            model: ExportedModel
            if isinstance(made, Baseline):
                model = ExportedBaseline(made, SimpleNamespace(**settings["task"]), config, meta)
            else:
                model = ExportedNetwork(made, config, meta)
        if ONNX in known and (folder / ONNX).exists() and _checksum(folder / ONNX) != known[ONNX]:
            model.remarks = [f"{folder / ONNX}: damaged; predictions do not use it, but to replace it, {FIX}"]
        return model

    @abstractmethod
    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the raw outputs of prepared sequences: (B, C), or (B, L, C) if every step has a target."""

    @abstractmethod
    def generate(self, prompt: np.ndarray, sampling: Sampling, never: int | None) -> np.ndarray:
        """Return the token numbers that continue a prompt (P,), without token `never`. Raises DeclarationError."""

    @abstractmethod
    def nats(self, batch: Batch) -> np.ndarray:
        """Return the nats of the target at each step of windows of a text that follow each other, (B, L)."""

    def scored(self, batch: Batch) -> np.ndarray:
        """Return what the scores of a batch are computed from: raw outputs, or nats of each step of a text."""
        return self.nats(batch) if self.task.keep == "nll" else self.outputs(batch.x, batch.length)

    @property
    def name(self) -> str:
        """What it is: the search space, or the title of the cheap baseline."""
        return self.config.space

    def predict(self, path: Path, sampling: Sampling | None = None) -> pd.DataFrame:
        """Return the table of predictions for a new file; `attrs["remarks"]` holds what to print. Raises BenchError.

        `sampling` says how a language model continues each prompt; other models ignore it.
        """
        if self.predictor is None:
            raise DeclarationError(f"{path}: a model of '{self.config.task}' reads no files; its data are synthetic")
        sampling = generation.checked(sampling or Sampling())
        try:
            check_path(path, self.predictor.folders)
            new = self.predictor.read(path, self.num_steps)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}; give another file") from None
        table = pd.DataFrame(self.predictor.answer(self, new, sampling))
        table.attrs["remarks"] = [*self.remarks, *(remark.about(path.name) for remark in new.about.get("remarks", []))]
        return table


class ExportedNetwork(ExportedModel):
    """A network with its weights."""

    def __init__(self, module: SequenceModule | Ensemble, config: RunConfig, meta: dict[str, Any]) -> None:
        super().__init__(config, meta)
        self.module, self.task = module.eval(), module.task
        self.num_steps, self.input_size = module.task.num_steps, module.task.input_size

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the raw outputs of prepared sequences: (B, C), or (B, L, C) if every step has a target."""
        return network_outputs(self.module, x, length)

    def nats(self, batch: Batch) -> np.ndarray:
        """Return the nats of the target at each step of windows of a text that follow each other, (B, L)."""
        assert isinstance(self.module, SequenceModule)  # ensembles of language models are not exported
        return nats(self.module, batch)

    def generate(self, prompt: np.ndarray, sampling: Sampling, never: int | None) -> np.ndarray:
        """Return the token numbers that continue a prompt (P,), without token `never`. Raises DeclarationError."""
        assert isinstance(self.module, SequenceModule)  # ensembles of language models are not exported
        return generation.generate(self.module, prompt[None], *sampling, never)[0]


def network_outputs(module: SequenceModule | Ensemble, x: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return the outputs of a network in evaluation mode: (B, C), or (B, L, C) if every step has a target.

    Of a transcript they are the tokens that are written, (B, L) int64.
    """
    parts = []
    with torch.inference_mode():
        for start in range(0, len(x), BATCH):
            rows, steps = slice(start, start + BATCH), int(length[start : start + BATCH].max())
            outputs = module(torch.from_numpy(x[rows, :steps]), torch.from_numpy(length[rows]))
            if module.task.per_step:
                outputs = nn.functional.pad(outputs, (0, 0, 0, x.shape[1] - steps))
            elif module.task.loss == "ctc":
                outputs = ctc.best_path(outputs)
                outputs = nn.functional.pad(outputs, (0, x.shape[1] - outputs.shape[1]))
            parts.append(outputs.numpy())
    return np.concatenate(parts)


class ExportedBaseline(ExportedModel):
    """A cheap baseline with what it was fitted to."""

    def __init__(self, fitted: Baseline, task: Any, config: RunConfig, meta: dict[str, Any]) -> None:
        super().__init__(config, meta)
        self.fitted, self.task = fitted, task
        self.num_steps, self.input_size = fitted.num_steps or task.num_steps, task.input_size
        if self.predictor is not None:
            self.predictor.fills = False

    def outputs(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return the raw outputs of prepared sequences: (B, C), or (B, L, C) if every step has a target."""
        return self.fitted.outputs(x, length)

    def scored(self, batch: Batch) -> np.ndarray:
        """Return what the scores of a batch are computed from: outputs, nats of each step, or scores of anomalies."""
        return self.fitted.scored(batch, self.task)

    def nats(self, batch: Batch) -> np.ndarray:
        """Return the nats of the target at each step of windows of a text that follow each other, (B, L)."""
        return self.fitted.nats(batch)

    @property
    def name(self) -> str:
        """What it is: the title of the cheap baseline."""
        return self.fitted.title

    def generate(self, prompt: np.ndarray, sampling: Sampling, never: int | None) -> np.ndarray:
        """Return the token numbers that continue a prompt (P,), without token `never`. Raises DeclarationError."""
        return self.fitted.generate(prompt, sampling, never)


def _network(folder: Path, settings: dict[str, Any], config: RunConfig) -> SequenceModule | Ensemble:
    """Return the network of an exported folder, or the ensemble. Raises StoreError."""
    module: SequenceModule | Ensemble
    with _one_line(folder / CONFIG):
        task, members = SimpleNamespace(**settings["task"]), settings.get("ensemble")
        module = SequenceModule(task, config)
        if members:
            module = Ensemble([module, *(SequenceModule(task, config) for _ in members[1:])])
    with _one_line(folder / WEIGHTS):
        module.load_state_dict(load_file(folder / WEIGHTS))
    return module


def _baseline(folder: Path, settings: dict[str, Any]) -> Baseline:
    """Return the cheap baseline of an exported folder. Raises StoreError."""
    with _one_line(folder / CONFIG):
        fitted = baseline.make(settings["baseline"]["name"])
    with _one_line(folder / BASELINE):
        fitted.load(folder / BASELINE)
    return fitted


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write predictions as CSV. Raises StoreError if the file cannot be written.

    A text that a spreadsheet would run as a formula gets a leading quote; a label such as -1 stays as it is.
    """
    safe = table.copy()
    for column in safe.columns[[kind.kind not in "fiubM" for kind in safe.dtypes]]:
        safe[column] = safe[column].map(_inert)
    try:
        path.write_text(safe.to_csv(index=False, lineterminator="\n"), encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise StoreError(f"--out {path}: {error.strerror}; choose another file") from None


def _inert(value: Any) -> Any:
    is_formula = isinstance(value, str) and re.match(r"[=@\t\r\0]|[+-].", value) and not _is_number(value)
    return f"'{value}" if is_formula else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_path(path: Path, folders: bool) -> None:
    """Check for a file that can be read more than once, or for a folder if `folders`. Raises DataError."""
    if not path.exists():
        raise DataError(f"{path}: no such file; check the path")
    if path.is_dir() and not folders:
        raise DataError(f"{path}: a folder, but this model reads files; give a file in it")
    if not path.is_file() and not path.is_dir():
        raise DataError(f"{path}: neither a file nor a folder; save the input to a file first")
    if path.is_file() and not path.stat().st_size:
        raise DataError(f"{path}: empty; give a file with data")


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object of an exported folder. Raises StoreError."""
    with _one_line(path):
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError(f"must hold a JSON object, but holds a {type(value).__name__}")
    return value


def _checksum(path: Path) -> str:
    # Opened here: a missing file must not look like a damaged one.
    with _one_line(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Turn what a missing or damaged file of an export raises into one line. Raises StoreError."""
    try:
        yield
    except FileNotFoundError:
        raise StoreError(f"{path.parent}: has no {path.name}; give a folder that `bench export` wrote") from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}; {FIX}") from None
    except (
        BenchError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        SafetensorError,
        BadZipFile,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StoreError(f"{path}: damaged ({reason[:200]}); {FIX}") from None


class Served:
    """The model as MLflow serves it."""

    def __init__(self, model: ExportedModel) -> None:
        self.model = model

    def get_raw_model(self) -> ExportedModel:
        """Return the exported model."""
        return self.model

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return predictions for a table, as `bench predict` does for a file that holds it."""
        if self.model.predictor is None or self.model.predictor.example(1) is None:
            return pd.concat([self.model.predict(Path(path)) for path in frame["path"]], ignore_index=True)
        arguments = self.model.config.task_arguments
        form = {"sep": arguments.get("delimiter") or ",", "encoding": arguments.get("encoding") or "utf-8"}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv"
            if not arguments.get("header", True):  # a column is found by its number, also if one before it is missing
                frame = frame.rename(columns=str)
                frame = frame.reindex(columns=[str(n) for n in range(1, max(map(int, frame.columns)) + 1)])
            frame.to_csv(path, index=False, header=arguments.get("header", True), **form)
            return self.model.predict(path)


def _load_pyfunc(path: str) -> Served:
    """Return the model in a folder; MLflow calls a function of this name.

    Loading an MLflow model runs the code that it brings, this package among it, so that its own model is trusted too.
    """
    if (Path(path) / OWN_MODEL).exists():
        own_code.allow(Path(path) / OWN_MODEL)
    return Served(ExportedModel.load(Path(path)))
