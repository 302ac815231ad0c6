"""The rules for all of somebody's tables: what an id is, what a text is, which words are nothing.

In: tables of text with the columns of `columns.FIELDS`. Out: clean tables, and a `Finding` a broken
rule. Every rule is a function from a table to a table and its findings. This file knows no table's
own rules (item_rules.py, event_rules.py) and reads no file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.data.report import Finding, drop, find, stop
from gensar_lite.data.text import MAX_CHARACTERS, clean, has_tags

# ids that went through a table of numbers: 12.0 was 12 or 0012 once; of 1.001E+12 (1,001E+12 in
# half of Europe) the digits are lost. 1e5, E12 and 2E9F may be somebody's ids: no program writes a
# rounded number so
DECIMAL = r"[+-]?[0-9]+\.0+"
EXPONENT = r"[+-]?(?:[0-9]+[.,][0-9]+[eE][+-]?[0-9]+|[0-9]+[eE]\+[0-9]+)"

Checked = tuple[pd.DataFrame, list[Finding]]


class Rules(NamedTuple):
    """What the rules need to know beside the tables."""

    max_drop_rate: float  # share of a table's rows that may be dropped
    by_file: bool  # the order of the file is the time
    now: float  # seconds since 1970; later events are from the future


def check_ids(table: pd.DataFrame, name: str, field: str, rules: Rules) -> Checked:
    """Ids without spaces around them; empty ones are dropped, those spoilt as numbers stop."""
    bare = table[field].str.strip()
    spaces = (bare != table[field]).to_numpy()
    findings = find("FIX", name, table, spaces, f"have spaces around their {field}", "Removed.")
    table = table.assign(**{field: bare})
    refuse_numbers(table, name, field)
    empty = (bare == "").to_numpy()
    then = f"Fill in the {field}, or take these rows out."
    table, more = drop(name, table, empty, f"have no {field}", then, rules.max_drop_rate)
    return table, findings + more


def refuse_numbers(table: pd.DataFrame, name: str, field: str) -> None:
    """Raises `ArtifactError` for decimal or rounded numbers: different ids look alike after that."""
    ids = table[field]
    then = f"Some tool took ids for numbers: write the {field} as the text that it is."
    decimal = ids.str.fullmatch(DECIMAL).to_numpy(dtype=bool)
    stop(name, table, decimal, f"have a decimal number for {field}", then)
    then = (
        "Some tool (a spreadsheet?) took ids for numbers and cut their digits, so that different ids became one: "
        f"export the {field} again, as text."
    )
    rounded = ids.str.fullmatch(EXPONENT).to_numpy(dtype=bool)
    stop(name, table, rounded, f"have a rounded number for {field}", then)


def clean_column(table: pd.DataFrame, name: str, field: str) -> Checked:
    """Text made safe (`text.clean`), each distinct text once; what was changed is counted."""
    old, before = table, table[field]
    codes, texts = pd.factorize(before)
    after = pd.Series(_by_text(clean, codes, texts, object), index=table.index).astype("str")
    tags = _by_text(has_tags, codes, texts, bool)
    what, then = (
        f"have a {field} with HTML tags or scripts",
        "Taken out; the words between tags stay.",
    )
    findings = find("FIX", name, old, tags, what, then)
    long = (before.str.len() > MAX_CHARACTERS).to_numpy()
    what, then = (
        f"have a {field} of more than {MAX_CHARACTERS} characters",
        f"Cut to {MAX_CHARACTERS} characters.",
    )
    findings += find("FIX", name, old, long, what, then)
    odd = (before != after).to_numpy() & ~long & ~tags
    what = f"have a {field} with control or invisible characters, HTML entities or idle spaces"
    return table.assign(**{field: after}), findings + find("FIX", name, old, odd, what, "Cleaned.")


def empty_where(
    table: pd.DataFrame, name: str, field: str, means_nothing: Callable[[str], bool], least: int = 1
) -> Checked:
    """A column without cells that stand for nothing, where `least` or more rows share the word."""
    codes, texts = pd.factorize(table[field])
    times = np.bincount(codes, minlength=len(texts))
    word = np.array(
        [n >= least and means_nothing(t) for n, t in zip(times, texts, strict=True)], dtype=bool
    )
    nothing = word[codes] if len(texts) else np.zeros(len(table), dtype=bool)
    findings = find(
        "FIX", name, table, nothing, f"have a {field} that says there is none", "Made empty."
    )
    return table.assign(**{field: table[field].where(~nothing, "")}), findings


def _by_text(function: Callable, codes: np.ndarray, texts: pd.Index, kind: type) -> np.ndarray:
    """`function` of every row's text (R,), called once for each distinct one."""
    return np.array([function(text) for text in texts], dtype=kind)[codes]
