"""Search by the frozen text encoder alone: the cosine of a query's vector and an item's.

In: item vectors that the embeddings stage has made, query strings, the settings of that stage. Out:
a scorer of searches. Nothing is learned from any event. This file does not know which encoder it
is, nor where vectors are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gensar_lite.artifacts import Corpus
from gensar_lite.config import EmbeddingsConfig
from gensar_lite.embeddings import encode_queries, item_texts


@dataclass(frozen=True)
class Dense:
    """Search only. A query whose vector is zero (``lsa``: it holds no word of the catalogue) has no
    answer, as with BM25."""

    items: np.ndarray  # (N, d) unit rows
    queries: np.ndarray  # (A, d) unit rows of the queries that are asked
    place: np.ndarray  # (Q,) the row of each query among them, -1 for the others

    @classmethod
    def fit(
        cls,
        corpus: Corpus,
        items: np.ndarray,
        targets: pd.DataFrame,
        settings: EmbeddingsConfig,
        cache: Path | None = None,
    ) -> Dense:
        """Encode the queries of `targets`, each string once; `items` are the vectors of the
        catalogue by the same `settings`.

        Raises `ArtifactError` where the encoder cannot be loaded.
        """
        asked = np.unique(targets["query_id"].to_numpy())
        place = np.full(len(corpus.queries), -1)
        place[asked] = np.arange(len(asked))
        queries = corpus.queries["text"].iloc[asked].tolist()
        texts = item_texts(corpus.items["title"].tolist(), corpus.items["text"].tolist())
        return cls(items, encode_queries(queries, texts, settings, cache), place)

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        # each different query is compared once, then its row is copied to all events that ask it
        rows, back = np.unique(self.place[targets["query_id"].to_numpy()], return_inverse=True)
        vectors = self.queries[rows]
        table = vectors @ self.items.T  # (A', N), cosines, since all rows have length 1
        table[~vectors.any(axis=1)] = -np.inf
        return table[back]
