"""Uniqueness: no two items of one view may end with the same code sequence.

In: codes (N, L), the residual before the last level (N, d) and the last codebook (K, d). Out: unique codes.
Only the last code ever changes, or some are added, so prefixes, and with them the shared trunk, stay as they were
quantized. Items that already have identifiers (`taken`) keep them. How much room there is was decided before (room.py).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from gensar_lite.artifacts import ArtifactError
from gensar_lite.identifiers.balanced import within_capacity
from gensar_lite.identifiers.quantizer import squared_distances
from gensar_lite.identifiers.room import Room
from gensar_lite.identifiers.sinkhorn import sinkhorn_codes
from gensar_lite.identifiers.usage import row_numbers
from gensar_lite.machine.ranges import within

UNIQUENESS = ("nearest", "sinkhorn", "extra-level")
_ROUNDS = 20  # of the paper's repair
_TOGETHER = 4096  # items whose distances are computed at once


def collision_rate(codes: np.ndarray) -> float:
    """Share of items that share their whole code sequence with another item."""
    number = row_numbers(codes)
    return float((np.bincount(number)[number] > 1).mean()) if len(codes) else 0.0


def make_unique(
    codes: np.ndarray,
    residual: np.ndarray,
    codebook: np.ndarray,
    view: str,
    taken: np.ndarray | None = None,
    room: Room | None = None,
) -> np.ndarray:
    """Give the items of every prefix bucket that has a collision distinct last codes, at least total distance.

    Inside such a bucket the assignment is optimal (Hungarian algorithm on squared distances) among the
    codes that no item of `taken` (M, L) has; codes of `room` (default: the codebook's) without a
    codeword come last. With counting levels the result, like `taken`, is (N, L + E): in a bucket of
    more items than codes each code may repeat as often as the counter can count, which tells its items
    apart. Raises `ArtifactError` with the numbers when a bucket holds more items than `room`.
    """
    room = room or Room(len(codebook))
    codes, fixed, levels = codes.copy(), 0 if taken is None else len(taken), codes.shape[1]
    everyone = codes if taken is None else np.concatenate([taken[:, :levels], codes])
    bucket, whole = row_numbers(everyone[:, :-1]), row_numbers(everyone)
    sizes = np.bincount(bucket)
    if sizes.max(initial=0) > room.items:
        raise ArtifactError(
            _full(f"{sizes.max()} items share one {view} prefix, but the last level", room.items)
        )
    order = np.argsort(bucket, kind="stable")
    ends = np.cumsum(sizes)
    wanted = np.unique(bucket[np.bincount(whole)[whole] > 1])
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes[wanted]) // _TOGETHER)) + 1
    for part in np.split(wanted, cuts) if len(wanted) else []:
        inside = [
            order[end - size : end] for end, size in zip(ends[part], sizes[part], strict=True)
        ]
        new = [
            rows[rows >= fixed] - fixed for rows in inside
        ]  # earlier items, which come first, are not asked
        far = _distances(residual[np.concatenate(new)], codebook, room.num_codes)
        stop = np.cumsum([len(rows) for rows in new])
        for rows, mine, end in zip(inside, new, stop, strict=True):
            earlier = everyone[rows[: len(rows) - len(mine)], -1]
            codes[mine, -1] = _cheapest(far[end - len(mine) : end], earlier, room)
    return (
        with_extra_level(codes, room.num_codes, view, taken, room.num_counters)
        if room.num_counters
        else codes
    )


def _distances(residual: np.ndarray, codebook: np.ndarray, num_codes: int) -> np.ndarray:
    """(n, K) squared distances; codes beyond the codebook are farther than any codeword, and equally so."""
    far, more = squared_distances(residual, codebook), num_codes - len(codebook)
    if more <= 0:
        return far
    far = far + (residual**2).sum(
        axis=1, keepdims=True
    )  # who gets a codeword and who does not depends on it
    return np.pad(far, ((0, 0), (0, more)), constant_values=far.max(initial=0) + 1)


def _cheapest(cost: np.ndarray, earlier: np.ndarray, room: Room) -> np.ndarray:
    """Last codes (n,) for the items of one bucket, by their `cost` (n, K), beside those that `earlier` items have."""
    if (
        len(cost) + len(earlier) > room.num_codes
    ):  # a counter follows: a code may repeat as often as that can count
        return within_capacity(cost, room.repeats - np.bincount(earlier, minlength=room.num_codes))
    free = np.setdiff1d(np.arange(room.num_codes), earlier)
    return free[linear_sum_assignment(cost[:, free])[1]]


def _full(what: str, room: int) -> str:
    return (
        f"identifiers: {what} has only {room} codes. Build the identifiers again with all items; "
        "identifiers.codebook_size=0 and identifiers.num_levels=0 let the catalogue choose."
    )


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


def with_extra_level(
    codes: np.ndarray, size: int, view: str, taken: np.ndarray | None = None, num_digits: int = 1
) -> np.ndarray:
    """Codes (N, L + E): a counter from 0 among the items of one code sequence (TIGER, section 3.1).

    It has `num_digits` (E) digits of base `size`, one a level. `taken` (M, L + E) are items that have been counted
    before. Raises `ArtifactError` where a counter would leave its digits.
    """
    fixed, levels = 0 if taken is None else len(taken), codes.shape[1]
    weights = size ** np.arange(num_digits - 1, -1, -1)  # of the digits, the first counts most
    everyone = codes if taken is None else np.concatenate([taken[:, :levels], codes])
    number = row_numbers(everyone)
    next_free = np.zeros(int(number.max(initial=-1)) + 1, dtype=np.int64)
    if taken is not None:
        np.maximum.at(next_free, number[:fixed], taken[:, levels:] @ weights + 1)
    number = number[fixed:]
    order, counts = np.argsort(number, kind="stable"), np.bincount(number, minlength=len(next_free))
    extra = np.empty(len(codes), dtype=np.int64)
    extra[order] = within(counts)
    extra += next_free[number]
    if extra.max(initial=0) >= size**num_digits:
        items = f"{extra.max() + 1} items share one whole {view} code sequence, but the extra level"
        raise ArtifactError(_full(items, size**num_digits))
    return np.concatenate([codes, extra[:, None] // weights % size], axis=1)
