"""Published product-search queries on Amazon 2014 (Ai et al., SIGIR 2017), as events of a log.

In: ``query_text.txt.gz`` (a query a line), ``train.qrels.gz`` and ``test.qrels.gz`` (lines ``<user>_<query's line
number> 0 <asin> <1 if bought>``), and the purchases. Out: queries, search events at the purchases' times, relevance.
The publisher's split is random and lets a purchase test what trains: it is not used, time decides (splitting.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import ArtifactError
from gensar_lite.data.families import Search
from gensar_lite.data.published.jsonlines import blocks
from gensar_lite.data.published.logs import Log, number_names
from gensar_lite.data.published.packed import Tally
from gensar_lite.data.text import clean

LEAST_MATCHED = 0.5  # of the published rows must be purchases of the log, or it is another edition


def published_search(texts: Path, train: Path, test: Path, log: Log) -> Search:
    """One search event for each published (user, query, item) that is a purchase of `log`, at the purchase's time.

    An item may answer several queries, and a purchase may have several searches, all at one time step. A query's
    relevant items are all that any user bought after it (grade 1). Raises `ArtifactError` on another edition.
    """
    lines = [
        clean(line.decode("utf-8", "replace"))
        for block in blocks(texts)
        for line in block.splitlines()
    ]
    judged = pd.concat([_judgements(path, len(lines)) for path in (train, test)], ignore_index=True)
    purchase = purchase_rows(judged, log)
    found = purchase >= 0
    if not len(judged) or found.mean() < LEAST_MATCHED:
        raise ArtifactError(
            f"{train.name}: {found.sum():,} of {len(judged):,} published rows are purchases of the reviews: "
            "it is another edition. Delete the files and fetch them again, or set data.published=false."
        )
    known = np.array(lines, dtype=object)[judged["query"]]
    usable = found & (known != "")
    query_id, names = number_names(pd.Series(known[usable], dtype=object))
    pairs = pd.DataFrame({"row": purchase[usable], "query_id": query_id}).drop_duplicates()
    item = log.events["item_id"].to_numpy()[pairs["row"]]
    relevance = pd.DataFrame(
        {"query_id": pairs["query_id"].to_numpy(), "item_id": item, "grade": 1}
    ).drop_duplicates()
    queries = pd.DataFrame({"query_id": np.arange(len(names)), "text": names, "kind": "category"})
    facts = {
        "search": "semi-synthetic",
        "search made": "category-path queries as published (Ai et al. 2017); their random split is not used",
        "queries": len(queries),
        "search events": len(pairs),
        "published rows that are no purchase here": int((~found).sum()),
        "purchases with several searches": int((pairs.groupby("row").size() > 1).sum()),
    }
    relevance = relevance.sort_values(["query_id", "item_id"], ignore_index=True)
    return Search(queries, with_searches(log.events, pairs), relevance, facts)


def with_searches(purchases: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """The log of both tasks: `purchases`, and for each of `pairs` (``row, query_id``) a search at that row's time."""
    bought = purchases[["user_id", "time", "item_id"]]
    pairs = pairs.sort_values(["row", "query_id"])
    searched = bought.iloc[pairs["row"]].assign(
        task="search", query_id=pairs["query_id"].to_numpy()
    )
    events = pd.concat(
        [bought.assign(task="recommend", query_id=np.int64(-1)), searched], ignore_index=True
    )
    # the sort is stable: a purchase stands before its searches
    events = events.sort_values(["user_id", "time", "item_id"], kind="stable", ignore_index=True)
    return events[["user_id", "time", "task", "item_id", "query_id"]]


def purchase_rows(judged: pd.DataFrame, log: Log) -> np.ndarray:
    """The row of `log.events` that is each judgement's purchase, -1 where there is none: (J,)."""
    user = pd.Index(log.users).get_indexer(judged["user"])
    item = pd.Index(log.items).get_indexer(judged["item"])
    key = log.events["user_id"].to_numpy() * len(log.items) + log.events["item_id"].to_numpy()
    row = pd.Index(key).get_indexer(user * len(log.items) + item)
    return np.where((user >= 0) & (item >= 0), row, -1)


def _judgements(path: Path, num_queries: int) -> pd.DataFrame:
    """The lines of one file that say "bought": ``user, query, item``, `query` a line number."""
    tally, parts = Tally(path.name), []
    for block in blocks(path):
        parts.append(
            pd.DataFrame(
                _rows(block, num_queries, tally), columns=["user", "query", "item", "bought"]
            )
        )
    tally.check("line like 'USER_QUERYNUMBER 0 ASIN 1'")
    table = pd.concat(parts, ignore_index=True)
    return table.loc[table["bought"] == "1", ["user", "query", "item"]]


def _rows(block: bytes, num_queries: int, tally: Tally) -> Iterator[tuple[str, int, str, str]]:
    for line in block.splitlines():
        fields = line.decode("utf-8", "replace").split()
        tally.read += bool(fields)
        user, _, query = fields[0].rpartition("_") if fields else ("", "", "")
        if len(fields) == 4 and user and query.isdecimal() and int(query) < num_queries:
            yield user, int(query), fields[2], fields[3]
        elif fields:
            tally.drop(line)
