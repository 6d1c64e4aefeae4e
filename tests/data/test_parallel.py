"""Pairs of sentences: what is read, what is left out, and pieces that become the sentence again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import parallel
from bench.data.table_format import TableFormat
from bench.errors import DataError


def test_pieces_keep_the_blank_before_them():
    assert parallel.pieces('He said: "a T-shirt".') == [
        " He", " said", ":", ' "', "a", " T", "-", "shirt", '"', ".",
    ]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.text())
def test_pieces_become_the_sentence_again(text):
    assert parallel.sentence(parallel.pieces(text)) == parallel.normal(text)


def test_a_line_translates_the_line_of_the_same_number(tmp_path):
    (tmp_path / "a.de").write_text("ein Hund\n\nzwei Katzen")
    (tmp_path / "a.en").write_text("a dog\nnothing\ntwo cats\n")
    pairs = parallel.read_lines(tmp_path / "a.de", tmp_path / "a.en", None)
    assert (pairs.source, pairs.target) == (["ein Hund", "zwei Katzen"], ["a dog", "two cats"])
    assert [str(remark) for remark in pairs.remarks] == [
        "a.de: 1 pairs without a sentence or without its translation are left out"
    ]


def test_texts_of_unequal_length_are_refused(tmp_path):
    (tmp_path / "a.de").write_text("ein Hund\nzwei\n")
    (tmp_path / "a.en").write_text("a dog\n")
    with pytest.raises(DataError, match="a.de has 2 lines, but a.en has 1; align them"):
        parallel.read_lines(tmp_path / "a.de", tmp_path / "a.en", None)


def test_texts_without_a_pair_are_refused(tmp_path):
    (tmp_path / "a.de").write_text("ein Hund\n\n")
    (tmp_path / "a.en").write_text("\na dog\n")
    with pytest.raises(DataError, match="holds no pair of sentences"):
        parallel.read_lines(tmp_path / "a.de", tmp_path / "a.en", None)


def test_two_columns_of_a_table(tmp_path):
    (tmp_path / "a.csv").write_text('de,en,part\n"ja, ein Hund",a dog,train\nzwei,two,test\n')
    pairs = parallel.read_table(tmp_path / "a.csv", "de", "en", TableFormat(split_by="part"))
    assert pairs[:3] == (["ja, ein Hund", "zwei"], ["a dog", "two"], ["train", "test"])
