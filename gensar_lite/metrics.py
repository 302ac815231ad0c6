"""Recall@k, NDCG@k and the reciprocal rank, for every query at once.

In: ranked item ids (B, k) padded with -1, and what was asked for: one target per query, or graded
relevance. Out: one number per query, (B,). A query whose list holds no answer counts 0; nobody is
left out of the mean. This file does not know tables, systems or files; items are compared as items,
never as identifier strings.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from gensar_lite.machine.ranges import within

Ks = tuple[int, ...]  # cut-offs

# --------------------------------------------------------------- one target per query ("the click")


def rank_of_target(ranked: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Where targets (B,) stand in their lists `ranked` (B, k): ranks (B,) from 1, 0 if absent.

    Raises `ValueError` if the number of lists and of targets differ.
    """
    ranked, targets = np.asarray(ranked), np.asarray(targets)
    if ranked.ndim != 2 or len(ranked) != len(targets):
        raise ValueError(
            f"metrics: ranked has shape {ranked.shape}, targets {targets.shape}; "
            "expected (B, k) and (B,)"
        )
    return _first_hit((ranked == targets[:, None]) & (ranked >= 0))


def recall_at(ranks: np.ndarray, k: int) -> np.ndarray:
    """Recall@k with one relevant item (= HR@k): 1 where the rank is in 1..k, else 0; (B,)."""
    return ((ranks > 0) & (ranks <= k)).astype(np.float64)


def ndcg_at(ranks: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k with one relevant item, 1 / log2(1 + rank) within the first k, else 0; (B,) -> (B,).

    Järvelin & Kekäläinen 2002.
    """
    return recall_at(ranks, k) / np.log2(1 + np.maximum(ranks, 1))


def reciprocal_rank(ranks: np.ndarray) -> np.ndarray:
    """1 / rank, 0 if absent. Its mean is the MRR at the depth of the lists of these ranks."""
    return (ranks > 0) / np.maximum(ranks, 1)


def target_metrics(ranked: np.ndarray, targets: np.ndarray, ks: Ks) -> dict[str, np.ndarray]:
    """`rank_metrics` of lists `ranked` (B, k) and one target per query (B,)."""
    return rank_metrics(rank_of_target(ranked, targets), ks)


def rank_metrics(ranks: np.ndarray, ks: Ks) -> dict[str, np.ndarray]:
    """``recall@k`` and ``ndcg@k`` for every k, and ``mrr``, each (B,).

    ranks  (B,) from 1, 0 where the target is absent
    """
    table = {f"recall@{k}": recall_at(ranks, k) for k in ks}
    table |= {f"ndcg@{k}": ndcg_at(ranks, k) for k in ks}
    return table | {"mrr": reciprocal_rank(ranks)}


# ------------------------------------------------------------------------------ all relevant items


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
    """`Qrels` from ``query_id, item_id, grade``; `depth` bounds the k of `relevance_metrics`.

    Grades below 1 mean "not relevant"; of doubles the highest counts.
    """
    # doubles: the highest grade comes first and is kept
    by = ["query_id", "grade", "item_id"]
    table = relevance[relevance["grade"] >= 1].sort_values(by, ascending=[True, False, True])
    table = table.drop_duplicates(["query_id", "item_id"])
    query, item, grade = (table[c].to_numpy() for c in ("query_id", "item_id", "grade"))
    counts = np.bincount(query, minlength=num_queries)
    # rows are sorted by query and grade, so the place inside a query is the place by grade
    position = within(counts)
    best = np.zeros((num_queries, depth))
    kept = position < depth
    best[query[kept], position[kept]] = grade[kept]
    keys = query.astype(np.int64) * num_items + item
    order = np.argsort(keys)
    return Qrels(keys[order], grade[order].astype(np.float64), best, counts, num_items)


def gains(qrels: Qrels, queries: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Each listed item's grade: `queries` (B,), `items` (B, k) -> (B, k); 0 = not relevant."""
    if not len(qrels.keys) or not items.size:
        return np.zeros(items.shape)
    keys = queries.astype(np.int64)[:, None] * qrels.num_items + items
    # where the key would stand among the known ones: it is known if it stands there already
    place = np.minimum(np.searchsorted(qrels.keys, keys), len(qrels.keys) - 1)
    known = (qrels.keys[place] == keys) & (items >= 0)
    return np.where(known, qrels.grades[place], 0.0)


def relevance_metrics(
    qrels: Qrels, ranked: np.ndarray, queries: np.ndarray, ks: Ks, clicked: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The same metrics when every relevant item is an answer, each (B,).

    ranked   (B, k) item ids for `queries` (B,)
    clicked  (B,) the item clicked in this very event, which counts one grade more (and 1 if it had
             none), or None

    Recall@k is the share of all relevant items that stand in the first k, NDCG@k has linear gains
    and the ideal list of all relevant items below it, the reciprocal rank is that of the first
    relevant item. Raises `ValueError` for a k deeper than the qrels.
    """
    deepest, depth = max(ks, default=0), qrels.best.shape[1]
    if deepest > depth:
        raise ValueError(f"metrics: k = {deepest} is deeper than the qrels, of depth {depth}")
    # gain: what each listed item is worth; ideal: the best list there could be
    gain = gains(qrels, queries, ranked)  # (B, k)
    ideal = qrels.best[queries]  # (B, depth)
    counts = qrels.counts[queries]  # (B,)
    if clicked is not None:
        # one grade more in the list where it stands, and in the ideal list; a new answer if it
        # had no grade
        grade = gains(qrels, queries, clicked[:, None])[:, 0]  # (B,)
        gain = gain + (ranked == clicked[:, None])
        ideal = _raise_one(ideal, grade)
        counts = counts + (grade == 0)
    table = {f"recall@{k}": (gain[:, :k] > 0).sum(axis=1) / np.maximum(counts, 1) for k in ks}
    # both sums over the first k, so a list that is shorter than k is not excused
    table |= {f"ndcg@{k}": _ndcg(gain[:, :k], ideal[:, :k]) for k in ks}
    return table | {"mrr": reciprocal_rank(_first_hit(gain > 0))}


def _first_hit(hit: np.ndarray) -> np.ndarray:
    """The first true place of each row (B, k), from 1; 0 where there is none; (B,)."""
    if hit.shape[1] == 0:  # no list has a first place, which argmax would need
        return np.zeros(len(hit), dtype=np.int64)
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)


def _raise_one(ideal: np.ndarray, grade: np.ndarray) -> np.ndarray:
    """Descending rows (B, depth) with 1 added to one entry of value `grade` (B,) in each.

    The first such entry is taken: only that one may grow without leaving the order.
    """
    same = ideal == grade[:, None]
    rows = np.flatnonzero(same.any(axis=1))
    ideal = ideal.copy()
    ideal[rows, same[rows].argmax(axis=1)] += 1
    return ideal


def _ndcg(gain: np.ndarray, ideal: np.ndarray) -> np.ndarray:
    """Discounted sums of gains (B, k) over those of the ideal lists; 0 where these have none."""
    sums = [rows @ (1 / np.log2(np.arange(rows.shape[1]) + 2)) for rows in (gain, ideal)]
    return np.divide(*sums, out=np.zeros(len(gain)), where=sums[1] > 0)
