"""An error is a line."""

import pytest

from bench.errors import DataError, UnknownNameError


@pytest.mark.parametrize("part", ["\n", "\r\n", "\x0b", "\u2028", "\n\n"])
def test_what_is_quoted_breaks_no_line(part):
    assert len(str(DataError(f"a.csv: no column 'x' (there are: a{part}b)")).splitlines()) == 1
    assert len(str(UnknownNameError("model", f"a{part}b", ["c"])).splitlines()) == 1
