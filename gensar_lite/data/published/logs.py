"""A published log with ids as their publisher writes them -> numbered users and items, each event
once; and the searches that belong to its purchases.

In: a table ``user, item, time`` (and more columns, which stay). Out: the same rows with ``user_id``
and ``item_id`` from 0 without gaps, the names behind the numbers, and counts of what went. Numbers
follow the sorted names, so the order of a file's lines changes nothing. This file knows no split.
"""

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


class Matched(NamedTuple):
    """Searches of purchases of a log, see `match`."""

    queries: pd.DataFrame  # query_id, text, kind
    pairs: pd.DataFrame  # row of the log, query_id; each pair once
    is_purchase: np.ndarray  # (J,) bool: which of the rows asked about are purchases


def number_log(table: pd.DataFrame, settings: DataConfig, once: bool = True) -> Log:
    """`table` (columns ``user, item, time`` in seconds or finer) with numbers for names, without
    impossible times; with `once`, only a user's earliest event with an item; with
    ``data.min_item_events`` the k-core. Raises `ArtifactError` when nothing is left."""
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
    for name, numbers in (("a user", user), ("an item", item)):
        facts[f"fewest events of {name}"] = int(np.bincount(numbers).min(initial=len(numbers)))
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


def match(asked: pd.DataFrame, log: Log, kind: str) -> Matched:
    """Queries of one `kind` for those of J rows ``user, item, text``, by name, that are purchases
    of `log` and have a text."""
    user = pd.Index(log.users).get_indexer(asked["user"])
    item = pd.Index(log.items).get_indexer(asked["item"])
    # a number per user and item, of the log's events and of what is asked about
    of_log = log.events["user_id"].to_numpy() * len(log.items) + log.events["item_id"].to_numpy()
    row = pd.Index(of_log).get_indexer(user * len(log.items) + item)
    is_purchase = (user >= 0) & (item >= 0) & (row >= 0)
    usable = is_purchase & (asked["text"] != "").to_numpy()
    query_id, names = number_names(asked["text"][usable])
    pairs = pd.DataFrame({"row": row[usable], "query_id": query_id}).drop_duplicates()
    queries = pd.DataFrame({"query_id": np.arange(len(names)), "text": names, "kind": kind})
    return Matched(queries, pairs, is_purchase)


def with_searches(purchases: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """The log of both tasks: `purchases`, and for each of `pairs` (``row, query_id``) a search at
    that row's time."""
    bought = purchases[["user_id", "time", "item_id"]]
    pairs = pairs.sort_values(["row", "query_id"])
    searched = bought.iloc[pairs["row"]].assign(task="search")
    searched["query_id"] = pairs["query_id"].to_numpy()
    bought = bought.assign(task="recommend", query_id=np.int64(-1))
    return in_order(pd.concat([bought, searched], ignore_index=True))


def in_order(events: pd.DataFrame) -> pd.DataFrame:
    """Events by user, time and item, else as they stood: a purchase before its searches."""
    events = events.sort_values(["user_id", "time", "item_id"], kind="stable", ignore_index=True)
    return events[["user_id", "time", "task", "item_id", "query_id"]]


def clicked(events: pd.DataFrame) -> pd.DataFrame:
    """What was clicked after a query answers it, grade 1: ``query_id, item_id, grade``, sorted."""
    answers = events.loc[events["query_id"] >= 0, ["query_id", "item_id"]].drop_duplicates()
    return answers.assign(grade=1).sort_values(["query_id", "item_id"], ignore_index=True)
