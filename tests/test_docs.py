"""The commands, options, links, tables and code of README and docs work as written."""

import collections
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner

from bench.cli.commands import main
from bench.config.budgets import BUDGETS
from tests.makers import aligned, dictation, hourly, long_table, recordings, reviews, series, tagged

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
ALL = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "results" / "README.md"]


class Block(NamedTuple):
    """A block of code between fences; one with a title is a file."""

    language: str
    title: str
    text: str


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    fences = re.findall(r"^```(\w+)(?: title=(\S+))?\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(*fence) for fence in fences]


def commands(page: Path) -> list[list[str]]:
    """Return the command lines of a page's blocks, each as words, in their order."""
    lines = [line for block in blocks(page) if block.language == "bash" for line in block.text.splitlines()]
    return [shlex.split(part, comments=True) for line in lines for part in line.split("&&") if part.strip()]


def mentioned(page: Path) -> list[list[str]]:
    """Return the commands of the bench that a page shows, also those inside its sentences."""
    inline = [shlex.split(words) for words in re.findall(r"`python -m bench ([^`\n]+)`", page.read_text())]
    return [words[3:] for words in commands(page) if words[:3] == ["python", "-m", "bench"]] + inline


def call(*words: str) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, f"{shlex.join(words)}\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.mark.parametrize("page", ALL, ids=name)
def test_every_command_has_the_options_it_is_shown_with(page):
    for words in mentioned(page):
        if words[0].islower():  # COMMAND stands for any
            assert "Usage: " in call(*words, "--help"), words  # an unknown option is reported first


def test_every_option_is_one_of_the_command_line():
    known = {
        option
        for command in main.commands.values()
        for parameter in command.get_params(click.Context(command))
        for option in parameter.opts
    }
    others = re.compile(r'^```(?:sh|yaml)\n.*?^```$|ARGS="[^"]*"', re.MULTILINE | re.DOTALL)  # of other tools
    texts = [others.sub("", page.read_text()) for page in PAGES]
    shown = {option for text in texts for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text)}
    assert len(shown) > 40
    assert shown <= known


@pytest.mark.parametrize("page", [*ALL, ROOT / "DECISIONS.md", ROOT / "CHANGELOG.md"], ids=name)
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\((?!https:)([^)#]+)\)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_the_readme_is_short_and_leads_to_every_page():
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in text] == []


def test_every_make_target_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in ALL:
        asked = set(re.findall(r"(?:^ *|`)make ([a-z-]+)`?(?: +#.*)?$", page.read_text(), re.MULTILINE))
        assert asked <= targets | {"help"}, page.name


def test_no_sentence_is_on_two_pages():
    pages = collections.defaultdict(set)
    for page in ALL:
        prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for sentence in re.split(r"(?<=[.:])\s+|\|", " ".join(prose.split())):
            if len(sentence.split()) > 8:
                pages[sentence].add(page.name)
    assert {sentence: found for sentence, found in pages.items() if len(found) > 1} == {}


def test_the_budgets_are_those_of_the_code():
    text = (ROOT / "docs" / "budgets-and-search.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|((?: [\d,]+ \|){8})$", text, re.MULTILINE)
    shown = {budget: tuple(int(n.replace(",", "")) for n in cells.split("|")[:-1]) for budget, cells in rows}
    assert shown == {
        title: (
            *(budget.trials, budget.top_k, budget.confirm_seeds, budget.max_sequences),
            *(budget.passes, budget.language_passes, budget.min_steps, budget.max_steps),
        )
        for title, budget in BUDGETS.items()
    }


def test_the_picture_and_the_table_show_the_leaderboard_that_is_shipped():
    spec = importlib.util.spec_from_file_location("picture", ROOT / "docs" / "picture.py")
    picture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(picture)
    board = picture.read()
    assert picture.TABLE.search(README.read_text())[0] == picture.table(board)
    drawn = picture.PICTURE.read_text()
    shown = board[board["rank"].notna()]
    for text in (*shown["model"], *shown["dataset"], picture.where(board)):
        assert text in drawn


@pytest.mark.parametrize(
    ("page", "model"),
    [(README, "mine"), pytest.param(ROOT / "docs" / "own-models.md", "leaky", marks=pytest.mark.slow)],
)
def test_the_model_follows_the_contract(page, model, tmp_path, monkeypatch):
    for block in blocks(page):
        if block.title:
            (tmp_path / block.title).write_text(block.text)
    monkeypatch.chdir(tmp_path)
    assert {row["problem"] for row in json.loads(call("check", f"./{model}.py", "--json"))} == {None}
    assert not list(Path().glob("__pycache__"))


# Every page is followed from its beginning to its end, with small files and small budgets


LEFT_OUT = {
    "ui": "serves until it is stopped",
    "fetch": "needs a network",
}
GPU = "--gpus"
DOWNLOADED = ("sst2",)


def write_files(folder: Path) -> None:
    """Write the files that the pages name, small ones."""
    for file in ("my.csv", "load.csv", "new.csv"):
        hourly(folder / file, rows=700, first="timestamp,load,wind,temperature", more=",1.5,2.5")
        lines = (folder / file).read_text().splitlines()
        varied = [f"{line.rsplit(',', 2)[0]},{row % 5},{row % 11}" for row, line in enumerate(lines[1:])]
        (folder / file).write_text("\n".join([lines[0], *varied]) + "\n")
    faults = [f"{line},{int(row in (500, 501))}" for row, line in enumerate(lines[1:], 1)]
    (folder / "faults.csv").write_text("\n".join([f"{lines[0]},fault", *faults]) + "\n")
    long_table(folder / "prices.csv", "price")
    long_table(folder / "gestures.csv", "class")
    for part in ("train", "test"):
        long_table(folder / f"prices_{part}.csv", "price")
    rows = (folder / "gestures.csv").read_text().splitlines()
    parts = [("train", "train", "train", "val", "test")[int(row[1 : row.index(",")]) % 5] for row in rows[1:]]
    lines = [f"{row},{part}" for row, part in zip(rows, ["part", *parts], strict=True)]
    (folder / "parts.csv").write_text("\n".join(lines) + "\n")
    series(folder / "GESTURES_TRAIN.ts")
    series(folder / "GESTURES_TEST.ts", rows=40)
    series(folder / "series.npz")
    recordings(folder / "recordings", count=40)
    dictation(folder / "dictation")
    reviews(folder / "reviews.csv")
    (folder / "book.txt").write_text("It was a bright cold day in April, and the clocks were striking thirteen. " * 200)
    tagged(folder / "treebank.conllu")
    tagged(folder / "words.csv")
    sides = [path.read_text().splitlines() for path in aligned(folder)]
    rows = [",".join(row) for row in zip(*sides, strict=True)]
    (folder / "pairs.csv").write_text("\n".join(["de,en", *rows]) + "\n")


def reduced(words: list[str]) -> list[str]:
    """Return a command of the bench that does the same with as little work as possible."""
    if words[0] == "claims":
        return ["claims", *([word for word in words if word.endswith(".toml")] or ["gru"]), "--budget", "30s"]
    if words[0] in ("sweep", "plan", "speed"):
        words = [part for index, part in enumerate(words) if "--budget" not in words[max(0, index - 1) : index + 1]]
        if "--models" not in words:
            words += ["--models", "mlp"]
        if words[0] != "speed" and not words[1].endswith(".toml"):
            words += ["--budget", "smoke"]
        for option in {"--trials", "--top-k", "--confirm-seeds"} & set(words):
            words += [option, "2" if option == "--trials" else "1"]  # the last one counts
        if "--frontier" in words:
            words += ["--memory-gb", "0.02"]
    return words


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # remarks about data, in Python
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_can_be_followed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    namespace: dict[str, object] = {}
    for block in blocks(page):
        if block.title:
            (tmp_path / block.title).write_text(block.text)
        elif block.language == "python":
            (tmp_path / "results").mkdir(exist_ok=True)
            exec(compile(block.text, page.name, "exec"), namespace)
        elif block.language == "bash":
            for line in block.text.splitlines():
                for part in line.split("&&"):
                    follow(shlex.split(part, comments=True))


def follow(words: list[str]) -> None:
    if words[:3] != ["python", "-m", "bench"]:
        assert words == [] or words[0] in ("make", "pip", "docker"), words
        return
    words = words[3:]
    needs_data = any(name in words for name in DOWNLOADED) and "BENCH_DATA_DIR" not in os.environ
    if words[0] == "sync":  # a process of its own, as MLflow may still be imported by a thread of the sweep
        subprocess.run([sys.executable, "-m", "bench", *words], check=True, capture_output=True)
    elif words[0] not in LEFT_OUT and GPU not in words and not needs_data:
        call(*reduced(words))


def test_the_workflow_runs_what_ci_runs():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert re.findall(r"- run: (.*)", text) == ["bash .ci/run"]


def test_the_image_gets_every_file_that_the_package_is_built_from():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = {file for line in lines if line.startswith("COPY ") for file in line.split()[1:-1]}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert all((ROOT / file).exists() for file in copied)
    built_from = re.search(r"sdist]\ninclude = \[(.*)\]", (ROOT / "pyproject.toml").read_text())[1]
    assert {part.strip(' "/') for part in built_from.split(",")} <= copied
