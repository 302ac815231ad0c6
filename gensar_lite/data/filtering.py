"""Who stays: users with enough time steps and items with enough events, until both hold (k-core).

In: user, time and item codes of a log. Out: a mask of events. This file does not know ids as people
write them.
"""

from __future__ import annotations

import numpy as np

from gensar_lite.data.histories import run_starts


def core_mask(
    user: np.ndarray, time: np.ndarray, item: np.ndarray, min_steps: int, min_item_events: int
) -> np.ndarray:
    """Events (E,) left when users with fewer than `min_steps` time steps and items with fewer than
    `min_item_events` events are removed, again and again, until nothing changes.

    The columns (E,) stand in any order. All False: nothing is left.
    """
    step, user_of_step = _steps(user, time)
    num_users, num_items = int(user.max(initial=-1)) + 1, int(item.max(initial=-1)) + 1
    keep = np.ones(len(user), dtype=bool)
    while True:
        # a step lives while one of its events does; a user has as many steps as live
        alive = np.bincount(step[keep], minlength=len(user_of_step)) > 0
        num_steps = np.bincount(user_of_step[alive], minlength=num_users)
        num_events = np.bincount(item[keep], minlength=num_items)
        stays = keep & (num_steps[user] >= min_steps) & (num_events[item] >= min_item_events)
        if stays.sum() == keep.sum():
            return stays
        keep = stays


def largest_core(user: np.ndarray, time: np.ndarray, item: np.ndarray, min_steps: int) -> int:
    """The largest `min_item_events` that leaves an event; 0: even without a bound none is left."""
    low, high = 0, int(np.bincount(item).max(initial=0))
    while low < high:  # bisection: a higher bound never keeps more
        middle = (low + high + 1) // 2
        if core_mask(user, time, item, min_steps, middle).any():
            low = middle
        else:
            high = middle - 1
    return low


def _steps(user: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each event's time step (E,), and the user of each step (S,)."""
    order = np.lexsort((time, user))
    starts = run_starts(user[order], time[order])
    step = np.empty(len(order), dtype=np.int64)
    step[order] = np.cumsum(starts) - 1
    return step, user[order][starts]
