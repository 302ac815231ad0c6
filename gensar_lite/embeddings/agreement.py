"""Two views side by side: neighbours by cosine, whether the views agree, cold items' neighbours.

In: item vectors of one view or two. Out: neighbour ids, shares in [0, 1], a view whose cold rows
are made of their text neighbours'. Not judged: views that agree are cheap to fuse, views that
differ know different things.
"""

import numpy as np

from gensar_lite.artifacts import ArtifactError


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


def fill_cold(
    collaborative: np.ndarray, semantic: np.ndarray, cold: np.ndarray, k: int
) -> np.ndarray:
    """The collaborative view (N, d), each cold row a mean of its `k` nearest warm items' rows.

    `semantic` (N, d_sem) says who is near, `cold` (N,) bool who is filled. Raises `ArtifactError`
    when every item is cold.
    """
    warm = np.flatnonzero(~cold)  # (W,) item ids
    if not len(warm):
        raise ArtifactError(
            "embeddings: no item has a train event to learn from. Bring a longer log."
        )
    unit = unit_rows(semantic)
    filled = collaborative.copy()
    for item in np.flatnonzero(cold):
        # 1. the k warm items whose texts are nearest, by cosine; equals in the order of their ids
        cosine = unit[warm] @ unit[item]  # (W,)
        near = np.argsort(-cosine, kind="stable")[:k]
        # 2. their cosines weigh them; a text at a right angle or beyond says nothing about the item
        weight = cosine[near].clip(min=0)
        # 3. where no text is near, all neighbours count alike
        weight = weight / weight.sum() if weight.any() else np.full(len(near), 1 / len(near))
        filled[item] = weight @ collaborative[warm[near]]
    return filled
