"""Portfolios: files of configurations that are tried after the default."""

import pytest

from bench.config import portfolios, search_spaces
from bench.errors import DeclarationError


@pytest.fixture
def write(tmp_path):
    (tmp_path / "portfolios").mkdir()

    def written(text: str, kind: str = "text"):
        (tmp_path / "portfolios" / f"{kind}.toml").write_text(text)
        return tmp_path

    return written


def lstm():
    return search_spaces.read("lstm", kind="text")


def test_points_are_complete_and_in_order(write):
    folder = write("[[lstm]]\nvalues = { learning_rate = 0.01 }\n[[lstm]]\nvalues = { hidden_size = 128 }\n")
    default = lstm().default
    assert portfolios.read(lstm(), folder) == [default | {"learning_rate": 0.01}, default | {"hidden_size": 128}]


def test_what_lies_outside_the_ranges_or_is_the_default_is_left_out(write):
    folder = write("[[lstm]]\nvalues = { learning_rate = 100.0 }\n[[lstm]]\nvalues = {}\n[[gru]]\nvalues = {}\n")
    assert portfolios.read(lstm(), folder) == []


def test_a_matched_space_has_the_portfolio_of_its_model(write):
    folder = write("[[lstm]]\nvalues = { learning_rate = 0.01 }\n")
    (point,) = portfolios.read(lstm().matched("parameters=20k", 40), folder)
    assert point["learning_rate"] == 0.01
    assert "hidden_size" not in point


def test_a_kind_without_a_file_has_none(tmp_path):
    assert portfolios.read(search_spaces.read("lstm"), tmp_path) == []


@pytest.mark.parametrize("text", ["lstm = 1\n", "[[lstm]]\nvalue = {}\n", "[lstm]\nvalues = 3\n"])
def test_a_damaged_file_is_one_line(write, text):
    with pytest.raises(DeclarationError, match=r"text\.toml: lstm: each entry must have a table `values`, but found"):
        portfolios.read(lstm(), write(text))
