"""The commands, options, links and code in the README work as written."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bench.cli.commands import main
from bench.config.budgets import BUDGETS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"(?:^    |`)python -m bench ([^#`\n]+)", README, re.MULTILINE)


def call(*words: str) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_the_options_it_is_shown_with(words):
    assert "Usage: " in call(*shlex.split(words), "--help")  # an unknown option is reported first


def test_every_option_is_one_of_the_command_line():
    known = {
        option
        for command in main.commands.values()
        for parameter in command.get_params(click.Context(command))
        for option in parameter.opts
    }
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README.split("## Why you can trust the results")[0]))
    assert len(shown) > 30
    assert shown <= known


def test_every_link_leads_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for link in re.findall(r"\]\((?!https:)([^)#]+)\)", page.read_text()):
            assert (ROOT / link).exists(), f"{page.name}: {link}"


def test_every_make_target_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        asked = set(re.findall(r"(?:^    |`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
        assert asked <= targets | {"help"}, page.name


def test_the_budgets_are_those_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \|((?: [\d,]+ \|){8})$", README, re.MULTILINE)
    shown = {name: tuple(int(number.replace(",", "")) for number in cells.split("|")[:-1]) for name, cells in rows}
    assert shown == {
        name: (
            *(budget.trials, budget.top_k, budget.confirm_seeds, budget.max_sequences),
            *(budget.passes, budget.language_passes, budget.min_steps, budget.max_steps),
        )
        for name, budget in BUDGETS.items()
    }


@pytest.fixture
def tcn(tmp_path, monkeypatch):
    """Write the files of the section "Your own model" into the working directory."""
    section = README.split("## Your own model\n")[1].split("\n## ")[0]
    for name, language in {"tcn.py": "python", "tcn.toml": "toml"}.items():
        (code,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
        (tmp_path / name).write_text(code)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("tcn")
def test_the_model_follows_the_contract():
    assert {row["problem"] for row in json.loads(call("check", "./tcn.py", "--json"))} == {None}


@pytest.mark.usefixtures("tcn")
def test_the_model_takes_part_in_a_sweep():
    sweep = ["sweep", "--models", "lstm,./tcn.py", "--dataset", "latch", "--length", "8", "--budget", "smoke", "--json"]
    rows = {row["model"]: row for row in json.loads(call(*sweep))}
    assert rows.keys() >= {"lstm", "tcn"}
    assert rows["tcn"]["status"] == "complete"
    assert not list(Path().glob("__pycache__"))
