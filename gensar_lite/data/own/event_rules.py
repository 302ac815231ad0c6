"""The rules for somebody's events: what is fixed, dropped, warned about, and what stops.

In: the events as a table of text with the columns of `columns.FIELDS`, and the clean items and
queries. Out: a clean table, and a `Finding` a broken rule. This file draws no split.
"""

from __future__ import annotations

import difflib
import math

import numpy as np
import pandas as pd

from gensar_lite.data.own.rules import (
    Checked,
    Rules,
    check_ids,
    clean_column,
    empty_where,
    refuse_numbers,
)
from gensar_lite.data.own.suspicions import alike, doubtful_order, look_alikes, merged_users
from gensar_lite.data.own.times import COMPACT, read_times, rounded_times, whole_if_possible
from gensar_lite.data.report import Finding, check_drops, drop, find, show, stop
from gensar_lite.data.text import is_nothing

DAY = 86_400
SEARCH_WORDS = {"search", "searched", "query", "src"}
RECOMMEND_WORDS = {"recommend", "recommended", "recommendation", "rec"}
# share of the events from which on a query "NULL" is no query; below, somebody may have typed it
NO_QUERY = 0.05
NO_WORDS = (
    "Give the query's words in a column query, or a query_id and a queries table. If the column is about something "
    "else, take none for the task: data.columns=events.task=."
)
WORDLESS = (
    "No column holds queries, so they are learned as recommendations of their item. Bring the words (a column query, "
    "or query_id and a queries table), or take these rows out."
)


def check_events(
    table: pd.DataFrame,
    items: pd.Index,
    queries: pd.Series | None,
    rules: Rules,
    beside: pd.DataFrame | None = None,
) -> Checked:
    """``user, time, task, item_id, query``: user and query as text, item as its row among `items`.

    `queries` maps a query_id to its text, where there is such a table; `beside` holds columns that
    no field was taken from, with the same index. Rows keep the order of the file.
    """
    rows, beside = len(table), pd.DataFrame(index=table.index) if beside is None else beside
    has_words = not {"query", "query_id"}.isdisjoint(table.columns)
    table, findings = check_ids(table, "events", "user_id", rules)
    for rule in (
        lambda t: check_ids(t, "events", "item_id", rules),
        lambda t: (t, merged_users(t) + look_alikes(t, "events", "user_id")),
        lambda t: (t, doubtful_order(t, beside) if rules.by_file else []),
        lambda t: _known_items(t, items, rules),
        lambda t: check_times(t, rules),
        lambda t: _query_texts(t, queries, rules),
        lambda t: _tasks(t, rules, has_words),
        _repeats,
        _order,
    ):
        table, more = rule(table)
        findings += more
    check_drops("events", rows, findings, rules.max_drop_rate)
    item = pd.Series(items.get_indexer(table["item_id"]), index=table.index)
    table = table.assign(item_id=item).rename(columns={"user_id": "user"})
    return table[["user", "time", "task", "item_id", "query"]].reset_index(drop=True), findings


def _known_items(table: pd.DataFrame, items: pd.Index, rules: Rules) -> Checked:
    unknown = items.get_indexer(table["item_id"]) < 0
    then = "Add these items to the items table, or take their events out."
    if unknown.any():
        bare = pd.Index(items.str.lstrip("0"))
        lost = table["item_id"][unknown]
        near = np.isin(lost.str.lstrip("0"), bare)
        if near.any():
            one = lost[near].iloc[0]
            other = items[bare.get_indexer_for([one.lstrip("0")])[0]]
            then = (
                f"Items has {show(other)} where events has {show(one)}: some tool took ids for numbers. "
                + then
            )
        elif (same := alike(pd.Series(items)).eq(alike(lost).iloc[0])).any():
            then = (
                f"Items has {show(items[same.argmax()])} where events has {show(lost.iloc[0])}: write ids alike. "
                + then
            )
        else:
            close = difflib.get_close_matches(lost.iloc[0], items[:5000].tolist(), n=1)
            then += f" Nearest to {show(lost.iloc[0])}: {show(close[0])}." if close else ""
    return drop(
        "events",
        table,
        unknown,
        "name an item that the items table does not have",
        then,
        rules.max_drop_rate,
    )


def check_times(table: pd.DataFrame, rules: Rules) -> Checked:
    """``time`` in seconds, a number; the row's place in the file with ``data.order=file``."""
    if rules.by_file:
        return table.assign(time=np.arange(len(table))), []
    texts = table["time"].str.strip()
    limit, findings = rules.max_drop_rate, []
    then = 'Add a column "time" (seconds) or set data.order=file.'
    table, more = drop("events", table, (texts == "").to_numpy(), "have no time", then, limit)
    texts = texts[table.index]
    cut = "Some tool (a spreadsheet?) rounded them and cut their seconds: export the column again, as text."
    stop("events", table, rounded_times(texts), "have a rounded number for time", cut)
    seconds, unit = read_times(texts)
    findings += more
    if unit in {name for _, name in COMPACT.values()}:
        then = "Read as dates, not as seconds."
        findings += find(
            "FIX",
            "events",
            table,
            np.isfinite(seconds),
            f"have a time like {unit.split()[-1]}",
            then,
        )
    elif unit not in ("seconds", "dates"):
        then = f"Read as {unit} and divided; times are seconds from here on."
        findings += find(
            "WARN", "events", table, np.isfinite(seconds), f"have a time in {unit}", then
        )
    for broken, what, then in (
        (
            np.isnan,
            "have a time that is neither a number nor an ISO date",
            "Write 1406073600 or 2014-07-23T00:00:00.",
        ),
        (lambda s: s < 0, "have a time before 1970", "Write seconds since 1970."),
        (
            lambda s: s > rules.now + DAY,
            "have a time in the future",
            "Write seconds since 1970, all in one unit.",
        ),
    ):
        bad = broken(seconds)
        table, more = drop("events", table, bad, what, then, limit)
        seconds, findings = seconds[~bad], findings + more
    return table.assign(time=whole_if_possible(seconds)), findings


def _query_texts(table: pd.DataFrame, queries: pd.Series | None, rules: Rules) -> Checked:
    """A column ``query`` of clean text: the text itself, else that of the query_id, else ""."""
    findings: list[Finding] = []
    text = pd.Series("", index=table.index, dtype="str")
    if "query" in table:
        raw = table["query"].str.strip() != ""
        table, findings = clean_column(table, "events", "query")
        bare = (raw & (table["query"] == "")).to_numpy()
        then = "Write the query's words, or leave the cell empty for a recommendation."
        table, more = drop(
            "events", table, bare, "have a query without a word", then, rules.max_drop_rate
        )
        findings += more
        least = max(2, math.ceil(NO_QUERY * len(table)))
        table, more = empty_where(table, "events", "query", is_nothing, least)
        findings, text = findings + more, table["query"]
    if queries is None:
        return table.assign(query=text), findings
    table, more = _query_ids(table, queries)
    by_id = table["query_id"].map(queries)
    unknown = ((table["query_id"] != "") & by_id.isna() & (text == "")).to_numpy()
    then = "Add it to the queries table, or leave the cell empty for a recommendation."
    kept, lost = drop(
        "events", table, unknown, "have a query_id without a text", then, rules.max_drop_rate
    )
    query = text.where(text != "", by_id.fillna(""))[~unknown].astype("str")
    return kept.assign(query=query), findings + more + lost


def _query_ids(table: pd.DataFrame, queries: pd.Series) -> Checked:
    """A column ``query_id``, "" where a program wrote that there is none (-1, NULL)."""
    if "query_id" not in table:
        return table.assign(query_id=""), []
    table = table.assign(query_id=table["query_id"].str.strip())
    refuse_numbers(table, "events", "query_id")
    known = set(queries.index)
    return empty_where(
        table, "events", "query_id", lambda q: q not in known and (q == "-1" or is_nothing(q))
    )


def _tasks(table: pd.DataFrame, rules: Rules, has_words: bool) -> Checked:
    """With a query an event is a search, else a recommendation; a column ``task`` may object.

    Where the log `has_words` of no search, nothing could be a search: those that call themselves
    so stay, as recommendations, and are told.
    """
    query = table["query"]
    written = (
        table["task"].str.strip().str.lower()
        if "task" in table
        else pd.Series("", index=table.index, dtype="str")
    )
    other = ~written.isin(SEARCH_WORDS | RECOMMEND_WORDS | {""}).to_numpy()
    words = ", ".join(map(show, sorted(written[other].unique())[:3]))
    then = (
        "All of them count alike, and the query decides. Take out the rows that should not count."
    )
    findings = find(
        "WARN",
        "events",
        table,
        other,
        f"have a task that is no search and no recommendation ({words})",
        then,
    )
    bare = (written.isin(SEARCH_WORDS) & (query == "")).to_numpy()
    if not has_words:
        findings += find("WARN", "events", table, bare, "are searches without words", WORDLESS)
        bare = np.zeros_like(bare)
    kept, more = drop(
        "events", table, bare, "are searches without a query", NO_WORDS, rules.max_drop_rate
    )
    findings += more
    against = (written.isin(RECOMMEND_WORDS) & (query != ""))[~bare].to_numpy()
    findings += find(
        "FIX", "events", kept, against, "are recommendations with a query", "The query is left out."
    )
    query = query[~bare].where(~against, "")
    return kept.assign(query=query, task=np.where(query == "", "recommend", "search")), findings


def _repeats(table: pd.DataFrame) -> Checked:
    same = table.duplicated(["user_id", "item_id", "time", "query"]).to_numpy()
    then = "One of each is kept."
    findings = find(
        "FIX", "events", table, same, "repeat user, item, time and query of another", then
    )
    return table[~same], findings


def _order(table: pd.DataFrame) -> Checked:
    """Unsorted rows and ties are counted, not changed: the data stage sorts, a tie is one step."""
    user, when = pd.factorize(table["user_id"])[0], table["time"].to_numpy()
    order = np.argsort(user, kind="stable")
    step = np.r_[True, np.diff(user[order]) != 0]
    late = np.zeros(len(table), dtype=bool)
    late[order] = ~step & (np.diff(when[order], prepend=when[order][:1]) < 0)
    findings = find(
        "FIX",
        "events",
        table,
        late,
        "come before an earlier row of their user",
        "They are sorted by time.",
    )
    then = "They are one time step: none of them sees the others."
    tied = table.duplicated(["user_id", "time"], keep=False).to_numpy()
    return table, findings + find(
        "WARN", "events", table, tied, "share their time with another one of the user", then
    )
