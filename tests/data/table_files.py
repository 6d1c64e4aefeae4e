"""Small tables that tests write, and what is read of them or said to refuse them."""

from dataclasses import fields

import pytest

from bench.data.table_format import TableFormat
from bench.data.tables import read_table
from bench.errors import DataError


def write(folder, text, name="t.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


FORM = {field.name for field in fields(TableFormat)}


def read(path, columns=None, **how):
    """Read a table; arguments of its format are given one by one."""
    form = TableFormat(**{key: how.pop(key) for key in FORM & how.keys()})
    return read_table([path], columns, form, **how)


def refusal(path, **how):
    """The one line that a table is refused with, without its path."""
    with pytest.raises(DataError) as caught:
        read(path, **how)
    told = str(caught.value)
    assert "\n" not in told
    assert told.startswith(f"{path}: ")
    return told.removeprefix(f"{path}: ")
