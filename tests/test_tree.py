"""The tree stays what the README says it is."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_data_folders_hold_no_code():
    # datasets/__init__.py would shadow the Hugging Face package of that name, which MLflow imports.
    for folder in ("datasets", "search_spaces"):
        assert {path.suffix for path in (ROOT / folder).rglob("*") if path.is_file()} <= {".toml", ".tsv"}


def test_no_file_is_named_for_having_no_subject():
    banned = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert not [path for path in tracked() if Path(path).name in banned]


def test_the_top_level_is_as_designed():
    folders = {path.split("/")[0] for path in tracked() if "/" in path}
    assert folders == {".ci", ".github", "bench", "datasets", "docs", "results", "search_spaces", "tests"}


def test_every_column_of_the_leaderboard_is_defined():
    from bench.results.leaderboard import COLUMNS

    text = (ROOT / "results" / "README.md").read_text().partition("## Columns of speed.csv")[0]
    table = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    defined = [name.strip(" `") for cell in table for name in cell.split(",")]
    assert defined == COLUMNS
