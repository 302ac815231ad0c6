"""When it happened: seconds, milliseconds or ISO dates as text become seconds since 1970.

In: a column of text. Out: numbers, and the unit they were in. Ties and order are the log's business
(validation.py).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

# a median of 1e11 seconds lies in the year 5138, of 1e11 milliseconds in 1973: nothing real is near the border
UNITS = ((1e17, "nanoseconds", 1e9), (1e14, "microseconds", 1e6), (1e11, "milliseconds", 1e3), (0.0, "seconds", 1.0))


def read_times(texts: pd.Series) -> tuple[np.ndarray, str]:
    """Seconds (E,) float64, NaN where there is no time, and what they were: a unit of `UNITS` or ``dates``.

    One unit for the whole column, by its median. ISO 8601 dates without a zone are UTC.
    """
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    numbers = np.where(np.isfinite(numbers), numbers, np.nan)
    told = int((texts != "").sum())
    if 2 * np.isfinite(numbers).sum() >= told:
        median = float(np.nanmedian(numbers)) if np.isfinite(numbers).any() else 0.0
        _, unit, divisor = next(row for row in UNITS if abs(median) >= row[0])
        return numbers / divisor, unit
    dates = pd.to_datetime(texts.where(texts != "", None), format="ISO8601", utc=True, errors="coerce")
    seconds = dates.dt.as_unit("us").astype("int64").to_numpy() / 1e6  # not ns: the year 3024 does not fit
    return np.where(dates.isna(), np.nan, seconds), "dates"


def whole_if_possible(seconds: np.ndarray) -> np.ndarray:
    """int64 when no second is divided, so that a corpus of whole seconds stays one of integers."""
    return seconds.astype(np.int64) if (seconds == np.floor(seconds)).all() else seconds
