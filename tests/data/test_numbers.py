"""Numbers as tables write them: decimal commas, thousands, units, and signs for a missing value."""

import numpy as np
import pytest

from bench.data import table_pieces
from bench.data.table_format import TableFormat
from bench.data.table_pieces import read_head
from bench.data.tables import read_table
from bench.errors import DataError
from tests.data.table_files import read, write


def test_decimal_commas_are_read_and_told(tmp_path):
    table = read(write(tmp_path, "a;b;n\n1,5;2;x\n-3,25;1,000;y\n;4;1,5\n"), columns=["a", "b"])
    np.testing.assert_array_equal(table.columns["a"], np.float32([1.5, -3.25, np.nan]))
    np.testing.assert_array_equal(table.columns["b"], np.float32([2, 1, 4]))
    assert list(map(str, table.remarks)) == ["t.csv: numbers are read with decimal commas"]
    head = read_head(tmp_path / "t.csv", 2, TableFormat())
    assert head == (
        ["a", "b", "n"],
        [["1.5", "2", "x"], ["-3.25", "1.000", "y"]],
        TableFormat(";", "utf-8-sig", decimal=","),
    )


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1,234.5", "987.25", "1,234,567"], [1234.5, 987.25, 1234567]),
        (["1.234,5", "987,25", "1.234.567"], [1234.5, 987.25, 1234567]),
        (["0,5", "1.300", "2"], [0.5, 1300, 2]),
        (["1 234", "-5", "12 345 678,5"], [1234, -5, 12345678.5]),
        (["1\u202f234,5", "1\u00a0234", "0,5"], [1234.5, 1234, 0.5]),
        (["1'234.5", "2’000", "7"], [1234.5, 2000, 7]),
        (["987", "1,234", "12,345"], [987, 1234, 12345]),
        (["12,34,567", "1,500", "20"], [1234567, 1500, 20]),
        ([" 1,234 ", "", "1,234,000"], [1234, np.nan, 1234000]),
        (["−1,234.5", "−3", "+7.25"], [-1234.5, -3, 7.25]),
    ],
)
@pytest.mark.parametrize("delimiter", [";", ","])
def test_thousands_are_read_with_their_separators_and_remarked(tmp_path, cells, values, delimiter):
    rows = "".join(f'"{cell}"{delimiter}{row}\n' for row, cell in enumerate(cells))
    path = write(tmp_path, f"load{delimiter}row\n{rows}", name=f"{'semi' if delimiter == ';' else 'comma'}.csv")
    table = read(path)
    np.testing.assert_array_equal(table.columns["load"], np.float32(values))
    assert any("column 'load': thousands are read without their separators" in str(remark) for remark in table.remarks)
    head = read_head(path, 9, TableFormat())
    assert [float(row[0] or "nan") for row in head.rows] == pytest.approx(values, nan_ok=True)


@pytest.mark.parametrize(
    ("cells", "values", "unit"),
    [
        (["$1,234.50", "-$3.25", "$ 5"], [1234.5, -3.25, 5], "$"),
        (["45%", "5.5 %", ""], [45, 5.5, np.nan], "%"),
        (["12.3 kWh", "1 kWh"], [12.3, 1], "kWh"),
        (["-5 °C", "3.2 °C"], [-5, 3.2], "°C"),
        (["USD 1,000", "USD 5"], [1000, 5], "USD"),
        (["1 234,5 €", "0,25 €"], [1234.5, 0.25], "€"),
    ],
)
def test_numbers_are_read_without_the_unit_that_all_of_them_have(tmp_path, cells, values, unit):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["a;b", *(f"{cell};1" for cell in cells)]))
    table = read_table([path], ["a"])
    np.testing.assert_array_equal(table.columns["a"], np.float32(values))
    assert f"column 'a': numbers are read without their unit ({unit})" in map(str, table.remarks)


@pytest.mark.parametrize("cells", [["$5", "6"], ["5%", "5 kg"], ["1.2K", "3.4M"], ["5 apples a day", "6"]])
def test_numbers_of_several_units_are_refused(tmp_path, cells):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["a;b", *(f"{cell};1" for cell in cells)]))
    with pytest.raises(DataError, match="is not a number"):
        read_table([path], ["a"])


def test_all_pieces_of_a_column_have_the_same_unit(tmp_path, monkeypatch):
    monkeypatch.setattr(table_pieces, "CELLS", 512)
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["a,b", *(f"{number} kg,1" for number in range(600)), "7 lb,1"]))
    with pytest.raises(DataError, match="line 602, column 'a': '7 lb' is not a number"):
        read_table([path], ["a"])
    path.write_text(path.read_text().replace("lb", "kg"))
    assert read_table([path], ["a"]).columns["a"].sum() == 599 * 300 + 7


def test_a_dash_or_a_point_alone_is_a_missing_number(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,-\n-,2\n—,.\n-4,--\n")
    np.testing.assert_array_equal(read_table([path], ["a"]).columns["a"], np.float32([1, np.nan, np.nan, -4]))


def test_another_column_decides_which_sign_separates_decimals(tmp_path):
    table = read(write(tmp_path, 'sales,price\n"1,500",1.25\n"2,500",3.5\n'))
    np.testing.assert_array_equal(table.columns["sales"], np.float32([1500, 2500]))


def test_true_and_false_are_numbers(tmp_path):
    table = read(write(tmp_path, "v,w\nTRUE,1\nFALSE,2\n"))
    np.testing.assert_array_equal(table.columns["v"], [1, 0])
