"""The task that your own file poses, and what options and columns say of it."""

import numpy as np
import pandas as pd
import pytest

from bench.config import datasets, plugins
from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.errors import BenchError, DeclarationError
from tests.data.own_files import CLASSIFIED, make
from tests.makers import hourly, long_table, recordings, reviews, series, tagged


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


def test_columns_without_names_are_numbered(tmp_path):
    file = hourly(tmp_path / "load.csv")
    file.write_text(file.read_text().partition("\n")[2])
    own = make(file, no_header=True, horizon=4)
    assert (own.card.arguments["time"], own.card.arguments["target"]) == ("1", ["2"])
    assert own.card.arguments["header"] is False


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
