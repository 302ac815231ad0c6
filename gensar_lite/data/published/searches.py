"""Searches that belong to purchases of a log: as published (Ai et al., SIGIR 2017), or as tags.

In: for product search on Amazon 2014 ``query_text.txt.gz`` (a query per line), ``train.qrels.gz``
and ``test.qrels.gz`` (lines ``<user>_<query's line number> 0 <asin> <1 if bought>``); a log of
purchases. Out: queries, search events at the purchases' times, relevance. The publisher's split is
random and lets a purchase test what trains: it is not used, time decides (splitting.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError
from gensar_lite.data.families import Search
from gensar_lite.data.published.jsonlines import blocks
from gensar_lite.data.published.logs import Log, number_names
from gensar_lite.data.published.packed import Tally
from gensar_lite.data.text import clean

LEAST_MATCHED = 0.5  # of the published rows must be purchases of the log: else another edition


class Matched(NamedTuple):
    """Searches of purchases of a log, see `match`."""

    queries: pd.DataFrame  # query_id, text, kind
    pairs: pd.DataFrame  # row of the log, query_id; each pair once
    is_purchase: np.ndarray  # (J,) bool: which of the rows asked about are purchases


def published_search(texts: Path, train: Path, test: Path, log: Log) -> Search:
    """One search event for each published (user, query, item) that is a purchase of `log`, at the
    purchase's time.

    An item may answer several queries, and a purchase may have several searches, all at one time
    step. A query's relevant items are all that any user bought after it (grade 1). Raises
    `ArtifactError` on another edition.
    """
    lines = [line for block in blocks(texts) for line in block.splitlines()]
    known = np.array([clean(line.decode("utf-8", "replace")) for line in lines], dtype=object)
    judged = pd.concat([_judgements(path, len(known)) for path in (train, test)], ignore_index=True)
    matched = match(judged.assign(text=known[judged["query"].to_numpy(dtype=int)]), log, "category")
    count, pairs = matched.is_purchase.sum(), matched.pairs
    if not len(judged) or count < LEAST_MATCHED * len(judged):
        raise ArtifactError(
            f"{train.name}: {count:,} of {len(judged):,} published rows are purchases of the "
            "reviews: it is another edition. Delete the files and fetch them again, or set "
            "data.published=false."
        )
    facts = {
        "search": "semi-synthetic",
        "search made": "category-path queries as published (Ai et al. 2017); their random split is "
        "not used",
        "queries": len(matched.queries),
        "search events": len(pairs),
        "published rows that are no purchase here": len(judged) - int(count),
        "purchases with several searches": int((pairs.groupby("row").size() > 1).sum()),
    }
    events = with_searches(log.events, pairs)
    return Search(matched.queries, events, clicked(events), facts)


def match(asked: pd.DataFrame, log: Log, kind: str) -> Matched:
    """Queries of one `kind` for the purchases of `log` among J rows ``user, item, text``, by name.

    Rows that are no purchase, or without text, give none.
    """
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


def _judgements(path: Path, num_queries: int) -> pd.DataFrame:
    """The lines of one file that say "bought": ``user, query, item``, `query` a line number."""
    tally = Tally(path.name)
    rows = [row for block in blocks(path) for row in _rows(block, num_queries, tally)]
    tally.check("line like 'USER_QUERYNUMBER 0 ASIN 1'")
    table = pd.DataFrame(rows, columns=["user", "query", "item", "bought"])
    return table.loc[table["bought"] == "1", ["user", "query", "item"]]


def _rows(block: bytes, num_queries: int, tally: Tally) -> Iterator[tuple[str, int, str, str]]:
    for line in filter(bytes.strip, block.splitlines()):
        tally.read += 1
        fields = line.decode("utf-8", "replace").split()
        user, _, query = fields[0].rpartition("_") if fields else ("", "", "")
        if len(fields) == 4 and user and query.isdecimal() and int(query) < num_queries:
            yield user, int(query), fields[2], fields[3]
        else:
            tally.drop(line)
