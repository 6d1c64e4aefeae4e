"""Wrong invocations of every command: one line that names the option or the file and how to fix it, exit code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.commands import main

HUGE = "100000000000000000000"
WHOLE = ("x", "1.5", "", "true", "nan", "-1", HUGE, "9" * 5000)
REAL = ("x", "", "nan", "inf", "-inf", "1e400", "-0.0", "-1", "1e30")


def cases(command: tuple[str, ...], option: str, values: tuple[str, ...], expected: str) -> dict[tuple[str, ...], str]:
    return {(*command, option, value): f"{option}: {expected}" for value in values}


NUMBERS = {
    "--length": (WHOLE, "must "),
    "--test-lengths": (WHOLE, "must "),
    "--horizon": (WHOLE, "must be a whole number from 1 to 1,000,000"),
    "--season": (WHOLE, "must be a whole number from 1 to 1,000,000"),
    "--trials": (WHOLE, "must be a whole number from 1 to 10,000"),
    "--top-k": (WHOLE, "must be a whole number from 1 to 1,000"),
    "--confirm-seeds": (WHOLE, "must be a whole number from 0 to 999"),
    "--max-sequences": (WHOLE, "must be a whole number from 1 to 1,000,000,000,000"),
    "--max-usd": (REAL, "must be a number from 1e-09 to 1,000,000,000"),
    "--max-cost-usd": (REAL, "must be a number from 1e-09 to"),
    "--max-run-seconds": (REAL, "must be a number from 0.001 to"),
    "--wall-time": (("x", "", "nan", "inf", "-1", "0", "1y", "1e400", "9" * 400, "99999d"), "must be a number"),
    "--device-time": (("x", "", "nan", "-1h", "0s"), "must be a number"),
    "--price-per-hour": (("nan", "inf", "-1", "-0.0", "1e30", ""), "must be a "),
    "--grid-gco2-per-kwh": (("nan", "inf", "-1", "1e30", ""), "must be a "),
    "--cpu-watts": (REAL, "must be a number from 0.001 to 10,000"),
    "--max-inference-ms": (REAL, "must be a number from 1e-06 to"),
    "--max-parameters": (WHOLE, "must be a whole number from 1 to"),
    "--max-memory-gb": (REAL, "must be a number from 1e-06 to"),
    "--workers": ((*WHOLE, "0", "100000000000"), "must be a whole number from 1 to 1,024"),
    "--threads": ((*WHOLE, "0"), "must be a whole number from 1 to 1,024"),
    "--runs-per-gpu": (WHOLE, "must be a whole number from 1 to 64"),
    "--gpus-per-run": (WHOLE, "must be a whole number from 1 to 1,024"),
    "--max-failures": (WHOLE, "must be a whole number from 1 to"),
    "--stall-seconds": (REAL, "must be a number from 0.1 to"),
    "--seed": (("x", "", "-1", "1.5", "2147483648"), "must be a whole number from 0 to 2,147,483,647"),
    "--splits": (
        ("x", "", "0.7,nan,0.2", "0.7,0.2,0.2", "0.5,0.5", "0.5,,0.5", "-0.0,0.5,0.5", "0,0.5,0.5", "1,1,1,1")
        + ("2,1.5,1", "2,0,1", "2,-1,1", "true,1,1", "700,100,0.2", f"{HUGE},1,1", "inf,1,1"),
        "must be three shares that sum to 1, such as 0.7,0.1,0.2, or three whole numbers of rows",
    ),
}  # fmt: skip
LISTS = {
    option: (("", "  ", ",", "a,,b", "a,b,", "a,a"), "must ")
    for option in ("--dataset", "--models", "--target", "--features", "--warm-start")
}
TEXTS = {
    **{option: (("", " ", "x" * 1001), "must be a text") for option in ("--task", "--time", "--group", "--label")},
    "--name": (("", "../x", ".", "a/b", "x" * 65, "ä"), "must have 1 to 64 letters"),
    "--gpus": (("", "-1", "many", "1.5", HUGE, "1025"), "must be a number from 0 to 1,024, or 'all'"),
    "--data": (("", " "), "must not be empty"),
    "--results": (("", " "), "must not be empty"),
    "--search-spaces": (("",), "must not be empty"),
    "--datasets": (("",), "must not be empty"),
    "--delimiter": (("", "x" * 11), "must be "),
    "--tokens": (("", "words", "syllable"), "must be 'word', 'character' or 'byte'"),
    "--sampler": (("", "tep", "grids"), "must be 'sobol'"),
    "--pruner": (("", "medain"), "must be 'none'"),
    "--on-out-of-memory": (("", "retry"), "must be 'fail' or 'halve'"),
    "--precision": (("", "fp16", "32"), "must be '32-true' or 'bf16-mixed'"),
    "--objectives": (("", "speed", "quality,,cost"), "must be 'quality'"),
    "--match": (("", "x", "width=3", "parameters=0", "parameters=-1k", "parameters=1e9", "flops=nan", "state=1T"), "must "),
    "--data-dir": (("", "nowhere"), ""),
}  # fmt: skip

WRONG: dict[tuple[str, ...], str] = {}
for option, (values, expected) in (NUMBERS | LISTS | TEXTS).items():
    WRONG |= cases(("sweep",), option, values, expected)
for option in ("--trials", "--workers", "--wall-time", "--models", "--splits"):  # plan takes the same settings
    WRONG |= cases(("plan",), option, (NUMBERS | LISTS)[option][0][:3], "must ")
for option in ("--length", "--models", "--gpus", "--match"):
    WRONG |= cases(("speed",), option, (NUMBERS | LISTS | TEXTS)[option][0][:3], "must ")
WRONG |= cases(("plan",), "--memory-gb", REAL, "must be a number from 1e-06 to 1,000,000")
WRONG |= cases(("speed",), "--batch-size", (*WHOLE, "0"), "must be a whole number from 1 to 1,000,000")
WRONG |= cases(("ui",), "--port", (*WHOLE, "0", "65536"), "must be a whole number from 1 to 65,535")
WRONG |= cases(("report",), "--quality", ("x", "", "nan", "inf"), "must be a number from")
WRONG |= cases(("export", "--out", "o"), "--length", (*WHOLE, "0"), "must be a whole number from 1 to 10,000,000")
WRONG |= cases(("predict", "a", "b"), "--num-tokens", WHOLE, "must be a whole number from 1 to 1,000,000")
WRONG |= cases(("predict", "a", "b"), "--temperature", REAL, "must be a number from 0 to 100")
WRONG |= cases(("predict", "a", "b"), "--seed", ("x", "", "-1"), "must be a whole number from 0 to")
for command in ("sweep", "plan", "run", "speed", "leaderboard", "report", "list", "check", "fetch", "export", "predict", "evaluate", "example", "ui", "sync", "portfolio", "compare", "merge", "diagnose", "claims"):  # fmt: skip
    WRONG[command, "--nope"] = "no such option '--nope'"
WRONG |= {
    ("--nope",): "no such option '--nope'; see {prog} --help",
    ("--hlep",): "no such option '--hlep'; did you mean '--help'?",
    ("",): "unknown command ''",
    ("swep",): "unknown command 'swep'; did you mean 'sweep'?",
    ("sweep", "--trails", "3"): "no such option '--trails'; did you mean '--trials'?",
    ("sweep", "--workers"): "option '--workers' requires an argument; see python -m bench COMMAND --help",
    ("sweep", "a.toml", "b.toml"): "unexpected extra argument",
    ("sweep", ""): "FILE: must not be empty",
    ("sweep", "no.toml"): "no.toml: No such file or directory",
    ("sweep", "x\0y"): "must be a path without a NUL character",
    ("sweep", "x" * 300): "File name too long",
    ("sweep", "."): ".: Is a directory",
    ("sweep", "/proc/self/mem"): "/proc/self/mem: ",
    ("sweep", "/dev/zero"): "/dev/zero: larger than 10 MB",
    ("sweep", "--json=yes"): "does not take a value",
    ("sweep", "--no-header=1"): "does not take a value",
    ("sweep", "--budget", ""): "unknown budget ''",
    ("sweep", "--budget", "quik"): "unknown budget 'quik'; did you mean 'quick'?",
    ("sweep", "--dataset", "latsch"): "unknown dataset 'latsch'; did you mean 'latch'?",
    ("sweep", "--dataset", "../latch"): "unknown dataset '../latch'",
    ("sweep", "--models", "lstmm"): "unknown model 'lstmm'; did you mean 'lstm'?",
    ("sweep", "--models", "./no.py"): "no.py: no such file",
    ("sweep", "--search-spaces", "nowhere"): "--search-spaces: nowhere is not a directory",
    ("sweep", "--length", "8"): "--length needs --dataset",
    ("sweep", "--horizon", "8"): "--horizon needs --data",
    ("run",): "missing argument 'CONFIG'; see {prog} run --help",
    ("run", ""): "CONFIG: must not be empty",
    ("run", "no.json"): "no.json: No such file or directory",
    ("run", "."): ".: Is a directory",
    ("run", "x" * 300): "File name too long",
    ("run", "a", "b"): "unexpected extra argument",
    ("predict",): "missing argument 'MODEL'",
    ("predict", "nowhere"): "missing argument 'FILE'",
    ("evaluate",): "missing argument 'MODEL'",
    ("evaluate", "nowhere", __file__): "nowhere: not a folder, and not a sweep",
    ("predict", "nowhere", "x.csv"): "x.csv: no such file",
    ("predict", "nowhere", __file__): "nowhere: not a folder, and not a sweep",
    ("predict", str(Path(__file__).parent), __file__, "--length", "8"): "holds one model; leave the option out",
    ("predict", "nowhere", "x.csv", "--out", ""): "--out: must not be empty",
    ("predict", "nowhere", "x.csv", "--out", "no/x.csv"): "is not a directory; give the path of a file",
    ("evaluate", "nowhere", "x.csv"): "x.csv: no such file",
    ("example", "x"): "unexpected extra argument",
    ("export",): "missing option '--out'",
    ("export", "--out", ""): "--out: must not be empty",
    ("export", "--out", "x", "--results", "nowhere"): "no sweep here yet",
    ("leaderboard", "--results", "nowhere"): "no sweep here yet",
    ("leaderboard", "--results", ""): "--results: must not be empty",
    ("leaderboard", "--csv", "no/b.csv"): "is not a directory; give the path of a file",
    ("leaderboard", "--csv", "."): "is a directory; give the path of a file",
    ("report", "--results", "nowhere"): "no sweep here yet",
    ("sync", "--results", "nowhere"): "no sweep here yet",
    ("ui", "--results", "nowhere"): "no such file; run: python -m bench sweep",
    ("compare", "--results", "nowhere"): "no sweep here yet",
    ("merge",): "missing argument 'FOLDERS...'",
    ("merge", ""): "FOLDERS: must not be empty",
    ("merge", "nowhere", "elsewhere"): "nowhere: neither a sweep nor a results folder",
    ("merge", "a", "b", "--name", "../x"): "--name: must have 1 to 64 letters",
    ("merge", "a", "b", "--results", ""): "--results: must not be empty",
    ("compare", "--out"): "option '--out' requires an argument",
    ("diagnose", "--results", "nowhere"): "no sweep here yet",
    ("diagnose", "--length", "0"): "--length: must be a whole number from 1 to 10,000,000, but found 0",
    ("portfolio",): "missing argument 'SWEEPS...'",
    ("portfolio", "x"): "missing option '--out'",
    ("portfolio", "x", "--out", "o", "--results", "nowhere"): "no sweep here yet",
    ("list", "model"): "'model' is not one of",
    ("list", "models", "datasets"): "unexpected extra argument",
    ("fetch",): "missing argument 'NAMES...'",
    ("fetch", "latsch"): "unknown dataset 'latsch'; did you mean 'latch'?",
    ("fetch", ""): "unknown dataset ''",
    ("check", "lstmm"): "unknown model 'lstmm'; did you mean 'lstm'?",
    ("check", "./no.py"): "no.py: no such file",
    ("check", "--search-spaces", "nowhere"): "--search-spaces: nowhere is not a directory",
    ("check", "--datasets", "nowhere"): "--datasets: nowhere is not a directory",
    ("speed", "no.csv"): "no.csv: ",
    ("claims", "vanish"): "unknown claim 'vanish'; did you mean 'vanishing'?",
    ("claims", "no.toml"): "no.toml: No such file or directory",
    ("claims", "--budget", "quick"): "--budget: must be a number of seconds, or such as 90s, 30m, 2h or 1d",
    ("claims", "--budget", "1s"): "--budget: must be a time from 20 s to a year, but found 1s",
}


def call(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(words), prog_name="bench")
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("words", WRONG, ids=lambda words: " ".join(word[:40].replace("\0", "NUL") for word in words))
def test_a_wrong_invocation_ends_in_one_line(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    status, output, errors = call(*words)
    assert status == 2, output + errors
    assert output == ""
    assert errors.startswith("bench: ")
    assert errors.count("\n") == 1, errors
    assert len(errors) < 500
    assert WRONG[words].format(prog="bench") in errors
    assert not list(tmp_path.iterdir())


def test_the_table_is_long_and_has_every_command():
    assert len(WRONG) >= 250
    assert {words[0] for words in WRONG} >= set(main.commands)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"\xff\xfe\x00\x01", "line 1: not text in UTF-8"),
        (b"trials = 3\nname = '\xff'", "line 2: not text in UTF-8"),
        (b"\x00", "not valid TOML"),
        (b"trials = " + b"9" * 5000, "not valid TOML"),
        (b"a = " + b"[" * 100_000, "not valid TOML"),
        (b"#" * 10_000_001, "larger than 10 MB"),
        (b"trials = true", "trials: must be a whole number from 1 to 10,000, but found True"),
        (b"trials = 3.0", "trials: must be a whole number from 1 to 10,000, but found 3.0"),
        (b"trials = '3'", "trials: must be a whole number from 1 to 10,000, but found '3'"),
        (b"trials = nan", "trials: must be a whole number from 1 to 10,000, but found nan"),
        (b"trials = 0x" + b"f" * 5000, "trials: must be a whole number"),
        (b"max_usd = true", "max_usd: must be a number from"),
        (b"max_usd = -0.0", "max_usd: must be a number from"),
        (b"price_per_hour = true", "price_per_hour: must be a number from 0 to 1,000,000, but found True"),
        (b"gpus = true", "gpus: must be a number from 0 to 1,024, or 'all', but found True"),
        (b"lengths = 8", "lengths: must be a list, but found 8"),
        (b"lengths = [8, 8]", "lengths: must name each entry once, but found 8 twice"),
        (b"lengths = [true]", "lengths[0]: must be a whole number"),
        (b"datasets = 'latch'", "datasets: must be a list, but found 'latch'"),
        (b"datasets = ['']", "datasets[0]: must be a text of 1 to 1,000 characters"),
        (b"datasets = [1]", "datasets[0]: must be text, but found 1"),
        (b"name = 3", "name: must be text, but found 3"),
        (b"results = ''", "results: must not be empty"),
        (b"results = 1", "results: must be a path, but found 1"),
        (b"no_header = 'maybe'", "no_header: must be true or false, but found 'maybe'"),
        (b"[trials]\na = 1", "trials: must be a whole number from 1 to 10,000, but found {'a': 1}"),
        (b"dataset = ['latch']", "dataset: not a known key; did you mean 'datasets'?"),
        (b"wall_time = 1979-05-27", "wall_time: must be a number"),
    ],
)  # fmt: skip
def test_garbage_in_a_sweep_file_is_one_line_with_file_and_key(tmp_path, monkeypatch, text, complaint):
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_bytes(text)
    status, output, errors = call("sweep", "s.toml")
    assert (status, output, errors.count("\n")) == (2, "", 1), errors
    assert errors.startswith(f"bench: s.toml: {complaint}")
    assert len(errors) < 400
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[1]", b"\xff", b"null", b"[" * 100_000, b'{"sweep": 1}', b"{}" * 5_000_001]
)
def test_garbage_in_a_run_file_is_one_line(tmp_path, text):
    (tmp_path / "config.json").write_bytes(text)
    status, _, errors = call("run", str(tmp_path / "config.json"))
    assert (status, errors.count("\n")) == (2, 1), errors
    assert errors.startswith(f"bench: {tmp_path / 'config.json'}: ")


def test_an_unexpected_error_is_one_line_and_its_traceback_a_file(monkeypatch, tmp_path):
    monkeypatch.setattr("bench.cli.listing.LISTS", {"models": lambda results: 1 / 0})
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    status, output, errors = call("list", "models")
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert "unexpected error: ZeroDivisionError: division by zero" in errors
    (file,) = tmp_path.iterdir()
    assert str(file) in errors
    assert "Traceback" in file.read_text()


def test_a_traceback_is_shown_for_the_asking(monkeypatch):
    monkeypatch.setenv("BENCH_DEBUG", "1")
    status, _, errors = call("run", "no.json")
    assert status == 2
    assert "Traceback" in errors


def in_shell(line: str, cwd: Path, **environment: str) -> tuple[int, str]:
    """Run `line` in bash, where $BENCH is the command; return the exit code of it and what it wrote to standard error."""
    root = Path(__file__).parents[2]
    variables = os.environ | {"BENCH": f"{sys.executable} -m bench", "PYTHONPATH": str(root)} | environment
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


SHELL = {
    "$BENCH list prices --json | head -c 1": (0, ""),
    "$BENCH list budgets | true": (0, ""),
    "$BENCH list budgets >&-": (0, ""),
    "$BENCH list budgets 2>&-": (0, ""),
    "$BENCH list budgets > /dev/full": (2, "No space left on device; free some space"),
    "$BENCH list budgets --nope 2> /dev/full": (2, ""),
    "PYTHONIOENCODING=ascii $BENCH list models": (0, ""),
    "LANG=C LC_ALL=C $BENCH list models": (0, ""),
    "mkdir gone && cd gone && rmdir ../gone && $BENCH check --datasets x": (2, ""),
    "mkdir gone && cd gone && rmdir ../gone && $BENCH leaderboard --csv x.csv": (2, "the working directory: "),
    "$BENCH leaderboard --results /proc": (2, "no sweep here yet"),
}


@pytest.mark.parametrize("line", SHELL)
def test_errors_of_the_operating_system_end_in_one_line(tmp_path, line):
    status, errors = in_shell(line, tmp_path)
    assert status == SHELL[line][0], errors
    assert SHELL[line][1] in errors
    assert errors.count("\n") == (1 if status and "2>" not in line else 0), errors


def test_a_match_rule_has_one_spelling():
    from bench.config.sweep_settings import SweepConfig

    for rules in ("parameters=20k,parameters=20K", "parameters=20k,parameters=20000", "parameters=.02M,parameters=20k"):
        assert SweepConfig.build(None, {"match": rules.split(",")}).match == ["parameters=20k"]
    assert SweepConfig.build(None, {"match": ["flops=1.5M", "state=128"]}).match == ["flops=1.5M", "state=128"]
    with pytest.raises(Exception, match="parameters=N, flops=N or state=N"):
        SweepConfig.build(None, {"match": ["parameters=20kk"]})


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_list_fits_the_terminal(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("bench.cli.screen.is_terminal", lambda: True)
    _, output, _ = call("list", "datasets")
    lines = output.splitlines()
    assert max(map(len, lines)) <= width
    headings = lines[2].split()
    assert headings[:3] == ["name", "title", "lengths"]
    assert ("licence" in headings) == (width >= 120)
    assert ("not shown for lack of width" in output) == (width < 120)


def test_a_list_in_a_pipe_has_every_column_and_a_line_for_each_row():
    _, output, _ = call("list", "datasets")
    rows = json.loads(call("list", "datasets", "--json")[1])
    lines = output.strip().splitlines()
    assert len(lines) == len(rows) + 2
    assert lines[1].split() == list(rows[0])
