"""Recall@k, NDCG@k and the reciprocal rank, for every query at once.

In: ranked item ids (B, k) padded with -1, and what was asked for: one target a query, or graded relevance.
Out: one number a query, (B,). A query whose list holds no answer counts 0; nobody is left out of the mean.
This file does not know tables, systems or files; items are compared as items, never as identifier strings.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.machine.ranges import within

# -------------------------------------------------------------------- one target a query ("the click")


def rank_of_target(ranked: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Where each target stands in its list: `ranked` (B, k), `targets` (B,) -> ranks (B,) from 1; 0 if absent.

    Raises `ValueError` if the number of lists and of targets differ.
    """
    ranked, targets = np.asarray(ranked), np.asarray(targets)
    if ranked.ndim != 2 or len(ranked) != len(targets):
        raise ValueError(
            f"metrics: ranked has shape {ranked.shape}, targets {targets.shape}; expected (B, k) and (B,)"
        )
    hit = (ranked == targets[:, None]) & (ranked >= 0)  # (B, k)
    if ranked.shape[1] == 0:
        return np.zeros(len(ranked), dtype=np.int64)
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)


def recall_at(ranks: np.ndarray, k: int) -> np.ndarray:
    """Recall@k with one relevant item (= HR@k): 1 where the rank is in 1..k, else 0; (B,) -> (B,)."""
    return ((ranks > 0) & (ranks <= k)).astype(np.float64)


def ndcg_at(ranks: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k with one relevant item: 1 / log2(1 + rank) within the first k, else 0 (Järvelin & Kekäläinen 2002)."""
    return recall_at(ranks, k) / np.log2(1 + np.maximum(ranks, 1))


def reciprocal_rank(ranks: np.ndarray) -> np.ndarray:
    """1 / rank, 0 if absent. Its mean is the MRR at the depth of the list that the ranks came from."""
    return (ranks > 0) / np.maximum(ranks, 1)


def target_metrics(
    ranked: np.ndarray, targets: np.ndarray, ks: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """``recall@k`` and ``ndcg@k`` for every k, and ``mrr``: each (B,), for one target a query."""
    return rank_metrics(rank_of_target(ranked, targets), ks)


def rank_metrics(ranks: np.ndarray, ks: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The same from ranks (B,) alone: from 1, 0 where the target was not found."""
    table = {f"recall@{k}": recall_at(ranks, k) for k in ks} | {
        f"ndcg@{k}": ndcg_at(ranks, k) for k in ks
    }
    return table | {"mrr": reciprocal_rank(ranks)}


# -------------------------------------------------------------------------------- all relevant items


class Qrels(NamedTuple):
    """Graded relevance, ready for look-ups.

    keys    (R,) sorted ``query_id * num_items + item_id``
    grades  (R,) the grade of each key, >= 1
    best    (Q, depth) a query's highest grades, descending, 0 where it has fewer
    counts  (Q,) relevant items of a query
    """

    keys: np.ndarray
    grades: np.ndarray
    best: np.ndarray
    counts: np.ndarray
    num_items: int


def make_qrels(relevance: pd.DataFrame, num_queries: int, num_items: int, depth: int) -> Qrels:
    """`Qrels` from ``query_id, item_id, grade``; grades below 1 mean "not relevant"; the highest of doubles counts.

    `depth` bounds the k of `relevance_metrics`.
    """
    table = relevance[relevance["grade"] >= 1].sort_values(
        ["query_id", "grade", "item_id"], ascending=[True, False, True]
    )
    table = table.drop_duplicates(["query_id", "item_id"])
    query, item, grade = (table[c].to_numpy() for c in ("query_id", "item_id", "grade"))
    counts = np.bincount(query, minlength=num_queries)
    position = within(counts)
    best = np.zeros((num_queries, depth))
    kept = position < depth
    best[query[kept], position[kept]] = grade[kept]
    keys = query.astype(np.int64) * num_items + item
    order = np.argsort(keys)
    return Qrels(keys[order], grade[order].astype(np.float64), best, counts, num_items)


def gains(qrels: Qrels, queries: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The grade of each listed item for its query: `queries` (B,), `items` (B, k) -> (B, k); 0 = not relevant."""
    if not len(qrels.keys) or not items.size:
        return np.zeros(items.shape)
    keys = queries.astype(np.int64)[:, None] * qrels.num_items + items
    place = np.minimum(np.searchsorted(qrels.keys, keys), len(qrels.keys) - 1)
    found = (qrels.keys[place] == keys) & (items >= 0)
    return np.where(found, qrels.grades[place], 0.0)


def relevance_metrics(
    qrels: Qrels,
    ranked: np.ndarray,
    queries: np.ndarray,
    ks: tuple[int, ...],
    clicked: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The same metrics when every relevant item is an answer: `ranked` (B, k), `queries` (B,) -> each (B,).

    Recall@k is the share of all relevant items that stand in the first k, NDCG@k has linear gains and the
    ideal list of all relevant items below it, the reciprocal rank is that of the first relevant item.
    With `clicked` (B,), the item clicked in this very event counts one grade more (and 1 if it had none).
    """
    if ks and max(ks) > qrels.best.shape[1]:
        raise ValueError(
            f"metrics: k = {max(ks)} is deeper than the qrels, made with depth {qrels.best.shape[1]}"
        )
    gain, ideal, counts = gains(qrels, queries, ranked), qrels.best[queries], qrels.counts[queries]
    if clicked is not None:
        grade = gains(qrels, queries, clicked[:, None])[:, 0]
        gain, ideal = gain + (ranked == clicked[:, None]), _raise_one(ideal, grade)
        counts = counts + (grade == 0)
    table = {f"recall@{k}": (gain[:, :k] > 0).sum(axis=1) / np.maximum(counts, 1) for k in ks}
    table |= {f"ndcg@{k}": _ratio(_dcg(gain[:, :k]), _dcg(ideal[:, :k])) for k in ks}
    hit = gain > 0
    first = hit.argmax(axis=1) + 1 if hit.shape[1] else np.ones(len(hit))
    return table | {"mrr": hit.any(axis=1) / first}


def _raise_one(ideal: np.ndarray, grade: np.ndarray) -> np.ndarray:
    """Add 1 to one entry of value `grade` in each descending row; taking the first such keeps the row sorted."""
    same = ideal == grade[:, None]
    rows = np.flatnonzero(same.any(axis=1))
    ideal = ideal.copy()
    ideal[rows, same[rows].argmax(axis=1)] += 1
    return ideal


def _dcg(gain: np.ndarray) -> np.ndarray:
    return gain @ (1 / np.log2(np.arange(gain.shape[1]) + 2))


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros(len(a)), where=b > 0)
