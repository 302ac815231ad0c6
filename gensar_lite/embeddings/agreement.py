"""Do two views agree? Neighbours, how many of them two views share, and how alike two spaces are.

In: item vectors of one view or two. Out: neighbour ids, shares in [0, 1]. Vectors are compared by
cosine. This file does not judge: views that agree are cheap to fuse, views that differ know
different things.
"""

from __future__ import annotations

import numpy as np


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """(N, d) rows scaled to length 1; a zero row stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def neighbours(
    vectors: np.ndarray, k: int, items: np.ndarray | None = None, block: int = 512
) -> np.ndarray:
    """(P, k) ids of the nearest other items by cosine, nearest first, for `items` (P,) or for all.

    Equal cosines are ordered by id. Fewer than `k` other items give fewer columns.
    """
    items = np.arange(len(vectors)) if items is None else np.asarray(items)
    unit = unit_rows(vectors)
    k = min(k, len(vectors) - 1)
    nearest = []
    for low in range(0, len(items), block):  # never more than (block, N) cosines at once
        part = items[low : low + block]
        cosine = unit[part] @ unit.T
        cosine[np.arange(len(part)), part] = -np.inf  # nobody is their own neighbour
        nearest.append(np.argsort(-cosine, axis=1, kind="stable")[:, :k])
    return np.concatenate(nearest)


def neighbour_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Mean share of an item's k neighbours in one view (P, k) that it has in the other one."""
    shared = [len(np.intersect1d(a, b)) for a, b in zip(first, second, strict=True)]
    return float(np.mean(shared) / first.shape[1])


def label_agreement(near: np.ndarray, labels: np.ndarray, items: np.ndarray | None = None) -> float:
    """Share of neighbours (P, k) with the same label (N,) as their item (`items` (P,), or all)."""
    items = np.arange(len(near)) if items is None else items
    return float((labels[near] == labels[items][:, None]).mean())


def linear_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Centred kernel alignment of views (N, D), (N, E): 1 for the same space, near 0 for unrelated.

    Turning, mirroring or scaling a view changes nothing (Kornblith et al., ICML 2019, eq. 5).
    """
    x, y = (v - v.mean(axis=0, dtype=np.float64) for v in (first, second))
    both = np.linalg.norm(x.T @ y) ** 2
    return float(both / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))
