"""The rules for somebody's items, queries and events: what is fixed, dropped, warned about, and what stops.

In: tables of text with the columns of `columns.FIELDS`. Out: clean tables, and a `Finding` a broken rule.
Every rule is a function from a table to a table and its findings. This file reads no file and draws no split.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.data.report import Finding, check_drops, drop, find, show, stop
from gensar_lite.data.text import MAX_CHARACTERS, clean
from gensar_lite.data.times import read_times, whole_if_possible

DAY = 86_400
SEARCH_WORDS = {"search", "searched", "query", "src"}
RECOMMEND_WORDS = {"recommend", "recommended", "recommendation", "rec"}
ID = r"\d+\.0+"  # an id that went through a table of numbers on its way

Checked = tuple[pd.DataFrame, list[Finding]]


class Rules(NamedTuple):
    """What the rules need to know beside the tables."""

    max_drop_rate: float  # share of a table's rows that may be dropped
    by_file: bool  # the order of the file is the time
    now: float  # seconds since 1970; later events are from the future


# --------------------------------------------------------------------------------------------------- items


def check_items(table: pd.DataFrame, rules: Rules) -> Checked:
    """A row an item: ``item_id, title, text, brand, category``, all text, ids unique, no title empty.

    The index still numbers the rows of the file.
    """
    rows = len(table)
    table, found = check_ids(table, "items", "item_id", rules)
    table, more = _one_row_an_item(table)
    found += more
    table = table.reindex(columns=["item_id", "title", "text", "brand", "category"], fill_value="")
    table = table.assign(text=table["text"].str.replace(" > ", " ", regex=False))  # a list of sentences is no path
    for field in ("title", "text", "brand", "category"):
        table, more = clean_column(table, "items", field)
        found += more
    words = table["category"].str.replace(r"\s*[|>]\s*", ", ", regex=True)
    table, more = _categories(table)
    found += more
    table, more = _texts(table, words)
    check_drops("items", rows, found + more, rules.max_drop_rate)
    return table, found + more


def _one_row_an_item(table: pd.DataFrame) -> Checked:
    same = table.duplicated().to_numpy()
    found = find("FIX", "items", table, same, "repeat another row", "One of each is kept.")
    table = table[~same]
    differ = table.duplicated("item_id").to_numpy()
    stop("items", table, differ, "tell another story about an item of an earlier row", "Keep one row an item.")
    return table, found


def _categories(table: pd.DataFrame) -> Checked:
    """``A|B|C`` is a set of labels and no path: the first is the category, where there is no text all are its words."""
    labels = table["category"].str.contains("|", regex=False).to_numpy()
    then = "The first label is the category; where there is no text, all of them are."
    found = find("FIX", "items", table, labels, "list several categories with |", then)
    path = table["category"].where(~labels, table["category"].str.split("|").str[0])
    return table.assign(category=path.str.replace(r"\s*>\s*", " > ", regex=True)), found


def _texts(table: pd.DataFrame, words: pd.Series) -> Checked:
    """No text: brand and category words, if there are any. No title: the text, else ``item <id>``."""
    words = (table["brand"] + ", " + words).str.strip(", ")
    silent = (table["text"] == "").to_numpy()
    then = "Brand and category stand for it, where there are any."
    found = find("FIX", "items", table, silent, "have no text", then)
    text = table["text"].where(~silent, words)
    nameless = (table["title"] == "").to_numpy()
    then = "Text, brand or category stand for it, else the id."
    found += find("FIX", "items", table, nameless, "have no title", then)
    title = table["title"].where(~nameless, text.where(text != "", "item " + table["item_id"].map(clean)))
    text = text.where(~nameless, "")  # it is the title now, and every reader of the text reads the title beside it
    return table.assign(title=title, text=text), found


# ------------------------------------------------------------------------------------------------- queries


def check_queries(table: pd.DataFrame, rules: Rules) -> Checked:
    """``query_id, query``, all text, ids unique; a query without words is dropped."""
    rows = len(table)
    table, found = check_ids(table, "queries", "query_id", rules)
    table, more = clean_column(table, "queries", "query")
    found += more
    empty = (table["query"] == "").to_numpy()
    table, more = drop("queries", table, empty, "have no words", "Write the query's words.", rules.max_drop_rate)
    found += more
    table = table.drop_duplicates()
    stop("queries", table, table.duplicated("query_id").to_numpy(), "give another text to a query_id of an earlier row",
         "Keep one row a query.")  # fmt: skip
    check_drops("queries", rows, found, rules.max_drop_rate)
    return table.reset_index(drop=True), found


# -------------------------------------------------------------------------------------------------- events


def check_events(table: pd.DataFrame, items: pd.Index, queries: pd.Series | None, rules: Rules) -> Checked:
    """``user, time, task, item_id, query``: user and query as text, item as its row among `items`.

    `queries` maps a query_id to its text, where there is such a table. Rows keep the order of the file.
    """
    rows = len(table)
    table, found = check_ids(table, "events", "user_id", rules)
    for rule in (
        lambda t: check_ids(t, "events", "item_id", rules),
        lambda t: _known_items(t, items, rules),
        lambda t: check_times(t, rules),
        lambda t: _query_texts(t, queries, rules),
        lambda t: _tasks(t, rules),
        _repeats,
        _order,
    ):
        table, more = rule(table)
        found += more
    check_drops("events", rows, found, rules.max_drop_rate)
    item = pd.Series(items.get_indexer(table["item_id"]), index=table.index)
    table = table.assign(item_id=item).rename(columns={"user_id": "user"})
    return table[["user", "time", "task", "item_id", "query"]].reset_index(drop=True), found


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
            then = f"Items has {show(other)} where events has {show(one)}: some tool took ids for numbers. " + then
        else:
            close = difflib.get_close_matches(lost.iloc[0], items[:5000].tolist(), n=1)
            then += f" Nearest to {show(lost.iloc[0])}: {show(close[0])}." if close else ""
    return drop("events", table, unknown, "name an item that the items table does not have", then, rules.max_drop_rate)


def check_times(table: pd.DataFrame, rules: Rules) -> Checked:
    """``time`` in seconds, a number; the row's place in the file with ``data.order=file``."""
    if rules.by_file:
        return table.assign(time=np.arange(len(table))), []
    texts = table["time"].str.strip()
    limit, found = rules.max_drop_rate, []
    then = 'Add a column "time" (seconds) or set data.order=file.'
    table, more = drop("events", table, (texts == "").to_numpy(), "have no time", then, limit)
    seconds, unit = read_times(texts[table.index])
    found += more
    if unit not in ("seconds", "dates"):
        then = f"Read as {unit} and divided; times are seconds from here on."
        found += find("WARN", "events", table, np.isfinite(seconds), f"have a time in {unit}", then)
    for broken, what, then in (
        (np.isnan, "have a time that is neither a number nor an ISO date", "Write 1406073600 or 2014-07-23T00:00:00."),
        (lambda s: s < 0, "have a time before 1970", "Write seconds since 1970."),
        (lambda s: s > rules.now + DAY, "have a time in the future", "Write seconds since 1970, all in one unit."),
    ):
        bad = broken(seconds)
        table, more = drop("events", table, bad, what, then, limit)
        seconds, found = seconds[~bad], found + more
    return table.assign(time=whole_if_possible(seconds)), found


def _query_texts(table: pd.DataFrame, queries: pd.Series | None, rules: Rules) -> Checked:
    """A column ``query`` of clean text, "" where none was told: the text itself, else the text of the query_id."""
    told = table.get("query", pd.Series("", index=table.index, dtype="str"))
    found: list[Finding] = []
    if "query" in table:
        raw = told.str.strip() != ""
        table, found = clean_column(table, "events", "query")
        bare = (raw & (table["query"] == "")).to_numpy()
        then = "Write the query's words, or leave the cell empty for a recommendation."
        table, more = drop("events", table, bare, "have a query without a word", then, rules.max_drop_rate)
        found += more
        told = table["query"]
    ids = table["query_id"].str.strip() if "query_id" in table else pd.Series("", index=table.index, dtype="str")
    if queries is None:
        return table.assign(query=told), found
    by_id = ids.map(queries)
    unknown = ((ids != "") & by_id.isna() & (told == "")).to_numpy()
    then = "Add it to the queries table, or take these events out."
    kept, more = drop("events", table, unknown, "have a query_id without a text", then, rules.max_drop_rate)
    return kept.assign(query=told.where(told != "", by_id.fillna(""))[~unknown].astype("str")), found + more


def _tasks(table: pd.DataFrame, rules: Rules) -> Checked:
    """With a query an event is a search, without one a recommendation; a column ``task`` may only object."""
    query = table["query"]
    told = table["task"].str.strip().str.lower() if "task" in table else pd.Series("", index=table.index, dtype="str")
    bare = (told.isin(SEARCH_WORDS) & (query == "")).to_numpy()
    then = "Give the query's words in a column query, or a query_id and a queries table."
    kept, found = drop("events", table, bare, "are searches without a query", then, rules.max_drop_rate)
    against = (told.isin(RECOMMEND_WORDS) & (query != ""))[~bare].to_numpy()
    found += find("FIX", "events", kept, against, "are recommendations with a query", "The query is left out.")
    query = query[~bare].where(~against, "")
    return kept.assign(query=query, task=np.where(query == "", "recommend", "search")), found


def _repeats(table: pd.DataFrame) -> Checked:
    same = table.duplicated(["user_id", "item_id", "time", "query"]).to_numpy()
    then = "One of each is kept."
    found = find("FIX", "events", table, same, "repeat user, item, time and query of another", then)
    table = table[~same]
    again = table.duplicated(["user_id", "item_id"]) & ~table.duplicated(["user_id", "item_id", "time"])
    what = "meet an item that their user has met before"
    then = "Whether such items stay candidates follows from their share in the log: data.seen_items."
    return table, found + find("WARN", "events", table, again.to_numpy(), what, then)


def _order(table: pd.DataFrame) -> Checked:
    """Unsorted rows and ties are counted, not changed: the data stage sorts by time, ties as in the file."""
    user, when = pd.factorize(table["user_id"])[0], table["time"].to_numpy()
    order = np.argsort(user, kind="stable")
    step = np.r_[True, np.diff(user[order]) != 0]
    late = np.zeros(len(table), dtype=bool)
    late[order] = ~step & (np.diff(when[order], prepend=when[order][:1]) < 0)
    found = find("FIX", "events", table, late, "come before an earlier row of their user", "They are sorted by time.")
    then = "They are one time step: none of them sees the others."
    tied = table.duplicated(["user_id", "time"], keep=False).to_numpy()
    return table, found + find("WARN", "events", table, tied, "share their time with another one of the user", then)


# ------------------------------------------------------------------------------------------- for all tables


def check_ids(table: pd.DataFrame, name: str, field: str, rules: Rules) -> Checked:
    """Ids without spaces around them; empty ones are dropped, and ``12.0`` stops: it was ``12`` or ``0012`` once."""
    bare = table[field].str.strip()
    found = find("FIX", name, table, (bare != table[field]).to_numpy(), f"have spaces around their {field}", "Removed.")
    table = table.assign(**{field: bare})
    then = f"Some tool took ids for numbers: write the {field} as the text that it is."
    stop(name, table, bare.str.fullmatch(ID).to_numpy(dtype=bool), f"have a decimal number for {field}", then)
    then = f"Fill in the {field}, or take these rows out."
    table, more = drop(name, table, (bare == "").to_numpy(), f"have no {field}", then, rules.max_drop_rate)
    return table, found + more


def clean_column(table: pd.DataFrame, name: str, field: str) -> Checked:
    """Text made safe (`text.clean`), each distinct text once; what was cut and what was cleaned is counted."""
    before = table[field]
    codes, texts = pd.factorize(before)
    after = pd.Series(np.array([clean(text) for text in texts], dtype=object)[codes], index=table.index).astype("str")
    long = (before.str.len() > MAX_CHARACTERS).to_numpy()
    then = f"Cut to {MAX_CHARACTERS} characters."
    found = find("FIX", name, table, long, f"have a {field} of more than {MAX_CHARACTERS} characters", then)
    odd = (before != after).to_numpy() & ~long
    what = f"have a {field} with control or invisible characters, HTML entities or idle spaces"
    return table.assign(**{field: after}), found + find("FIX", name, table, odd, what, "Cleaned.")
