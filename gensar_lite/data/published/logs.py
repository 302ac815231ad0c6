"""A published log with ids as their publisher writes them -> numbered users and items, each event once.

In: a table ``user, item, time`` (and more columns, which stay). Out: the same rows with ``user_id`` and ``item_id``
from 0 without gaps, the names behind the numbers, and counts of what went. Numbers follow the sorted names, so the
order of a file's lines changes nothing. This file does not know tasks, texts or splits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError
from gensar_lite.config import DataConfig
from gensar_lite.data.filtering import core_mask, largest_core

LATEST = 4_102_444_800  # 2100-01-01, seconds


class Log(NamedTuple):
    """Events with ``user_id, item_id, time`` and what else the source had; user u is called ``users[u]``."""

    events: pd.DataFrame
    users: np.ndarray
    items: np.ndarray
    facts: dict[str, int]


def number_log(table: pd.DataFrame, settings: DataConfig, once: bool = True) -> Log:
    """`table` (columns ``user, item, time`` in seconds or finer) with numbers for names.

    Negative and far future times are dropped; with `once`, so is every event but the earliest of a user with an item.
    With ``data.min_item_events`` the k-core stays. Raises `ArtifactError` when nothing is left.
    """
    facts = {"events read": len(table)}
    time = table["time"].to_numpy()
    keep = (time > 0) & (time < LATEST * (1000 if len(time) and np.median(time) > LATEST else 1))
    facts["events without a possible time"] = int((~keep).sum())
    table, time = table[keep], time[keep]
    (user, users), (item, items) = number_names(table["user"]), number_names(table["item"])
    if once:
        keep = first_events(user, item, time)
        facts["repeated events dropped"] = int((~keep).sum())
        table, user, item, time = table[keep], user[keep], item[keep], time[keep]
    if settings.min_item_events:
        keep = _core(user, time, item, settings)
        facts["events outside the k-core"] = int((~keep).sum())
        table, user, item, time = table[keep], user[keep], item[keep], time[keep]
    (user, places), (item, shelf) = renumber(user), renumber(item)
    facts |= {"users": len(places), "items": len(shelf), "events": len(table)}
    facts |= {"fewest events of a user": fewest(user), "fewest events of an item": fewest(item)}
    rest = table.drop(columns=["user", "item", "time"]).reset_index(drop=True)
    events = pd.DataFrame({"user_id": user, "item_id": item, "time": time})
    return Log(pd.concat([events, rest], axis=1), users[places], items[shelf], facts)


def number_names(names: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Names (E,) -> numbers (E,) by ascending name, and the names, ascending (their place is the number)."""
    number, known = pd.factorize(names)
    known = np.asarray(known)
    order = np.argsort(known)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place[number], known[order]


def renumber(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (E,) with gaps -> without (E,), and those that occur, ascending."""
    occurs = np.bincount(numbers) > 0
    return (np.cumsum(occurs) - 1)[numbers], np.flatnonzero(occurs)


def first_events(user: np.ndarray, item: np.ndarray, time: np.ndarray) -> np.ndarray:
    """A mask (E,) of each user's earliest event with each item; of equal times the first row."""
    order = np.lexsort((time, item, user))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(user[order]) != 0) | (np.diff(item[order]) != 0)
    keep = np.zeros(len(order), dtype=bool)
    keep[order[new]] = True
    return keep


def fewest(numbers: np.ndarray) -> int:
    """How often the rarest of numbers without gaps occurs; 0 if there are none."""
    return int(np.bincount(numbers).min(initial=len(numbers)))


def _core(user: np.ndarray, time: np.ndarray, item: np.ndarray, settings: DataConfig) -> np.ndarray:
    keep = core_mask(user, time, item, settings.min_events, settings.min_item_events)
    if not keep.any():
        works = largest_core(user, time, item, settings.min_events)
        raise ArtifactError(
            f"data.min_item_events: {settings.min_item_events} leaves no item and no user ({len(user):,} events). "
            f"The largest number that works is {works}: data.min_item_events={works}."
        )
    return keep
