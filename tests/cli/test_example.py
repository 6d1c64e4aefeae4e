"""The example: its file, its commands, and that it overwrites nothing."""

import csv
import shlex

import pytest
from click.testing import CliRunner

from bench.cli.commands import main
from bench.cli.example import COMMANDS


def call(*words: str, code: int = 0):
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == code, result.output
    return result


def test_the_file_is_written_and_the_commands_are_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("example")
    assert result.stdout.splitlines() == list(COMMANDS)
    assert "1,461 days" in result.stderr
    rows = list(csv.DictReader((tmp_path / "weather.csv").open()))
    assert len(rows) == 1461
    assert rows[0] == {
        "date": "2012-01-01",
        "precipitation": "0.0",
        "temp_max": "12.8",
        "temp_min": "5.0",
        "wind": "4.7",
    }
    assert all(float(row["temp_min"]) <= float(row["temp_max"]) for row in rows)
    for command in COMMANDS:
        assert "Usage" in call(*shlex.split(command)[3:], "--help").stdout


def test_a_file_of_that_name_is_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weather.csv").write_text("mine")
    assert "weather.csv: exists already" in call("example", code=2).stderr
    assert (tmp_path / "weather.csv").read_text() == "mine"


@pytest.mark.slow
def test_the_commands_lead_to_a_forecast(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call("example")
    for command in COMMANDS:
        words = shlex.split(command)[3:]
        if words[0] == "sweep":
            words += ["--budget", "smoke"]
        last = call(*words)
    assert len(last.stdout.splitlines()) == 8  # the header and seven days
    assert "2015-12-31" in last.stdout or "2016-01-01" in last.stdout
    assert (tmp_path / "forecast.svg").read_text().startswith("<?xml")
