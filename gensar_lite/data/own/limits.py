"""Which numbers the settings of the data stage may be.

In: `DataConfig`. Out: nothing, or a `ConfigError` that says what is valid, before a file is opened.
This file does not know what the numbers do; names (of sources, splits, families) are checked where
they are used.
"""

from __future__ import annotations

import math

from gensar_lite.config import ConfigError, DataConfig

# setting: lowest, highest, what it is
LIMITS: dict[str, tuple[float, float, str]] = {
    "seed": (0, math.inf, "seed of random numbers"),
    "search_rate": (0, 1, "share of the purchases"),
    "max_drop_rate": (0, 1, "share of a table's rows"),
    "min_events": (
        3,
        math.inf,
        "number of time steps that train, validate and test, one each at least",
    ),
    "min_item_events": (0, math.inf, "number of events of an item"),
}


def check_limits(settings: DataConfig) -> None:
    """Raises `ConfigError` for the first setting that lies outside its `LIMITS`, or is no number."""
    for name, (low, high, what) in LIMITS.items():
        value = getattr(settings, name)
        if not low <= value <= high:  # true of nan, too
            valid = f"from {low} to {high}" if high < math.inf else f"of {low} or more"
            raise ConfigError(f"data.{name}: {value} is no {what}. Set it to a number {valid}.")
