"""Scores of an exported model on new labelled data.

B batch, L steps, C outputs.
"""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench.config.contracts import Batch, Goal, Labelled
from bench.config.measures import MEASURES
from bench.data.files import checksum
from bench.errors import DataError, DeclarationError
from bench.export.predictor import CONFIG, ExportedModel, check_path, read_json
from bench.results import sampling
from bench.results.classes import ClassCounts, counts_of
from bench.results.sampling import LeftOut


@dataclass(frozen=True)
class Evaluation:
    """How well an exported model answers the examples of a file whose answers are known."""

    model: str  # search space, or title of the cheap baseline
    metric: str  # the one that selected it
    goal: Goal
    scores: dict[str, float]  # by metric; errors of forecasts also by target, in the units of the file
    low: float  # 95 % interval of the score by `metric`, from the sampling of examples; NaN for too few examples
    high: float
    num_examples: int  # sequences, or windows
    test: dict[str, float]  # scores of the exported model on the test split of its sweep; empty if not known
    classes: ClassCounts | None = None  # None if there are no classes
    remarks: list[str] = field(default_factory=list)  # what to know about the file, and about the scores

    @property
    def score(self) -> float:
        """The score by the metric that selected the model."""
        return self.scores[self.metric]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON: numbers that are not known are None."""
        known = {name: None if value != value else value for name, value in (("low", self.low), ("high", self.high))}
        facts: dict[str, Any] = {
            "model": self.model,
            "metric": self.metric,
            "goal": self.goal,
            "scores": self.scores,
            **known,
        }
        facts |= {"num_examples": self.num_examples, "test": self.test, "remarks": self.remarks}
        if self.classes is not None:
            columns = ("names", "support", "predicted", "correct", "precision", "recall", "f1", "confused")
            facts["classes"] = {name: getattr(self.classes, name) for name in columns}
        return facts


def evaluate(folder: Path, file: Path) -> Evaluation:
    """Return the scores of the exported model in `folder` on a file with answers, in the form of the training files.

    Sequences are prepared as for training: by the exported vocabulary, classes and scale. Forecasts are scored on all
    windows of the file whose targets are known. Raises BenchError.
    """
    return evaluated(ExportedModel.load(folder), file, folder)


def evaluated(model: ExportedModel, file: Path, folder: Path | None = None) -> Evaluation:
    """Return the scores of an exported model on a file; those of its sweep are read from `folder`, if given."""
    if model.predictor is None:
        raise DeclarationError(f"{file}: a model of '{model.config.task}' reads no files; its data are synthetic")
    try:
        check_path(file, model.predictor.folders)
        found = model.predictor.labelled(file, model.num_steps)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}; give another file") from None
    batch = found.batch
    outputs = model.scored(batch)
    scores = model.predictor.scores(outputs, batch)
    described = _described(model)
    of_test = getattr(model.task, "test_metric", None)
    metric = of_test if of_test in scores else model.task.metric  # a file without labels shows the errors of forecasts
    if metric not in scores:
        raise DataError(f"{file}: {model.name} makes no forecasts, and no row is labelled as anomalous; give labels")
    left_out = None if metric == of_test else LeftOut.of(described, outputs, batch, model.predictor.scores)
    measure, test = MEASURES[metric], {} if folder is None else read_json(folder / CONFIG).get("test") or {}
    low, high = sampling.interval(scores[metric], [left_out] if left_out else [], measure.least, measure.most)
    remarks = [*model.remarks, *(remark.about(file.name) for remark in found.about.get("remarks", []))]
    test = {name: value for name, value in test.items() if name in MEASURES}
    evaluation = Evaluation(
        model=model.name,
        metric=metric,
        goal=measure.goal,
        scores=scores | _in_units(found, outputs, batch),
        low=low,
        high=high,
        num_examples=len(batch.x),
        test=test,
        classes=counts_of(described, outputs, batch),
        remarks=remarks,
    )
    evaluation.remarks.extend(_remarks(model, file, evaluation))
    return evaluation


def _described(model: ExportedModel) -> Any:
    """Return the declarations of a task that sampling errors and counts by class need."""
    task = model.task
    kind = "language" if task.keep == "nll" else "forecasting" if hasattr(task, "horizon") else "series"
    kind = "music" if task.loss == "bernoulli" else kind
    facts = {name: getattr(task, name) for name in ("metric", "per_step", "loss", "keep", "output_size")}
    return SimpleNamespace(kind=kind, meta=model.meta, **facts)


def _in_units(found: Labelled, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
    """Return the mean absolute error of each target of forecasts in the units of the file."""
    if "targets" not in found.about or outputs.ndim == 1:
        return {}
    error = np.abs(outputs.astype(np.float64) - batch.y).reshape(len(outputs), -1, len(found.about["targets"]))
    errors = (error * found.about["scale"][:, None]).mean((0, 1))
    return {f"mae of {name}": float(value) for name, value in zip(found.about["targets"], errors, strict=True)}


def _remarks(model: ExportedModel, file: Path, evaluation: Evaluation) -> list[str]:
    """Return what to know before the scores are believed."""
    remarks = []
    before, now = evaluation.test.get(evaluation.metric), evaluation.score
    trained_on = {data["sha256"] for data in model.config.task_arguments.get("files", []) if "sha256" in data}
    if file.is_file() and checksum(file) in trained_on:
        remarks.append(f"{file.name}: the model was trained on this file, so its scores say nothing about new data")
    elif before is not None and not evaluation.low <= before <= evaluation.high and evaluation.low == evaluation.low:
        sign = 1 if evaluation.goal == "maximize" else -1
        way = "better" if sign * now > sign * before else "worse"
        split = f"{evaluation.metric} was {before:.4g} on the test split of the sweep"
        remarks.append(f"{split}: {way} here by more than the sampling of these examples explains")
    if evaluation.classes is not None and (names := evaluation.classes.never_predicted):
        remarks.append(f"never predicted: {', '.join(names[:10])}" + ", …" * (len(names) > 10))
    return remarks
