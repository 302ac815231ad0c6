"""Simple systems that a learned one must beat, and the oracle that none can beat.

In: a `Corpus`. Out: scorers for rows of the event table, and runs of the k best items. Nothing here
reads a validation or test event, but for what the user had met before the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import bm25s
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from gensar_lite.artifacts import Corpus
from gensar_lite.data import Seen
from gensar_lite.data.histories import train_counts
from gensar_lite.data.index_words import index_words, item_words
from gensar_lite.evaluation.runs import run_from_scores


class Scorer(Protocol):
    """Anything that scores the whole catalogue for B rows of the event table: (B, N) float32,
    higher is better, -inf is never answered."""

    def scores(self, targets: pd.DataFrame) -> np.ndarray: ...


@dataclass(frozen=True)
class Popularity:
    """The same list for everybody: items by `train_counts`."""

    counts: np.ndarray  # (N,)

    @classmethod
    def fit(cls, corpus: Corpus) -> Popularity:
        return cls(train_counts(corpus))

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        return np.tile(self.counts.astype(np.float32), (len(targets), 1))


@dataclass(frozen=True)
class CategoryPopularity:
    """Search only: the items that answer the query, best grade first, by train counts; after them
    all others, too.

    It is *given* the relevance table. Where queries are made from category paths or brands, this is
    a look-up that needs no learning; a learned search model is honest only beside it.
    """

    counts: np.ndarray  # (N,)
    query: np.ndarray  # (R,) sorted
    item: np.ndarray  # (R,)
    grade: np.ndarray  # (R,) from 1

    @classmethod
    def fit(cls, corpus: Corpus) -> CategoryPopularity:
        table = corpus.relevance[corpus.relevance["grade"] >= 1]
        table = table.sort_values(["query_id", "item_id"])
        columns = (table[name].to_numpy() for name in ("query_id", "item_id", "grade"))
        return cls(train_counts(corpus), *columns)

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        # popularity as a share in [0, 1) orders items of one grade and never outweighs a grade
        share = (self.counts / (self.counts.max() + 1)).astype(np.float32)
        table = np.tile(share, (len(targets), 1))
        for row, query in enumerate(targets["query_id"]):
            # the rows of the relevance table that belong to a query stand side by side
            rows = slice(*np.searchsorted(self.query, (query, query + 1)))
            table[row, self.item[rows]] += self.grade[rows]
        return table


class BM25:
    """Search only: BM25 (Robertson & Zaragoza 2009; Lucene's variant by bm25s) of the query over
    title and text.

    An item that holds no word of the query is no answer (-inf), so a misspelt query may have an
    empty list, and a catalogue without a word of two letters has no answer to anything.
    """

    def __init__(self, corpus: Corpus):
        self.queries, self.num_items = corpus.queries["text"].tolist(), corpus.num_items
        texts = item_words(corpus)
        self.index = bm25s.BM25()
        if any(texts):  # bm25s refuses to count nothing
            self.index.index(texts, show_progress=False)

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        # each different query is scored once, then its row is copied to all events that ask it
        queries, back = np.unique(targets["query_id"].to_numpy(), return_inverse=True)
        table = np.full((len(queries), self.num_items), -np.inf, dtype=np.float32)
        vocabulary = getattr(self.index, "vocab_dict", {})
        for row, query in enumerate(queries):
            known = [word for word in index_words(self.queries[query]) if word in vocabulary]
            if known:
                values = self.index.get_scores(known)  # (N,), 0 where no word matches
                table[row] = np.where(values > 0, values, -np.inf)
        return table[back]


@dataclass(frozen=True)
class Oracle:
    """Built-in shop only: the true probability of every item, without what the user has met (no one
    meets it twice). No system can do better on average: the log is drawn from these numbers.

    `truth` answers ``scores(task, user_ids, query_ids, previous_items) -> (B, N)``.
    """

    truth: object
    seen: Seen

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        names = ("event_id", "user_id", "query_id", "task")
        event, user, query, task = (targets[name].to_numpy() for name in names)
        previous = self.seen.last(event)
        table = None
        for name in sorted(set(task)):
            rows = np.flatnonzero(task == name)
            part = self.truth.scores(name, user[rows], query[rows], previous[rows])
            table = np.empty((len(targets), part.shape[1])) if table is None else table
            table[rows] = part
        # what cannot happen is never answered, and neither is what the user has met
        table[table <= 0] = -np.inf
        table[self.seen.pairs(event)] = -np.inf
        return table.astype(np.float32)


def top_k_run(
    scorer: Scorer,
    targets: pd.DataFrame,
    k: int,
    seen: Seen | None = None,
    candidates: np.ndarray | None = None,
    batch: int = 512,
    name: str = "ranking",
) -> pd.DataFrame:
    """The run of the k best items of each target event (B rows of the event table): over the whole
    catalogue, or among each event's `candidates` (B, C), padded with -1.

    With `seen`, items of the user's history are left out of *recommendation* lists; search may
    return them. Ties are broken by item id, so the run is the same whatever the batch.
    """
    parts = [run_from_scores(np.zeros(0, int), np.zeros((0, k)), k)]  # the columns, if no target
    for low in tqdm(range(0, len(targets), batch), desc=name, unit="batch", leave=False):
        part, items = targets.iloc[low : low + batch], None
        scores = scorer.scores(part)  # (b, N), for the whole catalogue at once
        if seen is not None:
            seen.hide(scores, part)
        if candidates is not None:
            items = candidates[low : low + batch]
            scores = np.take_along_axis(scores, np.maximum(items, 0), axis=1)  # (b, C)
        parts.append(run_from_scores(part["event_id"].to_numpy(), scores, k, items))
    return pd.concat(parts, ignore_index=True)
