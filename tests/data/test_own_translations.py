"""Your own pairs of sentences: two texts, six texts of three parts, or a table."""

import pytest

from bench.config.sweep_settings import SweepConfig
from bench.data import own_data
from bench.errors import BenchError
from tests.makers import aligned


def make(*paths, **options):
    return own_data.make(SweepConfig(data=list(paths), task="translation", **options))


@pytest.fixture
def table(tmp_path):
    sides = [path.read_text().splitlines() for path in aligned(tmp_path, 90)]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(["de,en", *map(",".join, zip(*sides, strict=True))]) + "\n")
    return path


def test_two_texts_are_source_and_target(tmp_path):
    own = make(*aligned(tmp_path, 90))
    assert (own.card.task, own.card.name) == ("translation", "pairs.de")
    assert own.card.lengths == [7]  # no pair is left out
    assert own.card.split == "by hash of the source 80/10/10"
    assert "pairs.de: 90 sequences; each line of pairs.de is translated by that of pairs.en" in "\n".join(own.remarks)
    assert own.card.at(7).meta["vocabulary"][1] == "."


def test_six_texts_keep_their_parts(tmp_path):
    names = []
    for part in ("train", "val", "test"):
        for path in aligned(tmp_path, 30):
            names.append(path.rename(tmp_path / f"{part}{path.suffix}"))
    own = make(*names)
    assert own.card.arguments["splits"]["val"] == ["val.de", "val.en"]
    assert own.card.at(7).counts == {"train": 30, "val": 30, "test": 30}


def test_the_other_column_of_a_table_is_inferred(table):
    own = make(table, target=["de"])
    assert (own.card.arguments["source"], own.card.arguments["target"]) == ("en", "de")
    own = make(table, text="de")
    assert (own.card.arguments["source"], own.card.arguments["target"]) == ("de", "en")


def test_longer_pairs_are_left_out_and_counted(table):
    own = make(table, text="de", lengths=[5])
    assert "training sequences are longer than 5 steps: their pairs are left out" in "\n".join(own.remarks)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["pairs.csv"], {}, "text in de, en; name the column of texts, tokens or sources with --text NAME"),
        (["pairs.csv"], {"text": "de", "target": ["en", "de"]}, "is both|has one target, but --target names 2"),
        (["pairs.de"], {}, "needs two texts, the source first.*; found 1 file$"),
        (["pairs.de", "pairs.en"], {"split_by": "part"}, "--split-by is not applicable to two texts"),
        (["pairs.de", "pairs.en"], {"horizon": 3}, "--horizon is not an option of translation"),
    ],
)
def test_what_is_not_clear_is_refused_in_one_line(table, names, options, message):
    with pytest.raises(BenchError, match=message):
        make(*(table.parent / name for name in names), **options)
