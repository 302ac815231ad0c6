"""Systems that only count train events; tuning.py chooses their parameters.

In: a corpus. Out: scorers like those of baselines.py, which look at the target's history besides.
Nothing of size N x N is ever dense: 100,000 items work.

    transitions    from one time step to the next ones: a Markov chain (Shani et al. 2005), smoothed
                   by popularity
    item-knn       items taken by the same users (Sarwar et al. 2001), cosine with shrinkage (Koren
                   & Bell 2011)
    query-clicks   what people took after typing the very same string: without clicks, popularity
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, dia_matrix, diags, vstack

from gensar_lite.artifacts import Corpus
from gensar_lite.data import Seen
from gensar_lite.data.histories import run_starts, train_counts
from gensar_lite.data.splitting import user_steps

MAX_STEP = 200  # items of one time step: what follows a longer one follows nothing in particular
MAX_TRAIN = 1000  # of a user's train items, the latest, that count as taken together: bounds work
NEIGHBOURS = 100  # kept of each item, the most similar
CHUNK = 512  # items whose neighbours are looked for together: bounds the memory
TIE = 1e-6  # what popularity adds where nothing else tells items apart


def popularity_share(corpus: Corpus) -> np.ndarray:
    """The share of train events of each item, (N,) float32; equal ones where nothing trains."""
    counts = train_counts(corpus)
    counts = counts if counts.any() else counts + 1
    return (counts / counts.sum()).astype(np.float32)


class Past:
    """Histories as weights of items, for any events of one log; a purchase and its search twin are
    one item."""

    def __init__(self, corpus: Corpus):
        events = corpus.events
        self.num_items, self.item = corpus.num_items, events["item_id"].to_numpy()
        self.seen = Seen.of_log(events)
        self.step, _ = user_steps(events)
        self.once = ~events.duplicated(["user_id", "time", "item_id"]).to_numpy()
        # (E,) items of the event's time step
        same_step = events.assign(once=self.once).groupby(["user_id", "time"])["once"]
        self.size = same_step.transform("sum").to_numpy()

    def weights(self, event_ids: np.ndarray, decay: float, back: int | None = None) -> csr_matrix:
        """(B, N): every item of each history once, ``decay`` for each time step since it was met
        last; with `back` the last so many steps alone, each step as much as one item."""
        # flat pairs: a row of `event_ids`, an earlier event, how many time steps ago it was
        row, event = self.seen.rows(event_ids)
        row, event = row[self.once[event]], event[self.once[event]]
        ago = self.step[np.asarray(event_ids)[row]] - self.step[event]
        weight = decay ** (ago - 1.0)
        if back is None:
            # later rows are later events: the last of each item is the first from behind
            key = row * self.num_items + self.item[event]
            kept = len(key) - 1 - np.unique(key[::-1], return_index=True)[1]
        else:
            kept, weight = ago <= back, weight / self.size[event]
        place, weight = (row[kept], self.item[event[kept]]), weight[kept].astype(np.float32)
        return csr_matrix((weight, place), (len(event_ids), self.num_items))


@dataclass(frozen=True)
class Transitions:
    """Recommendation: ``P(next | item)`` from train, summed over the last steps of the history.

    ``P(j | i) = (C[i, j] + prior * popularity[j]) / (C[i].sum() + prior)``, C as
    `transition_counts` gives it. Without a history: popularity.
    """

    past: Past
    counts: csr_matrix  # (N, N)
    share: np.ndarray  # (N,) popularity
    back: int
    decay: float
    prior: float

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        weight = self.past.weights(targets["event_id"].to_numpy(), self.decay, self.back)
        weight = weight @ self._norm
        known = np.asarray(weight.sum(axis=1))  # (B, 1)
        table = (weight @ self.counts).toarray().astype(np.float32)
        return table + (np.where(known > 0, known * self.prior, 1) * self.share).astype(np.float32)

    @cached_property
    def _norm(self) -> dia_matrix:
        total = np.asarray(self.counts.sum(axis=1)).ravel()  # (N,)
        return diags((1 / (total + self.prior)).astype(np.float32))


def transition_counts(corpus: Corpus, back: int, decay: float) -> csr_matrix:
    """C (N, N): how often j followed i in a user's train events, in a strictly later step, `back`
    steps at most.

    A pair d steps apart counts ``decay ** (d - 1)``, divided by the items of the first step: a step
    of many is no more of a reason than one of a single item.
    """
    names = ["user_id", "time", "item_id"]
    train = corpus.events[corpus.events["split"] == "train"].drop_duplicates(names)
    user, time, item = (train[name].to_numpy() for name in names)
    begins = run_starts(user, time)
    step, owner = np.cumsum(begins) - 1, user[begins]  # each event's step, each step's user
    size = np.bincount(step, minlength=len(owner))
    keep = size[step] <= MAX_STEP
    # which items a step holds, (steps, N), as what follows and, weighted, as what is followed
    shape = (len(owner), corpus.num_items)
    later = csr_matrix((np.ones(keep.sum(), np.float32), (step[keep], item[keep])), shape)
    earlier = diags((1 / np.maximum(size, 1)).astype(np.float32)) @ later
    counts = csr_matrix((corpus.num_items, corpus.num_items), dtype=np.float32)
    for apart in range(1, back + 1):
        # the steps that have another one of the same user, `apart` steps later
        first = np.flatnonzero(owner[:-apart] == owner[apart:])
        counts += decay ** (apart - 1) * (earlier[first].T @ later[first + apart])
    return counts.tocsr()


@dataclass(frozen=True)
class ItemKNN:
    """Recommendation: items like those of the whole history, by who took them in train.

    ``score(j) = sum over items i of the history: weight(i) * similarity[i, j]``, with ``decay`` per
    time step. `repeat` is what an item of the history adds to itself.
    """

    past: Past
    similarity: csr_matrix  # (N, N), see `neighbours`
    share: np.ndarray  # (N,) popularity
    decay: float
    repeat: float = 0.0

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        weight = self.past.weights(targets["event_id"].to_numpy(), self.decay)
        table = weight @ self.similarity + self.repeat * weight
        return table.toarray().astype(np.float32) + np.float32(TIE) * self.share


def neighbours(corpus: Corpus, shrinkages: tuple[float, ...]) -> list[csr_matrix]:
    """For each shrinkage h the similarities ``n_ij / (sqrt(n_i n_j) + h)``, (N, N), the
    `NEIGHBOURS` largest per row.

    n_ij are the users who took both in train (of each user the latest `MAX_TRAIN` items), equal
    similarities are kept by item number; an item is no neighbour of itself.
    """
    train = corpus.events[corpus.events["split"] == "train"]
    train = train.drop_duplicates(["user_id", "item_id"], keep="last")
    train = train.groupby("user_id").tail(MAX_TRAIN)
    place = (train["user_id"], train["item_id"])
    shape = (corpus.num_users, corpus.num_items)
    taken = csr_matrix((np.ones(len(train), np.float32), place), shape)  # (U, N)
    users = np.asarray(taken.sum(axis=0)).ravel()  # (N,) n_i
    parts, by_item = [[] for _ in shrinkages], taken.T.tocsr()
    for low in range(0, corpus.num_items, CHUNK):
        both = (by_item[low : low + CHUNK] @ taken).tocoo()  # (C, N) n_ij
        keep = both.col != both.row + low
        row, column, count = both.row[keep], both.col[keep], both.data[keep]
        for part, shrinkage in zip(parts, shrinkages, strict=True):
            alike = count / (np.sqrt(users[row + low] * users[column]) + shrinkage)
            part.append(_largest(csr_matrix((alike.astype(np.float32), (row, column)), both.shape)))
    return [vstack(part, format="csr") for part in parts]


def _largest(table: csr_matrix) -> csr_matrix:
    """`table` with the `NEIGHBOURS` largest entries of each row."""
    table.sort_indices()
    keep = np.ones(table.nnz, dtype=bool)
    for row in np.flatnonzero(np.diff(table.indptr) > NEIGHBOURS):  # the others keep all
        entries = slice(table.indptr[row], table.indptr[row + 1])
        rest = np.argsort(-table.data[entries], kind="stable")[NEIGHBOURS:]
        keep[entries.start + rest] = False
    row = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
    return csr_matrix((table.data[keep], (row[keep], table.indices[keep])), table.shape)


@dataclass(frozen=True)
class QueryClicks:
    """Search: how often each item was taken in train after the target's very query string, plus
    ``prior`` times its popularity."""

    string: np.ndarray  # (Q,) the number of each query's string
    clicks: csr_matrix  # (strings, N)
    share: np.ndarray  # (N,) popularity
    prior: float

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        clicks = self.clicks[self.string[targets["query_id"].to_numpy()]].toarray()
        return clicks + np.float32(self.prior) * self.share

    def knows(self, targets: pd.DataFrame) -> np.ndarray:
        """(B,) bool: whose query string occurs in a train search."""
        return np.diff(self.clicks.indptr)[self.string[targets["query_id"].to_numpy()]] > 0


def query_clicks(corpus: Corpus, priors: tuple[float, ...]) -> Iterator[QueryClicks]:
    """One `QueryClicks` for each of `priors`; queries of one text are one string."""
    # what was typed is what counts, not the number of the query
    string, texts = pd.factorize(corpus.queries["text"])
    train = corpus.targets("train", "search")
    place = string[train["query_id"].to_numpy()], train["item_id"].to_numpy()
    clicks = csr_matrix((np.ones(len(train), np.float32), place), (len(texts), corpus.num_items))
    share = popularity_share(corpus)
    return (QueryClicks(string, clicks, share, prior) for prior in priors)
