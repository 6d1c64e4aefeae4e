"""What the README shows works as it stands there."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text()


def call(*words: str) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture
def tcn(tmp_path, monkeypatch):
    """The files of the section on own models, in a folder of their own, which is the working directory."""
    section = README.split("## Your own model\n")[1].split("\n## ")[0]
    for name, language in {"tcn.py": "python", "tcn.toml": "toml"}.items():
        (code,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
        (tmp_path / name).write_text(code)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("tcn")
def test_the_model_keeps_every_promise():
    assert {row["problem"] for row in json.loads(call("check", "./tcn.py", "--json"))} == {None}


@pytest.mark.usefixtures("tcn")
def test_the_model_takes_part_in_a_sweep():
    sweep = ["sweep", "--models", "lstm,./tcn.py", "--dataset", "latch", "--length", "8", "--budget", "smoke", "--json"]
    rows = {row["model"]: row for row in json.loads(call(*sweep))}
    assert rows.keys() >= {"lstm", "tcn"}
    assert rows["tcn"]["state"] == "complete"
    assert not list(Path().glob("__pycache__"))
