"""The rules for a user's events: what is fixed, dropped, warned about, and what stops.

In: the events as a table of text with the columns of `columns.FIELDS`, the clean items and queries,
the table's `Checks`. Out: a clean table; each broken rule is a finding of the checks. This file
draws no split.
"""

import math
import time
from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.data.own.rules import check_ids, clean_column, empty_where, refuse_numbers
from gensar_lite.data.own.suspicions import doubtful_order, look_alikes, merged_users
from gensar_lite.data.own.times import COMPACT, read_times, rounded_times
from gensar_lite.data.report import Checks, show
from gensar_lite.data.text import is_nothing, nearest, plain_id

DAY = 86_400
SEARCH_WORDS = {"search", "searched", "query", "src"}
RECOMMEND_WORDS = {"recommend", "recommended", "recommendation", "rec"}
_LOOKED_AT = 5000  # items among which the nearest one to an unknown id is looked for
# share of the events from which on a query "NULL" is no query; below, somebody may have typed it
_NO_QUERY = 0.05


class Known(NamedTuple):
    """What is known before the events are."""

    items: pd.Index  # ids in the order of the catalogue
    queries: pd.Series | None = None  # query_id -> text, where there is such a table
    # with data.order=file: columns that no field was taken from, with the events' index; else None
    beside: pd.DataFrame | None = None


def check_events(
    table: pd.DataFrame, known: Known, checks: Checks, now: float | None = None
) -> pd.DataFrame:
    """``user, time, task, item_id, query``: user and query as text, item as its row in the
    catalogue. Rows keep the order of the file. Events after `now`, seconds since 1970, are dropped.
    """
    rows = len(table)
    has_words = not {"query", "query_id"}.isdisjoint(table.columns)
    # 1. Whose events, of which items; then what only the whole log gives away
    table = check_ids(table, checks, "user_id")
    table = check_ids(table, checks, "item_id")
    merged_users(table, checks)
    look_alikes(table, checks, "user_id")
    if known.beside is not None:
        doubtful_order(table, known.beside, checks)
    # 2. Items that exist, and when it happened
    table = _known_items(table, known.items, checks)
    if known.beside is not None:
        table = table.assign(time=np.arange(len(table)))  # the row's place in the file
    else:
        table = _check_times(table, checks, time.time() if now is None else now)
    # 3. What was asked, and so what kind of event it is
    table = _query_texts(table, known.queries, checks)
    table = _tasks(table, checks, has_words)
    # 4. One row per event; and no more rows lost in all these steps together than allowed
    is_same = table.duplicated(["user_id", "item_id", "time", "query"])
    checks.find("same-event", table, is_same)
    table = table[~is_same]
    # unsorted rows and ties are counted, not changed: the data stage sorts, a tie is one step
    checks.find("late", table, table.groupby("user_id")["time"].diff() < 0)
    checks.find("tied", table, table.duplicated(["user_id", "time"], keep=False))
    checks.stop_if_many_together(rows)
    table = table.assign(item_id=known.items.get_indexer(table["item_id"]))
    table = table.rename(columns={"user_id": "user"})
    return table[["user", "time", "task", "item_id", "query"]].reset_index(drop=True)


def _known_items(table: pd.DataFrame, items: pd.Index, checks: Checks) -> pd.DataFrame:
    """Events of items that the catalogue has. Others are dropped, with the likely reason."""
    is_unknown = items.get_indexer(table["item_id"]) < 0
    then = "Add these items to the items table, or take their events out."
    if is_unknown.any():
        # the same id in another form says what went wrong; of ids with one form the first is named
        by_plain = {plain_id(item): item for item in items[::-1]}
        lost = table["item_id"][is_unknown].unique()
        twin = next((one for one in lost if plain_id(one) in by_plain), None)
        if twin is not None:
            item = by_plain[plain_id(twin)]
            zeros_only = item.lstrip("0") == twin.lstrip("0")
            why = "some tool took ids for numbers" if zeros_only else "write ids alike"
            then = f"Items has {show(item)} where events has {show(twin)}: {why}. {then}"
        elif close := nearest(lost[0], items[:_LOOKED_AT].tolist(), 1):
            then += f" Nearest to {show(lost[0])}: {show(close[0])}."
    return checks.drop("unknown-item", table, is_unknown, then=then)


def _check_times(table: pd.DataFrame, checks: Checks, now: float) -> pd.DataFrame:
    """``time`` in seconds since 1970, a number."""
    texts = table["time"].str.strip()
    table = checks.drop("no-time", table, texts == "")
    texts = texts[table.index]
    checks.find("rounded-time", table, rounded_times(texts))
    # One unit for the whole column; what it was read as is said unless it is a matter of course
    numbers, unit = read_times(texts)
    is_read = np.isfinite(numbers)
    if unit in {name for _, name in COMPACT.values()}:
        checks.find("compact-time", table, is_read, form=unit.split()[-1])
    elif unit not in ("seconds", "dates"):
        checks.find("unit", table, is_read, name=unit)
    # Each wrong kind is dropped by itself, so that its message can say what to write instead
    seconds = pd.Series(numbers, table.index)
    bad = {"odd-time": seconds.isna(), "early": seconds < 0, "future": seconds > now + DAY}
    for rule, is_bad in bad.items():
        table = checks.drop(rule, table, is_bad[table.index])
    # a corpus of whole seconds stays one of integers
    numbers = seconds[table.index].to_numpy()
    is_whole = (numbers == np.floor(numbers)).all()
    return table.assign(time=numbers.astype(np.int64) if is_whole else numbers)


def _query_texts(table: pd.DataFrame, queries: pd.Series | None, checks: Checks) -> pd.DataFrame:
    """A column ``query`` of clean text: the text itself, else that of the query_id, else ""."""
    if "query" in table:
        is_written = table["query"].str.strip() != ""
        table = clean_column(table, checks, "query")
        table = checks.drop("wordless-query", table, is_written & (table["query"] == ""))
        # a word like "none" that many events share is no query
        least = max(2, math.ceil(_NO_QUERY * len(table)))
        table = empty_where(table, checks, "query", is_nothing, least)
    else:
        table = table.assign(query=pd.Series("", table.index, dtype="str"))
    if queries is None or "query_id" not in table:
        return table
    table = table.assign(query_id=table["query_id"].str.strip())
    refuse_numbers(table, checks, "query_id")
    ids = set(queries.index)
    # programs write -1 or NULL where there is no query, unless a query is called so
    table = empty_where(
        table, checks, "query_id", lambda q: q not in ids and (q == "-1" or is_nothing(q))
    )
    by_id = table["query_id"].map(queries)
    query = table["query"].where(table["query"] != "", by_id.fillna("")).astype("str")
    kept = checks.drop("unknown-query", table, (table["query_id"] != "") & (query == ""))
    return kept.assign(query=query[kept.index])


def _tasks(table: pd.DataFrame, checks: Checks, has_words: bool) -> pd.DataFrame:
    """With a query an event is a search, else a recommendation; a column ``task`` may object. Where
    the log `has_words` of no search, those that call themselves so stay, as recommendations."""
    written = pd.Series("", table.index, dtype="str")
    if "task" in table:
        written = table["task"].str.strip().str.lower()
    is_other = ~written.isin(SEARCH_WORDS | RECOMMEND_WORDS | {""})
    words = ", ".join(map(show, sorted(written[is_other].unique())[:3]))
    checks.find("other-task", table, is_other, words=words)
    is_bare = written.isin(SEARCH_WORDS) & (table["query"] == "")
    if has_words:
        table = checks.drop("search-without-query", table, is_bare)
    else:
        checks.find("search-without-words", table, is_bare)
    is_against = written[table.index].isin(RECOMMEND_WORDS) & (table["query"] != "")
    checks.find("query-of-recommendation", table, is_against)
    query = table["query"].where(~is_against, "")
    return table.assign(query=query, task=np.where(query == "", "recommend", "search"))
