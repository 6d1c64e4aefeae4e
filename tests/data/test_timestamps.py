"""Times: their form is found out from the first ones, they are shown as written, and uneven steps are told."""

import numpy as np
import pandas as pd
import pytest

from bench.data.timestamps import TimeReader, months_of, regularity


def read(times, known=None):
    """The times, and what read them."""
    reader = TimeReader(known)
    return reader.read(pd.Series(times, dtype="str")), reader


@pytest.mark.parametrize(
    ("first", "second", "seconds"),
    [
        ("2016-07-01 00:00:00", "2016-07-01 01:00:00.5", 3600.5),
        ("2016-07-01T00:00:00Z", "2016-07-01T01:00:00+02:00", -3_600),
        ("1749-01", "1749-02", 31 * 86_400),
        ("2016/07/01 00:00", "2016/07/01 00:30", 1_800),
        ("20160701", "20160702", 86_400),
        ("01.02.2020", "13.02.2020", 12 * 86_400),
        ("1467331200", "1467331260", 60),
        ("1467331200000", "1467331260000", 60),
        ("1", "2", 1),
        ("1749", "1750", 365 * 86_400),
    ],
)
def test_forms_of_time(first, second, seconds):
    times, _ = read([first, second])
    assert times[1] - times[0] == seconds * 10**9


def test_what_is_no_time_in_the_form_of_the_first_is_the_least_number():
    for times in (["01/02/2020", "2020-02-03"], ["2020-01-01", "soon"], ["2020-01-01", "9999-12-31"], ["1", "1e30"]):
        assert (read(times)[0] == np.iinfo(np.int64).min).tolist() == [False, True]
    reader = read(["01/02/2020"])[1]
    assert reader.expected == " of the form %m/%d/%Y, as the first one is"


def test_a_form_of_time_that_leaves_a_choice_is_remarked_upon():
    _, reader = read(["01/02/2020", "01/03/2020"])
    assert list(map(str, reader.remarks)) == ["times are read as %m/%d/%Y, not as %d/%m/%Y"]
    _, reader = read(["01/02/2020", "13/02/2020"])
    assert list(map(str, reader.remarks)) == ["times are read as %d/%m/%Y"]


@pytest.mark.parametrize(
    ("times", "known", "form"),
    [
        (["01.02.2020", "01.03.2020"], None, "%d.%m.%Y"),  # dots: the day comes first
        (["01/02/2020", "02/02/2020", "01/03/2020"], None, "%d/%m/%Y"),  # the other way they would not climb
        (["01/02/2020", "02/02/2020"], None, "%m/%d/%Y"),  # nothing tells
        ([f"0{day}/02/2020 {hour:02d}:00" for day in (1, 2) for hour in range(24)], None, "%d/%m/%Y %H:%M"),
        ([f"02/0{day}/2020 {hour:02d}:00" for day in (1, 2) for hour in range(24)], None, "%m/%d/%Y %H:%M"),
        ([f"01/{month:02d}/2020" for month in range(1, 13)] + ["01/01/2021"], None, "%d/%m/%Y"),
        (["01/02/2020", "02/02/2020"], "%d/%m/%Y", "%d/%m/%Y"),
        (["01/02/2020", "02/02/2020"], "%m/%d/%Y", "%m/%d/%Y"),
        (["01/13/2020", "01/14/2020"], "%d/%m/%Y", "%m/%d/%Y"),
    ],
)
def test_day_or_month_first(times, known, form):
    assert read(times, known)[1].found.form == form


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ("2020-01-01 00:00", "2020-01-01 01:00", ["2020-01-01 00:00:00", "2020-01-01 01:00:00"]),
        (
            "2020-01-01T00:00+02:00",
            "2020-01-01T01:00+02:00",
            ["2019-12-31 22:00:00+00:00", "2019-12-31 23:00:00+00:00"],
        ),
        ("2020-01-01 00:00:00Z", "2020-01-02 00:00:00Z", ["2020-01-01 00:00:00+00:00", "2020-01-02 00:00:00+00:00"]),
        ("400", "401", ["400", "401"]),
        ("1467331200000", "1467331260000", ["1467331200000", "1467331260000"]),
    ],
)
def test_times_are_shown_as_they_were_written(first, second, shown):
    times, reader = read([first, second])
    assert [str(time) for time in reader.found.show(times)] == shown


def test_uneven_steps_in_time_are_remarked_upon():
    times, _ = read(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-06 12:00"])
    assert list(map(str, regularity("t", times, None))) == [
        "column 't': 1 of 3 steps in time differ from the usual 1 d (1 d to 84 h); rows are taken as even steps, "
        "nothing is resampled"
    ]
    for even in (
        ["2020-01", "2020-02", "2020-03"],
        ["2019-01-15", "2019-02-15", "2019-03-15"],
        ["2019", "2020"],
        ["2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30"],
    ):
        assert regularity("t", read(even)[0], None) == []


def test_the_step_from_one_group_to_the_next_is_none():
    times, _ = read(["2020-01-01", "2020-01-02", "2019-05-05", "2019-05-06"])
    assert regularity("t", times, np.array([False, True, False])) == []


def test_months_start_at_the_same_place_or_a_day_after_their_last():
    months, after = months_of(read(["2020-01-15 06:00", "2020-03-15 06:00"])[0])
    assert months.astype(str).tolist() == ["2020-01", "2020-03"]
    assert after == np.timedelta64(14 * 24 + 6, "h")
    months, after = months_of(read(["2020-01-31", "2020-02-29"])[0])  # the starts of February and March, less a day
    assert months.astype(str).tolist() == ["2020-02", "2020-03"]
    assert after == np.timedelta64(-1, "D")
    assert months_of(read(["2020-01-15", "2020-02-16"])[0]) is None
