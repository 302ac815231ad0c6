"""Do two views say the same? Neighbours, how many of them two views share, and how alike two spaces are.

In: item vectors of one view or two. Out: neighbour ids, shares in [0, 1]. Vectors are compared by cosine.
This file does not judge: views that agree are cheap to fuse, views that differ know different things.
"""

from __future__ import annotations

import numpy as np


def neighbours(
    vectors: np.ndarray, k: int, items: np.ndarray | None = None, block: int = 512
) -> np.ndarray:
    """(P, k) ids of the nearest items by cosine, nearest first, for `items` (P,) or all; an item is not its own.

    Equal cosines are ordered by id. Fewer than `k` other items give fewer columns.
    """
    items = np.arange(len(vectors)) if items is None else np.asarray(items)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    k, found = min(k, len(vectors) - 1), []
    for low in range(0, len(items), block):
        part = items[low : low + block]
        cosine = unit[part] @ unit.T  # (block, N)
        cosine[np.arange(len(part)), part] = -np.inf
        found.append(np.argsort(-cosine, axis=1, kind="stable")[:, :k])
    return np.concatenate(found)


def neighbour_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Mean share of an item's k neighbours in one view (P, k) that are its neighbours in the other, too."""
    shared = [len(np.intersect1d(a, b)) for a, b in zip(first, second, strict=True)]
    return float(np.mean(shared) / first.shape[1])


def label_agreement(near: np.ndarray, labels: np.ndarray, items: np.ndarray | None = None) -> float:
    """Share of neighbours (P, k) that carry the same of `labels` (N,) as their item (`items` (P,), or all)."""
    items = np.arange(len(near)) if items is None else items
    return float((labels[near] == labels[items][:, None]).mean())


def linear_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Centred kernel alignment of two views (N, D), (N, E): 1 for the same space, near 0 for unrelated ones.

    Turning, mirroring or scaling a view as a whole changes nothing (Kornblith et al., ICML 2019, eq. 5).
    """
    x, y = (v - v.mean(axis=0, dtype=np.float64) for v in (first, second))
    both = np.linalg.norm(x.T @ y) ** 2
    return float(both / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))
