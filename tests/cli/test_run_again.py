"""`bench run` with the config_file of a leaderboard row prints the score of that row."""

import csv
import re

import pytest
from click.testing import CliRunner

from bench.cli.commands import main


def call(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, words)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def swept(tmp_path_factory, quick_tables):
    """The folder of a small sweep of a task that can be solved and of one that cannot, and its rows by dataset."""
    results = tmp_path_factory.mktemp("again") / "results"
    words = ["sweep", "--dataset", "latch,digits", "--length", "8", "--models", "mlp", "--trials", "1", "--name", "one"]
    words += ["--confirm-seeds", "2", "--max-sequences", "960", "--results", str(results)]
    status, output, errors = call(*words)
    assert status == 0, output + errors
    folder = results / "sweeps" / "one"
    with (folder / "leaderboard.csv").open(newline="") as file:
        rows = {row["dataset"]: row for row in csv.DictReader(file) if row["model"] == "mlp"}
    return folder, rows


@pytest.mark.parametrize("dataset", ["latch", "digits"])
def test_the_config_file_of_a_row_reproduces_its_score(swept, dataset):
    folder, rows = swept
    before = {path: path.read_bytes() for path in folder.rglob("record.json")}
    status, output, errors = call("run", str(folder / rows[dataset]["config_file"]))
    assert status == 0, errors
    found = re.search(r"^score +(\S+) accuracy, (mean|median) of 2 seeds", output, re.MULTILINE)
    assert found, output
    assert float(found[1]) == pytest.approx(float(rows[dataset]["score"]), rel=1e-3)
    assert found[2] == rows[dataset]["score_is"]
    assert ("solved on" in output) == (dataset == "latch")
    assert {path: path.read_bytes() for path in folder.rglob("record.json")} == before


def test_without_its_weights_a_row_is_reproduced_by_training_again(swept):
    folder, rows = swept
    config = folder / rows["digits"]["config_file"]
    for path in config.parents[1].glob("*/weights.pt"):
        path.unlink()
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    status, output, errors = call("run", str(config))
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before
    assert status == 0, errors
    assert float(re.search(r"^score +(\S+)", output, re.MULTILINE)[1]) == pytest.approx(
        float(rows["digits"]["score"]), rel=1e-3
    )
