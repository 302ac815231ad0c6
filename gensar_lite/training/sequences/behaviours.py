"""What a user did with the items of a history: bought, found by a search, or both at once.

In: a log, item ids of events. Out: numbers that say both item and behaviour. This file does not
know models.
"""

import numpy as np
import pandas as pd

from gensar_lite.data.histories import run_starts

BEHAVIOURS = ("recommend", "search", "both")  # both: a purchase and its search twin


def behaviours(events: pd.DataFrame) -> np.ndarray:
    """(E,) places in `BEHAVIOURS`: what a user did with an item in the event's time step. All of a
    step is known before the next one, and no target is asked for within its own step."""
    user, time, item = (events[name].to_numpy() for name in ("user_id", "time", "item_id"))
    search = (events["task"] == "search").to_numpy()
    # a purchase and its search twin stand side by side: (E,) the number of each such group
    group = np.cumsum(run_starts(user, time, item)) - 1
    bought, found = (np.bincount(group, weights=part) > 0 for part in (~search, search))
    return np.where(found, np.where(bought, 2, 1), 0)[group]


def marked_items(events: pd.DataFrame, num_items: int) -> np.ndarray:
    """(E,) ``item + num_items * behaviour`` of every event: a row of a table of marked items."""
    return events["item_id"].to_numpy() + num_items * behaviours(events)
