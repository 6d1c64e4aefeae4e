"""Vocabularies: what they hold, in which order, and that encoding loses nothing that they hold."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.data.vocabulary import END, PAD, UNKNOWN, decode, encode, make, tokens, words

lists_of_words = st.lists(st.text(alphabet="abcxyz", min_size=1))


def test_lines_of_words_end_with_eos():
    assert tokens("the cat\n\n sat \n", "word") == ["the", "cat", END, END, "sat", END]
    assert tokens("no end", "word") == ["no", "end", END]


def test_bytes_are_always_all_of_them():
    assert len(make([], "byte")) == 256
    assert encode(tokens("aé", "byte"), make([], "byte")).tolist() == [97, 0xC3, 0xA9]


def test_the_most_frequent_come_first_and_equals_by_name():
    assert make("banana", "character") == [UNKNOWN, "a", "n", "b"]
    assert make("cab", "character") == [UNKNOWN, "a", "b", "c"]


def test_the_size_counts_unk_and_cuts_the_rarest():
    assert make("banana", "character", max_size=3) == [UNKNOWN, "a", "n"]


def test_rare_tokens_are_left_out():
    assert make("banana", "character", min_count=2) == [UNKNOWN, "a", "n"]


def test_unk_in_a_text_is_the_one_that_is_there_anyway():
    assert make([UNKNOWN, "a", UNKNOWN], "word") == [UNKNOWN, "a"]
    assert encode([UNKNOWN, "a"], [UNKNOWN, "a"]).tolist() == [0, 1]


def test_what_is_new_is_unk():
    found = encode(["a", "new", "b"], [UNKNOWN, "a", "b"])
    assert found.tolist() == [1, 0, 2]
    assert found.dtype == np.int64


def test_unk_may_have_another_number_than_0():
    assert encode(iter(["a", "new", "b"]), [PAD, UNKNOWN, "b", "a"]).tolist() == [3, 1, 2]


def test_bytes_are_the_last_of_their_vocabulary():
    found = encode("aé".encode(), [PAD, UNKNOWN, *make([], "byte")])
    assert found.tolist() == [97 + 2, 0xC3 + 2, 0xA9 + 2]
    assert found.dtype == np.int64


def test_bytes_that_are_no_character_are_shown_all_the_same():
    assert decode([0xC3], make([], "byte"), "byte") == "�"


@settings(max_examples=25, deadline=None)
@given(st.lists(lists_of_words, min_size=1))
def test_words_come_back_line_by_line(lines):
    text = "".join(" ".join(line) + "\n" for line in lines)  # some of them empty
    found = tokens(text, "word")
    vocabulary = make(found, "word")
    assert decode(encode(found, vocabulary), vocabulary, "word") == text


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@pytest.mark.parametrize("unit", ["byte", "character"])
def test_texts_come_back(unit, text):
    found = tokens(text, unit)
    vocabulary = make(found, unit)
    assert len(set(vocabulary)) == len(vocabulary)
    assert decode(encode(found, vocabulary), vocabulary, unit) == text


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_a_text_to_be_read_changes_no_vocabulary(train, other):
    vocabulary = make(train, "character")
    found = encode(other, vocabulary)
    assert all(number == 0 or vocabulary[number] == character for number, character in zip(found, other, strict=True))
    assert {character for character, number in zip(other, found, strict=True) if number == 0} == set(other) - set(train)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It's GOOD, isn’t it?", ["it's", "good", ",", "isn’t", "it", "?"]),
        ("you 've seen", ["you", "'ve", "seen"]),
        ("Été 1984\n!", ["été", "1984", "!"]),
        (" \n", []),
    ],
)
def test_words_of_sentences(text, found):
    assert words(text) == found


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=60))
@example(text="a\x1c\x1f b")
def test_no_character_is_lost_but_blanks(text):
    assert "".join(words(text)) == "".join(text.lower().split()) or "_" in text or not text.isascii()
    assert bool(words(text)) == bool(text.strip()) or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's the movie 's best; don't! 3.14", ["it's", "the", "movie", "'s", "best", ";", "don't", "!", "3.14"]),
        ("हिन्दी में नमस्ते", ["हिन्दी", "में", "नमस्ते"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("e\u0301te\u0301 \u00e9t\u00e9", ["\u00e9t\u00e9", "\u00e9t\u00e9"]),
        ("今天 カタカナ", ["今", "天", "カタカナ"]),
        ("👩‍👩‍👧 ok…", ["👩‍👩‍👧", "ok", "…"]),
        (" \n", []),
    ],
)
def test_words_stay_whole_at_combining_marks(text, expected):
    assert words(text) == expected


def test_words_of_earlier_exports_are_split_as_they_were():
    assert words("It's हिन्दी", version=1) == ["it's", "ह", "ि", "न", "्", "द", "ी"]
