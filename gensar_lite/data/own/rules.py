"""The rules for ids and texts of every table, and for items and queries: fixed, dropped, stopped.

In: tables of text with the columns of `columns.FIELDS`, and the table's `Checks`. Out: clean
tables; each broken rule is a finding of the checks. This file reads no file and knows no event.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from gensar_lite.data.own.suspicions import look_alikes
from gensar_lite.data.report import Checks
from gensar_lite.data.text import (
    MAX_CHARACTERS,
    NOTHING,
    clean,
    has_tags,
    is_no_brand,
    is_nothing,
    plain_words,
)

# ids that went through a table of numbers: 12.0 was 12 or 0012 once; of 1.001E+12 (1,001E+12 in
# half of Europe) the digits are lost. 1e5, E12 and 2E9F may be somebody's ids: no program writes a
# rounded number so
_DECIMAL = r"[+-]?[0-9]+\.0+"
_EXPONENT = r"[+-]?(?:[0-9]+[.,][0-9]+[eE][+-]?[0-9]+|[0-9]+[eE]\+[0-9]+)"
_ITEM_COLUMNS = ["item_id", "title", "text", "brand", "category"]
_NO_CATEGORY = NOTHING | {
    "unknown", "no genres listed", "uncategorized", "uncategorised", "not applicable",
}  # fmt: skip


def check_ids(table: pd.DataFrame, checks: Checks, field: str) -> pd.DataFrame:
    """Ids without spaces around them; empty ones are dropped, those spoilt as numbers stop."""
    bare = table[field].str.strip()
    checks.find("spaces", table, bare != table[field], field=field)
    table = table.assign(**{field: bare})
    refuse_numbers(table, checks, field)
    return checks.drop("no-id", table, table[field] == "", field=field)


def refuse_numbers(table: pd.DataFrame, checks: Checks, field: str) -> None:
    """Raises `ArtifactError` for decimal or rounded numbers: different ids look alike then."""
    for rule, pattern in (("decimal", _DECIMAL), ("rounded", _EXPONENT)):
        checks.find(rule, table, table[field].str.fullmatch(pattern), field=field)


def clean_column(table: pd.DataFrame, checks: Checks, field: str) -> pd.DataFrame:
    """Text made safe (`text.clean`), each distinct text once; what was changed is counted."""
    before = table[field]
    after = pd.Series(_by_text(clean, before, object), table.index).astype("str")
    has_markup = _by_text(has_tags, before, bool)
    checks.find("tags", table, has_markup, field=field)
    is_long = (before.str.len() > MAX_CHARACTERS).to_numpy()
    checks.find("long", table, is_long, field=field, most=MAX_CHARACTERS)
    is_odd = (before != after).to_numpy() & ~is_long & ~has_markup
    checks.find("odd", table, is_odd, field=field)
    return table.assign(**{field: after})


def empty_where(
    table: pd.DataFrame, checks: Checks, field: str, means_nothing: Callable, least: int = 1
) -> pd.DataFrame:
    """A column without cells that stand for nothing (`means_nothing` of a text says so), where
    `least` or more rows share the word."""
    is_shared = table[field].groupby(table[field]).transform("size").to_numpy() >= least
    is_empty = is_shared & _by_text(means_nothing, table[field], bool)
    checks.find("nothing", table, is_empty, field=field)
    return table.assign(**{field: table[field].where(~is_empty, "")})


def _by_text(function: Callable, texts: pd.Series, kind: type) -> np.ndarray:
    """`function` of every row's text (R,), called once for each distinct one."""
    codes, distinct = pd.factorize(texts)
    return np.array([function(text) for text in distinct], dtype=kind)[codes]


# ------------------------------------------------------------------------------- items and queries


def check_items(table: pd.DataFrame, checks: Checks) -> pd.DataFrame:
    """One row per item: ``item_id, title, text, brand, category``, all text, ids unique, no title
    "". The index still numbers the rows of the file."""
    rows = len(table)
    # 1. One row per item: equal rows are one, different ones are two stories about it
    table = check_ids(table, checks, "item_id")
    is_same = table.duplicated()
    checks.find("same-row", table, is_same)
    table = table[~is_same]
    checks.find("two-items", table, table.duplicated("item_id"))
    look_alikes(table, checks, "item_id")
    # 2. Clean texts; a word for nothing is nothing
    table = table.reindex(columns=_ITEM_COLUMNS, fill_value="")
    # a list of sentences is no path
    table = table.assign(text=table["text"].str.replace(" > ", " ", regex=False))
    for field in _ITEM_COLUMNS[1:]:
        table = clean_column(table, checks, field)
    # no brand is called Unknown; a film may be called None: of titles, two must share the word
    table = empty_where(table, checks, "brand", is_no_brand)
    table = empty_where(table, checks, "category", lambda text: plain_words(text) in _NO_CATEGORY)
    for field in ("title", "text"):
        table = empty_where(table, checks, field, is_nothing, least=2)
    # 3. A|B|C is a set of labels and no path: the first is the category
    words = table["category"].str.replace(r"\s*[|>]\s*", ", ", regex=True)  # of all labels
    labels = table["category"].str.contains("|", regex=False)
    checks.find("labels", table, labels)
    path = table["category"].where(~labels, table["category"].str.split("|").str[0])
    table = table.assign(category=path.str.replace(r"\s*>\s*", " > ", regex=True))
    # 4. What stands for a text that is missing
    table = _fill_texts(table, checks, words)
    checks.stop_if_many_together(rows)
    return table


def _fill_texts(table: pd.DataFrame, checks: Checks, words: pd.Series) -> pd.DataFrame:
    """No text: brand and category `words`, if there are any. No title: the text, else the id."""
    is_silent, is_nameless = table["text"] == "", table["title"] == ""
    checks.find("no-text", table, is_silent)
    checks.find("no-title", table, is_nameless)
    text = table["text"].where(~is_silent, (table["brand"] + ", " + words).str.strip(", "))
    name = text.where(text != "", "item " + table["item_id"].map(clean))
    title = table["title"].where(~is_nameless, name)
    # a text that became the title is gone: every reader of texts reads the title beside them
    return table.assign(title=title, text=text.where(~is_nameless, ""))


def check_queries(table: pd.DataFrame, checks: Checks) -> pd.DataFrame:
    """``query_id, query``, all text, ids unique; a query without words is dropped."""
    rows = len(table)
    table = check_ids(table, checks, "query_id")
    table = clean_column(table, checks, "query")
    table = checks.drop("no-words", table, table["query"] == "").drop_duplicates()
    checks.find("two-queries", table, table.duplicated("query_id"))
    checks.stop_if_many_together(rows)
    return table.reset_index(drop=True)
