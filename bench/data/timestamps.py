"""Times of tables: finding their form, reading and showing them, and whether their steps are even.

Times are int64 nanoseconds since 1970, UTC.
"""

import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np

from bench.data.remarks import Remark

_MONTH = r"(jan|feb|m[aä]r|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_CLOCK = r"\d{1,2}(:\d{2}(:\d{2}([.,]\d+)?)?)?(\s*[ap]\.?m\.?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?"
DATE = re.compile(
    r"\s*("
    r"(\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})|\d{1,2}/\d{4}"
    rf"|(\d{{1,2}}[ -]?)?{_MONTH}[ -]*(\d{{1,2}},? +)?(\d{{4}}|-\d{{2}})|\d{{4}}[ -]?{_MONTH}([ -]?\d{{1,2}})?)"
    rf"([T :]\s*{_CLOCK})?"
    r"|\d{4}[- ]?Q[1-4]|Q[1-4][- /]?\d{4}|\d{4}-?W\d{2}(-?[1-7])?"
    r")\s*",
    re.IGNORECASE,
)
"""Texts that are surely dates. Numbers such as 2015 or 201512 may be."""

_ZONE = re.compile(r":\d{2}\S*\s*(Z|UTC|[+-]\d{2}:?\d{2})\s*$")
_DAY = 86_400 * 10**9
_QUARTER, _WEEK = re.compile(r"(\d{4})[- ]?Q([1-4])|Q([1-4])[- /]?(\d{4})", re.IGNORECASE), re.compile(r"\d{4}-?W\d{2}")
_YEARS = (1500, 2200)
"""Whole numbers are years, or begin with one, only if all of them lie between these."""

_DIGITS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Dates that are written without separators, by their number of digits."""

_DAYS = ("%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y", "%d.%m.%y", "%Y-%m-%d",
         "%Y/%m/%d", "%Y.%m.%d", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d%b%Y", "%b %d, %Y", "%b %d %Y", "%d-%B-%Y",
         "%d %B %Y", "%B %d, %Y", "%B %d %Y", "%Y%m%d", "%Y-%b-%d")  # fmt: skip
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", " %I:%M%p", " %I:%M:%S%p", " %I %p", ":%H:%M:%S",
           " %H%M", "T%H:%M", "T%H:%M:%S")  # fmt: skip
_MONTHS = ("%b-%Y", "%b %Y", "%B-%Y", "%B %Y", "%b-%y", "%b%Y", "%Y-%b", "%Y %b", "%Y-%B", "%Y %B", "%m/%Y", "%m-%Y",
           "%Y/%m", "%Y%m")  # fmt: skip
"""Forms that pandas does not guess."""


class TimeForm(NamedTuple):
    """How the times of a table are written."""

    form: str  # of strptime; "ISO8601"; "quarters"; "weeks"; "numbers" since 1970; "counter"; "times": of Parquet
    unit: int = 1  # of numbers: nanoseconds
    has_zone: bool = False

    @property
    def is_number(self) -> bool:
        """Return whether times are numbers, not dates."""
        return self.form in ("numbers", "counter")

    def show(self, times: np.ndarray) -> Any:
        """Return int64 nanoseconds in UTC as the table writes them: numbers, or times, with +00:00 if with zones."""
        import pandas as pd

        if self.is_number:
            return times // self.unit if (times % self.unit == 0).all() else times / self.unit
        stamps = pd.DatetimeIndex(times.view("datetime64[ns]"), tz="UTC" if self.has_zone else None)
        if self.form == "quarters":
            return [f"{stamp.year}Q{stamp.quarter}" for stamp in stamps]
        if self.form == "weeks":
            return list(stamps.strftime("%G-W%V"))
        return list(stamps.strftime(self.form)) if self.form in _DIGITS.values() else stamps


class TimeReader:
    """Reads the times of a table piece by piece, all in the form of the first piece."""

    def __init__(self, known: str | None) -> None:
        self.known = known  # decides if there is a choice
        self.found: TimeForm | None = None
        self.expected = ""
        self.is_ambiguous = False  # whether a day could also be a month
        self.remarks: list[Remark] = []

    def read(self, column: Any) -> np.ndarray:
        """Return int64 nanoseconds, the least int64 for what is not a time."""
        if column.dtype.kind not in "Mm":
            column = _as_text(column)
        if self.found is None:
            self.found = self._find(column)
            if self.found.has_zone:
                self.remarks.append(Remark("time", "times have zones and are read as UTC"))
        return _parse(column, self.found)

    @property
    def is_local(self) -> bool:
        """Return whether times are those of a clock on the wall, which may be set back in autumn."""
        return self.found is not None and not self.found.is_number and not self.found.has_zone

    def _find(self, column: Any) -> TimeForm:
        if column.dtype.kind in "Mm":
            return TimeForm("times", has_zone=getattr(column.dtype, "tz", None) is not None)
        first = str(column.iloc[0])
        if _QUARTER.fullmatch(first) or _WEEK.fullmatch(first):
            self.expected = f" such as {first}, as the first one is"
            return TimeForm("quarters" if _QUARTER.fullmatch(first) else "weeks")
        digits = None if self.known in ("counter", "numbers") else digit_form(column)
        if digits is not None:
            self.expected = f" of the form {digits}, as the first one is"
            what = {"%Y": "years", "%Y%m": "months (year and month)"}.get(digits, f"times of the form {digits}")
            self.remarks.append(Remark("time", f"numbers are read as {what}"))
            return TimeForm(digits)
        forms = _forms_of(first)
        if not forms:
            return self._numbers(column)
        has_zone = _ZONE.search(first) is not None
        if forms[0].startswith("%Y-%m") and not re.search("%[pbBI]", forms[0]):
            return TimeForm("ISO8601", has_zone=has_zone)
        return self._choice(column, [TimeForm(form, has_zone=has_zone) for form in forms], first)

    def _choice(self, column: Any, choices: list[TimeForm], first: str) -> TimeForm:
        """Return the form in which the whole piece can be read and increases, in even steps.

        01/02/2020 may be either day. With dots, the day comes first.
        """
        if re.match(r"\d{1,2}\.", first):
            choices.sort(key=lambda choice: not choice.form.startswith("%d"))
        read = {choice: _parse(column, choice) for choice in choices}
        fits = [choice for choice in choices if (read[choice] != _LEAST).all()]
        fits.sort(key=lambda choice: (choice.form != self.known, *_disorder(read[choice])))
        self.is_ambiguous = len(fits) > 1
        found = (fits or choices)[0]
        self.expected = f" of the form {found.form}, as the first one is"
        other = f", not as {fits[1].form}" if self.is_ambiguous else ""
        if other or not re.search("%[bB]", found.form):
            self.remarks.append(Remark("time", f"times are read as {found.form}{other}"))
        return found

    def _numbers(self, column: Any) -> TimeForm:
        """Return the form of numbers: a counter, or time since 1970 in the unit that their size implies."""
        import pandas as pd

        numbers = pd.to_numeric(column, errors="coerce")
        if np.isnan(numbers.iloc[0]):
            return TimeForm("numbers")  # every row is then refused
        largest = float(numbers.abs().max())
        if largest < _SURELY_COUNTED:
            self.remarks.append(Remark("time", "times are numbers that count, not dates"))
            return TimeForm("counter", 10**9)
        units = ((1e11, 10**9, "seconds"), (1e14, 10**6, "milliseconds"), (1e17, 10**3, "microseconds"))
        size, word = next(((size, word) for limit, size, word in units if largest < limit), (1, "nanoseconds"))
        self.remarks.append(Remark("time", f"times are numbers and are read as {word} since 1970"))
        return TimeForm("numbers", size)


_LEAST = np.iinfo(np.int64).min
_SURELY_COUNTED = 1e8  # as seconds since 1970, it is in 1973


def _as_text(column: Any) -> Any:
    """Return times as text in one spelling: no blanks around, AM for a.m., whole numbers without .0."""
    text = column.astype(str).str.strip()
    if len(text) and text.iloc[0][-1:] in ".mM":
        text = text.str.replace(r"([aApP])\.?\s?([mM])\.?$", lambda found: (found[1] + found[2]).upper(), regex=True)
    return text.str.replace(r"^(\d+)\.0$", r"\1", regex=True)


def digit_form(column: Any) -> str | None:
    """Return the form of times that are written as digits without separators, such as 2015 or 201512.

    Return None if some are no dates of that form, such as row numbers, or seconds since 1970.
    """
    import pandas as pd

    first = str(column.iloc[0]).strip()
    form = "%m.%Y" if re.fullmatch(r"\d{2}\.\d{4}", first) else _DIGITS.get(len(first)) if first.isdigit() else None
    if form is None or not column.str.fullmatch(rf"\s*[\d.]{{{len(first)}}}\s*").all():
        return None
    stamps = pd.to_datetime(column.str.strip(), format=form, errors="coerce")
    years = stamps.dt.year
    return form if stamps.notna().all() and years.between(*_YEARS).all() else None


def _forms_of(first: str) -> list[str]:
    """Return the forms of strptime that a time may have, those with the month first before those with the day first."""
    from datetime import datetime

    from pandas.tseries.api import guess_datetime_format

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about the order of day and month, which is decided later
        guessed = [guess_datetime_format(first), guess_datetime_format(first, dayfirst=True)]
    if guessed[0] is not None:
        return [form for form in dict.fromkeys(guessed) if form and form != "%Y"]
    forms = []
    for form in (*(day + clock for day in _DAYS for clock in _CLOCKS), *_MONTHS):
        try:
            datetime.strptime(first, form)
        except ValueError:
            continue
        forms.append(form)
    return [] if first.isdigit() else forms


def _parse(column: Any, how: TimeForm) -> np.ndarray:
    """Return int64 nanoseconds, the least int64 for what is not a time."""
    import pandas as pd

    form = how.form
    if how.is_number:
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64) * how.unit
        fits = np.abs(numbers) < 2.0**63  # not a number: False
        return np.where(fits, np.where(fits, numbers, 0).astype(np.int64), _LEAST)
    if form == "times":
        stamps = pd.to_datetime(column, utc=True)
    elif form == "weeks":
        stamps = pd.to_datetime(
            column.str.replace("-", "") + "-1", format="%GW%V-%u", utc=True, errors="coerce", exact=True
        )
    elif form == "quarters":
        parts = column.str.extract(rf"^(?:{_QUARTER.pattern})$", flags=re.IGNORECASE)
        year, quarter = parts[0].fillna(parts[3]), pd.to_numeric(parts[1].fillna(parts[2]))
        months = year + "-" + (3 * quarter - 2).map("{:02.0f}".format, na_action="ignore")
        stamps = pd.to_datetime(months, format="%Y-%m", utc=True, errors="coerce")
    else:
        stamps = pd.to_datetime(column, format=form, utc=True, errors="coerce")
    low, high = pd.Timestamp.min.tz_localize("UTC"), pd.Timestamp.max.tz_localize("UTC")
    stamps = stamps.where((stamps > low) & (stamps < high))  # beyond 1677 to 2262
    return cast(np.ndarray, stamps.dt.tz_localize(None).to_numpy(dtype="datetime64[ns]").astype(np.int64))


# Steps from one time to the next


def months_of(times: np.ndarray) -> tuple[np.ndarray, np.timedelta64] | None:
    """Return the months of times that all have the same offset from the start of their month, and that offset.

    The last day of a month has the offset of minus one day from the next month. Return None for other times.
    """
    for shift in (0, _DAY):
        stamps = (times + shift).view("datetime64[ns]")
        months = stamps.astype("datetime64[M]")
        if (stamps - months == stamps[0] - months[0]).all():
            return months, stamps[0] - months[0] - np.timedelta64(shift, "ns")
    return None


class Calendar(NamedTuple):
    """When a series has rows: some have none at weekends, or at night."""

    weekdays: list[int]  # with rows, Monday is 0
    clock: list[int] | None = None  # times of day with rows, in nanoseconds; None: at every step

    @property
    def is_whole(self) -> bool:
        """Return whether there are rows at every step of every day."""
        return len(self.weekdays) == 7 and self.clock is None

    def with_rows(self, times: np.ndarray) -> np.ndarray:
        """Return which times may have a row, bool."""
        on = np.isin((times // _DAY + 3) % 7, self.weekdays)  # 1970 began on a Thursday
        return np.asarray(on if self.clock is None else on & np.isin(times % _DAY, self.clock))

    def joined(self, times: np.ndarray) -> "Calendar":
        """Return the calendar that also has the weekdays and times of day of these rows."""
        clock = None if self.clock is None else sorted({*self.clock, *np.unique(times % _DAY).tolist()})
        return Calendar(sorted({*self.weekdays, *np.unique((times // _DAY + 3) % 7).tolist()}), clock)

    def __str__(self) -> str:
        """Return what is left out, in words."""
        names = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
        free = [name for number, name in enumerate(names) if number not in self.weekdays]
        parts = [" and ".join(free)] if free else []
        return " and ".join([*parts, *(["some times of the day"] if self.clock is not None else [])])


def calendar_of(times: np.ndarray, step: int) -> Calendar:
    """Return the calendar of times at a usual step in nanoseconds, as far as they show it.

    A weekday has no rows if three of them passed without one; a weekend, if both of its days did once. A time of day
    has none if five days passed without one.
    """
    every = Calendar(list(range(7)))
    if len(times) < 3 or not 0 < step <= _DAY or _DAY % step or len(np.unique(times % step)) > 1:
        return every
    days = np.unique(times // _DAY)
    seen = np.bincount((days + 3) % 7, minlength=7)
    passed = np.bincount((np.arange(days[0], days[-1] + 1) + 3) % 7, minlength=7)
    free = (seen == 0) & (passed >= 3)
    if not seen[5:].any() and passed[5:].all():
        free[5:] = True
    clocks = np.unique(times % _DAY)
    clock = clocks.tolist() if step < _DAY and len(days) >= 5 and len(clocks) < _DAY // step else None
    return Calendar([number for number in range(7) if not free[number]], clock)


def usual_step(times: np.ndarray, borders: np.ndarray | None = None) -> int:
    """Return the most frequent step in nanoseconds, without those at `borders` of groups; 0 for a single time."""
    steps = np.diff(times)
    steps = steps if borders is None else steps[~borders]
    sizes, counts = np.unique(steps, return_counts=True)
    return int(sizes[counts.argmax()]) if len(sizes) else 0


def following(times: np.ndarray, count: int, known: Calendar | None = None) -> np.ndarray:
    """Return the `count` times that follow, in int64 nanoseconds. Raises ValueError for a single time.

    Months and quarters of the calendar count as even steps, also their last days and last or first working days.
    Weekdays and times of the day that have no rows in `times`, nor in the `known` calendar, are left out.
    """
    numbers = np.arange(1, count + 1)
    months = months_of(times)
    if months is not None and len(times) > 1:
        step = usual_step(months[0].astype(np.int64))
        if step > 0:
            return np.asarray((months[0][-1] + numbers * step).astype("datetime64[ns]") + months[1]).astype(np.int64)
    step = usual_step(times)
    if step <= 0:
        raise ValueError("one row has no step in time")
    day = _working_day(times) if step > 20 * _DAY else None
    if day is not None:
        stamps = times.view("datetime64[ns]").astype("datetime64[M]")
        after = stamps[-1] + numbers * usual_step(stamps.astype(np.int64))
        return np.asarray(day(after).astype("datetime64[ns]").astype(np.int64) + times[-1] % _DAY)
    calendar = calendar_of(times, step) if known is None else known.joined(times)
    if calendar.is_whole or not calendar.with_rows(times[-1:])[0]:
        return np.asarray(times[-1] + numbers * step)
    found, last = np.empty(0, dtype=np.int64), int(times[-1])
    while len(found) < count:
        candidates = last + step * np.arange(1, max(64, 8 * count))
        found, last = np.r_[found, candidates[calendar.with_rows(candidates)]], int(candidates[-1])
    return found[:count]


def _working_day(times: np.ndarray) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return the rule that gives the day of a month if each time is its last or its first working day; else None."""
    days = times.view("datetime64[ns]").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    if len(times) < 3 or len(np.unique(times % _DAY)) > 1:
        return None

    def last(of: np.ndarray) -> np.ndarray:
        return np.busday_offset((of + 1).astype("datetime64[D]"), -1, roll="forward")

    def first(of: np.ndarray) -> np.ndarray:
        return np.busday_offset(of.astype("datetime64[D]"), 0, roll="forward")

    return next((day for day in (last, first) if (days == day(months)).all()), None)


def _is_even(times: np.ndarray, borders: np.ndarray | None) -> bool:
    """Return whether all steps are equal; months and years of the calendar count as equal."""
    steps = np.diff(times)
    steps = steps if borders is None else steps[~borders]
    if not len(steps) or (steps == steps[0]).all():
        return True
    months = months_of(times)
    if months is None and _working_day(times) is None:
        return False
    numbers = months[0] if months is not None else times.view("datetime64[ns]").astype("datetime64[M]")
    climbs = np.diff(numbers.astype(np.int64))
    climbs = climbs if borders is None else climbs[~borders]
    return bool((climbs == climbs[0]).all())


def _disorder(times: np.ndarray) -> tuple[int, int]:
    """Return how many steps break the order, increasing or decreasing, and how many differ from the usual one."""
    steps = np.diff(times)
    usual = len(steps) if _is_even(times, None) else int(np.unique(steps, return_counts=True)[1].max())
    return int(min((steps <= 0).sum(), (steps >= 0).sum())), len(steps) - usual


_MOST_STEPS = 10_000_000  # of a calendar, to keep memory small


def set_back_clocks(times: np.ndarray, back: np.ndarray) -> int | None:
    """Return how often a clock was set back by an hour, if that explains all steps that go `back`; else None.

    Clocks are set back in the first hours of a day of autumn: September to November, or March to May in the south.
    """
    steps, usual = np.diff(times), usual_step(times)
    hour = 3_600 * 10**9
    stamps = times[1:][back].view("datetime64[ns]")
    months = stamps.astype("datetime64[M]").astype(np.int64) % 12 + 1
    early = times[1:][back] % _DAY <= 3 * hour
    is_autumn = np.isin(months, (3, 4, 5, 9, 10, 11))
    fits = (steps[back] == usual - hour) & early & is_autumn
    in_year = np.unique(stamps.astype("datetime64[Y]").astype(np.int64), return_counts=True)[1]
    return len(stamps) if 0 < usual <= hour and fits.all() and in_year.max() == 1 else None


def regularity(name: str, times: np.ndarray, borders: np.ndarray | None) -> list[Remark]:
    """Return a remark if the steps in time differ."""
    if _is_even(times, borders):
        return []
    steps = np.diff(times)
    within = np.ones(len(steps), dtype=bool) if borders is None else ~borders
    usual = usual_step(times, borders)
    calendar = calendar_of(np.unique(times), usual)
    uneven = within & (steps != usual)
    remarks = []
    if not calendar.is_whole and (times.max() - times.min()) // usual < _MOST_STEPS:
        remarks.append(Remark("steps", f"no rows on {calendar}; forecasts leave them out as well", name))
        grid = np.arange(times.min(), times.max() + usual, usual)
        place = np.cumsum(calendar.with_rows(grid))[(times - times.min()) // usual]
        uneven &= np.diff(place) != 1
    if uneven.any():
        rule = (
            f"{int(uneven.sum()):,} of {int(within.sum()):,} steps in time differ from the usual {_duration(usual)} "
            f"({_duration(steps[within].min())} to {_duration(steps[within].max())}); rows are taken as even steps, "
            "nothing is resampled"
        )
        remarks.append(Remark("steps", rule, name))
    return remarks


_STEPS = {1: "every second", 60: "every minute", 3_600: "hourly", 86_400: "daily", 604_800: "weekly"}


def step_name(step: int, form: TimeForm | None) -> str:
    """Return a usual step in nanoseconds in words, such as hourly; counters have a number of steps."""
    if form is not None and form.form == "counter":
        return f"in steps of {step / form.unit:g}"
    seconds = step / 1e9
    days = seconds / 86_400
    for low, high, name in ((28, 31, "monthly"), (90, 92, "quarterly"), (365, 366, "yearly")):
        if low <= days <= high:
            return name
    if seconds in _STEPS:
        return _STEPS[int(seconds)]
    return f"every {seconds / 60:g} min" if seconds % 60 == 0 else f"every {seconds:g} s"


def _duration(nanoseconds: int) -> str:
    for size, unit in ((86_400e9, "d"), (3_600e9, "h"), (60e9, "min")):
        if nanoseconds % size == 0:
            return f"{nanoseconds / size:,.0f} {unit}"
    return f"{nanoseconds / 1e9:,.9g} s"
