"""Times: their form is found out from the first ones, they are shown as written, and uneven steps are told."""

import numpy as np
import pandas as pd
import pytest

from bench.data.timestamps import TimeReader, calendar_of, following, months_of, regularity


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
        ("2016-07-01 ", " 2016-07-02 ", 86_400),
        ("07/01/2016 11:00 AM", "07/01/2016 01:00 PM", 7_200),
        ("7/1/2016 11:00:00 a.m.", "7/1/2016 1:00:00 p.m.", 7_200),
        ("2016-07-01 11:00 am", "2016-07-01 1:30 pm", 9_000),
        ("Jan-2015", "Feb-2015", 31 * 86_400),
        ("January 2015", "March 2015", 59 * 86_400),
        ("Jan-15", "Feb-15", 31 * 86_400),
        ("05-Jan-2015", "06-Jan-2015", 86_400),
        ("05JAN2015:13:00:00", "05JAN2015:14:00:00", 3_600),
        ("31/12/99", "01/01/00", 86_400),
        ("2015Q4", "2016Q1", 92 * 86_400),
        ("Q4 2015", "Q1 2016", 92 * 86_400),
        ("2015-W53", "2016-W01", 7 * 86_400),
        ("201512", "201601", 31 * 86_400),
        ("201512.0", "201601.0", 31 * 86_400),
        ("01.2015", "02.2015", 31 * 86_400),
        ("2015123123", "2016010100", 3_600),
        ("1467331200.5", "1467331201.5", 1),
    ],
)
def test_forms_of_time(first, second, seconds):
    times, _ = read([first, second])
    assert times[1] - times[0] == seconds * 10**9


def test_whole_numbers_are_dates_only_if_all_of_them_are():
    for times, form in (
        (["1999", "2000", "2001"], "%Y"),
        (["1000", "1001"], "counter"),
        (["1999", "2000", "2301"], "counter"),
        (["201511", "201512"], "%Y%m"),
        (["201512", "201513"], "counter"),
        (["20151231", "20160101"], "%Y%m%d"),
        (["20151331", "20151332"], "counter"),
        (["1", "2"], "counter"),
        (["1467331200", "1467331260"], "numbers"),
    ):
        reader = read(times)[1]
        assert reader.found.form == form
        assert len(reader.remarks) == 1
    assert read(["1999", "2000"], known="counter")[1].found.form == "counter"


def after(times, count=3, known=None):
    """Return the times that follow, as the table writes them."""
    found, reader = read(times)
    return [str(time).removesuffix(" 00:00:00") for time in reader.found.show(following(found, count, known))]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["201510", "201511", "201512"], ["201601", "201602", "201603"]),
        (["2014", "2015"], ["2016", "2017", "2018"]),
        (["2015Q3", "2015Q4"], ["2016Q1", "2016Q2", "2016Q3"]),
        (["2015-W52", "2015-W53"], ["2016-W01", "2016-W02", "2016-W03"]),
        (["20151230", "20151231"], ["20160101", "20160102", "20160103"]),
        (["Nov-2015", "Dec-2015"], ["2016-01-01", "2016-02-01", "2016-03-01"]),
        (["2015-12-31", "2016-01-31", "2016-02-29"], ["2016-03-31", "2016-04-30", "2016-05-31"]),
        (["2015-11-30", "2015-12-31", "2016-02-29", "2016-03-31"], ["2016-04-30", "2016-05-31", "2016-06-30"]),  # a gap
        (["2020-03-31", "2020-04-30", "2020-05-29"], ["2020-06-30", "2020-07-31", "2020-08-31"]),  # last working days
        (["2020-01-01", "2020-02-03", "2020-03-02"], ["2020-04-01", "2020-05-01", "2020-06-01"]),  # first working days
        (["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07", "2020-01-08"], ["2020-01-09", "2020-01-10", "2020-01-13"]),
        (["2020-01-06", "2020-01-07", "2020-01-08"], ["2020-01-09", "2020-01-10", "2020-01-11"]),  # no weekend was seen
    ],
)  # fmt: skip
def test_times_that_follow(times, expected):
    assert after(times) == expected


def test_working_days_do_not_go_on_over_the_weekend():
    days = pd.bdate_range("2020-01-01", "2020-03-13").strftime("%Y-%m-%d")
    assert after(days) == ["2020-03-16", "2020-03-17", "2020-03-18"]
    remark = "column 't': no rows on Saturdays and Sundays; forecasts leave them out as well"
    assert list(map(str, regularity("t", read(days)[0], None))) == [remark]
    with_holiday = days[days != "2020-02-17"]
    assert len(regularity("t", read(with_holiday)[0], None)) == 2  # the holiday is an uneven step
    few = ["2020-01-08", "2020-01-09", "2020-01-10"]
    known = calendar_of(read(days)[0], 86_400 * 10**9)
    assert after(few, known=known) == ["2020-01-13", "2020-01-14", "2020-01-15"]
    assert after([*few, "2020-01-11"], known=known)[:2] == ["2020-01-13", "2020-01-14"]  # Saturdays are open now


def test_weeks_that_rest_on_other_days_and_nights_without_rows_go_on_as_they_are():
    days = pd.date_range("2020-01-05", "2020-02-06").to_series()
    sunday_to_thursday = days[~days.dt.day_of_week.isin([4, 5])].dt.strftime("%Y-%m-%d")
    assert after(sunday_to_thursday) == ["2020-02-09", "2020-02-10", "2020-02-11"]
    hours = pd.date_range("2020-01-06", "2020-01-25", freq="h").to_series()
    hours = hours[hours.dt.hour.between(9, 16) & (hours.dt.day_of_week < 5)].dt.strftime("%Y-%m-%d %H:%M")
    assert after(hours, 9)[0] == "2020-01-27 09:00:00"
    assert after(hours, 9)[8] == "2020-01-28 09:00:00"


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
