"""What is true in the built-in shop: the process that drew its log, and how far its views agree.

In: the arrays the data stage saved. Out: the true distribution of the next item, so that tests know
the right answer and reports can draw an oracle's line. This file does not know how the shop was
drawn (synthetic.py).
"""

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from gensar_lite.data.sources import Tables


class Truth(NamedTuple):
    """The process behind the log of N items, U users, Q queries, T tastes: ``Tables.truth``."""

    item_taste: np.ndarray  # (N,) taste of an item, in [0, T)
    item_leaf: np.ndarray  # (N,) bottom category of an item
    popularity: np.ndarray  # (N,) share of an item inside its taste: sums to 1 over a taste
    user_tastes: np.ndarray  # (U, T) rows sum to 1
    query_items: np.ndarray  # (Q, N) relevance * sqrt(popularity); 0: no answer to the query
    query_share: np.ndarray  # (Q,) how often a query is issued; sums to 1
    stickiness: np.ndarray  # (1,)
    taste_pull: np.ndarray  # (1,)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what the data stage saved as ``truth.safetensors``."""
        return cls(**load_file(Path(folder) / "truth.safetensors"))

    def scores(
        self,
        task: str,
        user_ids: np.ndarray,
        query_ids: np.ndarray | None,
        previous_items: np.ndarray | None,
    ) -> np.ndarray:
        """True probability of every item, (B, N), rows sum to 1, items already met included.
        `query_ids` (B,) matters for search only; `previous_items` (B,), of the user's latest event
        of either task or -1, for recommendation only."""
        taste = self.user_tastes[user_ids]  # (B, T)
        if task == "recommend":
            before = np.asarray(previous_items)
            # a sticky share of the draws comes from the taste of the item just before, if any
            sticky = np.where(before >= 0, self.stickiness[0], 0.0)[:, None]  # (B, 1)
            taste = (1 - sticky) * taste
            taste[np.arange(len(before)), self.item_taste[before]] += sticky[:, 0]
            # the taste is drawn first, then an item of it: (B, N) from (B, T)
            return taste[:, self.item_taste] * self.popularity
        if task == "search":
            # the query's answers, raised where they are of the user's taste
            raised = (1 + self.taste_pull[0] * taste)[:, self.item_taste]  # (B, N)
            weight = self.query_items[query_ids] * raised
            return weight / weight.sum(axis=1, keepdims=True)
        raise ValueError(f"truth: task {task!r} is neither 'recommend' nor 'search'.")


def neighbour_agreement(tables: Tables, k: int = 10) -> pd.DataFrame:
    """How often near items share a leaf category, and how often a taste: why there are two views.

    Rows ``text`` (TF-IDF cosine), ``behaviour`` (cosine of the users who were recommended both) and
    ``chance``; columns ``category`` and ``taste``, the share among the `k` nearest.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    truth = Truth(**tables.truth)
    labels = {"category": truth.item_leaf, "taste": truth.item_taste}
    bought = tables.events[tables.events["task"] == "recommend"]
    place = bought["item_id"], bought["user_id"]
    shape = len(tables.items), len(truth.user_tastes)
    views = {
        "text": TfidfVectorizer().fit_transform(tables.items["title"] + " " + tables.items["text"]),
        "behaviour": normalize(csr_matrix((np.ones(len(bought)), place), shape)),  # (N, U)
    }
    table = {}
    for name, vectors in views.items():
        cosine = (vectors @ vectors.T).toarray()  # (N, N)
        np.fill_diagonal(cosine, 0)
        near = np.argsort(-cosine, axis=1, kind="stable")[:, :k]  # (N, k)
        related = np.take_along_axis(cosine, near, axis=1) > 0  # items with fewer than k neighbours
        table[name] = {
            key: float((label[near] == label[:, None])[related].mean())
            for key, label in labels.items()
        }
    n = len(truth.item_taste)
    sizes = {key: np.bincount(label) for key, label in labels.items()}
    table["chance"] = {key: float((s * (s - 1)).sum() / (n * (n - 1))) for key, s in sizes.items()}
    return pd.DataFrame(table).T
