"""Grids: every one has a source and a date, and a name that is not there is named with its neighbours."""

import json
from datetime import date

import pytest
from click.testing import CliRunner

from bench.cli.commands import main
from bench.config import grids
from bench.errors import DeclarationError, UnknownNameError


@pytest.mark.parametrize("name", grids.read())
def test_every_grid_has_a_source_and_a_date(name):
    grid = grids.read()[name]
    assert 0 < grid.gco2_per_kwh < 1000
    assert 2023 <= grid.year <= grid.read.year <= date.today().year
    assert ("google" in grid.source.lower()) == name.startswith("gcp-")


@pytest.mark.parametrize(("value", "grams"), [(0, 0.0), (381, 381.0), ("0.5", 0.5), ("de", 381.0)])
def test_a_number_passes_and_a_name_is_looked_up(value, grams):
    noted = grids.grid(value)
    assert noted["gco2_per_kwh"] == grams
    assert noted["source"] == ("given" if value != "de" else noted["source"])
    assert grids.grid(None) is None


def test_a_named_grid_is_noted_with_its_year_and_its_source():
    assert grids.grid("gcp-us-central1")["source"].startswith(
        "gcp-us-central1, mean of 2025, https://github.com/Google"
    )


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(UnknownNameError, match="unknown grid 'dee'; did you mean 'de'"):
        grids.grid("dee")


@pytest.mark.parametrize("value", [-1, "nan", "inf"])
def test_a_number_that_is_no_grid_is_refused(value):
    with pytest.raises(DeclarationError, match="grid_gco2_per_kwh: grams of CO2 for a kWh, 0 or more"):
        grids.grid(value)


def test_a_table_that_breaks_a_rule_is_refused_by_name(tmp_path):
    (tmp_path / "grids.toml").write_text('["x"]\ngco2_per_kwh = 1\nplace = "X"\nyear = 2025\nsource = "a friend"\n')
    with pytest.raises(DeclarationError, match="grids.toml: x: "):
        grids.read(tmp_path / "grids.toml")


def test_the_listing_has_years_and_sources():
    rows = json.loads(CliRunner().invoke(main, ["list", "grids", "--json"]).stdout)
    assert [row["name"] for row in rows] == list(grids.read())
    assert all(row["source"].startswith("https://") for row in rows)
