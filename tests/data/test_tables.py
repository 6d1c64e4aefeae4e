"""Tables: what is read is what was written, and every broken rule is told in one line."""

import gzip
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import table_pieces
from bench.data.table_format import TableFormat
from bench.data.table_pieces import read_head
from bench.data.tables import carry_forward, group_starts, read_table
from bench.errors import DataError
from tests.data.table_files import read, refusal, write

quick = settings(max_examples=25, deadline=None)
ROOT = Path(__file__).parents[2]
single = st.floats(width=32, allow_nan=False, allow_infinity=False)


# What is read


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@quick
@given(
    rows=st.lists(st.tuples(single, st.none() | single), min_size=2, max_size=30).filter(
        lambda rows: any(b is not None for _, b in rows)
    ),
    delimiter=st.sampled_from(",;\t|"),
    ending=st.sampled_from(["\n", "\r\n"]),
    header=st.booleans(),
    zipped=st.booleans(),
)
def test_what_was_written_is_read(folder, rows, delimiter, ending, header, zipped):
    lines = [f"{a!r}{delimiter}{'' if b is None else repr(b)}" for a, b in rows]
    text = ending.join([f"a{delimiter}b c", *lines] if header else lines)
    path = folder / f"t.csv{'.gz' * zipped}"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    a, b = ("a", "b c") if header else ("1", "2")
    table = read(path, columns=[b, a], header=header)
    assert list(table.columns) == [b, a]
    for name, place in ((a, 0), (b, 1)):
        expected = np.array([np.nan if row[place] is None else row[place] for row in rows], dtype=np.float32)
        assert table.columns[name].dtype == np.float32
        np.testing.assert_allclose(table.columns[name], expected, rtol=1e-6, atol=1e-44)


@quick
@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 99)), min_size=2, max_size=40),
    cells=st.integers(1, 20),
)
def test_groups_lie_together_in_the_order_of_the_file_however_it_is_cut(folder, rows, cells):
    path = write(folder, "id,v\n" + "\n".join(f"{name},{value}" for name, value in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_pieces, "CELLS", cells)
        table = read(path, columns=["v"], group="id")
    names = list(dict.fromkeys(name for name, _ in rows))
    assert table.group_names == names
    expected = [(name, value) for each in names for name, value in rows if name == each]
    assert [(names[code], value) for code, value in zip(table.groups, table.columns["v"], strict=True)] == expected
    starts = group_starts(table.groups)
    assert [names[code] for code in table.groups[starts]] == names


def test_pieces_of_a_large_file_fit_together(tmp_path, monkeypatch):
    monkeypatch.setattr(table_pieces, "CELLS", 1)  # 256 rows a piece
    frame = pd.DataFrame({"t": pd.date_range("2020", periods=1_000, freq="h"), "v": np.arange(1_000) / 7})
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = read(tmp_path / "t.csv", time="t")
    np.testing.assert_array_equal(table.columns["v"], (np.arange(1_000) / 7).astype(np.float32))
    np.testing.assert_array_equal(table.times.view("datetime64[ns]"), frame["t"].to_numpy())
    assert list(map(str, table.remarks)) == []
    (tmp_path / "t.csv").write_text((tmp_path / "t.csv").read_text().replace(",100.0\n", ",x\n"))
    assert refusal(tmp_path / "t.csv", time="t").startswith("line 702, column 'v': 'x' is not a number")


def test_files_follow_one_another(tmp_path):
    paths = [write(tmp_path, "v,w\n1,2\n3,4\n", "a.csv"), write(tmp_path, "w;v\n6;5\n8;x\n", "b.csv")]
    with pytest.raises(DataError, match=r"b\.csv: line 3, column 'v': 'x' is not a number"):
        read_table(paths, columns=["v"])
    np.testing.assert_array_equal(read_table(paths, columns=["w"]).columns["w"], [2, 4, 6, 8])


def test_parquet(tmp_path):
    frame = pd.DataFrame({"t": pd.date_range("2020", periods=9, freq="D", tz="Europe/Paris"), "v": range(9), "s": "a"})
    frame.to_parquet(tmp_path / "t.parquet")
    table = read(tmp_path / "t.parquet", columns=["v"], time="t", group="s")
    np.testing.assert_array_equal(table.columns["v"], range(9))
    assert table.times[0] == pd.Timestamp("2019-12-31 23:00").value
    assert refusal(tmp_path / "t.parquet", columns=["u"]).startswith("there is no column 'u'")
    assert refusal(tmp_path / "t.parquet", columns=["s"]).startswith("row 1, column 's': 'a' is not a number")
    (tmp_path / "t.parquet").write_text("v\n1\n")
    assert refusal(tmp_path / "t.parquet").startswith("not a Parquet file: ")


def test_parquet_with_an_index_and_nullable_types(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame(
        {"n": pd.array([1, None, 3], dtype="Int64"), "f": pd.array([True, None, False], dtype="boolean")}
    )
    frame.index = pd.date_range("2020", periods=3, freq="h", name="t")
    frame.to_parquet(path)
    assert read_head(path, 1, TableFormat()).rows == [["1.0", "True", "2020-01-01 00:00:00"]]
    table = read(path, time="t")
    np.testing.assert_array_equal(table.columns["n"], [1, np.nan, 3])
    np.testing.assert_array_equal(table.columns["f"], [1, np.nan, 0])
    assert table.times[0] == pd.Timestamp("2020-01-01").value
    frame[::-1].reset_index(drop=True)[::-1].to_parquet(path)  # row numbers without a name
    assert list(read(path).columns) == ["n", "f"]


def test_times_are_read_in_one_form_and_remarked_upon(tmp_path):
    path = write(tmp_path, "t,v\n01/02/2020,1\n01/03/2020,2\n01/05/2020,2\n")
    table = read(path, time="t", time_form="%d/%m/%Y")
    assert table.time_form.form == "%d/%m/%Y"
    assert list(map(str, table.remarks)) == [
        "times are read as %d/%m/%Y, not as %m/%d/%Y",
        "column 't': 1 of 2 steps in time differ from the usual 29 d (29 d to 61 d); rows are taken as even steps, nothing is "
        "resampled",
    ]


@pytest.mark.parametrize(("value", "times"), [(-999, 2), (9999, 1)])
def test_nines_far_from_all_other_values_are_remarked(tmp_path, value, times):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["a", *map(str, [*range(20), *[value] * times])]))
    values = "1 value" if times == 1 else f"{times} values"
    rule = f"{values} of {value} lie far from all others; leave them empty if they mean missing"
    assert [remark.text for remark in read_table([path], ["a"]).remarks] == [rule]
    path.write_text("\n".join(["a", *map(str, range(100))]))
    assert not read_table([path], ["a"]).remarks


def test_a_column_without_a_name_is_left_out(tmp_path):
    for text in ("a,b,\n1,2,\n3,4,\n", ",a,b\n0,1,2\n1,3,4\n"):
        table = read(write(tmp_path, text))
        assert list(table.columns) == ["a", "b"]
        assert list(map(str, table.remarks)) == ["a column without a name is ignored"]


def test_a_column_that_single_precision_would_round_is_read_in_double_precision(tmp_path):
    for first in (123_456_789, 1_700_000_000_000):
        table = read(write(tmp_path, "v\n" + "".join(f"{first + row}\n" for row in range(9))))
        np.testing.assert_array_equal(table.columns["v"], first + np.arange(9.0))
        assert not table.remarks
    text = "v\n" + "".join(f"{1_700_000_000_000_000_000 + row}\n" for row in range(9))
    assert list(map(str, read(write(tmp_path, text)).remarks)) == ["column 'v': constant (1.7e+18)"]
    assert not read(write(tmp_path, "v\n100000.01\n200000.07\n")).remarks


@pytest.mark.parametrize("group", [None, "g"])
def test_rows_in_reversed_or_no_order_of_time_are_sorted_and_it_is_said(tmp_path, group):
    days = [f"2020-01-{day:02d}" for day in range(1, 29)]
    for order in (range(27, -1, -1), np.random.default_rng(0).permutation(28)):
        text = "t,g,v\n" + "".join(f"{days[row]},{name},{row}\n" for name in "ab"[: 1 + bool(group)] for row in order)
        table = read(write(tmp_path, text), ["v"], time="t", group=group)
        assert table.columns["v"].tolist() == [*range(28)] * (1 + bool(group))
        assert any("rows are sorted by time: " in str(remark) for remark in table.remarks)


def test_a_reversed_file_with_the_day_first_is_read_with_the_day_first(tmp_path):
    days = [(day, month) for month in (3, 2) for day in range(12, 0, -1)]
    text = "t,v\n" + "".join(f"{day:02d}/{month:02d}/2020,{12 * month + day}\n" for day, month in days)
    table = read(write(tmp_path, text), time="t")
    assert table.columns["v"].tolist() == [*range(25, 49)]
    assert table.time_form.form == "%d/%m/%Y"


def test_two_series_in_one_are_not_sorted_into_each_other(tmp_path):
    rows = [*range(0, 40, 2), *range(1, 40, 2)]
    text = "t,v\n" + "".join(f"2020-01-01 00:{row:02d},{row}\n" for row in rows)
    with pytest.raises(DataError, match="comes after 2020-01-01 00:38:00; sort the rows by time, or name the column"):
        read(write(tmp_path, text), time="t")


def test_a_clock_that_was_set_back_leaves_rows_in_their_order(tmp_path):
    hours = [f"2020-10-25 {hour:02d}:00" for hour in (0, 1, 2, 2, *range(3, 24))]
    text = "t,v\n" + "".join(f"{hour},{row}\n" for row, hour in enumerate(hours))
    table = read(write(tmp_path, text), time="t")
    assert table.columns["v"].tolist() == [*range(25)]
    assert "column 't': the clock was set back 1 time: rows are taken in their order" in map(str, table.remarks)
    with pytest.raises(DataError, match="2020-07-25 02:00:00 occurs twice"):  # no clock is set back in July
        read(write(tmp_path, text.replace("2020-10", "2020-07")), time="t")


def test_constant_columns_are_remarked_upon(tmp_path):
    table = read(write(tmp_path, "v,w\n1,2\n3,2\n5,\n"))
    assert list(map(str, table.remarks)) == ["column 'w': constant (2)"]


def test_windows_1252_is_found_out_and_told(tmp_path):
    path = write(tmp_path, "Größe,v\n1,2\n3,4\n", encoding="cp1252")
    table = read(path)
    assert list(table.columns) == ["Größe", "v"]
    assert list(map(str, table.remarks)) == ["t.csv: line 1, byte 2, is not UTF-8; read as Windows-1252 (--encoding)"]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        table = read(write(tmp_path, "Größe,v\n1,2\n3,4\n", encoding=encoding))
        assert (list(table.columns), table.remarks) == (["Größe", "v"], [])


def test_a_group_may_be_called_na(tmp_path):
    table = read(write(tmp_path, "id,v\nNA,NA\nNA,2\n1,3\n"), group="id")
    assert table.group_names == ["NA", "1"]
    np.testing.assert_array_equal(table.columns["v"], [np.nan, 2, 3])


# What is refused


@pytest.mark.parametrize(
    ("text", "how", "told"),
    [
        ("", {}, "the file is empty; a table needs a header and rows of numbers"),
        ("\n \n", {"header": False}, "the file is empty; a table needs rows of numbers"),
        ("a,b\n", {}, "no rows below the header"),
        ("a,b\n1,2\n", {}, "only one row; a table needs at least two"),
        ("1,2\n3,4\n", {}, "line 1 must name the columns, but it holds numbers; "
         'insert a line of names, or give --no-header (on a card, header = false) and name columns "1", "2", …'),
        ("2014-07-01 00:00:00,2\n2014-07-01 00:30:00,4\n", {}, "line 1 must name the columns, but it "
         'holds dates and numbers; insert a line of names, or give --no-header (on a card, header = false) and name columns "1", "2", …'),
        ("a,b\n1,2\n", {"header": False}, "line 1, column '1': 'a' is not a number; if it is a header, leave --no-header "
         "out (on a card, header = true)"),
        ("Temp,Rain\n1,2\n3,4\n", {"columns": ["Temo"]}, "there is no column 'Temo'; did you mean 'Temp'? (columns: "
         "Temp, Rain)"),
        ("a,b\n1,2\n3,4\n", {"time": "date"}, "there is no column 'date' (columns: a, b)"),
        ("a,a\n1,2\n3,4\n", {"columns": ["a"]}, "2 columns are named 'a'; rename all but one"),
        ("a,b\nkW,m/s\n1,2\n3,4\n", {}, "line 2, column 'a': 'kW' is not a number; if line 2 holds units or a second "
         "header, delete it; if not, correct it, leave it empty if it is missing, or leave the column out (--features)"),
        ("a,b\n\n1,2\n3,high\n5,low\n", {}, "line 4, column 'b': 'high' is not a number; correct it, leave it "
         "empty if it is missing, or leave the column out (--features)"),
        ('a,b\n1,2\n3,"x\ny"\n', {"columns": ["b"]}, "line 4, column 'b': 'x\\ny' is not a number; correct it,"
         " leave it empty if it is missing, or leave the column out (--features)"),
        ("a;b\n1,500;2\n3,500;4\n", {}, "line 2, column 'a': '1,500' may be 1500 or 1.5; write it without the "
         "comma, or with a decimal point"),
        ("a;b\n1,5;2\n3.5;4\n", {}, "line 2, column 'a': '1,5' is not a number; write decimal points, not "
         "commas"),
        ("a;b\n1.5;2\n1.300,5;4\n", {}, "line 3, column 'a': '1.300,5' is not a number; other numbers of the file "
         "have '.' before their decimals; write this one without separators"),
        ("a;b\n" + "1,5;2\n" * 60 + "3.5;4\n", {}, "line 62, column 'a': '3.5' is not a number; write decimal "
         "commas or points, not both"),
        ("a;b\n" + "1,5;2\n" * 60 + "n.v.;4\n", {}, "line 62, column 'a': 'n.v.' is not a number; correct "
         "it, leave it empty if it is missing, or leave the column out (--features)"),
        ("a,b\n1,2\n3,inf\n", {}, "line 3, column 'b': inf is not a finite number of single precision; correct it, or "
         "leave it empty"),
        ("a,b\n1,2\n3,1e39\n", {}, "line 3, column 'b': 1e+39 is not a finite number of single precision; correct it, "
         "or leave it empty"),
        ("2020-01-01,A,1\n2020-01-02,A,2\n", {}, "line 1 must name the columns, but it holds a date like the lines "
         'below; insert a line of names, or give --no-header (on a card, header = false) and name columns "1", "2", …'),
        ("# Logger 7\n# North\na;b\n1;2\n3;4\n", {}, "all lines but the first 2 lines have 2 fields separated by "
         "semicolons; delete what is above the names of the columns"),
        ("sep=;\na;b;c\n1;2;3\n3;4;5\n5;6;7\n", {}, "all lines but the first line have 3 fields separated by "
         "semicolons; delete what is above the names of the columns"),
        ("Logger 7\na;b\n1;2\n3;4\n", {}, "all lines but the first line have 2 fields separated by semicolons; "
         "delete what is above the names of the columns"),
        ("a,b\n1,2,\n3,4,\n5,6,\n", {}, "line 2 has more fields than the 2 of the first line; put a field that holds the "
         "delimiter in quotes, or give another --delimiter"),
        ("a,b\n1,2\n3,4\n", {"delimiter": ";;"}, "--delimiter must be one character, or \\t for tabs, but is ';;'"),
        ("a,b\n1,2\n3,4\n", {"encoding": "utf-16"}, "line 1 is not utf-16; give the encoding of the file with --encoding"),
        ("a,b\n1,2\n3,4\n", {"encoding": "base64"}, "encoding 'base64' is not known; use a name such as utf-8 or cp1252"),
        ("a,b\n1,2\n3,NA\n", {"required": ["b"]}, "line 3, column 'b': no value, and this column needs one in every "
         "row; fill it in, or delete the row"),
        ("a,b\n1,\n3,\n", {}, "column 'b' has no value in 2 rows; leave the column out"),
        ("a,b\n1,2\n3,4,5\n6,7\n", {}, "line 3 has 3 fields, but the lines above have 2; put a field that holds "
         "the delimiter in quotes, or give another --delimiter"),
        ("a,b\n1,2,3\n3,4,5\n", {}, "line 2 has more fields than the 2 of the first line; put a field that holds the "
         "delimiter in quotes, or give another --delimiter"),
        ('a,b\n1,2\n3,"4\n', {}, "not a table with delimiter ',': EOF inside string starting at row 2; is a quote "
         "not closed?"),
        ("1,5;2\n3,5;4\n", {"header": False}, "commas (2 columns) and semicolons (2 columns) both split its lines evenly;"
         " choose one with --delimiter"),
        ("a b\n1 2\n3 4\n", {}, "columns are separated by blanks; separate them by commas or tabs"),
        ("t,v\n2020-01-01,1\n2020-01-01,2\n", {"time": "t"}, "line 3, column 't': 2020-01-01 00:00:00 occurs twice; "
         "keep one row per time, or name the column that distinguishes several series with --group, or write times in UTC "
         "if the clock was set back"),
        ("t,shop,v\n2020-01-01,a,1\n2020-01-01,b,2\n2020-01-02,a,1\n", {"time": "t", "columns": ["v"]}, "line 3, "
         "column 't': 2020-01-01 00:00:00 occurs twice; keep one row per time, or name the column that distinguishes several "
         "series with --group (such as shop), or write times in UTC if the clock was set back"),
        ("t,v\n2020-01-02,1\n2020-01-01,2\n", {"time": "t"}, "line 3, column 't': 2020-01-01 00:00:00 comes "
         "after 2020-01-02 00:00:00; sort the rows by time, or name the column that distinguishes several series with "
         "--group, or write times in UTC if the clock was set back"),
        ("t,g,v\n2020-01-01,a,1\n2020-01-01,b,2\n2020-01-02,b,2\n2019-01-02,a,2\n", {"time": "t", "group": "g"},
         "line 5, column 't': 2019-01-02 00:00:00 comes after 2020-01-01 00:00:00 within its group of 'g'; sort "
         "the rows by time, or write times in UTC if the clock was set back"),
        ("t,v\n2016-07-01T00:00:00Z,1\n2016-07-01T01:00:00+02:00,2\n", {"time": "t"}, "line 3, column 't': 2016-06-30 "
         "23:00:00+00:00 comes after 2016-07-01 00:00:00+00:00; sort the rows by time, or name the column that "
         "distinguishes several series with --group, or write times in UTC if the clock was set back"),
        ("t,v\n7,1\n6.5,2\n", {"time": "t"}, "line 3, column 't': 6.5 comes after 7.0; sort the rows by time, or name the column "
         "that distinguishes several series with --group"),
        ("t,v\n2020-01-01,1\nsoon,2\n", {"time": "t"}, "line 3, column 't': 'soon' is not a time; write times as "
         "2016-07-01 13:00:00"),
        ("t,v\n01/02/2020,1\n2020-02-03,2\n", {"time": "t"}, "line 3, column 't': '2020-02-03' is not a time of the form "
         "%m/%d/%Y, as the first one is; write times as 2016-07-01 13:00:00"),
        ("t,v\nsoon,1\nlater,2\n", {"time": "t"}, "line 2, column 't': 'soon' is not a time; write times as "
         "2016-07-01 13:00:00"),
        ("t,v\n2020-01-01,1\n,2\n", {"time": "t"}, "line 3, column 't': no time, and every row needs one; fill it in"),
        ("t,v\n2020-01-01,1\n9999-12-31,2\n", {"time": "t"}, "line 3, column 't': '9999-12-31' is not a time; write "
         "times as 2016-07-01 13:00:00"),
        ("g,v\na,1\n,2\n", {"group": "g"}, "line 3, column 'g': no value, and every row needs a group; fill it in"),
        ("a,b\n1,2\n3,4\n", {"encoding": "latin-99"}, "encoding 'latin-99' is not known; use a name such as utf-8 or cp1252"),
        ("a,b\n1,2\0\n3,4\n", {}, "line 2 holds a NUL character; text files have none; if the file is in UTF-16, give "
         "--encoding utf-16"),
        ("PK\x03\x04", {}, "not a text file but an Excel or zip file; save the table as CSV"),
        (b"\xd0\xcf\x11\xe0\0\0", {}, "not a text file but an old Excel file; save the table as CSV"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_told_in_one_line(tmp_path, text, how, told):
    assert refusal(write(tmp_path, text), **how) == told


def test_what_cannot_be_decoded_is_told_with_its_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,2\n3,\x81\n")
    assert (
        refusal(path)
        == "line 3, byte 10, is neither UTF-8 nor Windows-1252; give the encoding of the file with --encoding, or save it as UTF-8"
    )
    path.write_bytes("a,b\n1,2\n3,ä\n".encode("cp1252"))
    assert (
        refusal(path, encoding="utf-8")
        == "line 3, byte 10, is not utf-8; give the encoding of the file with --encoding"
    )


def test_a_damaged_gz_is_told(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 10_000)[:-20])
    assert refusal(path).startswith("the .gz file is damaged or truncated (")
    path.write_bytes(b"a,b\n1,2\n")
    assert refusal(path).startswith("the .gz file is damaged or truncated (")


def test_a_folder_and_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    assert refusal(tmp_path) == "no table in this folder; name a file, or a folder that holds tables"
    path = write(tmp_path, "a\n1\n2\n")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    assert refusal(path) == "Permission denied"


def test_no_file_at_all(tmp_path):
    assert refusal(tmp_path / "none.csv") == "no such file"
    with pytest.raises(DataError, match="^no table file is named$"):
        read_table([])


def outcome(path, **how):
    """What a table is refused with, or nothing."""
    try:
        table = read(path, **how)
    except DataError as error:
        return str(error)
    assert len({len(column) for column in table.columns.values()}) == 1
    return ""


@quick
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_in_one_line(folder, content):
    path = folder / "any.csv"
    path.write_bytes(content)
    assert "\n" not in outcome(path)


@quick
@given(st.text(alphabet="1,;\n\"'. -ax\t", max_size=80), st.booleans())
def test_any_text_is_read_or_refused_in_one_line(folder, content, header):
    assert "\n" not in outcome(write(folder, content, "text.csv"), header=header)


# Filling


@quick
@given(st.lists(st.lists(st.none() | single, min_size=1, max_size=8), min_size=1, max_size=4))
def test_a_gap_is_filled_from_before_and_from_its_own_group(groups):
    column = np.array([np.nan if v is None else v for group in groups for v in group], dtype=np.float32)
    starts = np.cumsum([0, *map(len, groups)])[:-1]
    expected = []
    for group in groups:
        last = np.nan
        for value in group:
            last = last if value is None else value
            expected.append(last)
    np.testing.assert_array_equal(carry_forward(column, starts), np.array(expected, dtype=np.float32))


# Size


def peak_of(rows, folder):
    """Read a table of 8 columns and a time in a process of its own; return its peak in MiB above what it starts with."""
    path = folder / "large.csv"
    block = "".join(f"{i % 997}.25,{i % 89},{i * 0.5},7,{i % 31}e-1,{i},{i % 3},{i % 7}.125\n" for i in range(10_000))
    lines = block.splitlines()
    with path.open("w") as file:
        file.write("t,a,b,c,d,e,f,g,h\n")
        for first in range(0, rows, 10_000):
            file.write("".join(f"{first + i},{line}\n" for i, line in enumerate(lines)))
    code = f"""
        import resource, sys
        import pandas, pandas.tseries.api
        from bench.data.table_format import TableFormat
        from bench.data.tables import read_table
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        before = peak()
        table = read_table([{str(path)!r}], form=TableFormat(time="t"))
        assert {{len(column) for column in table.columns.values()}} == {{{rows}}}
        print(peak() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    print(f"{rows:,} rows, {path.stat().st_size / 2**20:,.0f} MiB of text: {float(done.stdout):,.0f} MiB at the peak")
    return float(done.stdout)


def test_a_million_rows_are_read_in_bounded_memory(tmp_path):
    # 38 MiB of arrays, read in pieces of some MiB: 43 MiB were measured.
    assert peak_of(10**6, tmp_path) < 38 + 60


@pytest.mark.slow
def test_ten_million_rows_are_read_in_bounded_memory(tmp_path):
    # 381 MiB of arrays, and the steps in time once: 536 MiB were measured.
    assert peak_of(10**7, tmp_path) < 381 + 76 * 2 + 60
