"""The collaborative view without training: a truncated SVD of who met what.

In: a `Corpus`. Out: item vectors (N, d_col), and a ranker: PureSVD (Cremonesi et al., RecSys 2010)
with damped popularity (EigenRec, Nikolakopoulos et al., 2019). Order and texts are not known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, diags
from sklearn.decomposition import TruncatedSVD

from gensar_lite.artifacts import Corpus
from gensar_lite.config import EmbeddingsConfig
from gensar_lite.data import seen_items

TASK = "recommend"  # the events it learns from: a click after a query answers the query


def train_matrix(corpus: Corpus) -> csr_matrix:
    """(U, N) with 1 where a user met an item in a train recommendation."""
    pairs = corpus.targets("train", TASK)[["user_id", "item_id"]].drop_duplicates()
    shape = (corpus.num_users, corpus.num_items)
    return csr_matrix((np.ones(len(pairs)), (pairs["user_id"], pairs["item_id"])), shape=shape)


@dataclass(frozen=True)
class SVDRanker:
    """The strongest directions of the matrix of users and items, and the ranker that they make."""

    directions: np.ndarray  # (N, d)
    strength: np.ndarray  # (d,) singular values
    damping: np.ndarray  # (N,) square root of an item's number of users
    events: pd.DataFrame

    @staticmethod
    def fit(corpus: Corpus, settings: EmbeddingsConfig) -> SVDRanker:
        """Decompose the train matrix, each item's column divided by the root of its sum."""
        matrix = train_matrix(corpus)
        damping = np.sqrt(np.maximum(np.asarray(matrix.sum(axis=0)).ravel(), 1.0))
        svd = TruncatedSVD(min(settings.dim, *matrix.shape), n_iter=10, random_state=settings.seed)
        svd.fit(matrix @ diags(1 / damping))
        return SVDRanker(svd.components_.T.copy(), svd.singular_values_, damping, corpus.events)

    @property
    def item_vectors(self) -> np.ndarray:
        """(N, d) rows whose products approximate how many users two items share, damped."""
        return (self.directions * self.strength).astype(np.float32)

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        """(B, N) scores of every item for B target events, from their strictly earlier history."""
        row, item = seen_items(self.events, targets["event_id"].to_numpy())
        met = csr_matrix((np.ones(len(row)), (row, item)), shape=(len(targets), len(self.damping)))
        met.data[:] = 1.0  # an item counts once, also beside its search twin
        projected = met @ (self.directions / self.damping[:, None])  # (B, d), damped as in `fit`
        return projected @ (self.directions * self.damping[:, None]).T  # unfolded and undamped
