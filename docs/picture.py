"""Draws the picture of the README and writes its table and quick.md, all from results/leaderboards/quick.csv.

To show a new sweep: python -m bench leaderboard NAME --csv results/leaderboards/quick.csv, then make picture.
"""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from bench.report.figures import grid
from bench.report.sections import score_by_length
from bench.results import answers, leaderboard, tables
from bench.wording import is_known

ROOT = Path(__file__).parents[1]
CSV = ROOT / "results" / "leaderboards" / "quick.csv"
PICTURE = ROOT / "docs" / "score_by_length.svg"
README = ROOT / "README.md"
QUICK = CSV.with_suffix(".md")
TABLE = re.compile(r"(?<=<!-- make picture writes this table -->\n).*?(?=<!-- end -->)", re.DOTALL)
HEAD = """# The main job: `make sweep`

A fresh clone, on a machine that did nothing else. [../README.md](../README.md) defines the columns.

"""
BASELINES = 3  # of the table: the best
COLUMNS = ("model", "rank", "score", "95 % interval", "solved", "parameters", "ms a step", "device s")


def read() -> pd.DataFrame:
    """Return the leaderboard as it was before it was written: without the quotes for spreadsheets.

    Columns that are newer than the file are empty.
    """
    board = pd.read_csv(CSV).map(lambda cell: cell.removeprefix("'") if isinstance(cell, str) else cell)
    return board.reindex(columns=leaderboard.COLUMNS)


def where(board: pd.DataFrame) -> str:
    """Return the machine and the versions of the runs."""
    row: Any = next(board[board["hardware"].notna()].itertuples())
    commit = f"; commit {row.commit.removesuffix('-dirty')}" if is_known(row.commit) else ""
    machine = f"{row.hardware}, {row.device}, {float(row.threads):.0f} thread a run"
    return f"{machine}; Python {row.python}, torch {row.torch}{commit}"


def picture(board: pd.DataFrame) -> str:
    """Return the charts with intervals as SVG: solved shares of tasks that can be solved, scores of all others."""
    charts = [chart for chart, _ in score_by_length.charts(board) if any(series.low for series in chart.series)]
    charts.sort(key=lambda chart: chart.rows)  # those over several lengths first
    notes = [
        "Points are models on the test split; bars are 95 % intervals; dashed lines are cheap baselines.",
        where(board),
    ]
    return grid(charts, "Score by length", notes)


def table(board: pd.DataFrame) -> str:
    """Return the answer and the table of the question that ranks the models most finely, at the largest length."""

    def fineness(question: tuple[str, pd.DataFrame]) -> tuple[int, float]:
        group = question[1]
        return group["rank"].nunique(), float(group["length"].iloc[0])

    title, group = max(answers.questions(board), key=fineness)
    (heading, cells), (answer,) = *tables.for_people(group).items(), answers.answers(group)
    frame = pd.DataFrame(cells, columns=list(tables.SHOWN.values()))[list(COLUMNS)]
    cheap = frame["model"].str.startswith("(")
    frame = frame[frame["score"].ne("") & (~cheap | (cheap.cumsum() <= BASELINES))]
    frame = frame.loc[:, frame.ne("").any()]
    align = ["left", *["right"] * (frame.shape[1] - 1)]
    lines = frame.to_markdown(index=False, disable_numparse=True, colalign=align).splitlines()
    lines = [re.sub(r" {2,}", " ", re.sub(r"-{3,}", "--", line)) for line in lines]
    return f"\n> {answer}\n\n**{heading}**\n\n" + "\n".join(lines) + f"\n\n{where(board)}.\n\n"


def main() -> None:
    board = read()
    PICTURE.write_text(picture(board), encoding="utf-8")
    README.write_text(TABLE.sub(lambda _: table(board), README.read_text(encoding="utf-8")), encoding="utf-8")
    QUICK.write_text(HEAD + tables.to_markdown(board), encoding="utf-8")


if __name__ == "__main__":
    main()
