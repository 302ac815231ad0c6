"""``dense-personal``: the text encoder's search, and what the user's own items look like.

    score(i) = cos(query, i) + weight * cos(i, user),  user = sum of decay^ago * v(item), normalised

In: a corpus, text vectors of its items and queries. Out: a scorer of searches, weight and decay
chosen on validation searches; nothing is trained, so no seed changes it. A search is answered from
its strictly earlier history, of both tasks. This file does not know which encoder it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from gensar_lite.artifacts import Corpus
from gensar_lite.evaluation.counts import Past
from gensar_lite.evaluation.dense import Dense
from gensar_lite.evaluation.tuning import Tuned, best_of

# the grid; the first of each is taken where nothing tells choices apart
WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
DECAYS = (0.7, 1.0, 0.9, 0.5, 0.2)  # per time step


@dataclass(frozen=True)
class Personal:
    """Search only: the sum at the top of this file; without a history the query alone."""

    dense: Dense
    past: Past
    weight: float
    decay: float

    def scores(self, targets: pd.DataFrame) -> np.ndarray:
        table = self.dense.scores(targets)  # (B, N), -inf where the query says nothing
        return table + np.float32(self.weight) * (self.users(targets) @ self.dense.items.T)

    def users(self, targets: pd.DataFrame) -> np.ndarray:
        """(B, d) unit rows of what users had met before B target events; 0 where that is nothing.

        Of a mean and a sum the direction is the same.
        """
        met = self.past.weights(targets["event_id"].to_numpy(), self.decay)  # (B, N) sparse
        vectors = met @ self.dense.items  # (B, d)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.maximum(length, 1e-12)).astype(np.float32)


def fit_personal(corpus: Corpus, items: np.ndarray, queries: np.ndarray) -> Tuned:
    """The best of `WEIGHTS` x `DECAYS`; `items` (N, d) and `queries` (Q, d) are unit rows."""
    dense, past = Dense(items, queries, np.arange(len(queries))), Past(corpus)

    def choices() -> Iterator[tuple[dict[str, float], Personal]]:
        for weight, decay in product(WEIGHTS, DECAYS):
            if weight or decay == DECAYS[0]:  # without a weight no decay matters
                yield {"weight": weight, "decay": decay}, Personal(dense, past, weight, decay)

    return best_of(corpus, "search", choices())
