"""Balanced codewords: at a level no code may hold more than its share of the catalogue, ceil(N / K) items.

In: residuals (N, d) and a codebook (K, d). Out: codes (N,) within that capacity, and a codebook that fits them.
A full code passes on the items that lose least by moving. Nothing is drawn: ties go to the lower item and code.
"""

from __future__ import annotations

import numpy as np

from gensar_lite.identifiers.quantizer import squared_distances
from gensar_lite.identifiers.sinkhorn import column_scaling
from gensar_lite.machine.ranges import within

_ROUNDS, _SHARPNESS, _ITERATIONS = 5, 0.1, 60


def balance(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Lloyd's steps under the capacity: codewords (K, d) become the means of their balanced items."""
    for _ in range(_ROUNDS):
        codes = balanced_codes(vectors, codebook)
        counts = np.bincount(codes, minlength=len(codebook))
        sums = np.zeros_like(codebook)
        np.add.at(sums, codes, vectors)
        codebook = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], codebook)
    return codebook


def balanced_codes(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """A code for each item (N,), none more often than ceil(N / K) times, at little more than the least distance.

    Sinkhorn finds what each codeword must cost for all to be wanted alike; with these prices few are over capacity.
    """
    if not len(vectors):
        return np.zeros(0, dtype=np.int64)
    cost = squared_distances(vectors, codebook)  # (N, K)
    cost = cost - cost.min(axis=1, keepdims=True)
    epsilon = max(_SHARPNESS * float(cost.mean()), 1e-12)
    price = -epsilon * np.log(column_scaling(np.exp(-cost / epsilon), _ITERATIONS))
    return within_capacity(cost + price, -(-len(vectors) // len(codebook)))


def within_capacity(cost: np.ndarray, capacity: int | np.ndarray) -> np.ndarray:
    """Every item asks its cheapest code of (N, K); a full code keeps those with most to lose, the others ask on.

    `capacity` is of each code, or (K,). Ends because nobody asks twice, and everybody finds room because all
    capacities together are at least N (deferred acceptance, Gale and Shapley 1962).
    """
    cost, codes = cost.copy(), np.full(len(cost), -1)
    capacity = np.broadcast_to(capacity, cost.shape[1])
    best = np.partition(cost, min(1, cost.shape[1] - 1), axis=1)
    regret = best[:, min(1, cost.shape[1] - 1)] - best[:, 0]
    while (codes < 0).any():
        asking = np.flatnonzero(codes < 0)
        codes[asking] = cost[asking].argmin(axis=1)
        order = np.lexsort((-regret, codes))
        counts = np.bincount(codes, minlength=cost.shape[1])
        sent_on = order[within(counts) >= np.repeat(capacity, counts)]
        cost[sent_on, codes[sent_on]] = np.inf
        codes[sent_on] = -1
    return codes
