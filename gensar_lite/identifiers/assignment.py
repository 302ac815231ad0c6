"""Uniqueness: no two items of one view may end with the same code sequence.

In: codes (N, L), the residual before the last level (N, d) and the last codebook (K, d). Out: unique codes.
Only the last code ever changes, so prefixes, and with them the shared trunk, stay as they were quantized.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from gensar_lite.artifacts import ArtifactError
from gensar_lite.identifiers.quantizer import squared_distances


def collision_rate(codes: np.ndarray) -> float:
    """Share of items that share their whole code sequence with another item."""
    _, inverse, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    return float((counts[inverse.ravel()] > 1).mean()) if len(codes) else 0.0


def make_unique(codes: np.ndarray, residual: np.ndarray, codebook: np.ndarray, view: str) -> np.ndarray:
    """Give the items of every prefix bucket that has a collision distinct last codes, at least total distance.

    Inside such a bucket the assignment is optimal (Hungarian algorithm on squared distances). Raises
    `ArtifactError` with the numbers when a bucket holds more items than the last level has codes.
    """
    codes = codes.copy()
    _, bucket = np.unique(codes[:, :-1], axis=0, return_inverse=True)
    bucket = bucket.ravel()
    sizes = np.bincount(bucket)
    if sizes.max(initial=0) > len(codebook):
        raise ArtifactError(
            f"identifiers: {sizes.max()} items share one {view} prefix, but the last level has only {len(codebook)} "
            "codes. Raise identifiers.codebook_size or identifiers.num_levels."
        )
    order = np.argsort(bucket, kind="stable")
    ends = np.cumsum(sizes)
    for start, end in zip(ends - sizes, ends, strict=True):
        rows = order[start:end]
        if len(np.unique(codes[rows, -1])) < len(rows):
            codes[rows, -1] = linear_sum_assignment(squared_distances(residual[rows], codebook))[1]
    return codes
