"""Who stays: users with enough time steps, and items with enough events, until both hold (the k-core).

In: user, time and item codes of a log. Out: a mask of events. This file does not know ids as people write them.
"""

from __future__ import annotations

import numpy as np


def core_mask(
    user: np.ndarray, time: np.ndarray, item: np.ndarray, min_steps: int, min_item_events: int
) -> np.ndarray:
    """Events (E,) left when users with fewer than `min_steps` time steps and items with fewer than
    `min_item_events` events are removed, again and again, until nothing changes. All False: nothing is left.
    """
    keep = np.ones(len(user), dtype=bool)
    step = _steps(user, time)
    num_users, num_items = int(user.max(initial=-1)) + 1, int(item.max(initial=-1)) + 1
    owner = np.zeros(int(step.max(initial=-1)) + 1, dtype=np.int64)
    owner[step] = user
    while True:
        alive = np.bincount(step[keep], minlength=len(owner)) > 0
        steps = np.bincount(owner[alive], minlength=num_users)  # time steps of each user
        events = np.bincount(item[keep], minlength=num_items)
        new = keep & (steps[user] >= min_steps) & (events[item] >= min_item_events)
        if new.sum() == keep.sum():
            return new
        keep = new


def largest_core(user: np.ndarray, time: np.ndarray, item: np.ndarray, min_steps: int) -> int:
    """The largest `min_item_events` that leaves an event; 0 if there is none, even without a bound."""
    low, high = 0, int(np.bincount(item).max(initial=0))
    if not core_mask(user, time, item, min_steps, 0).any():
        return 0
    while low < high:  # a higher bound never keeps more
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high)
            if core_mask(user, time, item, min_steps, middle).any()
            else (low, middle - 1)
        )
    return low


def _steps(user: np.ndarray, time: np.ndarray) -> np.ndarray:
    """A number for each (user, time), (E,)."""
    order = np.lexsort((time, user))
    new = np.r_[True, (np.diff(user[order]) != 0) | (np.diff(time[order]) != 0)][: len(order)]
    step = np.empty(len(order), dtype=np.int64)
    step[order] = np.cumsum(new) - 1
    return step
