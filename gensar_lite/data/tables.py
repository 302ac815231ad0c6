"""What a source returns, before splitting: four plain tables and what is worth saying about them.

This file does not know where the tables come from (sources.py) nor how they are split.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from gensar_lite.data.report import Report


class Tables(NamedTuple):
    """One data set as its source delivers it.

    items      ``item_id, title, text, brand, category``; row number = id; levels of a category
               joined by `` > ``
    queries    ``query_id, text``; row number = id; ``kind`` where there are kinds of queries
    events     ``user_id, time, task, item_id, query_id``; one row per event (a search event is one
               query with one click), any order; ``query_id`` is -1 for recommendation
    relevance  ``query_id, item_id, grade``: every item that answers a query (grade >= 1)
    facts      numbers and sentences for the data report, e.g. ``{"search": "semi-synthetic"}``
    truth      tensors of the generating process (built-in shop only), saved beside the corpus
    users      ``user_id, source_id``: whose row is whose (the user's files only), saved beside it
    report     what was fixed, dropped and warned about (the user's files only), saved beside it
    """

    items: pd.DataFrame
    queries: pd.DataFrame
    events: pd.DataFrame
    relevance: pd.DataFrame
    facts: dict[str, object]
    truth: dict | None = None
    users: pd.DataFrame | None = None
    report: Report | None = None
