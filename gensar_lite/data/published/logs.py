"""A published log with ids as their publisher writes them -> numbered users and items, each event
once.

In: a table ``user, item, time`` (and more columns, which stay). Out: the same rows with ``user_id``
and ``item_id`` from 0 without gaps, the names behind the numbers, and counts of what went. Numbers
follow the sorted names, so the order of a file's lines changes nothing. This file does not know
tasks, texts or splits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import DataConfig
from gensar_lite.data.splitting import core_mask, largest_core

LATEST = 4_102_444_800  # 2100-01-01, seconds


class Log(NamedTuple):
    """Events with ``user_id, item_id, time`` and what else the source had, sorted in no way."""

    events: pd.DataFrame
    users: np.ndarray  # user u is called users[u]
    items: np.ndarray
    facts: dict[str, int]


def number_log(table: pd.DataFrame, settings: DataConfig, once: bool = True) -> Log:
    """`table` (columns ``user, item, time`` in seconds or finer) with numbers for names.

    Negative and far future times are dropped; with `once`, so is every event but the earliest of a
    user with an item. With ``data.min_item_events`` the k-core stays. Raises `ArtifactError` when
    nothing is left.
    """
    facts = {"events read": len(table)}
    # 1. possible times; a median beyond the year 2100 says that they are milliseconds
    time = table["time"].to_numpy()
    unit = 1000 if len(time) and np.median(time) > LATEST else 1
    possible = (time > 0) & (time < LATEST * unit)
    facts["events without a possible time"] = int((~possible).sum())
    table = table[possible]
    # 2. numbers for names: what follows compares numbers, not texts
    user, users = number_names(table["user"])
    item, items = number_names(table["item"])
    table = table.assign(user=user, item=item)
    if once:
        keep = first_events(user, item, table["time"].to_numpy())
        facts["repeated events dropped"] = int((~keep).sum())
        table = table[keep]
    if settings.min_item_events:
        keep = _core(table, settings)
        facts["events outside the k-core"] = int((~keep).sum())
        table = table[keep]
    # 3. numbers without gaps, of those that stay
    user, user_places = number_names(table["user"])
    item, item_places = number_names(table["item"])
    facts |= {"users": len(user_places), "items": len(item_places), "events": len(table)}
    facts |= {"fewest events of a user": _fewest(user), "fewest events of an item": _fewest(item)}
    events = pd.DataFrame({"user_id": user, "item_id": item, "time": table["time"].to_numpy()})
    rest = table.drop(columns=["user", "item", "time"]).reset_index(drop=True)
    return Log(pd.concat([events, rest], axis=1), users[user_places], items[item_places], facts)


def number_names(names: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Names (E,) -> numbers (E,) by ascending name, and the names (N,) at their numbers."""
    number, known = pd.factorize(names, sort=True)
    return number, np.asarray(known)


def first_events(user: np.ndarray, item: np.ndarray, time: np.ndarray) -> np.ndarray:
    """A mask (E,) of each user's earliest event with each item; of equal times the first row."""
    order = np.argsort(time, kind="stable")
    pair = user * (item.max(initial=0) + 1) + item  # a number per user and item
    keep = np.zeros(len(order), dtype=bool)
    keep[order] = ~pd.Series(pair[order]).duplicated().to_numpy()
    return keep


def _fewest(numbers: np.ndarray) -> int:
    """How often the rarest of numbers without gaps occurs; 0 if there are none."""
    return int(np.bincount(numbers).min(initial=len(numbers)))


def _core(table: pd.DataFrame, settings: DataConfig) -> np.ndarray:
    user, time, item = (table[name].to_numpy() for name in ("user", "time", "item"))
    keep = core_mask(user, time, item, settings.min_events, settings.min_item_events)
    if not keep.any():
        works = largest_core(user, time, item, settings.min_events)
        raise ArtifactError(
            f"data.min_item_events: {settings.min_item_events} leaves no item and no user "
            f"({len(user):,} events). The largest number that works is {works}: "
            f"data.min_item_events={works}."
        )
    return keep
