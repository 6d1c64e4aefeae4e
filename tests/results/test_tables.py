"""The leaderboard as CSV, as Markdown and as tables of text cells."""

import pandas as pd
import pytest

from bench.results import leaderboard, tables
from tests.results.boards import row


def test_no_answer_says_what_a_model_cannot(board):
    assert "cannot" not in tables.to_markdown(board)


def test_the_table_shows_what_a_failed_model_cost(board):
    (cells,) = (cells for table in tables.for_people(board).values() for cells in table if "stacked" in cells[0])
    assert cells[0] == "stacked_lstm (failed)"
    assert cells[-1] == f"{row(board, 'latch', 'stacked_lstm')['device_seconds']:.1f}" != "0.0"


def test_the_csv_holds_the_board(board, tmp_path):
    tables.write_csv(board, tmp_path / "board.csv")
    found = pd.read_csv(tmp_path / "board.csv")
    assert list(found.columns) == leaderboard.COLUMNS
    assert found["model"].tolist() == board["model"].tolist()
    assert found["score"].tolist() == pytest.approx(board["score"].tolist(), nan_ok=True)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "1234567", "12e4567", "0012"])
def test_text_that_a_spreadsheet_would_evaluate_gets_a_quote(tmp_path, text):
    board = pd.DataFrame({"model": [text, "plain"], "score": [-1.5, 2.0], "solved": [-1, None]})
    tables.write_csv(board, tmp_path / "board.csv")
    found = pd.read_csv(tmp_path / "board.csv")
    assert found["model"].tolist() == [f"'{text}", "plain"]
    assert found["score"].tolist() == [-1.5, 2.0]
    assert found["solved"][0] == -1


def test_a_table_has_a_row_a_model_and_fits_its_headings(board):
    shown = tables.for_people(board)
    assert list(shown) == [
        "latch at 8 (8 steps, accuracy; interval of the share of seeds that solve)",
        "digits at 8 (8 steps, accuracy; interval of the mean score)",
    ]
    rows = [cells for table in shown.values() for cells in table]
    assert len(rows) == len(board)
    assert {len(cells) for cells in rows} == {len(tables.SHOWN)}
    assert all(type(cell) is str and "nan" not in cell for cells in rows for cell in cells)
    assert rows[1][:6] == ["lstm", "1", "1.000", "0.29 to 1.00", "3 of 3", "1,100"]


def test_markdown_omits_empty_columns(board):
    shown = tables.to_markdown(board).split("### ")[1:]
    assert [table.split(" at ")[0] for table in shown] == ["latch", "digits"]
    for table in shown:
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1
        assert ("solved" in lines[0]) == table.startswith("latch")
        for column in zip(*(line.strip("|").split("|") for line in lines[2:]), strict=True):
            assert any(cell.strip() for cell in column)
