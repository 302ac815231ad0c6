"""The rules for ids and texts of every table, and for items and queries: fixed, dropped, stopped.

In: tables of text with the columns of `columns.FIELDS`, and the table's `Checks`. Out: clean
tables; each broken rule is a finding of the checks. This file reads no file and knows no event.
"""

from __future__ import annotations

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
    spaces = bare != table[field]
    checks.find("FIX", table, spaces, f"have spaces around their {field}", "Removed.")
    table = table.assign(**{field: bare})
    refuse_numbers(table, checks, field)
    then = f"Fill in the {field}, or take these rows out."
    return checks.drop(table, table[field] == "", f"have no {field}", then)


def refuse_numbers(table: pd.DataFrame, checks: Checks, field: str) -> None:
    """Raises `ArtifactError` for decimal or rounded numbers: different ids look alike then."""
    ids = table[field]
    then = f"Some tool took ids for numbers: write the {field} as the text that it is."
    is_decimal = ids.str.fullmatch(_DECIMAL)
    checks.stop(table, is_decimal, f"have a decimal number for {field}", then)
    then = (
        "Some tool (a spreadsheet?) took ids for numbers and cut their digits, so that different "
        f"ids became one: export the {field} again, as text."
    )
    is_rounded = ids.str.fullmatch(_EXPONENT)
    checks.stop(table, is_rounded, f"have a rounded number for {field}", then)


def clean_column(table: pd.DataFrame, checks: Checks, field: str) -> pd.DataFrame:
    """Text made safe (`text.clean`), each distinct text once; what was changed is counted."""
    before = table[field]
    codes, texts = pd.factorize(before)  # (R,) rows of the distinct texts
    after = pd.Series(_by_text(clean, codes, texts, object), table.index).astype("str")
    has_markup = _by_text(has_tags, codes, texts, bool)
    what = f"have a {field} with HTML tags or scripts"
    checks.find("FIX", table, has_markup, what, "Taken out; the words between tags stay.")
    is_long = (before.str.len() > MAX_CHARACTERS).to_numpy()
    what = f"have a {field} of more than {MAX_CHARACTERS} characters"
    checks.find("FIX", table, is_long, what, f"Cut to {MAX_CHARACTERS} characters.")
    is_odd = (before != after).to_numpy() & ~is_long & ~has_markup
    what = f"have a {field} with control or invisible characters, HTML entities or idle spaces"
    checks.find("FIX", table, is_odd, what, "Cleaned.")
    return table.assign(**{field: after})


def empty_where(
    table: pd.DataFrame,
    checks: Checks,
    field: str,
    means_nothing: Callable[[str], bool],
    least: int = 1,
) -> pd.DataFrame:
    """A column without cells that stand for nothing, where `least` or more rows share the word."""
    codes, texts = pd.factorize(table[field])
    is_shared = dict(zip(texts, np.bincount(codes, minlength=len(texts)) >= least, strict=True))
    is_empty = _by_text(lambda t: is_shared[t] and means_nothing(t), codes, texts, bool)
    what = f"have a {field} that says there is none"
    checks.find("FIX", table, is_empty, what, "Made empty.")
    return table.assign(**{field: table[field].where(~is_empty, "")})


def _by_text(function: Callable, codes: np.ndarray, texts: pd.Index, kind: type) -> np.ndarray:
    """`function` of every row's text (R,), called once for each distinct one."""
    return np.array([function(text) for text in texts], dtype=kind)[codes]


# ------------------------------------------------------------------------------- items and queries


def check_items(table: pd.DataFrame, checks: Checks) -> pd.DataFrame:
    """One row per item: ``item_id, title, text, brand, category``, all text, ids unique, no title
    "". The index still numbers the rows of the file.
    """
    rows = len(table)
    # 1. One row per item: equal rows are one, different ones are two stories about it
    table = check_ids(table, checks, "item_id")
    is_same = table.duplicated()
    checks.find("FIX", table, is_same, "repeat another row", "One of each is kept.")
    table = table[~is_same]
    what = "tell another story about an item of an earlier row"
    checks.stop(table, table.duplicated("item_id"), what, "Keep one row per item.")
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
    # 3. What stands for a text that is missing: the words of all labels, before one is chosen
    words = table["category"].str.replace(r"\s*[|>]\s*", ", ", regex=True)
    table = _fill_texts(_one_category(table, checks), checks, words)
    checks.stop_if_many_together(rows)
    return table


def _one_category(table: pd.DataFrame, checks: Checks) -> pd.DataFrame:
    """``A|B|C`` is a set of labels and no path: the first is the category."""
    labels = table["category"].str.contains("|", regex=False)
    then = "The first label is the category; where there is no text, all of them are."
    checks.find("FIX", table, labels, "list several categories with |", then)
    path = table["category"].where(~labels, table["category"].str.split("|").str[0])
    return table.assign(category=path.str.replace(r"\s*>\s*", " > ", regex=True))


def _fill_texts(table: pd.DataFrame, checks: Checks, words: pd.Series) -> pd.DataFrame:
    """No text: brand and category `words`, if there are any. No title: the text, else the id."""
    is_silent = table["text"] == ""
    then = "Brand and category stand for it, where there are any."
    checks.find("FIX", table, is_silent, "have no text", then)
    text = table["text"].where(~is_silent, (table["brand"] + ", " + words).str.strip(", "))
    is_nameless = table["title"] == ""
    then = "Text, brand or category stand for it, else the id."
    checks.find("FIX", table, is_nameless, "have no title", then)
    name = text.where(text != "", "item " + table["item_id"].map(clean))
    title = table["title"].where(~is_nameless, name)
    # a text that became the title is gone: every reader of texts reads the title beside them
    return table.assign(title=title, text=text.where(~is_nameless, ""))


def check_queries(table: pd.DataFrame, checks: Checks) -> pd.DataFrame:
    """``query_id, query``, all text, ids unique; a query without words is dropped."""
    rows = len(table)
    table = check_ids(table, checks, "query_id")
    table = clean_column(table, checks, "query")
    table = checks.drop(table, table["query"] == "", "have no words", "Write the query's words.")
    table = table.drop_duplicates()
    what = "give another text to a query_id of an earlier row"
    checks.stop(table, table.duplicated("query_id"), what, "Keep one row per query.")
    checks.stop_if_many_together(rows)
    return table.reset_index(drop=True)
