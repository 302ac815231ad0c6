"""What codes are like, looked at alone: how often a prefix collides, which codewords are in use.

In: codes (N, L) of one view. Out: small tables of plain numbers, a row per level or prefix depth,
from 1. This file does not know what an item is, nor whether any of it is good: high entropy does
not predict good ranking.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def row_numbers(codes: np.ndarray) -> np.ndarray:
    """(N,) the number of each row among the distinct rows of (N, L) codes, lexicographic."""
    if not codes.size:
        return np.zeros(len(codes), dtype=np.int64)
    sizes = [int(top) + 1 for top in codes.max(axis=0)]
    # one integer per row sorts much faster than rows do, where all levels fit into it
    if np.prod(sizes, dtype=float) < 2**62:
        number = np.ravel_multi_index(tuple(codes.T), sizes)
        return np.unique(number, return_inverse=True)[1].ravel()
    return np.unique(codes, axis=0, return_inverse=True)[1].ravel()


def prefix_numbers(codes: np.ndarray) -> np.ndarray:
    """(N, L) integers: column d - 1 numbers the distinct prefixes of depth d from 0.

    Items with the same first d codes have the same number there, and no others do; the order is
    lexicographic.
    """
    numbers = np.empty(codes.shape, dtype=np.int64)
    parent = np.zeros(len(codes), dtype=np.int64)
    for level, code in enumerate(codes.T):
        key = parent * (int(code.max(initial=0)) + 1) + code
        parent = np.unique(key, return_inverse=True)[1].ravel()
        numbers[:, level] = parent
    return numbers


def collision_rate(codes: np.ndarray) -> float:
    """Share of items that share their whole code sequence with another item."""
    return _rate(row_numbers(codes))


def prefix_collisions(codes: np.ndarray) -> pd.DataFrame:
    """``depth``, ``prefixes`` in use, ``collision_rate``: the share of items with another's prefix.

    The rate falls with depth; at the last one it is that of whole identifiers, 0 after repair.
    """
    rows = [
        {
            "depth": depth,
            "prefixes": int(prefix.max(initial=-1)) + 1,
            "collision_rate": _rate(prefix),
        }
        for depth, prefix in enumerate(prefix_numbers(codes).T, start=1)
    ]
    return pd.DataFrame(rows)


def _rate(number: np.ndarray) -> float:
    """Share of items (N,) whose number another item has, too."""
    size = np.bincount(number)
    return float(size[size > 1].sum() / max(len(number), 1))


def codebook_usage(codes: np.ndarray, codebook_size: int) -> pd.DataFrame:
    """Per level (from 1): share of codewords in use, perplexity, largest share of one code.

    Perplexity is ``exp(-sum p log p)``, in [1, K]: as many codewords used evenly would say as much.
    """
    rows = []
    for level, code in enumerate(codes.T, start=1):
        share = np.bincount(code, minlength=codebook_size) / len(codes)  # (K,)
        used = share[share > 0]
        rows.append(
            {
                "level": level,
                "usage": len(used) / codebook_size,
                "perplexity": float(np.exp(-(used * np.log(used)).sum())),
                "largest": float(share.max()),
            }
        )
    return pd.DataFrame(rows)


def code_imbalance(codes: np.ndarray, codebook_size: int) -> np.ndarray:
    """Gini coefficient of items per codeword at every level, (L,).

    0 where all K codewords hold as many, 1 - 1/K where one has all: the mean difference of two
    codewords' items over twice their mean, unused codewords included.
    """
    # of all pairs of codewords, how often a sorted count is added and not taken off
    weight = 2 * np.arange(1, codebook_size + 1) - codebook_size - 1
    counts = [np.sort(np.bincount(code, minlength=codebook_size)) for code in codes.T]
    return np.array([(weight * c).sum() / (codebook_size * len(codes)) for c in counts])
