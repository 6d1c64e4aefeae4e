"""Times of tables: finding their form, reading and showing them, and whether their steps are even.

Times are int64 nanoseconds since 1970, UTC.
"""

import re
import warnings
from typing import Any, NamedTuple, cast

import numpy as np

from bench.data.remarks import Remark

DATE = re.compile(
    r"\s*(\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})"
    r"([T ]+\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?\s*([AaPp][Mm])?\s*(Z|UTC|[+-]\d{2}:?\d{2})?\s*"
)
_ZONE = re.compile(r":\d{2}\S*\s*(Z|UTC|[+-]\d{2}:?\d{2})\s*$")
_DAY = 86_400 * 10**9


class TimeForm(NamedTuple):
    """How the times of a table are written."""

    form: str  # of strptime; "ISO8601"; "numbers"; "times": of Parquet
    unit: int = 1  # of numbers: nanoseconds
    has_zone: bool = False

    def show(self, times: np.ndarray) -> Any:
        """Return int64 nanoseconds in UTC as the table writes them: numbers, or times, with +00:00 if with zones."""
        import pandas as pd

        if self.form == "numbers":
            return times // self.unit if (times % self.unit == 0).all() else times / self.unit
        return pd.DatetimeIndex(times.view("datetime64[ns]"), tz="UTC" if self.has_zone else None)


class TimeReader:
    """Reads the times of a table piece by piece, all in the form of the first piece."""

    def __init__(self, known: str | None) -> None:
        self.known = known  # decides if there is a choice
        self.found: TimeForm | None = None
        self.expected = ""
        self.remarks: list[Remark] = []

    def read(self, column: Any) -> np.ndarray:
        """Return int64 nanoseconds, the least int64 for what is not a time."""
        if self.found is None:
            self.found = self._find(column)
            if self.found.has_zone:
                self.remarks.append(Remark("time", "times have zones and are read as UTC"))
        return self._parse(column, self.found)

    def _find(self, column: Any) -> TimeForm:
        import pandas as pd
        from pandas.tseries.api import guess_datetime_format

        if column.dtype.kind in "Mm":
            return TimeForm("times", has_zone=getattr(column.dtype, "tz", None) is not None)
        first = str(column.iloc[0]).strip()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns about the order of day and month, which is decided below
            forms = [guess_datetime_format(first), guess_datetime_format(first, dayfirst=True)]
        if forms[0] is None:
            number = pd.to_numeric(first, errors="coerce")
            size, word = next(
                (size, word)
                for limit, size, word in (
                    (1e11, 10**9, "seconds"),
                    (1e14, 10**6, "milliseconds"),
                    (1e17, 10**3, "microseconds"),
                    (np.inf, 1, "nanoseconds"),
                )
                if not abs(number) >= limit
            )
            if not np.isnan(number):
                self.remarks.append(Remark("time", f"times are numbers and are read as {word} since 1970"))
            return TimeForm("numbers", size)
        has_zone = _ZONE.search(first) is not None
        if forms[0].startswith("%Y-%m"):
            return TimeForm("ISO8601", has_zone=has_zone)
        # 01/02/2020 may be either day: take the order in which the whole first piece can be read and increases, in even
        # steps. With dots, the day comes first.
        choices = [TimeForm(form, has_zone=has_zone) for form in dict.fromkeys(forms) if form]
        if re.match(r"\d{1,2}\.", first):
            choices.reverse()
        read = {choice: self._parse(column, choice) for choice in choices}
        fits = [choice for choice in choices if (read[choice] != np.iinfo(np.int64).min).all()]
        fits.sort(key=lambda choice: (choice.form != self.known, *_disorder(read[choice])))
        found = (fits or choices)[0]
        self.expected = f" of the form {found.form}, as the first one is"
        other = f", not as {fits[1].form}" if len(fits) > 1 else ""
        self.remarks.append(Remark("time", f"times are read as {found.form}{other}"))
        return found

    def _parse(self, column: Any, how: TimeForm) -> np.ndarray:
        import pandas as pd

        least, form = np.iinfo(np.int64).min, how.form
        if form == "numbers":
            numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64) * how.unit
            fits = np.abs(numbers) < 2.0**63  # not a number: False
            return np.where(fits, np.where(fits, numbers, 0).astype(np.int64), least)
        if form == "times":
            stamps = pd.to_datetime(column, utc=True)
        else:
            stamps = pd.to_datetime(column, format=form, utc=True, errors="coerce")
        low, high = pd.Timestamp.min.tz_localize("UTC"), pd.Timestamp.max.tz_localize("UTC")
        stamps = stamps.where((stamps > low) & (stamps < high))  # beyond 1677 to 2262
        return cast(np.ndarray, stamps.dt.tz_localize(None).to_numpy(dtype="datetime64[ns]").astype(np.int64))


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


def _is_even(times: np.ndarray, borders: np.ndarray | None) -> bool:
    """Return whether all steps are equal; months and years of the calendar count as equal."""
    steps = np.diff(times)
    steps = steps if borders is None else steps[~borders]
    if not len(steps) or (steps == steps[0]).all():
        return True
    months = months_of(times)
    if months is None:
        return False
    climbs = np.diff(months[0].astype(np.int64))
    climbs = climbs if borders is None else climbs[~borders]
    return bool((climbs == climbs[0]).all())


def _disorder(times: np.ndarray) -> tuple[int, int]:
    """Return how many steps do not increase, and how many differ from the usual one."""
    steps = np.diff(times)
    usual = len(steps) if _is_even(times, None) else int(np.unique(steps, return_counts=True)[1].max())
    return int((steps <= 0).sum()), len(steps) - usual


def regularity(name: str, times: np.ndarray, borders: np.ndarray | None) -> list[Remark]:
    """Return a remark if the steps in time differ."""
    if _is_even(times, borders):
        return []
    steps = np.diff(times)
    found, counts = np.unique(steps if borders is None else steps[~borders], return_counts=True)
    usual, total = found[counts.argmax()], int(counts.sum())
    rule = (
        f"{total - int(counts.max()):,} of {total:,} steps in time differ from the usual {_duration(usual)} "
        f"({_duration(found[0])} to {_duration(found[-1])}); rows are taken as even steps, nothing is resampled"
    )
    return [Remark("steps", rule, name)]


def _duration(nanoseconds: int) -> str:
    for size, unit in ((86_400e9, "d"), (3_600e9, "h"), (60e9, "min")):
        if nanoseconds % size == 0:
            return f"{nanoseconds / size:,.0f} {unit}"
    return f"{nanoseconds / 1e9:,.9g} s"
