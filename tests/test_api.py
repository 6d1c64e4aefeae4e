"""The bench from Python: a sweep of a table or of arrays, its answer and its model, and every mistake as an exception."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bench
from bench import api
from bench.cli.commands import main
from bench.config.sweep_settings import SweepConfig
from bench.data import frames
from bench.errors import BenchError, DataError, DeclarationError, StoreError, SweepLockedError, UnknownNameError
from bench.sweeps import coordinator
from bench.sweeps.stop import Stop
from tests.makers import hourly

ROOT = Path(__file__).parents[1]
SETTINGS = {
    "task": "forecasting", "target": "load", "length": 12, "horizon": 3, "models": "mlp", "budget": "smoke",
    "confirm_seeds": 1, "workers": 1,
}  # fmt: skip


def load(rows: int = 600) -> pd.DataFrame:
    steps = np.arange(rows)
    times = pd.date_range("2026-01-01", periods=rows, freq="h")
    return pd.DataFrame({"load": np.sin(steps / 24 * 2 * np.pi) + steps % 7 / 10}, index=times)


@pytest.fixture(scope="module")
def results(tmp_path_factory, quick_tables):
    return tmp_path_factory.mktemp("api") / "results"


@pytest.fixture(scope="module")
def sweep(results):
    return bench.sweep(load(), **SETTINGS, results=results, progress=False)


def test_a_sweep_of_a_table_has_a_leaderboard_an_answer_and_a_report(sweep, results):
    board = sweep.leaderboard()
    assert board["model"].iloc[0] == "mlp"
    assert set(board["dataset"]) == {"frame"}
    assert sweep.answer.startswith("frame at 12: ")
    assert sweep.folder.parent == results / "sweeps"
    assert (sweep.folder / "leaderboard.csv").exists()
    assert str(sweep) == f"sweep {sweep.name}\n{sweep.answer}"
    assert sweep.report().read_text().lower().startswith("<!doctype html>")
    shown = sweep._repr_html_()
    assert "<table" in shown
    assert "mlp" in shown


def test_an_answer_names_the_call_that_returns_a_cheap_baseline(sweep, monkeypatch):
    sentence = "use it (python -m bench export --model 'linear map'), or not (python -m bench export --model 1-NN)."
    monkeypatch.setattr(api.answers, "lines", lambda board: [sentence])
    assert sweep.answer == "use it (sweep.best(model='linear map')), or not (sweep.best(model='1-NN'))."
    monkeypatch.setattr(api.answers, "lines", lambda board: ["(python -m bench export --model gru --ensemble)"])
    assert sweep.answer == "(sweep.best(model='gru', ensemble=True))"


def test_the_same_call_and_the_command_line_resume_a_sweep_of_a_table(sweep, results, capsys):
    records = {path: path.stat().st_mtime_ns for path in sweep.folder.rglob("record.json")}
    again = bench.sweep(load(), **SETTINGS, results=results)
    assert again.folder == sweep.folder
    assert f"Resuming {sweep.name}" in capsys.readouterr().err
    (stored,) = (results / "data").rglob("*.parquet")
    words = "--task forecasting --target load --length 12 --horizon 3 --models mlp --budget smoke --confirm-seeds 1"
    words += f" --workers 1 --data {stored} --results {results}"
    assert CliRunner().invoke(main, ["sweep", *words.split()]).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in sweep.folder.rglob("record.json")} == records
    assert [path.name for path in (results / "sweeps").iterdir()] == [sweep.name]


def test_the_best_model_is_exported_once_and_predicts_for_tables_and_files(sweep, tmp_path):
    best = sweep.best(model="mlp")
    assert sweep.best(model="mlp").folder == best.folder
    assert [folder.name for folder in (sweep.folder / "exports").iterdir()] == [best.folder.name]
    recent = load().tail(40)
    answer = best.predict(recent)
    assert list(answer.columns) == ["time", "load"]
    assert answer["time"].iloc[0] == recent.index[-1] + pd.Timedelta(hours=1)
    recent.rename_axis("time").to_csv(tmp_path / "recent.csv")
    of_file = bench.predict(best.folder, tmp_path / "recent.csv")
    np.testing.assert_allclose(of_file["load"], answer["load"])
    with pytest.raises(DataError, match=r"^DataFrame: must have at least 12 rows"):
        best.predict(load().tail(5))
    with pytest.raises(DataError, match="no column 'load'"):
        best.predict(recent.rename(columns={"load": "lode"}))


@pytest.mark.filterwarnings("ignore:mse was")
def test_a_cheap_baseline_reads_only_the_rows_that_are_there(sweep):
    # They were filled up with copies of the first row, so that a forecast by the season repeated that row.
    naive = sweep.best(model="seasonal naive")
    rows = naive._exported.num_steps
    assert rows > 12
    recent = load().tail(rows - 1)
    with pytest.warns(UserWarning, match=f"^DataFrame: 1 forecast of 1 is made from fewer rows than the {rows} "):
        answer = naive.predict(recent)
    assert answer["load"].to_numpy() == pytest.approx([recent["load"].iloc[-1]] * 3, abs=1e-5)
    with pytest.warns(UserWarning, match=f"than the {rows} that the model reads, at least 12"):
        evaluation = naive.evaluate(load(900).tail(2 * rows))
    complete = naive.predict(load().tail(rows))
    assert complete["load"].to_numpy() == pytest.approx(load()["load"].iloc[-rows:][:3].to_numpy(), abs=1e-5)
    assert 0 < evaluation.score < 2


def test_the_best_model_is_scored_on_tables_and_files(sweep, tmp_path):
    best = sweep.best(model="mlp")
    later = load(900).tail(300)
    evaluation = best.evaluate(later)
    assert evaluation.score == evaluation.scores["mse"] > 0
    assert evaluation.low < evaluation.score < evaluation.high
    later.rename_axis("time").to_csv(tmp_path / "later.csv")
    assert bench.evaluate(best.folder, tmp_path / "later.csv").score == pytest.approx(evaluation.score)
    with pytest.warns(UserWarning, match="^DataFrame: the model was trained on this file"):
        best.evaluate(load())
    gap = later.copy()
    gap.iloc[-3] = np.nan
    with pytest.warns(UserWarning, match="^DataFrame: .*missing value"):
        best.predict(gap)


def test_a_sweep_and_a_model_are_opened_by_their_folders(sweep, tmp_path):
    assert bench.Sweep(str(sweep.folder)).answer == sweep.answer
    assert len(bench.load(sweep.folder.parents[1])) > 0
    with pytest.raises(StoreError, match="no sweep in this folder"):
        bench.Sweep(tmp_path)
    with pytest.raises(StoreError, match="give a folder that `bench export` wrote"):
        bench.Model(tmp_path)


MISTAKES = {
    "a missing file": (lambda: "nowhere.csv", {}, "nowhere.csv: no such file"),
    "another target": (load, {"target": "lode"}, "^DataFrame: there is no column 'lode'; did you mean 'load'"),
    "no rows": (lambda: load(0), {}, "DataFrame: must have rows and columns, but has 0 and 1"),
    "a column twice": (
        lambda: pd.concat([load(), load()], axis=1), {}, "column 'load' occurs twice; rename or drop one of them",
    ),
    "the name of the index": (
        lambda: load().rename_axis("load"), {}, "column 'load' is also the name of the index",
    ),
    "columns of levels": (
        lambda: pd.concat({"a": load()}, axis=1), {}, "columns have several levels",
    ),
    "no value": (lambda: load() * np.nan, {}, "column 'load' has no value in 600 rows"),
    "text in the target": (
        lambda: load().astype(object).replace({load()["load"].iloc[9]: "n/a!"}), {}, "column 'load'",
    ),
    "several types": (lambda: load().assign(a=[1, "b"] * 300), {"features": ["a"]}, "column 'a' must hold numbers"),
    "lists": (lambda: load().assign(a=[[1], {2}] * 300), {"features": ["a"]}, "column 'a' must hold numbers"),
    "a time twice": (lambda: load().iloc[[0, *range(599)]], {}, "row 2, column 'time': .* occurs twice"),
    "too few rows": (lambda: load(20), {"length": 90}, "length"),
    "no such setting": (load, {"trails": 3}, "unknown setting 'trails'; did you mean 'trials'?"),
    "one setting twice": (load, {"lengths": [3]}, "are the same setting"),
    "no such model": (load, {"models": "lsmt"}, "unknown model 'lsmt'; did you mean 'lstm'?"),
    "no such budget": (load, {"budget": "quik"}, "unknown budget 'quik'; did you mean 'quick'?"),
    "a length of text": (load, {"length": "x"}, "length: must be a whole number"),
    "a horizon of 0": (load, {"horizon": 0}, "^horizon: must be a whole number from 1"),
    "data and a dataset": (load, {"dataset": "latch"}, "^give data or dataset, not both; save_card makes"),
    "labels beside a table": (load, {"y": [1, 2]}, "y is for arrays"),
    "labels without data": (lambda: None, {"y": [1, 2]}, "y needs data"),
    "a number": (lambda: 3, {}, "must be a path, a DataFrame or an array of numbers, but is a int"),
    "a series of windows": (lambda: np.zeros((4, 5, 6)), {}, "a series to forecast is an array of shape"),
    "an empty array": (lambda: np.zeros((0, 5)), {}, "must not be empty"),
    "too few labels": (
        lambda: np.zeros((4, 5)), {"y": [0, 1], "task": "classification", "target": None, "horizon": None},
        "y: must have one value for each of 4 examples, but has shape",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_exception_of_one_line_and_leaves_nothing(mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, changes, message = MISTAKES[mistake]
    with pytest.raises(BenchError, match=message) as caught:
        bench.sweep(make(), **SETTINGS | changes, progress=False)
    assert "\n" not in str(caught.value)
    assert not re.search(r" --[a-z]|^--[a-z]", str(caught.value)), "an option is named as on the command line"
    assert not list(tmp_path.iterdir())


# What a table or an array becomes


def test_a_table_keeps_the_times_and_names_of_its_index():
    frame = load(3)
    assert list(frames.as_table(frame)) == ["time", "load"]
    assert list(frames.as_table(frame.rename_axis("when"))) == ["when", "load"]
    assert list(frames.as_table(frame.reset_index(drop=True))) == ["load"]
    assert list(frames.as_table(frame["load"])) == ["time", "load"]
    levels = frame.assign(plant=["a", "b", "a"]).set_index("plant", append=True).rename_axis(["at", "plant"])
    assert list(frames.as_table(levels)) == ["at", "plant", "load"]
    months = frames.as_table(frame.set_axis(pd.period_range("2026-01", periods=3, freq="M")))
    assert months["time"].dtype.kind == "M"
    assert frames.as_table(pd.DataFrame({"a": pd.Categorical(["x", "y"])}))["a"].tolist() == ["x", "y"]
    assert list(frames.as_table(pd.DataFrame({0: [1.0], 1: [2.0]}))) == ["0", "1"]


def test_equal_data_have_one_file_and_other_data_another(tmp_path):
    first, is_new = frames.store(load(), None, None, None, tmp_path)
    assert is_new
    assert frames.store(load(), None, None, None, tmp_path) == (first, False)
    for other in (load(599), load().rename(columns={"load": "b"}), load().astype("float32"), load() + 1e-9):
        assert frames.store(other, None, None, None, tmp_path)[0] != first
    assert not list(tmp_path.rglob(".*"))


def test_arrays_of_unequal_length_are_padded_and_keep_their_lengths():
    arrays = frames.as_table([np.ones(3), np.ones(5)], ["a", "b"], None)
    assert arrays["x"].shape == (2, 5)
    assert np.isnan(arrays["x"][0, 3:]).all()
    assert arrays["length"].tolist() == [3, 5]
    assert arrays["y"].tolist() == ["a", "b"]
    with pytest.raises(DataError, match="their shapes differ"):
        frames.as_table([np.ones((3, 2)), np.ones((3, 1))], [0, 1], None)


def test_arrays_with_numbers_as_targets_are_a_table_of_steps():
    x = np.arange(12.0).reshape(2, 3, 2)
    table = frames.as_table(x, [0.5, 1.5], "regression")
    assert table.to_dict("list") == {
        "example": [0, 0, 0, 1, 1, 1],
        "channel_1": [0, 2, 4, 6, 8, 10],
        "channel_2": [1, 3, 5, 7, 9, 11],
        "target": [0.5, 0.5, 0.5, 1.5, 1.5, 1.5],
    }


def test_the_layout_of_arrays_is_asked_for_where_it_is_not_clear(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(40, 3, 7)), np.arange(40) % 2
    settings = {"models": "mlp", "budget": "smoke", "results": tmp_path}
    for task in ("classification", "regression"):
        with pytest.raises(DeclarationError, match="has shape .*; .*channels-last"):
            api._plan(x, y, settings | {"task": task}, api._Silent())
        plan = api._plan(x, y, settings | {"task": task, "layout": "channels-last"}, api._Silent())
        assert plan.cells[-1].dataset.lengths == [3]
        assert api._plan(x.swapaxes(1, 2), y, settings | {"task": task}, api._Silent()).cells[0].length == 7
    assert api._plan(x, y, settings | {"layout": "channels-first"}, api._Silent()).cells[0].length == 7


def series(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    y = np.arange(count) % 2
    noise = np.random.default_rng(0).normal(size=(count, 8, 2)) / 10
    return noise + y[:, None, None], y


FORMS = {
    "classes of arrays": (*series(), {}, "classification", [8]),
    "classes of unequal lengths": ([part[: 4 + n % 3] for n, part in enumerate(series()[0])], series()[1], {},
                                   "classification", [6]),
    "numbers of arrays": (series()[0], series()[1] + 0.5, {"task": "regression"}, "regression", [8]),
    "texts": ([f"{'good' if n % 2 else 'bad'} {n}" for n in range(40)], ["pos", "neg"] * 20, {}, "classification", None),
    "one series": (load()["load"].to_numpy(), None, {"task": "forecasting", "length": 8}, "forecasting", [8]),
    "a list of entries": (load(), None, {"target": ("load",), "length": np.arange(8, 10), "horizon": np.int64(2)},
                          "forecasting", [8, 9]),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_is_a_dataset(form, tmp_path):
    x, y, settings, task, lengths = FORMS[form]
    settings = settings | {"models": ["mlp"], "budget": 600, "results": tmp_path}
    plan = api._plan(x, y, settings, api._Silent())
    assert plan.cells[0].dataset.task == task
    assert plan.seconds == 600
    assert lengths is None or [cell.length for cell in plan.cells] == lengths


def test_a_sweep_file_gives_settings_that_the_call_overrides(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('datasets = ["latch"]\nlengths = [8]\nmodels = ["gru"]\nbudget = "smoke"\n')
    plan = api._plan(file, None, {"models": "mlp", "results": tmp_path}, api._Silent())
    assert [str(cell.id) for cell in plan.cells] == ["latch/L8/mlp"]
    plan = api._plan(file, None, {"models": "mlp,lstm", "results": tmp_path}, api._Silent())
    assert [str(cell.id) for cell in plan.cells] == ["latch/L8/mlp", "latch/L8/lstm"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["classes of unequal lengths", "numbers of arrays", "texts"])
def test_a_model_of_arrays_and_texts_answers_new_ones(form, tmp_path):
    x, y, settings, _, lengths = FORMS[form]
    length = {} if lengths is None else {"length": lengths[0]}
    settings = settings | length | {"models": "mlp", "budget": "smoke", "confirm_seeds": 1, "workers": 1}
    best = bench.sweep(x, y, **settings, results=tmp_path, progress=False).best(model="mlp")
    answer = best.predict(x[:5])
    assert len(answer) == 5
    assert best.evaluate(x[::-1], y[::-1]).num_examples == len(x)


# Stops, threads, scripts


class _Presses:
    """A display during which Ctrl-C is pressed once."""

    def __init__(self):
        self.pressed, self.lines = 0, []

    def __enter__(self): ...

    def __exit__(self, *error): ...

    def say(self, text):
        self.lines.append(text)

    def update(self, status):
        if not self.pressed:
            self.pressed += 1
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_raises_after_a_clean_stop_and_the_same_call_resumes(results, monkeypatch):
    display = _Presses()
    monkeypatch.setattr(api, "Screen", lambda: display)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    settings = {"dataset": "latch", "length": 8, "models": "mlp", "budget": "smoke", "name": "stopped", "workers": 1}
    with pytest.raises(KeyboardInterrupt):
        bench.sweep(**settings, results=results)
    assert display.lines[-1] == "interrupted; call again with the same arguments to resume sweep stopped"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    resumed = bench.sweep(**settings, results=results)
    assert resumed.leaderboard()["status"].iloc[0] == "complete"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_second_ctrl_c_does_not_end_the_process_of_a_notebook(monkeypatch):
    monkeypatch.setattr("bench.sweeps.stop.SAME_STOP_SECONDS", 0.0)
    with Stop(leaves=False) as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_sweep_runs_in_a_thread_and_a_second_one_is_refused(sweep, results, monkeypatch):
    ended, refused = [], []

    def second(plan, display, **kwargs):
        with pytest.raises(SweepLockedError, match="another thread of this process runs a sweep"):
            bench.sweep(load(), **SETTINGS, results=results, progress=False)
        refused.append(plan.name)
        return run(plan, display, **kwargs)

    run = coordinator.run
    monkeypatch.setattr(coordinator, "run", second)
    work = lambda: ended.append(bench.sweep(load(), **SETTINGS, results=results, progress=False))  # noqa: E731
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [other.folder for other in ended] == [sweep.folder]
    assert refused == [sweep.name]


@pytest.mark.usefixtures("quick_tables")
def test_a_sweep_whose_runs_all_fail_raises(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_DIR", os.environ["BENCH_CACHE_DIR"])
    model = tmp_path / "broken.py"
    source = (ROOT / "bench" / "models" / "mlp.py").read_text()
    model.write_text(
        re.sub(r"(    def forward\(.*?\n)", r"\1        raise RuntimeError('no')\n", source, count=1, flags=re.S)
    )
    with pytest.raises(BenchError) as caught:
        bench.sweep(dataset="latch", length=8, models=str(model), budget="smoke", results=tmp_path, workers=1,
                    progress=False)  # fmt: skip
    assert caught.value.exit_code in (2, 3)


SCRIPT = """
import bench
print("started", flush=True)
sweep = bench.sweep({data!r}, task="forecasting", target="load", length=12, horizon=3, models="mlp", budget="smoke",
                    results={results!r}, workers=1)
print(sweep.answer)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["a file", "standard input"])
def test_a_script_without_a_main_guard_runs_once(way, tmp_path):
    data = hourly(tmp_path / "my.csv")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(data=str(data), results=str(tmp_path / "results")))
    words = [sys.executable, *([str(script)] if way == "a file" else ["-"])]
    given = None if way == "a file" else script.read_text()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, input=given, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.count("started") == 1
    assert lines[1].startswith("my at 12: ")


@pytest.mark.slow
def test_the_notebook_runs_from_its_beginning_to_its_end(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "docs" / "python.ipynb", as_version=4)
    assert not [cell.id for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    nbformat.write(notebook, tmp_path / "executed.ipynb")  # to be looked at
    shown = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "frame at 48: " in shown
    assert "DataFrame: there is no column 'lode'; did you mean 'load'?" in shown
    html = [output["data"]["text/html"] for cell in notebook.cells for output in cell.get("outputs", ())
            if "text/html" in output.get("data", {})]  # fmt: skip
    assert any("95 % interval" in table for table in html)


def test_the_settings_of_python_are_those_of_a_sweep_file():
    known = {*SweepConfig.model_fields, *api.ALIASES}
    for name in known:
        with pytest.raises(BenchError) as caught:
            SweepConfig.build(None, api._options({name: object()}))
        assert not isinstance(caught.value, UnknownNameError) or name == "budget"
    assert issubclass(DeclarationError, BenchError)
