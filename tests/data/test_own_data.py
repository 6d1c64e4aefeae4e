"""Your own file: what is inferred, shown, frozen and refused before anything trains."""

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bench.cli.commands import main
from bench.config import datasets, plugins
from bench.config.sweep_settings import SweepConfig
from bench.data import cards, own_data
from bench.errors import BenchError, DeclarationError
from tests.makers import hourly, long_table, recordings, reviews, series, tagged

ROOT = Path(__file__).parents[2]
QUICK = ("--models", "gru,mlp", "--budget", "smoke", "--workers", "2")


def call(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def command(folder: Path, *words: str) -> tuple[int, str, str]:
    """Run the command line as a user does: in a process of its own, in the user's folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "bench", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=folder, env=environment, timeout=280)
    return done.returncode, done.stdout, done.stderr


CLASSIFIED = {
    "reviews.csv": (reviews, ()),
    "reviews.tsv": (reviews, ("--tokens", "character")),
    "reviews.jsonl": (reviews, ()),
    "series.ts": (series, ()),
    "series.npz": (series, ()),
    "series.npy": (series, ("--data", "labels.npy")),
    "rows.csv": (series, ()),
    "long.csv": (lambda path: long_table(path, "label"), ("--group", "id", "--label", "label")),
    "tones": (recordings, ()),
}


def make(*paths: Path, **options) -> own_data.Own:
    own = own_data.make(SweepConfig(data=list(paths), **options))
    assert own is not None
    return own


# Whole sweeps


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


# Inferred


def test_the_only_dates_and_the_only_numbers_are_time_and_target(tmp_path):
    own = make(hourly(tmp_path / "load.csv"))
    assert own.card.task == "forecasting"
    assert own.card.arguments["time"] == "timestamp"
    assert own.card.arguments["target"] == ["load"]
    assert own.card.lengths == [48, 96]  # two seasons of hours, and twice that
    assert own.card.source == "load.csv"
    assert own.card.licence == "your own"


@pytest.mark.parametrize("name", CLASSIFIED)
def test_what_is_to_be_classified_is_inferred(tmp_path, name):
    write, options = CLASSIFIED[name]
    path = write(tmp_path / name)
    others = [tmp_path / "labels.npy"] if path.suffix == ".npy" else []
    own = make(path, *others, **({"group": "id"} if name == "long.csv" else {}))
    reader = {".ts": "ts", ".npz": "arrays", ".npy": "arrays", "": "wav"}.get(path.suffix)
    reader = reader or ("text" if "reviews" in name else "table")
    assert (own.card.task, own.card.arguments["reader"]) == ("classification", reader)
    assert "splits stratified 80/10/10" in own.remarks[0]
    own_data.save(own, tmp_path / "cards")
    saved = datasets.read(own.card.name, tmp_path / "cards")
    assert saved == own.card
    assert saved.at(saved.lengths[-1]).counts["train"] > 10


def test_labels_of_words_are_not_classes_of_texts(tmp_path):
    own = make(tagged(tmp_path / "words.csv"), group="sentence", label="label")
    assert own.card.task == "tagging"
    assert make(tagged(tmp_path / "w.csv"), group="sentence", label="label", text="token").card.task == "classification"


def test_the_only_column_of_several_words_is_the_text_beside_numbers(tmp_path):
    path = tmp_path / "stars.csv"
    rows = [f"{row},{1 + row % 3},a {('fine', 'poor', 'dull')[row % 3]} film no {row},de" for row in range(90)]
    path.write_text("id,stars,body,country\n" + "\n".join(rows) + "\n")
    own = make(path, label="stars")
    read = {"reader": "text", "text": "body", "label": "stars"}
    assert own.card.arguments.items() >= read.items()
    assert "text = body (not used: id, country)" in own.remarks[0]
    assert make(path, label="stars", features=["body"]).card.arguments.items() >= read.items()
    path.write_text(path.read_text().replace("body,country", "body,title").replace(",de", ",a title"))
    with pytest.raises(DeclarationError, match=r"texts in body, title; name the one to classify with --text"):
        make(path, label="stars")


def test_the_rows_of_a_sequence_need_its_id(tmp_path):
    path = long_table(tmp_path / "long.csv", "label")
    with pytest.raises(DeclarationError, match="texts in id; name the id of sequences of several rows with --group"):
        make(path, label="label")
    path.write_text(path.read_text().replace("\ns", "\n"))  # the ids are numbers
    with pytest.raises(DeclarationError, match="each row is read as a sequence: .* name its id with --group"):
        make(path, label="label", lengths=[30])


def test_how_a_file_is_written_can_be_said(tmp_path):
    path = tmp_path / "kritik.csv"
    path.write_bytes(("text|label\n" + "žádný, ne; nic, ne|neg\ndobrý, ano; ano|pos\n" * 20).encode("cp1250"))
    own = make(path, delimiter="|", encoding="cp1250")
    assert "žádný" in own.card.at(8).meta["vocabulary"]
    assert "delimiter '|', cp1250" in own.remarks[0]
    path.write_bytes(("text,label\n" + "öde,neg\nschön,pos\n" * 20).encode("cp1252"))
    assert " ".join(make(path).remarks).count("is not UTF-8") == 1
    book = tmp_path / "kniha.txt"
    book.write_bytes(("žádný dobrý\r\n" * 99).encode("cp1250"))
    assert "ž" in make(book, encoding="cp1250").card.at(8).meta["vocabulary"]


def test_tables_of_parquet_are_classified(tmp_path):
    pd.read_csv(reviews(tmp_path / "a.csv")).to_parquet(tmp_path / "texts.parquet")
    pd.read_csv(long_table(tmp_path / "b.csv", "label")).to_parquet(tmp_path / "long.parquet")
    pd.read_csv(tagged(tmp_path / "c.csv")).to_parquet(tmp_path / "words.parquet")
    for name, options in (
        ("texts", {}),
        ("long", {"label": "label", "group": "id"}),
        ("words", {"task": "tagging", "group": "sentence"}),
    ):
        found, expected = (
            make(tmp_path / each, **options).card
            for each in (f"{name}.parquet", {"texts": "a.csv", "long": "b.csv", "words": "c.csv"}[name])
        )
        length = found.lengths[-1]
        known = ("counts", "num_steps", "input_size", "output_size")
        assert [getattr(found.at(length), key) for key in known] == [getattr(expected.at(length), key) for key in known]


def faults(path, label="fault"):
    hourly(path, first=f"timestamp,load,{label}", more=",0")
    lines = path.read_text().splitlines()
    lines[451] = lines[451].removesuffix("0") + "1"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_anomalies_are_scored_by_a_label_and_without_one_the_summary_says_what_is_compared(tmp_path):
    file = faults(tmp_path / "faults.csv")
    own = make(file, task="anomaly", label="fault")
    assert own.card.arguments == {
        "target": ["load"],
        "time": "timestamp",
        "label": "fault",
        "files": own.card.arguments["files"],
    }
    told = "\n".join(own.remarks)
    assert "splits by the order of rows in each series 40/10/50" in told
    assert "label = fault, used for scores" in told
    assert "1 of 300 rows in the test part are labelled as anomalous, in 1 stretch" in told
    without = make(file, task="anomaly", target=["load"])
    assert "label" not in without.card.arguments
    assert "label none: models are compared by the error of their forecasts" in "\n".join(without.remarks)
    with pytest.raises(DeclarationError, match="name the column to forecast or predict with --target NAME"):
        make(file, task="anomaly")
    with pytest.raises(DeclarationError, match="--horizon is not an option of anomaly"):
        make(file, task="anomaly", label="fault", horizon=3)


@pytest.mark.parametrize("name", ["mails", "mails.tar.gz", "x.npy"])
@pytest.mark.parametrize("task", ["forecasting", "regression", "tagging", "language_modelling"])
def test_what_holds_examples_of_classes_is_no_table_or_text(tmp_path, name, task):
    (tmp_path / name).write_bytes(b"x") if "." in name else (tmp_path / name).mkdir()
    with pytest.raises(BenchError, match=rf"{name}: --task {task} needs (a table|a text file).*; save the data as one"):
        make(tmp_path / name, task=task)


def test_an_archive_of_texts_is_as_its_folder(tmp_path):
    for number in range(30):
        path = tmp_path / "mails" / ("ham", "spam")[number % 2] / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of number {number}")
    shutil.make_archive(str(tmp_path / "mails"), "gztar", tmp_path, "mails")
    folder, archive = make(tmp_path / "mails"), make(tmp_path / "mails.tar.gz")
    assert archive.card.name == "mails"
    assert archive.remarks[0].removeprefix("mails.tar.gz") == folder.remarks[0].removeprefix("mails")


def test_columns_without_names_are_numbered(tmp_path):
    file = hourly(tmp_path / "load.csv")
    file.write_text(file.read_text().partition("\n")[2])
    own = make(file, no_header=True, horizon=4)
    assert (own.card.arguments["time"], own.card.arguments["target"]) == ("1", ["2"])
    assert own.card.arguments["header"] is False


def test_a_spreadsheet_is_told_how_to_be_saved(tmp_path):
    path = tmp_path / "load.xlsx"
    path.write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(BenchError, match="load.xlsx: not a text file but an Excel or zip file; save the table as CSV"):
        make(path)


def test_a_file_of_a_german_spreadsheet(tmp_path):
    lines = [f"{1 + row // 24:02d}.03.2026 {row % 24:02d}:00;{row % 24},5;" for row in range(240)]
    path = tmp_path / "Zähler Süd.csv"
    path.write_bytes(("Zeit;Last München [MW];\r\n" + "\r\n".join(lines)).encode("cp1252"))
    own = make(path, horizon=2)
    assert own.card.arguments["target"] == ["Last München [MW]"]
    assert own.remarks[0].startswith(
        "Zähler Süd.csv: 240 rows, delimiter ';', cp1252, decimal commas; time = Zeit (hourly); target = Last München [MW]"
    )
    assert own.remarks[2:4] == [
        "Zähler Süd.csv: line 1, byte 11, is not UTF-8; read as Windows-1252 (--encoding)",
        "Zähler Süd.csv: numbers are read with decimal commas",
    ]


@pytest.mark.parametrize(
    ("name", "options", "reader"),
    [("long", {"group": "id", "label": "label"}, "table"), ("rows", {}, "table"), ("reviews", {}, "text")],
)
def test_classes_of_a_parquet_file_are_those_of_the_same_csv(tmp_path, name, options, reader):
    write = {"long": lambda path: long_table(path, "label"), "rows": series, "reviews": reviews}[name]
    text = write(tmp_path / f"{name}.csv")
    pd.read_csv(text).to_parquet(tmp_path / f"{name}.parquet")
    own = [make(path, **options).card for path in (text, tmp_path / f"{name}.parquet")]
    assert own[1].arguments["reader"] == reader
    tasks = [each.at(each.lengths[-1]) for each in own]
    if name == "reviews":  # parted by the hashes of their names, which hold that of the file
        assert sum(tasks[0].counts.values()) == sum(tasks[1].counts.values())
        assert tasks[0].meta["classes"] == tasks[1].meta["classes"]
    elif name == "long":
        for part in ("train", "val", "test"):
            np.testing.assert_array_equal(tasks[0].split(part, 99).x, tasks[1].split(part, 99).x)
            np.testing.assert_array_equal(tasks[0].split(part, 99).y, tasks[1].split(part, 99).y)


def test_a_column_is_one_thing(tmp_path):
    with pytest.raises(BenchError, match=r"load\.csv: column 'load' is both --target and --group; remove one of them"):
        make(hourly(tmp_path / "load.csv"), target=["load"], group="load", task="forecasting")


def test_a_target_with_gaps_leaves_their_windows_out_and_says_how_many(tmp_path):
    first, second = hourly(tmp_path / "a.csv"), hourly(tmp_path / "b.csv")
    second.write_text(second.read_text().replace("2026-01-", "2026-03-").replace("00:00:00,0.000", "00:00:00,", 1))
    own = make(first, second)
    task = own.card.at(24)
    assert sum(task.meta["left_out"].values()) > 0
    counts = ", ".join(f"{part} {count:,}" for part, count in task.meta["left_out"].items())
    assert any(line.startswith("a.csv: windows skipped because a target is missing: ") for line in own.remarks)
    assert f"windows skipped because a target is missing: {counts}" in " ".join(map(str, task.meta["remarks"]))


def test_a_file_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    path = hourly(tmp_path / "load.csv")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BenchError, match=r"load\.csv: Permission denied$"):
        make(path)


def test_labelled_texts_may_hold_what_parts_other_files(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text("note,label\n" + "".join(f'"a; b {row}, c",{"xy"[row % 2]}\n' for row in range(40)))
    own = make(path, label="label", tokens="byte")
    assert own.card.arguments == own.card.arguments | {"text": "note", "tokens": "byte"}


def test_train_and_test_files_stay_what_they_are(tmp_path):
    own = make(series(tmp_path / "A_TRAIN.ts"), series(tmp_path / "A_TEST.ts"))
    assert own.card.name == "a"
    assert own.card.arguments["splits"] == {"by": "file", "train": ["A_TRAIN.ts"], "test": ["A_TEST.ts"]}
    assert any("equal examples: of 60 in test" in remark for remark in own.remarks)


def test_who_is_heard_is_in_one_part_only(tmp_path):
    own = make(recordings(tmp_path / "tones"), group="2")
    ids, edges = (own.card.at(9).meta[key] for key in ("ids", "edges"))
    speakers = [{name[-5] for name in ids[edges[part] : edges[part + 1]]} for part in range(3)]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 5
    assert "splits by group 80/10/10" in own.remarks[0]


@pytest.mark.parametrize("kind", ["tones", "mails"])
def test_files_that_a_file_manager_left_in_a_folder_are_ignored_and_named(tmp_path, kind):
    folder = tmp_path / kind
    if kind == "tones":
        recordings(folder)
    else:
        for number in range(30):
            path = folder / ("ham", "spam")[number % 2] / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"text of number {number}")
    clean = make(folder)
    inside = next(path for path in sorted(folder.iterdir()) if path.is_dir())
    suffix = ".wav" if kind == "tones" else ".txt"
    for name in (f"._0{suffix}", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (inside / name).write_bytes(b"\0\5\x16\7")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / f"0{suffix}").write_bytes(b"\0\5\x16\7")
    own = make(folder)
    assert own.card.fingerprint == clean.card.fingerprint  # a look into a folder does not change the dataset
    assert own.card.at(5).counts == clean.card.at(5).counts
    assert [line for line in own.remarks if "ignored" in line] == [
        f"{kind}: hidden files and those of file managers are ignored: .DS_Store, ._0{suffix}, 0{suffix} … and 2 more"
    ]


def test_arrays_with_channels_first_are_read_as_their_owner_says(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3, 9)), np.arange(40) % 2
    np.savez(tmp_path / "a.npz", X=x, y=y)
    np.savez(tmp_path / "b.npz", x=x.swapaxes(1, 2), y=y)
    with pytest.raises(BenchError, match=r"a\.npz: x has shape .* choose with --layout channels-first"):
        make(tmp_path / "a.npz")
    own, usual = make(tmp_path / "a.npz", layout="channels-first"), make(tmp_path / "b.npz")
    assert "40 sequences of 9 steps of 3 channels" in own.remarks[0]
    assert "40 sequences of 9 steps of 3 channels (--layout)" in usual.remarks[0]
    assert (own.card.at(9).input_size, own.card.at(9).num_steps) == (3, 9)
    new = plugins.load("tasks", "classification").Predictor(own.card.arguments, own.card.at(9).meta)
    np.testing.assert_allclose(new.read(tmp_path / "a.npz", 9).x.shape, (40, 9, 3))
    np.savez(tmp_path / "c.npz", x_train=x, y_train=y, x_test=x[:8], y_test=y[:8])
    parts = make(tmp_path / "c.npz", layout="channels-first").card.at(9)
    assert parts.counts == {"train": 32, "val": 8, "test": 8}


def test_a_missing_column_whose_name_holds_a_comma_is_to_be_quoted(tmp_path):
    hourly(tmp_path / "load.csv", first='timestamp,"load, MW"')
    with pytest.raises(BenchError, match=r"""in double quotes, such as '"load, MW"'"""):
        make(tmp_path / "load.csv", target=["load", "MW"])
    assert make(tmp_path / "load.csv", target=["load, MW"]).card.arguments["target"] == ["load, MW"]


def test_a_folder_that_has_changed_is_another(tmp_path):
    before = make(recordings(tmp_path / "tones")).card
    recording = tmp_path / "tones/low/0_who0.wav"
    content = bytearray(recording.read_bytes())
    content[-1] ^= 1
    recording.write_bytes(content)
    after = make(tmp_path / "tones").card
    assert before.files[0].size_bytes == after.files[0].size_bytes
    assert before.fingerprint != after.fingerprint


def test_a_card_by_hand_is_the_same_data(tmp_path):
    file = hourly(tmp_path / "load.csv")
    own = make(file, horizon=4, target=["load"], lengths=[12])
    (tmp_path / "by_hand.toml").write_text(
        'title = "Load"\ntask = "forecasting"\nkind = "real"\nlengths = [6, 12]\nlength_meaning = "hours"\n'
        f'source = "me"\nlicence = "mine"\n[[files]]\npath = "{file}"\nsha256 = "{own.card.files[0].sha256}"\n'
        f"size_bytes = {file.stat().st_size}\n[arguments]\n"
        'target = ["load"]\nhorizon = 4\ntime = "timestamp"\n'
    )
    assert datasets.read("by_hand", tmp_path).fingerprint == own.card.fingerprint
    own_data.save(own, tmp_path)
    saved = datasets.read("load", tmp_path)
    assert saved == own.card
    assert saved.at(12).split("val", 5).x.shape == (5, 12, 1)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)  # names of columns, files and classes
values = st.recursive(
    texts | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["by", "train", "shares"]), inner),
)


@given(
    title=texts,
    path=texts.map(lambda text: "x" + text.replace("\0", "").replace("..", "")),
    arguments=st.dictionaries(st.sampled_from(["target", "splits", "time"]), values),
)
def test_any_card_that_is_written_is_read(title, path, arguments):
    shared = {"title": title, "task": "t", "kind": "real", "lengths": [4], "length_meaning": "m", "source": title}
    file = {"path": path, "sha256": "0" * 64, "size_bytes": 1}
    card = datasets.Dataset(name="n", licence=title, files=[file], arguments=arguments, **shared)
    found = tomllib.loads(cards.to_toml(card))
    assert found == shared | {"licence": title, "files": [file], "arguments": arguments}


def test_a_card_is_never_written_over(tmp_path):
    own = make(hourly(tmp_path / "load.csv"))
    assert "written" in own_data.save(own, tmp_path)
    assert "exists already, with the same data" in own_data.save(own, tmp_path)
    before = (tmp_path / "load.toml").read_text()
    with pytest.raises(own_data.DeclarationError, match="load.toml: exists already, for other data"):
        own_data.save(make(hourly(tmp_path / "load.csv", rows=700)), tmp_path)
    assert (tmp_path / "load.toml").read_text() == before


def test_what_is_handled_is_remarked(tmp_path):
    file = hourly(tmp_path / "load.csv", more=",1", first="timestamp,load,one")
    lines = file.read_text().splitlines()
    del lines[100:103]
    lines[50] = lines[50][: -len("1")]
    file.write_text("\n".join(lines) + "\n")
    told = "\n".join(make(file, target=["load"], features=["one"], task="forecasting").remarks)
    assert "column 'one': constant" in told
    assert "steps in time differ from the usual 1 h" in told
    assert "column 'one': 1 missing value filled" in told
    told = "\n".join(make(long_table(tmp_path / "s.csv", "target"), task="regression", group="id").remarks)
    assert "sequences of unequal length, 5 to 8 steps" in told


# Refused

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


# Names and numbers


def swept(results: Path, own: own_data.Own) -> None:
    """Leave in a results folder what a sweep of a file leaves."""
    folder = results / "sweeps" / f"{own.card.name}-smoke-{len(list(results.glob('sweeps/*')))}"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps({"card": own.card.model_dump(mode="json")}))


def test_two_files_of_one_name_are_two_datasets(tmp_path):
    results = tmp_path / "results"
    first, second, third = (
        tmp_path / folder / name for folder, name in (("a", "my.csv"), ("b", "my.csv"), ("c", "MY.csv"))
    )
    for number, path in enumerate((first, second, third)):
        path.parent.mkdir()
        hourly(path, rows=600 + number)
    swept(results, make(first, results=results))
    names = [make(path, results=results).card.name for path in (first, second, third)]
    assert names[0] == "my"
    assert len(set(names)) == 3
    assert all(name.startswith("my-") for name in names[1:])
    swept(results, make(second, results=results))
    (results / "sweeps/damaged").mkdir()
    (results / "sweeps/damaged/sweep.json").write_text("[")
    assert [make(path, results=results).card.name for path in (first, second, third)] == names


def test_a_copy_of_a_file_is_the_same_dataset(tmp_path):
    results = tmp_path / "results"
    swept(results, make(hourly(tmp_path / "my.csv"), results=results))
    (tmp_path / "moved").mkdir()
    assert make(hourly(tmp_path / "moved/my.csv"), results=results).card.name == "my"


def test_a_file_named_as_a_shipped_dataset_is_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert make(hourly(tmp_path / "latch.csv")).card.name.startswith("latch-")


@pytest.mark.parametrize("name", ["../..csv", "ä'b\"c.csv", "x" * 250 + ".csv", "....csv", "__.csv", "-rf.csv"])
def test_a_file_name_becomes_the_safe_name_of_a_dataset(name):
    datasets.check_name(own_data.slug(Path(name)))


@pytest.mark.parametrize(
    ("name", "rule"), [("a\nb.csv", r"holds '\\n'; rename"), ("caf\udce9.csv", "not UTF-8; rename")]
)
def test_a_file_name_that_no_card_can_hold_is_refused(tmp_path, name, rule):
    hourly(tmp_path / name)
    with pytest.raises(BenchError, match=rule) as caught:
        make(tmp_path / name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("splits", [[0.9, 0.9, 0.9], [0.5, 0.5], [0, 0.5, 0.5], [1, 0, 0], [0.1, 0.1, 0.1]])
def test_splits_that_divide_nothing_are_refused(splits):
    with pytest.raises(BenchError, match="^--splits: must be three shares that sum to 1"):
        SweepConfig.build(None, {"splits": splits})


@pytest.mark.parametrize(
    ("write", "options", "rule"),
    [
        (
            hourly,
            {"horizon": 10**6},
            r"no window fits into the \w+ part \(rows of train, val and test: \[420, 60, 120\]\)",
        ),
        (hourly, {"season": 420}, "--season must be less than 420, the rows of the training part, but is 420"),
        (hourly, {"lengths": [10**6]}, r"no window fits into the \w+ part \(rows"),
        (series, {"lengths": [13]}, "--length must be at most 12, the longest training sequence, but is 13"),
        (
            tagged,
            {"lengths": [10**6]},
            "--length must be at most 5, the longest training sequence, but is 1,000,000",
        ),
    ],
)
def test_numbers_beyond_the_data_are_refused_by_their_bound(tmp_path, write, options, rule):
    name = {hourly: "x.csv", series: "x.ts", tagged: "x.conllu"}[write]
    with pytest.raises(BenchError, match=rule):
        make(write(tmp_path / name), **options)


# What is no file


def test_a_device_a_pipe_and_a_socket_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s.csv"))
    for path, what in (
        (Path("/dev/zero"), "a device"),
        (tmp_path / "pipe.csv", "a named pipe"),
        (tmp_path / "s.csv", "a socket"),
    ):
        for task in (None, "forecasting", "classification", "language_modelling"):
            with pytest.raises(BenchError, match=f"{what}, not a regular file; write the data to a file first"):
                make(path, task=task)
    listener.close()


def test_what_the_system_refuses_to_open_is_one_line(tmp_path):
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "gone.csv").symlink_to("nowhere.csv")
    for path, rule in (
        (tmp_path / ("x" * 300 + ".csv"), "File name too long"),
        (tmp_path / "loop.csv", "symbolic link"),
        (tmp_path / "gone.csv", "a symbolic link to nowhere.csv, which does not exist"),
        (tmp_path / "a/b.csv", "no such file"),
        (Path("/proc/cpuinfo"), "the file is empty"),
    ):
        with pytest.raises(BenchError, match=rule) as caught:
            make(path)
        assert "\n" not in str(caught.value)


def test_a_card_that_cannot_be_written_is_one_line(tmp_path):
    own = make(hourly(tmp_path / "load.csv"))
    (tmp_path / "datasets").write_text("a file")
    with pytest.raises(BenchError, match="run where you may write, or leave --save-card out"):
        own_data.save(own, tmp_path / "datasets")


def test_a_folder_with_pipes_and_broken_links_is_read_without_them(tmp_path):
    folder = recordings(tmp_path / "tones")
    os.mkfifo(folder / "low/pipe.wav")
    (folder / "low/gone.wav").symlink_to("nowhere.wav")
    assert sum(make(folder).card.at(9).counts.values()) == 20


# Large


@pytest.mark.slow
def test_ten_million_rows_are_read(tmp_path):
    """Measured, not judged closely: a machine's disk and load decide. Printed with -s."""
    file, piece = tmp_path / "large.csv", np.random.default_rng(0).random((10**5, 2), dtype=np.float32)
    text = "".join(f"{a:.6f},{b:.6f}\n" for a, b in piece)
    with file.open("w") as out:
        out.write("load,wind\n")
        for _ in range(100):
            out.write(text)
    code = (
        "import resource, time; from pathlib import Path; from bench.data import own_data; "
        "from bench.config.sweep_settings import SweepConfig; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; start = time.perf_counter(); "
        f"own = own_data.make(SweepConfig(data=[Path({str(file)!r})], task='forecasting', target=['load'], "
        "features=['wind'], lengths=[96], horizon=24)); "
        "print(time.perf_counter() - start, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); "
        "print(own.remarks[0])"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    figures, remark = done.stdout.splitlines()[:2]
    seconds, before, peak = map(float, figures.split())
    size = file.stat().st_size / 1e6
    print(f"\n{size:.0f} MB, 10^7 rows: {seconds:.1f} s ({time.perf_counter() - began:.1f} s with Python), "
          f"{peak / 1024:.0f} MiB at the peak, {before / 1024:.0f} of them before")  # fmt: skip
    assert "10,000,000 rows" in remark
    assert peak / 1024 < 2048
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB, as on Linux


def test_a_text_is_modelled_by_its_characters(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("It was a dark and stormy night.\n" * 60 + "Zig\n")
    config = SweepConfig.build(None, {"data": [path], "results": tmp_path})
    own = own_data.make(config)
    assert (own.card.name, own.card.task, own.card.arguments["unit"]) == ("book", "language_modelling", "character")
    assert own.card.lengths == [24]
    assert own.remarks[0] == (
        "book.txt: 1,924 tokens, 19 different; tokens = characters (--tokens); splits by place 90/5/5"
    )
    assert "book.txt: tokens that do not occur in training are read as <unk>: test 1" in own.remarks
    words = own_data.make(
        SweepConfig.build(None, {"data": [path], "results": tmp_path, "tokens": "word", "lengths": [8]})
    )
    assert words.card.arguments["unit"] == "word"


# Tagging


def test_sentences_with_labels(tmp_path):
    own = make(tagged(tmp_path / "words.conllu"))
    assert own.card.task == "tagging"
    assert "60 sequences with 3 labels" in own.remarks[0]
    assert "token = form; label = upos" in own.remarks[0]
    assert own.card.split == "by hash of the tokens 80/10/10"
    own = make(tagged(tmp_path / "words.csv"), task="tagging", group="sentence", splits=[0.6, 0.2, 0.2])
    assert own.card.arguments["token"] == "token"
    assert own.card.split == "by hash of the tokens 60/20/20"


def test_a_file_for_each_part(tmp_path):
    files = [
        tagged(tmp_path / f"words-{part}.conllu", count) for part, count in (("train", 40), ("dev", 9), ("test", 8))
    ]
    own = make(*files)
    assert own.card.split.startswith("by file: val is ")
    assert "train 40, val 9, test 8" in own.remarks[1]


@pytest.mark.parametrize(
    ("name", "options", "rule"),
    [
        ("w.csv", {"task": "tagging"}, "name the column that distinguishes sequences with --group NAME"),
        ("w.csv", {"task": "tagging", "group": "sentence", "text": "tokn"}, "no column 'tokn'; did you mean 'token'"),
        ("w.conllu", {"group": "sentence"}, "CoNLL-U separates sentences by empty lines; leave --group out"),
        ("w.conllu", {"label": "uposs"}, "no column 'uposs'; did you mean 'upos'"),
        ("w.conllu", {"splits": [0.998, 0.001, 0.001]}, "splits leave val without a sequence"),
    ],
)
def test_labels_that_cannot_be_read_are_refused(tmp_path, name, options, rule):
    with pytest.raises(BenchError) as refused:
        make(tagged(tmp_path / name), **options)
    assert rule in str(refused.value)
    assert name in str(refused.value)


def test_splits_are_shares_or_numbers_of_rows(tmp_path):
    path = tmp_path / "load.csv"
    path.write_text("load\n" + "\n".join(str(row % 7 + row / 100) for row in range(600)) + "\n")
    for splits, rows in (([420, 60, 120], [420, 60, 120]), ([0.5, 0.2, 0.3], [300, 120, 180])):
        config = SweepConfig.build(None, {"data": [path], "task": "forecasting", "lengths": [4], "splits": splits})
        assert SweepConfig.model_validate_json(config.model_dump_json()) == config
        as_text = ",".join(map(str, splits))
        assert main.commands["sweep"].make_context("sweep", [f"--splits={as_text}"]).params["splits"] == splits
        card = own_data.make(config).card
        assert card.arguments["splits"] == splits
        assert card.at(4).meta["rows"] == rows
    too_many = SweepConfig.build(None, {"data": [path], "task": "forecasting", "splits": [600, 60, 120]})
    with pytest.raises(BenchError, match=r"load\.csv: .*splits: need 780 rows, but the table has 600"):
        own_data.make(too_many)
