"""What codes are like, looked at alone: how often a prefix collides, how many codewords are in use, how evenly.

In: codes (N, L) of one view. Out: small tables of plain numbers, a row a level or a prefix depth, from 1.
This file does not know what an item is, nor whether any of it is good: high entropy does not predict good ranking.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def row_numbers(codes: np.ndarray) -> np.ndarray:
    """(N,) the number of each row among the distinct rows of (N, L) codes, in lexicographic order."""
    if not codes.size:
        return np.zeros(len(codes), dtype=np.int64)
    sizes = [int(top) + 1 for top in codes.max(axis=0)]
    if np.prod(sizes, dtype=float) < 2**62:  # one integer a row sorts much faster than rows do
        return np.unique(np.ravel_multi_index(tuple(codes.T), sizes), return_inverse=True)[
            1
        ].ravel()
    return np.unique(codes, axis=0, return_inverse=True)[1].ravel()


def prefix_numbers(codes: np.ndarray) -> np.ndarray:
    """(N, L) integers: column d - 1 numbers the distinct prefixes of depth d from 0, in lexicographic order.

    Items with the same first d codes have the same number there, and no others do.
    """
    found, parent = np.empty(codes.shape, dtype=np.int64), np.zeros(len(codes), dtype=np.int64)
    for level in range(codes.shape[1]):
        key = parent * (int(codes[:, level].max(initial=0)) + 1) + codes[:, level]
        parent = np.unique(key, return_inverse=True)[1].ravel()
        found[:, level] = parent
    return found


def prefix_collisions(codes: np.ndarray) -> pd.DataFrame:
    """Per depth: ``prefixes`` in use, ``items_per_prefix``, ``most_items``, and ``collision_rate``.

    The collision rate, in [0, 1], is the share of items whose prefix is another item's, too. It falls with depth; at
    the last one it is that of whole identifiers, 0 after repair.
    """
    rows = []
    for depth, prefix in enumerate(prefix_numbers(codes).T, start=1):
        size = np.bincount(prefix)
        rows.append(
            {
                "depth": depth,
                "prefixes": len(size),
                "items_per_prefix": len(codes) / max(len(size), 1),
                "most_items": int(size.max(initial=0)),
                "collision_rate": float(size[size > 1].sum() / max(len(codes), 1)),
            }
        )
    return pd.DataFrame(rows)


def codebook_usage(codes: np.ndarray, codebook_size: int) -> pd.DataFrame:
    """Per level (from 1): share of codewords in use, perplexity, largest share of one code.

    Perplexity is ``exp(-sum p log p)``, in [1, K]: as many codewords used evenly would say as much.
    """
    rows = []
    for level in range(codes.shape[1]):
        share = np.bincount(codes[:, level], minlength=codebook_size) / len(codes)
        used = share[share > 0]
        rows.append(
            {
                "level": level + 1,
                "usage": len(used) / codebook_size,
                "perplexity": float(np.exp(-(used * np.log(used)).sum())),
                "largest": float(share.max()),
            }
        )
    return pd.DataFrame(rows)


def code_imbalance(codes: np.ndarray, codebook_size: int) -> np.ndarray:
    """Gini coefficient of items a codeword at every level, (L,): 0 where all K hold as many, 1 - 1/K where one has all.

    It is the mean difference of two codewords' items over twice their mean, unused codewords included.
    """
    found = np.zeros(codes.shape[1])
    rank = (
        2 * np.arange(1, codebook_size + 1) - codebook_size - 1
    )  # how often a sorted count is added, not taken off
    for level in range(codes.shape[1]):
        count = np.sort(np.bincount(codes[:, level], minlength=codebook_size))
        found[level] = (rank * count).sum() / (codebook_size * len(codes))
    return found
