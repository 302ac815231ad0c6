"""Cold items: what nobody met before the split has no behaviour to learn from, but it has a text.

In: both views and which items are cold. Out: a collaborative view in which cold rows are made of
their neighbours'. This file does not know where a vector came from.
"""

from __future__ import annotations

import numpy as np

from gensar_lite.artifacts import ArtifactError, Corpus
from gensar_lite.embeddings.agreement import unit_rows


def cold_items(corpus: Corpus, task: str | None = None) -> np.ndarray:
    """(N,) bool: items without a train event (of `task`, if one is named)."""
    cold = np.ones(corpus.num_items, dtype=bool)
    cold[corpus.targets("train", task)["item_id"].to_numpy()] = False
    return cold


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
