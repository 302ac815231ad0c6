"""The rules for somebody's items and queries: what is fixed, dropped, warned about, and what stops.

In: tables of text with the columns of `columns.FIELDS`. Out: clean tables, and a `Finding` a broken
rule. This file knows no event.
"""

from __future__ import annotations

import pandas as pd

from gensar_lite.data.own.rules import Checked, Rules, check_ids, clean_column, empty_where
from gensar_lite.data.own.suspicions import look_alikes
from gensar_lite.data.report import check_drops, drop, find, stop
from gensar_lite.data.text import NOTHING, clean, is_no_brand, is_nothing, plain_words

NO_CATEGORY = NOTHING | {
    "unknown",
    "no genres listed",
    "uncategorized",
    "uncategorised",
    "not applicable",
}


def check_items(table: pd.DataFrame, rules: Rules) -> Checked:
    """A row an item: ``item_id, title, text, brand, category``, all text, ids unique, no title "".

    The index still numbers the rows of the file.
    """
    rows = len(table)
    table, findings = check_ids(table, "items", "item_id", rules)
    table, more = _one_row_an_item(table)
    findings += more + look_alikes(table, "items", "item_id")
    table = table.reindex(columns=["item_id", "title", "text", "brand", "category"], fill_value="")
    # a list of sentences is no path
    table = table.assign(text=table["text"].str.replace(" > ", " ", regex=False))
    for field in ("title", "text", "brand", "category"):
        table, more = clean_column(table, "items", field)
        findings += more
    table, more = _words_for_nothing(table)
    findings += more
    words = table["category"].str.replace(r"\s*[|>]\s*", ", ", regex=True)
    for rule in (_categories, lambda t: _texts(t, words)):
        table, more = rule(table)
        findings += more
    check_drops("items", rows, findings, rules.max_drop_rate)
    return table, findings


def _one_row_an_item(table: pd.DataFrame) -> Checked:
    same = table.duplicated().to_numpy()
    findings = find("FIX", "items", table, same, "repeat another row", "One of each is kept.")
    table = table[~same]
    differ = table.duplicated("item_id").to_numpy()
    stop(
        "items",
        table,
        differ,
        "tell another story about an item of an earlier row",
        "Keep one row an item.",
    )
    return table, findings


def _words_for_nothing(table: pd.DataFrame) -> Checked:
    """No brand is called Unknown; a film may be called None: of titles, two must share the word."""
    findings = []
    for field, means_nothing, least in (
        ("brand", is_no_brand, 1),
        ("category", lambda text: plain_words(text) in NO_CATEGORY, 1),
        ("title", is_nothing, 2),
        ("text", is_nothing, 2),
    ):
        table, more = empty_where(table, "items", field, means_nothing, least)
        findings += more
    return table, findings


def _categories(table: pd.DataFrame) -> Checked:
    """``A|B|C`` is a set of labels and no path: the first is the category, where there is no text
    all are its words.
    """
    labels = table["category"].str.contains("|", regex=False).to_numpy()
    then = "The first label is the category; where there is no text, all of them are."
    findings = find("FIX", "items", table, labels, "list several categories with |", then)
    path = table["category"].where(~labels, table["category"].str.split("|").str[0])
    return table.assign(category=path.str.replace(r"\s*>\s*", " > ", regex=True)), findings


def _texts(table: pd.DataFrame, words: pd.Series) -> Checked:
    """No text: brand and category words, if there are any. No title: the text, else ``item <id>``."""
    words = (table["brand"] + ", " + words).str.strip(", ")
    silent = (table["text"] == "").to_numpy()
    then = "Brand and category stand for it, where there are any."
    findings = find("FIX", "items", table, silent, "have no text", then)
    text = table["text"].where(~silent, words)
    nameless = (table["title"] == "").to_numpy()
    then = "Text, brand or category stand for it, else the id."
    findings += find("FIX", "items", table, nameless, "have no title", then)
    title = table["title"].where(
        ~nameless, text.where(text != "", "item " + table["item_id"].map(clean))
    )
    text = text.where(
        ~nameless, ""
    )  # it is the title now, and every reader of the text reads the title beside it
    return table.assign(title=title, text=text), findings


def check_queries(table: pd.DataFrame, rules: Rules) -> Checked:
    """``query_id, query``, all text, ids unique; a query without words is dropped."""
    rows = len(table)
    table, findings = check_ids(table, "queries", "query_id", rules)
    table, more = clean_column(table, "queries", "query")
    findings += more
    empty = (table["query"] == "").to_numpy()
    table, more = drop(
        "queries", table, empty, "have no words", "Write the query's words.", rules.max_drop_rate
    )
    findings += more
    table = table.drop_duplicates()
    stop("queries", table, table.duplicated("query_id").to_numpy(), "give another text to a query_id of an earlier row",
         "Keep one row a query.")  # fmt: skip
    check_drops("queries", rows, findings, rules.max_drop_rate)
    return table.reset_index(drop=True), findings
