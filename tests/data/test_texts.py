"""Texts, their tables, folders and archives: by files written by hand, and by files cut anywhere."""

import csv
import io
import tarfile

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import texts
from bench.data.encodings import read_text
from bench.data.table_format import TableFormat
from tests.makers import attempted, refused, write

quick = settings(max_examples=25, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def test_encodings(tmp_path):
    assert read_text(write(tmp_path, "a.txt", b"\xef\xbb\xbfna\xc3\xafve\r\nb\rc")) == ("naïve\nb\nc", [])
    text, remarks = read_text(write(tmp_path, "b.txt", b"na\xefve"))
    assert text == "naïve"
    assert list(map(str, remarks)) == ["b.txt: line 1, byte 2, is not UTF-8; read as Windows-1252 (--encoding)"]
    assert "line 2, byte 3, is neither UTF-8 nor Windows-1252" in refused(
        read_text, write(tmp_path, "c.txt", b"ab\n\x81")
    )
    assert "damaged or truncated" in refused(read_text, write(tmp_path, "d.csv.gz", b"\x1f\x8b\x08"))
    assert read_text(write(tmp_path, "e.txt", "naïve".encode("utf-16"))) == ("naïve", [])
    polish = write(tmp_path, "f.txt", "łóżko".encode("cp1250"))
    assert read_text(polish, encoding="cp1250") == ("łóżko", [])
    assert "line 1, byte 0, is not utf-8; give the encoding" in refused(read_text, polish, None, "utf-8")
    assert "encoding 'utf9' is not known" in refused(read_text, polish, None, "utf9")


def test_tables_of_texts(tmp_path):
    tsv = write(tmp_path, "a.tsv", 'a "good film\t1\nbad , bad\t0')
    found = texts.read_text_table(tsv, 1, 2)
    assert (found.items, found.labels, found.names) == (
        ['a "good film', "bad , bad"],
        ["1", "0"],
        ["a.tsv:1", "a.tsv:2"],
    )
    table = write(tmp_path, "a.csv", 'who;label;text\nx;pos;"two\nlines; ""quoted"""\ny;neg;b\n')
    found = texts.read_text_table(table, "text", "label", TableFormat(group="who"))
    assert found.items == ['two\nlines; "quoted"', "b"]
    assert (found.labels, found.groups, found.names) == (["pos", "neg"], ["x", "y"], ["a.csv:2", "a.csv:4"])
    assert texts.column_names(table) == ["who", "label", "text"]
    lines = write(tmp_path, "a.jsonl", '{"text": "a\\nb", "label": 3}\n\n{"label": true, "text": "c", "more": []}\n')
    found = texts.read_text_table(lines, "text", "label")
    assert (found.items, found.labels, found.names) == (["a\nb", "c"], ["3", "True"], ["a.jsonl:1", "a.jsonl:3"])


def test_tables_of_parquet_and_of_another_delimiter(tmp_path):
    path = tmp_path / "a.PARQUET"
    pd.DataFrame({"text": ["gut", None], "label": [1, 2], "more": [0.5, 0.5]}).to_parquet(path)
    assert texts.column_names(path) == ["text", "label", "more"]
    assert texts.read_cells(path, ["label", "text"]) == ([(["1", "gut"], 1), (["2", ""], 2)], [])
    assert "there is no column 'texts'; did you mean 'text'" in refused(texts.read_cells, path, ["texts"])
    table = write(tmp_path, "b.csv", "text|label\na, b; c, d|x\n")
    assert texts.read_cells(table, ["text"], TableFormat("|"))[0] == [(["a, b; c, d"], 2)]
    assert "--delimiter must be one character" in refused(texts.read_cells, table, ["text"], TableFormat("||"))


def test_a_text_longer_than_the_csv_modules_limit(tmp_path):
    limit = csv.field_size_limit()
    path = write(tmp_path, "a.csv", "text,label\n" + "word " * 50_000 + ",x\n")
    assert len(texts.read_text_table(path, "text", "label").items[0]) == 250_000
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.tsv", "x\ty\na\t1\nb\n", "line 3 has 1 fields, but the first line has 2; put a field"),
        ("a.csv", "text,label\na,1\nb,c,2\n", "line 3 has 3 fields, but the first line has 2; put a field"),
        ("a.csv", 'text,label\n"a,1\n', "line 2, in a row from line 2 on: unexpected end of data; close quotes"),
        ("a.csv", "txt,label\na,1\n", "there is no column 'text'; did you mean 'txt'? (columns: txt, label)"),
        ("a.csv", "text,text,label\na,b,1\n", "line 1 names 2 columns 'text'"),
        ("a.csv", "text,label\n", "no rows below the header"),
        ("a.csv", "", "no rows"),
        ("a.csv", "text,label\n ,1\n", "line 2, column 'text': empty; fill it in, or delete the row"),
        ("a.csv", "text,label\na,\n", "line 2, column 'label': empty"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b" "label"}\n', "line 2, column 14: not JSON: Expecting ','"),
        ("a.jsonl", "[1, 2]\n", "line 1: '[1, 2]' is not a JSON object"),
        ("a.jsonl", '{"text": "a", "lable": 1}\n', "line 1, 'label': missing; did you mean 'lable'?"),
        ("a.jsonl", '{"text": ["a"], "label": 1}\n', "line 1, 'text': must be a number or a text; write"),
        ("a.jsonl", "\n", "no rows"),
    ],
)
def test_a_broken_table_of_texts_is_told_in_one_line(tmp_path, name, content, expected):
    wanted = (1, 2) if name == "a.tsv" else ("text", "label")
    assert expected in refused(texts.read_text_table, write(tmp_path, name, content), *wanted)


def test_a_column_number_that_is_not_there(tmp_path):
    assert "line 1 has no column 3; it has 2" in refused(
        texts.read_text_table, write(tmp_path, "a.tsv", "a\tb\n"), 1, 3
    )


@quick
@given(content=st.text(alphabet='a,";\n\t|{}:\x00é', max_size=40), name=st.sampled_from(["a.csv", "a.tsv", "a.jsonl"]))
def test_any_table_of_texts_reads_or_is_refused(folder, content, name):
    for wanted in ((1, 2), ("a", "é")):
        attempted(texts.read_text_table, write(folder, name, content), *wanted)


def test_lines_of_one_class(tmp_path):
    found = texts.read_text_lines(write(tmp_path, "Greek.txt", "Nikos\n\nMaria\n"), "Greek")
    assert (found.items, found.labels) == (["Nikos", "Maria"], ["Greek", "Greek"])
    assert found.names == ["Greek.txt:1", "Greek.txt:3"]
    assert "no line holds a text" in refused(texts.read_text_lines, write(tmp_path, "a.txt", "\n \n"), "a")


FILES = {"set/pos/a.txt": "good", "set/pos/b.txt": "fine", "set/neg/c.txt": "bad", "README": "no example"}


def archive(tmp_path, members, name="a.tar.gz"):
    """An archive of files, or of headers as they are."""
    with tarfile.open(tmp_path / name, "w:gz") as file:
        for member, content in members.items():
            header = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            data = content.encode()
            header.size = len(data)
            file.addfile(header, io.BytesIO(data))
    return tmp_path / name


def test_a_folder_and_an_archive_of_texts(tmp_path):
    for name, content in FILES.items():
        write(tmp_path / "folder", name, content)
    one = texts.read_text_folder(tmp_path / "folder")
    two = texts.read_text_archive(archive(tmp_path, FILES))
    assert sorted(zip(one.names, one.items, one.labels, strict=True)) == sorted(
        zip(two.names, two.items, two.labels, strict=True)
    )
    assert sorted(one.labels) == ["neg", "pos", "pos"]
    assert not list(tmp_path.rglob("set/pos/a.txt"))[1:]  # nothing was unpacked


def linked(kind):
    header = tarfile.TarInfo("pos/link.txt")
    header.type, header.linkname = kind, "/etc/passwd"
    return header


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("../pos/a.txt", "leads out of the archive"),
        ("pos/../../a.txt", "leads out of the archive"),
        ("/pos/a.txt", "leads out of the archive"),
        ("pos\\..\\a.txt", "leads out of the archive"),
        (linked(tarfile.SYMTYPE), "is a link or a device"),
        (linked(tarfile.LNKTYPE), "is a link or a device"),
        (linked(tarfile.FIFOTYPE), "is a link or a device"),
    ],
)
def test_what_no_honest_archive_holds_is_refused(tmp_path, member, expected):
    found = refused(texts.read_text_archive, archive(tmp_path, {"pos/ok.txt": "ok", member: ""}))
    assert expected in found
    assert "byte " in found


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "MEMBER_BYTES", 1_000)
    assert "has 1,001 bytes, but" in refused(texts.read_text_archive, archive(tmp_path, {"pos/a.txt": "x" * 1_001}))


def test_an_archive_without_examples_and_an_empty_example(tmp_path):
    assert "no files in folders" in refused(texts.read_text_archive, archive(tmp_path, {"a.txt": "top"}))
    assert "pos/a.txt: the file holds no text" in refused(
        texts.read_text_archive, archive(tmp_path, {"pos/a.txt": " \n"})
    )


@quick
@given(share=st.floats(0, 0.999))
def test_an_archive_cut_anywhere_is_refused(folder, share):
    path = archive(folder, {f"pos/{i}.txt": f"text {i * 7919 % 1000}" for i in range(30)}, "whole.tar.gz")
    data = path.read_bytes()
    refused(texts.read_text_archive, write(folder, "cut.tar.gz", data[: int(len(data) * share)]))
