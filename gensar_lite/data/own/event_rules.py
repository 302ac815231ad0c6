"""The rules for a user's events: what is fixed, dropped, warned about, and what stops.

In: the events as a table of text with the columns of `columns.FIELDS`, the clean items and queries,
the table's `Checks`. Out: a clean table; each broken rule is a finding of the checks. This file
draws no split.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.data.own.rules import check_ids, clean_column, empty_where, refuse_numbers
from gensar_lite.data.own.suspicions import doubtful_order, look_alikes, merged_users
from gensar_lite.data.own.times import COMPACT, read_times, rounded_times, whole_if_possible
from gensar_lite.data.report import Checks, show
from gensar_lite.data.text import is_nothing, nearest, plain_id

DAY = 86_400
SEARCH_WORDS = {"search", "searched", "query", "src"}
RECOMMEND_WORDS = {"recommend", "recommended", "recommendation", "rec"}
_LOOKED_AT = 5000  # items among which the nearest one to an unknown id is looked for
# share of the events from which on a query "NULL" is no query; below, somebody may have typed it
_NO_QUERY = 0.05
_NO_WORDS = (
    "Give the query's words in a column query, or a query_id and a queries table. If the column is "
    "about something else, take none for the task: data.columns=events.task=."
)
_WORDLESS = (
    "No column holds queries, so they are learned as recommendations of their item. Bring the words"
    " (a column query, or query_id and a queries table), or take these rows out."
)


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
    what = "repeat user, item, time and query of another"
    checks.find("FIX", table, is_same, what, "One of each is kept.")
    table = table[~is_same]
    _count_disorder(table, checks)
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
    what = "name an item that the items table does not have"
    return checks.drop(table, is_unknown, what, then)


def _check_times(table: pd.DataFrame, checks: Checks, now: float) -> pd.DataFrame:
    """``time`` in seconds since 1970, a number."""
    texts = table["time"].str.strip()
    then = 'Add a column "time" (seconds) or set data.order=file.'
    table = checks.drop(table, texts == "", "have no time", then)
    texts = texts[table.index]
    then = (
        "Some tool (a spreadsheet?) rounded them and cut their seconds: export the column again, "
        "as text."
    )
    checks.stop(table, rounded_times(texts), "have a rounded number for time", then)
    # One unit for the whole column; what it was read as is said unless it is a matter of course
    seconds, unit = read_times(texts)
    is_read = np.isfinite(seconds)
    if unit in {name for _, name in COMPACT.values()}:
        what = f"have a time like {unit.split()[-1]}"
        checks.find("FIX", table, is_read, what, "Read as dates, not as seconds.")
    elif unit not in ("seconds", "dates"):
        then = f"Read as {unit} and divided; times are seconds from here on."
        checks.find("WARN", table, is_read, f"have a time in {unit}", then)
    # Each wrong kind is dropped by itself, so that its message can say what to write instead
    seconds = pd.Series(seconds, table.index)
    for is_bad, what, then in (
        (seconds.isna(), "have a time that is neither a number nor an ISO date",
         "Write 1406073600 or 2014-07-23T00:00:00."),
        (seconds < 0, "have a time before 1970", "Write seconds since 1970."),
        (seconds > now + DAY, "have a time in the future",
         "Write seconds since 1970, all in one unit."),
    ):  # fmt: skip
        table = checks.drop(table, is_bad[table.index], what, then)
    return table.assign(time=whole_if_possible(seconds[table.index].to_numpy()))


def _query_texts(table: pd.DataFrame, queries: pd.Series | None, checks: Checks) -> pd.DataFrame:
    """A column ``query`` of clean text: the text itself, else that of the query_id, else ""."""
    if "query" in table:
        is_written = table["query"].str.strip() != ""
        table = clean_column(table, checks, "query")
        then = "Write the query's words, or leave the cell empty for a recommendation."
        is_bare = is_written & (table["query"] == "")
        table = checks.drop(table, is_bare, "have a query without a word", then)
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
    is_unknown = (table["query_id"] != "") & (query == "")
    then = "Add it to the queries table, or leave the cell empty for a recommendation."
    kept = checks.drop(table, is_unknown, "have a query_id without a text", then)
    return kept.assign(query=query[kept.index])


def _tasks(table: pd.DataFrame, checks: Checks, has_words: bool) -> pd.DataFrame:
    """With a query an event is a search, else a recommendation; a column ``task`` may object.

    Where the log `has_words` of no search, nothing could be a search: those that call themselves so
    stay, as recommendations, with a warning.
    """
    written = pd.Series("", table.index, dtype="str")
    if "task" in table:
        written = table["task"].str.strip().str.lower()
    is_other = ~written.isin(SEARCH_WORDS | RECOMMEND_WORDS | {""})
    words = ", ".join(map(show, sorted(written[is_other].unique())[:3]))
    what = f"have a task that is no search and no recommendation ({words})"
    then = (
        "All of them count alike, and the query decides. Take out the rows that should not count."
    )
    checks.find("WARN", table, is_other, what, then)
    is_bare = written.isin(SEARCH_WORDS) & (table["query"] == "")
    if has_words:
        table = checks.drop(table, is_bare, "are searches without a query", _NO_WORDS)
    else:
        checks.find("WARN", table, is_bare, "are searches without words", _WORDLESS)
    is_against = written[table.index].isin(RECOMMEND_WORDS) & (table["query"] != "")
    what = "are recommendations with a query"
    checks.find("FIX", table, is_against, what, "The query is left out.")
    query = table["query"].where(~is_against, "")
    return table.assign(query=query, task=np.where(query == "", "recommend", "search"))


def _count_disorder(table: pd.DataFrame, checks: Checks) -> None:
    """Unsorted rows and ties are counted, not changed: the data stage sorts, a tie is one step."""
    # a row's time minus that of its user's row before it in the file
    is_late = table.groupby("user_id")["time"].diff() < 0
    what = "come before an earlier row of their user"
    checks.find("FIX", table, is_late, what, "They are sorted by time.")
    is_tied = table.duplicated(["user_id", "time"], keep=False)
    then = "They are one time step: none of them sees the others."
    checks.find("WARN", table, is_tied, "share their time with another one of the user", then)
