"""Which event trains, validates and tests: time decides, for both tasks at once; and which queries training never sees.

In: an event table sorted by user, then time. Out: a split name per event, the queries held out.
This file does not know what an item or a query says.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gensar_lite.config import ConfigError


def user_steps(events: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The time step of each event inside its user's log, and how many steps that user has.

    Events of one user with equal time are one step. Returns two (E,) integer arrays.
    """
    user, when = events["user_id"].to_numpy(), events["time"].to_numpy()
    new_user = np.r_[True, user[1:] != user[:-1]]  # (E,)
    new_step = new_user | np.r_[True, when[1:] != when[:-1]]
    running = np.cumsum(new_step) - 1  # step number over the whole table
    group = np.cumsum(new_user) - 1  # user number by order
    first = running[new_user]  # (U,) running number of each user's first step
    num_steps = np.diff(np.r_[first, running[-1] + 1])
    return running - first[group], num_steps[group]


def joint_time_split(events: pd.DataFrame) -> np.ndarray:
    """``train | validation | test`` per event (E,): a user's last time step is test, the one before validation.

    Both tasks are split by the same clock, so no purchase trains one task and tests the other.
    """
    step, num_steps = user_steps(events)
    from_end = num_steps - 1 - step
    return np.select([from_end == 0, from_end == 1], ["test", "validation"], "train").astype(object)


def drop_short_users(events: pd.DataFrame, min_steps: int) -> tuple[pd.DataFrame, int]:
    """Events of users with at least `min_steps` time steps, and how many users were dropped."""
    _, num_steps = user_steps(events)
    keep = num_steps >= min_steps
    dropped = events["user_id"].nunique() - events.loc[keep, "user_id"].nunique()
    return events[keep], int(dropped)


def held_out_queries(queries: pd.DataFrame, rate: float, seed: int) -> np.ndarray:
    """Which queries no train event may use, (Q,) booleans: `rate` of the distinct strings of every kind.

    A string that is held out in one kind is held out in all of them. Raises `ConfigError` on a rate outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise ConfigError(f"data.unseen_rate: {rate} is no share of the queries. Set it to 0 or more and below 1.")
    rng = np.random.default_rng((seed, 2))  # not the stream that draws twins: the rate changes no event
    kinds = queries["kind"] if "kind" in queries else pd.Series("query", index=queries.index)
    chosen = set()
    for _, texts in queries["text"].groupby(kinds, sort=True):
        strings = np.sort(texts.unique().astype(object))
        chosen |= set(rng.permutation(strings)[: round(rate * len(strings))])
    return queries["text"].isin(chosen).to_numpy()
