"""Balanced codewords: at a level no code may hold more than its share of the items, ceil(N / K).

In: residuals (N, d) and a codebook (K, d). Out: codes (N,) within that capacity, and a codebook
that fits them. A full code passes on the items that lose least by moving. Nothing is drawn: ties go
to the lower item and code.
"""

from __future__ import annotations

import numpy as np

from gensar_lite.identifiers.quantizer import squared_distances
from gensar_lite.identifiers.sinkhorn import column_scaling
from gensar_lite.machine.ranges import within

_ROUNDS = 5  # of Lloyd's steps
_SHARPNESS = 0.1  # epsilon of the prices, as a share of the mean cost
_ITERATIONS = 60  # of Sinkhorn


def balance(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Lloyd's steps under the capacity: codewords (K, d) become their items' means."""
    for _ in range(_ROUNDS):
        codes = balanced_codes(vectors, codebook)
        counts = np.bincount(codes, minlength=len(codebook))[:, None]  # (K, 1)
        sums = np.zeros_like(codebook)
        np.add.at(sums, codes, vectors)
        codebook = np.where(counts > 0, sums / np.maximum(counts, 1), codebook)
    return codebook


def balanced_codes(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """A code for each item (N,), none more often than ceil(N / K) times, at little extra distance.

    Sinkhorn finds what each codeword must cost for all to be wanted alike; with these prices few
    are over capacity.
    """
    if not len(vectors):
        return np.zeros(0, dtype=np.int64)
    cost = squared_distances(vectors, codebook)  # (N, K)
    cost = cost - cost.min(axis=1, keepdims=True)
    epsilon = max(_SHARPNESS * float(cost.mean()), 1e-12)
    price = -epsilon * np.log(column_scaling(np.exp(-cost / epsilon), _ITERATIONS))  # (K,)
    return within_capacity(cost + price, -(-len(vectors) // len(codebook)))


def within_capacity(cost: np.ndarray, capacity: int | np.ndarray) -> np.ndarray:
    """Codes (N,) of little `cost` (N, K) so that no code exceeds its `capacity`, a number or (K,).

    Every item asks its cheapest code; a full code keeps those with most to lose, the others ask on.
    Ends because nobody asks twice, and everybody finds room because all capacities together are at
    least N (deferred acceptance, Gale and Shapley 1962).
    """
    cost = cost.copy()
    codes = np.full(len(cost), -1)
    capacity = np.broadcast_to(capacity, cost.shape[1])
    # what an item loses where it does not get its best code but the second
    second = min(1, cost.shape[1] - 1)
    best = np.partition(cost, second, axis=1)
    regret = best[:, second] - best[:, 0]
    while (codes < 0).any():
        asking = np.flatnonzero(codes < 0)
        codes[asking] = cost[asking].argmin(axis=1)
        # items by code, most regret first: those behind a code's capacity are sent on
        order = np.lexsort((-regret, codes))
        counts = np.bincount(codes, minlength=cost.shape[1])
        sent_on = order[within(counts) >= np.repeat(capacity, counts)]
        cost[sent_on, codes[sent_on]] = np.inf
        codes[sent_on] = -1
    return codes
