"""When it happened: seconds, milliseconds or dates as text become seconds since 1970.

In: a column of text. Out: numbers, and the unit they were in. What is wrong with a time, ties and
order are the log's business (event_rules.py).
"""

import numpy as np
import pandas as pd

# from which median on; a median of 1e11 seconds lies in the year 5138, of 1e11 milliseconds in
# 1973: nothing real is near the border
_UNITS = (
    (1e17, "nanoseconds", 1e9),
    (1e14, "microseconds", 1e6),
    (1e11, "milliseconds", 1e3),
    (0.0, "seconds", 1.0),
)
# dates that look like numbers (20140723): digits -> how they are read, what they are called
COMPACT = {
    8: ("%Y%m%d", "dates written YYYYMMDD"),
    12: ("%Y%m%d%H%M", "dates written YYYYMMDDHHMM"),
    14: ("%Y%m%d%H%M%S", "dates written YYYYMMDDHHMMSS"),
}
_YEARS = (1990, 2100)  # of such dates: as seconds they are thirteen days of August 1970
# 1.40607E+12 (1,40607E+12 in half of Europe); a negative exponent cuts no whole second
_EXPONENT = r"[+-]?([0-9]+(?:[.,][0-9]+)?)[eE]\+?[0-9]{1,2}"
_MOST_ROUNDED = 7  # digits that a rounded number keeps: spreadsheets show 6, doubles have up to 17
_UNIVERSAL = r" ?(?:UTC|GMT|Z)$"  # after a date; each means what is read where no zone is named


def read_times(texts: pd.Series) -> tuple[np.ndarray, str]:
    """Seconds (E,) float64, NaN for no time, and what the whole column was: ``dates`` (ISO 8601,
    UTC where they name no zone), a unit or `COMPACT`."""
    half = (texts != "").sum() / 2
    # 1. Dates without signs. Of seconds in that range only one in thirty is a date by chance
    for digits, (_, unit) in COMPACT.items():
        dates = _compact_dates(texts, digits)
        if dates.notna().sum() >= max(half, 1):
            return _seconds(dates), unit
    # 2. Numbers
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    is_finite = np.isfinite(numbers)
    if is_finite.sum() >= half:
        median = abs(np.median(numbers[is_finite])) if is_finite.any() else 0.0
        _, unit, divisor = next(row for row in _UNITS if median >= row[0])
        return np.where(is_finite, numbers, np.nan) / divisor, unit
    # 3. Dates as ISO 8601 writes them
    bare = texts.str.replace(_UNIVERSAL, "", regex=True)
    bare = bare.where(bare != "", None)
    return _seconds(pd.to_datetime(bare, format="ISO8601", utc=True, errors="coerce")), "dates"


def rounded_times(texts: pd.Series) -> np.ndarray:
    """Which times (E,) bool are numbers whose seconds were cut, as a spreadsheet writes them; none
    where some in this form have all their digits: so programs write large doubles."""
    is_rounded = texts.str.fullmatch(_EXPONENT).to_numpy(dtype=bool)
    digits = texts[is_rounded].str.extract(f"^{_EXPONENT}$")[0].str.count("[0-9]")
    return is_rounded & bool((digits <= _MOST_ROUNDED).all())


def _compact_dates(texts: pd.Series, digits: int) -> pd.Series:
    """The column as dates of that form of `COMPACT`, NaT for what is none of `_YEARS`."""
    whole = texts.str.removesuffix(".0")  # which a table of numbers may have added
    fits = whole.str.fullmatch(rf"(?:19|20|21)[0-9]{{{digits - 2}}}").to_numpy(dtype=bool)
    whole = whole.where(fits, None)
    dates = pd.to_datetime(whole, format=COMPACT[digits][0], utc=True, errors="coerce")
    return dates.where(dates.dt.year.between(*_YEARS), pd.NaT)


def _seconds(dates: pd.Series) -> np.ndarray:
    """Dates as seconds since 1970, NaN for none. Not by nanoseconds: the year 3024 does not fit."""
    seconds = dates.dt.as_unit("us").astype("int64").to_numpy() / 1e6
    return np.where(dates.isna(), np.nan, seconds)
