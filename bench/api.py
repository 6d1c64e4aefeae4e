"""The bench from Python: sweeps of your own data, their answers, and the best model as an object.

    import bench

    sweep = bench.sweep("my.csv", task="forecasting", target="load", length=96, horizon=24, budget="10m")
    print(sweep.answer)
    best = sweep.best()
    best.predict("new.csv")
    best.evaluate("new_with_load.csv").scores

Everything is as on the command line: the same settings, checks, results folder and resumption. What the command line
reports in one line is raised as an exception of `bench.errors`.
"""

import contextlib
import html
import re
import shlex
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

import numpy as np
import pandas as pd

from bench.cli.notebook import NotebookScreen, is_notebook
from bench.cli.options import plain_type
from bench.cli.screen import Screen
from bench.cli.sweeping import checked_plan
from bench.config.sweep_settings import SweepConfig, flag, split_names
from bench.data import frames
from bench.errors import (
    BenchError,
    DeclarationError,
    NoRunSucceededError,
    StoreError,
    SweepLockedError,
    UnknownNameError,
)
from bench.results import answers, leaderboard, tables
from bench.results.record import records
from bench.sweeps import coordinator
from bench.sweeps.stop import Stop

if TYPE_CHECKING:
    from bench.export.evaluate import Evaluation
    from bench.sweeps.prepare import Plan
    from bench.sweeps.status import Outcome, Status

ALIASES = {"dataset": "datasets", "length": "lengths"}
"""Settings that the command line names in the singular."""

_OPTIONS = {
    flag(name): {plural: one for one, plural in ALIASES.items()}.get(name, name) for name in SweepConfig.model_fields
}
_OPTION = re.compile(r"--[a-z][a-z-]*")
_EXPORT = re.compile(r"python -m bench export --model ('[^']*'|[^\s)]+)( --ensemble)?")  # a name with blanks is quoted
_RUNNING = threading.Lock()


def sweep(data: Any = None, y: Any = None, *, progress: bool = True, **settings: Any) -> "Sweep":
    """Tune, train, confirm and rank models, or resume a sweep that was stopped.

    Args:
        data: Your own data, in one of these forms. None for the dataset cards that `dataset` names, or for the default
            sweep.

            - A path, or a list of paths, of files as `python -m bench sweep --data` takes them. The path of a sweep
              file (.toml) gives settings, which those of this call override.
            - A pandas DataFrame (or Series, Polars or PyArrow table). Columns are named by `target`, `features`,
              `time`, `group`, `label` and `text`. An index of times becomes the column `time`; an index with a name
              becomes a column of that name.
            - An array of shape (examples, steps) or (examples, steps, channels), the labels or targets in `y`. If there
              are fewer steps than channels, `layout` must say which axis comes last: "channels-last", or
              "channels-first" for (examples, channels, steps). A list of arrays of shape (steps,) or (steps, channels)
              holds examples of unequal length.
            - With `task="forecasting"`, an array of shape (steps,) or (steps, channels), the past of one series.
              Channels are named channel_1, channel_2, …, and a single one `value`.
            - A list of texts, their labels in `y`.
        y: Of arrays and texts, shape (examples,): classes, as whole numbers or names, or with `task="regression"`
            numbers, in their own unit.
        progress: Whether to show progress: lines and a live view on standard error, or a bar in a notebook.
        **settings: The settings of a sweep file, such as `length`, `horizon`, `models`, `budget`, `name` or `results`.
            `python -m bench sweep --help` describes them. Write max_run_seconds for --max-run-seconds. A list of one
            entry may be given as the entry. Times are seconds, or texts such as "90s", "10m" and "2h".

    Returns:
        The sweep with its leaderboard, answer, report and best model. The same call resumes a sweep that was stopped,
        and returns at once if the sweep is complete. Tables and arrays are kept as a file in results/data, so that the
        command line can resume their sweep too.

    Raises:
        DeclarationError, UnknownNameError: A setting is not valid.
        DataError, DataMissingError: The data are not valid, or missing; the message names line or row, and column.
        HardwareError: A requested device is missing.
        SweepLockedError: Another process, or another thread of this one, works on a sweep.
        NoRunSucceededError: Every run failed.
        StoreError: A file of the sweep is damaged or cannot be written.
        KeyboardInterrupt: Ctrl-C, after all runs were stopped cleanly.
    """
    began = time.monotonic()
    display: Any = _Silent() if not progress else NotebookScreen() if is_notebook() else Screen()
    if not _RUNNING.acquire(blocking=False):
        raise SweepLockedError("another thread of this process runs a sweep; wait until it has ended")
    try:
        plan = _plan(data, y, settings, display)
        with _in_words_of_python(), display:
            outcome = coordinator.run(plan, display, began=began, stop=Stop(leaves=False))
        if outcome.exit_code >= 128:
            _interrupt(plan, outcome, display)
        return _finished(plan, outcome, display)
    finally:
        _RUNNING.release()


class Sweep:
    """A sweep on disk, finished or not: its leaderboard, answer, report and best model.

    `bench.Sweep("results/sweeps/NAME")` opens an earlier one; it may have been made by the command line.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open the sweep in `folder`. Raises StoreError if there is none."""
        self.folder = Path(folder)
        if not (self.folder / "sweep.json").exists():
            rule = "no sweep in this folder; give a folder that holds a sweep.json, such as results/sweeps/NAME"
            raise StoreError(f"{self.folder}: {rule}")

    @property
    def name(self) -> str:
        """The name of the sweep."""
        return self.folder.absolute().name

    @property
    def answer(self) -> str:
        """Which model is best at each dataset and length, in sentences, one a line. Raises StoreError."""
        return "\n".join(_answers(self.leaderboard()))

    def leaderboard(self) -> pd.DataFrame:
        """Return a row for each model or cheap baseline on each dataset at each length, the best first.

        results/README.md defines the columns and their units. Raises StoreError.
        """
        return leaderboard.build(self.folder)

    def report(self) -> Path:
        """Write the report, one HTML page that needs no network, and return its path. Raises StoreError."""
        from bench.report import report
        from bench.tracking import models

        path = report.write(self.folder)
        problem = models.log_report(self._results, self.folder, path)
        if problem:
            warnings.warn(f"the report is written, but not logged to MLflow: {problem}", stacklevel=2)
        return path

    def best(
        self,
        *,
        dataset: str | None = None,
        length: int | None = None,
        model: str | None = None,
        ensemble: bool = False,
        refit: bool = False,
    ) -> "Model":
        """Return the best model on validation, which may be a cheap baseline, ready to use.

        It is exported into the folder `exports` of the sweep, once; the folder can be used without the sweep.

        Args:
            dataset: Needed if the sweep has several.
            length: Needed if the sweep has several for the dataset.
            model: A model or cheap baseline to take instead of the best.
            ensemble: Average the answers of all confirmed seeds: better, but slower.
            refit: Train the model again on the training and validation split together.

        Raises:
            DeclarationError, UnknownNameError: The choice is not clear, or names something that is not there.
            StoreError: Nothing is confirmed yet, or the export cannot be written.
        """
        from bench.export import export as exports

        with _in_words_of_python():
            out, _ = exports.keep(self.folder, self._results, dataset, length, model, ensemble, refit)
        return Model(out)

    @property
    def _results(self) -> Path:
        return self.folder.absolute().parents[1]

    def __repr__(self) -> str:
        return f"Sweep({str(self.folder)!r})"

    def __str__(self) -> str:
        return f"sweep {self.name}\n{self.answer}"

    def _repr_html_(self) -> str:
        """Return the answer and the leaderboard for a notebook."""
        board = self.leaderboard()
        parts = [f"<p>{html.escape(line)}</p>" for line in _answers(board)]
        for title, cells in tables.for_people(board).items():
            head, rows = tables.filled(list(tables.SHOWN.values()), cells)
            shown = pd.DataFrame(rows, columns=head).to_html(index=False, border=0)
            parts += [f"<p><b>{html.escape(title)}</b></p>", shown]
        return "\n".join(parts)


class Model:
    """An exported model, a network or a cheap baseline, in a folder that needs no sweep.

    `bench.Model("best")` opens what `python -m bench export --out best` wrote.
    """

    def __init__(self, folder: str | Path, *, trust: str | Path | None = None) -> None:
        """Read the model in `folder`.

        Args:
            folder: What `python -m bench export` wrote.
            trust: The `model.py` in it, if the network is an own model that was never named on this machine. Its code
                runs, so read it first if it comes from somebody else.

        Raises StoreError if a file is missing or damaged, and DeclarationError if code is not trusted.
        """
        from bench.config import own_code
        from bench.export.predictor import ExportedModel

        self.folder = Path(folder)
        if trust is not None:
            own_code.allow(Path(trust))
        self._exported = ExportedModel.load(self.folder)

    def predict(self, data: Any, *, num_tokens: int = 200, temperature: float = 0.8, seed: int = 0) -> pd.DataFrame:
        """Return the predictions for new data, which need no labels.

        Forecasts continue from the last rows of each series, a row for each step of the horizon, with its time if the
        data have times. Classes have probabilities, and predicted numbers are in the unit of the target. Tagging gives
        a row for each step. Language models continue prompts, given as a list of texts or in a column `prompt`.

        Args:
            data: A path, or data in the form that the model was trained on; see `bench.sweep`.
            num_tokens: For language models: how many tokens to write.
            temperature: For language models: randomness, at least 0; 0 takes the likeliest token.
            seed: For language models: seed of the random draws.

        Remarks about the data are given as warnings, and in `attrs["remarks"]` of the table. Raises BenchError.
        """
        from bench.config.contracts import Sampling

        with self._as_file(data) as path:
            answer = self._exported.predict(path, Sampling(num_tokens, temperature, seed))
            if path.name in (frames.FRAME, frames.ARRAYS):
                answer.attrs["remarks"] = [_without_path(remark, path) for remark in answer.attrs["remarks"]]
        for remark in answer.attrs["remarks"]:
            warnings.warn(remark, stacklevel=2)
        return answer

    def evaluate(self, data: Any, y: Any = None) -> "Evaluation":
        """Return the scores of the model on new data whose answers are known, with a 95 % interval.

        Forecasts are scored on all windows of the data.

        Args:
            data: A path, or data in the form that the model was trained on, with the column that was predicted; see
                `bench.sweep`. Language models are scored on a text file.
            y: Of arrays and texts, shape (examples,): the classes or numbers that are known.

        Returns:
            `scores` by metric, `score` by the `metric` that selected the model, its interval from `low` to `high`, the
            scores on the `test` split of the sweep, `classes` with precision, recall and F1, and `remarks`, which are
            given as warnings too. `as_dict()` has everything as plain data.

        Raises BenchError.
        """
        from bench.export.evaluate import evaluated

        if self._exported.config.task == "language_modelling" and not frames.is_paths(data, y):
            raise DeclarationError("a language model is scored on a text; give the path of a text file")
        with self._as_file(data, y) as path:
            evaluation = evaluated(self._exported, path, self.folder)
            if path.name in (frames.FRAME, frames.ARRAYS):
                evaluation.remarks[:] = [_without_path(remark, path) for remark in evaluation.remarks]
        for remark in evaluation.remarks:
            warnings.warn(remark, stacklevel=2)
        return evaluation

    @contextlib.contextmanager
    def _as_file(self, data: Any, y: Any = None) -> Iterator[Path]:
        """Give data as a file, which is removed again if it is not the caller's."""
        with tempfile.TemporaryDirectory() as folder:
            if frames.is_paths(data, y) and not isinstance(data, list | tuple):
                path = Path(data)
            else:
                content = frames.as_table(data, y, self._exported.config.task, "channels-last")
                if self._exported.config.task == "language_modelling" and isinstance(content, pd.DataFrame):
                    content = content.rename(columns={"text": "prompt"})
                is_frame = isinstance(content, pd.DataFrame)
                path = Path(folder) / (frames.FRAME if is_frame else frames.ARRAYS)
                frames.write(content, path)
            with _in_words_of_python(path if path.parent == Path(folder) else None):
                yield path

    def __repr__(self) -> str:
        return f"Model({str(self.folder)!r})"


def predict(folder: str | Path, data: Any, **sampling: Any) -> pd.DataFrame:
    """Return predictions for new data by the exported model in `folder`, or by the best of the sweep in `folder`.

    See `Model.predict` and `Sweep.best`. Raises BenchError.
    """
    return _model(folder).predict(data, **sampling)


def evaluate(folder: str | Path, data: Any, y: Any = None) -> "Evaluation":
    """Return the scores of the exported model in `folder`, or of the best of the sweep in `folder`, on new data.

    See `Model.evaluate` and `Sweep.best`. Raises BenchError.
    """
    return _model(folder).evaluate(data, y)


def _model(folder: str | Path) -> Model:
    return Sweep(folder).best() if (Path(folder) / "sweep.json").exists() else Model(folder)


# Settings and data


def _plan(data: Any, y: Any, settings: dict[str, Any], display: Any) -> "Plan":
    """Return what a sweep will do. Raises BenchError; a file that was written for data with a mistake is removed."""
    options = _options(settings)
    if y is not None and data is None:
        raise DeclarationError("y needs data: give the array of examples first")
    stored, is_new = None, False
    file = Path(data) if isinstance(data, str | Path) and str(data).endswith(".toml") else None
    with _in_words_of_python():
        config = SweepConfig.build(file, options)
    if data is not None and file is None:
        if frames.is_paths(data, y):
            options["data"] = [Path(path) for path in (data if isinstance(data, list | tuple) else [data])]
        else:
            stored, is_new = frames.store(data, y, config.task, config.layout, config.results / "data")
            options |= {"data": [stored]} | _roles_of_arrays(y, options)
    try:
        with _in_words_of_python(stored):
            return checked_plan(SweepConfig.build(file, options), display.say)
    except BenchError:
        if stored is not None and is_new:
            frames.forget(stored)
        raise


def _options(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as the keys and values of a sweep file. Raises BenchError for a key that is not known."""
    options = {}
    for key, value in settings.items():
        name = ALIASES.get(key, key)
        if name not in SweepConfig.model_fields:
            raise UnknownNameError("setting", key, [*SweepConfig.model_fields, *ALIASES])
        if name in options:
            raise DeclarationError(f"{key} and {name} are the same setting; give one of them")
        options[name] = _value(name, value)
    return options


def _value(name: str, value: Any) -> Any:
    """Return a value as a sweep file holds it: plain numbers, lists, and texts."""
    if isinstance(value, np.ndarray | pd.Index | pd.Series | range | tuple | set):
        value = list(value)
    if isinstance(value, list):
        return [entry.item() if isinstance(entry, np.generic) else entry for entry in value]
    value = value.item() if isinstance(value, np.generic) else value
    if name == "budget" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)  # seconds
    if name in ("models", "datasets") and isinstance(value, str):
        return split_names(value)  # as on the command line; a column's name may hold a comma
    is_list = get_origin(plain_type(SweepConfig.model_fields[name].annotation)) is list
    return [value] if is_list and value is not None else value


def _roles_of_arrays(y: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that say what the columns of an array's table are for."""
    if y is None or options.get("task") != "regression":
        return {}
    return {"group": frames.EXAMPLE, "target": [frames.TARGET], "layout": None}


@contextlib.contextmanager
def _in_words_of_python(path: Path | None = None) -> Iterator[None]:
    """Name settings in errors as this module does: horizon for --horizon; and your table for the file it is in."""
    try:
        yield
    except BenchError as error:
        text = _OPTION.sub(lambda option: _OPTIONS.get(option[0], option[0]), str(error))
        error.args = (text if path is None else _without_path(text, path),)
        raise


def _answers(board: pd.DataFrame) -> list[str]:
    """Return the answers of a sweep, with the call that returns a cheap baseline for the command that exports it."""

    def call(found: re.Match[str]) -> str:
        name = shlex.split(found[1])[0]
        return f"sweep.best(model={name!r}{', ensemble=True' * bool(found[2])})"

    return [_EXPORT.sub(call, line) for line in answers.lines(board)]


def _without_path(text: str, path: Path) -> str:
    """Return a text that names your table or arrays instead of the file that holds them."""
    what = "DataFrame" if path.name == frames.FRAME else "arrays"
    for spelling in (str(path.absolute()), str(path), path.name):
        text = text.replace(spelling, what)
    return text


# The end of a sweep


class _Silent:
    """Shows nothing."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    def say(self, text: str) -> None: ...

    def update(self, status: "Status") -> None: ...


def _interrupt(plan: "Plan", outcome: "Outcome", display: Any) -> None:
    """Hand on the signal that stopped a sweep: your program decides what it means. Raises KeyboardInterrupt."""
    display.say(f"interrupted; call again with the same arguments to resume sweep {plan.name}")
    signal.raise_signal(outcome.exit_code - 128)
    raise KeyboardInterrupt


def _finished(plan: "Plan", outcome: "Outcome", display: Any) -> Sweep:
    """Return a sweep that has ended. Raises NoRunSucceededError."""
    if outcome.exit_code:
        raise NoRunSucceededError(f"sweep {plan.name}: {_why_none(plan, outcome)}")
    sweep = Sweep(plan.folder)
    tables.write_csv(sweep.leaderboard(), plan.folder / "leaderboard.csv")
    if plan.config.budget == "smoke":
        display.say("budget smoke only shows that everything runs; it does not compare models")
    if outcome.ended_by:
        display.say(f"ended early: {outcome.ended_by}")
    if not outcome.tracked:
        display.say(f"MLflow: some runs are missing; to add them, run: python -m bench sync {plan.name}")
    if plan.config.diagnose:
        from bench.export.diagnose import of_winners

        for line in of_winners(plan.config.results, plan.folder):
            display.say(line)
    return sweep


def _why_none(plan: "Plan", outcome: "Outcome") -> str:
    """Return why no run of a sweep succeeded."""
    failed = next((record for record in records(plan.folder) if record.state == "failed"), None)
    if failed is not None:
        where = plan.folder / "runs" / failed.config.run / "log.txt"
        return f"no run succeeded; the first failed with {failed.cause}: {failed.message}; see {where}"
    return f"no run ended within the budget ({outcome.ended_by or plan.config.budget}); give more"
