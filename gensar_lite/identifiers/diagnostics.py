"""What the codes are like: collisions, usage, balance, and how well they follow categories.

In: codes before and after repair. Out: plain numbers for tables and figures.
This file does not judge: high entropy does not predict good ranking.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gensar_lite.artifacts import VIEWS, Identifiers
from gensar_lite.identifiers.assignment import collision_rate


def codebook_usage(codes: np.ndarray, codebook_size: int) -> pd.DataFrame:
    """Per level (from 1): share of codewords in use, perplexity, largest share of one code."""
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


def prefix_purity(codes: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """Per prefix depth: number of prefixes, items a prefix, and purity by `groups` (N,) labels.

    Purity is the share of items that belong to the most frequent group of their prefix.
    """
    labels = pd.factorize(np.asarray(groups))[0]
    rows = []
    for depth in range(1, codes.shape[1] + 1):
        _, prefix = np.unique(codes[:, :depth], axis=0, return_inverse=True)
        table = pd.crosstab(prefix.ravel(), labels).to_numpy()
        rows.append(
            {
                "depth": depth,
                "prefixes": len(table),
                "items_per_prefix": len(codes) / len(table),
                "purity": float(table.max(axis=1).sum() / len(codes)),
            }
        )
    return pd.DataFrame(rows)


def describe(identifiers: Identifiers, before: dict[str, np.ndarray]) -> dict[str, object]:
    """The stage's statistics: collisions before and after repair and usage per level, for each view."""
    found: dict[str, object] = {}
    for view in VIEWS:
        codes = getattr(identifiers, view)
        found[view] = {
            "collision_rate_before": collision_rate(before[view]),
            "collision_rate_after": collision_rate(codes),
            "levels": codebook_usage(before[view], identifiers.codebook_size).round(4).to_dict("records"),
        }
    return found
