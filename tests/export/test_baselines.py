"""A cheap baseline is exported like a network: the best row by default, any by name, and it answers new files."""

import functools
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from bench.baselines import exponential_smoothing, forest_on_summary, hydra, minirocket, quant
from bench.config.contracts import Sampling
from bench.config.datasets import Dataset
from bench.config.settings import RunConfig, TrainSettings
from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.errors import DeclarationError, StoreError, UnknownNameError
from bench.export import export as exporting
from bench.export.evaluate import evaluate
from bench.export.export import export
from bench.export.predictor import ExportedBaseline, ExportedModel
from bench.report import report
from bench.results import cell_runs, leaderboard
from bench.results.leaderboard import Status
from bench.results.record import FORECASTS, RunRecord, write_json
from bench.training.train import run
from tests.export.kinds import KINDS, RECIPES, swept
from tests.makers import record

FORMS = {  # the kind of file, the baseline, and the columns of its answers
    "forecast": ("seasonal_naive", ["timestamp", "load"]),
    "regression": ("forest_on_summary", ["id", "target"]),
    "ts": ("minirocket", None),
    "text": ("nb_svm", None),
    "tagging": ("tag_of_token", None),
    "language": ("kneser_ney_5", ["prompt", "text", "unknown_tokens"]),
}


def fitted(folder: Path, card, length: int) -> Path:
    """Return the folder of a sweep of which only the cheap baselines have run."""
    sweep = folder / "results" / "sweeps" / "s"
    name = f"{card.name}/L{length}/_baselines"
    config = RunConfig(
        sweep="s", run=name, phase="baselines", number=0, dataset=card.name, task=card.task, length=length,
        task_arguments=card.arguments, space="gru", model="gru", model_arguments={},
        train=TrainSettings(max_sequences=64, batch_size=16, num_epochs=1, num_val=40, num_test=40), seed=0,
    )  # fmt: skip
    (sweep / "runs" / name).mkdir(parents=True)
    record = run(config, folder=sweep / "runs" / name)
    assert record.state == "complete", record.message
    record.write(sweep / "runs" / name)
    spec = {"top_k": 1, "trials": 1, "confirm_seeds": 1, "spec": {"cells": [f"{card.name}/L{length}/gru"]}}
    if not (sweep / "sweep.json").exists():
        write_json(sweep / "sweep.json", spec)
    return sweep


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Fit fewer trees and features and search for less long: what is checked does not depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forest_on_summary, "TREES", 5)
        patch.setattr(exponential_smoothing, "STEPS", 5)
        patch.setattr(minirocket, "FEATURES", 168)
        patch.setattr(hydra, "GROUPS", 4)
        patch.setattr(quant, "TREES", 5)
        yield


@pytest.fixture
def plain(monkeypatch):
    """Leave out the MLflow model, which takes seconds."""
    monkeypatch.setattr(exporting, "_export_mlflow", lambda *_: "mlflow_model: left out")


def own(folder: Path, kind: str):
    maker, options = KINDS[kind]
    file = maker(folder)
    made = own_data.make(SweepConfig(data=[file], **options))
    assert made is not None
    return file, made.card, options["lengths"][0]


class Swept(NamedTuple):
    """A sweep of a kind of file; tests must not write to it."""

    file: Path
    card: Dataset
    length: int
    folder: Path

    @property
    def cheap(self) -> RunRecord:
        """The record of the cheap baselines."""
        return RunRecord.read(self.folder / "runs" / self.card.name / f"L{self.length}" / "_baselines")


@pytest.fixture(scope="module")
def of_baselines(tmp_path_factory, quick):
    """Return the sweep of a kind in which only the cheap baselines have run; each runs once."""

    @functools.cache
    def make(kind: str) -> Swept:
        folder = tmp_path_factory.mktemp("baselines")
        file, card, length = own(folder, kind)
        return Swept(file, card, length, fitted(folder, card, length))

    return make


@pytest.fixture(scope="module")
def of_both(tmp_path_factory, quick):
    """Return the sweep of a kind in which the cheap baselines and then a network have run; each runs once."""

    @functools.cache
    def make(kind: str) -> Swept:
        folder = tmp_path_factory.mktemp("both")
        file, card, length = own(folder, kind)
        fitted(folder, card, length)
        return Swept(file, card, length, swept(folder, card, length, **RECIPES.get(kind, {})))

    return make


@pytest.mark.parametrize("kind", ["forecast", "ts", "text"])
def test_a_baseline_is_fitted_again_on_train_and_val(of_baselines, tmp_path, plain, kind):
    file, card, length, sweep = of_baselines(kind)
    told = export(sweep, tmp_path / "results", None, None, FORMS[kind][0], tmp_path / "out", is_refit=True)
    settings = json.loads((tmp_path / "out" / "config.json").read_text())
    assert settings["baseline"]["refit"] is True
    metric = card.at(length).metric
    shown = f"refit on train and val; {metric} of the exported model: test {settings['test'][metric]:.4g}"
    assert told[1] == shown
    assert settings["val"] == {}  # learned from it
    assert len(ExportedModel.load(tmp_path / "out").predict(file)) > 0
    assert evaluate(tmp_path / "out", file).test == settings["test"]


def test_a_language_model_is_not_fitted_again(of_baselines, tmp_path):
    sweep = of_baselines("language").folder
    with pytest.raises(DeclarationError, match="--refit: not supported for language_modelling"):
        export(sweep, tmp_path, None, None, "kneser_ney_5", tmp_path / "out", is_refit=True)


@pytest.mark.parametrize("kind", FORMS)
def test_a_baseline_by_name_answers_a_new_file(of_baselines, tmp_path, plain, kind):
    name, columns = FORMS[kind]
    file, _, _, sweep = of_baselines(kind)
    told = export(sweep, tmp_path / "results", None, None, name, tmp_path / "out")
    assert "the same answers to the last bit" in told[1]
    settings = json.loads((tmp_path / "out" / "config.json").read_text())
    record = of_baselines(kind).cheap
    assert settings["baseline"]["name"] == name
    assert settings["test"] == record.fitted[name].test
    model = ExportedModel.load(tmp_path / "out")
    assert isinstance(model, ExportedBaseline)
    found = model.predict(file, Sampling(5))
    assert len(found) > 0
    assert columns is None or list(found.columns) == columns
    assert not found.isna().any().any()
    evaluation = evaluate(tmp_path / "out", file)
    assert evaluation.model == record.fitted[name].title
    assert evaluation.low <= evaluation.score <= evaluation.high
    assert evaluation.test == record.fitted[name].test


def test_without_a_name_validation_decides_between_models_and_baselines(of_both, tmp_path, plain):
    _, card, _, sweep = of_both("forecast")
    records, cheap = list(exporting.records(sweep)), of_both("forecast").cheap
    cells = list(cell_runs.by_cell(records, 1).values())
    best = cell_runs.best_row(cells, cheap)
    values = {name: row.val["mse"] for name, row in cheap.fitted.items()}
    network = next(record for record in records if record.config.phase == "confirm").val["mse"]
    assert best.baseline == min(values, key=values.get)
    assert values[best.baseline] < network  # a network of four steps
    told = export(sweep, tmp_path / "results", None, None, None, tmp_path / "out")
    assert cheap.fitted[best.baseline].title in told[0]
    assert export(sweep, tmp_path / "results", None, None, "gru", tmp_path / "gru")[0].startswith(
        f"{card.name}/L12/gru"
    )
    # The other way round: a model that is better on validation is taken.
    worse = {name: row.model_copy(update={"val": {"mse": 1e6}}) for name, row in cheap.fitted.items()}
    assert cell_runs.best_row(cells, cheap.model_copy(update={"fitted": worse})).baseline is None


@pytest.mark.parametrize("kind", ["forecast", "groups", "forecast by a recipe"])
def test_a_test_run_of_forecasts_keeps_three_windows_with_the_truth_and_the_best_baseline(of_both, kind):
    file, card, length, sweep = of_both(kind)
    stored = json.loads((sweep / "runs" / card.name / f"L{length}" / "gru" / "t0-test" / FORECASTS).read_text())
    cheap = of_both(kind).cheap
    assert stored["baseline"] == cheap.fitted[cell_runs.best_baseline(cheap)].title
    assert [window["kind"] for window in stored["windows"]] == ["best", "median", "worst"]
    errors = [window["mse"] for window in stored["windows"]]
    assert errors == sorted(errors)
    table = pd.read_csv(file)
    values = table[stored["target"]].tolist()
    for window in stored["windows"]:
        rows = [*window["history"], *window["truth"]]
        assert len(window["forecast"]) == len(window["baseline"]) == len(window["truth"])
        if window["time"] is not None:
            first = table["timestamp"].tolist().index(window["time"][:19].replace("T", " "))
            before = len(window["history"])
            assert rows == pytest.approx(values[first - before : first + len(window["truth"])], abs=1e-3)
    page = report.render(sweep)
    assert "worst window" in page
    assert "Learning curves" in page


def test_of_equals_the_larger_prior_and_then_the_baseline_is_taken(of_both):
    records, cheap = list(exporting.records(of_both("ts").folder)), of_both("ts").cheap
    cells = list(cell_runs.by_cell(records, 1).values())
    score = next(record for record in records if record.config.phase == "confirm").val["accuracy"]
    same = {name: row.model_copy(update={"val": {"accuracy": score}}) for name, row in cheap.fitted.items()}
    assert cell_runs.best_row(cells, cheap.model_copy(update={"fitted": same})).baseline == "minirocket"


@pytest.mark.parametrize(("ahead", "taken"), [(0.9, "minirocket"), (1.1, None)])
def test_a_model_must_be_ahead_of_a_baseline_by_a_standard_error(of_both, ahead, taken):
    records, cheap = list(exporting.records(of_both("ts").folder)), of_both("ts").cheap
    value, num_val = 0.8, cheap.config.train.num_val
    rows = {name: row.model_copy(update={"val": {"accuracy": value}}) for name, row in cheap.fitted.items()}
    score = value + ahead * (value * (1 - value) / num_val) ** 0.5
    records = [
        record.model_copy(update={"val": record.val | {"accuracy": score}})
        if record.config.phase == "confirm"
        else record
        for record in records
    ]
    best = cell_runs.best_row(cell_runs.by_cell(records, 1).values(), cheap.model_copy(update={"fitted": rows}))
    assert best.baseline == taken


def test_titles_are_names_too_and_others_are_refused(of_baselines, tmp_path, plain):
    sweep = of_baselines("forecast").folder
    assert "repeat last" in export(sweep, tmp_path / "results", None, None, "repeat last", tmp_path / "out")[0]
    with pytest.raises(UnknownNameError, match="did you mean"):
        export(sweep, tmp_path / "results", None, None, "repeat lst", tmp_path / "other")


@pytest.mark.parametrize("content", [None, b"", b"no archive"])
def test_a_missing_or_damaged_file_is_one_line(of_baselines, tmp_path, plain, content):
    _, card, length, folder = of_baselines("forecast")
    sweep = Path(shutil.copytree(folder, tmp_path / "s"))
    export(sweep, tmp_path / "results", None, None, "repeat_last", tmp_path / "out")
    for path, act in (
        (sweep / "runs" / card.name / f"L{length}" / "_baselines" / "repeat_last.npz",
         lambda: export(sweep, tmp_path / "results", None, None, "repeat_last", tmp_path / "again")),
        (tmp_path / "out" / "baseline.npz", lambda: ExportedModel.load(tmp_path / "out")),
    ):  # fmt: skip
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(StoreError) as error:
            act()
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_mlflow_model_of_a_baseline_gives_the_same_answers(of_baselines, tmp_path):
    sweep = of_baselines("forecast").folder
    told = export(sweep, tmp_path / "results", None, None, "seasonal_naive", tmp_path / "out")
    assert told[3] == "mlflow_model: loads, and gives the same answers"


def test_the_leaderboard_has_their_figures(of_baselines, tmp_path):
    sweep, record = (
        Path(shutil.copytree(of_baselines("forecast").folder, tmp_path / "s")),
        of_baselines("forecast").cheap,
    )
    priced = record.config.model_copy(update={"usd_per_hour": 3.6})
    record.model_copy(update={"config": priced}).write(sweep / "runs" / record.config.run)
    board = leaderboard.build(sweep).set_index("model")
    row, facts = board.loc["(linear map of each series)"], record.fitted["linear_map"]
    assert row["score"] == facts.test["mse"]
    assert row["val_screening"] == facts.val["mse"]
    assert row["train_seconds"] == facts.fit_seconds
    assert row["latency_p95_milliseconds"] == facts.latency_p95_milliseconds
    assert (row["num_parameters"], row["size_bytes"]) == (facts.num_parameters, facts.size_bytes)
    assert row["usd"] == pytest.approx(facts.seconds / 1000)
    assert row["hardware"] == record.environment["hardware"]
    assert list(board["score"].dropna()) == sorted(board["score"].dropna())


def board(*rows):
    """Return a leaderboard of one question: a name, its rank (None for a baseline) and its test score each."""
    return pd.DataFrame(
        [
            {"dataset": "latch", "length": 8, "match": None, "model": name, "rank": rank, "score": score,
             "metric": "accuracy", "goal": "maximize", "solved": None, "chosen_by_validation": None,
             "status": Status.BASELINE if rank is None else Status.COMPLETE}
            for name, rank, score in rows
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("lstm", 1, 0.9), ("gru", 2, 0.8)], None),
        ([("gru", 1, 0.9), ("lstm", 2, 0.8)], "the answer names gru, the best on the test split (accuracy 0.9)"),
        (
            [("gru", 1, 0.9), ("lstm", 1, 0.89)],
            "the answer names gru, which is statistically tied, the best on the test",
        ),
        (
            [("lstm", 1, 0.9), ("(naive Bayes)", None, 0.95)],
            "names naive Bayes, the best on the test split (accuracy 0.95): --model 'naive Bayes' exports it",
        ),
        ([("lstm", 1, 0.5), ("(chance)", None, 0.5)], None),
    ],
)
def test_an_export_says_if_the_answer_names_another_row(monkeypatch, rows, expected):
    monkeypatch.setattr(exporting.leaderboard, "build", lambda _: board(*rows))
    lines = exporting.other_best(Path("s"), record(), None)
    if expected is None:
        assert not lines
    else:
        (line,) = lines
        assert line.startswith(
            "lstm is exported, because it is the best on validation, and the test split must not choose; "
        )
        assert expected in line
