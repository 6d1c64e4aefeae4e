"""A sweep made by version 0.1 before the modules moved into folders (commit 6a21957) is read and resumed as before."""

import csv
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import bench
from bench.cli.commands import main
from bench.report import report
from bench.results import leaderboard

ARCHIVE = Path(__file__).with_name("before_the_move.tar.xz")
NAME = "before-the-move"


@pytest.fixture
def results(tmp_path) -> Path:
    """Return a results folder with the old sweep; the search spaces it was made with lie beside it."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "r" / "sweeps").mkdir(parents=True)
    (tmp_path / NAME).rename(tmp_path / "r" / "sweeps" / NAME)
    return tmp_path / "r"


def test_the_leaderboard_has_the_scores_it_had(results):
    with (results / "sweeps" / NAME / "leaderboard.csv").open() as file:
        old = {row["model"]: row for row in csv.DictReader(file)}
    board = leaderboard.build(results / "sweeps" / NAME).set_index("model")
    assert sorted(board.index) == sorted(old)  # cheap baselines were not in order of their scores
    for model, row in old.items():
        assert board.loc[model, "score"] == pytest.approx(float(row["score"]), abs=1e-12)
        for column in ("rank", "solved", "num_parameters", "sequences_to_solve", "device_seconds"):
            if row[column]:
                assert board.loc[model, column] == pytest.approx(float(row[column])), (model, column)
            else:
                assert pd.isna(board.loc[model, column]), (model, column)


def test_the_report_and_the_data_frame_are_made(results):
    assert report.write(results / "sweeps" / NAME).stat().st_size > 10_000
    assert len(bench.load(results, NAME)) == len(list((results / "sweeps" / NAME).rglob("record.json")))


@pytest.mark.usefixtures("quick_tables")
def test_the_command_that_made_it_finds_nothing_left_to_do(results, monkeypatch):
    records = {path: path.read_bytes() for path in results.rglob("record.json")}
    command = ["sweep", "--dataset", "latch", "--length", "8", "--models", "lstm,mlp"]
    command += ["--trials", "2", "--confirm-seeds", "2", "--max-sequences", "1600", "--name", NAME]
    command += ["--results", str(results), "--search-spaces", str(results.parent / "search_spaces")]
    monkeypatch.chdir(results.parent)
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert {path: path.read_bytes() for path in results.rglob("record.json")} == records
