"""Files as their owners have them: tables of JSON, folders of tables, the UCR archive's tables, train and test tables."""

import gzip
import json
import math

import numpy as np
import pandas as pd
import pytest

from bench.config import plugins
from bench.data.table_format import TableFormat
from bench.data.tables import read_table
from bench.errors import BenchError, DataError
from tests.data.own_files import make
from tests.makers import hourly, long_table, reviews, series, tagged


def arrays_of(card, length=12):
    batch = card.at(length).split("train", 99)
    return batch.x, batch.y


def test_a_text_file_with_columns_that_options_name_is_a_table(tmp_path):
    table = pd.read_csv(hourly(tmp_path / "load.csv"))
    table.to_csv(tmp_path / "load.txt", sep="\t", index=False)
    own = make(tmp_path / "load.txt", target=["load"], horizon=2)
    assert own.card.task == "forecasting"
    assert "600 rows, delimiter '\\t'" in own.remarks[0]


def test_a_table_whose_columns_are_times_is_to_be_transposed(tmp_path):
    names = ",".join(f"2026-01-{day:02}" for day in range(1, 20))
    (tmp_path / "wide.csv").write_text(f"store,{names}\n" + "a" + ",1" * 19 + "\n")
    with pytest.raises(DataError, match="no column 'sales'; columns are named after times: transpose the table"):
        make(tmp_path / "wide.csv", target=["sales"], horizon=2)


# JSON


def as_json(table, path):
    records = json.loads(table.to_json(orient="records"))
    lines = json.dumps(records) if path.suffix == ".json" else "\n".join(map(json.dumps, records)) + "\n"
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    return path


@pytest.mark.parametrize("name", ["load.jsonl", "load.ndjson", "load.json", "load.jsonl.gz"])
def test_rows_of_json_are_time_steps_of_a_forecast(tmp_path, name):
    table = pd.read_csv(hourly(tmp_path / "load.csv"))
    own = make(as_json(table, tmp_path / name), horizon=2)
    assert own.card.task == "forecasting"
    assert (own.card.arguments["time"], own.card.arguments["target"]) == ("timestamp", ["load"])
    assert f"{name}: 600 rows, JSON, utf-8; time = timestamp (hourly)" in " ".join(own.remarks)
    for found, expected in zip(
        arrays_of(own.card), arrays_of(make(tmp_path / "load.csv", horizon=2).card), strict=True
    ):
        np.testing.assert_allclose(found, expected)


def test_rows_of_json_are_steps_of_sequences_with_a_class_or_a_number(tmp_path):
    table = pd.read_csv(long_table(tmp_path / "long.csv", "label"))
    path = as_json(table, tmp_path / "long.jsonl")
    found, expected = (arrays_of(make(file, group="id").card, 5) for file in (path, tmp_path / "long.csv"))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other)
    numbers = as_json(table.assign(label=np.arange(len(table)) // 8), tmp_path / "n.jsonl")
    assert make(numbers, task="regression", target=["value"], features=["label"]).card.at(1).input_size == 1


def test_the_only_list_inside_an_object_holds_the_rows(tmp_path):
    rows = [{"t": f"2020-01-{day:02d}", "v": day} for day in range(1, 31)]
    (tmp_path / "t.json").write_text(json.dumps({"source": "a station", "data": rows}, indent=2))
    table = read_table([tmp_path / "t.json"], ["v"], TableFormat(time="t"))
    assert table.columns["v"].tolist() == list(range(1, 31))


def test_values_of_json_may_be_missing_null_or_text(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1, "b": "2.5"}\n\n{"b": null, "a": 2}\n{"a": true, "b": "1,234.5"}\n{"c": 1, "a": null}\n')
    table = read_table([path], ["a", "b"])
    np.testing.assert_array_equal(table.columns["a"], np.float32([1, 2, 1, np.nan]))
    np.testing.assert_array_equal(table.columns["b"], np.float32([2.5, np.nan, 1234.5, np.nan]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}\n{"a": [1, 2]}\n', "line 2, 'a': must be a number or a text; write one object for each row"),
        ('{"a": 1}\n{"a": "x"}\n', "line 2, column 'a': 'x' is not a number"),
        ('{"a": 1}\n[1]\n', "line 2: '[1]' is not a JSON object; write one object per line"),
        ('{"a": 1}\n{"a": 1\n', "line 2, column 8: not JSON"),
        ('[{"a": 1}, 2]', "line 2: '2' is not a JSON object; write a list of objects"),
        ('{"b": 1}\n{"b": 2}\n', "there is no column 'a' (columns: b)"),
        ("\n", "no rows"),
    ],
)
def test_broken_rows_of_json_are_refused_in_one_line(tmp_path, text, expected):
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(DataError) as caught:
        read_table([tmp_path / "t.jsonl"], ["a"])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_of_text_tables_are_not_applicable_to_json(tmp_path):
    with pytest.raises(BenchError, match="--delimiter is not applicable to a .jsonl file; leave it out"):
        make(reviews(tmp_path / "r.jsonl"), delimiter=";")


# Folders of tables


def folder_of(path, files=6, rows=80, **constant):
    path.mkdir()
    for number in range(files):
        values = [math.sin(row / 5 + number) for row in range(rows + number)]
        table = pd.DataFrame({"time": pd.date_range("2026-01-01", periods=len(values), freq="h"), "load": values})
        table.assign(**{key: value(number) for key, value in constant.items()}).to_csv(
            path / f"site{number}.csv", index=False
        )
    return path


def test_a_folder_of_tables_holds_one_series_per_file(tmp_path):
    folder = folder_of(tmp_path / "sites")
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "README.md").write_text("About the sites.")
    own = make(folder, horizon=2)
    assert (own.card.task, own.card.arguments["group"], own.card.arguments["target"]) == (
        "forecasting",
        "file",
        ["load"],
    )
    assert "one series per file" in " ".join(own.remarks)
    joined = pd.concat([pd.read_csv(file).assign(file=file.stem) for file in sorted(folder.glob("*.csv"))])
    joined.to_csv(tmp_path / "joined.csv", index=False)
    expected = make(tmp_path / "joined.csv", horizon=2, group="file", task="forecasting").card
    for one, other in zip(arrays_of(own.card), arrays_of(expected), strict=True):
        np.testing.assert_allclose(one, other)
    predictor = plugins.load("tasks", "forecasting").Predictor(own.card.arguments, own.card.at(12).meta)
    assert predictor.read(folder, 12).about["table"].group_names == [f"site{number}" for number in range(6)]
    assert predictor.read(folder / "site3.csv", 12).about["table"].group_names == ["site3"]


def test_the_class_of_a_table_in_a_folder_is_a_column_or_the_name_of_its_folder(tmp_path):
    flat = folder_of(tmp_path / "flat", files=20, rows=9, label=lambda number: "ab"[number % 2])
    own = make(flat, features=["load"], label="label")
    assert own.card.at(9).counts == {"train": 16, "val": 2, "test": 2}
    assert "one sequence per file" in " ".join(own.remarks)
    nested = tmp_path / "nested"
    for number in range(20):
        (nested / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        (flat / f"site{number}.csv").rename(nested / "ab"[number % 2] / f"site{number}.csv")
    own = make(nested, features=["load"])
    assert own.card.at(9).meta["classes"] == ["a", "b"]
    assert own.card.at(9).counts == {"train": 16, "val": 2, "test": 2}


def test_tables_of_a_folder_may_hold_a_number_to_predict_each(tmp_path):
    own = make(folder_of(tmp_path / "f", files=20, rows=9, y=float), task="regression", target=["y"], features=["load"])
    assert sum(own.card.at(9).counts.values()) == 20


def test_a_folder_without_anything_to_read_says_what_a_folder_may_hold(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f/a.pdf").write_bytes(b"x")
    with pytest.raises(
        BenchError, match=r"no .wav, .txt or .csv file in it, but .pdf; a folder holds recordings or texts"
    ):
        make(tmp_path / "f")


# Tables without a header


def ucr(path, rows=40, delimiter="\t"):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(rows, 12)) + np.arange(rows)[:, None] % 2
    lines = [delimiter.join([str(row % 2 + 1), *(f"{value:.5f}" for value in values[row])]) for row in range(rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(("name", "delimiter"), [("A_{}.tsv", "\t"), ("A_{}.csv", ","), ("A_{}.txt", "\t")])
def test_tables_of_the_ucr_archive_are_read_without_a_header(tmp_path, name, delimiter):
    train, test = (ucr(tmp_path / name.format(part), rows, delimiter) for part, rows in (("TRAIN", 40), ("TEST", 20)))
    own = make(train, test)
    assert own.card.task == "classification"
    task = own.card.at(12)
    assert (task.num_steps, task.meta["classes"]) == (12, ["1", "2"])
    assert task.counts == {"train": 32, "val": 8, "test": 20}
    assert "no header, the class in column 1, as in the UCR archive; label = 1" in " ".join(own.remarks)
    assert f"splits by file: test is {test.name}, val is 20% of train" in " ".join(own.remarks)
    predictor = plugins.load("tasks", "classification").Predictor(own.card.arguments, task.meta)
    assert predictor.read(test, 12).x.shape == (20, 12, 1)


def test_a_table_of_counted_rows_is_not_one_of_the_ucr_archive(tmp_path):
    (tmp_path / "a.tsv").write_text("".join(f"{row}\t{row / 7:.3f}\t0.5\t1.5\n" for row in range(40)))
    with pytest.raises(BenchError, match="line 1 must name the columns"):
        make(tmp_path / "a.tsv")


@pytest.mark.parametrize("write", [series, reviews])
def test_a_classification_needs_no_header(tmp_path, write):
    path = write(tmp_path / "a.csv")
    path.write_text(path.read_text().partition("\n")[2])
    options = {"label": "13"} if write is series else {"text": "1", "label": "2"}
    own, named = make(path, task="classification", no_header=True, **options), make(write(tmp_path / "b.csv"))
    assert own.card.at(5).meta["classes"] == named.card.at(5).meta["classes"]
    assert sum(own.card.at(5).counts.values()) == sum(named.card.at(5).counts.values())


# Train and test


@pytest.mark.parametrize(
    ("write", "options"),
    [
        (series, {}),
        (lambda path: long_table(path, "label"), {"group": "id"}),
        (reviews, {}),
    ],
)
def test_a_test_table_is_the_test_split_and_validation_is_taken_from_the_training_table(tmp_path, write, options):
    train, test = write(tmp_path / "train.csv"), write(tmp_path / "test.csv")
    lines = test.read_text().splitlines()
    test.write_text("\n".join(lines[: 1 + 3 * (len(lines) - 1) // 4]) + "\n")
    own = make(train, test, **options)
    task = own.card.at(4)
    whole = sum(make(test, **options).card.at(4).counts.values())
    assert task.counts["test"] == whole
    assert task.counts["val"] == pytest.approx(0.2 * (task.counts["train"] + task.counts["val"]), abs=2)
    assert make(test, train, **options).card.at(4).counts == task.counts
    with pytest.raises(BenchError, match=r"--splits would mix train\.csv with test\.csv"):
        make(train, test, splits=[0.8, 0.1, 0.1], **options)


@pytest.mark.parametrize(
    ("write", "options"),
    [(series, {}), (lambda path: long_table(path, "label"), {"group": "id"}), (reviews, {})],
)
def test_a_column_may_name_the_split_of_each_example(tmp_path, write, options):
    table = pd.read_csv(write(tmp_path / "a.csv"))
    number = table["id"].str[1:].astype(int) if "id" in table else pd.Series(np.arange(len(table)))
    table["part"] = np.where(number % 4 == 3, "test", "train")
    table.to_csv(tmp_path / "a.csv", index=False)
    task = make(tmp_path / "a.csv", split_by="part", **options).card.at(4)
    assert task.counts["test"] == number[number % 4 == 3].nunique()
    assert sum(task.counts.values()) == number.nunique()


# How tables are written


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_marks_of_byte_order_delimiters_and_empty_rows_at_the_end(tmp_path, encoding, delimiter):
    rows = [f"{row}.5{delimiter}{row * 2}" for row in range(9)]
    text = "\r\n".join([f"größe{delimiter}b", *rows, "", delimiter, delimiter, ""])
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    table = read_table([tmp_path / "t.csv"], None, TableFormat())
    assert list(table.columns) == ["größe", "b"]
    assert np.count_nonzero(~np.isnan(table.columns["b"])) == 9


# Sentences in columns


def conll(path, sentences=60, width=4, separator=" ", comments=False):
    words = (("EU", "NNP", "B-NP", "B-ORG"), ("rejects", "VBZ", "B-VP", "O"), ("#", "NN", "I-NP", "O"),
             ("German", "JJ", "B-NP", "B-MISC"), (".", ".", "O", "O"))  # fmt: skip
    lines = ["-DOCSTART- -X- -X- O", ""] if width == 4 else []
    for number in range(sentences):
        lines += ["# id 7 domain=en"] * comments
        for step in range(3 + number % 4):
            fields = words[(number * 7 + step * 3) % 5]
            lines.append(separator.join([fields[0] + str(number % 9), *fields[4 - width + 1 :]]))
        lines.append("")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "width", "separator", "options"),
    [
        ("train.txt", 4, " ", {}),
        ("ner.conll", 2, "\t", {}),
        ("wnut.tsv", 2, "\t", {"task": "tagging"}),
        ("chunks.txt", 4, " ", {"task": "tagging", "label": "3"}),
    ],
)
def test_columns_of_conll_2003_are_sentences_with_labels(tmp_path, name, width, separator, options):
    own = make(conll(tmp_path / name, width=width, separator=separator), **options)
    assert own.card.task == "tagging"
    assert (own.card.arguments["token"], own.card.arguments["label"]) == ("1", options.get("label", str(width)))
    task = own.card.at(6)
    expected = ["B-NP", "B-VP", "I-NP", "O"] if "label" in options else ["B-MISC", "B-ORG", "O"]
    assert task.meta["labels"] == expected
    assert sum(task.counts.values()) == 60
    assert f"{width} columns (" in " ".join(own.remarks)


def test_comments_and_counted_tokens_are_no_tokens(tmp_path):
    own = make(conll(tmp_path / "a.conll", comments=True))
    assert sum(own.card.at(6).counts.values()) == 60
    lines = [f"{step + 1}\tw{number}\tO" if step else f"1\tw{number}\tB-X" for number in range(40) for step in range(3)]
    text = "\n".join("\n".join(lines[start : start + 3]) + "\n" for start in range(0, len(lines), 3))
    (tmp_path / "counted.tsv").write_text(text)
    assert make(tmp_path / "counted.tsv", task="tagging").card.arguments["token"] == "2"


def test_parts_of_conll_2003_are_those_of_its_files(tmp_path):
    files = [conll(tmp_path / name, count) for name, count in (("eng.train", 40), ("eng.testa", 20), ("eng.testb", 30))]
    own = make(*files)
    assert own.card.at(6).counts == {"train": 40, "val": 20, "test": 30}
    two = make(files[0], files[2])
    assert two.card.at(6).counts["test"] == 30
    assert sum(two.card.at(6).counts.values()) == 70


def test_new_sentences_in_columns_need_no_labels(tmp_path):
    own = make(conll(tmp_path / "a.conll"))
    predictor = plugins.load("tasks", "tagging").Predictor(own.card.arguments, own.card.at(6).meta)
    (tmp_path / "new.txt").write_text("EU0\nrejects0\n\nGerman1\n")
    (tmp_path / "lines.txt").write_text("EU0 rejects0\nGerman1\n")
    pd.DataFrame({"sequence": [1, 1, 2], "token": ["EU0", "rejects0", "German1"]}).to_csv(
        tmp_path / "n.csv", index=False
    )
    for name in ("new.txt", "lines.txt", "n.csv"):
        new = predictor.read(tmp_path / name, 6)
        assert (list(new.about["tokens"]), list(new.about["names"])) == (
            ["EU0", "rejects0", "German1"],
            ["1", "1", "2"],
        )
    found = predictor.labelled(tmp_path / "a.conll", 6).batch
    assert found.mask is not None
    assert found.mask.sum() == found.length.sum() > 100


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("a b O\nc B-X\n\nd e O\nf g O\n" + "h i O\n" * 30, {}, "line 2 has 2 columns, but most lines have 3"),
        ("a O\nb B-X\n\nd O\nf O\n", {"label": "3"}, "--label must be the number of a column, from 1 to 2, but is '3'"),
        ("a O\nb B-X\n\nd O\nf O\n", {"label": "ner"}, "the columns of these lines have no names"),
        (
            "a text\nof many words here\n",
            {"task": "tagging"},
            "lines of a token and its labels with an empty line after",
        ),
    ],
)
def test_what_sentences_in_columns_need_is_said_in_one_line(tmp_path, text, options, expected):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(BenchError) as caught:
        make(tmp_path / "a.txt", **{"task": "tagging"} | options)
    assert expected in str(caught.value)


def test_a_poem_is_no_sentences_in_columns(tmp_path):
    (tmp_path / "poem.txt").write_text("two words\nand two\n\nmore words\nand more\n\n" * 200)
    assert make(tmp_path / "poem.txt").card.task == "language_modelling"


def test_a_column_may_name_the_split_of_each_tagged_sequence(tmp_path):
    table = pd.read_csv(tagged(tmp_path / "w.csv"))
    table["part"] = np.where(table["sentence"].astype(str).str.endswith("3"), "test", "train")
    table.to_csv(tmp_path / "w.csv", index=False)
    task = make(tmp_path / "w.csv", group="sentence", task="tagging", split_by="part").card.at(5)
    assert task.counts["test"] == table.loc[table["part"] == "test", "sentence"].nunique()
    assert sum(task.counts.values()) == table["sentence"].nunique()


def test_texts_of_train_and_test_keep_their_split(tmp_path):
    for name, words in (("train.txt", 900), ("test.txt", 300)):
        (tmp_path / name).write_text("word and more " * words)
    own = make(tmp_path / "train.txt", tmp_path / "test.txt", tokens="word")
    task = own.card.at(4)
    assert own.card.split == "by file: test is test.txt, val is 20% of train"
    assert task.meta["tokens"]["test"] == 3 * 300 + 1


def test_a_line_of_names_above_sentences_in_columns_is_no_token(tmp_path):
    (tmp_path / "a.tsv").write_text("token\tlabel\n" + "".join(f"w{row}\tX\nw1\tY\n\n" for row in range(40)))
    task = make(tmp_path / "a.tsv", task="tagging").card.at(2)
    assert (task.meta["labels"], task.num_steps) == (["X", "Y"], 2)


def test_rows_of_delimiters_below_a_table_of_texts_are_no_examples(tmp_path):
    path = reviews(tmp_path / "a.csv")
    path.write_text(path.read_text() + ",\n,\n\n")
    assert sum(make(path).card.at(4).counts.values()) == 120


def test_a_text_of_numbers_is_no_language(tmp_path):
    (tmp_path / "A_TRAIN.txt").write_text(
        "".join(f"  {row % 2 + 1}.0e+00   {row / 7:.5e}  -1.5\n" for row in range(40))
    )
    with pytest.raises(
        BenchError, match="numbers that blanks separate, which is no text; separate them by commas or tabs"
    ):
        make(tmp_path / "A_TRAIN.txt")


def test_mlflow_serves_a_table_without_a_header_by_the_numbers_of_its_columns(monkeypatch):
    pytest.importorskip("torch")
    from bench.export.predictor import Served

    class Model:
        class predictor:  # noqa: N801
            example = staticmethod(lambda _: {})

        class config:  # noqa: N801
            task_arguments = {"header": False}  # noqa: RUF012

        predict = staticmethod(lambda path: pd.read_csv(path, header=None))

    served = Served(Model()).predict(pd.DataFrame({"2": [1.5], "4": [2]}))
    assert served.iloc[0].fillna(0).tolist() == [0, 1.5, 0, 2]
