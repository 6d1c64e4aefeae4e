"""Numbers and words of a page."""

import pytest

from bench import wording


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (float("nan"), "–"), (0, "0"), (1234567.0, "1,234,567"), (12.345, "12.3"), (-0.01234, "−0.0123")],
)
def test_numbers_have_sensible_digits(value, shown):
    assert wording.number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.5, "0.500 s"), (90, "90.0 s"), (600, "10.0 min"), (36_000, "10.0 h")]
)
def test_times_have_the_unit_that_suits_them(seconds, shown):
    assert wording.duration(seconds) == shown
