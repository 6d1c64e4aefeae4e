"""Suffixes and shapes of words."""

import pytest

from bench.data import morphology


@pytest.mark.parametrize(
    ("word", "features"),
    [
        ("Walking", ("g", "ng", "ing", "Xx")),
        ("I", ("i", "i", "i", "X")),
        ("McDonald", ("d", "ld", "ald", "XxXx")),
        ("1,000", ("0", "00", "000", "d,d")),
        ("well-known", ("n", "wn", "own", "x-x")),
        ("...", (".", "..", "...", ".")),
        ("Überall", ("l", "ll", "all", "Xx")),
        ("日本", ("本", "日本", "日本", "x")),
    ],
)
def test_features_by_hand(word, features):
    assert morphology.of_word(word) == features


def test_rare_features_are_unknown():
    known = morphology.vocabularies(["walked", "talked", "Rome"], min_count=2)
    assert known == [["<unk>", "d"], ["<unk>", "ed"], ["<unk>", "ked"], ["<unk>", "x"]]
    assert morphology.encode(["hiked", "rides"], known).tolist() == [[1, 1, 1, 1], [0, 0, 0, 1]]
