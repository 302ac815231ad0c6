"""How well anything ranks while it is trained: Recall@10 and NDCG@10 over the whole catalogue.

In: something with ``scores(targets)`` and target events. Out: two numbers. Tables with intervals are made by the
evaluation stage; this file only serves early stopping and lessons.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gensar_lite.artifacts import Corpus
from gensar_lite.data import left_out


def full_ranking(
    ranker, corpus: Corpus, targets: pd.DataFrame, batch: int = 1024
) -> dict[str, float]:
    """``recall@10`` and ``ndcg@10`` of target events (rows of the log), ties counted against the ranker.

    From recommendations items of the history are left out, by the log's rule (`gensar_lite.data.left_out`).
    """
    ranks, seen = [], left_out(corpus)
    for low in range(0, len(targets), batch):
        part = targets.iloc[low : low + batch]
        scores = np.array(ranker.scores(part))  # (B, N)
        if seen is not None:
            seen.hide(scores, part)
        own = scores[np.arange(len(part)), part["item_id"].to_numpy()]
        ranks.append((scores >= own[:, None]).sum(axis=1))
    rank = np.concatenate(ranks)
    gain = np.where(rank <= 10, 1 / np.log2(rank + 1), 0.0)
    return {"recall@10": float((rank <= 10).mean()), "ndcg@10": float(gain.mean())}
