"""Your own file on the command line: it is shown before anything trains, swept, frozen, or refused in one line."""

import json
from pathlib import Path

import pytest

from bench.config import datasets
from tests.cli.calls import call, command
from tests.data.own_files import CLASSIFIED
from tests.makers import hourly, long_table, reviews

QUICK = ("--models", "gru,mlp", "--budget", "smoke", "--workers", "2")


@pytest.mark.usefixtures("quick_tables")
def test_a_forecast_of_ones_own_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hourly(tmp_path / "my load.csv", more=",5", first="timestamp,load,five")
    words = ("sweep", "--data", "my load.csv", "--target", "load", "--time", "timestamp", "--length", "12")
    words += ("--task", "forecasting", "--horizon", "4", "--features", "five", *QUICK)
    status, output, errors = call(*words, "--save-card")
    assert status == 0, output + errors
    assert (
        "my load.csv: 600 rows, delimiter ',', utf-8; time = timestamp (hourly); target = load; features five; "
        "horizon = 4; season none (--season); splits by time 70/10/20" in errors
    )
    assert "column 'five': constant (5)" in errors
    assert "* my_load at 12: " in output
    assert "600 rows" in "".join(errors.splitlines()[:4])  # before anything trains

    # The same command goes on; the saved card is the same data.
    status, _, errors = call(*words)
    assert status == 0, errors
    assert "4 runs are done" in errors
    (sweep,) = (tmp_path / "results/sweeps").iterdir()
    frozen = json.loads((sweep / "sweep.json").read_text())
    assert frozen["card"]["files"][0]["path"] == str(tmp_path / "my load.csv")
    assert "--data 'my load.csv' --task forecasting --target load" in frozen["command"]
    card = datasets.read("my_load", tmp_path / "datasets")
    assert card.fingerprint == frozen["spec"]["dataset my_load"]

    # Another file under the same name is refused by name.
    hourly(tmp_path / "my load.csv", rows=500, more=",5", first="timestamp,load,five")
    status, _, errors = call(*words)
    assert status == 2
    assert f"data file {tmp_path / 'my load.csv'} was sha256" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_regression_on_ones_own_file(tmp_path):
    long_table(tmp_path / "slopes.csv", "target")
    words = ("sweep", "--data", "slopes.csv", "--task", "regression", "--target", "target", "--group", "id", *QUICK)
    status, output, errors = command(tmp_path, *words)
    assert status == 0, output + errors
    assert "60 sequences" in errors
    assert "* slopes at 8: " in output


@pytest.mark.slow
def test_a_classification_of_ones_own_texts(tmp_path):
    reviews(tmp_path / "reviews.csv")
    words = ("sweep", "--data", "reviews.csv", "--text", "text", "--label", "label", "--length", "4", *QUICK)
    status, output, errors = command(tmp_path, *words)
    assert status == 0, output + errors
    assert "reviews.csv: 120 sequences of 2 classes, delimiter ',', utf-8; text = text; label = label" in errors
    assert "* reviews at 4: " in output


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIED)
def test_a_classification_of_every_kind_of_file(tmp_path, name):
    write, options = CLASSIFIED[name]
    write(tmp_path / name)
    words = ("sweep", "--data", name, *options, *QUICK, "--save-card", "--task", "classification")
    status, output, errors = command(tmp_path, *words)
    assert status == 0, output + errors
    assert f"* {Path(name).stem} at " in output
    status, _, errors = command(tmp_path, "plan", "--dataset", Path(name).stem, *QUICK)  # of the saved card
    assert status == 0, errors


def test_a_plan_takes_the_same_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hourly(tmp_path / "load.csv")
    words = ("plan", "--data", "load.csv", "--length", "12", "--horizon", "4", "--models", "mlp", "--budget", "smoke")
    status, output, errors = call(*words)
    assert status == 0, errors
    assert "target = load" in errors
    assert "load" in output


GOOD = "timestamp,load\n" + "".join(f"2026-01-01 {hour:02d}:{minute:02d},{hour}.{minute}\n" for hour in range(24) for minute in (0, 30))  # fmt: skip


TWO = "timestamp,load,wind\n" + "".join(f"2026-01-{day:02d},{day},{day}\n" for day in range(1, 29))


REFUSED = {
    "text": (GOOD.replace(",3.30", ",high"), "--target load --time timestamp", "line 9, column 'load': 'high' is not a number"),
    "encoding": (GOOD.encode() + b"2026-01-02 00:00,\x81\xe4\n", "", "is neither UTF-8 nor Windows-1252"),
    "header": (GOOD.partition("\n")[2].replace("2026-01-01 ", "").replace(":", ""), "", "line 1 must name the columns, but it holds numbers"),
    "one row": ("timestamp,load\n2026-01-01,1\n", "--task forecasting", "only one row"),
    "empty": ("", "", "empty"),
    "column": (GOOD, "--target lod", "there is no column 'lod'; did you mean 'load'? (columns: timestamp, load)"),
    "time": (GOOD, "--time timestmp", "no column 'timestmp'; did you mean 'timestamp'?"),
    "which target": (TWO, "--task forecasting", "dates in timestamp; numbers in load, wind; name the column to forecast or predict with --target NAME"),
    "which task": (TWO, "", "dates in timestamp; numbers in load, wind; choose the task: --task forecasting"),
    "horizon": (TWO, "--task regression --target load --horizon 3", "--horizon is not an option of regression, but of forecasting"),
    "task": (GOOD, "--task forcasting", "did you mean 'forecasting'?"),
    "too long": (GOOD, "--task forecasting --length 99", "no window fits into the train part"),
    "constant": ("timestamp,load\n" + "".join(f"2026-01-{day:02d},5\n" for day in range(1, 29)), "", "column 'load' has the same value in all rows"),
    "no rows": ("timestamp,load\n", "", "no rows below the header"),
    "no names": (GOOD.partition("\n")[2].replace(",", ",A,"), "", "line 1 must name the columns, but it holds a date like the lines below"),
    "dataset": (GOOD, "--dataset latch", "give --data or --dataset, not both"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_one_line_before_anything_trains(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    text, options, complaint = REFUSED[name]
    (tmp_path / "my.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    status, _, errors = call("sweep", "--data", "my.csv", *options.split(), *QUICK)
    assert status == 2
    told = errors.splitlines()[-1]
    assert complaint in told
    assert "my.csv" in told or name in ("task", "dataset")
    assert not (tmp_path / "results").exists()


REFUSED_CLASSES = {
    "one class": ("text,label\ngood,a\nbad,a\nfine,a\n" * 1, "", "column 'label'"),
    "no label": ("a,b,label\n1,2,x\n2,3,\n3,4,y\n" + "4,5,x\n5,6,y\n" * 9, "", "line 3, column 'label': "),
    "nan label": ("a,b,label\n1,2,x\n2,3,nan\n3,4,y\n" + "4,5,x\n5,6,y\n" * 9, "", "line 3, column 'label': "),
    "horizon": ("a,b,label\n1,2,x\n2,3,y\n", "--task classification --horizon 3", "--horizon is not an option of classification, but of forecasting"),
    "label": ("a,b,sort\n1,2,x\n2,3,y\n", "--task classification", "name the column of labels with --label NAME"),
    "column": ("a,b,sort\n1,2,x\n2,3,y\n", "--label srot", "no column 'srot'; did you mean 'sort'?"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_CLASSES)
def test_a_mistake_with_classes_is_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    text, options, complaint = REFUSED_CLASSES[name]
    (tmp_path / "my.csv").write_text(text)
    status, _, errors = call("sweep", "--data", "my.csv", *options.split(), *QUICK)
    assert status == 2
    assert complaint in errors.splitlines()[-1]
    assert "my.csv" in errors.splitlines()[-1]
    assert not (tmp_path / "results").exists()


def test_a_folder_without_recordings_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tones").mkdir()
    for complaint in ("no .wav, .txt or .csv file in it, but nothing", "no .wav, .txt or .csv file in it, but .mp3"):
        status, _, errors = call("sweep", "--data", "tones", *QUICK)
        assert (status, complaint in errors) == (2, True), errors
        (tmp_path / "tones/a.mp3").write_text("x")


def test_options_of_a_file_need_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, errors = call("sweep", "--dataset", "latch", "--target", "load")
    assert (status, "--target needs --data: it describes a file of yours" in errors) == (2, True)
    hourly(tmp_path / "load.csv")
    status, _, errors = call("sweep", "--data", "lod.csv")
    assert (status, "lod.csv: no such file; did you mean 'load.csv'?" in errors) == (2, True)
