"""Prices: every one has a source and a date, and a name that is not there is told so."""

import json
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.commands import main
from bench.config import prices
from bench.errors import DeclarationError, UnknownNameError

ROOT = Path(__file__).parents[2]
ENTRY = """
["m"]
usd_per_hour = {price}
hardware = "1 GPU"
provider = "P"
region = "r"
source = "{source}"
read = {read}
"""


@pytest.mark.parametrize("name", prices.read())
def test_every_price_has_a_source_and_a_date(name):
    price = prices.read()[name]
    assert price.usd_per_hour > 0
    assert price.source.startswith("https://")
    assert date(2025, 1, 1) <= price.read <= date.today()
    assert price.hardware
    assert price.region
    assert name == name.lower()
    assert name.split("-")[0] == price.provider.lower().replace("google cloud", "gcp")


@pytest.mark.parametrize(
    ("value", "usd"),
    [(None, None), (0, 0.0), (1.5, 1.5), ("0", 0.0), ("2.25", 2.25), (" 3 ", 3.0), ("aws-p5.48xlarge", 55.04)],
)
def test_a_number_passes_and_a_name_is_looked_up(value, usd):
    assert prices.usd_per_hour(value) == usd


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(UnknownNameError) as error:
        prices.usd_per_hour("aws-p5.48xlrge")
    line = str(error.value)
    assert line.startswith(
        "unknown price 'aws-p5.48xlrge'; did you mean 'aws-p5.48xlarge'? (there are: aws-c5.2xlarge,"
    )
    assert "\n" not in line


@pytest.mark.parametrize("value", [-1, "-0.5", "nan", "inf", float("nan")])
def test_a_number_that_is_no_price_is_refused(value):
    with pytest.raises(DeclarationError, match="price_per_hour: USD an hour, 0 or more"):
        prices.usd_per_hour(value)


@pytest.mark.parametrize(
    ("change", "key"),
    [({"price": 0}, "usd_per_hour"), ({"source": "a friend"}, "source"), ({"read": '"lately"'}, "read")],
)
def test_a_table_that_breaks_a_rule_is_refused_by_name(tmp_path, change, key):
    entry = {"price": 1.5, "source": "https://example.org", "read": "2026-11-09"}
    (tmp_path / "prices.toml").write_text(ENTRY.format(**entry))
    assert prices.read(tmp_path / "prices.toml")["m"].read == date(2026, 11, 9)
    (tmp_path / "prices.toml").write_text(ENTRY.format(**entry | change))
    with pytest.raises(DeclarationError, match=f"prices.toml: m: {key}: "):
        prices.read(tmp_path / "prices.toml")


def test_the_wheel_brings_the_table(tmp_path):
    build = f"from hatchling.build import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", build], cwd=ROOT, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        assert wheel.read("bench/config/prices.toml") == prices.TABLE.read_bytes()


def test_the_listing_has_dates_and_sources():
    done = CliRunner().invoke(main, ["list", "prices", "--json"])
    rows = json.loads(done.stdout)
    assert [row["name"] for row in rows] == list(prices.read())
    assert all(date.fromisoformat(row["read"]) and row["source"].startswith("https://") for row in rows)
    assert "2026-11-09" in CliRunner().invoke(main, ["list", "prices"]).stdout
