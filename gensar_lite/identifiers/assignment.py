"""Uniqueness: no two items of one view may end with the same code sequence.

In: codes (N, L), the residual before the last level (N, d) and the last codebook (K, d). Out: unique codes.
Only the last code ever changes, or one is added, so prefixes, and with them the shared trunk, stay as they were
quantized. Items that already have identifiers (`taken`) keep them.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from gensar_lite.artifacts import ArtifactError
from gensar_lite.data.ranges import within
from gensar_lite.identifiers.quantizer import squared_distances
from gensar_lite.identifiers.sinkhorn import sinkhorn_codes

UNIQUENESS = ("nearest", "sinkhorn", "extra-level")
_ROUNDS = 20  # of the paper's repair
_TOGETHER = 4096  # items whose distances are computed at once


def row_numbers(codes: np.ndarray) -> np.ndarray:
    """(N,) the number of each row among the distinct rows of (N, L) codes, in lexicographic order."""
    if not codes.size:
        return np.zeros(len(codes), dtype=np.int64)
    sizes = [int(top) + 1 for top in codes.max(axis=0)]
    if np.prod(sizes, dtype=float) < 2**62:  # one integer a row sorts much faster than rows do
        return np.unique(np.ravel_multi_index(tuple(codes.T), sizes), return_inverse=True)[1].ravel()
    return np.unique(codes, axis=0, return_inverse=True)[1].ravel()


def collision_rate(codes: np.ndarray) -> float:
    """Share of items that share their whole code sequence with another item."""
    number = row_numbers(codes)
    return float((np.bincount(number)[number] > 1).mean()) if len(codes) else 0.0


def make_unique(
    codes: np.ndarray, residual: np.ndarray, codebook: np.ndarray, view: str, taken: np.ndarray | None = None
) -> np.ndarray:
    """Give the items of every prefix bucket that has a collision distinct last codes, at least total distance.

    Inside such a bucket the assignment is optimal (Hungarian algorithm on squared distances) among the codes that
    no item of `taken` (M, L) has. Raises `ArtifactError` with the numbers when a bucket holds more items than the
    last level has codes.
    """
    codes, fixed = codes.copy(), 0 if taken is None else len(taken)
    everyone = codes if taken is None else np.concatenate([taken, codes])
    bucket, whole = row_numbers(everyone[:, :-1]), row_numbers(everyone)
    sizes = np.bincount(bucket)
    if sizes.max(initial=0) > len(codebook):
        raise ArtifactError(
            f"identifiers: {sizes.max()} items share one {view} prefix, but the last level has only {len(codebook)} "
            "codes. Raise identifiers.codebook_size or identifiers.num_levels."
        )
    order = np.argsort(bucket, kind="stable")
    ends = np.cumsum(sizes)
    wanted = np.unique(bucket[np.bincount(whole)[whole] > 1])
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes[wanted]) // _TOGETHER)) + 1
    for part in np.split(wanted, cuts) if len(wanted) else []:
        inside = [order[end - size : end] for end, size in zip(ends[part], sizes[part], strict=True)]
        new = [rows[rows >= fixed] - fixed for rows in inside]  # earlier items, which come first, are not asked
        far = squared_distances(residual[np.concatenate(new)], codebook)
        stop = np.cumsum([len(rows) for rows in new])
        for rows, mine, end in zip(inside, new, stop, strict=True):
            cost = far[end - len(mine) : end]
            if len(mine) == len(rows):
                codes[mine, -1] = linear_sum_assignment(cost)[1]
                continue
            free = np.setdiff1d(np.arange(len(codebook)), everyone[rows[: len(rows) - len(mine)], -1])
            codes[mine, -1] = free[linear_sum_assignment(cost[:, free])[1]]
    return codes


def spread(codes: np.ndarray, residual: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """The paper's repair: up to 20 times, every group of colliding items gets new last codes from Sinkhorn.

    Collisions may be left, of items at the same place for one; `make_unique` ends them. Groups of one size are
    solved together.
    """
    codes = codes.copy()
    for _ in range(_ROUNDS):
        number = row_numbers(codes)
        sizes = np.bincount(number)
        order, starts = np.argsort(number, kind="stable"), np.cumsum(sizes) - sizes
        before = codes[:, -1].copy()
        for size in np.unique(sizes[sizes > 1]):
            rows = order[starts[sizes == size][:, None] + np.arange(size)]  # (G, n)
            far = squared_distances(residual[rows.ravel()], codebook).reshape(*rows.shape, -1)
            far += (residual[rows] ** 2).sum(axis=-1, keepdims=True)
            codes[rows, -1] = sinkhorn_codes(far)
        if (codes[:, -1] == before).all():
            break
    return codes


def with_extra_level(codes: np.ndarray, size: int, view: str, taken: np.ndarray | None = None) -> np.ndarray:
    """Codes (N, L + 1): a counter from 0 among the items of one code sequence (TIGER, section 3.1).

    `taken` (M, L + 1) are items that have been counted before. Raises `ArtifactError` where a counter would leave
    [0, size).
    """
    fixed = 0 if taken is None else len(taken)
    everyone = codes if taken is None else np.concatenate([taken[:, :-1], codes])
    number = row_numbers(everyone)
    next_free = np.zeros(int(number.max(initial=-1)) + 1, dtype=np.int64)
    if taken is not None:
        np.maximum.at(next_free, number[:fixed], taken[:, -1] + 1)
    number = number[fixed:]
    order, counts = np.argsort(number, kind="stable"), np.bincount(number, minlength=len(next_free))
    extra = np.empty(len(codes), dtype=np.int64)
    extra[order] = within(counts)
    extra += next_free[number]
    if extra.max(initial=0) >= size:
        raise ArtifactError(
            f"identifiers: {extra.max() + 1} items share one whole {view} code sequence, but the extra level has only "
            f"{size} codes. Raise identifiers.codebook_size or identifiers.num_levels."
        )
    return np.concatenate([codes, extra[:, None]], axis=1)
